"""What commands print: lines for people, one JSON document (``--json``), or only what must be said
(``--quiet``)."""

import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pyg_graphadapter.display import (
    VisibleFormatter,
    encoding_of,
    in_encoding_of,
    json_text,
    visible,
    visible_lines,
)
from pyg_graphadapter.progress import hidden_bars

logger = logging.getLogger("pyg_graphadapter")


@dataclass(frozen=True)
class Output:
    """How a command prints.

    Args:
        as_json (bool): Its result as one JSON document on the standard output; lines for people
            go to the error stream.
        is_quiet (bool): Nothing but its result, warnings and errors.
        is_verbose (bool): Also what is done as it happens.
    """

    as_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False


OUTPUT: ContextVar[Output] = ContextVar("output", default=Output())  # noqa: B039


# Lines and results ####################################################################


def echo(text: Any = "", *, err: bool = False) -> None:
    """Prints one line about the work, in which names may be of any characters. Nothing under
    ``--quiet``."""
    echo_lines(visible(text), err=err)


def echo_lines(text: str, *, err: bool = False) -> None:
    """As :func:`echo`, for lines and columns that were composed of names made visible."""
    output = OUTPUT.get()
    if not output.is_quiet:
        _print(text, err=err or output.as_json)


def alert(text: Any) -> None:
    """Prints one line that must be read, as a warning or an error: always, on the error stream."""
    _print(visible(text), err=True)


def emit(result: Any, lines: Iterable[str] = ()) -> None:
    """Prints the result of a command: under ``--json`` as one JSON document, else as the lines,
    also under ``--quiet``. A command calls it once.

    Args:
        result: Plain JSON values.
        lines (iterable of str, optional): The result for people, of names made visible. Nothing
            for a command whose result is a file, which :func:`echo` tells of. (default: :obj:`()`)
    """
    if OUTPUT.get().as_json:
        typer.echo(json_text(result, encoding=encoding_of(sys.stdout)))
        return
    for line in lines:
        _print(line)


def _print(text: str, *, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    typer.echo(in_encoding_of(stream, visible_lines(text)), err=err)


# Options ##############################################################################


OPTIONS = {
    "json_": ("--json", "Print the result as JSON."),
    "quiet": ("--quiet", "Print only results, warnings and errors."),
    "verbose": ("--verbose", "Print what is done as it happens."),
}


def with_output(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command ``--json``, ``--quiet`` and ``--verbose``."""

    @functools.wraps(command)
    def run(*, json_: bool, quiet: bool, verbose: bool, **values: Any) -> None:
        if quiet and verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other: give one of them.")
        with _output(Output(json_, quiet, verbose)):
            command(**values)

    parameters = inspect.signature(command).parameters.values()
    run.__signature__ = inspect.Signature([*parameters, *map(_flag, OPTIONS)])  # type: ignore[attr-defined]
    return run


def _flag(name: str) -> inspect.Parameter:
    option, text = OPTIONS[name]
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option(option, help=text)],
    )


@contextmanager
def _output(output: Output) -> Iterator[None]:
    """Prints in a way until the end of the block."""
    token, started = OUTPUT.set(output), time.perf_counter()
    try:
        with hidden_bars(output.is_quiet), _logged(output.is_verbose):
            yield
            logger.info("Done after %.1f s.", time.perf_counter() - started)
    finally:
        OUTPUT.reset(token)


@contextmanager
def _logged(is_verbose: bool) -> Iterator[None]:
    """Shows all that the package logs in the block, if that is wanted."""
    if not is_verbose:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(levelname)s: %(message)s"))
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # to the handler of warnings, which would repeat them
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
