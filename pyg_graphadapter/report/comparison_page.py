"""The page of a comparison: all that its result files hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyg_graphadapter.report.chart import Chart
from pyg_graphadapter.report.curves import accuracy_charts, loss_charts
from pyg_graphadapter.report.graph_drawing import KnowledgeGraphs
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import (
    Row,
    dataset_of,
    label_of,
    measured,
    name_and_marks,
)
from pyg_graphadapter.report.run_settings import commands_of, runs_table, versions_of
from pyg_graphadapter.report.tables import MARKS, Table, accuracy_tables
from pyg_graphadapter.report.templating import render

TEMPLATE = "comparison.html.j2"
TITLE = "Few-shot results"


@dataclass(frozen=True)
class AccuracyPanel:
    """A task, or an average of tasks: its curves and its table."""

    name: str
    task: str
    chart: Chart
    table: Table


def comparison_page(
    results: Sequence[dict[str, Any]],
    rows: Sequence[Row],
    tables: Sequence[Table],
    published: Published | None,
) -> str:
    """The page, as HTML.

    Args:
        results (sequence of dict): The content of the result files.
        rows (sequence of Row): Their summary.
        tables (sequence of Table): All tables of the report; those of the accuracy over shots stand
            beside their curves.
        published (Published, optional): Published numbers, drawn as dashed lines.
    """
    failed = [result for result in results if "error" in result]
    panels = _panels(rows, published)
    further = [table for table in tables if table not in [panel.table for panel in panels]]
    graphs = _graphs(results)
    losses = loss_charts(results)
    names = dict.fromkeys(run.name for run in measured(results))
    marks = {mark for row in rows for mark in name_and_marks(row.label)[1]}
    is_there = {"tables": further, "graphs": graphs, "losses": losses, "failed": failed}
    tables_title = "Further tables and paired tests"
    titles = {
        "accuracy": "Accuracy",
        "tables": tables_title,
        "graphs": "Knowledge graphs",
        "losses": "Training",
        "runs": "Settings of every run",
        "failed": "Failed runs",
        "origin": "How this was made",
    }
    return render(
        TEMPLATE,
        title=TITLE,
        facts=_facts(results, rows, len(failed)),
        sections=[(name, title) for name, title in titles.items() if is_there.get(name, True)],
        tasks=[name for name in names if name],
        panels=panels,
        tables=further,
        tables_title=tables_title,
        graphs=graphs,
        losses=losses,
        runs=runs_table(results),
        failed=[(run_name(result), result["error"]) for result in failed],
        commands=commands_of(results),
        marks=[(mark, note) for mark, note in MARKS.items() if mark in marks],
        sources=list(published.sources.items()) if published is not None else [],
        sources_of=published.backbone if published is not None else "",
        versions=versions_of(results),
    )


def run_name(result: dict[str, Any], task: str = "") -> str:
    """What a run is called in a sentence."""
    what = f"{label_of(result)}, {result['shots']} shots, seed {result['seed']}"
    return f"{task or dataset_of(result)}, {what}".removeprefix(", ")


def _facts(results: Sequence[dict[str, Any]], rows: Sequence[Row], num_failed: int) -> list[str]:
    backbones = sorted({result.get("backbone") or "not recorded" for result in results})
    datasets = [name for name in dict.fromkeys(row.dataset for row in rows) if name]
    failed = f", and {num_failed} that failed (see below)" if num_failed else ""
    return [
        *([f"Data sets: {', '.join(datasets)}."] if datasets else []),
        f"Image tower: {', '.join(backbones)}.",
        f"{len(results) - num_failed} runs{failed}.",
    ]


def _panels(rows: Sequence[Row], published: Published | None) -> list[AccuracyPanel]:
    tables = {table.title: table for table in accuracy_tables(rows)}
    tasks = {row.dataset for row in rows}
    panels = []
    for name, chart in accuracy_charts(rows, published).items():
        is_task = name in tasks
        title = (name or "Accuracy") if is_task else f"Average over {name.partition(' of ')[2]}"
        panels.append(AccuracyPanel(name, name if is_task else "", chart, tables[title]))
    return panels


def _graphs(results: Sequence[dict[str, Any]]) -> list[tuple[str, str, KnowledgeGraphs]]:
    """The sub-graphs of each task, at the largest number of shots: their title, the task, and the
    graphs."""
    most_shots: dict[str, dict[str, Any]] = {}
    for run in measured(results):
        chosen, result = most_shots.get(run.name), run.result
        if result.get("knowledge_graphs") and (chosen is None or result["shots"] > chosen["shots"]):
            most_shots[run.name] = result
    graphs = []
    for name, result in most_shots.items():
        graph = KnowledgeGraphs.of(result["knowledge_graphs"], result.get("num_classes"))
        if graph is not None:
            graphs.append((f"Knowledge graphs of {run_name(result, name)}", name, graph))
    return graphs
