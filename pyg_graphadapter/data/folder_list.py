"""A folder of images with lists of them in it, by which their labels or splits are told."""

import re
from collections.abc import Mapping
from pathlib import Path

from pyg_graphadapter.data.listed import (
    holds_images,
    is_file,
    portable,
    split_in_name,
    subfolders,
)
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import SPLIT_NAMES, split_meant
from pyg_graphadapter.data.table import LISTS, read_list
from pyg_graphadapter.data.tree import Tree
from pyg_graphadapter.storage import read

SUFFIXES = (".csv", ".tsv", ".jsonl")
TELLING_SUFFIXES = (*SUFFIXES, ".txt", ".lst", ".json")
START_BYTES = 2**16
SEPARATORS = re.compile(r"[\s,;:|\"'\[\]{}]+")
# At the beginning or the end of a word, as in trainlist01:
SPLIT_IN_FILE = re.compile(r"(?<![a-z])(train|test|val)|(train|test|val)(?![a-z])")


def has_lists(folder: Path) -> bool:
    """Whether a folder has lists whose images are there: one beside images without class folders,
    one per split, or one in each folder of a split."""
    return folder.is_dir() and bool(_lists_in(folder))


def read_lists_in(folder: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads the lists in a folder (:func:`~pyg_graphadapter.data.table.read_list`)."""
    lists = _lists_in(folder)
    rows: list[ImageRow] = []
    for path, split in lists.items():
        rows += [
            row._replace(split=row.split or split) for row in read_list(path, options, reading)
        ]
    names = ", ".join(str(path.relative_to(folder)) for path in lists)
    reading.notes.append(f"The labels are those of {names}.")
    return rows


def _lists_in(folder: Path) -> Mapping[Path, str | None]:
    """The lists, and the split of each."""
    lists = _tables(folder)
    if len(lists) == 1 and _is_flat(folder) and _names_images(lists[0]):
        return {lists[0]: None}
    splits = {path: split_in_name(path.stem) for path in lists}
    if len(splits) > 1 and None not in splits.values():
        return splits if all(map(_names_images, lists)) else {}
    tops = [path for path in subfolders(folder) if split_meant(path.name) is not None]
    inner = {path: _tables(path) for path in tops if holds_images(path)}
    if inner and all(len(tables) == 1 and _names_images(tables[0]) for tables in inner.values()):
        return {tables[0]: top.name for top, tables in inner.items()}
    return {}


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _is_flat(folder: Path) -> bool:
    """Whether images lie side by side: in the folder, in one in it, or in those of splits."""
    tops = [path for path in subfolders(folder) if holds_images(path) or subfolders(path)]
    if any(subfolders(path) for path in tops):
        return False
    return len(tops) < 2 or all(split_meant(path.name) is not None for path in tops)


def _names_images(path: Path) -> bool:
    """Whether one of the first rows of a list names an image that is in its folder, or in one in
    it."""
    if not is_file(path):
        return False
    try:
        rows = read(path, LISTS).rows[:20]
    except (ValueError, OSError):
        return False
    cells = [cell for row in rows for cell in row.cells.values() if isinstance(cell, str) and cell]
    folders = [path.parent, *subfolders(path.parent)]
    return any(is_file(folder / portable(cell)) for folder in folders for cell in cells)


# Lists beside class folders ###########################################################


def list_of_splits(tree: Tree) -> str | None:
    """A file in a folder of class folders that tells the splits of their images: it is named for
    two splits, or lists images and is named for a split or has the names of two."""
    names = {"/".join(parts[-n:]) for parts in tree.images for n in (1, 2)}
    names |= {Path(name).with_suffix("").as_posix() for name in names if "/" in name}
    for parts in tree.others:
        path = tree.root.joinpath(*parts)
        if len(parts) > 2 or path.suffix.lower() not in TELLING_SUFFIXES or not is_file(path):
            continue
        named_for = {match[1] or match[2] for match in SPLIT_IN_FILE.finditer(path.stem.lower())}
        words = set(SEPARATORS.split(_start_of(path)))
        splits = {SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES}
        lists_images = len({word.replace("\\", "/") for word in words} & names) > 1
        if len(named_for) > 1 or (lists_images and (named_for or len(splits) > 1)):
            return "/".join(parts)
    return None


def _start_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES).decode("utf-8", errors="ignore")
    except OSError:
        return ""
