"""The command of this process, for the files that it writes."""

import shlex
import sys


def command_text() -> str:
    """The command that this process was started with, as a shell reads it."""
    return shlex.join(["graphadapter", *sys.argv[1:]])
