"""A grid of methods × shots × seeds: one result file each, finished ones are skipped."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pyg_graphadapter.adapters import Stackable, adapter_class
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.experiment.presets import preset_of
from pyg_graphadapter.experiment.run import Run, do, identity
from pyg_graphadapter.parallel import map_parallel, num_workers
from pyg_graphadapter.report.results import is_result, read_result
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import prepare_folder, write_atomic
from pyg_graphadapter.task import DrawKey, EvaluationTask, Origin
from pyg_graphadapter.training.config import TrainConfig

PROTOCOLS = ("honest", "paper")
OF_THE_RUN = ("seed", "device")

logger = logging.getLogger(__name__)


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
        preset (str, optional): A name in :obj:`~pyg_graphadapter.experiment.presets.PRESETS`,
            whose settings hold where none is given. (default: :obj:`None`)
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
    tasks: Mapping[DrawKey, EvaluationTask],
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
        tasks (dict): The task of every number of shots and seed; its content is part of the
            result's name.
        origin (Origin): Where the features came from.
        out (Path): The folder of result files.
        workers (int, optional): The number of processes; one a core on the CPU, or one on a GPU, if
            not given. One trains seeds as a batch where that is faster, with results that are equal
            to rounding. (default: :obj:`None`)
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
    # Side by side on several cores, seeds are done sooner than as a batch on one:
    pieces = _by_seed(pending) if workers == 1 else [[each] for each in pending]
    done = map_parallel(_do_and_write, pieces, (tasks, hashes, origin), workers)
    with tqdm(total=len(pending), unit="run", disable=None if progress else True) as bar:
        for i, _ in done:
            bar.update(len(pieces[i]))
    return [read_result(path) for path in paths]


def _by_seed(pending: Sequence[tuple[Run, Path]]) -> list[list[tuple[Run, Path]]]:
    """Runs that differ in the seed alone, together, of methods that can be trained as a batch."""
    found: dict[str, list[tuple[Run, Path]]] = {}
    for run, path in pending:
        same = run
        if issubclass(adapter_class(run.method), Stackable):
            same = replace(run, seed=0, training=replace(run.training, seed=0))
        found.setdefault(repr(same), []).append((run, path))
    return list(found.values())


def _is_finished(path: Path) -> bool:
    return path.exists() and "error" not in read_result(path)


def _do_and_write(
    shared: tuple[Mapping[DrawKey, EvaluationTask], Mapping[DrawKey, str], Origin],
    piece: Sequence[tuple[Run, Path]],
) -> None:
    """Does runs that differ in the seed alone."""
    tasks, hashes, origin = shared
    runs = [run for run, _ in piece]
    for (run, path), result in zip(piece, _attempt(runs, tasks), strict=True):
        draw = (run.shots, run.seed)
        result |= {"dataset": origin.name, "backbone": origin.model}
        result["features"] = {"sha256": hashes[draw], "skipped": origin.skipped}
        write_atomic(path, (json.dumps(result, indent=2) + "\n").encode())


def _attempt(runs: Sequence[Run], tasks: Mapping[DrawKey, EvaluationTask]) -> list[dict[str, Any]]:
    """The results of runs that differ in the seed alone; of one that fails, the reason."""
    try:
        return do(runs, [tasks[run.shots, run.seed] for run in runs], progress=False)
    except (ValueError, RuntimeError, MemoryError) as error:
        logger.debug("A run failed.", exc_info=True)
        if len(runs) == 1:
            return [{**identity(runs[0]), "error": str(error) or type(error).__name__}]
    # Which of them it was is found by doing each alone, when the memory of all is free again:
    return [result for run in runs for result in _attempt([run], tasks)]
