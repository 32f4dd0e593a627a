"""The results of a group of tasks in one file: what tables and figures need of every run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyg_graphadapter.report.results import RESULT_FORMAT, FinishedRun
from pyg_graphadapter.storage import FileKind, SchemaError, checked, read, write_atomic

FORMAT = "pyg_graphadapter/benchmark/methods/1"
KEPT = (
    "dataset", "method", "variant", "is_transductive", "shots", "seed", "accuracy", "num_classes",
    "num_images", "fit_seconds", "select_seconds", "parameters", "base_to_new",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """The results of a group.

    Args:
        versions (dict): The versions of the packages.
        machine (str): What they were measured on.
        refused (tuple of str): Methods that cannot do some of the tasks, and why.
        runs (tuple of dict): Of every finished run, the entries :obj:`KEPT` of its result file.
    """

    versions: dict[str, str]
    machine: str
    refused: tuple[str, ...]
    runs: tuple[dict[str, Any], ...]
    format: str = FORMAT

    @property
    def seconds(self) -> float:
        """The time of all selections and trainings, on one core."""
        return sum(run["fit_seconds"] + run["select_seconds"] for run in self.runs)


def collected(result: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a result file that are kept, rounded, without those that say nothing."""
    entries = {name: result[name] for name in KEPT if result.get(name) not in (None, "")}
    if not entries.get("is_transductive"):
        entries.pop("is_transductive", None)
    if "base_to_new" in entries:
        measured = entries["base_to_new"]
        entries["base_to_new"] = {
            name: _rounded(measured[name]) for name in ("base", "new", "harmonic_mean")
        }
    return {name: _rounded(value) for name, value in entries.items()}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


RESULTS_FILE: FileKind[Results] = FileKind(
    "file of results", Results, "Measure it again", (FORMAT,), (".json",)
)


def write_results(results: Results, path: Path) -> None:
    """Writes a file with a line per run."""
    content = asdict(results)
    lines = ",\n  ".join(json.dumps(run) for run in content.pop("runs"))
    head = json.dumps(content, indent=1).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, f'{head},\n "runs": [\n  {lines}\n ]\n}}\n'.encode())


def read_results(path: Path) -> Results:
    """Reads such a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, naming it.
    """
    results = read(path, RESULTS_FILE)
    for run in results.runs:
        try:
            checked({"format": RESULT_FORMAT, **run}, FinishedRun)
        except SchemaError as error:
            raise RESULTS_FILE.error(path, error) from error
    return results
