"""A report of result files: tables, a figure, and an HTML page with both."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyg_graphadapter.display import markdown, visible
from pyg_graphadapter.optional import require
from pyg_graphadapter.outputs import check_output_folder, writing
from pyg_graphadapter.report.comparison import duel_table
from pyg_graphadapter.report.figures import REFERENCE, accuracy_curve
from pyg_graphadapter.report.knowledge_graph import draw_knowledge_graph
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import (
    dataset_of,
    label_of,
    measured,
    read_results,
    summarize,
)
from pyg_graphadapter.report.tables import (
    Table,
    accuracy_tables,
    base_to_new_tables,
    csv_table,
    dataset_tables,
    shifted_tables,
)
from pyg_graphadapter.storage import prepare_folder, write_atomic

PAGE, MARKDOWN, LATEX, CSV, FIGURE = (
    "report.html", "tables.md", "tables.tex", "accuracy.csv", "accuracy.png",
)  # fmt: skip
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
h1, h2 { line-height: 1.2; }
img { max-width: 100%; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #222; }
p.note { color: #555; font-size: .875rem; margin-top: .25rem; }
"""


def write_report(
    results: Path,
    out: Path,
    *,
    published: Published | None = None,
    backbone: str | None = None,
    reference: str = REFERENCE,
) -> list[Table]:
    """Writes an HTML page, tables as Markdown, LaTeX and CSV, and a figure of result files.

    Args:
        results (Path): The folder of result files, or one that holds such folders.
        out (Path): The folder to write to; a report in it is replaced.
        published (Published, optional): Published numbers of the same image tower, drawn as dashed
            lines. (default: :obj:`None`)
        backbone (str, optional): The image tower of the results, where they do not say.
            (default: :obj:`None`)
        reference (str, optional): The method that the others are compared with.
            (default: :obj:`"graph_adapter"`)

    Returns:
        The tables.

    Raises:
        ValueError: If there are no results, ``out`` holds something else, or the published numbers
            are of another image tower.
        MissingPackageError: If matplotlib is not installed.
    """
    require("matplotlib")

    def is_ours(path: Path) -> bool:
        return path.name in (PAGE, MARKDOWN, LATEX, CSV, FIGURE)

    check_output_folder(out, is_ours)
    contents = read_results(results)
    rows = summarize(contents)
    if not rows:
        raise ValueError(
            f"All {len(contents)} runs in {results} failed; the first: {contents[0]['error']}"
        )
    drawn = _of_same_backbone(contents, published, backbone)
    with writing(out):
        prepare_folder(out, is_ours)
    accuracy_curve(rows, out / FIGURE, published=drawn)
    tables = [*accuracy_tables(rows), *dataset_tables(rows)]
    tables += [*shifted_tables(contents), *base_to_new_tables(contents)]
    compared = duel_table(contents, _label(contents, reference))
    tables += [compared] if compared is not None else []
    texts = {
        MARKDOWN: "\n\n".join(
            f"**{markdown(t.title)}**\n\n{t.markdown()}\n\n{markdown(t.note)}" for t in tables
        ),
        LATEX: "\n\n".join(table.latex() for table in tables),
        CSV: csv_table(rows).rstrip("\n"),
        PAGE: _page(contents, tables, (out / FIGURE).read_bytes(), drawn),
    }
    for name, text in texts.items():
        with writing(out / name):
            write_atomic(out / name, (text + "\n").encode())
    return tables


def _label(results: Sequence[dict[str, Any]], method: str) -> str:
    """The label of a method that may have been measured with other settings than its own."""
    labels = [run.label for run in measured(results) if run.result["method"] == method]
    return method if method in labels or not labels else labels[0]


def _of_same_backbone(
    results: Sequence[dict[str, Any]], published: Published | None, backbone: str | None
) -> Published | None:
    if published is None:
        return None
    names = {backbone or result.get("backbone") for result in results}
    if not all(published.is_of(name) for name in names):
        ours = ", ".join(sorted(name or "not known" for name in names))
        raise ValueError(
            f"The published numbers are of {published.backbone}, the results' image tower is "
            f"{ours}: give --backbone {published.backbone} if that is the same, or leave them out."
        )
    return published


def _page(
    results: Sequence[dict[str, Any]],
    tables: Sequence[Table],
    figure: bytes,
    published: Published | None,
) -> str:
    failed = [result for result in results if "error" in result]
    backbones = sorted({result.get("backbone") or "not recorded" for result in results})
    datasets = list(dict.fromkeys(row.dataset for row in summarize(results)))
    facts = [
        f"Data sets: {', '.join(datasets)}.",
        f"Image tower: {', '.join(backbones)}.",
        f"{len(results) - len(failed)} runs"
        + (f", and {len(failed)} that failed (see below)." if failed else "."),
    ]
    if published is not None:
        cited = "; ".join(f"{name}: {source}" for name, source in published.sources.items())
        facts.append(f"Dashed lines are published numbers ({published.backbone}). {cited}.")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Few-shot results</title><style>{STYLE}</style></head><body>",
        "<h1>Few-shot results</h1>",
        *(f"<p>{_escaped(fact)}</p>" for fact in facts),
        _picture("Accuracy over labelled images per class", figure),
        *(_html(table) for table in tables),
        *_knowledge_graphs(results),
    ]
    if failed:
        parts += [
            "<h2>Failed runs</h2><ul>",
            *(
                f"<li>{_escaped(_run_name(result))}: {_escaped(result['error'])}</li>"
                for result in failed
            ),
            "</ul>",
        ]
    return "\n".join([*parts, "</body></html>"])


def _knowledge_graphs(results: Sequence[dict[str, Any]]) -> list[str]:
    """The sub-graphs of each data set, at the largest number of shots."""
    most_shots: dict[str, dict[str, Any]] = {}
    for run in measured(results):
        drawn, result = most_shots.get(run.name), run.result
        if result.get("knowledge_graphs") and (drawn is None or result["shots"] > drawn["shots"]):
            most_shots[run.name] = result
    parts = []
    for name, result in most_shots.items():
        file = io.BytesIO()
        draw_knowledge_graph(
            result["knowledge_graphs"], num_classes=result.get("num_classes"), path=file
        )
        title = f"Knowledge graphs of {_run_name(result, name)}"
        parts += [f"<h2>{_escaped(title)}</h2>", _picture(title, file.getvalue())]
    return parts


def _picture(text: str, png: bytes) -> str:
    encoded = base64.b64encode(png).decode()
    return f'<img alt="{_escaped(text)}" src="data:image/png;base64,{encoded}">'


def _escaped(text: str) -> str:
    """Text for HTML, with control characters visible."""
    return html.escape(visible(text))


def _run_name(result: dict[str, Any], task: str = "") -> str:
    what = f"{label_of(result)}, {result['shots']} shots, seed {result['seed']}"
    return f"{task or dataset_of(result)}, {what}".removeprefix(", ")


def _html(table: Table) -> str:
    head = "".join(f"<th>{_escaped(name)}</th>" for name in table.header)
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td><b>{_escaped(cell.text)}</b></td>"
            if cell.is_best
            else f"<td>{_escaped(cell.text)}</td>"
            for cell in line
        )
        + "</tr>"
        for line in table.lines
    )
    return (
        f'<h2>{_escaped(table.title)}</h2>\n<div class="wide"><table>\n<thead><tr>{head}</tr>'
        f"</thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        f'<p class="note">{_escaped(table.note)}</p>'
    )
