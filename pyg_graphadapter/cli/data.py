"""Commands about data sets: ``data check``."""

from pathlib import Path
from typing import Annotated

import typer

from pyg_graphadapter.cli.arguments import one_sentence
from pyg_graphadapter.data.benchmarks import check_benchmarks

app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@app.callback()
def data() -> None:
    """Look at data sets."""


@app.command()
@one_sentence
def check(
    root: Annotated[Path, typer.Argument(help="The folder that holds the benchmarks' folders.")],
) -> None:
    """Say what is there of every benchmark, what is missing, and where it belongs.

    Example: graphadapter data check ~/data
    """
    found = check_benchmarks(root)
    typer.echo(f"{'benchmark':16} {'classes':>7} {'train':>8} {'val':>7} {'test':>7}  state")
    for each in found:
        counts = [str(each.images.get(split, "-")) for split in ("train", "val", "test")]
        state = "complete" if each.is_complete else "see below"
        typer.echo(
            f"{each.name:16} {each.num_classes or '-':>7} {counts[0]:>8} {counts[1]:>7} "
            f"{counts[2]:>7}  {state}"
        )
    for each in found:
        if not each.is_complete:
            typer.echo(f"{each.name} (in {each.folder}): {each.problem}")
    if not any(each.is_complete for each in found):
        raise typer.Exit(1)
