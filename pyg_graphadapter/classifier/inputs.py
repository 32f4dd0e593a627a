r"""What a fitted classifier takes. One rule holds for :meth:`FewShotClassifier.predict`,
``predict_rows``, ``predict_proba``, ``evaluate``, ``explain``, ``encode`` and ``encode_images``:

- **Features** are floating-point numbers :math:`(N, D)`, :math:`D` being the width that the
  classifier was fitted with: arrays of numpy or torch, anything with ``__array__``, lists of
  numbers or of vectors, data frames of numbers, :class:`Features` (the mean of their views), and
  the path of a feature file. A single vector :math:`(D)` is the features of one image.
- **Images** are paths (a folder stands for the images in it), PIL images, encoded bytes, arrays of
  ``uint8`` :math:`(H, W, 3)` for one and :math:`(N, H, W, 3)` for several, a ``datasets.Dataset``,
  and lists of all these.
- A data set of torch gives the images, or the features, of its items; labels in pairs (image,
  label) are not looked at, and tensors of ``uint8`` may be :math:`(3, H, W)`.
- Everything else is refused: whole numbers :math:`(N, D)`, ``uint8`` of two dimensions, images of
  floating-point numbers, features of another width, and lists that mix images and features.

One image has one label, in a list of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyg_graphadapter.data.torch_data import items_of, refuse_loader, without_label
from pyg_graphadapter.encoding.image_list import (
    IMAGES,
    advice,
    as_array,
    as_images,
    described,
    image_list,
    is_column,
    is_image,
)
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file, read_images
from pyg_graphadapter.features import Features, check_finite, rows_of

HIDDEN = (".", "__macosx", "thumbs.db", "desktop.ini")  # how names of what nobody misses begin


@dataclass(frozen=True)
class FeatureInput:
    """Features of images.

    Args:
        x (torch.Tensor): The features ``[N, D]``.
    """

    x: Tensor

    @property
    def files(self) -> tuple[None, ...]:
        """Features have no files."""
        return (None,) * len(self.x)


@dataclass(frozen=True)
class ImageInput:
    """Images that are still to be encoded.

    Args:
        images (sequence): The images.
        files (tuple of str): Their paths, :obj:`None` for an image without one.
    """

    images: Sequence[Any]
    files: tuple[str | None, ...]


Input: TypeAlias = FeatureInput | ImageInput


def read_input(value: Any, width: int, of: str = "", *, follow_links: bool = False) -> Input:
    """Features or images, by the rule of this module.

    Args:
        value: Whatever was given.
        width (int): The width of the features that the classifier was fitted with.
        of (str, optional): Whose features these are, for messages. (default: :obj:`""`)
        follow_links (bool, optional): Follow links that lead out of a folder, too.
            (default: :obj:`False`)

    Raises:
        FileNotFoundError: If it is a path where nothing is.
        ValueError: If it is neither, naming both readings, or features have no direction.
    """
    return _Reader(width, of, follow_links).read(value)


class _Reader:
    def __init__(self, width: int, of: str, follow_links: bool) -> None:
        self.width, self.of, self.follow_links = width, of, follow_links

    def read(self, value: Any) -> Input:
        if is_feature_file(value):
            return self.features(read_images(Path(value)).x)
        if isinstance(value, str | Path) and Path(value).suffix.lower() == ".npy":
            raise ValueError(
                f"{value} is an array that says not what it holds: give the array itself "
                f"(numpy.load), or a feature file (numpy.savez('features.npz', features=x))."
            )
        if isinstance(value, str | Path):
            return _image_input(self.files_at(value))
        if isinstance(value, FeatureFile):
            value = value.test or value.val or value.train
        if isinstance(value, Features):
            return self.features(value.mean_views())
        if _is_dataset(value):
            return _image_input(_images_of_dataset(value))
        refuse_loader(value)
        if isinstance(value, Dataset):
            return self.several([without_label(item) for item in items_of(value)])
        images = as_images(value)
        if images is not None:
            return _image_input(images)
        if is_column(value):
            return ImageInput(value, (None,) * len(value))
        array = as_array(value)
        if array is not None:
            return self.array(array, value)
        if not isinstance(value, Iterable) or isinstance(value, Mapping | set | frozenset):
            raise self.refused(value)
        return self.several(list(value))

    def array(self, array: Any, value: Any) -> Input:
        """An array that holds no images."""
        if isinstance(array, np.ndarray) and array.dtype.kind in "OUT" and array.ndim == 1:
            return self.several(array.tolist())  # of paths, or of images
        x = _floats(array)
        if x is None or x.dim() not in (1, 2) or 0 in x.shape[1:]:
            raise self.refused(value)
        return self.features(x.unsqueeze(0) if x.dim() == 1 else x)

    def several(self, items: list[Any]) -> Input:
        """A list: of numbers, of vectors, or of images."""
        if not items:
            return FeatureInput(torch.zeros(0, self.width))
        if all(_is_number(item) for item in items):
            return self.array(np.array(items), np.array(items))
        areas = [is_image(item) for item in items]
        if all(areas):
            return _image_input(self.expanded(items))
        if any(areas):
            first, other = areas.index(True), areas.index(False)
            raise ValueError(
                f"A list holds images or features, not both (got {described(items[first])} as "
                f"entry {first} and {described(items[other])} as entry {other}): give one kind."
            )
        return self.vectors(items)

    def vectors(self, items: list[Any]) -> Input:
        """A list of vectors, each of which is the features of one image."""
        if all(isinstance(item, list | tuple) for item in items):
            try:
                rows = np.array(items)
            except ValueError as error:  # of different lengths
                raise self.refused(items[0], " as entry 0, and others of other lengths") from error
            return self.array(rows, rows)
        rows_of_x = []
        for i, item in enumerate(items):
            array = as_array(np.array(item) if isinstance(item, list | tuple) else item)
            x = None if array is None else _floats(array)
            if x is None or x.dim() != 1:
                raise self.refused(item, f" as entry {i}")
            if len(x) != self.width:
                raise self.wrong_width([len(x)], f" as entry {i}")
            rows_of_x.append(x)
        dtype = rows_of_x[0].dtype
        for x in rows_of_x:
            dtype = torch.promote_types(dtype, x.dtype)
        return self.features(torch.stack([x.to(dtype) for x in rows_of_x]))

    def features(self, x: Tensor) -> FeatureInput:
        """Features that were checked."""
        if x.size(1) != self.width:
            raise self.wrong_width(list(x.shape))
        check_finite(x, "Features")
        zero = (x == 0).all(dim=1)
        if zero.any():
            raise ValueError(
                f"Features must not be zero (got zeros in {rows_of(zero)}): an image that was not "
                f"encoded. Encode it again, or leave it out."
            )
        return FeatureInput(x)

    def expanded(self, images: list[Any]) -> list[Any]:
        """The images of a list, in which a folder stands for those in it."""
        expanded: list[Any] = []
        for image in image_list(images):
            if is_feature_file(image):
                raise ValueError(f"Give one feature file, or images (got {image} in a list).")
            if isinstance(image, str | Path) and _is_folder(image):
                expanded += self.files_at(image)
            else:
                expanded.append(image)
        return expanded

    def files_at(self, path: str | Path) -> list[Any]:
        """The image at a path, or those in a folder; what else is in it is said."""
        from pyg_graphadapter.data import list_images  # loads datasets

        return list(list_images([path], follow_links=self.follow_links))

    def refused(self, value: Any, where: str = "") -> ValueError:
        """The error for what is neither, with both readings."""
        return ValueError(
            f"Neither features nor images (got {described(value)}{where}): features{self.of} are "
            f"floating-point numbers [N, {self.width}], and images are {IMAGES}."
            f"{advice(value) or self.advice_on_features(value)}"
        )

    def advice_on_features(self, value: Any) -> str:
        """What to do about an array that is nearly features, as a sentence."""
        array = as_array(value)
        if array is None or array.ndim not in (1, 2, 3) or array.shape[-1] != self.width:
            return ""
        if array.ndim == 3:
            return " Of several views [N, V, D] take the mean: Features(x, y).mean_views()."
        return " If these are features, say so: x.astype('float32'), or x.float() of torch."

    def wrong_width(self, shape: list[int], where: str = "") -> ValueError:
        """The error for features of another encoder, or for what was meant as an image."""
        return ValueError(
            f"The classifier was fitted with features{self.of} {self.width} wide (got {shape}"
            f"{where}): use those of the same encoder. If these are no features but images: images "
            f"are {IMAGES}."
        )


def _floats(array: Any) -> Tensor | None:
    """Floating-point numbers as a tensor of its own; :obj:`None` for all else."""
    if isinstance(array, Tensor):
        return array if array.is_floating_point() else None
    if array.dtype.kind != "f":
        return None
    dtype = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.float64
    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_folder(path: str | Path) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False  # whoever reads it says why it cannot be


def _image_input(images: Sequence[Any]) -> ImageInput:
    return ImageInput(images, tuple(map(file_of, images)))


def file_of(image: Any) -> str | None:
    """The path of an image, where it has one."""
    if isinstance(image, dict):
        image = image.get("path")
    return str(image) if isinstance(image, str | Path) else None


def _is_dataset(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.partition(".")[0] == "datasets" and "Dataset" in kind.__name__


def _images_of_dataset(data: Any) -> Sequence[Any]:
    """The undecoded images of a data set."""
    import datasets

    if not isinstance(data, datasets.Dataset):
        raise ValueError(
            f"A {type(data).__name__} is no list of images: choose one of its splits, as "
            f"data['test'], that is in memory."
        )
    columns = [name for name, kind in data.features.items() if isinstance(kind, datasets.Image)]
    column = "image" if "image" in columns else columns[0] if len(columns) == 1 else None
    if column is None:
        raise ValueError(
            f"The data set has no column of images named 'image' (it has "
            f"{', '.join(data.column_names)}): give that column, or rename it."
        )
    images = data.cast_column(column, datasets.Image(decode=False))[column]
    return list(images)
