"""The table of all methods, from their classes.

A page gets it in the place of the line ``%METHODS%``.
"""

import re

from markdown import code, escaped
from sphinx.application import Sphinx

from pyg_graphadapter.adapters import ADAPTERS, Adapter, adapter_class

PLACE = "%METHODS%"


def table() -> str:
    """One row per method: its name, its class, and what it needs."""
    rows = ["| `--methods` | what it is | needs texts | is trained |",
            "| --- | --- | :-: | :-: |"]  # fmt: skip
    return "\n".join(rows + [row(name, adapter_class(name)) for name in ADAPTERS])


def row(name: str, method: type[Adapter]) -> str:
    """The row of one method."""
    marks = ["yes" if is_so else "no" for is_so in (method.needs_text, method.is_trained)]
    link = f"{{py:class}}`{name} <pyg_graphadapter.adapters.{method.__name__}>`"
    return f"| {link} | {first_sentence(method)} | {' | '.join(marks)} |"


def first_sentence(method: type[Adapter]) -> str:
    """What a method's docstring begins with, with the link to its paper."""
    text = " ".join((method.__doc__ or "").strip().split("\n\n")[0].split())
    text = text.replace("``", "`")
    parts = re.split(r"(`[^`]*<https?:[^`>]*>`_|:\w+:`[^`]*`)", text)
    return "".join(linked(part) for part in parts)


def linked(part: str) -> str:
    """A link or a name of reStructuredText in Markdown."""
    if link := re.fullmatch(r"`(.*?)\s*<(https?:.*)>`_", part):
        return f"[{escaped(link[1])}]({link[2]})"
    if name := re.fullmatch(r":(\w+):`~?(.*)`", part):
        return f"${name[2]}$" if name[1] == "math" else code(name[2])
    return escaped(part)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the table into its place."""
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, table())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the table with the pages."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
