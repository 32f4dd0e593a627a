"""Result files to tables. It needs no torch."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT_FORMAT = "pyg_graphadapter/result/1"
HEADER = ("method", "shots", "seeds", "accuracy %", "training s", "parameters")


@dataclass(frozen=True)
class Row:
    """A method at a number of shots, over its seeds.

    Args:
        method (str): The method's name.
        shots (int): The number of images a class.
        seeds (int): The number of seeds.
        accuracy (float): The mean test accuracy in percent.
        deviation (float): Its sample standard deviation; 0 for one seed.
        fit_seconds (float): The mean training time.
        parameters (int): The number of trained parameters.
    """

    method: str
    shots: int
    seeds: int
    accuracy: float
    deviation: float
    fit_seconds: float
    parameters: int


def is_result(path: Path) -> bool:
    """Whether a file is a result file, damaged ones of that name included."""
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


def summarize(results: Sequence[dict[str, Any]]) -> list[Row]:
    """One row a method and number of shots, in the order in which they first occur; runs that
    failed are left out."""
    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in results:
        if "error" in result:
            continue
        cells.setdefault((result["method"], result["shots"]), []).append(result)
    return [
        Row(
            method,
            shots,
            len(cell),
            statistics.fmean(result["accuracy"] for result in cell),
            statistics.stdev(result["accuracy"] for result in cell) if len(cell) > 1 else 0.0,
            statistics.fmean(result["fit_seconds"] for result in cell),
            cell[0]["parameters"],
        )
        for (method, shots), cell in cells.items()
    ]


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as an aligned Markdown table: mean ± standard deviation over the seeds."""
    cells = [
        (
            row.method,
            str(row.shots),
            str(row.seeds),
            f"{row.accuracy:.2f} ± {row.deviation:.2f}",
            f"{row.fit_seconds:.1f}",
            f"{row.parameters:,}",
        )
        for row in rows
    ]
    width = [max(len(line[i]) for line in [HEADER, *cells]) for i in range(len(HEADER))]
    lines = [HEADER, ("-" * width[0], *("-" * (w - 1) + ":" for w in width[1:])), *cells]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, width, strict=True))
        )
        + " |"
        for line in lines
    )
