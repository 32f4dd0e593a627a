"""What a shell completes: names of methods and settings, models, devices and choices.

Only settings of methods need torch, as they are in the modules of the methods.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import typer

from pyg_graphadapter.adapters import adapter_names
from pyg_graphadapter.builtin import BUILTIN

Completions = list[str]


def one_of(choices: Collection[str]) -> Callable[[str], Completions]:
    """Completes one of some names."""

    def complete(incomplete: str) -> Completions:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


devices = one_of(("auto", "cpu", "cuda", "mps"))


def methods(incomplete: str) -> Completions:
    """Completes the last of some names of methods, separated by commas."""
    start, comma, last = incomplete.rpartition(",")
    return [f"{start}{comma}{name}" for name in adapter_names() if name.startswith(last)]


def settings(ctx: typer.Context, incomplete: str) -> Completions:
    """Completes the name of a setting of the methods that were named before it."""
    from dataclasses import fields

    from pyg_graphadapter.adapters import adapter_class  # loads torch

    named = str(ctx.params.get("method") or ctx.params.get("methods") or "").split(",")
    methods = [name for name in named if name in adapter_names()]
    names = {name: [field.name for field in fields(adapter_class(name).Config)] for name in methods}
    start = len(methods) > 1
    return [
        text
        for method, of_method in names.items()
        for name in of_method
        if (text := f"{f'{method}.' if start else ''}{name}=").startswith(incomplete)
    ]


def models(incomplete: str) -> Completions:
    """Completes the built-in model, and those that were downloaded from the hub."""
    from pyg_graphadapter.hub import cached_models

    return one_of([BUILTIN, *cached_models()])(incomplete)


def data(incomplete: str) -> Completions:
    """Completes the built-in images; otherwise the shell completes files, also where some begin in
    the same way."""
    if not incomplete or any(Path().glob(f"{incomplete}*")):
        return []
    return one_of([BUILTIN])(incomplete)
