"""Tip-Adapter: a cache with the few shots as keys and their labels as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from pyg_graphadapter.adapters.base import AdapterConfig
from pyg_graphadapter.adapters.keyed import KeyedAdapter
from pyg_graphadapter.adapters.mixture import right_over_alpha, zero_shot_logits
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME
from pyg_graphadapter.graph import normalized
from pyg_graphadapter.settings import setting

# The published grid: 200 values of alpha and 20 of beta.
GRID: Mapping[str, Sequence[float]] = {
    "alpha": tuple(1.17 if i == 23 else round(0.05 * i, 4) for i in range(1, 201)),
    "beta": tuple(round(0.5 * i, 4) for i in range(1, 21)),
}


@dataclass(frozen=True)
class TipAdapterConfig(AdapterConfig):
    """The settings of :class:`TipAdapter` and :class:`TipAdapterF`."""

    alpha: float = setting(1.17, "weight of the cache logits against zero-shot", low=0)
    beta: float = setting(1.0, "sharpness of the cache's similarities", low=0)


class TipAdapter(KeyedAdapter):
    r"""The training-free adapter of the `"Tip-Adapter: Training-free Adaption of CLIP for Few-shot
    Classification" <https://arxiv.org/abs/2207.09519>`_ paper.

    .. math::
        \textrm{logits} = s \cdot \mathbf{x} \mathbf{T}^{\top} + \alpha \cdot
        \exp(-\beta (1 - \mathbf{x} \mathbf{F}^{\top})) \mathbf{L}

    with the few-shot features :math:`\mathbf{F}` as keys (the mean over the views of an image, of
    length one) and their one-hot labels :math:`\mathbf{L}` as values. Selection tries the
    published 200 × 20 values of :math:`\alpha` and :math:`\beta`, inside the shots; the
    published code selects them on the test split. Without texts, the cache stands alone, and
    :math:`\alpha` scales its logits.

    Args:
        text (torch.Tensor): The class text features.
        keys (torch.Tensor): The few-shot features.
        labels (torch.Tensor): Their classes.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        alpha (float, optional): The weight :math:`\alpha`. (default: :obj:`1.17`)
        beta (float, optional): The sharpness :math:`\beta`. (default: :obj:`1.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.

    Example:
        >>> import torch
        >>> adapter = TipAdapter(torch.eye(2), torch.eye(2), torch.tensor([1, 0]), alpha=1000.0)
        >>> adapter(torch.eye(2)).argmax(dim=1)  # the cache outweighs the texts
        tensor([1, 0])
    """

    Config: ClassVar[type[AdapterConfig]] = TipAdapterConfig
    grid: ClassVar[Mapping[str, Sequence[Any]]] = GRID
    is_trained: ClassVar[bool] = False
    text_settings: ClassVar[tuple[str, ...]] = ("alpha",)
    prediction_settings: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    config: TipAdapterConfig

    def text_logits(self, x: Tensor) -> Tensor:
        """The logits ``[B, C]`` of the texts for features of length one ``[B, D]``."""
        return zero_shot_logits(self, x)

    def similarities(self, x: Tensor) -> Tensor:
        """The cosines ``[B, N]`` of features of length one ``[B, D]`` and keys."""
        return (x @ self.keys.t()).to(x.dtype)

    def key_weights(self) -> Tensor | None:
        """The weights of the keys ``[N]``, or :obj:`None` where all are one."""
        return self.weight

    def cache_logits(self, x: Tensor) -> Tensor:
        """The logits ``[B, C]`` of the cache for features of length one ``[B, D]``."""
        affinity = torch.exp(self.config.beta * (self.similarities(x) - 1))  # [B, N]
        weight = self.key_weights()
        affinity = affinity if weight is None else affinity * weight
        logits: Tensor = scatter(affinity, self.labels, dim=1, dim_size=self.num_classes)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x = normalized(x)
        return self.text_logits(x) + self.config.alpha * self.cache_logits(x)

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """The name, and the examples in the cache."""
        x = normalized(x)
        return {NAME: self.text_logits(x), EXAMPLES: self.config.alpha * self.cache_logits(x)}

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """Which images are classified right ``[G, B]``, for every :math:`\\alpha` in one pass."""
        return right_over_alpha(self, self.cache_logits, x, y, grid, self.text_logits)


class TipAdapterF(TipAdapter):
    r"""The fine-tuned adapter of the `"Tip-Adapter: Training-free Adaption of CLIP for Few-shot
    Classification" <https://arxiv.org/abs/2207.09519>`_ paper: :class:`TipAdapter` with trained
    keys (:math:`N \cdot D` parameters).

    The recipe is the paper's: AdamW with a learning rate of 1e-3 and an epsilon of 1e-4, 20 epochs.
    :math:`\alpha` and :math:`\beta` are selected after training, inside the shots; the published
    code selects them, and the best epoch, on the test split.

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`
    """

    is_trained: ClassVar[bool] = True
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"epochs": 20, "eps": 1e-4, "weight_decay": 0.01}
    key_parameters: ClassVar[tuple[str, ...]] = ("keys",)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        keys = self.keys
        del self.keys  # a buffer, which becomes a parameter
        self.keys = torch.nn.Parameter(keys)
