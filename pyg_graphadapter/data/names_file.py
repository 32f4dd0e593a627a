"""Files of class names alone: one per line, or as JSON."""

from pathlib import Path
from typing import Annotated

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.storage import FileKind, Length, read

Name = Annotated[str, Length(1)]
NAMES_FILE: FileKind[tuple[str, ...] | dict[str, str]] = FileKind(
    "file of class names",
    tuple[Name, ...] | dict[str, Name],
    "Write one name per line (.txt), or a list of names or a table of them (.json)",
    suffixes=(".txt", ".json"),
    max_bytes=2**24,
)


def read_names(path: str | Path) -> tuple[str, ...]:
    """The class names in a file, in their order: the lines of a ``.txt`` file, or the list, or the
    values of the table, in a ``.json`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or lists images.
    """
    names = read(path, NAMES_FILE)
    names = tuple(names.values()) if isinstance(names, dict) else names
    listed = [name for name in names if is_name_of_image(name)]
    if listed:
        raise NAMES_FILE.error(Path(path), f"{listed[0][:60]!r} looks like an image in a list")
    return check_names(names)


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Checks the names of classes.

    Raises:
        ValueError: If there are fewer than two, or one is empty or there twice.
    """
    if len(names) < 2:
        raise ValueError(f"A classifier needs at least two classes (got {len(names)}).")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"The name of a class must be a text with letters (got {name!r}).")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"Two classes have the name {twice!r}: give each its own.")
    return names


def is_names_file(path: str | Path) -> bool:
    """Whether a path leads to a file that holds class names alone."""
    if Path(path).suffix.lower() not in NAMES_FILE.suffixes or not Path(path).is_file():
        return False
    try:
        names = read(path, NAMES_FILE)
    except (ValueError, OSError):  # a list of images, for example
        return False
    return not any(map(is_name_of_image, names.values() if isinstance(names, dict) else names))


def is_name_of_image(line: str) -> bool:
    """Whether a line names an image, and no class."""
    return any(Path(word).suffix.lower() in SUFFIXES for word in line.replace(",", " ").split())
