"""Linear methods that are solved, and hold the weights and biases of the solution."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from pyg_graphadapter.adapters.base import LinearAdapter


class FittedLinearAdapter(LinearAdapter):
    r"""A method that holds the weights and biases of a solved linear classifier.

    .. math::
        \textrm{logits}_c = \mathbf{x}^{\top} \mathbf{w}_c + b_c

    Args:
        text (torch.Tensor): The class text features.
        weight (torch.Tensor): The weights.
        bias (torch.Tensor): The biases.
        logit_scale (float, optional): The factor :math:`s`, which these logits do not have.
            (default: :obj:`100.0`)
        **settings (optional): The fields of :obj:`Config`.

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`; **bias:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    is_trained: ClassVar[bool] = False
    needs_text: ClassVar[bool] = False
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "weight": "CD", "bias": "C"}

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        text: Tensor,
        weight: Tensor,
        bias: Tensor,
        logit_scale: float = 100.0,
        **settings: Any,
    ) -> None:
        super().__init__(text, logit_scale, {"weight": weight, "bias": bias}, **settings)

    def class_weights(self) -> Tensor:
        """The weights divided by the factor of all logits ``[C, D]``, of any length."""
        return self.weight / self.logit_scale

    def class_biases(self) -> Tensor:
        """The biases ``[C]``."""
        return self.bias

    def num_parameters(self) -> int:
        """The number of fitted weights and biases."""
        return self.weight.numel() + self.bias.numel()
