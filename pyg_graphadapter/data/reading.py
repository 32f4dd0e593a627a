"""How images are read from a source, and what was read: settings and results alone."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pyg_graphadapter.data.splits import SPLITS, SplitOption, split_choices
from pyg_graphadapter.display import visible
from pyg_graphadapter.settings import check_settings, setting, warn

if TYPE_CHECKING:
    import datasets

__all__ = ["LAYOUTS", "SPLITS", "ImageRow", "ImageSet", "ReadOptions", "Reading"]
PLURAL = re.compile(
    r"(hidden |empty )?(files and folders|images|rows|files|folders|lines|links|boxes|archives)\b"
    r"( that are| that name| that lead)?"
)
SINGULAR = {"files and folders": "file or folder", "boxes": "box"}
VERBS = {" that are": " that is", " that name": " that names", " that lead": " that leads"}
CLASS_FOLDERS = "class folders"  # the layout of a folder that has no splits
LAYOUTS = ("classes", "splits", "class-splits", "domains")


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about a source of images that cannot be told from it."""

    image_column: str | None = setting(None, "Column of images or of their paths")
    label_column: str | None = setting(None, "Column of labels")
    split_column: str | None = setting(None, "Column of splits")
    split: SplitOption | None = setting(
        None, "Names of the splits in the source, as train=a,test=b"
    )
    class_names: Mapping[str, str] | str | Path | None = setting(
        None, "File (.csv, .json, .txt) that gives folders, labels or wnids the names of classes"
    )
    layout: str | None = setting(
        None, "What the folders are, where that is not clear", choices=LAYOUTS
    )
    crops: bool = setting(False, "Take the boxes of a detection data set as images")
    follow_links: bool = setting(False, "Follow links that lead out of the folder of images, too")

    def __post_init__(self) -> None:
        """Checks the types of the settings."""
        check_settings(self)
        split_choices(self.split)

    def refuse(self, what: str, *names: str) -> None:
        """Refuses options that do not apply to a source; without names, all but
        :obj:`follow_links`.

        Raises:
            ValueError: If one of them was given, naming it.
        """
        for option in fields(self):
            is_given = getattr(self, option.name) != option.default
            if is_given and option.name in (names or _all_but_links()):
                raise ValueError(
                    f"--{option.name.replace('_', '-')} ({option.name}=…) does not apply to {what}:"
                    f" leave it out."
                )


def _all_but_links() -> list[str]:
    return [option.name for option in fields(ReadOptions) if option.name != "follow_links"]


class ImageRow(NamedTuple):
    """One image of a source, before classes are numbered.

    Args:
        image: Whatever :func:`~pyg_graphadapter.data.decode_image` takes: a path, bytes, a PIL
            image, or ``{"bytes": …, "path": …}``.
        label (str, optional): The label as the source has it: the name of a class, a number, a
            wnid. None has an image of a split without labels.
        split (str, optional): The split as the source calls it. (default: :obj:`None`)
    """

    image: Any
    label: str | None
    split: str | None = None


@dataclass
class Reading:
    """What was read from a source, and what was not.

    Args:
        layout (str): The form of the source, as ``class folders`` or ``list of images``.
        left_out (dict): What was left out: the reason, and the names of what it concerns.
        notes (list of str): Sentences on how it was read.
        order (list of str, optional): The labels in the order of their classes, where the source
            has one; otherwise numbers come by their value, and then texts. (default: :obj:`None`)
        in_two_splits (list of str): Equal images in two splits, as ``a.jpg of train = b.jpg of
            test``.
        with_two_labels (list of str): Equal images with two labels.
    """

    layout: str = ""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    order: list[str] | None = None
    in_two_splits: list[str] = field(default_factory=list)
    with_two_labels: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, name: str | Path) -> None:
        """Counts something that was left out."""
        self.left_out.setdefault(reason, []).append(str(name))

    def sentences(self) -> list[str]:
        """What was left out, counted by reason with an example, and the notes."""
        parts = [
            f"{counted_reason(len(names), reason)} "
            f"({visible(names[0])}{', …' if len(names) > 1 else ''})"
            for reason, names in self.left_out.items()
        ]
        return ([f"Left out: {', '.join(parts)}."] if parts else []) + list(self.notes)

    def tell(self, name: str) -> None:
        """Warns in one line of what was left out, and of what else should be known."""
        if sentences := self.sentences():
            warn(f"{visible(name)}: {' '.join(sentences)}")


def counted_reason(number: int, reason: str) -> str:
    """A number with the reason why so many were left out: ``1 row that names an image again``."""
    if number != 1:
        return f"{number} {reason}"
    match = PLURAL.match(reason)
    if match is None:
        return f"1 {reason}"
    noun = SINGULAR.get(match[2], match[2].removesuffix("s"))
    verb = VERBS.get(match[3] or "", match[3] or "")
    further = reason[match.end() :].replace("no images by their names", "no image by its name")
    return f"1 {match[1] or ''}{noun}{verb}{further}"


@dataclass(frozen=True)
class ImageSet:
    """Labelled images by split, and how they were read.

    Args:
        splits (datasets.DatasetDict): The splits ``train``, ``val`` and ``test`` or some of them,
            with the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``).
        reading (Reading): How they were read.
        unlabelled (dict): By split, the images (column ``image``) of splits without labels, as
            hidden test splits have them. (default: none)
    """

    splits: "datasets.DatasetDict"
    reading: Reading
    unlabelled: "Mapping[str, datasets.Dataset]" = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(next(iter(self.splits.values())).features["label"].names)

    def counts(self) -> dict[str, Counter[int]]:
        """The number of images of each class, by split."""
        return {split: Counter(part["label"]) for split, part in self.splits.items()}
