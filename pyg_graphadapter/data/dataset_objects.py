"""Data sets of ``datasets`` with any columns, also those that are streamed."""

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow

from pyg_graphadapter.data.listed import NOT_THERE
from pyg_graphadapter.data.memory import (
    NO_LABEL,
    ROWS_TO_TRY,
    frame_columns,
    image_of,
    is_missing,
    label_of,
)
from pyg_graphadapter.data.reading import Reading, ReadOptions
from pyg_graphadapter.outputs import writing

PARTS = (datasets.Dataset, datasets.IterableDataset)
KINDS = (*PARTS, datasets.DatasetDict, datasets.IterableDatasetDict)
BATCH_BYTES, BATCH_ROWS = 2**26, 1000


def is_dataset(source: Any) -> bool:
    """Whether a source is a data set of ``datasets``, or a table of them by split."""
    if isinstance(source, Mapping) and not isinstance(source, KINDS):
        return bool(source) and all(isinstance(part, PARTS) for part in source.values())
    return isinstance(source, KINDS)


def splits_of(source: Any, options: ReadOptions, reading: Reading) -> datasets.DatasetDict:
    """The splits of a data set with the columns ``image`` (undecoded) and ``label``; splits keep
    their names. The columns are those that are named, have the type of an image or of a class
    label, are called as usual, or are the only ones that can be.

    What is streamed is read through once, and copied piece by piece to a file that lasts as long as
    the process.

    Raises:
        ValueError: If the columns cannot be told, or a label is none.
    """
    parts = dict(source) if isinstance(source, Mapping) else {"train": source}
    first = next(iter(parts.values()))
    image, labels = _columns(first, options)
    is_streamed = any(isinstance(part, datasets.IterableDataset) for part in parts.values())
    reading.layout = f"{'streamed ' if is_streamed else ''}data set of datasets"
    reading.notes.append(f"The image is in column {image}, the label in {' or '.join(labels)}.")
    splits = {}
    for name, part in parts.items():
        if _is_plain(part, image, labels):
            split = _renamed(part, image, labels[0], reading)
        else:
            split = _copied(part, image, labels, reading)
        if split is None:
            reading.notes.append(f"The split {name} has no label, and is left out.")
        else:
            splits[str(name)] = split
    if not splits:
        raise ValueError("The data set has no image with a label: give one with labels.")
    return datasets.DatasetDict(splits)


def _columns(part: Any, options: ReadOptions) -> tuple[str, tuple[str, ...]]:
    """The column of images, and that of labels or those of the places of a one-hot label."""
    features = part.features or {}
    typed: dict[str, list[str]] = {"image": [], "label": []}
    for name, feature in features.items():
        if isinstance(feature, datasets.Image):
            typed["image"].append(name)
        elif isinstance(feature, datasets.ClassLabel):
            typed["label"].append(name)
    image = options.image_column or (typed["image"][0] if len(typed["image"]) == 1 else None)
    label = options.label_column or (typed["label"][0] if len(typed["label"]) == 1 else None)
    if image in features and label in features:
        return str(image), (str(label),)
    rows = [dict(row) for row in islice(_undecoded(part, typed["image"]), ROWS_TO_TRY)]
    if not rows:
        raise ValueError("The data set is empty: give one with images.")
    table = {name: [row.get(name) for row in rows] for name in rows[0]}
    image, labels, _ = frame_columns(
        table, ReadOptions(image_column=image, label_column=label, split_column=None)
    )
    return image, labels


def _undecoded(part: Any, images: list[str]) -> Any:
    """A data set whose images are not decoded."""
    for name in images:
        part = part.cast_column(name, datasets.Image(decode=False))
    return part


def _is_plain(part: Any, image: str, labels: tuple[str, ...]) -> bool:
    """Whether a data set can stay where it is: its images are typed, and its labels single."""
    return (
        isinstance(part, datasets.Dataset)
        and len(labels) == 1
        and isinstance(part.features[image], datasets.Image)
        and (
            isinstance(part.features[labels[0]], datasets.ClassLabel)
            or part.features[labels[0]].dtype in ("string", "large_string")
            or part.features[labels[0]].dtype.startswith(("int", "uint"))
        )
    )


def _renamed(
    part: datasets.Dataset, image: str, label: str, reading: Reading
) -> datasets.Dataset | None:
    """A data set with its two columns, without the rows that have no label."""
    names = {image: "image", label: "label"}
    part = part.select_columns([image, label])
    part = part.rename_columns({old: new for old, new in names.items() if old != new})
    part = part.cast_column("image", datasets.Image(decode=False))
    values = part["label"][:]
    rows = [i for i, value in enumerate(values) if not is_missing(value) and value not in (-1, "")]
    for i in set(range(len(values))).difference(rows):
        reading.leave_out(NO_LABEL, f"row {i}")
    if len(rows) < len(values):
        part = part.select(rows)
    return part if rows else None


# Copies ###############################################################################


def _copied(
    part: Any, image: str, labels: tuple[str, ...], reading: Reading
) -> datasets.Dataset | None:
    """The images and labels of a data set in a file, written in batches of bounded size."""
    features = part.features or {}
    feature = features.get(labels[0])
    is_named = len(labels) == 1 and isinstance(feature, datasets.ClassLabel)
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    rows = _rows(_undecoded(part, images), image, labels, is_named=is_named, reading=reading)
    columns = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "label": feature if is_named else datasets.Value("string"),
        }
    )
    path = Path(_folder()) / f"{uuid.uuid4().hex}.arrow"
    count = 0
    with (
        writing(path),
        path.open("wb") as file,
        pyarrow.ipc.new_stream(file, columns.arrow_schema) as writer,
    ):
        for batch in _batches(rows):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=columns.arrow_schema))
            count += len(batch)
    return datasets.Dataset.from_file(str(path)) if count else None


def _rows(
    part: Any, image: str, labels: tuple[str, ...], *, is_named: bool, reading: Reading
) -> Iterator[dict[str, Any]]:
    is_bytes = _is_bytes((part.features or {}).get(image))
    for i, row in enumerate(part):
        names = dict(enumerate(labels)) if len(labels) > 1 else None
        value = row.get(labels[0]) if names is None else [row[name] for name in labels]
        label = label_of(value, i, names)
        cell = row.get(image)
        if is_bytes and isinstance(cell, list):
            cell = np.array(cell, dtype=np.uint8)
        if label is None:
            reading.leave_out(NO_LABEL, f"row {i}")
        elif is_missing(cell):
            reading.leave_out(NOT_THERE, f"row {i}")
        elif (picture := image_of(cell, i, reading)) is not None:
            if isinstance(picture, str):
                picture = {"bytes": None, "path": picture}
            yield {"image": picture, "label": int(label) if is_named else label}


def _is_bytes(feature: Any) -> bool:
    """Whether a column holds lists of bytes, as an array of pixels does."""
    while isinstance(feature, datasets.Sequence | datasets.List | list):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return getattr(feature, "dtype", None) == "uint8"


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row["image"]["bytes"] or b"")
        if size >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_folders: list[str] = []


def _folder() -> str:
    """A folder that is removed when the process ends."""
    if not _folders:
        _folders.append(tempfile.mkdtemp(prefix="graphadapter-"))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]
