"""APE: Tip-Adapter on the channels in which the class texts differ, with weighted shots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, TRAINING
from pyg_graphadapter.adapters.tip_adapter import TipAdapter, TipAdapterConfig
from pyg_graphadapter.graph import normalized
from pyg_graphadapter.settings import setting

SIMILARITY_WEIGHT = 0.7  # of the similarity of the class texts against their variance


@dataclass(frozen=True)
class APEConfig(TipAdapterConfig):
    """The settings of :class:`APE` and :class:`APET`."""

    alpha: float = setting(3.0, "weight of the cache logits against the texts' logits", low=0)
    beta: float = setting(3.0, "sharpness of the cache's similarities", low=0)
    gamma: float = setting(
        1.0, "how much more shots count whose class the texts do not recognise", low=0
    )
    channels: float = setting(
        0.5, "share of the channels that the cache compares", low=1e-6, high=1
    )


class Refinement(NamedTuple):
    """What the refined channels give of an adapter's tensors.

    Args:
        channels (torch.Tensor): The indices of the kept channels ``[D']``.
        keys (torch.Tensor): The keys in these channels, of length one ``[N, D']``.
        divergence (torch.Tensor): The divergence of each key's zero-shot prediction ``[N]``.
    """

    channels: Tensor
    keys: Tensor
    divergence: Tensor


class APE(TipAdapter):
    r"""The training-free adapter of the `"Not All Features Matter: Enhancing Few-shot CLIP with
    Adaptive Prior Refinement" <https://arxiv.org/abs/2304.01195>`_ paper.

    .. math::
        \textrm{logits} = s \cdot \mathbf{x} \mathbf{T}^{\top} + \alpha \cdot
        \exp(-\beta (1 - \mathbf{x}' \mathbf{F}'^{\top})) \, \textrm{diag}(\mathbf{g}) \, \mathbf{L}

        g_i = \frac{1}{Z} \exp(\gamma \, \textrm{KL}_i), \qquad \textrm{KL}_i = -\log
        \textrm{softmax}(\mathbf{f}'_i \mathbf{T}'^{\top})_{y_i}

    The few-shot features :math:`\mathbf{F}` are keys, and their one-hot labels :math:`\mathbf{L}`
    are values, as in :class:`TipAdapter`. A prime stands for features in the refined channels
    alone, of length one again. These are the channels with the smallest

    .. math::
        J_d = 0.7 \, S_d - 0.3 \, V_d, \qquad
        S_d = \frac{1}{C^2} \sum_a \sum_{b \neq a} T_{ad} T_{bd}, \quad
        V_d = \frac{1}{C} \sum_a \left( T_{ad} - \frac{1}{C} \sum_b T_{bd} \right)^2

    that is, in which the class texts are unlike each other. The paper keeps 500 of the 1024
    channels of CLIP RN50, and 800 on ImageNet.

    A shot counts more, the worse the texts recognise it: :math:`\textrm{KL}_i` is the divergence
    of its label from the prediction of the texts. That prediction is the softmax of the cosines, as
    they stand in the paper's formula, without the factor :math:`s`; with it, the shots that the
    texts misjudge would outweigh all others. The factor :math:`Z`, which the paper does not have,
    makes the mean of these weights one. It changes only the unit of :math:`\alpha`, which would
    otherwise be about :math:`C^{\gamma}` times smaller.

    :math:`\alpha`, :math:`\beta` and :math:`\gamma` are selected inside the shots.

    Args:
        text (torch.Tensor): The class text features.
        keys (torch.Tensor): The few-shot features.
        labels (torch.Tensor): Their classes.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        alpha (float, optional): The weight :math:`\alpha`. (default: :obj:`3.0`)
        beta (float, optional): The sharpness :math:`\beta`. (default: :obj:`3.0`)
        gamma (float, optional): The factor :math:`\gamma`. (default: :obj:`1.0`)
        channels (float, optional): The share of the channels that is kept, at least two of them.
            (default: :obj:`0.5`)

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.
    """

    needs_text: ClassVar[bool] = True
    text_settings: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[AdapterConfig]] = APEConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "alpha": (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0),
        "beta": (1.0, 2.0, 3.0, 5.5, 8.0, 12.0),
        "gamma": (0.0, 1.0, 2.0, 4.0),
    }
    prediction_settings: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma")

    config: APEConfig

    def refinement(self) -> Refinement:
        """The refined channels and what they give, computed once."""
        return self.computed_once(self.config.channels, self._refined)

    def _refined(self) -> Refinement:
        channels = refined_channels(self.text, self.num_channels)
        keys = normalized(self.keys.index_select(1, channels))
        cosine = keys @ normalized(self.text.index_select(1, channels)).t()  # [N, C]
        true_class = cosine.log_softmax(dim=1).gather(1, self.labels.unsqueeze(1))
        return Refinement(channels, keys, -true_class.squeeze(1))

    @property
    def num_channels(self) -> int:
        """The number of refined channels :math:`D'`; in one, a direction would be a sign."""
        width = self.text.size(1)
        return min(width, max(2, round(self.config.channels * width)))

    def refined_keys(self) -> Tensor:
        """The keys in the refined channels, of length one ``[N, D']``."""
        return self.refinement().keys

    def similarities(self, x: Tensor) -> Tensor:
        """The cosines ``[B, N]`` of features ``[B, D]`` and keys in the refined channels."""
        refined = normalized(x.index_select(1, self.refinement().channels))
        return (refined @ self.refined_keys().t()).to(x.dtype)

    def key_weights(self) -> Tensor:
        """The weights of the keys ``[N]``, one on average over all shots."""
        # The softmax is exp(gamma KL) with another factor, and cannot overflow:
        score = (self.config.gamma * self.refinement().divergence).softmax(dim=0)
        number = torch.ones_like(score) if self.weight is None else self.weight
        return number * score * (number.sum() / (number * score).sum())


class APET(APE):
    r"""The trained adapter of the `"Not All Features Matter: Enhancing Few-shot CLIP with Adaptive
    Prior Refinement" <https://arxiv.org/abs/2304.01195>`_ paper: :class:`APE` with one residual per
    class in the refined channels.

    .. math::
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}_c + \textrm{pad}(\mathbf{r}_c)) +
        \alpha \sum_{i : y_i = c} v_i \, g_i \exp(-\beta (1 - \cos(\mathbf{x}', \mathbf{f}'_i +
        \mathbf{r}_c)))

    Two things are trained. The residuals :math:`\mathbf{r}` (:math:`C \cdot D'` parameters) start
    at zero. They are added to the texts, with zeros in the other channels, and to the keys of their
    class in the refined channels. The factors :math:`v` of the shots (:math:`N` parameters) start
    at one; the paper trains the weights of the shots themselves, here :math:`v_i g_i`. Before
    training, this is :class:`APE`. Texts and keys have length one again after the residual is
    added; before, :math:`\mathbf{f}'_i` has the length of the key in the refined channels.

    The recipe is the paper's: AdamW with a learning rate of 1e-3, 20 epochs; with the epsilon of
    :class:`TipAdapterF`. :math:`\alpha`, :math:`\beta` and :math:`\gamma` are selected after
    training, inside the shots.

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    is_trained: ClassVar[bool] = True
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"epochs": 20, "eps": 1e-4, "weight_decay": 0.01}
    key_parameters: ClassVar[tuple[str, ...]] = ("score",)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        residual = self.text.new_zeros(self.num_classes, self.num_channels)
        self.residual = torch.nn.Parameter(residual)
        self.score = torch.nn.Parameter(self.text.new_ones(len(self.labels)))

    def text_logits(self, x: Tensor) -> Tensor:
        """The logits ``[B, C]`` of the texts with their residuals."""
        text = normalized(self.text.index_add(1, self.refinement().channels, self.residual))
        return self.logit_scale * (x @ text.t()).to(x.dtype)

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """The name, its trained residual, and the examples in the cache."""
        x = normalized(x)
        residual = torch.zeros_like(self.text)
        residual = residual.index_add(1, self.refinement().channels, self.residual)
        scale = self.logit_scale / (self.text + residual).norm(dim=1)  # [C]
        return {
            NAME: scale * (x @ self.text.t()),
            TRAINING: scale * (x @ residual.t()),
            EXAMPLES: self.config.alpha * self.cache_logits(x),
        }

    def refined_keys(self) -> Tensor:
        """The keys with their residuals in the refined channels, of length one ``[N, D']``."""
        keys = self.keys.index_select(1, self.refinement().channels)
        return normalized(keys + self.residual.index_select(0, self.labels))

    def key_weights(self) -> Tensor:
        """The weights of the keys with their trained factors ``[N]``."""
        return self.score * super().key_weights()


def refined_channels(text: Tensor, number: int) -> Tensor:
    """The channels ``[number]`` of texts ``[C, D]`` in which the classes differ most, in their
    order."""
    text = text.double()
    mean_square = text.square().mean(dim=0)
    similarity = text.mean(dim=0).square() - mean_square / len(text)  # of different classes
    variance = text.var(dim=0, correction=0)
    criterion = SIMILARITY_WEIGHT * similarity - (1 - SIMILARITY_WEIGHT) * variance
    return criterion.topk(number, largest=False).indices.sort().values
