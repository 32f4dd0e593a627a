"""TransCLIP: Gaussians per class over the images that are classified together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.keyed import KeyedAdapter
from pyg_graphadapter.adapters.mixture import zero_shot_logits
from pyg_graphadapter.adapters.parts import NAME, OTHERS, OTHERS_AND_EXAMPLES
from pyg_graphadapter.graph import cosine_edges, normalized, row_blocks, unit
from pyg_graphadapter.settings import setting

ROUNDS = 10
NEIGHBOURS = 3
TEXT_WEIGHT, TEXT_WEIGHT_WITH_SHOTS = 1.0, 0.5  # lambda
# Relative to the mean square of the elements of a row of length one; below it is rounding:
LEAST_VARIANCE = 1e-3
LEAST_SHARE = 1e-12  # of all images; with less, a class has no mean


@dataclass(frozen=True)
class TransCLIPConfig(AdapterConfig):
    """The settings of :class:`TransCLIP`."""

    gamma: float = setting(0.02, "weight of all shots against all images to classify", low=0)


class TransCLIP(KeyedAdapter):
    r"""The transductive classifier of the `"Boosting Vision-Language Models with Transduction"
    <https://arxiv.org/abs/2406.01837>`_ paper. It classifies images together: **the prediction of
    an image depends on the other images that are given with it**, and not on their order.

    Each of the :math:`N` images :math:`\mathbf{x}_i` has class probabilities :math:`\mathbf{z}_i`,
    which start at those of zero-shot CLIP, :math:`\hat{\mathbf{y}}_i`. Each of ten rounds fits one
    Gaussian per class to the images and to the :math:`S` shots :math:`\mathbf{f}_j`, whose
    probabilities are their labels, and classifies the images again:

    .. math::
        \boldsymbol{\mu}_c = \frac{1}{\pi_c} \left( \frac{1}{N} \sum_i z_{ic} \mathbf{x}_i +
        \frac{\gamma}{S} \sum_{j: y_j = c} \mathbf{f}_j \right), \qquad
        \pi_c = \frac{1}{N} \sum_i z_{ic} + \frac{\gamma}{S} \sum_{j: y_j = c} 1

        \boldsymbol{\sigma}^2 = \frac{1}{1 + \gamma} \left( \frac{1}{N} \sum_{i, c} z_{ic}
        (\mathbf{x}_i - \boldsymbol{\mu}_c)^2 + \frac{\gamma}{S} \sum_j
        (\mathbf{f}_j - \boldsymbol{\mu}_{y_j})^2 \right)

        \mathbf{z}_i \propto \hat{\mathbf{y}}_i^{\lambda} \cdot \exp( \log \mathbf{p}_i +
        \sum_j w_{ij} \mathbf{z}_j ), \qquad
        \log p_{ic} = - \tfrac{1}{2} \sum_d (x_{id} - \mu_{cd})^2 / \sigma^2_d

    :math:`w_{ij}` is the cosine of an image and one of its three nearest others among those that
    are given together, as it is, and zero where it is negative. Shots are no neighbours. All images
    of a round are classified with the :math:`\mathbf{z}` of the round before, so that their order
    has no effect. The logits are the logarithm of the last :math:`\mathbf{z}`, up to a constant per
    image. :math:`\lambda` is 1 without shots and 0.5 with shots, as in the paper.

    The paper leaves open where means and covariance start. Here, the first ones are those of
    :math:`\mathbf{z} = \hat{\mathbf{y}}`. Starting at the means of the shots was 22 to 32 points
    worse with 1 to 3 shots of ImageNet. A class that has neither images nor shots keeps its mean
    (at first, the mean of all images), and :math:`\sigma^2_d` is at least :math:`10^{-3} / D`.

    :math:`\gamma` is selected inside the shots: the shots that are held out take the place of the
    images that are classified together. They are as many from each class, and few, so what they
    favour may be too large a :math:`\gamma` for a test set of many images. With one shot per class,
    it is 0.02. The paper selects it on validation images.

    One image alone has no neighbours and fits the Gaussians by itself, so that its prediction is
    near that of zero-shot CLIP, and equal without shots. A few images bring little, and if they are
    of few classes, they may lose. New classes (:meth:`extend`) have texts alone.

    Memory beside the output is two more matrices :math:`(N, C)` and blocks of bounded size.

    Args:
        text (torch.Tensor): The class text features.
        keys (torch.Tensor): The few-shot features, of which there may be none.
        labels (torch.Tensor): Their classes.
        logit_scale (float, optional): The factor :math:`s` of zero-shot CLIP.
            (default: :obj:`100.0`)
        gamma (float, optional): The weight :math:`\gamma`. (default: :obj:`0.02`, one of the
            paper's values, and the best at one shot per class on training images)

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(S, D)`; **labels:** :math:`(S)`
        - **input:** :math:`(N, D)`, all images that are classified together;
          **output:** :math:`(N, C)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.

    Example:
        >>> import torch
        >>> adapter = TransCLIP(torch.eye(2), torch.empty(0, 2), torch.empty(0).long(), 1.0)
        >>> x = torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.9], [0.2, 1.0], [0.9, 1.0]])
        >>> adapter(x[2:3]).argmax(dim=1), adapter(x).argmax(dim=1)  # alone, and among others
        (tensor([0]), tensor([0, 0, 1, 1, 1]))
    """

    needs_text: ClassVar[bool] = True
    needs_shots: ClassVar[bool] = False
    is_trained: ClassVar[bool] = False
    is_transductive: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = TransCLIPConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"gamma": (0.02, 0.05, 0.1, 0.2, 0.5)}

    config: TransCLIPConfig

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "TransCLIP":
        """The classifier for its classes and new ones, of which there is no shot."""
        all_text = torch.cat([self.text, unit(text).to(self.text)])
        extended = type(self)(all_text, self.keys, self.labels, self.logit_scale, **self.settings())
        extended.weight = self.weight
        return extended

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[N, C]`` of the features of all images that are classified together
        ``[N, D]``."""
        x = normalized(x)
        logits = zero_shot_logits(self, x)
        if not len(x):
            return logits
        edge_index, edge_weight = _nearest(x)
        # Around their mean, equal images are zero, and differences have more digits:
        centre = x.mean(dim=0)
        x = x - centre
        mean = torch.zeros_like(self.text)
        for _ in range(ROUNDS):
            z = logits.softmax(dim=1)
            mean, variance = self._gaussians(x, z, self.keys - centre, mean)
            logits = self._zero_shot_and_gaussian_logits(x, centre, mean, variance)
            for part in row_blocks(len(edge_weight), self.num_classes):  # of the edges [E]
                source, target = edge_index[:, part]
                logits.index_add_(0, target, edge_weight[part].unsqueeze(1) * z[source])
        return logits

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """The name, and what the other images, and the shots, change in ten rounds."""
        name = self._text_weight * zero_shot_logits(self, normalized(x))
        kind = OTHERS_AND_EXAMPLES if len(self.keys) else OTHERS
        return {NAME: name, kind: self(x) - name}

    @property
    def _text_weight(self) -> float:
        return TEXT_WEIGHT_WITH_SHOTS if len(self.keys) else TEXT_WEIGHT

    def _gaussians(self, x: Tensor, z: Tensor, keys: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """The class means ``[C, D]`` and the variances ``[D]`` of images ``[N, D]`` with class
        probabilities ``[N, C]`` and of the shots ``[S, D]``; classes without any keep their
        mean."""
        share, total = z.mean(dim=0), z.t() @ x / len(x)  # [C], [C, D]
        square = x.square().mean(dim=0)  # [D]
        if len(keys):
            weight = torch.ones_like(keys[:, 0]) if self.weight is None else self.weight
            weight = (self.config.gamma / weight.sum() * weight).unsqueeze(1)  # [S, 1]
            share = share.index_add(0, self.labels, weight.squeeze(1))
            total = total.index_add(0, self.labels, weight * keys)
            square = square + (weight * keys.square()).sum(dim=0)
        has_images = (share > LEAST_SHARE).unsqueeze(1)
        mean = torch.where(has_images, total / share.clamp(min=LEAST_SHARE).unsqueeze(1), mean)
        # The mean square around the class means is the mean square less that of the means:
        spread = square - (share.unsqueeze(1) * mean.square()).sum(dim=0)
        return mean, (spread / share.sum()).clamp(min=LEAST_VARIANCE / x.size(1))

    def _zero_shot_and_gaussian_logits(
        self, x: Tensor, centre: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        r"""The logits :math:`\lambda \log \hat{\mathbf{y}}_i + \log \mathbf{p}_i` ``[N, C]``, up to
        a constant per image, which are linear in the image: the square of the image is one for all
        classes."""
        text = self._text_weight * self.logit_scale * self.text
        bias = text @ centre - 0.5 * (mean.square() / variance).sum(dim=1)
        return F.linear(x, text + mean / variance, bias)


def _nearest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Edges to every image from its nearest others ``[2, E]``, with their cosine ``[E]``."""
    if len(x) == 1:
        return x.new_empty(2, 0, dtype=torch.long), x.new_empty(0)
    return cosine_edges(x, k=min(NEIGHBOURS, len(x) - 1), loop=False)
