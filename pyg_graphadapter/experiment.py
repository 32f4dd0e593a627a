"""A grid of methods × shots × seeds: one result file each, finished ones are skipped."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.evaluation import evaluate
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.parallel import map_parallel, num_workers
from pyg_graphadapter.report import RESULT_FORMAT, is_result, read_result
from pyg_graphadapter.selection import select_defaults
from pyg_graphadapter.sources import Origin
from pyg_graphadapter.storage import prepare_folder, sha256, versions, write_atomic
from pyg_graphadapter.task import EvaluationTask, TextEncoder

logger = logging.getLogger(__name__)


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
    runs: Sequence[Run],
    data: FeatureFile,
    origin: Origin,
    out: Path,
    *,
    text_encoder: TextEncoder | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Does the runs that have no result file in ``out`` yet, and returns the results of all.

    A run that fails is recorded with its reason, does not stop the others, and is tried again the
    next time.

    Args:
        runs (sequence of Run): What to do.
        data (FeatureFile): The features.
        origin (Origin): Where they came from; its hash is part of the result's name.
        out (Path): The folder of result files.
        text_encoder (TextEncoder, optional): The encoder of the class names, for methods that learn
            prompts. (default: :obj:`None`)
        workers (int, optional): The number of processes; one a core on the CPU, or one on a GPU, if
            not given. (default: :obj:`None`)
        progress (bool, optional): Show a progress bar over the runs, on a terminal.
            (default: :obj:`True`)

    Raises:
        ValueError: If ``out`` holds something else, or a draw cannot be made.
    """
    prepare_folder(out, is_result)
    tasks: dict[tuple[int, int], EvaluationTask] = {}
    for run in runs:  # before anything is trained, so that an impossible draw loses nothing
        key = (run.shots, run.seed)
        tasks[key] = tasks.get(key) or EvaluationTask.from_file(data, *key, text_encoder)
    paths = [out / run.file_name(origin.sha256) for run in runs]
    pending = [(run, path) for run, path in zip(runs, paths, strict=True) if not _is_finished(path)]
    if workers is None:
        on_cpu = all(resolve_device(run.training.device).type == "cpu" for run, _ in pending)
        workers = num_workers(len(pending)) if on_cpu else 1
    done = map_parallel(_do_and_write, pending, (tasks, origin), workers)
    for _ in tqdm(done, total=len(pending), unit="run", disable=None if progress else True):
        pass
    return [read_result(path) for path in paths]


def _is_finished(path: Path) -> bool:
    return path.exists() and "error" not in read_result(path)


def _do_and_write(
    shared: tuple[Mapping[tuple[int, int], EvaluationTask], Origin], piece: tuple[Run, Path]
) -> None:
    (tasks, origin), (run, path) = shared, piece
    try:
        result = do(run, tasks[run.shots, run.seed], progress=False)
    except (ValueError, RuntimeError, MemoryError) as error:
        logger.debug("A run failed.", exc_info=True)
        result = {**_identity(run), "error": str(error) or type(error).__name__}
    result["features"] = asdict(origin)
    write_atomic(path, (json.dumps(result, indent=2) + "\n").encode())


def _identity(run: Run) -> dict[str, Any]:
    return {
        "format": RESULT_FORMAT,
        "method": run.method,
        "shots": run.shots,
        "seed": run.seed,
    }


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
        **_identity(run),
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
