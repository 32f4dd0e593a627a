"""Several GraphAdapters that are trained at once, as a batch."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Stack
from pyg_graphadapter.adapters.graph_step import GraphStep, Side, product_dtype

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.graph_adapter import GraphAdapter


class GraphStack(Stack):
    r"""The training steps of :math:`S` GraphAdapters of the same settings and shapes as one step:
    every matrix product is a batch of :math:`S`, and what is small is done once for all.

    Args:
        adapters (sequence of GraphAdapter): The adapters, on one device. They stay as they are
            until :meth:`unstack`.

    Shapes:
        - **parameters:** :math:`(S, D, D)` and :math:`(S, C, D)`, or :math:`(S, 1, D)` of a bias
          that all classes share
    """

    def __init__(self, adapters: Sequence["GraphAdapter"]) -> None:
        self._adapters = adapters
        self._text = torch.stack([adapter.text for adapter in adapters])  # [S, C, D]
        self._sides = [
            _stacked(sides) for sides in zip(*(each.sides() for each in adapters), strict=True)
        ]
        self._step: GraphStep | None = None

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of all, stacked."""
        for side in self._sides:
            yield from side.parameters()

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean losses ``[S]`` of a batch ``[S, B, D]`` with labels ``[S, B]``, and their
        gradients in the parameters' :obj:`grad`."""
        first = self._adapters[0]
        if self._step is None:
            config, dtype = first.config, product_dtype(self._text)
            self._step = GraphStep(self._text, self._sides, config.alpha, config.activation, dtype)
        return self._step(x, y, first.logit_scale / temperature, label_smoothing)

    @torch.no_grad()
    def unstack(self) -> None:
        """Gives every adapter its trained parameters."""
        for s, adapter in enumerate(self._adapters):
            own = [parameter for side in adapter.sides() for parameter in side.parameters()]
            for parameter, stacked in zip(own, self.parameters(), strict=True):
                parameter.copy_(stacked[s].view_as(parameter))


def _stacked(sides: Sequence[Side]) -> Side:
    """One side of all."""
    weight = torch.stack([side.weight.detach() for side in sides]).requires_grad_()
    biases = [side.bias.detach() for side in sides if side.bias is not None]
    bias = None
    if biases:
        bias = torch.stack([each.view(-1, each.size(-1)) for each in biases]).requires_grad_()
    return Side(weight, bias, sides[0].share, torch.stack([side.messages for side in sides]))
