"""Every field of a dataclass of settings as an option of a command."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from types import UnionType
from typing import Annotated, Any, get_args

import typer

SETTINGS = "settings"


def with_settings(
    *skip: str, **panels: type
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one option a field of each dataclass, save those to ``skip``, under the
    panel that names it; what several have under one name is one option, which all of them get.

    The command has a parameter ``settings``; it receives those that were given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command).parameters
        homes: dict[str, dict[str, Field[Any]]] = {}
        for panel, config in panels.items():
            for each in fields(config):
                if each.name not in skip:
                    homes.setdefault(each.name, {})[panel.replace("_", " ")] = each
        offered = {name: _option(home) for name, home in homes.items()}

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in offered}
            given = {name: value for name, value in given.items() if value is not None}
            command(**values, settings=given)

        kept = [parameter for name, parameter in own.items() if name != SETTINGS]
        run.__signature__ = inspect.Signature([*kept, *offered.values()])  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _option(home: Mapping[str, Field[Any]]) -> inspect.Parameter:
    """The option of a field, from the panels that have it."""
    panel, each = next(iter(home.items()))
    kind: Any = each.type
    text, default = each.metadata["help"], each.default
    if len(home) > 1:
        meanings: dict[str, list[str]] = {}
        for name, other in home.items():
            meaning = f"{other.metadata['help']} ({other.default})"
            meanings.setdefault(meaning, []).append(name)
        text = "; ".join(f"{', '.join(names)}: {what}" for what, names in meanings.items())
        panel, default = "Several methods", None
    if isinstance(kind, UnionType):  # int | None
        kind = next(part for part in get_args(kind) if part is not type(None))
    choices = each.metadata["choices"]
    name = each.name.replace("_", "-")
    option = typer.Option(
        f"--{name}/--no-{name}" if kind is bool else f"--{name}",
        help=text + (f": {', '.join(choices)}" if choices else ""),
        show_default=False if default is None else str(default),
        rich_help_panel=panel,
    )
    return inspect.Parameter(
        each.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )
