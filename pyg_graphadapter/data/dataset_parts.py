"""Reads data sets of the library ``datasets``: which columns are images, labels and splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from pyg_graphadapter.data.assemble import TRAIN, Part
from pyg_graphadapter.data.columns import (
    named_column,
    no_column,
    several_columns,
    split_cells,
    split_column,
    unused_splits,
    usual_columns,
)
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.image_dataset import image_column
from pyg_graphadapter.data.listed import portable
from pyg_graphadapter.data.memory import ROWS_TO_TRY, image_of, label_of
from pyg_graphadapter.data.reading import Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames

TEXTS = ("string", "large_string")
TYPES = {"image": datasets.Image, "label": datasets.ClassLabel}


def parts_of_dataset(
    loaded: datasets.Dataset | datasets.DatasetDict,
    options: ReadOptions,
    reading: Reading,
    where: str,
    folder: Path | None = None,
) -> dict[str, Part]:
    """The images and labels of the splits of a data set, whose paths of images may be relative to a
    folder. A single split may have a column that tells the splits of its rows.

    Raises:
        ValueError: If it lacks a column, has two that could be meant, or labels that are neither
            names nor whole numbers.
    """
    options.refuse(where, "layout", "crops")
    if isinstance(loaded, datasets.Dataset):
        loaded = datasets.DatasetDict({TRAIN: loaded})
    names = SplitNames(options.split)
    known = [name for name in loaded if names.meant(name) is not None] or list(loaded)
    first = loaded[known[0]]
    image = find_column(first, "image", options.image_column, where, reading)
    label = find_column(first, "label", options.label_column, where, reading)
    reading.layout = f"{reading.layout or 'data set'} (images: {image}, labels: {label})"
    parts: dict[str, Part] = {}
    classes: dict[str, None] = {}  # in their order
    is_numbered = False
    for name, rows in loaded.items():
        if name not in known:
            parts[name] = Part(rows, [None] * len(rows))
            continue
        for column in (image, label):
            if column not in rows.column_names:
                raise no_column(rows.column_names, "image" if column == image else "label", column,
                                f"The split {name!r} of {where}")  # fmt: skip
        feature = rows.features[label]
        if isinstance(feature, datasets.ClassLabel):
            is_numbered = True
            classes |= dict.fromkeys(feature.names)
        encoded = _with_pixels_encoded(rows, image, label, reading)
        if folder is not None:
            encoded = _with_paths_from(encoded, image, label, folder)
        parts[name] = Part(_images(encoded, image, label), _labels(rows, label, where))
    if is_numbered:
        reading.order = list(classes)
    if len(loaded) == 1 and (options.split_column is not None or known == [TRAIN]):
        [part] = parts.values()
        return _by_column(first, part, [image, label], options, where, reading, names, known[0])
    if options.split_column is not None:
        raise ValueError(
            f"{where} has the splits {', '.join(loaded)} already: leave --split-column out."
        )
    return parts


def find_column(
    dataset: datasets.Dataset, kind: str, name: str | None, where: str, reading: Reading
) -> str:
    """Finds the column of images or of labels: the given one, the only one of its type, or one
    with a common name.

    Raises:
        ValueError: If there is none or several, listing the columns.
    """
    columns = dataset.column_names
    if name is not None:
        return named_column(columns, kind, name, where)
    usual = usual_columns(columns, kind)
    typed = [c for c, feature in dataset.features.items() if isinstance(feature, TYPES[kind])]
    named = [c for c in usual if c in typed]
    if len(typed) == 1 and (named or kind == "image" or not usual):
        return str(typed[0])
    if len(typed) > 1 and named:
        others = ", ".join(repr(c) for c in typed if c != named[0])
        reading.notes.append(f"The {kind}s are taken from the column {named[0]!r}, not {others}.")
        return named[0]
    if typed and (len(typed) > 1 or usual):
        raise several_columns([*typed, *usual][:2], kind, where)
    if not usual:
        usual = [
            name for name in columns
            if _may_be_images(dataset, name) == (kind == "image") and kind not in dataset.features
        ]  # fmt: skip
        if len(usual) != 1:
            raise no_column(columns, kind, None, where)
        reading.notes.append(f"The {kind}s are taken from the column {usual[0]!r}.")
    if kind == "label" and len(usual) > 1:
        raise several_columns(usual[:2], kind, where)
    if len(usual) > 1:
        others = ", ".join(map(repr, usual[1:]))
        reading.notes.append(f"The {kind}s are taken from the column {usual[0]!r}, not {others}.")
    return usual[0]


def _may_be_images(rows: datasets.Dataset, name: str) -> bool:
    """Whether a column holds images, encoded ones, pixels, or names of image files."""
    feature = rows.features[name]
    if isinstance(feature, datasets.Image) or _are_pixels(feature):
        return True
    if isinstance(feature, dict):
        return bool({"bytes", "path"} & set(feature))
    dtype = getattr(feature, "dtype", "")
    if dtype in ("binary", "large_binary"):
        return True
    first = [str(cell) for cell in rows[:ROWS_TO_TRY][name]] if dtype in TEXTS else []
    return bool(first) and all(Path(cell).suffix.lower() in SUFFIXES for cell in first)


def _are_pixels(feature: Any) -> bool:
    """Whether the cells of a column are arrays of bytes with two or three axes."""
    if isinstance(feature, datasets.Array2D | datasets.Array3D):
        return str(feature.dtype) == "uint8"
    depth = 0
    while isinstance(feature, datasets.List | datasets.LargeList | list):
        feature = feature[0] if isinstance(feature, list) else feature.feature
        depth += 1
    return depth in (2, 3) and str(getattr(feature, "dtype", "")) == "uint8"


def _with_pixels_encoded(
    rows: datasets.Dataset, image: str, label: str, reading: Reading
) -> datasets.Dataset:
    """Rows whose images are encoded, where they are arrays of pixels."""
    if not _are_pixels(rows.features[image]):
        return rows
    cells = [
        image_of(np.asarray(row[image], dtype=np.uint8), i, reading)
        for i, row in enumerate(rows.with_format(None))
    ]
    return _with_cells(rows, image, label, cells)


def _with_paths_from(
    rows: datasets.Dataset, image: str, label: str, folder: Path
) -> datasets.Dataset:
    """Rows whose images have paths from a folder, where they are paths."""
    if getattr(rows.features[image], "dtype", "") not in TEXTS:
        return rows
    paths = [str(folder / portable(cell)) if cell else "" for cell in rows.with_format(None)[image]]
    return _with_cells(rows, image, label, paths)


def _with_cells(
    rows: datasets.Dataset, image: str, label: str, cells: list[Any]
) -> datasets.Dataset:
    """Rows of images that are given, and of the labels."""
    images = image_column(cells)
    if image != "image":
        images = images.rename_column("image", image)
    return images.add_column(label, list(rows[label]), feature=rows.features[label])


def _images(rows: datasets.Dataset, image: str, label: str) -> datasets.Dataset:
    """The undecoded images, with their labels where these need no change."""
    keeps_label = isinstance(rows.features[label], datasets.ClassLabel)
    columns = {image: "image", **({label: "label"} if keeps_label else {})}
    rows = rows.select_columns(list(columns)).rename_columns(
        {old: new for old, new in columns.items() if old != new}
    )
    return rows.cast_column("image", datasets.Image(decode=False))


def _labels(rows: datasets.Dataset, label: str, where: str) -> list[str | None]:
    """The label of every row as text; none where it is empty, or -1 as in hidden test splits."""
    feature = rows.features[label]
    values = list(rows[label])
    if isinstance(feature, datasets.ClassLabel):
        names = feature.names
        return [None if value is None or value < 0 else names[value] for value in values]
    labels: list[str | None] = []
    for i, value in enumerate(values):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, Mapping) or (isinstance(value, list) and not _is_one_hot(value)):
            raise ValueError(
                f"{where} has several labels for an image ({str(value)[:60]}): a classifier has "
                f"one label per image. Keep one of them, or leave such images out."
            )
        if isinstance(value, float) and not value.is_integer() and value == value:
            raise ValueError(f"Labels must be class names or whole numbers (got {value!r}).")
        labels.append(label_of(value, i))
    return labels


def _is_one_hot(value: list[Any]) -> bool:
    return len(value) > 1 and all(v in (0, 1) for v in value) and sum(value) == 1


def _by_column(
    rows: datasets.Dataset,
    part: Part,
    used: list[str],
    options: ReadOptions,
    where: str,
    reading: Reading,
    names: SplitNames,
    name: str,
) -> dict[str, Part]:
    """The parts that a column of splits makes of the rows, if there is such a column."""
    texts = [
        column for column, feature in rows.features.items()
        if getattr(feature, "dtype", "") in (*TEXTS, "bool")
        or str(getattr(feature, "dtype", "")).startswith(("int", "uint"))
        or isinstance(feature, datasets.ClassLabel)
    ]  # fmt: skip
    columns = {column: _cells(rows, column) for column in texts if column not in used}
    header = (
        named_column(list(columns), "split", options.split_column, where)
        if options.split_column is not None
        else split_column(columns, names, used, where)
    )
    reading.notes += unused_splits(columns, names, [*used, *([header] if header else [])])
    if header is None:
        return {name: part}
    cells = split_cells(header, columns[header])
    reading.layout = f"{reading.layout.removesuffix(')')}, splits: {header})"
    parts = {}
    rows_of: dict[str, list[int]] = {}
    for i, cell in enumerate(cells):
        rows_of.setdefault(cell, []).append(i)
    for value, index in rows_of.items():
        parts[value or "(empty)"] = Part(part.images.select(index), [part.labels[i] for i in index])
    return parts


def _cells(rows: datasets.Dataset, column: str) -> list[str]:
    feature = rows.features[column]
    values: list[Any] = list(rows[column])
    if isinstance(feature, datasets.ClassLabel):
        values = [None if value is None or value < 0 else feature.names[value] for value in values]
    return ["" if value is None else str(value).strip() for value in values]
