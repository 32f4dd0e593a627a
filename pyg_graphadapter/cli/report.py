"""The command ``report``."""

from pathlib import Path
from typing import Annotated

import typer

from pyg_graphadapter.cli.arguments import new_app, one_sentence
from pyg_graphadapter.cli.entries import table_entry
from pyg_graphadapter.cli.output import echo, echo_lines, emit
from pyg_graphadapter.outputs import no_empty_folders

app = new_app()


@app.command()
@one_sentence
def report(
    results: Annotated[
        Path,
        typer.Argument(
            help="Folder of result files (compare --out) or of an evaluation (evaluate --out)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for page, tables and figure.")],
    published: Annotated[
        Path | None,
        typer.Option(help="JSON file of published accuracies, drawn as dashed lines."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Image tower of results that do not name it, as in ViT-B/16."),
    ] = None,
    reference: Annotated[
        str, typer.Option(help="Method that the others are compared with.")
    ] = "graph_adapter",
) -> None:
    """Make tables (Markdown, LaTeX, CSV), a figure and one HTML page from result files; and a page
    of an evaluation, if the folder holds one.

    --json prints "page", "evaluation_page", and "tables" with "title", "columns", "rows" and
    "note".

    Example: graphadapter report results --out report
    """
    from pyg_graphadapter.report.evaluation_report import evaluation_in, report_evaluation
    from pyg_graphadapter.report.page import PAGE, write_report
    from pyg_graphadapter.report.published import Published
    from pyg_graphadapter.report.results import result_paths

    numbers = None if published is None else Published.load(published)
    evaluation = evaluation_in(results)
    tables, page, evaluation_page = [], None, None
    with no_empty_folders(out):
        if evaluation is None or result_paths(results):
            tables = write_report(
                results, out, published=numbers, backbone=backbone, reference=reference
            )
            page = str(out / PAGE)
        if evaluation is not None:
            evaluation_page = str(report_evaluation(evaluation, out))
    for table in tables:
        echo_lines(f"{table.terminal()}\n")
    emit(
        {
            "page": page,
            "evaluation_page": evaluation_page,
            "tables": [table_entry(table) for table in tables],
        }
    )
    if page is not None:
        echo(f"Wrote {page}, and the tables and the figure beside it.")
    if evaluation_page is not None:
        echo(f"Wrote {evaluation_page}.")
