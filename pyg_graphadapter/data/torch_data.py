"""Data sets of torch: their items, and the images in them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader


def items_of(source: Any) -> Iterator[Any]:
    """The items of a data set; one without a length is read through."""
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        for i in range(len(source)):  # torch's data sets do not say by IndexError where they end
            yield source[i]
    else:
        yield from source


def refuse_loader(source: Any) -> None:
    """Refuses what gives batches.

    Raises:
        ValueError: If it is a :class:`~torch.utils.data.DataLoader`.
    """
    if isinstance(source, DataLoader):
        raise ValueError("A DataLoader gives batches of images: give its data set, loader.dataset.")


def without_label(item: Any) -> Any:
    """The image, or the features, of an item, which may be a pair with a label. The colours of a
    tensor of bytes come last."""
    if isinstance(item, tuple | list) and item:
        item = item[0]
    is_image = isinstance(item, Tensor) and item.dtype == torch.uint8 and item.dim() == 3
    if is_image and item.size(0) == 3 and item.size(2) != 3:
        return item.permute(1, 2, 0)
    return item
