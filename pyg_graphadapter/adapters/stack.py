"""Adapters of one method that can be trained at once, as a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


class Stack(ABC):
    """Several adapters of one method that are trained at once, as a batch."""

    @abstractmethod
    def parameters(self) -> Iterator[Tensor]:
        """The parameters of all adapters, stacked: ``[S, …]``."""

    @abstractmethod
    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """As :meth:`Adapter.backward`, for batches ``[S, B, D]`` with labels ``[S, B]``."""

    @abstractmethod
    def unstack(self) -> None:
        """Copies the trained parameters to the adapters."""


@runtime_checkable
class Stackable(Protocol):
    """A method whose adapters can be trained as a batch."""

    @classmethod
    def stack(cls, adapters: Sequence[Any]) -> Stack | None:
        """Makes a batch of adapters that are on one device.

        Args:
            adapters (sequence of Adapter): Two or more adapters of the method.

        Returns:
            Stack: The batch; :obj:`None` if the adapters differ in more than their features, or if
            a batch is not faster than training one after the other.
        """
