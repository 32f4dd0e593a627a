"""The curves of a comparison: accuracy over shots, and loss over epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pyg_graphadapter.report.chart import DASHED, DOTTED, SOLID, Chart, Curve, draw_chart
from pyg_graphadapter.report.figures import REFERENCE, ZERO_SHOT, panels_of, published_of
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import Row, measured

MOST_POINTS = 100  # of a curve of losses
LOSS = "loss"


def colours_of(labels: Sequence[str]) -> dict[str, int | None]:
    """The number of the colour of every method; none for zero-shot, which has that of text."""
    others = [label for label in labels if label != ZERO_SHOT]
    numbers: dict[str, int | None] = {label: i for i, label in enumerate(others)}
    return {label: numbers.get(label) for label in labels}


def accuracy_charts(rows: Sequence[Row], published: Published | None) -> dict[str, Chart]:
    """Accuracy over the number of labelled images per class, with the standard deviation over the
    seeds: one chart per task and suite, by its title. Published numbers are dashed."""
    colour = colours_of(list(dict.fromkeys(row.label for row in rows)))
    charts = {}
    for name, panel in panels_of(rows).items():
        curves = [
            _accuracy_curve(label, [row for row in panel if row.label == label], colour[label])
            for label in dict.fromkeys(row.label for row in panel)
        ]
        if published is not None:
            curves += _published_curves(published_of(panel, rows, published), colour)
        positions = {x for curve in curves for x, _, _ in curve.points}
        charts[name] = draw_chart(
            f"Accuracy over labelled images per class{f', {name}' if name else ''}",
            curves,
            x_label="labelled images per class",
            y_label="test accuracy (%)",
            x_text=_shots,
            y_bounds=(0.0, 100.0),
            is_log=min(positions) > 0,
        )
    return charts


def _shots(count: float) -> str:
    return f"{count:g} shot{'' if count == 1 else 's'}"


def _accuracy_curve(label: str, rows: Sequence[Row], colour: int | None) -> Curve:
    return Curve(
        label,
        tuple((float(row.shots), row.accuracy, row.deviation) for row in rows),
        colour,
        DOTTED if label == ZERO_SHOT else SOLID,
        is_strong=label == REFERENCE,
    )


def _published_curves(
    accuracy: Mapping[str, Mapping[int, float]], colour: Mapping[str, int | None]
) -> list[Curve]:
    return [
        Curve(
            f"{method}, published",
            tuple((float(shots), value, 0.0) for shots, value in sorted(points.items()) if shots),
            colour.get(method),
            DASHED,
            has_markers=False,
            method=method,
        )
        for method, points in accuracy.items()
        if any(points)
    ]


def loss_charts(results: Sequence[dict[str, Any]]) -> dict[str, Chart]:
    """The mean loss per epoch of the trained methods, where result files have it: one chart per
    task, of the runs with the most shots and the smallest seed."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    runs = [run for run in measured(results) if len(run.result.get(LOSS) or ()) > 1]
    for run in sorted(runs, key=lambda run: (-run.result["shots"], run.result["seed"])):
        chosen.setdefault((run.name, run.label), run.result)
    colour = colours_of(list(dict.fromkeys(label for _, label in chosen)))
    charts = {}
    for task in dict.fromkeys(name for name, _ in chosen):
        curves = [
            _loss_curve(label, result, colour[label])
            for (name, label), result in chosen.items()
            if name == task
        ]
        charts[task] = draw_chart(
            f"Training loss per epoch{f', {task}' if task else ''}",
            curves,
            x_label="epoch",
            y_label="mean loss",
            x_text="epoch {:g}".format,
            y_text="{:.3g}".format,
        )
    return charts


def _loss_curve(label: str, result: Mapping[str, Any], colour: int | None) -> Curve:
    losses = result[LOSS]
    epochs = result.get("settings", {}).get("epochs") or len(losses)
    distance = math.ceil(epochs / len(losses))  # in epochs, between losses in the file
    step = math.ceil(len(losses) / MOST_POINTS)
    points = [(float(1 + i * distance), losses[i], 0.0) for i in range(0, len(losses), step)]
    name = f"{label}, {_shots(result['shots'])}, seed {result['seed']}"
    return Curve(name, tuple(points), colour, has_markers=False, method=label, holds=True)
