"""What an image is, wherever images in memory are taken: one image, or several.

Paths, PIL images, encoded bytes, ``{"bytes": …, "path": …}`` as in an undecoded column of
``datasets``, and arrays of ``uint8`` are images; an array ``[H, W, 3]`` is one, and an array
``[N, H, W, 3]`` is several. Arrays may be those of numpy, of torch, or anything with ``__array__``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGES = "uint8 arrays [H, W, 3] or [N, H, W, 3], PIL images, or paths"
ENTRIES = {"bytes", "path"}  # of an undecoded image of datasets
AnyArray: TypeAlias = Tensor | NDArray[Any]


def image_list(images: Any) -> Sequence[Any]:
    """One image or several, as a sequence of images that
    :func:`~pyg_graphadapter.data.decode_image` takes.

    Args:
        images: One image, an array of several, or several in any order and mixture.

    Raises:
        ValueError: If it holds something that is no image, naming it.
    """
    if is_column(images):
        return images  # type: ignore[no-any-return]
    several = as_images(images)
    if several is not None:
        return several
    if as_array(images) is not None or not isinstance(images, Iterable) \
            or isinstance(images, Mapping):  # fmt: skip
        raise ValueError(f"Images are {IMAGES} (got {described(images)}).{advice(images)}")
    items = list(images)
    for i, item in enumerate(items):
        if not is_image(item):
            raise ValueError(
                f"Images are {IMAGES} (got {described(item)} as entry {i}).{advice(item)}"
            )
    return [_plain(item) for item in items]


def as_images(value: Any) -> list[Any] | None:
    """The images that a value is, be it one image or an array of several; else :obj:`None`."""
    if is_image(value):
        return [_plain(value)]
    array = as_array(value)
    if array is not None and _is_uint8(array) and array.ndim == 4 and array.shape[3] == 3:
        return list(_numpy(array))
    return None


def is_image(value: Any) -> bool:
    """Whether a value is one image."""
    if isinstance(value, str | Path | bytes) or _is_pil(value):
        return True
    if isinstance(value, dict):
        return bool(value) and set(value) <= ENTRIES
    array = as_array(value)
    return array is not None and _is_uint8(array) and array.ndim == 3 and array.shape[2] == 3


def is_column(value: Any) -> bool:
    """Whether a value is a column of ``datasets``, which is read when its images are needed."""
    kind = type(value)
    return kind.__module__.partition(".")[0] == "datasets" and kind.__name__ == "Column"


def as_array(value: Any) -> AnyArray | None:
    """A tensor or an array of numpy, if a value is one or can be made one; else :obj:`None`."""
    if isinstance(value, Tensor):
        return value.detach().to_dense().cpu() if value.layout != torch.strided \
            else value.detach().cpu()  # fmt: skip
    if np.ma.isMaskedArray(value) and np.issubdtype(value.dtype, np.floating):
        return np.asarray(value.filled(np.nan))  # what is masked is no number
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__array__") and not isinstance(value, type) and not _is_pil(value):
        return np.asarray(value)
    return None


def described(value: Any) -> str:
    """What a value is, in a few words."""
    array = as_array(value)
    if array is not None:
        return f"{str(array.dtype).removeprefix('torch.')} {list(array.shape)}"
    return f"a {type(value).__name__}" if value is not None else "None"


def advice(value: Any) -> str:
    """What to do about an array that is nearly an image, as a sentence."""
    array = as_array(value)
    if array is None or array.ndim not in (2, 3, 4):
        return ""
    shape = tuple(array.shape)
    is_last, is_first = shape[-1] == 3 and len(shape) > 2, len(shape) > 2 and shape[-3] == 3
    if _is_uint8(array) and len(shape) == 2:
        return " A grey image x becomes one by numpy.stack([x] * 3, axis=-1)."
    if is_first and not is_last:
        return " Put the three colours last, as by numpy.moveaxis(x, -3, -1)."
    if is_last and not _is_uint8(array):
        return (
            " An image x with values from 0 to 1 becomes one by (255 * x).round().astype('uint8')."
        )
    return ""


def _is_uint8(array: AnyArray) -> bool:
    return array.dtype in (np.uint8, torch.uint8)


def _is_pil(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, Image.Image)


def _numpy(array: AnyArray) -> NDArray[Any]:
    return array.numpy() if isinstance(array, Tensor) else array


def _plain(image: Any) -> Any:
    """An image as the decoder takes it: arrays are numpy's, whatever they came as."""
    if isinstance(image, str | Path | bytes | dict) or _is_pil(image):
        return image
    array = as_array(image)
    return image if array is None else np.ascontiguousarray(_numpy(array))
