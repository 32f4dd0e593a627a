"""Result files, and their means over seeds."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pyg_graphadapter.storage import FileKind, Length, SchemaError, Within, checked, read

RESULT_FORMAT = "pyg_graphadapter/result/1"
REMEDY = "Remove it to have the run done again, or move it to another folder if it is none"
SELECTED_ON_TEST = "†"
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
        dataset (str, optional): The data set's name. (default: :obj:`""`)
        label (str, optional): The name in tables: the method's name, its changed settings, and
            :obj:`SELECTED_ON_TEST` if they were selected on the test split. (default: the name)
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
    dataset: str = ""
    backbone: str | None = None
    features: FeaturesOfResult | None = None


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
    settings: dict[str, Any] = field(default_factory=dict)
    selected_on: str | None = None
    code: Any = None
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
    return content


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The result files in a folder and its subfolders, ordered by data set, method, shots and seed.

    Raises:
        ValueError: If there is none, or a JSON file is not a whole result file, naming it.
    """
    results = [read_result(path) for path in sorted(folder.rglob("*.json"))]
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
    """The name of a result's method in tables."""
    variant = result.get("variant")
    mark = SELECTED_ON_TEST if result.get("protocol") == "paper" else ""
    return f"{result['method']}{f' ({variant})' if variant else ''}{mark}"


def summarize(results: Sequence[dict[str, Any]]) -> list[Row]:
    """One row per data set, method and number of shots, in the order of their first run, without
    failed runs."""
    cells: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in finished(results):
        key = (dataset_of(result), label_of(result), result["shots"])
        cells.setdefault(key, []).append(result)
    return [
        Row(
            cell[0]["method"],
            shots,
            len(cell),
            statistics.fmean(result["accuracy"] for result in cell),
            statistics.stdev(result["accuracy"] for result in cell) if len(cell) > 1 else 0.0,
            statistics.fmean(result["fit_seconds"] for result in cell),
            cell[0]["parameters"],
            dataset,
            label,
        )
        for (dataset, label, shots), cell in cells.items()
    ]
