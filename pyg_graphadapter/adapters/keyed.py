"""Methods that compare an image with every labelled image."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter
from pyg_graphadapter.adapters.mixture import text_or_zeros
from pyg_graphadapter.graph import check_features, unit
from pyg_graphadapter.task import FewShotTask


class KeyedAdapter(Adapter):
    r"""A method that keeps the few-shot features as keys, with their labels. Without texts, its
    zero-shot logits are zero.

    Args:
        text (torch.Tensor): The class text features.
        keys (torch.Tensor): The few-shot features.
        labels (torch.Tensor): Their classes.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        **settings (optional): The fields of :obj:`Config`.

    Shapes:
        - **text:** :math:`(C, D)`; **keys:** :math:`(N, D)`; **labels:** :math:`(N)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.
    """

    needs_text: ClassVar[bool] = False
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "keys": "ND", "labels": "N"}

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
        check_features(keys, "keys")
        super().__init__(text, logit_scale, {"keys": unit(keys), "labels": labels}, **settings)

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the method of the task's few shots, one key per image (the mean of its views)."""
        support = task.support
        return cls(
            text_or_zeros(task), support.mean_views(), support.y, task.logit_scale, **settings
        )
