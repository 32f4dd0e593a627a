"""ProKeR: kernel ridge regression of what zero-shot CLIP gets wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter, AdapterConfig
from pyg_graphadapter.graph import check_features, unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask


@dataclass(frozen=True)
class ProKeRConfig(AdapterConfig):
    """The settings of :class:`ProKeR`."""

    beta: float = setting(5.0, "sharpness of the kernel", low=0)
    ridge: float = setting(1.0, "ridge of the regression; large stays near zero-shot", low=1e-6)


class ProKeR(Adapter):
    r"""The classifier of the `"ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large
    Vision-Language Models" <https://arxiv.org/abs/2501.11175>`_ paper.

    .. math::
        f(\mathbf{x}) = f_0(\mathbf{x}) + k(\mathbf{x}, \mathbf{X})
        (\mathbf{K} + \lambda \mathbf{I})^{-1} (\mathbf{Y} - f_0(\mathbf{X})), \qquad
        k(\mathbf{x}, \mathbf{x}') = \exp(-\beta (1 - \cos(\mathbf{x}, \mathbf{x}')))

    where :math:`f_0` are the probabilities of zero-shot CLIP, on the scale of the one-hot labels
    :math:`\mathbf{Y}`. What is returned is :math:`s \cdot f(\mathbf{x})`. It takes one solution of
    an :math:`N \times N` system, in double precision. Both settings are selected inside the shots.

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
    inputs: ClassVar[tuple[str, ...]] = ("text", "keys", "labels")
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "ridge": (10.0, 3.0, 1.0, 0.3, 0.1),
        "beta": (2.0, 5.0, 10.0, 20.0),
    }
    prediction_settings: ClassVar[tuple[str, ...]] = ("beta", "ridge")

    config: ProKeRConfig
    keys: Tensor
    labels: Tensor

    def __init__(
        self,
        text: Tensor,
        keys: Tensor,
        labels: Tensor,
        logit_scale: float = 100.0,
        **settings: Any,
    ) -> None:
        super().__init__(logit_scale, ProKeRConfig(**settings))
        check_features(text, "text")
        check_features(keys, "keys")
        if keys.size(1) != text.size(1) or labels.shape != keys.shape[:1]:
            raise ValueError(
                f"Keys and labels must be [N, {text.size(1)}] and [N] (got {list(keys.shape)} and "
                f"{list(labels.shape)})."
            )
        self.register_buffer("text", unit(text))
        self.register_buffer("keys", unit(keys).to(self.text))
        self.register_buffer("labels", labels.clone())
        self._solution: tuple[Any, Tensor] | None = None

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the regression over the task's few shots."""
        support = task.support
        return cls(task.text, support.mean_views(), support.y, task.logit_scale, **settings)

    def _zero_shot(self, x: Tensor) -> Tensor:
        return (self.logit_scale * (x @ self.text.t())).softmax(dim=1)

    def _kernel(self, x: Tensor) -> Tensor:
        return torch.exp(self.config.beta * (x @ self.keys.t() - 1))

    @torch.no_grad()
    def coefficients(self) -> Tensor:
        """The solution of the system ``[N, C]``, computed once for the present settings."""
        tensors = (self.text, self.keys, self.labels)
        state = (self.config, *((t.data_ptr(), t._version, t.dtype, t.device) for t in tensors))
        if self._solution is None or self._solution[0] != state:
            target = F.one_hot(self.labels, self.num_classes) - self._zero_shot(self.keys)
            kernel = self._kernel(self.keys).double()
            kernel.diagonal().add_(self.config.ridge)
            factor = torch.linalg.cholesky(kernel)
            solution = torch.cholesky_solve(target.double(), factor).to(self.text)
            self._solution = (state, solution)
        return self._solution[1]

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x = unit(x)
        return self.logit_scale * (self._zero_shot(x) + self._kernel(x) @ self.coefficients())
