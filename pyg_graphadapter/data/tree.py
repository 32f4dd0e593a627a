"""What a folder of images holds, at any depth."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePath
from typing import TypeAlias

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import Links
from pyg_graphadapter.data.reading import Reading

Parts: TypeAlias = tuple[str, ...]  # of a path below the folder
SYSTEM_FILES = ("__macosx", "thumbs.db", "desktop.ini", ".ds_store")  # nobody misses them
HIDDEN = "hidden files and folders"
NO_IMAGES = "files that are no images by their names"


class Tree:
    """The images, the folders and the other files of a folder.

    Args:
        root (Path): The folder.
        images (list): The parts of the path of every image below it, sorted.
        dirs (set): Those of every folder that was looked into.
        others (list): Those of every file that is no image by its name.
    """

    def __init__(
        self, root: Path, images: list[Parts], dirs: set[Parts], others: list[Parts]
    ) -> None:
        self.root, self.images, self.dirs, self.others = root, images, dirs, others

    @cached_property
    def _with_images(self) -> dict[Parts, set[str]]:
        """By folder, the folders right in it with images at any depth; an empty name stands for
        images right in it."""
        folders: dict[Parts, set[str]] = {}
        for parts in self.images:
            for depth in range(min(len(parts), 4)):
                name = parts[depth] if depth < len(parts) - 1 else ""
                folders.setdefault(parts[:depth], set()).add(name)
        return folders

    def with_images(self, *above: str) -> list[str]:
        """The folders right in a folder that hold images at any depth."""
        return sorted(self._with_images.get(above, set()) - {""})

    def has_images_right_in(self, *above: str) -> bool:
        """Whether images lie right in a folder."""
        return "" in self._with_images.get(above, set())

    def folders(self, depth: int, above: Parts = ()) -> list[str]:
        """The folders at a depth, in the given folder."""
        return sorted(d[-1] for d in self.dirs if len(d) == depth and d[:-1] == above)

    def below(self, top: str) -> "Tree":
        """The tree in one of the folders right in it."""
        return Tree(
            self.root / top,
            [parts[1:] for parts in self.images if parts[0] == top and len(parts) > 1],
            {parts[1:] for parts in self.dirs if parts[:1] == (top,)},
            [parts[1:] for parts in self.others if parts[0] == top and len(parts) > 1],
        )

    def other_suffixes(self, above: Parts) -> set[str]:
        """The suffixes of the other files in a folder, at any depth."""
        files = (parts for parts in self.others if parts[: len(above)] == above)
        return {PurePath(parts[-1]).suffix.lower() for parts in files}


def read_tree(
    root: Path, links: Links, reading: Reading, is_split: Callable[[str], bool] = lambda _: False
) -> Tree:
    """Lists a folder at any depth. What is hidden or no image by its name is counted.

    Links to folders are followed where all links are; otherwise those to the folders of classes and
    splits, if they lead to places inside the root.

    Args:
        root (Path): The folder.
        links (Links): Which links are followed.
        reading (Reading): Is told of what is left out.
        is_split (callable, optional): Whether the name of a folder means a split, so that folders
            in it are classes. (default: none does)

    Raises:
        ValueError: If the folder of a class or a split is a link that leads out of the root.
    """
    images: list[Parts] = []
    dirs: set[Parts] = set()
    others: list[Parts] = []
    visited: set[str] = set()

    def enter(above: Parts) -> Iterator[Parts]:
        """Lists one folder, and yields the folders in it."""
        path = root.joinpath(*above)
        if links.follow:
            if (real := os.path.realpath(path)) in visited:
                return  # a loop
            visited.add(real)
        try:
            entries = _entries(path)
        except PermissionError:
            reading.leave_out("folders that may not be read", path)
            return
        for entry in sorted(entries, key=lambda entry: entry.name):
            parts = (*above, entry.name)
            if _is_hidden(entry.name):
                if not _is_of_system(entry.name):
                    reading.leave_out(HIDDEN, "/".join(parts))
            elif _is_folder(entry):
                is_class = not above or (len(above) == 1 and is_split(above[0]))
                if is_class:
                    links.check_folder(Path(entry.path))
                if is_class or links.follow or not entry.is_symlink():
                    yield parts
                else:
                    reading.leave_out("links to folders", "/".join(parts))
            elif Path(entry.name).suffix.lower() not in SUFFIXES:
                others.append(parts)
                reading.leave_out(NO_IMAGES, "/".join(parts))
            elif links.is_followed(Path(entry.path)):  # what is no regular file is skipped later
                images.append(parts)

    waiting: list[Parts] = [()]
    while waiting:
        for parts in enter(waiting.pop()):
            dirs.add(parts)
            waiting.append(parts)
    return Tree(root, sorted(images), dirs, others)


def _entries(path: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(path) as entries:
        return list(entries)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one; a link in a loop leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _is_of_system(name: str) -> bool:
    return name.lower() in SYSTEM_FILES or name.startswith("._")
