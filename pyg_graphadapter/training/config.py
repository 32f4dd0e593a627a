"""How adapters are trained: settings alone, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from pyg_graphadapter.settings import check_settings, setting

if TYPE_CHECKING:
    from pyg_graphadapter.adapters import Adapter

DEFAULT_EPOCHS = 30
MIN_STEPS = 100  # so that ten classes are trained for as long as a hundred
WARMUP_LR = 1e-5
OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16")
# What a method's recipe leaves open:
DEFAULTS: Mapping[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-3,
    "batch_size": 256,
    "temperature": 1.0,
    "weight_decay": 0.0,
    "eps": 1e-8,
    "warmup_epochs": 0,
}


@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained: by gradient steps with cosine decay to zero, on cross-entropy.

    What is not given is what the method's :obj:`~pyg_graphadapter.adapters.Adapter.recipe` says,
    or else what :obj:`DEFAULTS` says. How GraphAdapter's recipe was chosen is told at
    :class:`~pyg_graphadapter.GraphAdapter`.
    """

    epochs: int | None = setting(
        None,
        f"passes over the few shots; if no recipe says otherwise {DEFAULT_EPOCHS}, or as many as "
        f"make {MIN_STEPS} steps",
        low=0,
    )
    optimizer: str | None = setting(None, "Adam, or SGD with momentum 0.9", choices=OPTIMIZERS)
    lr: float | None = setting(None, "learning rate at the start of the cosine decay", low=0)
    batch_size: int | None = setting(None, "images a step", low=1)
    temperature: float | None = setting(
        None, "logits are divided by it while training, and only then", low=1e-6
    )
    weight_decay: float | None = setting(
        None, "weight decay, decoupled where the optimizer is Adam", low=0
    )
    eps: float | None = setting(None, "what Adam adds to its denominator", low=0)
    warmup_epochs: int | None = setting(
        None, f"epochs at a learning rate of {WARMUP_LR:g} before the decay", low=0
    )
    label_smoothing: float = setting(0.0, "label smoothing", low=0, high=1)
    precision: str = setting(
        "float32", "of the factors of matrix products; all else is float32", choices=PRECISIONS
    )
    seed: int = setting(1, "seed of the order of images and of the choice of views")
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, …; auto takes a GPU where there is one")

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)

    def completed(self, method: "type[Adapter]") -> Self:
        """The configuration with what it leaves open filled in, by the method's recipe."""
        recipe = {**DEFAULTS, **method.recipe}
        return replace(
            self, **{name: value for name, value in recipe.items() if getattr(self, name) is None}
        )
