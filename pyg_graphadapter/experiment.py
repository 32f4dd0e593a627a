"""A grid of methods × shots × seeds: one result file each, finished ones are skipped."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.evaluation import (
    accuracy_on_new,
    accuracy_on_shifted,
    evaluate,
    harmonic_mean,
)
from pyg_graphadapter.parallel import map_parallel, num_workers
from pyg_graphadapter.presets import preset_of
from pyg_graphadapter.results import RESULT_FORMAT, is_result, read_result
from pyg_graphadapter.selection import select_defaults
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.sources import Draw, Origin
from pyg_graphadapter.storage import prepare_folder, sha256, versions, write_atomic
from pyg_graphadapter.task import EvaluationTask

PROTOCOLS = ("honest", "paper")
OF_THE_RUN = ("seed", "device")

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


def plan(
    methods: Sequence[str],
    shots: Sequence[int],
    seeds: Sequence[int],
    training: TrainConfig,
    settings: Mapping[str, Any],
    *,
    selects: bool = True,
    protocol: str = "honest",
    preset: str | None = None,
    dataset: str = "",
) -> list[Run]:
    """The runs of a grid; each method gets those of the settings that it has.

    Args:
        methods (sequence of str): The methods.
        shots (sequence of int): Numbers of images a class.
        seeds (sequence of int): Seeds of draw and training.
        training (TrainConfig): How to train.
        settings (dict): Settings of the methods.
        selects (bool, optional): Select inside the few shots what is left open.
            (default: :obj:`True`)
        protocol (str, optional): :obj:`"honest"` or :obj:`"paper"`. (default: :obj:`"honest"`)
        preset (str, optional): A name in :obj:`~pyg_graphadapter.presets.PRESETS`, whose settings
            hold where none is given. (default: :obj:`None`)
        dataset (str, optional): The data set, which a preset may ask for. (default: :obj:`""`)

    Raises:
        ValueError: If a method is unknown, none of them has one of the settings, or a setting is
            out of bounds.
    """
    names = {method: {f.name for f in fields(adapter_class(method).Config)} for method in methods}
    for name in settings:
        if not any(name in known for known in names.values()):
            raise ValueError(f"No method of {', '.join(methods)} has a setting {name!r}.")
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    runs = []
    for method, k in product(methods, shots):
        kind = adapter_class(method)
        own, trained = preset_of(preset, method, dataset, k)
        asked = {name: value for name, value in settings.items() if name in names[method]}
        own = own | asked
        given = {name: value for name, value in vars(training).items() if value is not None}
        if not kind.is_trained:
            given = {name: value for name, value in given.items() if name in OF_THE_RUN}
        usual = vars(kind.Config(**own)) | vars(TrainConfig().completed(kind))
        asked |= {k: v for k, v in given.items() if k not in OF_THE_RUN and v != usual[k]}
        variant = ", ".join(
            [
                *([f"{preset} settings"] if own.keys() - asked.keys() or trained else []),
                *(f"{name} = {value}" for name, value in asked.items()),
                *([] if selects or not kind.grid else ["no selection"]),
            ]
        )
        runs += [
            Run(
                method,
                k,
                seed,
                TrainConfig(**(trained | given | {"seed": seed})).completed(kind),
                own,
                selects and not kind.grid.keys() <= own.keys(),
                protocol,
                variant,
            )
            for seed in seeds
        ]
    return runs


def run_all(
    runs: Sequence[Run],
    tasks: Mapping[Draw, EvaluationTask],
    origin: Origin,
    out: Path,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Does the runs that have no result file in ``out`` yet, and returns the results of all.

    A run that fails is recorded with its reason, does not stop the others, and is tried again the
    next time.

    Args:
        runs (sequence of Run): What to do.
        tasks (dict): The task of every number of shots and seed
            (:func:`~pyg_graphadapter.sources.evaluation_tasks`); its content is part of the
            result's name.
        origin (Origin): Where the features came from.
        out (Path): The folder of result files.
        workers (int, optional): The number of processes; one a core on the CPU, or one on a GPU, if
            not given. (default: :obj:`None`)
        progress (bool, optional): Show a progress bar over the runs, on a terminal.
            (default: :obj:`True`)

    Raises:
        ValueError: If ``out`` holds something else.
    """
    prepare_folder(out, is_result)
    hashes = {draw: task.sha256() for draw, task in tasks.items()}
    paths = [out / run.file_name(hashes[run.shots, run.seed]) for run in runs]
    pending = [(run, path) for run, path in zip(runs, paths, strict=True) if not _is_finished(path)]
    if workers is None:
        on_cpu = all(resolve_device(run.training.device).type == "cpu" for run, _ in pending)
        workers = num_workers(len(pending)) if on_cpu else 1
    done = map_parallel(_do_and_write, pending, (tasks, hashes, origin), workers)
    for _ in tqdm(done, total=len(pending), unit="run", disable=None if progress else True):
        pass
    return [read_result(path) for path in paths]


def _is_finished(path: Path) -> bool:
    return path.exists() and "error" not in read_result(path)


def _do_and_write(
    shared: tuple[Mapping[Draw, EvaluationTask], Mapping[Draw, str], Origin],
    piece: tuple[Run, Path],
) -> None:
    (tasks, hashes, origin), (run, path) = shared, piece
    draw = (run.shots, run.seed)
    try:
        result = do(run, tasks[draw], progress=False)
    except (ValueError, RuntimeError, MemoryError) as error:
        logger.debug("A run failed.", exc_info=True)
        result = {**_identity(run), "error": str(error) or type(error).__name__}
    result |= {"dataset": origin.name, "backbone": origin.model}
    result["features"] = {"sha256": hashes[draw], "skipped": origin.skipped}
    write_atomic(path, (json.dumps(result, indent=2) + "\n").encode())


def _identity(run: Run) -> dict[str, Any]:
    return {
        "format": RESULT_FORMAT,
        "method": run.method,
        "shots": run.shots,
        "seed": run.seed,
        "variant": run.variant,
        "protocol": run.protocol if run.selects else "honest",
    }


def do(run: Run, evaluation: EvaluationTask, *, progress: bool = True) -> dict[str, Any]:
    """Fits and measures one run; the content of its result file."""
    method, task = adapter_class(run.method), evaluation.task
    training, settings = run.training, run.settings
    selected_on = "support" if task.validation is None else "validation"
    seen = task
    if run.protocol == "paper":
        seen, selected_on = replace(task, validation=evaluation.test), "test"
    select_start = time.perf_counter()
    if run.selects:
        settings = settings | select_defaults(
            run.method, seen, training, settings, progress=progress
        )
    fit_start = time.perf_counter()
    adapter = method.from_task(task, **settings)
    history = train(adapter, task, training, progress=progress)
    end = time.perf_counter()
    measured = evaluate(adapter, evaluation)
    return {
        **_identity(run),
        **asdict(measured),
        **_further(adapter, evaluation, measured.accuracy),
        "fit_seconds": end - fit_start,
        "select_seconds": fit_start - select_start if run.selects else 0.0,
        "steps": history.steps,
        "parameters": adapter.num_parameters(),
        "num_classes": adapter.num_classes,
        "settings": {**adapter.settings(), **asdict(training)},
        "selected_on": selected_on if run.selects else None,
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
