"""One training loop, one evaluation and one selection rule for all methods."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import check_settings, setting
from pyg_graphadapter.task import EvaluationTask, FewShotTask

logger = logging.getLogger(__name__)

DEFAULT_EPOCHS = 30
MIN_STEPS = 100  # so that ten classes are trained for as long as a hundred
EVALUATION_BATCH = 4096
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained: Adam with cosine decay to zero, on cross-entropy.

    How the defaults were chosen is told at :class:`~pyg_graphadapter.GraphAdapter`.
    """

    epochs: int | None = setting(
        None,
        f"passes over the few shots; if not given {DEFAULT_EPOCHS}, or as many as make "
        f"{MIN_STEPS} steps",
        low=0,
    )
    lr: float = setting(1e-3, "learning rate of Adam at the start of the cosine decay", low=0)
    batch_size: int = setting(256, "images a step", low=1)
    temperature: float = setting(
        2.0, "logits are divided by it while training, and only then", low=1e-6
    )
    weight_decay: float = setting(0.0, "decoupled weight decay (AdamW)", low=0)
    label_smoothing: float = setting(0.0, "label smoothing", low=0, high=1)
    seed: int = setting(1, "seed of the order of images and of the choice of views")
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, …; auto takes a GPU where there is one")

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)


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


@dataclass(frozen=True)
class Evaluation:
    """How well an adapter classifies, all in percent.

    Args:
        accuracy (float): Top-1 accuracy.
        top5 (float): Top-5 accuracy; 100 for five classes or fewer.
        macro_f1 (float): The mean F1 score over the classes that occur.
        ece (float): Expected calibration error, 15 bins.
        num_images (int): The number of images.
    """

    accuracy: float
    top5: float
    macro_f1: float
    ece: float
    num_images: int


@dataclass(frozen=True)
class Selection:
    """What :func:`select` chose.

    Args:
        settings (dict): The chosen value of every setting in the grid.
        accuracy (dict): Validation accuracy in percent of every candidate, keyed by its values.
            Empty where nothing could be measured.
    """

    settings: dict[str, Any]
    accuracy: dict[tuple[Any, ...], float]


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        ValueError: If there is no such device here, listing those that there are.
    """
    kinds = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    here = [kind for kind, is_here in kinds.items() if is_here]
    if name == "auto":
        return torch.device("cuda" if "cuda" in here else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in here:
        raise ValueError(f"There is no device {name!r} here. Choose from auto, {', '.join(here)}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"There is no device {name!r} here: {torch.cuda.device_count()} CUDA devices."
        )
    return device


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
        TrainingDivergedError: If the loss is not finite; the adapter then holds the state before
            the epoch in which that happened.
    """
    config = config or TrainConfig()
    device = resolve_device(config.device)
    adapter.to(device)
    parameters = [p for p in adapter.parameters() if p.requires_grad]
    steps_per_epoch = math.ceil(len(task.support) / config.batch_size)
    epochs = config.epochs
    if epochs is None:
        epochs = max(DEFAULT_EPOCHS, math.ceil(MIN_STEPS / max(1, steps_per_epoch)))
    if not parameters or epochs * steps_per_epoch == 0:
        return History((), 0.0, 0)

    start = time.perf_counter()
    x, y = unit(task.support.x).to(parameters[0]), task.support.y.to(device)  # [N, V, D], [N]
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        parameters, lr=config.lr, weight_decay=config.weight_decay, fused=device.type != "mps"
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps_per_epoch)

    adapter.train()
    history: list[float] = []
    with tqdm(total=epochs, unit="epoch", disable=None if progress else True) as bar:
        for _ in range(epochs):
            finite = [p.detach().clone() for p in parameters]
            losses = []
            for index, view in _batches(len(y), x.size(1), config.batch_size, generator, device):
                logits = adapter(x[index, view]) / config.temperature  # [B, C]
                loss = F.cross_entropy(logits, y[index], label_smoothing=config.label_smoothing)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())
            epoch_losses = torch.stack(losses).cpu()  # waits for the device once an epoch
            _check_finite(epoch_losses, parameters, finite, len(history) * steps_per_epoch)
            history.append(float(epoch_losses.mean()))
            bar.set_postfix(loss=f"{history[-1]:.3f}", refresh=False)
            bar.update()
    adapter.eval()
    return History(tuple(history), time.perf_counter() - start, epochs * steps_per_epoch)


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


def _check_finite(
    losses: Tensor, parameters: Sequence[Tensor], finite: Sequence[Tensor], steps: int
) -> None:
    is_finite = losses.isfinite()
    if is_finite.all() and all(bool(p.isfinite().all()) for p in parameters):
        return
    with torch.no_grad():
        for parameter, last in zip(parameters, finite, strict=True):
            parameter.copy_(last)
    step = steps + int(is_finite.int().argmin() if not is_finite.all() else len(losses)) + 1
    raise TrainingDivergedError(
        f"Training diverged: the loss is not finite at step {step}. The state before that epoch is "
        f"kept; try a lower learning rate."
    )


@torch.inference_mode()
def predict_logits(adapter: Adapter, x: Tensor) -> Tensor:
    """Logits ``[N, C]`` of features ``[N, D]`` on the CPU, computed on the adapter's device."""
    return torch.cat(
        [
            adapter(x[start : start + EVALUATION_BATCH].to(adapter.text)).cpu()
            for start in range(0, max(1, len(x)), EVALUATION_BATCH)
        ]
    )


def evaluate(adapter: Adapter, data: EvaluationTask | Features) -> Evaluation:
    """Measures an adapter on a test split, or on any features with labels.

    An image with several views counts once, by the mean of its views.

    Args:
        adapter (Adapter): The adapter.
        data (EvaluationTask or Features): What to classify.

    Raises:
        ValueError: If there is no image, or the width is not the adapter's.
    """
    features = data.test if isinstance(data, EvaluationTask) else data
    if len(features) == 0:
        raise ValueError("There is no image to evaluate on.")
    probability = predict_logits(adapter, features.mean_views()).softmax(dim=1).double().numpy()
    y, predicted = features.y.numpy(), probability.argmax(axis=1)
    top5 = 1.0
    if probability.shape[1] > 5:
        labels = np.arange(probability.shape[1])
        top5 = top_k_accuracy_score(y, probability, k=5, labels=labels)
    occurring = np.unique(y)
    return Evaluation(
        accuracy=100 * float(accuracy_score(y, predicted)),
        top5=100 * float(top5),
        macro_f1=100
        * float(f1_score(y, predicted, labels=occurring, average="macro", zero_division=0)),
        ece=100 * expected_calibration_error(probability, y),
        num_images=len(features),
    )


def expected_calibration_error(
    probability: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    bins: int = CALIBRATION_BINS,
) -> float:
    r"""The expected calibration error of the `"On Calibration of Modern Neural Networks"
    <https://arxiv.org/abs/1706.04599>`_ paper (Equation 3), a fraction.

    .. math::
        \sum_b \frac{n_b}{N} \left| \textrm{accuracy}_b - \textrm{confidence}_b \right|

    over bins of equal width of the confidence, the probability of the predicted class.

    Args:
        probability (numpy.ndarray): Class probabilities.
        y (numpy.ndarray): Labels.
        bins (int, optional): The number of bins. (default: :obj:`15`)

    Shapes:
        - **probability:** :math:`(N, C)`; **y:** :math:`(N)`
    """
    confidence = probability.max(axis=1)
    correct = probability.argmax(axis=1) == y
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def select(
    method: type[Adapter],
    task: FewShotTask,
    grid: Mapping[str, Sequence[Any]],
    config: TrainConfig | None = None,
    *,
    folds: int = 4,
    progress: bool = True,
    **settings: Any,
) -> Selection:
    r"""Chooses settings by validation inside a task, which holds no test split.

    With a validation split, every candidate is trained on the shots and measured there. Without
    one, the shots are cut into at most :obj:`folds` folds, as many as the rarest class has images,
    and every candidate is trained on all folds but one and measured on that one, in turn. At one
    shot nothing can be left out: the first value of every setting is returned, unmeasured. Of equal
    candidates the first wins; so the first value of each setting should be its default.

    Args:
        method (type): The adapter's class.
        task (FewShotTask): The task.
        grid (Dict[str, Sequence]): The values to try of every setting, of the method or of
            :class:`TrainConfig`.
        config (TrainConfig, optional): The training settings that are not in the grid.
            (default: :obj:`None`)
        folds (int, optional): The largest number of folds. (default: :obj:`4`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
        **settings (optional): The method's settings that are not in the grid.

    Raises:
        ValueError: If the grid is empty or names an unknown setting.
    """
    config = config or TrainConfig()
    training = {each.name for each in fields(TrainConfig)}
    known = training | {each.name for each in fields(method.Config)}
    for name, values in grid.items():
        if name not in known:
            raise ValueError(f"Unknown setting {name!r}. Choose from {', '.join(sorted(known))}.")
        if len(values) == 0:
            raise ValueError(f"The grid has no value for {name!r}.")

    candidates = list(product(*grid.values()))
    splits = _validation_splits(task, folds, config.seed)
    if not splits:
        logger.warning("Nothing to select on at one shot: the first value of every setting stays.")
        return Selection(dict(zip(grid, candidates[0], strict=True)), {})

    accuracy: dict[tuple[Any, ...], float] = {}
    for candidate in tqdm(candidates, unit="candidate", disable=None if progress else True):
        chosen = dict(zip(grid, candidate, strict=True))
        in_training = {name: value for name, value in chosen.items() if name in training}
        in_method = {name: value for name, value in chosen.items() if name not in training}
        scores = []
        for part, held_out in splits:
            adapter = method.from_task(part, **{**settings, **in_method})
            train(adapter, part, replace(config, **in_training), progress=False)
            scores.append(evaluate(adapter, held_out).accuracy)
        accuracy[candidate] = float(np.mean(scores))
    best = max(accuracy, key=lambda candidate: accuracy[candidate])
    return Selection(dict(zip(grid, best, strict=True)), accuracy)


def _validation_splits(
    task: FewShotTask, folds: int, seed: int
) -> list[tuple[FewShotTask, Features]]:
    """What to train on and what to measure on, in turn; none where nothing can be left out."""
    if task.validation is not None and len(task.validation):
        return [(task, task.validation)]
    y = task.support.y.numpy()
    folds = min(folds, int(np.bincount(y, minlength=task.num_classes).min(initial=len(y))))
    if folds < 2:
        return []
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    return [
        (
            task.with_support(torch.from_numpy(rest)),
            task.support.select(torch.from_numpy(held_out)),
        )
        for rest, held_out in splitter.split(np.zeros(len(y)), y)
    ]
