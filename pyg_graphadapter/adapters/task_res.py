"""TaskRes: a trained residual for each class text feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.graph import normalized
from pyg_graphadapter.settings import setting


@dataclass(frozen=True)
class TaskResConfig(AdapterConfig):
    """The settings of :class:`TaskRes`."""

    scale: float = setting(0.5, "factor of the trained residual", low=0)


class TaskRes(LinearAdapter):
    r"""The adapter of the `"Task Residual for Tuning Vision-Language Models"
    <https://arxiv.org/abs/2211.10277>`_ paper.

    .. math::
        \mathbf{t}'_c = \mathbf{t}_c + a \cdot \mathbf{r}_c, \qquad
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}'_c)

    Only the residual :math:`\mathbf{r}` is trained (:math:`C \cdot D` parameters); it starts at
    zero. The recipe is the paper's for 1 to 4 shots: Adam with a learning rate of 2e-3, 100 epochs
    (the presets have 200 epochs for more shots, and 2e-4 for ImageNet).

    Args:
        text (torch.Tensor): The class text features.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        scale (float, optional): The factor :math:`a`. (default: :obj:`0.5`)

    Shapes:
        - **text:** :math:`(C, D)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = TaskResConfig
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"lr": 2e-3, "epochs": 100}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"scale": (0.05, 0.1, 0.25, 0.5)}

    config: TaskResConfig

    def __init__(self, text: Tensor, logit_scale: float = 100.0, **settings: Any) -> None:
        super().__init__(text, logit_scale, **settings)
        self.residual = torch.nn.Parameter(torch.zeros_like(self.text))

    def class_weights(self) -> Tensor:
        r"""The adapted class features :math:`\mathbf{t}'`, of length one ``[C, D]``."""
        return normalized(self.text + self.config.scale * self.residual)

    def weight_parts(self) -> dict[str, Tensor]:
        """The name and its trained residual, both divided by the length of their sum."""
        residual = self.config.scale * self.residual
        length = (self.text + residual).norm(dim=1, keepdim=True)
        return {NAME: self.text / length, TRAINING: residual / length}
