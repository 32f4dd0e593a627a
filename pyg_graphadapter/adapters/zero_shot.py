"""Zero-shot CLIP: the class text features are the classifier."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import LinearAdapter
from pyg_graphadapter.adapters.parts import NAME
from pyg_graphadapter.graph import unit


class ZeroShot(LinearAdapter):
    r"""The zero-shot classifier of the `"Learning Transferable Visual Models From Natural Language
    Supervision" <https://arxiv.org/abs/2103.00020>`_ paper: the class text features themselves.

    .. math::
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}_c)

    Args:
        text (torch.Tensor): The class text features.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)

    Shapes:
        - **text:** :math:`(C, D)`

    Example:
        >>> import torch
        >>> ZeroShot(torch.eye(3))(torch.tensor([[0.0, 2.0, 0.0]]))
        tensor([[  0., 100.,   0.]])
    """

    takes_weights: ClassVar[bool] = True
    is_trained: ClassVar[bool] = False
    needs_shots: ClassVar[bool] = False

    def class_weights(self) -> Tensor:
        """The class text features ``[C, D]``."""
        return self.text

    def weight_parts(self) -> dict[str, Tensor]:
        """The name alone."""
        return {NAME: self.text}

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "ZeroShot":
        """The classifier for its classes and new ones."""
        return ZeroShot(torch.cat([self.text, unit(text).to(self.text)]), self.logit_scale)
