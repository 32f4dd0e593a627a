"""Choosing settings by validation inside the few shots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.evaluation import evaluate
from pyg_graphadapter.features import Features
from pyg_graphadapter.task import FewShotTask

logger = logging.getLogger(__name__)


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
