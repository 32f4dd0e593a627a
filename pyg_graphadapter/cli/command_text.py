"""The command that is run, for the files that it writes."""

import shlex
from collections.abc import Sequence
from contextvars import ContextVar

_arguments: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


def remember(arguments: Sequence[str]) -> None:
    """Keeps the arguments that a command line was given."""
    _arguments.set(tuple(arguments))


def command_text() -> str:
    """The command as a shell reads it."""
    return shlex.join(["graphadapter", *_arguments.get()])
