"""The reference of the command line, from the commands themselves.

A page gets it in the place of the line ``%COMMANDS%``.
"""

import importlib
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer
from markdown import code, escaped
from sphinx.application import Sphinx

from pyg_graphadapter import cli

PLACE = "%COMMANDS%"


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command, or all the commands of a group, with their names."""
    yield name, command
    for part, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {part}")


def reference() -> str:
    """All commands as Markdown."""
    parts = [section("graphadapter", typer.main.get_command(cli.app), lists_commands=False)]
    for name in cli.COMMANDS:
        module = importlib.import_module(f"pyg_graphadapter.cli.{name}")
        group = typer.main.get_command(module.app)
        parts += [section(f"graphadapter {path}", item) for path, item in commands(group, name)]
    return "\n".join(parts)


def section(name: str, command: Any, *, lists_commands: bool = True) -> str:
    """One command: what it does, its usage, and its arguments and options."""
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {name}", *help_text(command.help or ""), f"```text\n{name} {usage}\n```"]
    if not lists_commands:
        return "\n\n".join(lines) + "\n"
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    return "\n\n".join([*lines, *(entry(*record) for record in records if record)]) + "\n"


def help_text(text: str) -> list[str]:
    """The paragraphs of a help text; its examples are code."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text.replace("\b", "")).strip())
    return [
        f"```bash\n{textwrap.dedent(paragraph.removeprefix('Example:').strip())}\n```"
        if paragraph.startswith("Example:")
        else escaped(" ".join(paragraph.split()))
        for paragraph in paragraphs
    ]


def entry(names: str, meaning: str) -> str:
    """One argument or option."""
    text = escaped(" ".join(meaning.split())) or "(no text)"
    return f"{code(' '.join(names.split()))}\n: {text}"


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the reference into its place."""
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, reference())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the reference with the pages."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
