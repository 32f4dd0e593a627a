"""Choosing settings by validation inside the few shots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.features import Features
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train_together
from pyg_graphadapter.training.evaluation import EVALUATION_BATCH, predict_logits

logger = logging.getLogger(__name__)

FEW_SHOTS = 100  # in all; where nothing can be left out, so few call for care
MANY_SHOTS = 1000  # of so many, one fold tells enough, and the defaults are trusted


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
    and every candidate is trained on all folds but one and measured on that one, in turn; of more
    than 1000 shots, on one fold alone. At one shot nothing can be
    left out, so nothing is measured: a setting keeps its default, or takes its first value if there
    are fewer than 100 shots in all or the default is not in the grid.

    Of the candidates, the first is taken that is at most one standard error (of the paired
    difference) less accurate than the best: the one-standard-error rule (Breiman et al., 1984).
    So the first value of each setting should be its most careful: it stays until the shots speak
    against it. Measured on 1000 images or more, it is the defaults that stay, if they are among the
    candidates and at most one standard error less accurate than the best; else the best is taken.

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

    splits = _validation_splits(task, folds, config.seed)
    if not splits:
        logger.info("Nothing to select on at one shot.")
        return Selection(_unmeasured(method, grid, config, len(task.support)), {})

    is_right = _measure(method, grid, splits, config, settings, progress=progress)
    accuracy = {candidate: 100 * float(right.mean()) for candidate, right in is_right.items()}
    defaults = _defaults(method, config)
    chosen = _chosen(is_right, tuple(defaults[name] for name in grid))
    return Selection(dict(zip(grid, chosen, strict=True)), accuracy)


def _measure(
    method: type[Adapter],
    grid: Mapping[str, Sequence[Any]],
    splits: Sequence[tuple[FewShotTask, Features]],
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    progress: bool,
) -> dict[tuple[Any, ...], NDArray[np.bool_]]:
    """Of every candidate, which held-out images it classifies right."""
    in_training = {each.name for each in fields(TrainConfig)}
    later = {name: grid[name] for name in grid if name in method.prediction_settings}
    fitted = {name: grid[name] for name in grid if name not in later}
    found: dict[tuple[Any, ...], list[NDArray[np.bool_]]] = {}
    for values in tqdm(
        list(product(*fitted.values())), unit="candidate", disable=None if progress else True
    ):
        chosen = dict(zip(fitted, values, strict=True))
        training = {name: value for name, value in chosen.items() if name in in_training}
        own = {name: value for name, value in chosen.items() if name not in in_training}
        parts = [part for part, _ in splits]
        adapters = [method.from_task(part, **{**settings, **own}) for part in parts]
        train_together(adapters, parts, replace(config, **training), progress=False)
        for adapter, (_, held_out) in zip(adapters, splits, strict=True):
            rights = _right_over(adapter, held_out, later)
            for late, right in zip(product(*later.values()), rights, strict=True):
                candidate = chosen | dict(zip(later, late, strict=True))
                found.setdefault(tuple(candidate[name] for name in grid), []).append(right)
    return {key: np.concatenate(found[key]) for key in product(*grid.values())}


@torch.inference_mode()
def _right_over(
    adapter: Adapter, held_out: Features, grid: Mapping[str, Sequence[Any]]
) -> list[NDArray[np.bool_]]:
    """Which images are classified right, for every combination of prediction settings."""
    x, y = held_out.mean_views(), held_out.y
    if not grid:
        return [(predict_logits(adapter, x).argmax(dim=1) == y).numpy()]
    parts = [
        adapter.right_over(
            x[i : i + EVALUATION_BATCH].to(adapter.text),
            y[i : i + EVALUATION_BATCH].to(adapter.text.device),
            grid,
        )
        for i in range(0, len(x), EVALUATION_BATCH)
    ]
    return list(torch.cat(parts, dim=1).cpu().numpy())


def select_defaults(
    name: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """What is selected of a method's settings unless it is given: what is in
    its :obj:`~pyg_graphadapter.adapters.Adapter.grid`.

    Args:
        name (str): The method's name.
        task (FewShotTask): The task.
        config (TrainConfig): The training settings.
        settings (dict): The method's settings that are given.
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
    """
    method = adapter_class(name)
    grid = {key: values for key, values in method.grid.items() if key not in settings}
    if not grid:
        return {}
    return select(method, task, grid, config, progress=progress, **settings).settings


def _chosen(
    is_right: Mapping[tuple[Any, ...], NDArray[np.bool_]], default: tuple[Any, ...]
) -> tuple[Any, ...]:
    """The first candidate that is not clearly behind the best; of many measured, the default."""
    best = max(is_right, key=lambda candidate: float(is_right[candidate].mean()))
    measured = len(is_right[best])
    trusted = list(is_right) if measured < MANY_SHOTS else [default, best]
    return next(
        each
        for each in trusted
        if each in is_right and not _is_behind(is_right[each], is_right[best])
    )


def _is_behind(right: NDArray[np.bool_], best: NDArray[np.bool_]) -> bool:
    """Whether it is less accurate by more than one standard error of the difference."""
    behind = best.astype(float) - right
    error = behind.std(ddof=1) / np.sqrt(len(behind)) if len(behind) > 1 else 0.0
    return bool(behind.mean() > error)


def _defaults(method: type[Adapter], config: TrainConfig) -> dict[str, Any]:
    return {**asdict(method.Config()), **asdict(config.completed(method))}


def _unmeasured(
    method: type[Adapter], grid: Mapping[str, Sequence[Any]], config: TrainConfig, shots: int
) -> dict[str, Any]:
    defaults = _defaults(method, config)
    return {
        name: defaults[name] if shots >= FEW_SHOTS and defaults[name] in values else values[0]
        for name, values in grid.items()
    }


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
    splits = [
        (
            task.with_support(torch.from_numpy(rest)),
            task.support.select(torch.from_numpy(held_out)),
        )
        for rest, held_out in splitter.split(np.zeros(len(y)), y)
    ]
    return splits[:1] if len(y) > MANY_SHOTS else splits
