"""Zero-shot logits plus a weighted second opinion; every weight can be tried in one pass."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter
from pyg_graphadapter.graph import unit


class MixtureAdapter(Adapter):
    r"""A method whose logits are zero-shot logits plus :math:`\alpha` times others.

    .. math::
        \textrm{logits} = s \cdot \mathbf{x} \mathbf{T}^{\top} + \alpha \cdot g(\mathbf{x})
    """

    @abstractmethod
    def opinion(self, x: Tensor) -> Tensor:
        r"""The logits :math:`g(\mathbf{x})` ``[B, C]`` of features of length one ``[B, D]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x = unit(x)
        alpha: float = self.config.alpha  # type: ignore[attr-defined]
        return self._zero_shot(x) + alpha * self.opinion(x)

    def _zero_shot(self, x: Tensor) -> Tensor:
        return self.logit_scale * (x @ self.text.t()).to(x.dtype)

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """As :meth:`Adapter.right_over`: an image is classified right for an interval of
        :math:`\\alpha`, which is found at once.
        """
        if "alpha" not in grid:
            return super().right_over(x, y, grid)
        others = {name: values for name, values in grid.items() if name != "alpha"}
        x = unit(x)
        zero_shot = self._zero_shot(x)
        alphas = torch.tensor(grid["alpha"], device=x.device, dtype=x.dtype).unsqueeze(1)  # [A, 1]
        before, rows = self.config, []
        try:
            for values in product(*others.values()):
                self.config = replace(before, **dict(zip(others, values, strict=True)))
                low, high = _interval(zero_shot, self.opinion(x), y)  # [B] each
                rows.append((low <= alphas) & (alphas <= high))  # [A, B]
        finally:
            self.config = before
        sizes = [len(values) for values in others.values()]
        right = torch.stack(rows).view(*sizes, len(alphas), len(x))
        axis = list(grid).index("alpha")
        return right.movedim(len(sizes), axis).flatten(0, len(sizes))


def _interval(base: Tensor, other: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Between which weights of ``other`` ``[B, C]`` class ``y`` ``[B]`` has the largest sum.

    With ``ahead = base_y - base_c`` and ``gain = other_y - other_c`` it has where
    ``ahead + a * gain >= 0`` for every ``c``: from below where the gain is positive, from above
    where it is negative.
    """
    y = y.unsqueeze(1)
    ahead, gain = base.gather(1, y) - base, other.gather(1, y) - other  # [B, C]
    bound = -ahead / gain
    low = bound.masked_fill(gain <= 0, -torch.inf).amax(dim=1)
    high = bound.masked_fill(gain >= 0, torch.inf).amin(dim=1)
    never = ((gain == 0) & (ahead < 0)).any(dim=1)
    return low, high.masked_fill(never, -torch.inf)
