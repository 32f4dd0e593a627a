"""Settings as fields of frozen dataclasses, with default, help text and bounds in one place."""

import sys
import warnings
from collections.abc import Collection, Iterable
from dataclasses import field, fields
from typing import Any, TypeVar

T = TypeVar("T")


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
    """Checks that every field of a dataclass of settings is within its bounds.

    Raises:
        ValueError: If a value is out of bounds, naming the setting, the value and the bounds.
    """
    for field_ in fields(config):
        name, meta = field_.name, field_.metadata
        value = getattr(config, name)
        if value is None and field_.default is None:
            continue
        choices = meta.get("choices")
        if choices is not None and value not in choices:
            raise ValueError(f"Unknown {name!r}: {value!r}. Choose from {', '.join(choices)}.")
        low, high = meta.get("low"), meta.get("high")
        if low is None and high is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name!r} must be a number (got {value!r}).")
        # Written so that NaN, which compares as false, is refused as well:
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ValueError(f"{name!r} must be {bounds} (got {value}).")
        if isinstance(value, float) and "float" not in str(field_.type):
            raise ValueError(f"{name!r} must be a whole number (got {value!r}).")


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
            raise ValueError(f"The method {method} has no setting {name!r}. {choices}")


def warn(message: str) -> None:
    """Warns at the line outside this package from which it was called."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def unknown(kind: str, name: str, choices: Collection[str]) -> ValueError:
    """The error for a name that is not in a table, listing the table."""
    return ValueError(f"Unknown {kind} {name!r}. Choose from {', '.join(choices)}.")
