"""One training loop for all methods."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter, Stack
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import DEFAULT_EPOCHS, MIN_STEPS, WARMUP_LR, TrainConfig
from pyg_graphadapter.training.training_step import (
    MIN_STEPS_TO_RECORD,
    RecordedStep,
    TrainingStep,
    records,
    side_stream,
)

CHECK_STEPS = 10  # at least so many lie between two looks at whether all is finite
DRAWN_AHEAD = 2**18  # images that are drawn at once for a GPU
MOMENTUM = 0.9

logger = logging.getLogger(__name__)


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
    """The loss is not a finite number any more; an adapter that was trained alone holds its last
    finite state, those of a batch the state of before."""


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
        History: The losses and the time that it took; none where there is nothing to train.

    Raises:
        TrainingDivergedError: If the loss is not finite; the adapter then holds the state of the
            last look, at most an epoch or ten steps earlier.
    """
    config = (config or TrainConfig()).completed(type(adapter))
    adapter.to(resolve_device(config.device))
    adapter.train()
    losses, seconds, steps = _train(adapter, [task], [config.seed], config, progress=progress)
    adapter.eval()
    adapter.zero_grad()
    return History(tuple(losses.tolist()), seconds, steps)


def train_together(
    adapters: Sequence[Adapter],
    tasks: Sequence[FewShotTask],
    config: TrainConfig | None = None,
    seeds: Sequence[int] | None = None,
    *,
    progress: bool = True,
) -> list[History]:
    """Trains adapters of one method, each on its own task: as a batch where that is faster
    (:meth:`~pyg_graphadapter.adapters.Adapter.stack`) and the tasks have as many images, else one
    after the other. The results are those of :func:`train`, to rounding.

    Args:
        adapters (sequence of Adapter): The adapters, of one class.
        tasks (sequence of FewShotTask): The task of each.
        config (TrainConfig, optional): How to train; the defaults if not given.
            (default: :obj:`None`)
        seeds (sequence of int, optional): The seed of each; that of :obj:`config` if not given.
            (default: :obj:`None`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

    Returns:
        list of History: What each run did; the time of a batch counts in equal shares.

    Raises:
        ValueError: If there are not as many tasks, or seeds, as adapters.
        TrainingDivergedError: If a loss is not finite. Adapters of a batch are as they were then.
    """
    if not len(adapters) == len(tasks) == len(seeds or tasks) > 0:
        raise ValueError(
            f"Expected one task and one seed for each adapter (got {len(adapters)} adapters, "
            f"{len(tasks)} tasks and {len(seeds or tasks)} seeds)."
        )
    method = type(adapters[0])
    config = (config or TrainConfig()).completed(method)
    seeds = seeds or [config.seed] * len(adapters)
    device = resolve_device(config.device)
    for adapter in adapters:
        adapter.to(device)
    stack = None
    if len(adapters) > 1 and len({task.support.x.shape for task in tasks}) == 1:
        stack = method.stack(adapters)
    if stack is not None:
        try:
            losses, seconds, steps = _train(stack, tasks, seeds, config, progress=progress)
        except torch.OutOfMemoryError:
            logger.warning("Out of memory with %d adapters at once: one by one.", len(adapters))
            stack = None
        else:
            stack.unstack()
            for adapter in adapters:
                adapter.eval()
            seconds /= len(adapters)
            return [History(tuple(own.tolist()), seconds, steps) for own in losses.T]
    return [
        train(adapter, task, replace(config, seed=seed), progress=progress)
        for adapter, task, seed in zip(adapters, tasks, seeds, strict=True)
    ]


def _train(
    trainee: Adapter | Stack,
    tasks: Sequence[FewShotTask],
    seeds: Sequence[int],
    config: TrainConfig,
    *,
    progress: bool,
) -> tuple[Tensor, float, int]:
    """The one training loop: losses ``[epochs]``, or ``[epochs, S]`` of a stack, seconds, steps."""
    parameters: list[Tensor] = [p for p in trainee.parameters() if p.requires_grad]
    assert config.batch_size is not None
    assert config.temperature is not None
    num_images, num_views, channels = tasks[0].support.x.shape
    steps_per_epoch = math.ceil(num_images / config.batch_size)
    epochs = config.epochs
    if epochs is None:
        epochs = max(DEFAULT_EPOCHS, math.ceil(MIN_STEPS / max(1, steps_per_epoch)))
    steps = epochs * steps_per_epoch
    if not parameters or steps == 0:
        return torch.empty(0, len(tasks)), 0.0, 0

    start = time.perf_counter()
    device = parameters[0].device
    is_recorded = records(device) and trainee.is_recordable and steps >= MIN_STEPS_TO_RECORD
    optimizer = _optimizer(parameters, config, is_recorded=is_recorded)
    schedule = _schedule(optimizer, config, steps_per_epoch, epochs)
    rows = [unit(task.support.x).to(parameters[0]).view(-1, channels) for task in tasks]
    step = TrainingStep(
        trainee,
        optimizer,
        rows[0] if len(rows) == 1 else torch.cat(rows),  # [S * N * V, D]
        torch.cat([task.support.y for task in tasks]).to(device),
        config.temperature,
        config.label_smoothing,
        torch.autocast(
            device.type,
            torch.bfloat16,
            enabled=config.precision == "bfloat16",
            cache_enabled=False,  # what is cast lives no longer than the step
        ),
    )
    take = RecordedStep(step) if is_recorded else step
    orders = _orders(seeds, num_images, num_views, epochs, device)

    history: list[Tensor] = []
    finite = _State(parameters)
    with (
        side_stream(device) if is_recorded else nullcontext(),
        tqdm(total=epochs, unit="epoch", disable=None if progress else True) as bar,
    ):
        for epoch in range(1, epochs + 1):
            order = next(orders) if isinstance(trainee, Stack) else next(orders)[:, 0]
            losses = []
            for first in range(0, num_images, config.batch_size):
                losses.append(take(order[..., first : first + config.batch_size]))
                schedule.step()
            history.append(torch.stack(losses).mean(dim=0))
            if (epoch - finite.epoch) * steps_per_epoch >= CHECK_STEPS or epoch == epochs:
                finite.keep(epoch, history)  # waits for the device
                bar.set_postfix(loss=f"{float(history[-1].mean()):.3f}", refresh=False)
                bar.update(epoch - bar.n)
        found = torch.stack(history).cpu()
    return found, time.perf_counter() - start, steps


def _optimizer(
    parameters: Sequence[Tensor], config: TrainConfig, *, is_recorded: bool
) -> torch.optim.Optimizer:
    assert config.lr is not None
    assert config.weight_decay is not None
    assert config.eps is not None
    lr: float | Tensor = config.lr
    if is_recorded:  # reads it from the device, where the schedule changes it
        lr = torch.tensor(lr, dtype=torch.float32, device=parameters[0].device)
    fused = parameters[0].device.type != "mps"
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr, MOMENTUM, weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.AdamW(
        parameters, lr, eps=config.eps, weight_decay=config.weight_decay, fused=fused
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


def _orders(
    seeds: Sequence[int], num_images: int, num_views: int, epochs: int, device: torch.device
) -> Iterator[Tensor]:
    """Every epoch's images, in the order of each seed, and the row that the view of each has among
    the views of all images of all seeds: ``[2, S, N]``."""
    # Drawn on the CPU, so that every device sees the same batches, and many epochs at a time, as
    # sending them to a device waits for it:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    first = num_images * torch.arange(len(seeds)).unsqueeze(1)  # [S, 1]
    at_once = math.ceil(DRAWN_AHEAD / (len(seeds) * num_images)) if device.type != "cpu" else 1

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        order = torch.randperm(num_images, generator=generator)
        if num_views == 1:
            return order, torch.zeros_like(order)
        return order, torch.randint(num_views, (num_images,), generator=generator)

    def epoch() -> Tensor:
        order, view = torch.stack([torch.stack(draw(each)) for each in generators], dim=1)
        return torch.stack([first + order, (first + order) * num_views + view])

    for first_epoch in range(0, epochs, at_once):
        ahead = min(at_once, epochs - first_epoch)
        yield from torch.stack([epoch() for _ in range(ahead)]).to(device)


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
        sums = [loss.sum() for loss in losses[self.epoch :]]
        is_finite = torch.stack([*sums, *torch._foreach_norm(self.parameters)])
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
