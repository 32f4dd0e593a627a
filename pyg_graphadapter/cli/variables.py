"""Options that variables of the environment set: ``GRAPHADAPTER_DEVICE`` for ``--device`` of all
commands, ``GRAPHADAPTER_FIT_SHOTS`` for ``--shots`` of ``fit``.

The command line wins over variables, these over ``--config``, and that over the defaults. The
variable of one command wins over that of all.
"""

import os
from collections.abc import Iterable
from typing import Any

import typer

from pyg_graphadapter.suggestions import closest

PREFIX = "GRAPHADAPTER_"
# Options that mean the same in all commands:
GENERAL = (
    "device", "model", "cache", "cache_dir", "offline", "strict", "dtype", "workers",
    "encode_batch_size", "json_", "quiet", "verbose",
)  # fmt: skip
# Options that decide what is written, replaced or run, which the command line must say:
NEVER = ("out", "overwrite", "save", "from_", "import_", "help")
FLAGS = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True) | dict.fromkeys(
    ("0", "false", "f", "no", "n", "off"), False
)
# Commands to which the model of others means something else:
OTHER_MODELS = ("cache gc", "data import")


def variables_of(command: str, option: Any) -> list[str]:
    """The variables that set an option of a command, the first of which counts.

    Args:
        command (str): The command, as ``"data look"``.
        option: The option, as typer knows it.
    """
    name = option.name
    if option.param_type_name != "option" or name in NEVER or option.multiple:
        return []
    word = name.strip("_").upper()
    variables = [f"{PREFIX}{command.replace(' ', '_').upper()}_{word}"]
    if name in GENERAL and not (name == "model" and command in OTHER_MODELS):
        variables.append(f"{PREFIX}{word}")
    return variables


def path_of(ctx: Any, name: str) -> str:
    """The command of a name in the context of its group, as ``"data look"``."""
    names = [name]
    while ctx.parent is not None:
        names.insert(0, ctx.info_name)
        ctx = ctx.parent
    return " ".join(names)


def set_variables(command: str, options: Iterable[Any]) -> None:
    """Lets variables set the options of a command; ``--help`` does not repeat them per option."""
    for option in options:
        variables = variables_of(command, option)
        if variables:
            option.envvar, option.show_envvar = variables, False


def variable_of(ctx: Any, name: str) -> str:
    """The variable that set an option; empty if none did."""
    source = ctx.get_parameter_source(name)
    if source is None or source.name != "ENVIRONMENT":
        return ""
    variables: list[str] = next(p.envvar for p in ctx.command.params if p.name == name)
    return next(variable for variable in variables if os.environ.get(variable))


def read_flags(ctx: Any) -> None:
    """Reads the flags that variables set, of which versions of click make different things.

    Raises:
        typer.BadParameter: If a variable holds neither yes nor no.
    """
    for option in ctx.command.params:
        variable = variable_of(ctx, option.name)
        if not variable or not getattr(option, "is_flag", False):
            continue
        value = os.environ[variable].strip().lower()
        if value not in FLAGS:
            raise typer.BadParameter(
                f"{value!r} is neither yes nor no: give 1 or 0.", ctx, param_hint=variable
            )
        ctx.params[option.name] = FLAGS[value]


def is_general(variable: str) -> bool:
    """Whether a variable sets an option of all commands."""
    return variable in _general()


def used_variables(ctx: Any) -> list[str]:
    """The variables that set options of a command."""
    names = (variable_of(ctx, option.name) for option in ctx.command.params)
    return [variable for variable in names if variable]


def help_of_variables(command: str) -> str:
    """What ``--help`` says of variables."""
    start = f"{PREFIX}{command.replace(' ', '_').upper()}"
    general = ", ".join(_general()[:2])
    return f"Variables: {start}_OPTION, {general}, …"


def unknown(commands: Iterable[tuple[str, Iterable[Any]]]) -> dict[str, str]:
    """The variables that are set and belong to none of some commands with their options, and what
    may have been meant."""
    variables = set(_general())
    for command, options in commands:
        variables.update(
            variable for option in options for variable in variables_of(command, option)
        )
    are_set = [variable for variable in os.environ if variable.startswith(PREFIX)]
    return {name: _meant(name, variables) for name in are_set if name not in variables}


def _meant(variable: str, variables: Iterable[str]) -> str:
    """A suggestion, for which what all variables begin with makes none of them alike."""
    words = sorted(name.removeprefix(PREFIX) for name in variables)
    name = variable.removeprefix(PREFIX)
    of_one_command = (word for word in words if word.endswith(f"_{name}"))
    word = next(of_one_command, None) or closest(name, words)
    return "" if word is None else f" Did you mean {PREFIX}{word}?"


def _general() -> list[str]:
    return [f"{PREFIX}{name.strip('_').upper()}" for name in GENERAL]
