"""The arrays of files, with what their names and the names of their files and folders say."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pyg_graphadapter.importing.names import (
    CACHE_KINDS,
    NEUTRAL,
    SPLIT_OF,
    Reading,
    hidden_split,
    read_file_name,
    read_key,
    words_of,
)
from pyg_graphadapter.importing.readers import Header, read_array, read_headers
from pyg_graphadapter.storage import Array

STORED = {
    "features": Annotated[Any, Array("fiub", (2, 3))],
    "labels": Annotated[Any, Array("fiubUS", (1, 2))],
    "names": Annotated[Any, Array("USiu", (1,))],
    "scale": Annotated[Any, Array("fiu", (0, 1))],
    "texts": Annotated[Any, Array("US", (1,))],
}
NO_NAMES = ("arr_0", "array", "tensor", "data", "dataset")  # of an array that is alone in its file
SHOWN = 12  # names in a listing


@dataclass(frozen=True)
class Place:
    """The place of a file among the others: what pairs its arrays with those of other files."""

    folders: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """An array of a file.

    Args:
        path (Path): The file.
        shown (str): The file as sentences call it.
        name (str): The key of the array, or the name of a file with one array.
        key (str): Its key in the file.
        array (Header): Its kind of numbers and its shape.
        kind (str, optional): What it is by its name.
        split (str, optional): Its split by its own name.
        splits (tuple of str): Its splits by the names of the file and the folders.
        place (Place): The place of its file.
        is_cache (bool): Whether it is one of Tip-Adapter's caches.
        is_alone (bool): Whether its file holds no other array.
    """

    path: Path
    shown: str
    name: str
    key: str
    array: Header
    kind: str | None
    split: str | None
    splits: tuple[str, ...]
    place: Place
    is_cache: bool = False
    is_alone: bool = False

    def load(self, kind: str) -> Any:
        """Its values, which must be features, labels, names, texts or a scale."""
        return read_array(self.path, self.key, STORED[kind])

    def is_named(self, name: str) -> bool:
        """Whether a name is that of the array."""
        return name in (self.name, self.key) or (self.is_alone and self.is_in(name))

    def is_in(self, name: str) -> bool:
        """Whether a name is that of its file."""
        return name in (self.path.name, str(self.path))

    @property
    def hidden(self) -> str | None:
        """A word of the file's name that may hold the word of a split."""
        return None if self.splits else hidden_split(words_of(self.path.stem))

    def __str__(self) -> str:
        return self.shown if self.is_alone else f"{self.name!r} of {self.shown}"


def gather(sources: Sequence[Path]) -> list[Entry]:
    """The arrays of several files.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one cannot be read, or is named twice.
    """
    paths = [path.absolute() for path in sources]
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice: name each file once.")
    headers = [read_headers(path) for path in sources]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return [
        entry
        for source, path, arrays in zip(sources, paths, headers, strict=True)
        for entry in _entries(source, path, root, arrays)
    ]


def _entries(source: Path, path: Path, root: Path, arrays: dict[str, Header]) -> Iterator[Entry]:
    folders = path.parent.relative_to(root).parts
    file = read_file_name(path.stem)
    splits = file.splits or _splits_of_folders(folders, path.parent.name)
    place = Place(tuple(filter(None, map(_telling, folders))), file.words, file.numbers)
    shown = str(Path(*folders, path.name))
    is_alone = len(arrays) == 1
    for key, array in arrays.items():
        reading, name = read_key(key), key
        if is_alone and (key == path.stem or (reading.kind is None and key in NO_NAMES)):
            # What the name of the file says of the split is in splits:
            name = path.stem
            reading = _of_file_name(file, array, folders or path.parts[-2:-1])
            reading = replace(reading, splits=())
        elif file.is_cache:
            reading = Reading(("train",), CACHE_KINDS.get(key, reading.kind))
        own = reading.splits[0] if reading.splits else None
        yield Entry(source, shown, name, key, array, _fitting(reading.kind, array), own, splits,
                    place, file.is_cache, is_alone)  # fmt: skip


def _of_file_name(file: Reading, array: Header, folders: Iterable[str]) -> Reading:
    """What a single array is by the name of its file, else of its folder, else by its shape, if
    the name is that of a split."""
    if file.kind is not None:
        return file
    kinds = (read_key(folder).kind for folder in reversed(list(folders)))
    kind = next((kind for kind in kinds if kind is not None), None)
    if kind is None and file.splits and not file.words:
        is_vector = len(array.shape) == 1
        kind = "labels" if is_vector else "features" if array.kind == "f" else None
    return replace(file, kind=kind)


def _fitting(kind: str | None, array: Header) -> str | None:
    """The kind of an array if its numbers and its shape can be of that kind."""
    is_text = array.kind in "US"
    if kind in ("features", "text_features") and (is_text or len(array.shape) < 2):
        return None
    if kind == "class_names" and not is_text:
        return None
    return None if kind in ("class_names", "split") and len(array.shape) != 1 else kind


def _splits_of_folders(folders: Sequence[str], parent: str) -> tuple[str, ...]:
    """The split by the folders in which the sources differ, or by that in which all lie, if its
    name has no other word."""
    for folder in reversed(folders):
        splits = read_file_name(folder).splits
        if splits:
            return splits
    words = [word for word in words_of(parent) if word not in NEUTRAL]
    return read_file_name(parent).splits if all(word in SPLIT_OF for word in words) else ()


def _telling(folder: str) -> tuple[str, ...]:
    """What of the name of a folder tells its files from those of another."""
    reading = read_file_name(folder)
    return (*reading.words, *map(str, reading.numbers))


def listing_of(entries: Iterable[Entry]) -> str:
    """The names of arrays in a sentence."""
    names = list(dict.fromkeys(entry.name for entry in entries))
    more = ", …" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing"
