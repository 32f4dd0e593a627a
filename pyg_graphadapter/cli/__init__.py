"""The command ``graphadapter``."""

import logging
import warnings
from typing import Annotated, Any

import datasets
import transformers
import typer

from pyg_graphadapter import __version__
from pyg_graphadapter.cli import cache, data
from pyg_graphadapter.cli.arguments import debug_mode
from pyg_graphadapter.cli.images import demo, encode
from pyg_graphadapter.cli.methods import compare, fit
from pyg_graphadapter.cli.predict import predict
from pyg_graphadapter.cli.report import report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"Warning: {message}", err=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphadapter {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Adapt a frozen CLIP-like model to your own classes with a few labelled images."""
    debug_mode.set(debug)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    warnings.showwarning = _show_warning
    if not debug:
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        datasets.disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


for command in (demo, encode, compare, report, fit, predict):
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """Runs the command line."""
    app()
