"""Images in memory: data frames, pairs of image and label, data sets of torch."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyg_graphadapter.data.columns import (
    label_column,
    named_column,
    no_column,
    split_cells,
    split_column,
    unused_splits,
    usual_columns,
)
from pyg_graphadapter.data.decode import SUFFIXES, UnreadableImageError, decode_image
from pyg_graphadapter.data.listed import NOT_THERE, is_file
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames
from pyg_graphadapter.data.torch_data import items_of, refuse_loader
from pyg_graphadapter.data.zhou import distinct_names
from pyg_graphadapter.features import Features

WITH_LABELS = (
    "Images with labels are a folder of class folders, a list in a file, a data set, a data frame "
    "or pairs (image, label), and features with labels are a FeatureFile"
)

NO_LABEL = "images without a label"
ROWS_TO_TRY = 20


def rows_of(source: Any, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """The images of a source in memory.

    Args:
        source: A data frame with a column of images or paths and one of labels; a data set of torch
            or a sequence that gives pairs of image and label, with its names in ``classes`` if it
            has them; or a table of such sources by split. An image is whatever
            :func:`~pyg_graphadapter.data.decode_image` takes, or a tensor of bytes.
        options (ReadOptions): What the user says about it.
        reading (Reading): Takes what is left out, and notes.

    Raises:
        ValueError: If it is of another kind, or an image or a label is not what it must be.
    """
    options.refuse("images in memory", "layout", "crops")
    refuse_loader(source)
    if isinstance(source, Mapping):
        return [
            row._replace(split=str(split))
            for split, part in source.items()
            for row in rows_of(part, options, reading)
        ]
    if _is_frame(source):
        reading.layout = "data frame"
        return list(_rows_of_frame(source, options, reading))
    if isinstance(source, str | bytes | Path | Features) or not (
        hasattr(source, "__iter__") or hasattr(source, "__getitem__")
    ):
        raise ValueError(f"{WITH_LABELS} (got {type(source).__name__}).")
    is_list = isinstance(source, Sequence)
    reading.layout = "pairs of image and label" if is_list else "data set of (image, label)"
    return list(_rows_of_pairs(source, reading))


def _is_frame(source: Any) -> bool:
    """Whether a source is a data frame of pandas or, with ``get_column``, of polars."""
    return hasattr(source, "columns") and (hasattr(source, "iloc") or hasattr(source, "get_column"))


# Pairs ################################################################################


def _rows_of_pairs(source: Any, reading: Reading) -> Iterator[ImageRow]:
    if hasattr(source, "datasets"):  # a ConcatDataset, whose parts may number their classes anew
        for part in source.datasets:
            yield from _rows_of_pairs(part, reading)
        return
    names = _class_names(source, reading)
    for i, pair in enumerate(items_of(source)):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            size = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            raise ValueError(
                f"{WITH_LABELS} (got {type(source).__name__} with {type(pair).__name__}{size} in "
                f"row {i})."
            )
        label = label_of(pair[1], i, names)
        image = image_of(pair[0], i, reading)
        if label is None:
            reading.leave_out(NO_LABEL, f"row {i}")
        elif image is not None:
            yield ImageRow(image, label)


def _class_names(source: Any, reading: Reading) -> dict[int, str] | None:
    """The names of a data set of torch or of the one that it is a part of."""
    while not (hasattr(source, "classes") or hasattr(source, "class_to_idx")) \
            and hasattr(source, "dataset"):  # fmt: skip
        source = source.dataset
    if hasattr(source, "datasets"):
        several = [_class_names(part, Reading()) for part in source.datasets]
        if any(names != several[0] for names in several):
            raise ValueError(
                "The parts of the ConcatDataset have different classes, so that their numbers mean "
                "different ones: give the ConcatDataset itself, or pairs of image and name."
            )
        return several[0] if several else None
    classes = getattr(source, "classes", None)
    if not isinstance(classes, list | tuple):
        return _names_by_number(source, reading)
    names = [name[0] if isinstance(name, tuple | list) and name else name for name in classes]
    return distinct_names({i: str(name) for i, name in enumerate(names)}, reading)


def _names_by_number(source: Any, reading: Reading) -> dict[int, str] | None:
    """The names of a data set with a table from name to number, as torchvision's have."""
    table = getattr(source, "class_to_idx", None)
    if not isinstance(table, Mapping):
        return None
    return distinct_names({int(i): str(name) for name, i in table.items()}, reading)


# Data frames ##########################################################################


def _rows_of_frame(frame: Any, options: ReadOptions, reading: Reading) -> Iterator[ImageRow]:
    columns = [str(name) for name in frame.columns]
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise ValueError(f"The data frame has two columns {twice!r}: rename one of them.")
    table = {
        name: list(frame.iloc[:, i] if hasattr(frame, "iloc") else frame.get_column(name))
        for i, name in enumerate(columns)
    }
    image, labels, split = frame_columns(table, options)
    chosen = {"image": (image, options.image_column), "label": (labels[0], options.label_column)}
    guessed = [kind for kind, (name, option) in chosen.items()
               if option is None and usual_columns(columns, kind) != [name]]  # fmt: skip
    if guessed:
        reading.notes.append(
            f"The image is in column {image}, the label in {' or '.join(labels)}"
            f"{f', the split in {split}' if split else ''}."
        )
    texts = {name: [_text(cell) for cell in cells] for name, cells in table.items()}
    splits = split_cells(split, texts[split]) if split else []
    used = [image, *labels, *([split] if split else [])]
    reading.notes += unused_splits(texts, SplitNames(options.split), used)
    with_labels = {
        name for name, cell in zip(splits, table[labels[0]], strict=False)
        if not is_missing(cell) and str(cell).strip() not in ("", "-1")
    }  # fmt: skip
    for i, cell in enumerate(table[image]):
        values = [table[name][i] for name in labels]
        label = label_of(values if len(labels) > 1 else values[0], i, dict(enumerate(labels))
                         if len(labels) > 1 else None)  # fmt: skip
        name = splits[i] if splits else None
        picture = None if is_missing(cell) else image_of(cell, i, reading)
        if is_missing(cell):
            reading.leave_out("rows without an image", f"row {i}")
        elif name == "":
            reading.leave_out("rows without a split", f"row {i}")
        elif label is None and (name is None or name in with_labels):
            reading.leave_out(NO_LABEL, f"row {i}")
        elif picture is not None:
            yield ImageRow(picture, label, name)


def frame_columns(
    table: Mapping[str, Sequence[Any]], options: ReadOptions
) -> tuple[str, tuple[str, ...], str | None]:
    """The columns of images, of the label (or of the places of a one-hot label) and of the split.

    Raises:
        ValueError: If they cannot be told, naming the columns.
    """
    names = list(table)
    where = "The data frame"
    texts = {name: [_text(cell) for cell in cells] for name, cells in table.items()}
    image = _image_column(table, options)
    if image is None:
        raise no_column(names, "image", None, where)
    others = [name for name in names if name != image]
    named = [name for name in others if name == options.label_column]
    used = [image, *(named or usual_columns(others, "label"))]
    split = (
        named_column(others, "split", options.split_column, where)
        if options.split_column is not None
        else split_column(texts, SplitNames(options.split), used, where)
    )
    others = [name for name in others if name != split]
    if options.label_column is not None:
        return image, (named_column(others, "label", options.label_column, where),), split
    usual = usual_columns(others, "label")
    if usual:
        return image, (label_column(texts, usual, where),), split
    if len(others) == 1:
        return image, (others[0],), split
    if others and all(_is_flag(value) for name in others for value in table[name]):
        return image, tuple(others), split
    raise no_column(names, "label", None, where)


def _image_column(table: Mapping[str, Sequence[Any]], options: ReadOptions) -> str | None:
    names = list(table)
    if options.image_column is not None:
        return named_column(names, "image", options.image_column, "The data frame")
    usual = usual_columns(names, "image")
    with_images = [name for name in [*usual, *names] if _are_images(table[name])]
    return next(iter([*with_images, *usual]), None)


def _text(cell: Any) -> str:
    """A cell as text; nothing for what is no text or number."""
    return str(cell).strip() if isinstance(cell, str | int | np.number | bool) else ""


def _are_images(values: Sequence[Any]) -> bool:
    """Whether the first values are images, encoded ones, or names of such."""
    first = [value for value in values if not is_missing(value)][:ROWS_TO_TRY]
    return bool(first) and all(
        Path(value).suffix.lower() in SUFFIXES if isinstance(value, str | Path)
        else isinstance(value, bytes | Image.Image | Mapping) or getattr(value, "ndim", 0) >= 2
        for value in first
    )  # fmt: skip


# Cells ################################################################################


def image_of(cell: Any, row: int, reading: Reading) -> Any:
    """An image as a path or as bytes; :obj:`None` if it is left out.

    Raises:
        ValueError: If it is no image.
    """
    if isinstance(cell, str | Path):
        if is_file(Path(cell)):
            return str(cell)
        reading.leave_out(NOT_THERE, cell)
        return None
    if isinstance(cell, Mapping) and ("bytes" in cell or "path" in cell):
        return {"bytes": cell.get("bytes"), "path": cell.get("path")}
    if isinstance(cell, bytes | bytearray):
        return {"bytes": bytes(cell), "path": None}
    if not isinstance(cell, Image.Image):
        cell = _pixels(cell, row)
    try:
        return {"bytes": png(decode_image(cell)), "path": None}
    except UnreadableImageError as error:
        reading.leave_out("images that cannot be decoded", f"row {row} ({error})")
        return None


def png(image: Image.Image) -> bytes:
    """A decoded image without loss."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _pixels(cell: Any, row: int) -> np.ndarray[Any, Any]:
    """The pixels of an array or a tensor, with the channels last."""
    try:
        pixels = np.asarray(cell)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"The image in row {row} cannot be read ({error}).") from error
    if pixels.ndim == 1 and pixels.dtype.kind == "f":
        raise ValueError(
            f"Row {row} holds features ({type(cell).__name__} of {pixels.dtype} "
            f"{list(pixels.shape)}), not an image: with labels, features are a FeatureFile, or "
            f"Features(x, y)."
        )
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"The image in row {row} must be a path, bytes, a PIL image or pixels of type uint8 "
            f"(got {type(cell).__name__} of {pixels.dtype}): give the data set without the "
            f"transform that scales its images."
        )
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    elif pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        raise ValueError(
            f"The image in row {row} has the shape {pixels.shape}, of which the first or the last "
            f"number can be the channels: give PIL images."
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(
            f"The image in row {row} must have the shape [H, W, 3] or [3, H, W] (got "
            f"{list(pixels.shape)})."
        )
    return np.ascontiguousarray(pixels)


def label_of(value: Any, row: int, names: Mapping[int, str] | None = None) -> str | None:
    """A label as text; :obj:`None` if there is none, which is also what -1 means.

    Args:
        value: A name, a whole number, or a row of zeros with a single 1.
        row (int): Its row, for messages.
        names (dict, optional): The names by number. (default: :obj:`None`)

    Raises:
        ValueError: If it is another number, or a row with several ones.
    """
    if isinstance(value, str):
        return value.strip() or None
    if is_missing(value):
        return None
    array = np.asarray(value)
    if array.ndim == 1 and array.size > 1:
        number = _place_of_one(array, row)
    elif array.size == 1 and array.dtype.kind in "biuf" and float(array.item()).is_integer():
        number = int(array.item())
        if array.dtype.kind == "b" and names is None:
            return str(bool(number))
    elif array.size == 1 and array.dtype.kind == "U":
        return str(array.item()).strip() or None
    else:
        raise ValueError(
            f"The label in row {row} must be a name or a whole number (got {str(value)[:60]})."
        )
    if number == -1:
        return None
    if names is None:
        return str(number)
    if number not in names:
        raise ValueError(
            f"The label in row {row} is {number}, and there are {len(names)} names of classes."
        )
    return names[number]


def _place_of_one(values: np.ndarray[Any, Any], row: int) -> int:
    """The place of the only 1 in a one-hot label."""
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"The label in row {row} must be a name, a whole number, or zeros with one 1 (got "
            f"{str(values.tolist())[:60]})."
        )
    places = np.flatnonzero(values)
    if len(places) != 1:
        few = "several labels" if len(places) else "no label"
        raise ValueError(
            f"Row {row} has {few} ({len(places)} ones, at {places.tolist()[:5]}): an image has one "
            f"label here."
        )
    return int(places[0])


def is_missing(value: Any) -> bool:
    """Whether a cell is empty, as pandas has it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool_) and value in (0, 1)
