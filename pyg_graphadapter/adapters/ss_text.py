"""SS-Text: the text features, moved to the shots by a closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.gaussian import moments
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask

LOWEST_PENALTY = 1e-3


@dataclass(frozen=True)
class SSTextConfig(AdapterConfig):
    """The settings of :class:`SSText`."""

    repulsion: bool = setting(
        False, "push the classes apart: the paper's variant, for few classes or many shots"
    )


class SSText(LinearAdapter):
    r"""The training-free probe of the `"Few-Shot, Now for Real: Medical VLMs Adaptation without
    Balanced Sets or Validation" <https://arxiv.org/abs/2506.17500>`_ paper.

    .. math::
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{w}_c), \qquad
        \mathbf{w}_c = \mathbf{t}_c + \frac{s}{N \lambda_c} \sum_{i : y_i = c} \mathbf{x}_i, \quad
        \lambda_c = \max \left( \frac{1}{n_c}, 10^{-3} \right)

    with the :math:`n_c` shots of class :math:`c` of :math:`N` in all. These weights minimise

    .. math::
        -\frac{1}{N} \sum_i s \cdot \mathbf{x}_i^{\top} \mathbf{w}_{y_i} + \frac{1}{2} \sum_c
        \lambda_c {\Vert \mathbf{w}_c - \mathbf{t}_c \Vert}_2^2

    the first term of the cross-entropy of a linear probe, with a pull to the texts that is weaker
    in classes with more shots. Nothing is trained or selected.

    The solution is one of weights of any length. Here they are compared by their cosine: their
    lengths grow with the square of :math:`n_c`, and a product with them would favour the classes of
    many shots, and those whose shots resemble the text. (On ImageNet with 3 shots of CLIP ViT-B/32,
    the cosine has 62.5 % of held-out shots right, the product 61.3 %, zero-shot CLIP 61.1 %.)

    The mean of the shots has the weight :math:`s n_c^2 / N` against the text. It grows with the
    shots and falls with the classes: it is 0.3 with 3 shots of 1000 classes, but 15 with 3 shots of
    20 classes. There, little is left of the texts, and where these are good, zero-shot CLIP is
    better: on 20 classes of ImageNet it has 95 % of held-out shots right, and this method 88 %.

    In the paper's variant, with repulsion, :math:`\mathbf{w}_c` is replaced by

    .. math::
        \mathbf{w}_c - \mathbf{u}_c / {\Vert \mathbf{u}_c \Vert}_2, \qquad
        \mathbf{u}_c = 2 \mathbf{w}_c - \tfrac{1}{C} \sum_k \mathbf{w}_k

    It suits long weights alone. What distinguishes the weight of a class from the mean weight is
    multiplied by :math:`1 - 2 / {\Vert \mathbf{u}_c \Vert}_2`. Where this is not positive, as with
    1000 classes of 3 shots, the classifier would be turned around, and is refused.

    Args:
        text (torch.Tensor): The class text features.
        weight (torch.Tensor): The weights :math:`\mathbf{w}`, of any length.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        repulsion (bool, optional): The paper's variant. (default: :obj:`False`)

    Shapes:
        - **text:** :math:`(C, D)`; **weight:** :math:`(C, D)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    is_trained: ClassVar[bool] = False
    Config: ClassVar[type[AdapterConfig]] = SSTextConfig
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "weight": "CD"}

    config: SSTextConfig
    weight: Tensor

    def __init__(
        self, text: Tensor, weight: Tensor, logit_scale: float = 100.0, **settings: Any
    ) -> None:
        super().__init__(text, logit_scale, {"weight": weight}, **settings)

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Computes the weights from the task's texts and few shots.

        Raises:
            ValueError: If a class has no shot, naming it; if the repulsion would turn the weights
                around.
        """
        shots = moments(task)
        penalty = (1 / shots.total).clamp(min=LOWEST_PENALTY)  # [C, 1]
        factor = task.logit_scale / (shots.number.sum() * penalty)
        weight = unit(task.text.double()) + factor * shots.total * shots.mean
        if SSTextConfig(**settings).repulsion:
            weight = _apart(weight)
        return cls(task.text, unit(weight), task.logit_scale, **settings)

    def class_weights(self) -> Tensor:
        """The weights, of length one ``[C, D]``."""
        return self.weight

    def num_parameters(self) -> int:
        """The number of fitted weights."""
        return self.weight.numel()


def _apart(weight: Tensor) -> Tensor:
    """The weights ``[C, D]`` after the repulsion."""
    direction = 2 * weight - weight.mean(dim=0)
    turned = int((direction.norm(dim=1) <= 2).sum())
    if turned:
        raise ValueError(
            f"'repulsion' would turn the weights of {turned} of {len(weight)} classes around: it "
            f"needs fewer classes or more shots. Leave it out (False), or give more shots."
        )
    return weight - unit(direction)
