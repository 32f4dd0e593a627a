"""Data sets of undecoded images from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from pyg_graphadapter.data.folder import read_regular
from pyg_graphadapter.display import SURROGATE, visible


def image_dataset(
    paths: Sequence[str | Path], labels: Sequence[int], class_names: Sequence[str]
) -> datasets.Dataset:
    """A data set with the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``).

    Args:
        paths (sequence of str or Path): The image files.
        labels (sequence of int): The label of every image.
        class_names (sequence of str): The names of the classes; what is not UTF-8 in them is
            escaped.
    """
    features = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "label": datasets.ClassLabel(
                names=[
                    SURROGATE.sub(lambda match: visible(match.group()), name)
                    for name in class_names
                ]
            ),
        }
    )
    return datasets.Dataset.from_dict(
        {"image": [_cell(str(path)) for path in paths], "label": list(labels)}, features=features
    )


def _cell(path: str) -> dict[str, Any]:
    """The path of an image. If it is not UTF-8, which a table cannot hold, what is seen of it, and
    its bytes; those of a file that cannot be read are no image, and are skipped as such."""
    if _is_utf8(path):
        return {"bytes": None, "path": path}
    try:
        return {"bytes": read_regular(path), "path": visible(path)}
    except OSError:
        return {"bytes": b"", "path": visible(path)}


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
