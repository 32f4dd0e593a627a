"""How runs were made: their settings, versions and commands, for a page."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pyg_graphadapter.report.results import Measured, measured
from pyg_graphadapter.report.tables import MISSING, Cell, Table

HEADER = (
    "method", "data set", "shots", "seeds", "accuracy %", "training s", "selection s",
    "selected on", "settings",
)  # fmt: skip
SPLITS = {"support": "the shots", "validation": "validation images", "test": "test images"}


def value_text(value: Any) -> str:
    """A setting's value in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return settings_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name} = {value_text(value)}" for name, value in settings.items())


def runs_table(results: Sequence[dict[str, Any]]) -> Table:
    """The settings of all finished runs, one line for those that differ in the seed alone."""
    groups: dict[tuple[str, str, int, str, str], list[Measured]] = {}
    for run in measured(results):
        settings = {k: v for k, v in run.result.get("settings", {}).items() if k != "seed"}
        selected_on = run.result.get("selected_on") or ""
        key = run.label, run.name, run.result["shots"], settings_text(settings), selected_on
        groups.setdefault(key, []).append(run)
    return Table(
        "Settings of every run",
        HEADER,
        tuple(_line(*key, runs) for key, runs in groups.items()),
        "Runs that differ in the seed alone share a line, with their mean.",
    )


def _line(
    label: str, task: str, shots: int, settings: str, selected_on: str, runs: Sequence[Measured]
) -> tuple[Cell, ...]:
    results = [run.result for run in runs]

    def mean(name: str) -> float:
        return statistics.fmean(result.get(name) or 0.0 for result in results)

    return (
        Cell(label),
        Cell(task) if task else MISSING,
        Cell(str(shots)),
        Cell(", ".join(str(result["seed"]) for result in results)),
        Cell(f"{mean('accuracy'):.2f}"),
        Cell(f"{mean('fit_seconds'):.2f}"),
        Cell(f"{mean('select_seconds'):.2f}"),
        Cell(SPLITS.get(selected_on, selected_on)) if selected_on else MISSING,
        Cell(settings) if settings else MISSING,
    )


def commands_of(results: Sequence[dict[str, Any]]) -> list[str]:
    """The commands that made results, each once."""
    return list(dict.fromkeys(result["command"] for result in results if result.get("command")))


def versions_of(results: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The versions of the libraries, and the code of every method; several, where results are of
    several."""
    versions: dict[str, dict[str, None]] = {}
    for result in results:
        for name, version in (result.get("versions") or {}).items():
            versions.setdefault(name, {})[str(version)] = None
    codes: dict[str, dict[str, None]] = {}
    for result in results:
        if result.get("code"):
            codes.setdefault(str(result["code"]), {})[result["method"]] = None
    pairs = [(name, ", ".join(texts)) for name, texts in versions.items()]
    pairs += [(f"code {code}", ", ".join(methods)) for code, methods in codes.items()]
    return pairs or [("versions", "not recorded")]
