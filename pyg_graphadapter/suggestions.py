"""What was meant by a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

MAX_ENTRIES = 10_000  # of a folder, to compare a name with


def suggestion(name: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the choice that is most like a name, whatever its case; nothing
    if none is like it.

    Example:
        >>> suggestion("tip_adaptor", ["zero_shot", "tip_adapter"])
        " Did you mean 'tip_adapter'?"
    """
    match = closest(name, choices)
    return "" if match is None else f" Did you mean {match!r}?"


def closest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that is most like a name, whatever its case."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.65)
    return by_lower_case[matches[0]] if matches else None


def path_suggestion(path: str | Path, names: Iterable[str] = ()) -> str:
    """As :func:`suggestion`, among the files and folders beside a path that does not exist, and
    names that can stand in its place."""
    path = Path(path)
    try:
        beside = [entry.name for entry in islice(path.parent.iterdir(), MAX_ENTRIES)]
    except OSError:  # no folder, or one that cannot be read
        beside = []
    meant = suggestion(path.name, [name for name in beside if name != path.name])
    return suggestion(str(path), names) or meant
