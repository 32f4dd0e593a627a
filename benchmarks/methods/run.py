"""Which method is best on which kind of task? All methods, on eight kinds of them.

    python benchmarks/methods/run.py FEATURES IMAGES   # measure; finished runs are skipped
    python benchmarks/methods/run.py --report          # the tables and the figures alone
    python benchmarks/methods/run.py FEATURES IMAGES --pool --draws 1
    python benchmarks/methods/run.py --quick           # random features and the built-in drawings

FEATURES holds imagenet_fewshot.npz, flowers102_images.npz, ucf101_images.npz and class_text.npz;
IMAGES what benchmarks/builtin_model/run.py takes. Methods are all of the package, and those in
scikit_learn.py. ``--pool`` leaves the test splits alone: it tests on the training images that are
not drawn, with other draws, and reports into `runs/pool`; try changes with it.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import scikit_learn  # noqa: F401  (registers two methods)
from cases import GROUPS, Case, Data
from collected import Results, collected, write_results
from tables import rank_tables, write_readme

from pyg_graphadapter.adapters import ADAPTERS, adapter_class
from pyg_graphadapter.adapters.registry import registered_adapters
from pyg_graphadapter.encoding.sources import FileSource, evaluation_tasks
from pyg_graphadapter.experiment.grid import grid_runs, run_all
from pyg_graphadapter.experiment.run import Run
from pyg_graphadapter.storage import versions
from pyg_graphadapter.task import DrawKey, EvaluationTask, NewClasses
from pyg_graphadapter.training.config import TrainConfig

HERE = Path(__file__).parent
RUNS = HERE / "runs"
POOL, POOL_SEED = "shots of the training split, the others of it as test images", 100
POOL_IMAGES = 400  # that are encoded at most


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--draws", type=int, default=3, help="draws of the shots")
    parser.add_argument("--pool", action="store_true", help="test on training images")
    parser.add_argument("--quick", action="store_true", help="a minute, which writes nothing")
    parser.add_argument("--report", action="store_true", help="write tables and figures alone")
    arguments = parser.parse_args()
    if arguments.quick:
        quick()
        return
    out = RUNS / "pool" if arguments.pool else HERE
    if not arguments.report:
        if arguments.images is None:
            parser.error("FEATURES and IMAGES are needed, or --report or --quick")
        data = Data.load(arguments.features, arguments.images)
        for group in arguments.groups:
            runs = out / "runs" if arguments.pool else RUNS
            results = measure(group, data, runs, arguments.draws, pool=arguments.pool)
            write_results(results, out / "results" / f"{group}.json")
            print(f"{group}: {len(results.runs)} runs, {results.seconds:.0f} s", flush=True)
            print(*results.refused, sep="\n", flush=True)
    write_readme(HERE / "README.md", out)


def quick() -> None:
    """Measures all groups once on little data, and prints the ranks."""
    data = Data.quick()
    with tempfile.TemporaryDirectory() as folder:
        results = {group: measure(group, data, Path(folder), 1) for group in GROUPS}
    for table in rank_tables(results):
        print(f"{table.title}\n\n{table.markdown()}\n")


def measure(group: str, data: Data, runs: Path, draws: int, *, pool: bool = False) -> Results:
    """All methods on the cases of a group."""
    results = []
    of_pool = {"task": {"rule": POOL}} if pool else {}  # whose test images differ by draw
    for i, case in enumerate(GROUPS[group](data)):
        keys = _draws(case, draws, pool=pool)
        if not pool:
            tasks = evaluation_tasks(case.source, keys)
        else:
            tasks = {key: _on_the_pool(case, *key) for key in keys}
        if case.new is not None:
            test = case.new.features().train if pool else case.new.test_or_all()
            new = NewClasses(case.new.class_names, case.new.text(), test)
            tasks = {key: replace(task, new=new) for key, task in tasks.items()}
        folder = runs / group / str(i)
        results += run_all(_runs(case, keys), tasks, case.source.origin(), folder)
    return Results(
        versions(),
        f"{os.cpu_count()} cores, {platform.machine()}",
        tuple(dict.fromkeys(_refusal(each) for each in results if "error" in each)),
        tuple(collected(each) | of_pool for each in results if "error" not in each),
    )


def _draws(case: Case, count: int, *, pool: bool) -> list[DrawKey]:
    """Numbers of shots and seeds: one where all images are shots, so that all draws are equal; on
    the pool, an image of every class is left."""
    most = case.most_shots()
    if pool:
        shots = sorted({min(each, most - 1) for each in case.shots})
        return [(each, POOL_SEED + i) for each in shots for i in range(count)]
    return [(each, 1 + i) for each in case.shots for i in range(1 if each == most else count)]


def _on_the_pool(case: Case, shots: int, seed: int) -> EvaluationTask:
    task = case.source.task(shots, seed)
    test = case.source.not_drawn(shots, seed, limit=POOL_IMAGES)
    assert test is not None
    return EvaluationTask(task, test, rule=POOL)


def _runs(case: Case, keys: Sequence[DrawKey]) -> list[Run]:
    """The methods that can be built from the features, with their defaults and as the case says."""
    has_text = not isinstance(case.source, FileSource) or case.source.has_text
    methods = [
        name
        for name in (*ADAPTERS, *registered_adapters())
        if (has_text or not adapter_class(name).needs_text)
        and (case.source.text_encoder or not adapter_class(name).needs_text_encoder)
    ]
    variants: dict[str, dict[str, Any]] = {name: {} for name in methods}
    training = TrainConfig()
    runs = []
    for shots in dict.fromkeys(shots for shots, _ in keys):
        seeds = [seed for each, seed in keys if each == shots]
        runs += grid_runs(list(variants), [shots], seeds, training, variants)
        runs += grid_runs(list(case.settings), [shots], seeds, training, case.settings)
    return runs


def _refusal(result: dict[str, Any]) -> str:
    shots = f"{result['shots']} shot{'s' if result['shots'] != 1 else ''}"
    return f"`{result['method']}`, {shots}: {result['error']}"


if __name__ == "__main__":
    main()
