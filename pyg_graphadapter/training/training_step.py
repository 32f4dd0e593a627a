"""A gradient step; on a GPU, one that is recorded and replayed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3  # steps of a batch size before it is recorded: libraries choose kernels in the first
MIN_STEPS_TO_RECORD = 500  # recording takes as long as some hundred steps


logger = logging.getLogger(__name__)


def records(device: torch.device) -> bool:
    """Whether steps can be recorded there."""
    return device.type == "cuda"


class Trainee(Protocol):
    """What is trained: an adapter, or several as a batch."""

    def parameters(self) -> Iterable[Tensor]:
        """What the optimizer changes."""

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean loss of a batch, its gradient left in the parameters' :obj:`grad`."""


@dataclass(frozen=True)
class TrainingStep:
    r"""A gradient step on some rows of features that are on the device.

    Args:
        trainee (Trainee): What is trained.
        optimizer (torch.optim.Optimizer): The optimizer of its parameters.
        x (torch.Tensor): The features of all views of all images.
        y (torch.Tensor): The labels of all images.
        temperature (float): Logits are divided by it.
        label_smoothing (float): As in :func:`torch.nn.functional.cross_entropy`.
        precision (torch.autocast): The precision of products.

    Shapes:
        - **x:** :math:`(N \cdot V, D)`; **y:** :math:`(N)`
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

    def __call__(self, batch: Tensor) -> Tensor:
        """Takes the step, and returns the loss before it."""
        image, row = batch
        with self.precision:
            loss = self.trainee.backward(
                self.x[row], self.y[image], self.temperature, self.label_smoothing
            )
        self.optimizer.step()
        return loss


class RecordedStep:
    """The same step as a CUDA graph, which launches all its kernels at once: Python and the launch
    of single kernels take longer than most of them on a GPU.

    A batch size is recorded after :obj:`WARM_UP` steps with it, the largest first, as memory that
    the trainee keeps between steps must not move afterwards. What cannot be recorded goes on as it
    was. Learning rates must be tensors on the device, which the graph reads anew.

    Args:
        step (TrainingStep): The step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self._seen: Counter[int] = Counter()
        self._recorded: dict[int, _Recording | None] = {}

    def __call__(self, batch: Tensor) -> Tensor:
        """As :class:`TrainingStep` does."""
        size = batch.size(-1)
        if size not in self._recorded and self._seen[size] >= WARM_UP:
            self._recorded[size] = self._record(batch)
        self._seen[size] += 1
        recording = self._recorded.get(size)
        return self.step(batch) if recording is None else recording.replay(batch)

    def _record(self, batch: Tensor) -> "_Recording | None":
        batch, losses = batch.clone(), list[Tensor]()
        groups = self.step.optimizer.param_groups
        try:
            for group in groups:
                group["capturable"] = True  # only now: it warns where nothing is captured
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
    """Where a recorded step reads its batch and leaves its loss, and what launches it."""

    batch: Tensor
    loss: Tensor
    launch: Callable[[], None]

    def replay(self, batch: Tensor) -> Tensor:
        self.batch.copy_(batch)
        self.launch()
        return self.loss.clone()


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Records the kernels that ``work`` launches on the current stream, without running them, and
    returns what launches them again, into the same memory.

    Raises:
        RuntimeError: If it does what cannot be recorded, such as waiting for the device.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One a device: PyTorch keeps freed memory for the stream that had it."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """A stream beside the usual one, as recording needs; what comes after waits for it."""
    usual, side = torch.cuda.current_stream(device), _stream(device)
    side.wait_stream(usual)
    try:
        with torch.cuda.device(device), torch.cuda.stream(side):
            yield
    finally:
        usual.wait_stream(side)
