"""The command ``graphadapter``. Each command is imported when it is called."""

import importlib
import logging
import signal
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pyg_graphadapter import __version__
from pyg_graphadapter.cli import variables
from pyg_graphadapter.cli.arguments import VisibleGroup, debug_mode
from pyg_graphadapter.cli.command_text import remember
from pyg_graphadapter.cli.output import alert, echo
from pyg_graphadapter.display import VisibleFormatter
from pyg_graphadapter.interrupts import STOPPED, end_at_signals, raised_as_stopped

# The help text of every command. A command is in the module of its name:
COMMANDS = {
    "demo": "Measure zero-shot and GraphAdapter on built-in images.",
    "fit": "Fit a classifier to a few images per class, and save it.",
    "predict": "Classify images or features with a saved classifier.",
    "evaluate": "Measure a saved classifier on labelled images: per class, and per image.",
    "explain": "Say why an image is classified as it is, or what a class looks like.",
    "export": "Write a classifier for other libraries: ONNX, PyTorch, numpy and others.",
    "compare": "Compare methods over shots and seeds.",
    "report": "Make tables, a figure and an HTML page from result files.",
    "encode": "Encode images and class names to a feature file.",
    "methods": "List the methods, or show one with its formula and settings.",
    "data": "Look at data sets, and draw few shots from them.",
    "cache": "List and clean the feature cache.",
}


def _command(name: str) -> Any:
    """A command, imported from its module."""
    return typer.main.get_command(importlib.import_module(f"{__name__}.{name}").app)


def _with_options(name: str, command: Any) -> Iterator[tuple[str, list[Any]]]:
    """A command, or those of a group, with their options."""
    commands = getattr(command, "commands", None)
    if commands is None:
        yield name, command.params
        return
    for sub_name, sub_command in commands.items():
        yield f"{name} {sub_name}", sub_command.params


def _warn_of_variables(name: str, command: Any) -> None:
    """Warns of variables that set no option of any command."""
    if not variables.unknown(_with_options(name, command)):
        return
    options = [pair for name in COMMANDS for pair in _with_options(name, _command(name))]
    for variable, meant in variables.unknown(options).items():
        alert(f"Warning: The variable {variable} sets no option.{meant}")


class LazyGroup(VisibleGroup):
    """A group that lists its commands without importing them, and imports the one that is run."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Reads the arguments of the group, and keeps them for the files that commands write."""
        remember(args)
        return super().make_context(info_name, args, *rest, **extra)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, imported from its module."""
        name, placeholder, arguments = super().resolve_command(ctx, args)
        if placeholder is None:  # in completion
            return name, placeholder, arguments
        command = _command(name)
        command.name = name
        if not ctx.resilient_parsing:
            _warn_of_variables(name, command)
        return name, command, arguments

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; Ctrl-C and SIGTERM end it in one line, also where a library turns them
        into another error, or keeps them to itself."""
        with raised_as_stopped() as signals:
            try:
                result = super().invoke(ctx)
            except BaseException as error:
                if not signals and not isinstance(error, KeyboardInterrupt):
                    raise
            else:
                if not signals:
                    return result
            alert(STOPPED)
            raise typer.Exit(128 + (signals[0] if signals else signal.SIGINT))


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    alert(f"Warning: {message}")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        echo(f"graphadapter {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Teach an existing image model your own classes from a few pictures each."""
    debug_mode.set(debug)
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    warnings.showwarning = _show_warning
    if not debug:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _not_loaded() -> None:
    """Stands for a command in the list of commands."""


for name, help_text in COMMANDS.items():
    app.command(name, help=help_text)(_not_loaded)


def main() -> None:
    """Runs the command line, in a process of its own."""
    end_at_signals()
    app()
