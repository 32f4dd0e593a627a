"""The linear probe: logistic regression on image features."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.fitted import FittedLinearAdapter
from pyg_graphadapter.adapters.parts import TRAINING
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask

MAX_ITERATIONS = 100


@dataclass(frozen=True)
class LinearProbeConfig(AdapterConfig):
    """The settings of :class:`LinearProbe`."""

    strength: float = setting(
        100.0, "inverse strength of the L2 penalty (C of scikit-learn)", low=1e-6
    )


class LinearProbe(FittedLinearAdapter):
    r"""The linear probe of the `"Learning Transferable Visual Models From Natural Language
    Supervision" <https://arxiv.org/abs/2103.00020>`_ paper: scikit-learn's
    :class:`~sklearn.linear_model.LogisticRegression` on image features of length one. Each image is
    one sample, the mean of its views. The texts are not used.

    .. math::
        \textrm{logits}_c = \mathbf{x}^{\top} \mathbf{w}_c + b_c

    It is fitted by at most 100 iterations of L-BFGS; more iterations change little with few shots.
    The strength of the penalty is selected inside the shots.

    Args:
        text (torch.Tensor): The class text features, which are not used.
        weight (torch.Tensor): The weights.
        bias (torch.Tensor): The biases.
        logit_scale (float, optional): Not used. (default: :obj:`100.0`)
        strength (float, optional): The inverse strength. (default: :obj:`100.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`; **bias:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    Config: ClassVar[type[AdapterConfig]] = LinearProbeConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"strength": (1.0, 10.0, 100.0, 1000.0)}

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the regression to the task's shots; a class without a shot is never predicted."""
        config = LinearProbeConfig(**settings)
        features, y = task.support.mean_views(), task.support.y.numpy()
        x = features.to(torch.promote_types(features.dtype, torch.float32)).numpy()
        weight = np.zeros((task.num_classes, x.shape[1]), dtype=x.dtype)
        bias = np.full(task.num_classes, -np.inf, dtype=x.dtype)
        classes = np.unique(y)
        bias[classes] = 0.0
        if len(classes) > 1:
            model = LogisticRegression(C=config.strength, max_iter=MAX_ITERATIONS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                # With one shot per class, it takes the labels for a regression target:
                warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
                model.fit(x, y, None if task.weight is None else task.weight.numpy())
            coef, intercept = model.coef_, model.intercept_
            if len(classes) == 2:  # scikit-learn has the second class only
                coef, intercept = np.vstack([-coef, coef]) / 2, np.r_[-intercept, intercept] / 2
            weight[classes], bias[classes] = coef, intercept
        return cls(
            task.text,
            torch.from_numpy(weight),
            torch.from_numpy(bias),
            task.logit_scale,
            **settings,
        )

    def weight_parts(self) -> dict[str, Tensor]:
        """What was fitted to the examples."""
        return {TRAINING: self.class_weights()}

    def class_biases(self) -> Tensor:
        """The biases ``[C]``; minus infinity for a class without a shot."""
        return self.bias
