"""ProKeR: kernel ridge regression on the errors of zero-shot CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.keyed import KeyedAdapter
from pyg_graphadapter.adapters.mixture import zero_shot_logits
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME
from pyg_graphadapter.adapters.prediction import right_over
from pyg_graphadapter.graph import normalized
from pyg_graphadapter.settings import setting


@dataclass(frozen=True)
class ProKeRConfig(AdapterConfig):
    """The settings of :class:`ProKeR`."""

    beta: float = setting(5.0, "sharpness of the kernel", low=0)
    ridge: float = setting(
        1.0, "ridge of the regression; a large ridge stays near zero-shot", low=1e-6
    )


class ProKeR(KeyedAdapter):
    r"""The classifier of the `"ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large
    Vision-Language Models" <https://arxiv.org/abs/2501.11175>`_ paper.

    .. math::
        f(\mathbf{x}) = f_0(\mathbf{x}) + k(\mathbf{x}, \mathbf{X})
        (\mathbf{K} + \lambda \mathbf{I})^{-1} (\mathbf{Y} - f_0(\mathbf{X})), \qquad
        k(\mathbf{x}, \mathbf{x}') = \exp(-\beta (1 - \cos(\mathbf{x}, \mathbf{x}')))

    where :math:`f_0` are the probabilities of zero-shot CLIP, on the scale of the one-hot labels
    :math:`\mathbf{Y}`. The logits are :math:`s \cdot f(\mathbf{x})`. One :math:`N \times N` system
    is solved, in double precision. Both settings are selected inside the shots. Without texts,
    :math:`f_0` is the same for all classes: kernel ridge regression.

    Args:
        text (torch.Tensor): The class text features.
        keys (torch.Tensor): The few-shot features.
        labels (torch.Tensor): Their classes.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        beta (float, optional): The sharpness :math:`\beta`. (default: :obj:`5.0`)
        ridge (float, optional): The ridge :math:`\lambda`. (default: :obj:`1.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    is_trained: ClassVar[bool] = False
    Config: ClassVar[type[AdapterConfig]] = ProKeRConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "ridge": (10.0, 3.0, 1.0, 0.3, 0.1),
        "beta": (2.0, 5.0, 10.0, 20.0),
    }
    prediction_settings: ClassVar[tuple[str, ...]] = ("beta", "ridge")

    config: ProKeRConfig

    def _zero_shot(self, x: Tensor) -> Tensor:
        return zero_shot_logits(self, x).softmax(dim=1)

    def _kernel(self, x: Tensor) -> Tensor:
        return torch.exp(self.config.beta * (x @ self.keys.t() - 1))

    def coefficients(self) -> Tensor:
        """The solution of the system ``[N, C]``, computed once per configuration."""
        return self.computed_once(self.config, self._solve)

    def _solve(self) -> Tensor:
        target = F.one_hot(self.labels, self.num_classes) - self._zero_shot(self.keys)
        kernel = self._kernel(self.keys).double()
        # Of n copies of key i, each has the coefficient a_i, and sum_j n_j K_ij a_j + ridge a_i is
        # the target. Of their sum A_i = n_i a_i, it is sum_j K_ij A_j + ridge / n_i A_i:
        ridge = self.config.ridge if self.weight is None else self.config.ridge / self.weight
        kernel.diagonal().add_(ridge)
        factor = torch.linalg.cholesky(kernel)
        return torch.cholesky_solve(target.double(), factor).to(self.text).contiguous()

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """Which images are classified right ``[G, B]``, for every combination of settings."""
        return right_over(self, x, y, grid)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x = normalized(x)
        return self.logit_scale * (self._zero_shot(x) + self._kernel(x) @ self.coefficients())

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """The probabilities by the names, and the kernel regression on the examples."""
        x = normalized(x)
        examples = self._kernel(x) @ self.coefficients()
        return {NAME: self.logit_scale * self._zero_shot(x), EXAMPLES: self.logit_scale * examples}
