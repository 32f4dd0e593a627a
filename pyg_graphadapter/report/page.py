"""A report of result files: tables, a figure, and an HTML page of all that they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyg_graphadapter.display import markdown
from pyg_graphadapter.optional import require
from pyg_graphadapter.outputs import check_output_folder, writing
from pyg_graphadapter.report.comparison import duel_table
from pyg_graphadapter.report.comparison_page import comparison_page
from pyg_graphadapter.report.evaluation_file import EVALUATION_PAGE
from pyg_graphadapter.report.figures import REFERENCE, accuracy_curve
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import (
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
OURS = (PAGE, MARKDOWN, LATEX, CSV, FIGURE, EVALUATION_PAGE)


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
        PAGE: comparison_page(contents, rows, tables, drawn).rstrip("\n"),
    }
    for name, text in texts.items():
        with writing(out / name):
            write_atomic(out / name, (text + "\n").encode())
    return tables


def is_ours(path: Path) -> bool:
    """Whether a file is one of a report, by its name."""
    return path.name in OURS


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
