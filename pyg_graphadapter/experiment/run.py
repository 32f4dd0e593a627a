"""One run of an experiment: from its settings and a task to the content of its result file."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.report.results import RESULT_FORMAT
from pyg_graphadapter.storage import sha256, versions
from pyg_graphadapter.task import EvaluationTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import History, train_together
from pyg_graphadapter.training.evaluation import (
    accuracy_on_new,
    accuracy_on_shifted,
    evaluate,
    harmonic_mean,
)
from pyg_graphadapter.training.selection import select_defaults


@dataclass(frozen=True)
class Run:
    """One cell of the grid.

    Args:
        method (str): The method's name.
        shots (int): The number of images a class.
        seed (int): The seed of the draw and of the training.
        training (TrainConfig): How to train.
        settings (dict): The method's settings that differ from its defaults.
        selects (bool): Whether settings that are left open are selected inside the few shots.
        protocol (str, optional): :obj:`"honest"`, or :obj:`"paper"`: selected on the test split, as
            some papers do, which their tables do not say. (default: :obj:`"honest"`)
        variant (str, optional): What was asked for that differs from the method's own, for tables.
            (default: :obj:`""`)
    """

    method: str
    shots: int
    seed: int
    training: TrainConfig
    settings: dict[str, Any]
    selects: bool
    protocol: str = "honest"
    variant: str = ""

    def file_name(self, task: str) -> str:
        """The name of the run's result file; another setting or task, by its hash, is another."""
        what = json.dumps([RESULT_FORMAT, asdict(self), task], sort_keys=True)
        return f"{self.method}-{self.shots}shot-seed{self.seed}-{sha256(what.encode())[:8]}.json"


def identity(run: Run) -> dict[str, Any]:
    """What a result file says of its run, whether it failed or not."""
    return {
        "format": RESULT_FORMAT,
        "method": run.method,
        "shots": run.shots,
        "seed": run.seed,
        "variant": run.variant,
        "protocol": run.protocol if run.selects else "honest",
    }


def do(
    runs: Sequence[Run], evaluations: Sequence[EvaluationTask], *, progress: bool = True
) -> list[dict[str, Any]]:
    """Fits and measures runs that differ in the seed alone; the content of their result files.

    Those for which the same settings are selected are trained together, where that is faster
    (:func:`~pyg_graphadapter.training.engine.train_together`).
    """
    selected = [
        _select(run, evaluation, progress=progress)
        for run, evaluation in zip(runs, evaluations, strict=True)
    ]
    alike: dict[str, list[int]] = {}
    for i, each in enumerate(selected):
        alike.setdefault(repr(each.settings), []).append(i)
    results: dict[int, dict[str, Any]] = {}
    for indices in alike.values():
        found = _fit(
            [runs[i] for i in indices],
            [evaluations[i] for i in indices],
            [selected[i] for i in indices],
            progress=progress,
        )
        results |= zip(indices, found, strict=True)
    return [results[i] for i in range(len(runs))]


@dataclass(frozen=True)
class _Selected:
    """The settings of a run, on what those that were left open were selected, and the time."""

    settings: dict[str, Any]
    on: str | None
    seconds: float


def _select(run: Run, evaluation: EvaluationTask, *, progress: bool) -> _Selected:
    if not run.selects:
        return _Selected(run.settings, None, 0.0)
    start = time.perf_counter()
    task = evaluation.task
    on = "support" if task.validation is None else "validation"
    if run.protocol == "paper":
        task, on = replace(task, validation=evaluation.test), "test"
    found = select_defaults(run.method, task, run.training, run.settings, progress=progress)
    return _Selected(run.settings | found, on, time.perf_counter() - start)


def _fit(
    runs: Sequence[Run],
    evaluations: Sequence[EvaluationTask],
    selected: Sequence[_Selected],
    *,
    progress: bool,
) -> list[dict[str, Any]]:
    """Fits and measures runs of the same settings."""
    method = adapter_class(runs[0].method)
    tasks = [evaluation.task for evaluation in evaluations]
    adapters, built = [], []
    for task in tasks:
        start = time.perf_counter()
        adapters.append(method.from_task(task, **selected[0].settings))
        built.append(time.perf_counter() - start)
    seeds = [run.seed for run in runs]
    histories = train_together(adapters, tasks, runs[0].training, seeds, progress=progress)
    return [
        _measure(run, evaluation, each, adapter, history, seconds + history.seconds)
        for run, evaluation, each, adapter, history, seconds in zip(
            runs, evaluations, selected, adapters, histories, built, strict=True
        )
    ]


def _measure(
    run: Run,
    evaluation: EvaluationTask,
    selected: _Selected,
    adapter: Adapter,
    history: History,
    seconds: float,
) -> dict[str, Any]:
    measured = evaluate(adapter, evaluation)
    return {
        **identity(run),
        **asdict(measured),
        **_further(adapter, evaluation, measured.accuracy),
        "fit_seconds": seconds,
        "select_seconds": selected.seconds,
        "steps": history.steps,
        "parameters": adapter.num_parameters(),
        "num_classes": adapter.num_classes,
        "settings": {**adapter.settings(), **asdict(run.training)},
        "selected_on": selected.on,
        "versions": versions(),
    }


def _further(adapter: Adapter, evaluation: EvaluationTask, accuracy: float) -> dict[str, Any]:
    """Accuracies on shifted test sets and on new classes, where there are any."""
    found: dict[str, Any] = {}
    if evaluation.shifted:
        found["shifted"] = {
            each.name: accuracy_on_shifted(adapter, each) for each in evaluation.shifted
        }
    if evaluation.new is not None:
        try:
            new = accuracy_on_new(adapter, evaluation.new)
        except ValueError as error:
            reason = str(error)
            found["base_to_new"] = {"base": accuracy, "new": None, "harmonic_mean": None,
                                    "reason": reason}  # fmt: skip
        else:
            mean = harmonic_mean(accuracy, new)
            found["base_to_new"] = {"base": accuracy, "new": new, "harmonic_mean": mean}
    return found
