"""Several GraphAdapters that are trained at once, as a batch."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters.graph_step import GraphStep, Side
from pyg_graphadapter.adapters.stack import Stack

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.graph_adapter import GraphAdapter


class GraphStack(Stack):
    r"""The training steps of :math:`S` GraphAdapters of the same settings and shapes as one step:
    every matrix product is a batch of :math:`S` products.

    Args:
        adapters (sequence of GraphAdapter): The adapters, on one device. They do not change before
            :meth:`unstack`.

    Shapes:
        - **parameters:** :math:`(S, D, D)` and :math:`(S, C, D)`, or :math:`(S, 1, D)` for a bias
          that all classes share
    """

    is_recordable: ClassVar[bool] = True

    def __init__(self, adapters: Sequence["GraphAdapter"]) -> None:
        self._adapters = adapters
        nodes = torch.stack([adapter.class_nodes for adapter in adapters])  # [S, C, D]
        lengths = [adapter.lengths for adapter in adapters if adapter.lengths is not None]
        alphas = [adapter.config.alpha for adapter in adapters]
        sides = zip(*(adapter.sides() for adapter in adapters), strict=True)
        self._sides = [_stacked(side_of_adapters) for side_of_adapters in sides]
        self._step = GraphStep(
            nodes,
            self._sides,
            adapters[0].config,
            nodes.new_tensor(alphas).view(-1, 1, 1) if len(set(alphas)) > 1 else None,
            torch.stack(lengths) if lengths else None,
        )

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of all adapters, stacked."""
        for side in self._sides:
            yield from side.parameters()

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean losses ``[S]`` of a batch ``[S, B, D]`` with labels ``[S, B]``, and their
        gradients in the parameters' :obj:`grad`."""
        return self._step(x, y, self._adapters[0].logit_scale / temperature, label_smoothing)

    @torch.no_grad()
    def unstack(self) -> None:
        """Copies the trained parameters to the adapters."""
        for s, adapter in enumerate(self._adapters):
            parameters = [parameter for side in adapter.sides() for parameter in side.parameters()]
            for parameter, stacked in zip(parameters, self.parameters(), strict=True):
                parameter.copy_(stacked[s].view_as(parameter))


def _stacked(sides: Sequence[Side]) -> Side:
    """The same side of all adapters as one."""
    weight = torch.stack([side.weight.detach() for side in sides]).requires_grad_()
    biases = [side.bias.detach() for side in sides if side.bias is not None]
    stacked_bias = None
    if biases:
        stacked_bias = torch.stack(
            [bias.view(-1, bias.size(-1)) for bias in biases]
        ).requires_grad_()
    return Side(
        weight, stacked_bias, sides[0].share, torch.stack([side.messages for side in sides])
    )
