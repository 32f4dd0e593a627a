"""The command ``methods``."""

import inspect
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import Import, method_names, new_app, one_sentence
from pyg_graphadapter.cli.output import emit
from pyg_graphadapter.display import visible
from pyg_graphadapter.report.results import TRANSDUCTIVE
from pyg_graphadapter.report.tables import MARKS
from pyg_graphadapter.training.config import TrainConfig

if TYPE_CHECKING:
    from pyg_graphadapter.adapters import Adapter

app = new_app()
SHOWN_VALUES = 6
HINT = "Show one with its settings: graphadapter methods NAME"
# What a terminal shows in the place of LaTeX:
SYMBOLS = {
    rf"\{name}": unicodedata.lookup(f"GREEK SMALL LETTER {letter}")
    for name, letter in (
        ("alpha", "ALPHA"), ("beta", "BETA"), ("gamma", "GAMMA"), ("kappa", "KAPPA"),
        ("lambda", "LAMDA"), ("mu", "MU"), ("pi", "PI"), ("rho", "RHO"), ("sigma", "SIGMA"),
        ("tau", "TAU"),
    )
} | {
    r"\cdot": "·", r"\sum": "Σ", r"\top": "T", r"\Vert": "‖", r"\exp": "exp", r"\cos": "cos",
    r"\log": "log", r"\ldots": "…", r"\qquad": "   ", r"\quad": "  ", r"\times": "x", r"\in": "∈",
    r"\neq": "≠", r"\propto": "∝",
    r"\max": "max", r"\left": "", r"\right": "", r"\,": " ", r"\prime": "'",
}  # fmt: skip


@app.command()
@one_sentence
def methods(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A method.", autocompletion=completion.methods),
    ] = None,
    import_: Import = None,
) -> None:
    """List the methods, or show one: what it is, its formula, its settings and their defaults.

    --json prints a list with "name", "is_trained", "is_transductive" and "about" per method; of one
    method, also "settings" and "training", each with "name", "default", "help", "low" and "high".

    Example: graphadapter methods tip_adapter
    """
    if name is None:
        names = adapter_names()
        last = ["", f"{TRANSDUCTIVE} {MARKS[TRANSDUCTIVE]}", HINT]
        emit([_list_entry(method) for method in names], [*map(_list_line, names), *last])
        return
    names = method_names(name)
    emit([_full_entry(method) for method in names], map(_description, names))


def _list_line(name: str) -> str:
    try:
        method = adapter_class(name)
    except ValueError as error:  # of an installed package
        return visible(f"{name:16} {error}")
    kind = "trained" if method.is_trained else "not trained"
    mark = TRANSDUCTIVE if method.is_transductive else ""
    return visible(f"{name:16} {kind + mark:13} {_summary(method)}")


def _list_entry(name: str) -> dict[str, Any]:
    try:
        method = adapter_class(name)
    except ValueError as error:
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        "is_trained": method.is_trained,
        "is_transductive": method.is_transductive,
        "about": _summary(method),
    }


def _full_entry(name: str) -> dict[str, Any]:
    method = adapter_class(name)
    recipe = TrainConfig().completed(method) if method.is_trained else None
    return {
        **_list_entry(name),
        "settings": [
            {**_setting_entry(field, field.default), "tried": list(method.grid.get(field.name, ()))}
            for field in fields(method.Config)
        ],
        "training": [
            _setting_entry(field, getattr(recipe, field.name))
            for field in (fields(TrainConfig) if recipe else ())
        ],
    }


def _setting_entry(field: Field[Any], default: Any) -> dict[str, Any]:
    choices = field.metadata.get("choices")
    return {
        "name": field.name,
        "default": default,
        "help": field.metadata.get("help", ""),
        "low": field.metadata.get("low"),
        "high": field.metadata.get("high"),
        "choices": None if choices is None else list(choices),
    }


def _summary(method: "type[Adapter]") -> str:
    """The first line of the docstring of the method's module, or of the method."""
    lines = (inspect.getdoc(inspect.getmodule(method)) or inspect.getdoc(method) or "").splitlines()
    return lines[0] if lines else ""


def _description(name: str) -> str:
    method = adapter_class(name)
    about = _plain((inspect.getdoc(method) or "").split("\nArgs:")[0].split("\nShapes:")[0])
    settings = fields(method.Config)
    kind = f"{TRANSDUCTIVE} {MARKS[TRANSDUCTIVE]}\n\n" if method.is_transductive else ""
    sections = [visible(name), kind + about.strip()]
    sections.append("Settings (--set NAME=VALUE)" if settings else "It has no settings.")
    sections += [_setting_line(field, method.grid) for field in settings]
    if method.is_trained:
        recipe = TrainConfig().completed(method)
        sections.append("Training (--NAME VALUE)")
        sections += [
            _line(
                field.name.replace("_", "-"),
                field,
                getattr(recipe, field.name),
                field.metadata["help"],
            )
            for field in fields(TrainConfig)
        ]
    return "\n\n".join(sections[:2]) + "\n\n" + "\n".join(sections[2:])


def _setting_line(field: Field[Any], grid: Mapping[str, Sequence[Any]]) -> str:
    text = field.metadata.get("help", "")
    if field.name in grid:
        values = [f"{value}" for value in grid[field.name][:SHOWN_VALUES]]
        more = ", …" if len(grid[field.name]) > SHOWN_VALUES else ""
        text += f"; selection tries {', '.join(values)}{more}"
    return _line(field.name, field, field.default, text)


def _line(name: str, field: Field[Any], default: Any, text: str) -> str:
    """Name, default, bounds and meaning of a setting."""
    low, high = field.metadata.get("low"), field.metadata.get("high")
    choices = field.metadata.get("choices")
    bounds = ""
    if choices:
        bounds = f" [{', '.join(choices)}]"
    elif low is not None:
        bounds = f" [{low} to {high}]" if high is not None else f" [at least {low}]"
    default_text = "-" if default is None or default == "" else default
    return visible(f"  {name:18} {default_text!s:>8}  {text}{bounds}")


def _plain(text: str) -> str:
    """A docstring as a terminal shows it."""
    text = re.sub(r"`([^`<]*?)\s*<(https?://[^>]+)>`_", r"\1 (\2)", text)
    text = text.replace(".. math::\n", "\n")
    text = re.sub(r":(?:class|meth|func|obj|math|term):`~?([^`]*)`", r"\1", text)
    for _ in range(2):  # nested once
        text = re.sub(r"\\(?:mathbf|boldsymbol|textrm|mathcal)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\hat\{?(\w)\}?", lambda m: unicodedata.normalize("NFC", m[1] + "\u0302"), text)
    text = re.sub(r"\\t?frac\{(\w)\}\{(\w)\}", r"\1/\2", text)
    text = re.sub(r"\\t?frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1) / (\2)", text)
    for latex in sorted(SYMBOLS, key=len, reverse=True):
        text = text.replace(latex, SYMBOLS[latex])
    text = text.translate(str.maketrans("", "", "{}"))
    text = re.sub(r"\n{3,}", "\n\n", text.replace("``", ""))
    return "\n".join(line.rstrip() for line in text.splitlines())
