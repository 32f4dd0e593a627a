"""Settings that change the predictions only: selection tries all their values on one fit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter


@runtime_checkable
class PredictionTuned(Protocol):
    """A method with settings that play no part in the fit."""

    #: The names of these settings.
    prediction_settings: ClassVar[tuple[str, ...]]

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """Which images are classified right, for every combination of prediction settings.

        Args:
            x (torch.Tensor): Image features ``[B, D]``.
            y (torch.Tensor): Labels ``[B]``.
            grid (dict): The values to try for each setting.

        Returns:
            torch.Tensor: One row per combination ``[G, B]``; the last setting varies fastest.
        """


def prediction_settings(method: type[Adapter]) -> tuple[str, ...]:
    """The names of a method's settings that play no part in the fit; often none."""
    return getattr(method, "prediction_settings", ())


def combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations of values in a grid; the last setting varies fastest."""
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


@contextmanager
def changed_settings(adapter: Adapter, settings: Mapping[str, Any]) -> Iterator[None]:
    """Changes settings of an adapter inside a ``with`` block."""
    config = adapter.config
    adapter.config = replace(config, **settings)
    try:
        yield
    finally:
        adapter.config = config


def right_over(adapter: Adapter, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
    """:meth:`PredictionTuned.right_over` by one prediction per combination."""
    rows = []
    for settings in combinations(grid):
        with changed_settings(adapter, settings):
            rows.append(adapter(x).argmax(dim=1) == y)
    return torch.stack(rows)
