"""Loads lists of images, and finds the columns of images and labels."""

from pathlib import Path

import datasets
import pandas

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
    try:
        if path.suffix == ".csv":
            table = pandas.read_csv(path, encoding="utf-8-sig", dtype_backend="numpy_nullable")
        else:
            table = pandas.read_json(path, lines=path.suffix == ".jsonl")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a list of images ({error}).") from error
    columns = [str(name) for name in table.columns]
    image = _column_name(columns, "image", image_column, str(path))
    label = _column_name(columns, "label", label_column, str(path))
    if table[[image, label]].isna().any(axis=None):
        row = int(table[[image, label]].isna().any(axis=1).to_numpy().argmax())
        raise ValueError(f"{path} has no image or no label in row {row + 1}: complete it.")
    files = [path.parent / str(name) for name in table[image]]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{path} lists the image {file}, which does not exist.")
    table = table.assign(image=[str(file) for file in files], label=table[label].tolist())
    images = table[["image", "label"]]
    if SPLIT_COLUMN not in columns:
        return datasets.DatasetDict({"train": datasets.Dataset.from_pandas(images)})
    return datasets.DatasetDict(
        {
            str(split): datasets.Dataset.from_pandas(rows, preserve_index=False)
            for split, rows in images.groupby(table[SPLIT_COLUMN], sort=False)
        }
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
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    names = [str(value) for value in ordered]
    label = datasets.ClassLabel(names=names)
    return datasets.DatasetDict(
        {
            split: part.remove_columns("label").add_column(
                "label", [names.index(str(value)) for value in part["label"]], feature=label
            )
            for split, part in splits.items()
        }
    )


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
