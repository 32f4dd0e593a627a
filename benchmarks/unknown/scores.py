"""Scores by which images of none of the classes could be told, the higher the more familiar."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyg_graphadapter import FewShotTask
from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.graph import unit
from pyg_graphadapter.training.familiarity import Familiarity

Score = Callable[[Tensor], Tensor]


def of_logits(adapter: Adapter) -> dict[str, Score]:
    """Those of the logits of a fitted method."""
    return {
        "softmax": lambda x: adapter(x.float()).softmax(dim=1).amax(dim=1),
        "logit": lambda x: adapter(x.float()).amax(dim=1),
        "energy": lambda x: adapter(x.float()).logsumexp(dim=1),
    }


def of_texts(task: FewShotTask) -> dict[str, Score]:
    """Those of the class texts alone."""
    text = unit(task.text).double()
    return {
        "MCM": lambda x: (x @ text.t()).softmax(dim=1).amax(dim=1),
        "text": lambda x: (x @ text.t()).amax(dim=1),
    }


def of_shots(task: FewShotTask) -> dict[str, Score]:
    """Those of the shots alone."""
    shots, y = task.support.mean_views().double(), task.support.y
    means = torch.stack([shots[y == c].mean(dim=0) for c in range(task.num_classes)])
    within = _precision(shots - means[y], len(shots) - len(means))
    common = shots.mean(dim=0, keepdim=True)
    overall = _precision(shots - common, len(shots) - 1)
    as_relative = within if len(shots) > len(means) else overall
    return {
        "nearest shot": lambda x: (x @ shots.t()).amax(dim=1),
        "class mean": lambda x: (x @ unit(means).t()).amax(dim=1),
        "Mahalanobis": lambda x: -_squared(x, means, within).amin(dim=1),
        "relative": lambda x: (
            _squared(x, common, overall).squeeze(1) - _squared(x, means, as_relative).amin(dim=1)
        ),
    }


def combined(task: FewShotTask) -> dict[str, Score]:
    """Those of texts and shots; the last one is that of this package."""
    shots, y = task.support.mean_views().double(), task.support.y
    means = torch.stack([shots[y == c].mean(dim=0) for c in range(task.num_classes)])
    classes, text = unit(means), None
    if task.has_text:
        text = task.text
        classes = classes + 4 * unit(text).double()
    known = Familiarity.from_task(task)
    return {
        "text + mean": lambda x: (x @ classes.t()).amax(dim=1),
        "familiarity": lambda x: known.of(x, text),
    }


def _precision(residual: Tensor, freedom: int) -> Tensor:
    """The inverse of the covariance of residuals ``[N, D]``, to which its mean variance is added as
    often as there are dimensions for every degree of freedom."""
    scatter, identity = residual.t() @ residual, torch.eye(residual.size(1)).to(residual)
    if not freedom:
        return identity
    return freedom * torch.linalg.inv(scatter + scatter.trace() / freedom * identity)


def _squared(x: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    root = torch.linalg.cholesky(precision)
    return torch.cdist(x @ root, means @ root).square()
