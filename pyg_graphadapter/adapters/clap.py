"""CLAP: a linear probe that starts at the text features, with one penalty weight per class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.graph import normalized, unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask

CONSTRAINTS = ("class", "none")


@dataclass(frozen=True)
class CLAPConfig(AdapterConfig):
    """The settings of :class:`CLAP`."""

    constraint: str = setting(
        "class",
        "penalty on the distance of each class to its text feature, or none (ZS-LP)",
        choices=CONSTRAINTS,
    )


class CLAP(LinearAdapter):
    r"""The class-adaptive linear probe of the `"A Closer Look at the Few-Shot Adaptation of Large
    Vision-Language Models" <https://arxiv.org/abs/2312.12730>`_ paper.

    .. math::
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{w}_c), \qquad
        \mathcal{L} = \textrm{CE} + \frac{1}{C} \sum_c \lambda_c
        {\Vert \mathbf{w}_c - \mathbf{t}_c \Vert}_2^2

    The weights start at the text features. :math:`\lambda_c` is the mean probability that zero-shot
    CLIP gives to the true class, over the shots of class :math:`c`: the better the text, the nearer
    the weight stays to it. Without the constraint, this is the paper's ZS-LP. No setting is
    selected. The recipe is the paper's: SGD with a learning rate of 0.1 and momentum 0.9, 300
    epochs.

    Args:
        text (torch.Tensor): The class text features.
        trust (torch.Tensor): The weights :math:`\lambda`.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        constraint (str, optional): :obj:`"class"` or :obj:`"none"`. (default: :obj:`"class"`)

    Shapes:
        - **text:** :math:`(C, D)`; **trust:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = CLAPConfig
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "trust": "C"}
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"optimizer": "sgd", "lr": 0.1, "epochs": 300}

    config: CLAPConfig
    trust: Tensor

    def __init__(
        self, text: Tensor, trust: Tensor, logit_scale: float = 100.0, **settings: Any
    ) -> None:
        super().__init__(text, logit_scale, {"trust": trust}, **settings)
        self.weight = torch.nn.Parameter(self.text.clone())

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        r"""Builds the probe, with the weights :math:`\lambda` from the task's shots.

        Raises:
            ValueError: If a class has no shot, naming it.
        """
        task.prototypes()  # raises if a class has no shot
        x, y = task.support.mean_views(), task.support.y
        probability = (task.logit_scale * (x @ unit(task.text).to(x).t())).softmax(dim=1)
        true_class = probability.gather(1, y.unsqueeze(1)).squeeze(1)  # [N]
        weight = task.weights().to(x)
        total = x.new_zeros(task.num_classes).index_add_(0, y, weight)
        trust = x.new_zeros(task.num_classes).index_add_(0, y, weight * true_class) / total
        return cls(task.text, trust, task.logit_scale, **settings)

    def penalty(self) -> Tensor | None:
        """The mean over classes of the weighted squared distance to the text feature."""
        if self.config.constraint == "none":
            return None
        return (self.trust * (self.weight - self.text).square().sum(dim=1)).mean()

    def class_weights(self) -> Tensor:
        """The weights, of length one ``[C, D]``."""
        return normalized(self.weight)

    def weight_parts(self) -> dict[str, Tensor]:
        """The name, where training starts, and what training changed, both divided by the length of
        their sum."""
        length = self.weight.norm(dim=1, keepdim=True)
        return {NAME: self.text / length, TRAINING: (self.weight - self.text) / length}
