"""Arrays in the forms that people have: of numpy, torch or pandas, and transposed ones."""

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
    array = np.asarray(values)
    if array.dtype.kind in "OUST" and all(isinstance(text, str) for text in array.flat):
        return [str(text) for text in array.flat] if array.ndim == 1 else _refused(name, array)
    if array.dtype == object and all(_is_whole(number) for number in array.flat):
        array = array.astype(np.int64)
    if array.dtype.kind not in "fiub":
        _refused(name, array)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


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
