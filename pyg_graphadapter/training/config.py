"""The settings of training, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from pyg_graphadapter.settings import check_settings, setting

if TYPE_CHECKING:
    from pyg_graphadapter.adapters import Adapter

DEFAULT_EPOCHS = 30
MIN_STEPS = 100  # with few images, an epoch is a single step
WARMUP_LR = 1e-5
OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16")
# The defaults of settings that are not in a method's recipe:
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
    """How an adapter is trained: by gradient steps on the cross-entropy, with cosine decay of the
    learning rate to zero.

    A setting that is :obj:`None` is filled in from the method's
    :obj:`~pyg_graphadapter.adapters.Adapter.recipe`, or else from :obj:`DEFAULTS`.
    :class:`~pyg_graphadapter.GraphAdapter` describes how its recipe was chosen.
    """

    epochs: int | None = setting(
        None,
        f"passes over the few shots; without a recipe {DEFAULT_EPOCHS}, or more to make "
        f"{MIN_STEPS} steps",
        low=0,
    )
    optimizer: str | None = setting(None, "Adam, or SGD with momentum 0.9", choices=OPTIMIZERS)
    lr: float | None = setting(None, "learning rate at the start of the cosine decay", low=0)
    batch_size: int | None = setting(None, "images per step", low=1)
    temperature: float | None = setting(
        None, "divisor of the logits in training; predictions do not use it", low=1e-6
    )
    weight_decay: float | None = setting(None, "weight decay; decoupled with Adam", low=0)
    eps: float | None = setting(None, "epsilon of Adam, added to its denominator", low=0)
    warmup_epochs: int | None = setting(
        None, f"epochs at a learning rate of {WARMUP_LR:g} before the decay", low=0
    )
    label_smoothing: float = setting(0.0, "label smoothing", low=0, high=1)
    precision: str = setting(
        "float32",
        "precision of the factors of matrix products; bfloat16 needs a processor or GPU with "
        "instructions for it",
        choices=PRECISIONS,
    )
    seed: int = setting(1, "seed of the order of images and of the choice of views")
    device: str = setting(
        "auto", "device: cpu, cuda, cuda:1, mps; auto takes a GPU if there is one"
    )

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)

    def completed(self, method: "type[Adapter]") -> Self:
        """The configuration with all settings, filled in from the method's recipe."""
        names = [field.name for field in fields(self)]
        for name in method.recipe:
            if name not in names:
                raise ValueError(
                    f"The recipe of {method.__name__} has {name!r}, which is no training setting. "
                    f"Choose from {', '.join(names)}."
                )
        recipe = {**DEFAULTS, **method.recipe}
        return replace(
            self, **{name: value for name, value in recipe.items() if getattr(self, name) is None}
        )
