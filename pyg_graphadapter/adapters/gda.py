"""GDA: zero-shot CLIP plus Gaussian discriminant analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.fitted import FittedLinearAdapter
from pyg_graphadapter.adapters.gaussian import Moments, moments, scatter_around
from pyg_graphadapter.adapters.mixture import right_over_alpha, text_or_zeros
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask


@dataclass(frozen=True)
class GDAConfig(AdapterConfig):
    """The settings of :class:`GDA`."""

    alpha: float = setting(0.02, "weight of the Gaussian classifier against zero-shot", low=0)


class GDA(FittedLinearAdapter):
    r"""The training-free classifier of the `"A Hard-to-Beat Baseline for Training-free CLIP-based
    Adaptation" <https://arxiv.org/abs/2402.04087>`_ paper.

    .. math::
        \textrm{logits} = s \cdot \mathbf{x} \mathbf{T}^{\top} + \alpha \cdot
        (\mathbf{x} \mathbf{W}^{\top} + \mathbf{b}), \qquad
        \mathbf{w}_c = \mathbf{P} \boldsymbol{\mu}_c, \quad
        b_c = \log \pi_c - \tfrac{1}{2} \boldsymbol{\mu}_c^{\top} \mathbf{P} \boldsymbol{\mu}_c

    with class means :math:`\boldsymbol{\mu}`, class frequencies :math:`\pi` and the precision
    :math:`\mathbf{P} = (N - C) \cdot (\mathbf{S} + \textrm{tr}(\mathbf{S}) / (N - 1) \cdot
    \mathbf{I})^{-1}` of the scatter :math:`\mathbf{S}` of the shots around their class means.

    With one shot per class, that scatter is zero. The scatter of all shots around their common mean
    then replaces it, and :math:`N - 1` replaces :math:`N - C`. The paper has :math:`D` in place of
    :math:`N - C`, which changes the unit of :math:`\alpha`. With :math:`N - C`, the unit does not
    depend on the number of shots, so that a value selected on some of the shots also suits all of
    them. :math:`\alpha` is selected inside the shots; the published code selects it on a
    validation split, or on the test split of ImageNet.

    Without texts, the Gaussian classifier stands alone, with :math:`\alpha = 1`.

    Args:
        text (torch.Tensor): The class text features.
        weight (torch.Tensor): The weights :math:`\mathbf{W}`.
        bias (torch.Tensor): The biases :math:`\mathbf{b}`.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        alpha (float, optional): The weight :math:`\alpha`. (default: :obj:`0.02`, the
            value that is selected inside 2 and 4 shots of ImageNet)

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`; **bias:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    text_settings: ClassVar[tuple[str, ...]] = ("alpha",)
    Config: ClassVar[type[AdapterConfig]] = GDAConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "alpha": tuple(float(f"{base * 10.0**power:g}")
                       for power in range(-4, 1) for base in (1, 1.5, 2, 3, 5, 7))
    }  # fmt: skip
    prediction_settings: ClassVar[tuple[str, ...]] = ("alpha",)

    config: GDAConfig

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the Gaussians to the task's few shots.

        Raises:
            ValueError: If a class has no shot, naming it.
        """
        shots = moments(task)
        weight = shots.mean @ _precision(shots)
        frequency = (shots.total / shots.total.sum()).squeeze(1)
        bias = frequency.log() - 0.5 * (weight * shots.mean).sum(dim=1)
        if not task.has_text:
            settings = {"alpha": 1.0, **settings}
        return cls(text_or_zeros(task), weight, bias, task.logit_scale, **settings)

    def gaussian_logits(self, x: Tensor) -> Tensor:
        """The logits ``[B, C]`` of the Gaussian classifier for features of length one."""
        return x @ self.weight.t() + self.bias

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """Which images are classified right ``[G, B]``, for every :math:`\\alpha` in one pass."""
        return right_over_alpha(self, self.gaussian_logits, x, y, grid)

    def class_weights(self) -> Tensor:
        """The sum of text features and weights ``[C, D]``, of any length."""
        return self.text + self.config.alpha / self.logit_scale * self.weight

    def weight_parts(self) -> dict[str, Tensor]:
        """The name, and the Gaussian classifier that was fitted to the examples."""
        return {NAME: self.text, TRAINING: self.config.alpha / self.logit_scale * self.weight}

    def class_biases(self) -> Tensor:
        """The weighted biases ``[C]``."""
        return self.config.alpha * self.bias


def _precision(shots: Moments) -> Tensor:
    """The regularised precision ``[D, D]`` of the shots around their class means."""
    num, identity = float(shots.number.sum()), torch.eye(shots.x.size(1), dtype=shots.x.dtype)
    scatter, is_within = scatter_around(shots.x, shots.mean[shots.y], shots.number)
    if not scatter.any():  # all shots are equal
        return identity
    freedom = num - (len(shots.mean) if is_within else 1)
    precision: Tensor = torch.linalg.inv(scatter + scatter.trace() / max(1, num - 1) * identity)
    return max(1, freedom) * precision
