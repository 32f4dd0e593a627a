"""What a tracker of experiments is told of a training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import torch

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.registry import name_of
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig

if TYPE_CHECKING:
    from pyg_graphadapter.training.engine import History


@dataclass(frozen=True)
class TrainingInfo:
    """What is trained, as callbacks are told.

    Args:
        method (str): The name of the method; of one without a name, that of its class.
        settings (dict): All settings of the method.
        config (TrainConfig): How it is trained, with all settings filled in.
        num_classes (int): The number of classes.
        num_images (int): The number of labelled images.
        shots (int): The largest number of images of a class.
    """

    method: str
    settings: dict[str, Any]
    config: TrainConfig
    num_classes: int
    num_images: int
    shots: int

    @classmethod
    def of(cls, adapter: Adapter, task: FewShotTask, config: TrainConfig) -> Self:
        """The training of an adapter on a task."""
        count = torch.bincount(task.support.y)
        return cls(
            name_of(type(adapter)),
            adapter.settings(),
            config,
            task.num_classes,
            len(task.support),
            int(count.max()) if len(count) else 0,
        )

    @property
    def epochs(self) -> int:
        """The number of epochs; 0 of a method without training."""
        return self.config.epochs or 0

    @property
    def seed(self) -> int:
        """The seed."""
        return self.config.seed


@runtime_checkable
class Callback(Protocol):
    """Is told of every training, for any tracker of experiments. A class that extends this one
    overrides the methods that it needs; any other object needs all three.

    Callbacks are called in the process that trains. They do not change the result, unless they
    change the adapter that :meth:`on_end` is given, which is the trained one itself.
    Trainings may run side by side, so that each call says which one it is of. An exception in a
    callback stops the training with this exception; :meth:`on_end` is then not called, as for a
    training that fails. The trainings by which settings are selected are not told of.

    Example:
        >>> from pyg_graphadapter import GraphAdapterClassifier
        >>> from pyg_graphadapter.testing import fake_features
        >>> class Losses(Callback):
        ...     def on_epoch(self, training, epoch, loss, lr):
        ...         if epoch in (1, training.epochs):
        ...             print(f"{training.method}, epoch {epoch}: {lr:.4f}")
        >>> data = fake_features(num_classes=3)
        >>> x, y = data.train.mean_views().numpy(), data.train.y.numpy()
        >>> classifier = GraphAdapterClassifier().fit(x, y, callbacks=[Losses()])
        graph_adapter, epoch 1: 0.0010
        graph_adapter, epoch 100: 0.0000

    See ``examples/callbacks.py``.
    """

    def on_start(self, training: TrainingInfo) -> None:
        """Is called before the first epoch, also of a method without training. Where the memory
        does not suffice to train several adapters at once, they are started again, one by one."""

    def on_epoch(self, training: TrainingInfo, epoch: int, loss: float, lr: float) -> None:
        """Is called after every epoch.

        Args:
            training (TrainingInfo): The training.
            epoch (int): The number of the epoch, from 1.
            loss (float): The mean loss of the epoch.
            lr (float): The learning rate of its first step.
        """

    def on_end(self, training: TrainingInfo, history: "History", adapter: Adapter) -> None:
        """Is called after the last epoch, also of a method without training.

        Args:
            training (TrainingInfo): The training.
            history (History): All losses, the time and the number of steps.
            adapter (Adapter): The trained adapter itself, ready to predict. Change a copy.
        """


class Callbacks:
    """Several callbacks, and the exception of the one that stopped a training.

    Args:
        callbacks (iterable of Callback): The callbacks.

    Raises:
        ValueError: If one of them is none.
    """

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        if not isinstance(callbacks, Iterable):
            raise ValueError(f"'callbacks' must be a list (got {callbacks!r}): give [callback].")
        self.callbacks = tuple(callbacks)
        self.raised: BaseException | None = None
        for callback in self.callbacks:
            if isinstance(callback, type) or not isinstance(callback, Callback):
                raise ValueError(
                    f"A callback has the methods on_start, on_epoch and on_end (got {callback!r}): "
                    f"give an object of a class that extends pyg_graphadapter.Callback."
                )

    @classmethod
    def of(cls, callbacks: "Iterable[Callback] | Callbacks") -> "Callbacks":
        """Callbacks, which may be together already."""
        return callbacks if isinstance(callbacks, Callbacks) else cls(callbacks)

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def start(self, trainings: Sequence[TrainingInfo]) -> None:
        """Tells that trainings start, side by side."""
        for training in trainings:
            self._tell("on_start", training)

    def epoch(
        self, trainings: Sequence[TrainingInfo], epoch: int, losses: Sequence[float], lr: float
    ) -> None:
        """Tells of an epoch, with the loss of each training."""
        for training, loss in zip(trainings, losses, strict=True):
            self._tell("on_epoch", training, epoch, loss, lr)

    def end(
        self,
        trainings: Sequence[TrainingInfo],
        histories: "Sequence[History]",
        adapters: Sequence[Adapter],
    ) -> None:
        """Tells that trainings ended."""
        for parts in zip(trainings, histories, adapters, strict=True):
            self._tell("on_end", *parts)

    def _tell(self, method: str, *parts: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, method)(*parts)
            except BaseException as error:
                self.raised = error
                raise
