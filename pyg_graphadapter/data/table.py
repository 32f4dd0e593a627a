"""Lists of images, and the columns of data sets that hold images and labels."""

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
    """A list of images, one a line, with their labels and, in a column ``split``, their splits.

    Paths are relative to the list's folder.

    Raises:
        FileNotFoundError: If a listed image is not there.
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
    image = _named(columns, "image", image_column, str(path))
    label = _named(columns, "label", label_column, str(path))
    if table[[image, label]].isna().any(axis=None):
        row = int(table[[image, label]].isna().any(axis=1).to_numpy().argmax())
        raise ValueError(f"{path} has no image or no label in row {row + 1}: complete it.")
    files = [path.parent / str(name) for name in table[image]]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{path} lists the image {file}, which is not there.")
    table = table.assign(image=[str(file) for file in files], label=table[label].tolist())
    kept = table[["image", "label"]]
    if SPLIT_COLUMN not in columns:
        return datasets.DatasetDict({"train": datasets.Dataset.from_pandas(kept)})
    return datasets.DatasetDict(
        {
            str(split): datasets.Dataset.from_pandas(part, preserve_index=False)
            for split, part in kept.groupby(table[SPLIT_COLUMN], sort=False)
        }
    )


def find_column(dataset: datasets.Dataset, kind: str, given: str | None = None) -> str:
    """The column of images or of labels: the one that is named, of its type, or of a usual name.

    Raises:
        ValueError: If there is none, listing the columns.
    """
    types = {"image": datasets.Image, "label": datasets.ClassLabel}
    typed = [name for name, each in dataset.features.items() if isinstance(each, types[kind])]
    if given is None and len(typed) == 1:
        return str(typed[0])
    return _named(dataset.column_names, kind, given, "The data set")


def with_class_labels(splits: datasets.DatasetDict) -> datasets.DatasetDict:
    """The splits with a ``ClassLabel`` that is the same in all of them.

    Raises:
        ValueError: If labels are no names and no whole numbers, or differ between splits.
    """
    features = [part.features["label"] for part in splits.values()]
    if all(isinstance(each, datasets.ClassLabel) for each in features):
        if any(each.names != features[0].names for each in features):
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


def _named(columns: list[str], kind: str, given: str | None, where: str) -> str:
    if given is not None:
        found = [name for name in columns if name == given]
    else:
        found = [name for wanted in NAMES[kind] for name in columns if name.lower() == wanted]
    if not found:
        wanted = repr(given) if given is not None else f"for the {kind}s"
        raise ValueError(
            f"{where} has no column {wanted} (it has {', '.join(columns)}): name it with "
            f"'{kind}_column'."
        )
    return found[0]
