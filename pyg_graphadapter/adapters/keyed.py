"""Methods that compare an image with every labelled image."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter
from pyg_graphadapter.adapters.mixture import text_or_zeros
from pyg_graphadapter.graph import check_features, unit
from pyg_graphadapter.task import FewShotTask

T = TypeVar("T")


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

    takes_weights: ClassVar[bool] = True
    needs_text: ClassVar[bool] = False
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "keys": "ND", "labels": "N"}
    #: The parameters that have one row per key.
    key_parameters: ClassVar[tuple[str, ...]] = ()

    keys: Tensor
    labels: Tensor
    weight: Tensor | None  # how often each key counts [N]; it is not saved

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
        self.register_buffer("weight", None, persistent=False)
        self._computed: tuple[Any, Any] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the method of the task's few shots, one key per image (the mean of its views)."""
        support = task.support
        adapter = cls(
            text_or_zeros(task), support.mean_views(), support.y, task.logit_scale, **settings
        )
        if task.weight is not None:
            adapter.weight = task.weight.to(adapter.keys)
        return adapter

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves or converts the tensors, and so what was computed of them is computed again."""
        self._computed = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def computed_once(self, key: Any, compute: Callable[[], T]) -> T:
        """What is computed of the tensors that are not trained, once per key: the settings that it
        depends on."""
        if self._computed is None or self._computed[0] != key:
            with torch.inference_mode(False), torch.no_grad():  # for training steps, too
                self._computed = (key, compute())
        value: T = self._computed[1]
        return value

    def backward(
        self,
        x: Tensor,
        y: Tensor,
        temperature: float = 1.0,
        label_smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> Tensor:
        """As in other methods. What is trained of a key that counts several times moves as that of
        each of its copies would, by the gradient of one of them."""
        loss = super().backward(x, y, temperature, label_smoothing, weight)
        for name in self.key_parameters:
            gradient = self.get_parameter(name).grad
            if self.weight is not None and gradient is not None:
                gradient /= self.weight.view(-1, *[1] * (gradient.dim() - 1))
        return loss


def _forget(adapter: KeyedAdapter, _: Any) -> None:
    """After loading other tensors, what was computed of them must be computed again."""
    adapter._computed = None
