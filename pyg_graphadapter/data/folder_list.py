"""A folder of images without class folders, and one list of them in it."""

from pathlib import Path

from pyg_graphadapter.data.listed import holds_images, is_file, portable, subfolders
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import split_meant
from pyg_graphadapter.data.table import LISTS, read_list
from pyg_graphadapter.storage import read

SUFFIXES = (".csv", ".tsv", ".jsonl")


def has_one_list(folder: Path) -> bool:
    """Whether a folder has no class folders, but one list whose images are there."""
    return folder.is_dir() and _is_flat(folder) and _list_in(folder) is not None


def read_list_in(folder: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads the list in a folder (:func:`~pyg_graphadapter.data.table.read_list`)."""
    path = _list_in(folder)
    assert path is not None
    rows = read_list(path, options, reading)
    reading.notes.append(f"The labels are those of {path.name}.")
    return rows


def _is_flat(folder: Path) -> bool:
    """Whether images lie side by side: in the folder, in one in it, or in those of splits."""
    tops = [path for path in subfolders(folder) if holds_images(path) or subfolders(path)]
    if any(subfolders(path) for path in tops):
        return False
    return len(tops) < 2 or all(split_meant(path.name) is not None for path in tops)


def _list_in(folder: Path) -> Path | None:
    lists = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if len(lists) != 1 or not is_file(lists[0]):
        return None
    try:
        rows = read(lists[0], LISTS).rows[:20]
    except (ValueError, OSError):
        return None
    cells = [cell for row in rows for cell in row.cells.values() if isinstance(cell, str) and cell]
    return lists[0] if any(is_file(folder / portable(cell)) for cell in cells) else None
