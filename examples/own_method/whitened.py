"""A method of your own, in a file of your own: compare it with all others, without editing them.

    cd examples/own_method
    graphadapter compare builtin --model builtin --import whitened \
        --methods whitened,graph_adapter,zero_shot --shots 4 --seeds 1,2,3 --out results
    graphadapter methods whitened --import whitened

Texts and class means are compared with an image after the images have been whitened by the
covariance within the classes, shrunk towards the identity. No training: a second per run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pyg_graphadapter import FewShotTask, register_adapter
from pyg_graphadapter.adapters import AdapterConfig, LinearAdapter
from pyg_graphadapter.settings import setting


@dataclass(frozen=True)
class WhitenedConfig(AdapterConfig):
    """The settings: name, default, meaning and bounds. The command line takes them from here."""

    alpha: float = setting(0.5, "weight of the class text feature", low=0, high=1)
    shrinkage: float = setting(0.5, "share of the identity in the covariance", low=0, high=1)


class Whitened(LinearAdapter):
    r"""Nearest class, by whitened texts and class means.

    .. math::
        \mathbf{w}_c = \mathbf{M} \, (\alpha \, \mathbf{t}_c + (1 - \alpha) \, \mathbf{p}_c),
        \qquad \mathbf{M} = ((1 - \lambda) \, \mathbf{\Sigma} + \lambda \, \mathbf{I})^{-1}
    """

    Config: ClassVar[type[AdapterConfig]] = WhitenedConfig
    # What it is built from, one letter per dimension: texts, class means, covariance.
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "prototypes": "CD", "covariance": "DD"}
    is_trained: ClassVar[bool] = False
    grid: ClassVar[Mapping[str, Any]] = {"alpha": (0.9, 0.5, 0.1)}  # tried inside the few shots

    prototypes: Tensor
    covariance: Tensor

    def __init__(
        self,
        text: Tensor,
        prototypes: Tensor,
        covariance: Tensor,
        logit_scale: float = 100.0,
        **settings: Any,
    ) -> None:
        tensors = {"prototypes": prototypes, "covariance": covariance}
        super().__init__(text, logit_scale, tensors, **settings)  # tensors become buffers

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        x, prototypes = task.support.mean_views(), task.prototypes()
        x = x - prototypes[task.support.y]
        covariance = x.t() @ x / len(x)
        covariance = covariance / covariance.diagonal().mean().clamp(min=1e-12)
        return cls(task.text, prototypes, covariance, task.logit_scale, **settings)

    def class_weights(self) -> Tensor:
        """The weights ``[C, D]``."""
        share = self.config.shrinkage
        identity = torch.eye(len(self.covariance)).to(self.covariance)
        matrix = torch.lerp(self.covariance, identity, share) + 1e-6 * identity
        mixed = torch.lerp(self.prototypes, self.text, self.config.alpha)
        return normalize(torch.linalg.solve(matrix, mixed.t()).t(), dim=1)


register_adapter("whitened", Whitened)
