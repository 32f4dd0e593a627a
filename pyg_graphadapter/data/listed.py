"""Images that a file lists by their paths: where they lie, and which of them are missing."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import Links
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions

NOT_THERE = "listed, but not there"
LINKED = "links that lead out of the folder (--follow-links)"
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def split_in_name(name: str) -> str | None:
    """The split that a file or folder is named for: its first or last word, as in ``train_list``
    or ``instances_val2017``."""
    words = [word.rstrip("0123456789") for word in name.lower().replace("-", "_").split("_")]
    for word in (words[-1], words[0]):
        if word in SPLIT_WORDS:
            return SPLIT_WORDS[word]
    return None


def portable(path: str) -> str:
    """A path with slashes, also where it was written on Windows."""
    return path if "/" in path else path.replace("\\", "/")


def leads_out(path: str) -> bool:
    """Whether a path is absolute or goes up."""
    windows = PureWindowsPath(path)
    parts = (*PurePosixPath(path).parts, *windows.parts)
    return bool(windows.root or windows.drive) or path.startswith("/") or ".." in parts


def root_of(listing: Path, paths: Sequence[str], folders: Iterable[Path]) -> Path:
    """The folder to which listed paths are relative: the first in which one of them exists.

    Args:
        listing (Path): The file that lists them.
        paths (sequence of str): The paths.
        folders (iterable of Path): The folders to try.

    Raises:
        FileNotFoundError: If there is none of them in any.
    """
    tried = list(dict.fromkeys(folders))
    some = list(dict.fromkeys([*paths[:20], *paths[:: max(1, len(paths) // 20)]]))
    for folder in tried:
        if any(is_file(folder / path) for path in some):
            return folder
    where = ", ".join(str(folder) for folder in tried[:4])
    raise FileNotFoundError(
        f"{listing} lists {len(paths)} images, as {paths[0]!r}, of which none is in {where}: put "
        f"the images there."
    )


def is_file(path: Path) -> bool:
    """Whether a path is that of a file; a path that no system can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def folders_beside(listing: Path) -> Iterator[Path]:
    """The folder of a list, the folders in it, and those beside its folder."""
    folder = listing.parent
    yield folder
    yield from subfolders(folder)
    yield folder.parent
    yield from subfolders(folder.parent)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden."""
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []


def holds_images(folder: Path) -> bool:
    """Whether images lie in a folder itself."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def existing(
    rows: Iterable[ImageRow], root: Path, options: ReadOptions, reading: Reading
) -> list[ImageRow]:
    """Rows of images that are there, as paths below a root; the others are counted."""
    links = Links(root, follow=options.follow_links)
    images = []
    for row in rows:
        path = root / row.image
        if not is_file(path):
            reading.leave_out(NOT_THERE, path)
        elif path.is_relative_to(root) and not links.is_followed(path):
            reading.leave_out(LINKED, path)
        else:
            images.append(row._replace(image=str(path)))
    return images
