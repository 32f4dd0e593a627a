"""Normalizes class names, so that they can be compared."""


def normalize_class_name(class_name: str) -> str:
    """Returns a class name in lower case, with spaces for ``_`` and ``-``."""
    return " ".join(class_name.replace("_", " ").replace("-", " ").casefold().split())
