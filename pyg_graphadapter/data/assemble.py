"""From what a source holds to numbered classes and known splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import datasets

from pyg_graphadapter.data.class_names import composed, without_minus_one
from pyg_graphadapter.data.duplicates import tell_duplicates
from pyg_graphadapter.data.image_dataset import class_label, image_column
from pyg_graphadapter.data.names_file import names_of_labels
from pyg_graphadapter.data.reading import SPLITS, ImageRow, ImageSet, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames
from pyg_graphadapter.display import visible
from pyg_graphadapter.features import counted

TRAIN = "train"  # where a source has no splits


@dataclass
class Part:
    """The images of one split as a source calls it.

    Args:
        images (datasets.Dataset): The column ``image``, and perhaps others.
        labels (list): The label of every image as text, or :obj:`None` where it has none.
    """

    images: datasets.Dataset
    labels: list[str | None]


def parts_of_rows(rows: Sequence[ImageRow], reading: Reading) -> dict[str, Part]:
    """The images of rows by the split that they name. A path that comes again with one label and
    split is counted and left out."""
    by_split: dict[str, list[ImageRow]] = {}
    listed: set[ImageRow] = set()
    for row in rows:
        if isinstance(row.image, str):
            if row in listed:
                reading.leave_out("rows that name an image again", row.image)
                continue
            listed.add(row)
        by_split.setdefault(TRAIN if row.split is None else row.split, []).append(row)
    return {
        split: Part(image_column([row.image for row in part]), [row.label for row in part])
        for split, part in by_split.items()
    }


def assemble(
    parts: Mapping[str, Part], options: ReadOptions, reading: Reading, where: str
) -> ImageSet:
    """Images in the splits ``train``, ``val`` and ``test``, with numbered classes.

    Args:
        parts (dict): The images by split, as the source calls it.
        options (ReadOptions): What the user says about it.
        reading (Reading): Is told of what is left out.
        where (str): What errors call the source.

    Raises:
        ValueError: If no split is known, or training has no image of a class that another split
            has.
    """
    if not any(len(part.labels) for part in parts.values()):
        raise ValueError(f"{where} has no image with a label: give every image a label.")
    parts = _with_plain_labels(parts)
    labelled: dict[str, Part] = {}
    unlabelled: dict[str, datasets.Dataset] = {}
    for split, names in _by_split(parts, options, reading, where).items():
        joined = _joined([parts[name] for name in names])
        with_labels = _with_labels(joined, names, reading)
        if with_labels.labels:
            labelled[split] = with_labels
        elif joined.labels:
            unlabelled[split] = joined.images.select_columns(["image"])
    if not labelled:
        raise ValueError(f"{where} has no image with a label: give every image a label.")
    order = list(dict.fromkeys(map(composed, reading.order or ()))) or sorted(
        {label for part in labelled.values() for label in part.labels if label is not None},
        key=by_number,
    )
    _check_classes(labelled, where)
    names = names_of_labels(order, options.class_names, reading)
    number = {label: c for c, label in enumerate(order)}
    splits = datasets.DatasetDict()
    for split, part in labelled.items():
        numbers = [number[label] for label in part.labels if label is not None]
        splits[split] = _numbered(part.images, numbers, class_label(names))
    tell_duplicates(splits, reading)
    return ImageSet(splits, reading, unlabelled)


def _with_plain_labels(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Parts whose labels have composed letters, and none where it is -1 among numbers."""
    labels = without_minus_one([label for part in parts.values() for label in part.labels])
    texts = iter(None if label is None else composed(label) for label in labels)
    return {name: Part(part.images, [next(texts) for _ in part.labels]) for name, part in
            parts.items()}  # fmt: skip


def _by_split(
    parts: Mapping[str, Part], options: ReadOptions, reading: Reading, where: str
) -> dict[str, list[str]]:
    """The source's names of each split; images of names that mean none are counted."""
    splits = SplitNames(options.split).resolve(parts, where)
    if not splits:
        raise ValueError(
            f"{where} has no split train, val or test (got {', '.join(map(visible, parts))}): name "
            f"them with --split train=NAME,test=NAME (split='train=NAME,test=NAME')."
        )
    for name, part in parts.items():
        if name not in splits and len(part.labels):
            reason = f"images of the split {visible(name)!r}, which is not train, val or test"
            reading.left_out[reason] = [name] * len(part.labels)
        elif name in splits and name.casefold() in ("eval", "evaluation"):
            reading.notes.append(f"The split {name!r} is read as {splits[name]}.")
    return {
        split: [name for name in parts if splits.get(name) == split]
        for split in SPLITS
        if split in splits.values()
    }


def _with_labels(part: Part, names: Sequence[str], reading: Reading) -> Part:
    """The images of a split that have a label; the others are counted."""
    index = [i for i, label in enumerate(part.labels) if label is not None]
    if len(index) == len(part.labels):
        return part
    missing = [i for i, label in enumerate(part.labels) if label is None]
    name = visible(" and ".join(names))
    if not index:
        reading.notes.append(
            f"The split {name!r} has no labels (-1 or nothing): its "
            f"{counted(len(missing), 'image')} can be classified, but nothing is trained or "
            f"measured on them."
        )
        return Part(part.images.select([]), [])
    for i in missing:
        reading.leave_out("images without a label", f"row {i} of {name}")
    return Part(part.images.select(index), [part.labels[i] for i in index])


def _joined(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    images = datasets.concatenate_datasets([part.images for part in parts])
    return Part(images, [label for part in parts for label in part.labels])


def _check_classes(parts: Mapping[str, Part], where: str) -> None:
    if TRAIN not in parts:
        return
    learned = set(parts[TRAIN].labels)
    for split, part in parts.items():
        strange = Counter(label for label in part.labels if label not in learned)
        if strange:
            label, count = strange.most_common(1)[0]
            alike = [name for name in learned if name and name.casefold() == str(label).casefold()]
            hint = f" (which has {alike[0]!r})" if alike else ""
            others = f" and {len(strange) - 1} others" if len(strange) > 1 else ""
            raise ValueError(
                f"The class {label!r}{others} of the {split} split of {where} "
                f"({counted(count, 'image')}) is not in the training split{hint}: add training "
                f"images of it, or remove it."
            )


def _numbered(
    images: datasets.Dataset, numbers: list[int], label: datasets.ClassLabel
) -> datasets.Dataset:
    """The images with the column of their class numbers, or as they are where they have it."""
    has_labels = images.features.get("label") == label and images.column_names == ["image", "label"]
    if has_labels and list(images["label"]) == numbers:
        return images
    return images.select_columns(["image"]).add_column("label", numbers, feature=label)


def by_number(label: str) -> tuple[bool, int, str]:
    """The place of a label: numbers by their value, then other texts."""
    is_number = label.isascii() and label.isdecimal() and len(label) < 20
    return (not is_number, int(label) if is_number else 0, label)
