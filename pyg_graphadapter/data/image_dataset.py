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
    label = class_label(class_names)
    return image_column(list(map(str, paths))).add_column("label", list(labels), feature=label)


def image_column(images: Sequence[Any]) -> datasets.Dataset:
    """A data set with the column ``image`` (undecoded) of paths, bytes, PIL images, or tables of
    bytes and path."""
    features = datasets.Features({"image": datasets.Image(decode=False)})
    return datasets.Dataset.from_dict({"image": list(map(_cell, images))}, features=features)


def class_label(class_names: Sequence[str]) -> datasets.ClassLabel:
    """The type of labels of classes; what is not UTF-8 in their names is escaped."""
    return datasets.ClassLabel(
        names=[SURROGATE.sub(lambda match: visible(match.group()), name) for name in class_names]
    )


def _cell(image: Any) -> Any:
    """The path of an image. If it is not UTF-8, which a table cannot hold, what is seen of it, and
    its bytes; those of a file that cannot be read are no image, and are skipped as such."""
    if isinstance(image, bytes):
        return {"bytes": image, "path": None}
    if not isinstance(image, str | Path):
        return image
    path = str(image)
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
