"""Runs commands in this process, as tests of faults do."""

import warnings
from pathlib import Path

from typer.testing import CliRunner

from pyg_graphadapter.cli import app


def run(*words: object, code: int | None = None) -> tuple[int, str]:
    """The exit code of a command and all that it printed, in one line. It never ends with a
    traceback."""
    with warnings.catch_warnings():  # commands set how warnings are shown
        result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    printed = " ".join(result.output.replace("│", " ").split())
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in printed
    assert code is None or result.exit_code == code, printed
    return result.exit_code, printed


def said_by(*words: object, code: int = 0) -> str:
    """What a command printed, with its warnings, in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return run(*words, code=code)[1]


def content(folder: Path) -> dict[str, bytes]:
    """Names and bytes of all files in a folder, to see that none has changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
