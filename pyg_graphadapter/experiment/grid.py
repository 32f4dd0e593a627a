"""Grids of methods, shots and seeds: one result file per run; finished runs are skipped."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from pyg_graphadapter.adapters import Adapter, Stackable, adapter_class, is_built_in
from pyg_graphadapter.adapters.registry import (
    describe_error,
    register_adapter,
    registered_adapters,
)
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.experiment.presets import preset_of
from pyg_graphadapter.experiment.run import Run, execute_runs, identity, is_file_name, task_of
from pyg_graphadapter.parallel import (
    WorkerKilledError,
    from_bytes,
    map_parallel,
    num_workers,
    one_thread,
    to_bytes,
)
from pyg_graphadapter.progress import progress_bar
from pyg_graphadapter.report.results import is_result, read_result
from pyg_graphadapter.settings import check_setting_names, unknown
from pyg_graphadapter.storage import prepare_folder, write_atomic
from pyg_graphadapter.task import DrawKey, EvaluationTask, Origin
from pyg_graphadapter.training.callbacks import Callback, Callbacks
from pyg_graphadapter.training.config import TrainConfig

PROTOCOLS = ("honest", "paper")
Settings = Mapping[str, Any]
RUN_FIELDS = ("seed", "device")  # of TrainConfig; no part of how a method is trained
# An edge of a knowledge graph, which stands on one line of a result file:
EDGE = re.compile(r'\[\n +(".*"),\n +(".*"),\n +(\S+)\n +\]')
LOSSES = re.compile(r'^  "loss": \[[^]]*\]', re.MULTILINE)  # on one line, too

logger = logging.getLogger(__name__)


def grid_runs(
    methods: Sequence[str],
    shots: Sequence[int],
    seeds: Sequence[int],
    training: TrainConfig,
    settings: Mapping[str, Settings],
    *,
    selects: bool = True,
    protocol: str = "honest",
    preset: str | None = None,
    dataset: str = "",
) -> list[Run]:
    """The runs of a grid of methods, numbers of shots and seeds.

    Args:
        methods (sequence of str): The methods.
        shots (sequence of int): Numbers of images per class.
        seeds (sequence of int): Seeds of draw and training.
        training (TrainConfig): How to train.
        settings (dict): For each method, the settings that differ from its defaults.
        selects (bool, optional): Select the settings that are not given, inside the few shots.
            (default: :obj:`True`)
        protocol (str, optional): :obj:`"honest"` or :obj:`"paper"`. (default: :obj:`"honest"`)
        preset (str, optional): A name in :obj:`~pyg_graphadapter.experiment.presets.PRESETS`, whose
            settings hold where none is given. (default: :obj:`None`)
        dataset (str, optional): The data set, on which a preset may depend. (default: :obj:`""`)

    Raises:
        ValueError: If a method or a setting is unknown, or a setting is out of bounds.
    """
    for method in methods:
        adapter_class(method)
    for method in settings.keys() - set(methods):
        raise unknown("method with settings", method, methods)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    runs = []
    for method, count in product(methods, shots):
        if not isinstance(settings.get(method, {}), Mapping):
            raise ValueError(
                f"The settings of {method} must be a dictionary from name to value "
                f"(got {settings[method]!r})."
            )
        method_settings = dict(settings.get(method, {}))
        check_setting_names(method, adapter_class(method).Config, method_settings)
        preset_settings = preset_of(preset, method, dataset, count)
        first = _run_of(
            Run(method, count, seeds[0], training, method_settings, selects, protocol),
            preset,
            *preset_settings,
        )
        runs += [
            replace(first, seed=seed, training=replace(first.training, seed=seed)) for seed in seeds
        ]
    return runs


def _run_of(
    run: Run,
    preset: str | None,
    preset_method: Settings,
    preset_training: Settings,
) -> Run:
    """A run with the settings of a preset where none are given, and with the method's recipe."""
    method = adapter_class(run.method)
    training = _given_training(run.training, is_trained=method.is_trained)
    settings = {**preset_method, **run.settings}
    method.Config(**settings)  # checks their values
    return replace(
        run,
        training=TrainConfig(**{**preset_training, **training, "seed": run.seed}).completed(method),
        settings=settings,
        selects=run.selects and not method.grid.keys() <= settings.keys(),
        variant=_variant(run, preset, preset_method, preset_training),
    )


def _given_training(training: TrainConfig, *, is_trained: bool) -> dict[str, Any]:
    """The training settings that are given; a method that is not trained takes seed and device."""
    return {
        name: value
        for name, value in vars(training).items()
        if value is not None and (is_trained or name in RUN_FIELDS)
    }


def _variant(
    run: Run,
    preset: str | None,
    preset_method: Settings,
    preset_training: Settings,
) -> str:
    """How a run differs from the method's defaults, for tables."""
    method = adapter_class(run.method)
    defaults = vars(TrainConfig().completed(method))
    changed = dict(run.settings) | {
        name: value
        for name, value in _given_training(run.training, is_trained=method.is_trained).items()
        if name not in RUN_FIELDS and value != defaults[name]
    }
    texts = [f"{name} = {value}" for name, value in changed.items()]
    if preset_method.keys() - changed.keys() or preset_training:
        texts.insert(0, f"{preset} settings")
    if not run.selects and method.grid:
        texts.append("no selection")
    return ", ".join(texts)


def run_all(
    runs: Sequence[Run],
    tasks: Mapping[DrawKey, EvaluationTask],
    origin: Origin,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    command: str = "",
    announce: Callable[[str], None] = logger.info,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
) -> list[dict[str, Any]]:
    """Executes the runs that have no result file in ``out`` yet, and returns the results of all.

    Each result file is written by this process as soon as its run is finished. A run that fails is
    recorded with its reason and repeated the next time; the others go on. So is one whose worker
    process is killed, after it was done again once in a fresh worker.

    Results of other code (:func:`~pyg_graphadapter.adapters.registry.code_identity`) are not taken.

    Args:
        runs (sequence of Run): The runs.
        tasks (dict): The task of every number of shots and seed; its content is part of the
            result's name.
        origin (Origin): The origin of the features.
        out (Path): The folder of result files.
        workers (int, optional): The number of processes; if not given, one per core on a CPU, and
            one on a GPU. A single process trains seeds as a batch where that is faster; the results
            are equal up to rounding. (default: :obj:`None`)
        executor (concurrent.futures.Executor, optional): Executes the runs instead of local
            processes: any executor, of threads, processes or other machines. Each run is sent with
            its own draw alone. What the executor does not bring back, a local process does. It is
            not shut down. (default: :obj:`None`)
        overwrite (bool, optional): Execute all runs again. (default: :obj:`False`)
        command (str, optional): The command that asks for the runs, which their result files
            record. (default: :obj:`""`)
        announce (callable, optional): Receives one line that says how many results were taken from
            ``out``. (default: the log)
        progress (bool, optional): Show a progress bar over the runs, on a terminal.
            (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of the training of each run that is
            executed. All runs are then executed one after the other in this process, with the same
            results. (default: :obj:`()`)

    Raises:
        ValueError: If ``out`` holds other files, or there are callbacks beside several workers or
            an executor.
    """
    told = Callbacks.of(callbacks)
    if told and (executor is not None or workers not in (None, 1)):
        raise ValueError(
            f"Callbacks are called in this process, where the runs are executed one after the "
            f"other (got {'an executor' if executor else f'{workers} jobs'}): leave that out."
        )
    # A damaged result file is one, too; reading it says so:
    prepare_folder(out, lambda path: is_result(path) or is_file_name(path.name))
    hashes = {draw: task.sha256() for draw, task in tasks.items()}
    paths = [out / run.file_name(hashes[run.shots, run.seed]) for run in runs]
    pending = [
        (run, path)
        for run, path in zip(runs, paths, strict=True)
        if overwrite or not _is_finished(path)
    ]
    if len(pending) < len(runs):
        count = len(runs) - len(pending)
        announce(f"{count} of {len(runs)} runs taken from {out}; --overwrite runs all again.")
    if workers is None:
        on_cpu = all(resolve_device(run.training.device).type == "cpu" for run, _ in pending)
        workers = num_workers(len(pending)) if on_cpu else 1
    # On several cores, single runs side by side are faster than a batch of seeds on one core:
    together = workers == 1 and executor is None
    batches = _by_seed(pending) if together else [[run_and_path] for run_and_path in pending]
    pieces = [_Piece.of([run for run, _ in batch], tasks) for batch in batches]
    if told:
        # One by one, with as many threads as a worker, so that the results are the same to the bit:
        limits = nullcontext() if together else one_thread()
        finished = map_parallel(partial(_execute, callbacks=told), pieces, 1)
    else:
        limits, finished = nullcontext(), map_parallel(_execute, pieces, workers, executor)
    with limits, progress_bar(total=len(pending), unit="run", progress=progress) as bar:
        for i, results in finished:
            if isinstance(results, WorkerKilledError):
                results = [{**identity(run), "error": str(results)} for run, _ in batches[i]]
            for (run, path), result in zip(batches[i], results, strict=True):
                draw = run.shots, run.seed
                _write(path, result, hashes[draw], tasks[draw], origin, command)
            bar.update(len(batches[i]))
    return [read_result(path) for path in paths]


def _reason(method: str, error: BaseException) -> str:
    """Why a run failed: what is expected to be refused in its own words, anything else with the
    line that raised it."""
    is_refusal = isinstance(error, ValueError | RuntimeError | MemoryError)
    if is_built_in(method) and is_refusal and str(error):
        return str(error)
    return describe_error(error)


def _by_seed(pending: Sequence[tuple[Run, Path]]) -> list[list[tuple[Run, Path]]]:
    """Runs that differ in the seed alone, together, of methods that can be trained as a batch."""
    batches: dict[str, list[tuple[Run, Path]]] = {}
    for run, path in pending:
        without_seed = run
        if issubclass(adapter_class(run.method), Stackable):
            without_seed = replace(run, seed=0, training=replace(run.training, seed=0))
        batches.setdefault(repr(without_seed), []).append((run, path))
    return list(batches.values())


def _is_finished(path: Path) -> bool:
    return path.exists() and "error" not in read_result(path)


@dataclass(frozen=True)
class _Piece:
    """Runs that differ in the seed alone, with all that they need in another process.

    Args:
        runs (list of Run): The runs.
        tasks (dict): Their tasks, and no others.
        methods (dict): The registered class of their method, if it is not one of this package.
    """

    runs: list[Run]
    tasks: dict[DrawKey, EvaluationTask]
    methods: dict[str, type[Adapter]]

    @classmethod
    def of(cls, runs: list[Run], tasks: Mapping[DrawKey, EvaluationTask]) -> "_Piece":
        registered = registered_adapters()
        return cls(
            runs,
            {(run.shots, run.seed): tasks[run.shots, run.seed] for run in runs},
            {run.method: registered[run.method] for run in runs if run.method in registered},
        )

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return _piece_of, (to_bytes(vars(self)),)


def _piece_of(content: bytes) -> _Piece:
    return _Piece(**from_bytes(content))


def _execute(piece: _Piece, callbacks: Callbacks | None = None) -> list[dict[str, Any]]:
    """The results of the runs of a piece, in any process."""
    for name, cls in piece.methods.items():  # another process may not know them
        register_adapter(name, cls)
    return _results_or_errors(piece.runs, piece.tasks, callbacks or Callbacks())


def _write(
    path: Path,
    result: dict[str, Any],
    digest: str,
    task: EvaluationTask,
    origin: Origin,
    command: str,
) -> None:
    """Writes a result file."""
    result = result | {"dataset": origin.name, "backbone": origin.model}
    result["features"] = {"sha256": digest, "skipped": origin.skipped}
    result["task"] = asdict(task_of(task, origin))
    if command:
        result["command"] = command
    text = EDGE.sub(r"[\1, \2, \3]", json.dumps(result, indent=2))
    text = LOSSES.sub(f'  "loss": {json.dumps(result.get("loss"))}', text)
    write_atomic(path, (text + "\n").encode())


def _results_or_errors(
    runs: Sequence[Run], tasks: Mapping[DrawKey, EvaluationTask], callbacks: Callbacks
) -> list[dict[str, Any]]:
    """The results of runs that differ in the seed alone; for a run that fails, the reason."""
    try:
        evaluations = [tasks[run.shots, run.seed] for run in runs]
        return execute_runs(runs, evaluations, progress=False, callbacks=callbacks)
    except (Exception, SystemExit) as error:  # of any method's code
        if error is callbacks.raised:
            raise
        logger.debug("A run failed.", exc_info=True)
        if len(runs) == 1:
            return [{**identity(runs[0]), "error": _reason(runs[0].method, error)}]
    # Each run is executed alone, when the memory of all is free again, to find the one that fails:
    return [result for run in runs for result in _results_or_errors([run], tasks, callbacks)]
