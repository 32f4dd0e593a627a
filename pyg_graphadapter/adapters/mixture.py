"""Zero-shot logits plus weighted logits of another classifier."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter
from pyg_graphadapter.adapters.prediction import changed_settings, combinations, right_over
from pyg_graphadapter.graph import normalized
from pyg_graphadapter.task import FewShotTask


def zero_shot_logits(adapter: Adapter, x: Tensor) -> Tensor:
    """The logits ``[B, C]`` of zero-shot CLIP for features of length one ``[B, D]``."""
    return adapter.logit_scale * (x @ adapter.text.t()).to(x.dtype)


def text_or_zeros(task: FewShotTask) -> Tensor:
    """The class text features of a task ``[C, D]``; without texts zeros, whose zero-shot logits
    are zero."""
    return task.text if task.has_text else torch.zeros_like(task.text)


def right_over_alpha(
    adapter: Adapter,
    further_logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    grid: Mapping[str, Sequence[Any]],
    text_logits: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r""":meth:`PredictionTuned.right_over` of an adapter with the logits

    .. math::
        \textrm{logits} = s \cdot \mathbf{x} \mathbf{T}^{\top} + \alpha \cdot g(\mathbf{x})

    An image is classified right in an interval of :math:`\alpha`, so that all values of
    :math:`\alpha` are tried in one pass.

    Args:
        adapter (Adapter): The adapter.
        further_logits (callable): The function :math:`g` of features of length one, under the
            present settings of the adapter.
        x (torch.Tensor): Image features ``[B, D]``.
        y (torch.Tensor): Labels ``[B]``.
        grid (dict): The values to try for each setting.
        text_logits (callable, optional): The function of features of length one that stands in
            place of the first term. (default: :obj:`None`)
    """
    if "alpha" not in grid:
        return right_over(adapter, x, y, grid)
    x = normalized(x)
    base = zero_shot_logits(adapter, x) if text_logits is None else text_logits(x)
    alphas = torch.tensor(grid["alpha"], device=x.device, dtype=x.dtype).unsqueeze(1)  # [A, 1]
    other_settings = {name: values for name, values in grid.items() if name != "alpha"}
    is_right = []
    for settings in combinations(other_settings):
        with changed_settings(adapter, settings):
            low, high = _interval(base, further_logits(x), y)  # [B] each
        is_right.append((low <= alphas) & (alphas <= high))  # [A, B]
    sizes = [len(values) for values in other_settings.values()]
    table = torch.stack(is_right).view(*sizes, len(alphas), len(x))
    axis = list(grid).index("alpha")
    return table.movedim(len(sizes), axis).flatten(0, len(sizes))


def _interval(base: Tensor, further: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of ``a`` in which class ``y`` ``[B]`` has the largest of the logits
    ``base + a * further`` ``[B, C]``.

    With ``ahead = base_y - base_c`` and ``gain = further_y - further_c``, these are the values with
    ``ahead + a * gain >= 0`` for every ``c``. A positive gain bounds them from below, a negative
    gain from above.
    """
    y = y.unsqueeze(1)
    ahead, gain = base.gather(1, y) - base, further.gather(1, y) - further  # [B, C]
    bound = -ahead / gain
    low = bound.masked_fill(gain <= 0, -torch.inf).amax(dim=1)
    high = bound.masked_fill(gain >= 0, torch.inf).amin(dim=1)
    never = ((gain == 0) & (ahead < 0)).any(dim=1)
    return low, high.masked_fill(never, -torch.inf)
