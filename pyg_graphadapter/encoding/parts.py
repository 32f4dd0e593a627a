"""Batches that go through a tower in parts, and checks of the features that come out."""

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pyg_graphadapter.graph import unit

logger = logging.getLogger(__name__)


class _HasBatchSize(Protocol):
    batch_size: int


def encoded_in_parts(
    encoder: _HasBatchSize,
    batch: dict[str, Tensor],
    encode: Callable[[dict[str, Tensor]], Tensor],
) -> Tensor:
    """Features of a batch, at most ``batch_size`` views at a time. Where memory does not suffice,
    half as many, from then on.

    Args:
        encoder (object): Its ``batch_size`` is lowered.
        batch (dict): The inputs, one row per view.
        encode (callable): Gives the features of a part.
    """
    num_views = len(next(iter(batch.values())))
    features: list[Tensor] = []
    start = 0
    while start < num_views:
        end = min(start + encoder.batch_size, num_views)
        try:
            features.append(encode({name: value[start:end] for name, value in batch.items()}))
            start = end
        except torch.OutOfMemoryError:
            if end - start == 1:
                raise
            encoder.batch_size = (end - start + 1) // 2
            logger.warning("Out of memory with %d views at once: going on with %d.",
                           end - start, encoder.batch_size)  # fmt: skip
    return torch.cat(features)


def checked_features(features: Tensor, name: str) -> Tensor:
    """Features of length one in ``float32`` on the CPU.

    Raises:
        ValueError: If one is not finite.
    """
    if not features.isfinite().all():
        raise ValueError(
            f"{name} gives features that are not finite in {features.dtype}: use dtype='float32'."
        )
    return unit(features.float()).cpu()


def checked_image_features(features: Tensor, name: str) -> Tensor:
    """As :func:`checked_features`.

    Raises:
        ValueError: If one is not finite or zero.
    """
    x = checked_features(features, name)
    if not x.any(dim=1).all():
        raise ValueError(
            f"The model {name!r} cannot be used: its features of an image are zero, so its image "
            f"tower is damaged."
        )
    return x
