"""Gradient steps; on a GPU, they are recorded once and replayed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from pyg_graphadapter.adapters.recordable import is_recordable
from pyg_graphadapter.device import has_bfloat16
from pyg_graphadapter.training.config import TrainConfig

MOMENTUM = 0.9
WARM_UP = 3  # steps per batch size before recording: libraries choose their kernels in the first
MIN_STEPS_TO_RECORD = 500  # recording takes as long as about a hundred steps

logger = logging.getLogger(__name__)


class Trainee(Protocol):
    """An adapter, or several adapters as a batch."""

    def parameters(self) -> Iterable[Tensor]:
        """The parameters."""

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """Computes the mean loss of a batch, and the gradient in the parameters' :obj:`grad`. Of a
        trainee of weighted images, it has an argument :obj:`weight`."""


@dataclass(frozen=True)
class TrainingStep:
    r"""A gradient step on a batch of features that are on the device.

    Args:
        trainee (Trainee): The adapter, or the batch of adapters.
        optimizer (torch.optim.Optimizer): The optimizer of its parameters.
        x (torch.Tensor): The features of all views of all images.
        y (torch.Tensor): The labels of all images.
        temperature (float): Logits are divided by it.
        label_smoothing (float): As in :func:`torch.nn.functional.cross_entropy`.
        precision (torch.autocast): The precision of products.
        weight (torch.Tensor, optional): The factors of the losses of all images.

    Shapes:
        - **x:** :math:`(N \cdot V, D)`; **y**, **weight:** :math:`(N)`
        - **input:** the images of the batch, and their rows in **x**, :math:`(2, *, B)`
        - **output:** the loss :math:`(*)`
    """

    trainee: Trainee
    optimizer: torch.optim.Optimizer
    x: Tensor
    y: Tensor
    temperature: float
    label_smoothing: float
    precision: torch.autocast
    weight: Tensor | None = None

    def __call__(self, batch: Tensor) -> Tensor:
        """Makes the step, and returns the loss before it."""
        image, row = batch
        more = {} if self.weight is None else {"weight": self.weight[image]}
        with self.precision:
            loss = self.trainee.backward(
                self.x[row], self.y[image], self.temperature, self.label_smoothing, **more
            )
        self.optimizer.step()
        return loss


class RecordedStep:
    """The same step as a CUDA graph, which launches all kernels at once. On a GPU, Python and the
    launches of single kernels take longer than most of the kernels.

    A batch size is recorded after :obj:`WARM_UP` steps with it. The largest comes first, because
    the memory that the trainee reuses between steps must not move afterwards. A step that cannot be
    recorded runs unrecorded. Learning rates must be tensors on the device, which every replay
    reads.

    Args:
        step (TrainingStep): The step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.optimizer = step.optimizer
        self._steps_of_size: Counter[int] = Counter()
        self._recordings: dict[int, _Recording | None] = {}

    def __call__(self, batch: Tensor) -> Tensor:
        """As :meth:`TrainingStep.__call__`."""
        size = batch.size(-1)
        if size not in self._recordings and self._steps_of_size[size] >= WARM_UP:
            self._recordings[size] = self._record(batch)
        self._steps_of_size[size] += 1
        recording = self._recordings.get(size)
        return self.step(batch) if recording is None else recording.replay(batch)

    def _record(self, batch: Tensor) -> "_Recording | None":
        batch, losses = batch.clone(), list[Tensor]()
        groups = self.step.optimizer.param_groups
        try:
            for group in groups:
                group["capturable"] = True  # for the recording only: it warns outside
            launch = cuda_graph(lambda: losses.append(self.step(batch)))
        except RuntimeError as error:
            logger.warning("The training step cannot be recorded as a CUDA graph (%s).", error)
            return None
        finally:
            for group in groups:
                group["capturable"] = False
        return _Recording(batch, losses[0], launch)


@dataclass(frozen=True)
class _Recording:
    """A recorded step: the memory of its batch and of its loss, and its launch."""

    batch: Tensor
    loss: Tensor
    launch: Callable[[], None]

    def replay(self, batch: Tensor) -> Tensor:
        self.batch.copy_(batch)
        self.launch()
        return self.loss.clone()


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Records the kernels that ``work`` launches on the current stream, without running them.

    Returns:
        callable: Launches the kernels, on the same memory.

    Raises:
        RuntimeError: If ``work`` cannot be recorded, for example because it waits for the
            device.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One stream per device: PyTorch reserves freed memory for the stream that used it."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Switches to a second stream, as recording needs. Later work on the first stream waits for
    it."""
    main, side = torch.cuda.current_stream(device), _stream(device)
    side.wait_stream(main)
    try:
        with torch.cuda.device(device), torch.cuda.stream(side):
            yield
    finally:
        main.wait_stream(side)


@contextmanager
def training_steps(
    trainee: Trainee,
    x: Tensor,
    y: Tensor,
    config: TrainConfig,
    num_steps: int,
    weight: Tensor | None = None,
) -> Iterator[TrainingStep | RecordedStep]:
    r"""Prepares the gradient steps of one training run, and yields the function that makes one.
    On a GPU, the steps of a long run are recorded.

    Args:
        trainee (Trainee): The adapter, or the batch of adapters.
        x (torch.Tensor): The features of all views of all images, on the device.
        y (torch.Tensor): The labels of all images, on the device.
        config (TrainConfig): How to train, completed by the method's recipe.
        num_steps (int): The number of steps.
        weight (torch.Tensor, optional): The factors of the losses of all images, on the device.
            (default: :obj:`None`)

    Shapes:
        - **x:** :math:`(N \cdot V, D)`; **y**, **weight:** :math:`(N)`
    """
    assert config.temperature is not None
    is_recorded = can_record(trainee, x.device, num_steps)
    step = TrainingStep(
        trainee,
        _optimizer(trainee, config, is_recorded=is_recorded),
        x,
        y,
        config.temperature,
        config.label_smoothing,
        _precision(config.precision, x.device),
        weight,
    )
    with side_stream(x.device) if is_recorded else nullcontext():
        yield RecordedStep(step) if is_recorded else step


def can_record(trainee: Trainee, device: torch.device, num_steps: int) -> bool:
    """Whether the steps can be recorded there, and are so many that it pays."""
    return device.type == "cuda" and is_recordable(trainee) and num_steps >= MIN_STEPS_TO_RECORD


def _optimizer(
    trainee: Trainee, config: TrainConfig, *, is_recorded: bool
) -> torch.optim.Optimizer:
    assert config.lr is not None
    assert config.weight_decay is not None
    assert config.eps is not None
    parameters = [p for p in trainee.parameters() if p.requires_grad]
    lr: float | Tensor = config.lr
    if is_recorded:  # the schedule changes it on the device, where the recording reads it
        lr = torch.tensor(lr, dtype=torch.float32, device=parameters[0].device)
    fused = parameters[0].device.type != "mps"
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr, MOMENTUM, weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.AdamW(
        parameters, lr, eps=config.eps, weight_decay=config.weight_decay, fused=fused
    )


def _precision(name: str, device: torch.device) -> torch.autocast:
    """The autocast of the factors of matrix products."""
    is_lower = name == "bfloat16" and has_bfloat16(device)
    if name == "bfloat16" and not is_lower:
        _warn_of_slow_bfloat16()
    # Without the cache, converted tensors are freed after the step:
    return torch.autocast(device.type, torch.bfloat16, enabled=is_lower, cache_enabled=False)


@cache
def _warn_of_slow_bfloat16() -> None:
    logger.warning(
        "This processor has no instructions for bfloat16, which would be slower than float32: "
        "training in float32."
    )
