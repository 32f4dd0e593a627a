"""One training loop for all methods."""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, Stack, Stackable
from pyg_graphadapter.adapters.trust import distinct_shots
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.graph import unit
from pyg_graphadapter.progress import progress_bar
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.callbacks import Callback, Callbacks, TrainingInfo
from pyg_graphadapter.training.config import DEFAULT_EPOCHS, MIN_STEPS, WARMUP_LR, TrainConfig
from pyg_graphadapter.training.training_step import training_steps

CHECK_STEPS = 10  # the fewest steps between two checks for values that are not finite
DRAWN_AHEAD = 2**18  # images whose order is drawn at once for a GPU

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """The losses and the time of a training run.

    Args:
        loss (tuple of float): The mean loss of every epoch.
        seconds (float): Wall-clock time.
        steps (int): The number of optimizer steps.
    """

    loss: tuple[float, ...]
    seconds: float
    steps: int


class TrainingDivergedError(ValueError):
    """The loss is not finite. An adapter that was trained alone has its last finite state; adapters
    that were trained as a batch have the state before training."""


def train(
    adapter: Adapter,
    task: FewShotTask,
    config: TrainConfig | None = None,
    *,
    progress: bool = True,
    callbacks: Iterable[Callback] | Callbacks = (),
) -> History:
    r"""Trains an adapter on the few shots of a task.

    In every epoch, each image is seen once, by one of its augmented views. The seed decides the
    order of images and the choice of views. On a CPU, the same seed gives the same weights, bit by
    bit.

    Args:
        adapter (Adapter): The adapter, which is moved to the device of :obj:`config`.
        task (FewShotTask): The task.
        config (TrainConfig, optional): How to train; the defaults if not given.
            (default: :obj:`None`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of the start, of every epoch and of the
            end (:class:`~pyg_graphadapter.training.callbacks.Callback`). (default: :obj:`()`)

    Returns:
        History: The losses and the time; without losses if there is nothing to train.

    Raises:
        TrainingDivergedError: If the loss is not finite. The adapter then has the state of the last
            check, at most an epoch or ten steps earlier.
    """
    config = (config or TrainConfig()).completed(type(adapter))
    callbacks = Callbacks.of(callbacks)
    adapter.to(resolve_device(config.device))
    adapter.train()
    trainings = _trainings([adapter], [task], [config.seed], config)
    losses, seconds, steps = _train(
        adapter, [adapter], [task], trainings, callbacks, progress=progress
    )
    adapter.eval()
    adapter.zero_grad()
    history = History(tuple(losses.tolist()), seconds, steps)
    callbacks.end(trainings, [history], [adapter])
    return history


def train_together(
    adapters: Sequence[Adapter],
    tasks: Sequence[FewShotTask],
    config: TrainConfig | None = None,
    seeds: Sequence[int] | None = None,
    *,
    progress: bool = True,
    callbacks: Iterable[Callback] | Callbacks = (),
) -> list[History]:
    """Trains adapters of one method, each on its own task. They are trained as a batch if that is
    faster (:class:`~pyg_graphadapter.adapters.Stackable`) and the tasks have the same number of
    images, else one after the other. The results are those of :func:`train`, up to rounding.

    Args:
        adapters (sequence of Adapter): The adapters, of one class.
        tasks (sequence of FewShotTask): The task of each adapter.
        config (TrainConfig, optional): How to train; the defaults if not given.
            (default: :obj:`None`)
        seeds (sequence of int, optional): The seed of each adapter; if not given, that of
            :obj:`config`. (default: :obj:`None`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of each training, as by :func:`train`.
            (default: :obj:`()`)

    Returns:
        list of History: One per adapter; the time of a batch is divided equally.

    Raises:
        ValueError: If there are not as many tasks, or seeds, as adapters.
        TrainingDivergedError: If a loss is not finite. Adapters of a batch are then unchanged.
    """
    if not len(adapters) == len(tasks) == len(seeds or tasks) > 0:
        raise ValueError(
            f"Expected one task and one seed for each adapter (got {len(adapters)} adapters, "
            f"{len(tasks)} tasks and {len(seeds or tasks)} seeds)."
        )
    config = (config or TrainConfig()).completed(type(adapters[0]))
    seeds = seeds or [config.seed] * len(adapters)
    callbacks = Callbacks.of(callbacks)
    device = resolve_device(config.device)
    for adapter in adapters:
        adapter.to(device)
    is_weighted = any(
        _factors(adapter, task, device) is not None
        for adapter, task in zip(adapters, tasks, strict=True)
    )
    same_shape = len({task.support.x.shape for task in tasks}) == 1
    if len(adapters) > 1 and same_shape and not is_weighted:
        trainings = _trainings(adapters, tasks, seeds, config)
        histories = _train_stacked(adapters, tasks, trainings, callbacks, progress=progress)
        if histories is not None:
            return histories
    return [
        train(adapter, task, replace(config, seed=seed), progress=progress, callbacks=callbacks)
        for adapter, task, seed in zip(adapters, tasks, seeds, strict=True)
    ]


def _trainings(
    adapters: Sequence[Adapter],
    tasks: Sequence[FewShotTask],
    seeds: Sequence[int],
    config: TrainConfig,
) -> list[TrainingInfo]:
    """The training of each adapter on its task, all with the same number of epochs."""
    has_parameters = bool(_trained_parameters(adapters[0]))
    epochs = _num_epochs(config, len(tasks[0].support)) if has_parameters else 0
    return [
        TrainingInfo.of(adapter, task, replace(config, epochs=epochs, seed=seed))
        for adapter, task, seed in zip(adapters, tasks, seeds, strict=True)
    ]


def _num_epochs(config: TrainConfig, num_images: int) -> int:
    """The number of epochs; of no images, none."""
    assert config.batch_size is not None
    steps_per_epoch = math.ceil(num_images / config.batch_size)
    if steps_per_epoch == 0:
        return 0
    if config.epochs is not None:
        return config.epochs
    return max(DEFAULT_EPOCHS, math.ceil(MIN_STEPS / steps_per_epoch))


def _trained_parameters(trainee: Adapter | Stack) -> list[Tensor]:
    return [p for p in trainee.parameters() if p.requires_grad]


def _train_stacked(
    adapters: Sequence[Adapter],
    tasks: Sequence[FewShotTask],
    trainings: Sequence[TrainingInfo],
    callbacks: Callbacks,
    *,
    progress: bool,
) -> list[History] | None:
    """Trains the adapters as a batch; :obj:`None` if that is not possible, or not faster."""
    method = type(adapters[0])
    if not issubclass(method, Stackable):
        return None
    try:
        stack = method.stack(adapters)
        if stack is None:
            return None
        losses, seconds, steps = _train(
            stack, adapters, tasks, trainings, callbacks, progress=progress
        )
    except torch.OutOfMemoryError:
        logger.warning("Out of memory with %d adapters at once: one by one.", len(adapters))
        return None
    stack.unstack()
    for adapter in adapters:
        adapter.eval()
    seconds /= len(adapters)
    histories = [
        History(tuple(losses_of_one.tolist()), seconds, steps) for losses_of_one in losses.T
    ]
    callbacks.end(trainings, histories, adapters)
    return histories


def _train(
    trainee: Adapter | Stack,
    adapters: Sequence[Adapter],
    tasks: Sequence[FewShotTask],
    trainings: Sequence[TrainingInfo],
    callbacks: Callbacks,
    *,
    progress: bool,
) -> tuple[Tensor, float, int]:
    """The training loop of an adapter, or of a stack of adapters.

    Returns:
        tuple: The losses ``[epochs]``, or ``[epochs, S]`` of a stack, the seconds and the number of
        steps.
    """
    callbacks.start(trainings)
    parameters = _trained_parameters(trainee)
    config, epochs = trainings[0].config, trainings[0].epochs
    assert config.batch_size is not None
    num_images, num_views, channels = tasks[0].support.x.shape
    steps_per_epoch = math.ceil(num_images / config.batch_size)
    num_steps = epochs * steps_per_epoch
    if num_steps == 0:
        return torch.empty(0, len(tasks)), 0.0, 0

    start = time.perf_counter()
    device = parameters[0].device
    views = [
        adapter.prepare(unit(task.support.x).to(parameters[0]).view(-1, channels))
        for adapter, task in zip(adapters, tasks, strict=True)
    ]
    x = views[0] if len(views) == 1 else torch.cat(views)  # [S * N * V, D]
    y = torch.cat([task.support.y for task in tasks]).to(device)  # [S * N]
    seeds = [training.seed for training in trainings]
    orders = _orders(seeds, num_images, num_views, epochs, device)
    losses_of_epochs: list[Tensor] = []
    finite_state = _FiniteState(parameters)
    factors = _factors(adapters[0], tasks[0], device)
    with (
        training_steps(trainee, x, y, config, num_steps, factors) as step,
        progress_bar(total=epochs, unit="epoch", progress=progress) as bar,
    ):
        schedule = _schedule(step.optimizer, config, steps_per_epoch, epochs)
        for epoch in range(1, epochs + 1):
            lr = float(step.optimizer.param_groups[0]["lr"]) if callbacks else 0.0
            order = next(orders) if isinstance(trainee, Stack) else next(orders)[:, 0]
            losses = []
            for first in range(0, num_images, config.batch_size):
                losses.append(step(order[..., first : first + config.batch_size]))
                schedule.step()
            losses_of_epochs.append(torch.stack(losses).mean(dim=0))
            if (epoch - finite_state.epoch) * steps_per_epoch >= CHECK_STEPS or epoch == epochs:
                finite_state.update(epoch, losses_of_epochs)  # waits for the device
                bar.set_postfix(loss=f"{float(losses_of_epochs[-1].mean()):.3f}", refresh=False)
                bar.update(epoch - bar.n)
            if callbacks:
                losses_of_each = losses_of_epochs[-1].reshape(-1).tolist()
                callbacks.epoch(trainings, epoch, losses_of_each, lr)
        history = torch.stack(losses_of_epochs).cpu()
    return history, time.perf_counter() - start, num_steps


def _factors(adapter: Adapter, task: FewShotTask, device: torch.device) -> Tensor | None:
    """The factors of the losses of the images ``[N]``, one on average, so that a step is as long as
    without any: the weights of the images, over the number of different images of their class where
    the method balances classes. Images of whole weights are as if they were repeated instead."""
    factors, y = task.weight, task.support.y
    if adapter.balances_classes and len(y):
        count = torch.bincount(distinct_shots(task).y, minlength=task.num_classes)
        count_of_each = count[count > 0]
        if bool((count_of_each != count_of_each[0]).any()):
            factors = (torch.ones(len(y)) if factors is None else factors) / count[y]
    if factors is None:
        return None
    return (factors / factors.mean()).to(device, task.support.x.dtype)


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
    """For every epoch ``[2, S, N]``: the images in the order of each seed, and the rows of the
    chosen views among the views of all images of all seeds."""
    # Drawn on the CPU, so that every device sees the same batches. Copying to a device waits for
    # it, and so many epochs are copied at once:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    first = num_images * torch.arange(len(seeds)).unsqueeze(1)  # [S, 1]
    at_once = math.ceil(DRAWN_AHEAD / (len(seeds) * num_images)) if device.type != "cpu" else 1

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        order = torch.randperm(num_images, generator=generator)
        if num_views == 1:
            return order, torch.zeros_like(order)
        return order, torch.randint(num_views, (num_images,), generator=generator)

    def epoch() -> Tensor:
        order, view = torch.stack([torch.stack(draw(g)) for g in generators], dim=1)
        return torch.stack([first + order, (first + order) * num_views + view])

    for first_epoch in range(0, epochs, at_once):
        num_epochs = min(at_once, epochs - first_epoch)
        yield from torch.stack([epoch() for _ in range(num_epochs)]).to(device)


class _FiniteState:
    """The last state of the parameters that was finite."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.saved = [p.detach().clone() for p in parameters]
        self.epoch = 0

    @torch.no_grad()
    def update(self, epoch: int, losses: Sequence[Tensor]) -> None:
        """Saves the state at the end of an epoch, or restores the last one.

        Raises:
            TrainingDivergedError: If a loss since the last check, or the state, is not finite.
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
