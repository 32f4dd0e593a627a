"""Texts of labels and class names, so that they can be compared."""

import unicodedata
from collections.abc import Sequence


def normalize_class_name(class_name: str) -> str:
    """Returns a class name in lower case, with spaces for ``_`` and ``-``."""
    return " ".join(class_name.replace("_", " ").replace("-", " ").casefold().split())


def composed(label: str) -> str:
    """A label whose letters with accents are one sign each, unlike in names of files on macOS."""
    return unicodedata.normalize("NFC", label)


def without_minus_one(labels: Sequence[str | None]) -> list[str | None]:
    """Labels of which -1 is none, where two others or more are numbers from 0 up."""
    others = set(labels) - {"-1", None}
    is_none = len(others) > 1 and all(label and label.isdecimal() for label in others)
    return [None if is_none and label == "-1" else label for label in labels]
