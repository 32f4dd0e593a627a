"""One training loop for all methods."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import check_settings, setting
from pyg_graphadapter.task import FewShotTask

DEFAULT_EPOCHS = 30
MIN_STEPS = 100  # so that ten classes are trained for as long as a hundred
CHECK_STEPS = 10  # at least so many lie between two looks at whether all is finite


WARMUP_LR = 1e-5
MOMENTUM = 0.9
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

    def completed(self, method: type[Adapter]) -> Self:
        """The configuration with what it leaves open filled in, by the method's recipe."""
        recipe = {**DEFAULTS, **method.recipe}
        return replace(
            self, **{name: value for name, value in recipe.items() if getattr(self, name) is None}
        )


@dataclass(frozen=True)
class History:
    """What a training run did.

    Args:
        loss (tuple of float): The mean loss of every epoch.
        seconds (float): Wall-clock time.
        steps (int): The number of optimizer steps.
    """

    loss: tuple[float, ...]
    seconds: float
    steps: int


class TrainingDivergedError(ValueError):
    """The loss is not a finite number any more; the adapter holds its last finite state."""


def train(
    adapter: Adapter,
    task: FewShotTask,
    config: TrainConfig | None = None,
    *,
    progress: bool = True,
) -> History:
    r"""Trains an adapter on the few shots of a task.

    In every epoch each image is seen once, in an order and by one of its augmented views that the
    seed decides. On CPU, the same seed gives the same weights, bit by bit.

    Args:
        adapter (Adapter): The adapter; it ends on the device of :obj:`config`.
        task (FewShotTask): The task.
        config (TrainConfig, optional): How to train; the defaults if not given.
            (default: :obj:`None`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

    Returns:
        History: The losses and the time that it took. An adapter without parameters is left as it
        is.

    Raises:
        TrainingDivergedError: If the loss is not finite; the adapter then holds the state of the
            last look, at most an epoch or ten steps earlier.
    """
    config = (config or TrainConfig()).completed(type(adapter))
    device = resolve_device(config.device)
    adapter.to(device)
    parameters: list[Tensor] = [p for p in adapter.parameters() if p.requires_grad]
    assert config.batch_size is not None
    assert config.temperature is not None
    steps_per_epoch = math.ceil(len(task.support) / config.batch_size)
    epochs = config.epochs
    if epochs is None:
        epochs = max(DEFAULT_EPOCHS, math.ceil(MIN_STEPS / max(1, steps_per_epoch)))
    if not parameters or epochs * steps_per_epoch == 0:
        return History((), 0.0, 0)

    start = time.perf_counter()
    x, y = unit(task.support.x).to(parameters[0]), task.support.y.to(device)  # [N, V, D], [N]
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = _optimizer(parameters, config)
    schedule = _schedule(optimizer, config, steps_per_epoch, epochs)
    precision = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")

    adapter.train()
    history: list[Tensor] = []
    finite = _State(parameters)
    with tqdm(total=epochs, unit="epoch", disable=None if progress else True) as bar:
        for epoch in range(1, epochs + 1):
            losses = []
            for index, view in _batches(len(y), x.size(1), config.batch_size, generator, device):
                with precision:
                    losses.append(
                        adapter.backward(
                            x[index, view], y[index], config.temperature, config.label_smoothing
                        )
                    )
                optimizer.step()
                schedule.step()
            history.append(torch.stack(losses).mean())
            if (epoch - finite.epoch) * steps_per_epoch >= CHECK_STEPS or epoch == epochs:
                finite.keep(epoch, history)  # waits for the device
                bar.set_postfix(loss=f"{float(history[-1]):.3f}", refresh=False)
                bar.update(epoch - bar.n)
    adapter.eval()
    adapter.zero_grad()
    epoch_losses = tuple(torch.stack(history).tolist())
    return History(epoch_losses, time.perf_counter() - start, epochs * steps_per_epoch)


def _optimizer(parameters: Sequence[Tensor], config: TrainConfig) -> torch.optim.Optimizer:
    assert config.lr is not None
    assert config.weight_decay is not None
    assert config.eps is not None
    fused = parameters[0].device.type != "mps"
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, config.lr, MOMENTUM, weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.AdamW(
        parameters, config.lr, eps=config.eps, weight_decay=config.weight_decay, fused=fused
    )


def _schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps_per_epoch: int, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler:
    assert config.lr is not None
    assert config.warmup_epochs is not None
    lr = config.lr
    warmup = min(config.warmup_epochs, epochs - 1) * steps_per_epoch
    steps = epochs * steps_per_epoch - warmup

    def factor(step: int) -> float:
        if step < warmup:
            return min(1.0, WARMUP_LR / lr) if lr else 0.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / steps))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _batches(
    num_images: int,
    num_views: int,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's images and the view of each, ``[B]``."""
    # Drawn on the CPU, so that every device sees the same batches:
    order = torch.randperm(num_images, generator=generator)
    view = torch.zeros_like(order)
    if num_views > 1:
        view = torch.randint(num_views, (num_images,), generator=generator)
    batches = torch.stack([order, view]).to(device)  # [2, N]
    for start in range(0, num_images, batch_size):
        index, chosen = batches[:, start : start + batch_size]
        yield index, chosen


class _State:
    """The last state that was finite, to go back to."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.saved = [p.detach().clone() for p in parameters]
        self.epoch = 0

    @torch.no_grad()
    def keep(self, epoch: int, losses: Sequence[Tensor]) -> None:
        """Keeps the state at the end of an epoch, or goes back to the last one.

        Raises:
            TrainingDivergedError: If a loss since then, or the state, is not finite.
        """
        is_finite = torch.stack([*losses[self.epoch :], *torch._foreach_norm(self.parameters)])
        is_finite = is_finite.isfinite().cpu()
        if is_finite.all():
            torch._foreach_copy_(self.saved, self.parameters)
            self.epoch = epoch
            return
        torch._foreach_copy_(self.parameters, self.saved)
        first = min(self.epoch + 1 + int(is_finite.int().argmin()), epoch)
        raise TrainingDivergedError(
            f"Training diverged: loss or weights are not finite in epoch {first}. The state after "
            f"epoch {self.epoch} is kept; try a lower learning rate."
        )
