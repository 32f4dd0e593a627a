r"""GraphAdapter's settings where none are given: one rule for all tasks, from the shots alone.

How far class texts are trusted, :math:`\alpha`, follows from how well they, and the images, tell
the shots apart (:attr:`~pyg_graphadapter.adapters.trust.Evidence.change`), between 0.4 and 0.9.
Where the texts say next to nothing, the images alone decide: the nodes of the classes are the means
of their images, as they are without texts.

Image features are whitened by the covariance within classes, shrunk towards the identity, as
:math:`N - C` residuals know a covariance in :math:`D` dimensions only so well:

.. math::
    \lambda = g \cdot \frac{N - C}{N - C + D}, \qquad g = 1 - 0.6 \, \alpha

The better the texts are, the less of it is needed; without texts, :math:`g = 1`. With one shot per
class, nothing is whitened. ``benchmarks/trust`` shows how the constants were chosen.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters.gaussian import moments, scatter_around
from pyg_graphadapter.adapters.trust import distinct_shots, evidence
from pyg_graphadapter.task import FewShotTask

IMAGES, TEXTS = "images", "texts"
NODES = (TEXTS, IMAGES)
ALPHA_OF_IMAGES = 0.7  # where the nodes are means of images
MOST_WHITENING = 0.95
LEAST, MOST = 0.1, 0.6  # bounds of 1 - alpha, with texts


def graph_settings(task: FewShotTask, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings :obj:`alpha`, :obj:`nodes` and :obj:`whitening` of a task, those that are given
    as they are. Without shots, none of them follows.

    Args:
        task (FewShotTask): The task.
        given (dict): Settings that are given.
    """
    if not len(task.support) or {"alpha", "nodes", "whitening"} <= given.keys():
        return {}
    alpha, nodes = ALPHA_OF_IMAGES, IMAGES
    if task.has_text and given.get("nodes") != IMAGES:
        shots_say = evidence(task)
        if not shots_say.says_little or {"alpha", "nodes"} & given.keys():
            alpha, nodes = 1 - min(max(shots_say.change, LEAST), MOST), TEXTS
    alpha, nodes = given.get("alpha", alpha), given.get("nodes", nodes)
    freedom = max(0, len(distinct_shots(task).y) - task.num_classes)
    share = 1 - 0.6 * alpha if nodes == TEXTS else 1.0
    whitening = min(share * freedom / (freedom + task.support.num_channels), MOST_WHITENING)
    settings = {"alpha": round(alpha, 4), "nodes": nodes, "whitening": round(whitening, 4)}
    return {name: value for name, value in settings.items() if name not in given}


def metric_of(task: FewShotTask, whitening: float, center: Tensor | None) -> Tensor | None:
    r"""The metric that whitens the features of images,

    .. math::
        \mathbf{M} = \frac{1}{r} \boldsymbol{\Sigma}_{\lambda}^{-1/2}, \qquad
        \boldsymbol{\Sigma}_{\lambda} = (1 - \lambda) \cdot \mathbf{I} + \lambda \cdot
        \frac{D}{\textrm{tr}(\mathbf{S})} \mathbf{S}

    with the scatter :math:`\mathbf{S}` of the shots around their class means, shrunk towards the
    identity (Ledoit and Wolf, 2004), and :math:`r` such that the shots have length one on average.

    Args:
        task (FewShotTask): The task.
        whitening (float): How far to whiten, :math:`\lambda`.
        center (torch.Tensor, optional): What is taken from the features first.

    Returns:
        torch.Tensor: The metric, symmetric; :obj:`None` if features stay as they are.

    Shapes:
        - **center:** :math:`(D)`; **output:** :math:`(D, D)`
    """
    shots = moments(task)
    metric = identity = torch.eye(shots.x.size(1), dtype=shots.x.dtype)
    scatter, is_within = scatter_around(shots.x, shots.mean[shots.y], shots.number)
    is_whitened = whitening > 0 and is_within
    if is_whitened:
        scatter = scatter * (len(scatter) / scatter.trace())
        values, vectors = torch.linalg.eigh(torch.lerp(identity, scatter, whitening))
        # Of values that should be 1 - whitening, rounding may leave less:
        metric = (vectors * values.clamp(min=(1 - whitening) / 2).rsqrt()) @ vectors.t()
    elif center is None:
        return None
    x = shots.x if center is None else shots.x - center
    length = (shots.number.squeeze(1) * (x @ metric).norm(dim=1)).sum() / shots.number.sum()
    return metric / length if length > 0 else metric
