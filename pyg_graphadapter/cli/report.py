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
    results: Annotated[Path, typer.Argument(help="Folder of result files (compare --out).")],
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
    """Make tables (Markdown, LaTeX, CSV), a figure and one HTML page from result files.

    --json prints "page", and "tables" with "title", "columns", "rows" and "note".

    Example: graphadapter report results --out report
    """
    from pyg_graphadapter.report.page import PAGE, write_report
    from pyg_graphadapter.report.published import Published

    numbers = None if published is None else Published.load(published)
    with no_empty_folders(out):
        tables = write_report(
            results, out, published=numbers, backbone=backbone, reference=reference
        )
    for table in tables:
        echo_lines(f"{table.terminal()}\n")
    emit({"page": str(out / PAGE), "tables": [table_entry(table) for table in tables]})
    echo(f"Wrote {out / PAGE}, and the tables and the figure beside it.")
