"""A command as a shell reads it, for the files that it writes."""

import shlex
from collections.abc import Sequence

import typer

from pyg_graphadapter.cli.settings import is_given


def command_text(ctx: typer.Context) -> str:
    """The command with its arguments and the options that were given."""
    words = ["graphadapter", str(ctx.info_name)]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if not is_given(ctx, name):
            continue
        value = ctx.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            values = (
                value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            )
            words += [word for entry in values for word in (parameter.opts[0], str(entry))]
    return shlex.join(words)
