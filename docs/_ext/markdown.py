"""Text that was not written as Markdown, inside Markdown."""

import re


def escaped(text: str) -> str:
    """Text in which no character means anything else."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", text)


def code(text: str) -> str:
    """Text as code, whatever is in it."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
