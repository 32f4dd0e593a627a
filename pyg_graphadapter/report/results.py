"""Result files, and their means over seeds."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT_FORMAT = "pyg_graphadapter/result/1"
SELECTED_ON_TEST = "†"


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


def is_result(path: Path) -> bool:
    """Whether a file is a result file."""
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and content.get("format") == RESULT_FORMAT


def read_result(path: Path) -> dict[str, Any]:
    """The content of a result file.

    Raises:
        ValueError: If it is none.
    """
    if not is_result(path):
        raise ValueError(f"{path} is not a result file: remove it to have the run done again.")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The result files in a folder and its subfolders, ordered by data set, method, shots and seed.

    Raises:
        ValueError: If there is none.
    """
    results = [read_result(path) for path in sorted(folder.rglob("*.json")) if is_result(path)]
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
