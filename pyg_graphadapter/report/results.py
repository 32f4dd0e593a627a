"""Result files, and their means over seeds."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pyg_graphadapter.report.evaluation_file import EVALUATION
from pyg_graphadapter.report.tasks import (
    Task,
    TaskOfResult,
    complete_tasks,
    completed,
    names_of,
    suite_names,
)
from pyg_graphadapter.storage import FileKind, Length, SchemaError, Within, checked, read

CLASSIFIER = "classifier.json"  # in the folder of a classifier
RESULT_FORMAT = "pyg_graphadapter/result/1"
REMEDY = "Remove it to have the run done again, or move it to another folder if it is none"
SELECTED_ON_TEST, TRANSDUCTIVE = "†", "‡"  # at the end of a method's name in tables
DETERMINISTIC = ("zero_shot",)  # methods whose accuracy depends on the test images alone
TOLERANCE = 0.1  # points that rounding on another machine can change
Percent: TypeAlias = Annotated[float, Within(0, 100)]
Seconds: TypeAlias = Annotated[float, Within(0, 1e10)]
Count: TypeAlias = Annotated[int, Within(0)]


@dataclass(frozen=True)
class Row:
    """A method on a data set at a number of shots, over its seeds.

    Args:
        method (str): The method's name.
        shots (int): The number of images per class.
        seeds (int): The number of seeds.
        accuracy (float): The mean test accuracy in percent.
        deviation (float): Its sample standard deviation; 0 for one seed.
        fit_seconds (float): The mean training time.
        parameters (int): The number of trained parameters.
        dataset (str, optional): The name of the task: that of the data set, and what tells it apart
            from other tasks of the same data set. (default: :obj:`""`)
        label (str, optional): The name in tables: the method's name, its changed settings, and
            its marks (:func:`label_of`). (default: the name)
        suite (str, optional): What tells its kind of task apart from others; means over data sets
            are taken within a suite. (default: :obj:`""`)
        task (Task, optional): What it was measured on. (default: :obj:`None`)
        skipped (int, optional): The number of images that could not be read. (default: :obj:`0`)
    """

    method: str
    shots: int
    seeds: int
    accuracy: float
    deviation: float
    fit_seconds: float
    parameters: int
    dataset: str = ""
    label: str = ""
    suite: str = ""
    task: Task | None = None
    skipped: int = 0

    def __post_init__(self) -> None:
        """Takes the name as the label if there is none."""
        object.__setattr__(self, "label", self.label or self.method)


@dataclass(frozen=True)
class BaseToNew:
    """Accuracies in percent on the base classes and on new ones, and their harmonic mean; the
    reason, if a method cannot classify new classes."""

    base: Percent
    new: Percent | None = None
    harmonic_mean: Percent | None = None
    reason: str = ""


@dataclass(frozen=True)
class FeaturesOfResult:
    """The hash of the features that a result was measured on, and the number of images that could
    not be decoded."""

    sha256: str = ""
    skipped: Count = 0


@dataclass(frozen=True)
class FailedRun:
    """What the result file of a run that failed holds: which run it was, and the reason."""

    format: str
    method: Annotated[str, Length(1)]
    shots: Annotated[int, Within(1)]
    seed: int
    error: str
    variant: str | None = ""
    protocol: Literal["honest", "paper"] = "honest"
    is_transductive: bool = False
    dataset: str = ""
    backbone: str | None = None
    features: FeaturesOfResult | None = None
    task: TaskOfResult | None = None
    command: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """What a result file holds: the run, its measures in percent, and its cost. Older files lack
    what has a default."""

    format: str
    method: Annotated[str, Length(1)]
    shots: Annotated[int, Within(1)]
    seed: int
    accuracy: Percent
    fit_seconds: Seconds
    parameters: Count
    variant: str | None = ""
    protocol: Literal["honest", "paper"] = "honest"
    is_transductive: bool = False
    dataset: str = ""
    backbone: str | None = None
    features: FeaturesOfResult | None = None
    balanced_accuracy: Percent | None = None
    macro_f1: Percent = 0.0
    top5: Percent | None = None  # of ten classes or more
    ece: Percent = 0.0
    num_images: Annotated[int, Within(1)] = 1
    num_classes: Annotated[int, Within(1)] = 1
    select_seconds: Seconds = 0.0
    steps: Count = 0
    loss: tuple[float, ...] = ()  # of every epoch; of very many, of some at equal distances
    settings: dict[str, Any] = field(default_factory=dict)
    selected_on: str | None = None
    code: Any = None
    task: TaskOfResult | None = None
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    shifted: dict[str, Percent] = field(default_factory=dict)
    base_to_new: BaseToNew | None = None
    knowledge_graphs: dict[str, tuple[tuple[str, str, float], ...]] = field(default_factory=dict)


RESULT_FILE: FileKind[dict[str, Any]] = FileKind(
    "result file", Any, REMEDY, (RESULT_FORMAT,), (".json",)
)


def is_result(path: Path) -> bool:
    """Whether a file is a result file, whole or not."""
    try:
        read(path, RESULT_FILE)
    except (ValueError, OSError):
        return False
    return True


class ResultFile(dict[str, Any]):
    """The content of a result file, which knows where it lies.

    Args:
        content (dict): The content.
        path (Path): The file.
    """

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path


def read_result(path: Path) -> dict[str, Any]:
    """The content of a result file.

    Raises:
        ValueError: If it is none, or a value is missing or impossible, such as an accuracy that is
            negative or not finite.
    """
    content = read(path, RESULT_FILE)
    try:
        checked(content, FailedRun if "error" in content else FinishedRun)
    except SchemaError as error:
        raise RESULT_FILE.error(path, error) from error
    return ResultFile(content, path)


def result_paths(folder: Path) -> list[Path]:
    """The JSON files in a folder and its subfolders, without evaluations."""
    return [path for path in sorted(folder.rglob("*.json")) if path.name != EVALUATION]


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The result files in a folder and its subfolders, ordered by data set, method, shots and seed.

    Raises:
        ValueError: If there is none, it is the folder of a classifier, or a JSON file is not a
            whole result file, naming it.
    """
    if (folder / CLASSIFIER).is_file():
        raise ValueError(
            f"{folder} holds a classifier and no results: measure it first, with graphadapter "
            f"evaluate {folder} DATA --out evaluation --report, which also writes the page."
        )
    results = [read_result(path) for path in result_paths(folder)]
    if not results:
        raise ValueError(
            f"There is no result file in {folder}: give the folder that compare --out was given."
        )
    return sorted(
        results, key=lambda r: (dataset_of(r), r["method"] != "zero_shot", r["shots"], r["seed"])
    )


def finished(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of runs that did not fail."""
    return [result for result in results if "error" not in result]


def dataset_of(result: dict[str, Any]) -> str:
    """The name of a result's data set."""
    name: str = result.get("dataset", "")
    return name


def label_of(result: dict[str, Any]) -> str:
    """The name of a result's method in tables, with :obj:`SELECTED_ON_TEST` if its settings were
    selected on the test split, and :obj:`TRANSDUCTIVE` if it classifies the test images together.
    """
    variant = result.get("variant")
    marks = SELECTED_ON_TEST if result.get("protocol") == "paper" else ""
    marks += TRANSDUCTIVE if result.get("is_transductive") else ""
    return f"{result['method']}{f' ({variant})' if variant else ''}{marks}"


def name_and_marks(label: str) -> tuple[str, str]:
    """A method's name in tables without its marks, and the marks."""
    name = label.rstrip(SELECTED_ON_TEST + TRANSDUCTIVE)
    return name, label[len(name) :]


@dataclass(frozen=True)
class Measured:
    """A finished run, with the names that it has beside others in tables.

    Args:
        task (Task): What it was measured on.
        name (str): The name of the task.
        label (str): The name of the method.
        suite (str): What tells its kind of task apart from others.
        result (dict): The content of its result file.
    """

    task: Task
    name: str
    label: str
    suite: str
    result: dict[str, Any]


def measured(results: Iterable[dict[str, Any]], *, says_base: bool = True) -> list[Measured]:
    """The finished runs of results, each under the name of its task, which tells it apart from the
    other tasks among them (:mod:`~pyg_graphadapter.report.tasks`); a run that is there twice counts
    once.

    Args:
        results (iterable of dict): The results.
        says_base (bool, optional): Name base classes as such, also where all tasks are of base
            classes. (default: :obj:`True`)

    Raises:
        ValueError: If two files hold runs of one seed that are of one task by what they record, or
            a method that cannot vary over the draws does, naming the files.
    """
    results = finished(results)
    tasks = [Task.of(result) for result in results]
    counted_as = complete_tasks(tasks)
    tasks = [counted_as[task] for task in tasks]
    names = names_of(tasks, says_base=says_base)
    suites = suite_names(tasks)
    labels = _labels(results, tasks)
    runs = [
        Measured(task, names[task], label, suites[task], result)
        for task, label, result in zip(tasks, labels, results, strict=True)
    ]
    runs = _each_once(runs)
    _check_deterministic(runs)
    return runs


def _labels(results: Sequence[dict[str, Any]], tasks: Sequence[Task]) -> list[str]:
    """The names of the methods; where there is more than one version of the code, with that."""
    codes: dict[tuple[Task, str], list[str | None]] = {}
    keys = [(task, label_of(result)) for task, result in zip(tasks, results, strict=True)]
    for key, result in zip(keys, results, strict=True):
        codes.setdefault(key, []).append(result.get("code"))
    counted_as = {
        key: completed(own, lambda code, other: code is None and other is not None)
        for key, own in codes.items()
    }
    labels = []
    for key, result in zip(keys, results, strict=True):
        versions = counted_as[key]
        code = versions[result.get("code")]
        differ = len(set(versions.values())) > 1
        labels.append(_with_code(key[1], code) if differ else key[1])
    return labels


def _with_code(label: str, code: str | None) -> str:
    name, marks = name_and_marks(label)
    return f"{name} [{(code or 'code not recorded')[:30]}]{marks}"


def _each_once(runs: Iterable[Measured]) -> list[Measured]:
    """Runs without those that another file holds, too. Refuses two files of one seed in a cell with
    different accuracies: they differ in something that is not recorded."""
    once: list[Measured] = []
    first: dict[Any, Measured] = {}
    for run in runs:
        key = (run.task, run.label, run.result["shots"], run.result["seed"])
        other = first.setdefault(key, run) if isinstance(run.result, ResultFile) else run
        if other is run:
            once.append(run)
        elif other.result["accuracy"] != run.result["accuracy"]:
            raise ValueError(
                f"{_file(other)} and {_file(run)} are two runs of {run.label} with "
                f"{run.result['shots']} shots and seed {run.result['seed']}, which differ in "
                f"something that they do not record: move one of them to another folder."
            )
    return once


def _check_deterministic(runs: Iterable[Measured]) -> None:
    """Refuses runs of a method that cannot vary, where all draws have the same test images."""
    first: dict[tuple[Task, str], Measured] = {}
    for run in runs:
        if run.result["method"] not in DETERMINISTIC or not run.task.has_fixed_test:
            continue
        other = first.setdefault((run.task, run.label), run)
        accuracies = [each.result["accuracy"] for each in (other, run)]
        if abs(accuracies[0] - accuracies[1]) > TOLERANCE:
            raise ValueError(
                f"{_file(other)} and {_file(run)} were not measured on the same images, though "
                f"they record the same: {run.result['method']}, which does not depend on the draw, "
                f"has {accuracies[0]:.2f} % and {accuracies[1]:.2f} %; report them from "
                f"different folders."
            )


def _file(run: Measured) -> str:
    """What a sentence calls a run: its file, where it has one."""
    result = run.result
    if isinstance(result, ResultFile):
        return str(result.path)
    return (
        f"{run.label} on {run.name or 'a data set'}, {result['shots']} shots, seed {result['seed']}"
    )


def summarize(results: Sequence[dict[str, Any]]) -> list[Row]:
    """One row per task, method and number of shots, in the order of their first run, without
    failed runs.

    Raises:
        ValueError: As :func:`measured` does.
    """
    cells: dict[tuple[str, str, int], list[Measured]] = {}
    for run in measured(results):
        cells.setdefault((run.name, run.label, run.result["shots"]), []).append(run)
    return [_row(cell) for cell in cells.values()]


def _row(cell: Sequence[Measured]) -> Row:
    """The mean over runs that differ in the seed alone."""
    first, results = cell[0], [run.result for run in cell]
    accuracies = [result["accuracy"] for result in results]
    return Row(
        first.result["method"],
        first.result["shots"],
        len(cell),
        statistics.fmean(accuracies),
        statistics.stdev(accuracies) if len(cell) > 1 else 0.0,
        statistics.fmean(result["fit_seconds"] for result in results),
        first.result["parameters"],
        first.name,
        first.label,
        first.suite,
        first.task,
        max((result.get("features") or {}).get("skipped", 0) for result in results),
    )
