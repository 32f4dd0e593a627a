"""Arrays in the forms that people have: of numpy, torch or pandas, and transposed ones."""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from pyg_graphadapter.settings import warn


def tensor_or_names(values: Any, name: str) -> Tensor | list[str]:
    """Numbers as a tensor, and texts as a list.

    Args:
        values (any): A tensor, an array, a data frame, or a list.
        name (str): What the sentence calls it.

    Raises:
        ValueError: If it holds neither numbers nor texts.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if isinstance(values, list) and values and all(isinstance(text, str) for text in values):
        return list(map(str, values))  # an array would make all as long as the longest
    array = _stacked(np.asarray(values))
    if array.dtype.kind in "OUST" and all(isinstance(text, str) for text in array.flat):
        return [str(text) for text in array.flat] if array.ndim == 1 else _refused(name, array)
    if array.dtype == object and all(_is_whole(number) for number in array.flat):
        array = array.astype(np.int64)
    if array.dtype.kind not in "fiub":
        _refused(name, array)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _stacked(array: Any) -> Any:
    """An array of arrays of one length, as a column of vectors has them, as one array."""
    is_column = array.dtype == object and array.ndim == 1 and len(array) > 0
    if not is_column or not all(isinstance(row, np.ndarray | Tensor | list) for row in array):
        return array
    rows = [np.asarray(row) for row in array]
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else array


def list_of_names(names: Any) -> list[str]:
    """Class names in the order of the classes.

    Raises:
        ValueError: If they have no order, or are a single text.
    """
    if isinstance(names, str | Mapping | set | frozenset) or not isinstance(names, Iterable):
        raise ValueError(
            f"'class_names' must be a list of names in the order of the labels (got a "
            f"{type(names).__name__}): of a table from number to name, give "
            f"[names[c] for c in range(len(names))]."
        )
    return list(map(str, names))


def check_same_order(x: Any, labels: Any) -> None:
    """Checks that rows of a data frame and of labels, which pandas names, are not in different
    orders.

    Raises:
        ValueError: If both have the same names of rows in another order.
    """
    index: Any = getattr(x, "index", None)
    other: Any = getattr(labels, "index", None)
    if not all(hasattr(names, "equals") for names in (index, other)) or index.equals(other):
        return
    if len(index) == len(other) and index.sort_values().equals(other.sort_values()):
        raise ValueError(
            "The features and their labels have the same rows in another order (by their index): "
            "sort them alike, as by labels.loc[features.index]."
        )


def check_order_of_texts(text: Any, names: tuple[str, ...]) -> None:
    """Checks that the rows of texts in a data frame, if they have the names of the classes, are in
    the order of the classes.

    Raises:
        ValueError: If they are not.
    """
    index: Any = getattr(text, "index", None)
    rows = list(map(str, index)) if hasattr(index, "equals") else list(names)
    if tuple(rows) != names and sorted(rows) == sorted(names):
        raise ValueError(
            f"The rows of 'text_features' must be in the order of the classes, {', '.join(names)} "
            f"(got {', '.join(rows)}): sort them, or give 'class_names' in their order."
        )


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _refused(name: str, array: Any) -> NoReturn:
    raise ValueError(
        f"{name!r} must be an array of numbers, or a list of names (got {array.dtype} "
        f"{list(array.shape)})."
    )


def as_rows(x: Tensor, num_rows: int, name: str, *, is_transposed: bool = False) -> Tensor:
    """Features with one row per image, which may be stored as columns.

    Args:
        x (torch.Tensor): The features ``[N, D]``, ``[N, V, D]``, or transposed ``[D, N]``.
        num_rows (int): The number of labels :math:`N`.
        name (str): What the sentence calls it.
        is_transposed (bool): Whether a square matrix has one column per image.
            (default: :obj:`False`)
    """
    if x.dim() != 2 or x.size(1) != num_rows:
        return x
    if x.size(0) == num_rows:
        order = "column" if is_transposed else "row"
        warn(f"{name!r} is square ({num_rows} x {num_rows}): it is read as one {order} per image.")
        return x.T if is_transposed else x
    warn(f"{name!r} is {x.size(0)} x {x.size(1)}, with {num_rows} labels: it was transposed.")
    return x.T


def as_texts(text: Tensor, width: int, name: str = "text_features") -> Tensor:
    """Text features with one row per class, which may be stored as columns.

    Args:
        text (torch.Tensor): The text features ``[C, D]``, or transposed ``[D, C]``.
        width (int): The width of the image features :math:`D`.
        name (str, optional): What the sentence calls it. (default: :obj:`"text_features"`)

    Raises:
        ValueError: If neither side is as long as the image features are wide.
    """
    if text.dim() != 2:
        raise ValueError(f"{name!r} must be a matrix [C, D] (got {list(text.shape)}).")
    if width not in text.shape:
        raise ValueError(
            f"{name!r} is {text.size(0)} x {text.size(1)}, and the images are {width} wide: both "
            f"must come from the same encoder."
        )
    if text.size(0) == text.size(1):
        warn(f"{name!r} is square ({width} x {width}): it is read as one row per class.")
    elif text.size(0) == width:
        warn(f"{name!r} is {text.size(0)} x {text.size(1)}: it was transposed.")
        return text.T
    return text
