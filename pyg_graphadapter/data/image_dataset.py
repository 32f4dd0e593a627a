"""Data sets of undecoded images from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets


def image_dataset(
    paths: Sequence[str | Path], labels: Sequence[int], class_names: Sequence[str]
) -> datasets.Dataset:
    """A data set with the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``).

    Args:
        paths (sequence of str or Path): The image files.
        labels (sequence of int): The label of every image.
        class_names (sequence of str): The names of the classes.
    """
    features = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "label": datasets.ClassLabel(names=list(class_names)),
        }
    )
    return datasets.Dataset.from_dict(
        {"image": [_cell(str(path)) for path in paths], "label": list(labels)}, features=features
    )


def _cell(path: str) -> dict[str, Any]:
    """The path of an image, or its bytes if the path is not UTF-8, which a table cannot hold."""
    if _is_utf8(path):
        return {"bytes": None, "path": path}
    return {"bytes": Path(path).read_bytes(), "path": None}


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
