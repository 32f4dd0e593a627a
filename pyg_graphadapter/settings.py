"""Settings as fields of frozen dataclasses, with default, help text and bounds in one place."""

import math
import sys
import warnings
from collections.abc import Collection, Iterable
from dataclasses import field, fields
from functools import cache
from numbers import Integral
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pyg_graphadapter.suggestions import suggestion

T = TypeVar("T")
TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    tuple: "a tuple",
    NoneType: "None",
}


def setting(
    default: T,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Collection[str] | None = None,
) -> T:
    """A dataclass field with its help text, bounds and choices, for checks and the command line."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


def check_settings(config: Any) -> None:
    """Checks that every field of a dataclass of settings has its type and is within its bounds.

    Raises:
        ValueError: If a value is of another type or out of bounds, naming the setting, the value
            and what it must be.
    """
    for field_ in fields(config):
        name, meta = field_.name, field_.metadata
        value = getattr(config, name)
        if value is None and field_.default is None:
            continue
        choices = meta.get("choices")
        if choices is not None and value not in choices:
            meant = suggestion(str(value), choices)
            raise ValueError(
                f"Unknown {name!r}: {value!r}. Choose from {', '.join(choices)}.{meant}"
            )
        _check_type(name, value, _types_of(config.__class__).get(name, ()))
        low, high = meta.get("low"), meta.get("high")
        if low is None and high is None:
            continue
        # Written so that NaN, which compares as false, is refused as well:
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ValueError(f"{name!r} must be {bounds} (got {value}).")


@cache
def _types_of(config: type) -> dict[str, tuple[Any, ...]]:
    """The types that the values of every field may have; none where they cannot be told."""
    try:
        hints = get_type_hints(config)
    except NameError:  # names that only a type checker imports
        return {}
    return {
        name: get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        for name, hint in hints.items()
    }


def _check_type(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    """Checks that a value is of one of some types, where all of them have a name here."""
    if not kinds or not all(kind in TYPE_NAMES for kind in kinds):
        return
    if float in kinds and type(value) is not bool and isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"{name!r} must be a finite number (got {value}).")
    elif type(value) not in kinds:
        wanted = " or ".join(TYPE_NAMES[kind] for kind in kinds if kind is not NoneType)
        raise ValueError(f"{name!r} must be {wanted} (got {value!r}).")
    if int in kinds and type(value) is int:
        check_whole_number(name, value)


def check_whole_number(name: str, value: Any, low: int = -(2**63)) -> None:
    """Checks a whole number of at most 64 bits, such as a seed.

    Raises:
        ValueError: If it is none, is too large, or is below :obj:`low`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name!r} must be a whole number (got {value!r}).")
    if int(value) < low:
        raise ValueError(f"{name!r} must be at least {low} (got {value}).")
    if int(value) >= 2**63:
        raise ValueError(f"{name!r} must be less than 2**63 (got {value}).")


def check_setting_names(method: str, config: Any, names: Iterable[str]) -> None:
    """Checks that a method, whose settings are the fields of ``config``, has settings of these
    names.

    Raises:
        ValueError: If it does not, listing its settings.
    """
    setting_names = [field_.name for field_ in fields(config)]
    for name in names:
        if name not in setting_names:
            choices = (
                f"Choose from {', '.join(setting_names)}." if setting_names else "It has none."
            )
            meant = suggestion(name, setting_names)
            raise ValueError(f"The method {method} has no setting {name!r}. {choices}{meant}")


def refuse_arguments(arguments: Iterable[str]) -> None:
    """Refuses arguments that a function does not have.

    Raises:
        ValueError: If there is one, naming it.
    """
    for name in arguments:
        if name == "trust_remote_code":
            raise ValueError(
                "'trust_remote_code' is not supported: code that comes with a model is never run. "
                "Use a model that transformers itself knows."
            )
        raise ValueError(f"There is no argument {name!r}: leave it out.")


def warn(message: str) -> None:
    """Warns at the line outside this package from which it was called."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def unknown(kind: str, name: str, choices: Collection[str]) -> ValueError:
    """The error for a name that is not in a table, with the most similar one, listing the table."""
    choose = f"Choose from {', '.join(choices)}."
    return ValueError(f"Unknown {kind} {name!r}. {choose}{suggestion(name, choices)}")
