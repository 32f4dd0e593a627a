"""The cross-modal linear probe, which is trained on images and class texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.settings import setting


@dataclass(frozen=True)
class CrossModalConfig(AdapterConfig):
    """The settings of :class:`CrossModal`."""

    text_weight: float = setting(
        1.0, "weight of the loss on texts; the loss on images has weight 1", low=0
    )


class CrossModal(LinearAdapter):
    r"""The cross-modal linear probe of the `"Multimodality Helps Unimodality: Cross-Modal Few-Shot
    Learning with Multimodal Models" <https://arxiv.org/abs/2301.06267>`_ paper.

    .. math::
        \textrm{logits}_c = s \cdot \mathbf{x}^{\top} \mathbf{w}_c, \qquad
        \mathcal{L} = \textrm{CE}(\textrm{images}) + \gamma \cdot \textrm{CE}(\textrm{texts})

    The weights :math:`\mathbf{w}` start at the text features. The text feature of a class is one
    more sample of the class. Every step sees all texts; the published code draws as many texts as
    images.

    Args:
        text (torch.Tensor): The class text features.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        text_weight (float, optional): The weight :math:`\gamma`. (default: :obj:`1.0`)

    Shapes:
        - **text:** :math:`(C, D)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = CrossModalConfig
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.01}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"text_weight": (10.0, 3.0, 1.0, 0.3)}

    config: CrossModalConfig

    def __init__(self, text: Tensor, logit_scale: float = 100.0, **settings: Any) -> None:
        super().__init__(text, logit_scale, **settings)
        self.weight = torch.nn.Parameter(self.text.clone())

    def penalty(self) -> Tensor:
        """The cross-entropy of the texts."""
        y = torch.arange(self.num_classes, device=self.text.device)
        return self.config.text_weight * F.cross_entropy(self(self.text), y)

    def class_weights(self) -> Tensor:
        """The weights ``[C, D]``, of any length."""
        return self.weight

    def weight_parts(self) -> dict[str, Tensor]:
        """The name, where training starts, and what training changed."""
        return {NAME: self.text, TRAINING: self.weight - self.text}
