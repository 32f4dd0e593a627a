"""LP++: a linear probe that blends image and text weights, without a learning rate to tune."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.base import LinearAdapter
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import FewShotTask

ITERATIONS = 300
MOMENTUM = 0.9
ALPHA_EVERY = 10
ALPHA_FACTOR = 250.0


class LPPlusPlus(LinearAdapter):
    r"""The probe of the `"LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP"
    <https://arxiv.org/abs/2404.02285>`_ paper.

    .. math::
        \textrm{logits}_c = \mathbf{x}^{\top} (\mathbf{w}_c + a_c \mathbf{t}_c) + b_c

    All of :math:`\mathbf{w}`, :math:`\mathbf{b}` and :math:`\mathbf{a}` are fitted by 300 steps of
    gradient descent on the mean cross-entropy of all shots. The step sizes follow from bounds on
    the curvature: :math:`4 N / \lambda_{\max}(\mathbf{X}^{\top} \mathbf{X})` for the weights
    (with momentum 0.9; this is 4 for the bias, whose input is always one) and
    :math:`N / (4 \max_c \sum_i (\mathbf{x}_i^{\top} \mathbf{t}_c)^2)` for the blend, which is
    updated every tenth step. The weights start at the sums of each class's features. All blends
    start at the mean over classes of 250 times the cosine between the class mean and the text
    feature. No setting is selected. The published code takes the step with the best accuracy on
    validation images; here the last step is taken.

    Args:
        text (torch.Tensor): The class text features.
        weight (torch.Tensor): The weights :math:`\mathbf{w}`.
        bias (torch.Tensor): The biases :math:`\mathbf{b}`.
        blend (torch.Tensor): The blends :math:`\mathbf{a}`.
        logit_scale (float, optional): Not used; the logits have their own scale.
            (default: :obj:`100.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`; **bias:** :math:`(C)`;
          **blend:** :math:`(C)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    is_trained: ClassVar[bool] = False
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "weight": "CD", "bias": "C", "blend": "C"}

    weight: Tensor
    bias: Tensor
    blend: Tensor

    def __init__(
        self,
        text: Tensor,
        weight: Tensor,
        bias: Tensor,
        blend: Tensor,
        logit_scale: float = 100.0,
        **settings: Any,
    ) -> None:
        tensors = {"weight": weight, "bias": bias, "blend": blend}
        super().__init__(text, logit_scale, tensors, **settings)

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the probe to the task's few shots.

        Raises:
            ValueError: If a class has no shot, naming it.
        """
        mean = unit(task.prototypes())
        text = unit(task.text)
        x, y = task.support.mean_views().to(text), task.support.y
        start = ALPHA_FACTOR * (mean.to(text) * text).sum(dim=1).mean()
        weight, bias, blend = _descend(x, y, text, float(start), task.weights().to(x))
        return cls(task.text, weight, bias, blend, task.logit_scale, **settings)

    def class_weights(self) -> Tensor:
        """The sum of weights and blended text features ``[C, D]``, of any length."""
        return (self.weight + self.blend.unsqueeze(1) * self.text) / self.logit_scale

    def weight_parts(self) -> dict[str, Tensor]:
        """The blended name, and the weights that were fitted to the examples."""
        name = self.blend.unsqueeze(1) * self.text
        return {NAME: name / self.logit_scale, TRAINING: self.weight / self.logit_scale}

    def class_biases(self) -> Tensor:
        """The biases ``[C]``."""
        return self.bias

    def num_parameters(self) -> int:
        """The number of fitted weights, biases and blends."""
        return self.weight.numel() + self.bias.numel() + self.blend.numel()


@torch.no_grad()
def _descend(
    x: Tensor, y: Tensor, text: Tensor, start: float, number: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``[C, D]``, biases ``[C]`` and blends ``[C]`` after all steps. Each image counts
    ``number`` ``[N]`` times."""
    num, num_classes = float(number.sum()), len(text)
    number = number.unsqueeze(1)  # [N, 1]
    cosine = x @ text.t()  # [N, C]
    one_hot = F.one_hot(y, num_classes).to(x)
    rows = number.sqrt() * x
    gram = rows @ rows.t() if len(x) < x.size(1) else rows.t() @ rows
    tiny = torch.finfo(x.dtype).eps  # against division by zero
    rate = 4 * num / max(tiny, float(torch.linalg.eigvalsh(gram)[-1]))
    blend_rate = num / max(tiny, 4 * float((number * cosine.square()).sum(dim=0).max()))
    weight = one_hot.t() @ (number * x)
    bias, blend = x.new_zeros(num_classes), x.new_full((num_classes,), start)
    weight_speed, bias_speed = torch.zeros_like(weight), torch.zeros_like(bias)
    for step in range(1, ITERATIONS + 1):
        logits = torch.addmm(bias, x, weight.t()).addcmul_(cosine, blend)
        error = (logits.softmax(dim=1) - one_hot).mul_(number).div_(num)  # of the logits
        weight_speed.mul_(MOMENTUM).addmm_(error.t(), x)
        bias_speed.mul_(MOMENTUM).add_(error.sum(dim=0))
        weight -= rate * weight_speed
        bias -= 4 * bias_speed
        if step % ALPHA_EVERY == 0:
            blend -= blend_rate * (error * cosine).sum(dim=0)
    return weight, bias, blend
