"""Loads lists of images, and finds the columns of images and labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import datasets

from pyg_graphadapter.storage import FileKind, read

Row: TypeAlias = dict[str, str | int | float | bool | None]
LISTS: FileKind[tuple[Row, ...]] = FileKind(
    "list of images",
    tuple[Row, ...],
    "It must be a table, or a list of tables, with the entries path, label and, if there are "
    "several splits, split",
    suffixes=(".csv", ".json", ".jsonl"),
    max_bytes=2**30,
)
NAMES = {
    "image": ("image", "img", "path", "file", "file_name", "filename", "file_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
}
SPLIT_COLUMN = "split"


def load_table(
    path: Path, image_column: str | None = None, label_column: str | None = None
) -> datasets.DatasetDict:
    """Loads a list of images with their labels and, in a column ``split``, their splits.

    Paths are relative to the list's folder.

    Raises:
        FileNotFoundError: If a listed image does not exist.
        ValueError: If the list cannot be read or lacks a column.
    """
    rows = read(path, LISTS)
    if not rows:
        raise ValueError(f"{path} lists no image: add rows with an image and a label.")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    image = _column_name(columns, "image", image_column, str(path))
    label = _column_name(columns, "label", label_column, str(path))
    _check_labels(rows, label, path)
    splits: dict[str, dict[str, list[str]]] = {}
    for i, row in enumerate(rows):
        names = [image, label, *([SPLIT_COLUMN] if SPLIT_COLUMN in columns else [])]
        for name in names:
            if row.get(name) in (None, ""):
                raise ValueError(f"{path} has no {name!r} in row {i + 1}: complete it.")
        file = path.parent / str(row[image])
        if not file.is_file():
            raise FileNotFoundError(f"{path} lists the image {file}, which does not exist.")
        split = splits.setdefault(str(row.get(SPLIT_COLUMN, "train")), {"image": [], "label": []})
        split["image"].append(str(file))
        split["label"].append(str(row[label]))
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(split) for name, split in splits.items()}
    )


def _check_labels(rows: Sequence[Row], label: str, path: Path) -> None:
    """Refuses labels of which some are numbers and some are texts."""
    first = type(rows[0].get(label))
    for i, row in enumerate(rows):
        if isinstance(row.get(label), float | bool):
            raise ValueError(
                f"{path} has the label {row[label]!r} in row {i + 1}: labels must be class names "
                f"or whole numbers."
            )
        if type(row.get(label)) is not first:
            raise ValueError(
                f"{path} has the label {rows[0].get(label)!r} in row 1 and {row.get(label)!r} in "
                f"row {i + 1}: write all labels as texts, or all as whole numbers."
            )


def find_column(dataset: datasets.Dataset, kind: str, column: str | None = None) -> str:
    """Finds the column of images or of labels: the given one, the only one of its type, or one
    with a common name.

    Raises:
        ValueError: If there is none, listing the columns.
    """
    types = {"image": datasets.Image, "label": datasets.ClassLabel}
    typed = [name for name, feature in dataset.features.items() if isinstance(feature, types[kind])]
    if column is None and len(typed) == 1:
        return str(typed[0])
    return _column_name(dataset.column_names, kind, column, "The data set")


def with_class_labels(splits: datasets.DatasetDict) -> datasets.DatasetDict:
    """Gives the labels of all splits the same ``ClassLabel``.

    Raises:
        ValueError: If labels are neither names nor whole numbers, or the splits have different
            classes.
    """
    features = [part.features["label"] for part in splits.values()]
    if all(isinstance(feature, datasets.ClassLabel) for feature in features):
        if any(feature.names != features[0].names for feature in features):
            raise ValueError("The splits have different classes: give them the same class names.")
        return splits
    values = {value for part in splits.values() for value in part.unique("label")}
    if any(isinstance(value, bool) or not isinstance(value, int | str) for value in values):
        raise ValueError(
            f"Labels must be class names or whole numbers (got {next(iter(values))!r})."
        )
    names = [str(value) for value in sorted(values, key=_by_number)]
    label = datasets.ClassLabel(names=names)
    return datasets.DatasetDict(
        {
            split: part.remove_columns("label").add_column(
                "label", [names.index(str(value)) for value in part["label"]], feature=label
            )
            for split, part in splits.items()
        }
    )


def _by_number(label: str | int) -> tuple[bool, int, str]:
    """The place of a label: numbers by their value, also those that are texts, then other texts."""
    text = str(label)
    is_number = text.isascii() and text.isdecimal()
    return (not is_number, int(text) if is_number else 0, text)


def _column_name(columns: list[str], kind: str, column: str | None, where: str) -> str:
    if column is not None:
        matches = [name for name in columns if name == column]
    else:
        matches = [name for common in NAMES[kind] for name in columns if name.lower() == common]
    if not matches:
        description = repr(column) if column is not None else f"for the {kind}s"
        raise ValueError(
            f"{where} has no column {description} (it has {', '.join(columns)}): name it with "
            f"'{kind}_column'."
        )
    return matches[0]
