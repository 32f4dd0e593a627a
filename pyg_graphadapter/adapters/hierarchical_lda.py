"""Hierarchical LDA: Gaussian classes, their means predicted from texts, corrected by shots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.fitted import FittedLinearAdapter
from pyg_graphadapter.adapters.gaussian import ROUNDING, Moments, moments, scatter_around
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask

PRIOR_SHOTS_WITHOUT_TEXT = 1.0


@dataclass(frozen=True)
class HierarchicalLDAConfig(AdapterConfig):
    """The settings of :class:`HierarchicalLDA`."""

    prior_shots: float = setting(
        8.0, "how many shots the prediction of a class mean from the texts counts as", low=0
    )
    ridge: float = setting(
        20.0,
        "ridge of the regression from texts to class means, as a multiple of the mean squared "
        "length of the centred texts",
        low=1e-6,
    )
    shrinkage: float = setting(
        1.0,
        "strength a of the shrinkage of the covariance to a multiple of the identity, whose share "
        "is a D / (a D + N)",
        low=1e-3,
    )


class HierarchicalLDA(FittedLinearAdapter):
    r"""Linear discriminant analysis whose class means have a prior: what a regression from the
    texts predicts. It is a method of this package, from known parts: the Gaussian classifier is
    that of `"A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation"
    <https://arxiv.org/abs/2402.04087>`_, the shrinkage of means that of `"Data Analysis Using
    Stein's Estimator and its Generalizations" <https://doi.org/10.1080/01621459.1975.10479864>`_,
    and the shrunk covariance that of `"Regularized Discriminant Analysis"
    <https://doi.org/10.1080/01621459.1989.10478752>`_.

    .. math::
        \textrm{logits}_c = \mathbf{x}^{\top} \mathbf{w}_c + b_c, \qquad
        \mathbf{w}_c = \mathbf{P} \boldsymbol{\mu}_c, \quad
        b_c = -\tfrac{1}{2} \boldsymbol{\mu}_c^{\top} \mathbf{P} \boldsymbol{\mu}_c -
        \mathbf{m}^{\top} \mathbf{w}_c

    where :math:`\mathbf{m}` is the mean of the class means of the shots, and
    :math:`\boldsymbol{\mu}_c` is the mean of class :math:`c` as seen from there. It lies between
    the mean :math:`\mathbf{m}_c` of its :math:`n_c` shots and the prediction :math:`\mathbf{p}_c`
    from the texts, which counts as :math:`\kappa` shots:

    .. math::
        \boldsymbol{\mu}_c = \tau_c (\mathbf{m}_c - \mathbf{m}) + (1 - \tau_c) \, \mathbf{p}_c,
        \quad \tau_c = \frac{n_c}{n_c + \kappa}

        \mathbf{p} = a \mathbf{T} + \mathbf{K} (\mathbf{K} + \rho \mathbf{I})^{-1}
        (\mathbf{M} - a \mathbf{T}), \quad \mathbf{K} = \mathbf{T} \mathbf{T}^{\top}

    with the centred texts :math:`\mathbf{T}`, the centred class means :math:`\mathbf{M}`, and the
    factor :math:`a`, not negative, that brings the texts nearest to the means. This is the ridge
    regression from :math:`\mathbf{T}` to :math:`\mathbf{M}` that is shrunk to
    :math:`a \mathbf{I}` instead of zero. The precision is

    .. math::
        \mathbf{P} = \left( (1 - r) \mathbf{S} + \frac{r}{D} \, \textrm{tr}(\mathbf{S}) \,
        \mathbf{I} \right)^{-1}, \qquad r = \frac{\lambda D}{\lambda D + N}

    where :math:`\mathbf{S}` is the mean scatter of the shots around :math:`\boldsymbol{\mu}`.
    Because these means are not those of the shots, one shot per class has a scatter, too. Where it
    has none, as with :math:`\kappa = 0`, it is that of all shots around their common mean, as in
    :class:`GDA`. The logits are log-posteriors of classes that are equally likely, however many
    shots they have.

    Without texts, the prediction is the common mean, :math:`\mathbf{p}_c = \mathbf{0}`, with
    :math:`\kappa = 1`.

    With texts, :math:`\kappa` is selected inside the shots, since texts are not worth the same on
    all tasks. There is no zero-shot term: on many classes that the texts know well, as those of
    ImageNet, it stays a little below zero-shot CLIP at 1 to 3 shots. The default of the ridge is
    from held-out shots of ImageNet and of parts of it.

    Args:
        text (torch.Tensor): The class text features, which the weights hold already.
        weight (torch.Tensor): The weights :math:`\mathbf{w}`.
        bias (torch.Tensor): The biases :math:`\mathbf{b}`.
        logit_scale (float, optional): Not used; the logits have their own scale.
            (default: :obj:`100.0`)
        prior_shots (float, optional): The number :math:`\kappa`. (default: :obj:`8.0`)
        ridge (float, optional): The ridge :math:`\rho`, as a multiple of the mean of the diagonal
            of :math:`\mathbf{K}`. (default: :obj:`20.0`)
        shrinkage (float, optional): The strength :math:`\lambda`. (default: :obj:`1.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`; **bias:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    text_settings: ClassVar[tuple[str, ...]] = ("prior_shots",)
    Config: ClassVar[type[AdapterConfig]] = HierarchicalLDAConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"prior_shots": (20.0, 8.0, 3.0, 1.0)}

    config: HierarchicalLDAConfig

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the Gaussians to the task's texts and few shots.

        Raises:
            ValueError: If a setting is out of bounds, or a class has no shot, naming it.
        """
        if not task.has_text:
            settings = {"prior_shots": PRIOR_SHOTS_WITHOUT_TEXT, **settings}
        config = HierarchicalLDAConfig(**settings)
        shots = moments(task)
        centre = shots.mean.mean(dim=0)
        prediction = torch.zeros_like(shots.mean)
        if task.has_text:
            prediction = _predicted(unit(task.text.double()), shots.mean - centre, config.ridge)
        trust = shots.total / (shots.total + config.prior_shots)  # [C, 1]
        mean = torch.lerp(prediction, shots.mean - centre, trust)
        weight = mean @ _precision(shots, centre + mean, config.shrinkage)
        bias = -0.5 * (weight * mean).sum(dim=1) - weight @ centre
        return cls(task.text, weight, bias, task.logit_scale, **settings)


def _predicted(text: Tensor, mean: Tensor, ridge: float) -> Tensor:
    """What ridge regression from texts ``[C, D]`` predicts of the centred class means ``[C, D]``;
    zero where all texts are equal."""
    centred = text - text.mean(dim=0)
    square = centred.square().sum()
    if not square > ROUNDING * text.square().sum():
        return torch.zeros_like(mean)
    scaled = ((mean * centred).sum() / square).clamp(min=0) * centred
    kernel = centred @ centred.t()  # [C, C]
    identity = torch.eye(len(kernel), dtype=kernel.dtype)
    ridged = kernel + ridge * kernel.diagonal().mean() * identity
    coefficients: Tensor = torch.linalg.solve(ridged, mean - scaled)
    return scaled + kernel @ coefficients


def _precision(shots: Moments, mean: Tensor, shrinkage: float) -> Tensor:
    """The shrunk precision ``[D, D]`` of the shots around class means ``[C, D]``."""
    num, channels = float(shots.number.sum()), mean.size(1)
    identity = torch.eye(channels, dtype=mean.dtype)
    scatter, _ = scatter_around(shots.x, mean[shots.y], shots.number)
    if not scatter.any():  # all shots are equal
        return identity
    covariance = scatter / num
    isotropic = covariance.trace() / channels * identity
    share = shrinkage * channels / (shrinkage * channels + num)
    precision: Tensor = torch.linalg.inv(torch.lerp(covariance, isotropic, share))
    return precision
