"""How images are read from a source, and what was read: settings and results alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from pyg_graphadapter.settings import check_settings, setting

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about a source of images that cannot be told from it."""

    image_column: str | None = setting(None, "Column of images or of their paths")
    label_column: str | None = setting(None, "Column of labels")
    split_column: str | None = setting(None, "Column of splits")
    split: Mapping[str, str] | str | None = setting(
        None, "Names of the splits in the source, as train=a,test=b"
    )
    class_names: Mapping[str, str] | str | Path | None = setting(
        None, "File (.csv, .json, .txt) that gives folders, labels or wnids the names of classes"
    )
    layout: str | None = setting(None, "What the folders are, where that is not clear")
    crops: bool = setting(False, "Take the boxes of a detection data set as images")
    follow_links: bool = setting(False, "Follow links that lead out of the folder of images, too")

    def __post_init__(self) -> None:
        """Checks the types of the settings."""
        check_settings(self)


class ImageRow(NamedTuple):
    """One image of a source, before classes are numbered.

    Args:
        image: Whatever :func:`~pyg_graphadapter.data.decode_image` takes: a path, bytes, a PIL
            image, or ``{"bytes": …, "path": …}``.
        label (str): The label as the source has it: the name of a class, a number, a wnid.
        split (str, optional): The split as the source calls it. (default: :obj:`None`)
    """

    image: Any
    label: str
    split: str | None = None


@dataclass
class Reading:
    """What was read from a source, and what was not.

    Args:
        layout (str): The form of the source, as ``class folders`` or ``list of images``.
        left_out (dict): What was left out: the reason, and the names of what it concerns.
        notes (list of str): Sentences on how it was read.
    """

    layout: str = ""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, name: str | Path) -> None:
        """Counts something that was left out."""
        self.left_out.setdefault(reason, []).append(str(name))


@dataclass(frozen=True)
class ImageSet:
    """Labelled images by split, and how they were read.

    Args:
        splits (datasets.DatasetDict): The splits ``train``, ``val`` and ``test`` or some of them,
            with the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``).
        reading (Reading): How they were read.
    """

    splits: datasets.DatasetDict
    reading: Reading
