"""Zero-shot CLIP: nothing is learned."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.graph import check_features, unit
from pyg_graphadapter.task import FewShotTask


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

    is_trained: ClassVar[bool] = False

    def __init__(self, text: Tensor, logit_scale: float = 100.0) -> None:
        super().__init__(logit_scale, AdapterConfig())
        check_features(text, "text")
        self.register_buffer("text", unit(text))

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the classifier from the task's texts; there are no settings."""
        return cls(task.text, task.logit_scale, **settings)

    def class_weights(self) -> Tensor:
        """The class text features ``[C, D]``."""
        return self.text

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "ZeroShot":
        """The classifier for further classes."""
        return ZeroShot(torch.cat([self.text, unit(text).to(self.text)]), self.logit_scale)
