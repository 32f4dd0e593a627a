"""A grid of methods × shots × seeds: one result file each, finished ones are skipped."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.evaluation import evaluate
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.report import RESULT_FORMAT, is_result, read_result
from pyg_graphadapter.selection import select_defaults
from pyg_graphadapter.sources import Origin
from pyg_graphadapter.storage import prepare_folder, sha256, versions, write_atomic
from pyg_graphadapter.task import EvaluationTask


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
    """

    method: str
    shots: int
    seed: int
    training: TrainConfig
    settings: dict[str, Any]
    selects: bool

    def file_name(self, fingerprint: str) -> str:
        """The name of the run's result file; another setting or feature file is another name."""
        what = json.dumps([RESULT_FORMAT, asdict(self), fingerprint], sort_keys=True)
        return f"{self.method}-{self.shots}shot-seed{self.seed}-{sha256(what.encode())[:8]}.json"


def plan(
    methods: Sequence[str],
    shots: Sequence[int],
    seeds: Sequence[int],
    training: TrainConfig,
    settings: Mapping[str, Any],
    *,
    selects: bool = True,
) -> list[Run]:
    """The runs of a grid; each method gets those of the settings that it has.

    Raises:
        ValueError: If a method is unknown, none of them has one of the settings, or a setting is
            out of bounds.
    """
    names = {method: {f.name for f in fields(adapter_class(method).Config)} for method in methods}
    for name in settings:
        if not any(name in known for known in names.values()):
            raise ValueError(f"No method of {', '.join(methods)} has a setting {name!r}.")
    chosen = {
        method: {name: value for name, value in settings.items() if name in known}
        for method, known in names.items()
    }
    for method in methods:
        adapter_class(method).Config(**chosen[method])
    return [
        Run(
            method,
            k,
            seed,
            replace(training, seed=seed).completed(adapter_class(method)),
            chosen[method],
            selects and not adapter_class(method).grid.keys() <= chosen[method].keys(),
        )
        for method in methods
        for k in shots
        for seed in seeds
    ]


def run_all(
    runs: Sequence[Run], data: FeatureFile, origin: Origin, out: Path, *, progress: bool = True
) -> list[dict[str, Any]]:
    """Does the runs that have no result file in ``out`` yet, and returns the results of all.

    Args:
        runs (sequence of Run): What to do.
        data (FeatureFile): The features.
        origin (Origin): Where they came from; its hash is part of the result's name.
        out (Path): The folder of result files.
        progress (bool, optional): Show a progress bar a run, on a terminal.
            (default: :obj:`True`)

    Raises:
        ValueError: If ``out`` holds something else, or a run cannot be done.
    """
    prepare_folder(out, is_result)
    tasks: dict[tuple[int, int], EvaluationTask] = {}
    for run in runs:  # before anything is trained, so that an impossible draw loses nothing
        key = (run.shots, run.seed)
        tasks[key] = tasks.get(key) or EvaluationTask.from_file(data, *key)
    results = []
    for run in runs:
        path = out / run.file_name(origin.sha256)
        if not path.exists():
            result = do(run, tasks[run.shots, run.seed], progress=progress)
            result["features"] = asdict(origin)
            write_atomic(path, (json.dumps(result, indent=2) + "\n").encode())
        results.append(read_result(path))
    return results


def do(run: Run, evaluation: EvaluationTask, *, progress: bool = True) -> dict[str, Any]:
    """Fits and measures one run; the content of its result file."""
    method, task = adapter_class(run.method), evaluation.task
    training, settings = run.training, run.settings
    selected_on = "support" if task.validation is None else "validation"
    select_start = time.perf_counter()
    if run.selects:
        settings = settings | select_defaults(
            run.method, task, training, settings, progress=progress
        )
    fit_start = time.perf_counter()
    adapter = method.from_task(task, **settings)
    history = train(adapter, task, training, progress=progress)
    end = time.perf_counter()
    return {
        "format": RESULT_FORMAT,
        "method": run.method,
        "shots": run.shots,
        "seed": run.seed,
        **asdict(evaluate(adapter, evaluation)),
        "fit_seconds": end - fit_start,
        "select_seconds": fit_start - select_start if run.selects else 0.0,
        "steps": history.steps,
        "parameters": adapter.num_parameters(),
        "num_classes": adapter.num_classes,
        "settings": {**adapter.settings(), **asdict(training)},
        "selected_on": selected_on if run.selects else None,
        "versions": versions(),
    }
