"""Choosing settings by validation inside the few shots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.adapters.prediction import (
    PredictionTuned,
    combinations,
    prediction_settings,
)
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.features import Features
from pyg_graphadapter.progress import progress_bar
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train_together
from pyg_graphadapter.training.evaluation import batches, predict_logits
from pyg_graphadapter.training.folds import held_out_folds

logger = logging.getLogger(__name__)

FEW_SHOTS = 100  # in total; with fewer, unmeasured settings take their most careful value
MANY_SHOTS = 1000  # in total; with more, one fold is measured, and the defaults are preferred


@dataclass(frozen=True)
class Selection:
    """The result of :func:`select`.

    Args:
        settings (dict): The selected value of every setting in the grid.
        accuracy (dict): Validation accuracy in percent of every candidate, keyed by its values.
            Empty if nothing could be measured.
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

    With a validation split, every candidate is trained on the shots and measured on this split.
    Otherwise, the shots are divided into folds: at most :obj:`folds`, and at most as many as the
    largest class has images. Every candidate is trained on all folds but one and measured on that
    one, for each fold in turn; of every class, an image is always trained on
    (:func:`~pyg_graphadapter.training.folds.held_out_folds`), and copies of one image are held out
    together. With more than 1000 shots, only one fold is measured. With one shot per class, nothing
    can be held out or measured. A setting then keeps its default; it takes its first value if there
    are fewer than 100 shots in total or the default is not in the grid.

    The first candidate is selected that is at most one standard error (of the paired difference)
    less accurate than the best: the one-standard-error rule (Breiman et al., 1984). The first value
    of each setting should therefore be the most careful one. With 1000 measured images or more, the
    defaults are selected, if they are among the candidates and at most one standard error less
    accurate than the best; otherwise the best candidate.

    Args:
        method (type): The adapter's class.
        task (FewShotTask): The task.
        grid (Dict[str, Sequence]): The values to try for every setting, of the method or of
            :class:`TrainConfig`.
        config (TrainConfig, optional): The training settings that are not in the grid. Its
            seed, modulo :math:`2^{32}`, also decides the folds.
            (default: :obj:`None`)
        folds (int, optional): The largest number of folds. (default: :obj:`4`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
        **settings (optional): The method's settings that are not in the grid.

    Raises:
        ValueError: If the grid is empty or names an unknown setting.
    """
    config = config or TrainConfig()
    setting_names = {field.name for field in (*fields(TrainConfig), *fields(method.Config))}
    for name, values in grid.items():
        if name not in setting_names:
            choices = ", ".join(sorted(setting_names))
            raise ValueError(f"Unknown setting {name!r}. Choose from {choices}.")
        if len(values) == 0:
            raise ValueError(f"The grid has no value for {name!r}.")

    splits = _validation_splits(task, folds, config.seed)
    if not splits:
        logger.info("With one shot per class, no setting can be selected.")
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
    """For every candidate, which held-out images it classifies right."""
    training_names = {field.name for field in fields(TrainConfig)}
    names_in_prediction = prediction_settings(method)
    prediction_grid = {name: grid[name] for name in grid if name in names_in_prediction}
    fit_grid = {name: grid[name] for name in grid if name not in names_in_prediction}
    training_tasks = [task for task, _ in splits]
    folds: dict[tuple[Any, ...], list[NDArray[np.bool_]]] = {
        tuple(candidate.values()): [] for candidate in combinations(grid)
    }
    for fit_settings in progress_bar(
        list(combinations(fit_grid)), unit="candidate", progress=progress
    ):
        training = {k: value for k, value in fit_settings.items() if k in training_names}
        of_method = {k: value for k, value in fit_settings.items() if k not in training_names}
        adapters = [
            build_adapter(method, task, {**settings, **of_method}) for task in training_tasks
        ]
        train_together(adapters, training_tasks, replace(config, **training), progress=False)
        for adapter, (_, held_out) in zip(adapters, splits, strict=True):
            rows = _right_over(adapter, held_out, prediction_grid)
            for settings_in_prediction, is_right in zip(
                combinations(prediction_grid), rows, strict=True
            ):
                candidate = fit_settings | settings_in_prediction
                folds[tuple(candidate[name] for name in grid)].append(is_right)
    return {candidate: np.concatenate(is_right) for candidate, is_right in folds.items()}


@torch.inference_mode()
def _right_over(
    adapter: Adapter, held_out: Features, grid: Mapping[str, Sequence[Any]]
) -> list[NDArray[np.bool_]]:
    """Which images are classified right, for every combination of prediction settings."""
    x, y = held_out.mean_views(), held_out.y
    if not isinstance(adapter, PredictionTuned) or not grid:
        return [(predict_logits(adapter, x).argmax(dim=1) == y).numpy()]
    is_right = [
        adapter.right_over(x[i].to(adapter.text), y[i].to(adapter.text.device), grid)
        for i in batches(adapter, len(x))
    ]
    return list(torch.cat(is_right, dim=1).cpu().numpy())


def select_defaults(
    name: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Selects the settings in a method's :obj:`~pyg_graphadapter.adapters.Adapter.grid` that
    are not given.

    Args:
        name (str): The method's name.
        task (FewShotTask): The task.
        config (TrainConfig): The training settings.
        settings (dict): The given settings of the method, which are not selected.
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
    """
    method = adapter_class(name)
    without = () if task.has_text else method.text_settings
    grid = {
        key: values
        for key, values in method.grid.items()
        if key not in settings and key not in without
    }
    if not grid:
        return {}
    return select(method, task, grid, config, progress=progress, **settings).settings


def _chosen(
    is_right: Mapping[tuple[Any, ...], NDArray[np.bool_]], default: tuple[Any, ...]
) -> tuple[Any, ...]:
    """The first candidate that is not clearly behind the best; with many images, the default."""
    best = max(is_right, key=lambda candidate: float(is_right[candidate].mean()))
    num_images = len(is_right[best])
    candidates = list(is_right) if num_images < MANY_SHOTS else [default, best]
    return next(
        candidate
        for candidate in candidates
        if candidate in is_right and not _is_behind(is_right[candidate], is_right[best])
    )


def _is_behind(is_right: NDArray[np.bool_], is_best_right: NDArray[np.bool_]) -> bool:
    """Whether a candidate is less accurate than the best by more than one standard error of the
    paired difference."""
    difference = is_best_right.astype(float) - is_right
    num_images = len(difference)
    error = difference.std(ddof=1) / np.sqrt(num_images) if num_images > 1 else 0.0
    return bool(difference.mean() > error)


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
    """Pairs of a task to train on and images to measure on; none if nothing can be held out."""
    if task.validation is not None and len(task.validation):
        return [(task, task.validation)]
    support = task.support
    groups = groups_of_copies(support.x[:, 0])
    splits = [
        (task.with_support(training_index), support.select(held_out_index))
        for training_index, held_out_index in held_out_folds(support.y, folds, seed, groups)
    ]
    return splits[:1] if len(support) > MANY_SHOTS else splits
