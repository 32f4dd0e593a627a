"""Images that a file lists by their paths: where they lie, and which of them are missing."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import LINKS, Links
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import plain, split_meant
from pyg_graphadapter.data.tree import read_tree

NOT_THERE = "images that are listed, but not there"
UNLISTED = "images that are not in the list"
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "jpegimages")


def split_in_name(name: str) -> str | None:
    """The split that a file or folder is named for: its first or last word, as in ``train_list``
    or ``instances_val2017``."""
    words = [word.rstrip("0123456789") for word in name.lower().replace("-", "_").split("_")]
    for word in (words[-1], words[0]):
        if (split := split_meant(word)) is not None:
            return split
    return None


def portable(path: str) -> str:
    """A path with slashes, also where it was written on Windows."""
    return path if "/" in path else path.replace("\\", "/")


def leads_out(path: str) -> bool:
    """Whether a path is absolute or goes up."""
    windows = PureWindowsPath(path)
    parts = (*PurePosixPath(path).parts, *windows.parts)
    return bool(windows.root or windows.drive) or path.startswith("/") or ".." in parts


def root_of(
    listing: Path, paths: Sequence[str], folders: Iterable[Path], options: ReadOptions
) -> Path:
    """The folder to which listed paths are relative: the one in which most of a few exist. Of
    several, the one that is named for the split of the list, then one that is called images.

    Args:
        listing (Path): The file that lists them.
        paths (sequence of str): The paths.
        folders (iterable of Path): The folders to try.
        options (ReadOptions): Whether it may be a link that leads elsewhere.

    Raises:
        FileNotFoundError: If there is none of them in any.
        ValueError: If they are in several folders side by side, or the folder is a link that leads
            elsewhere.
    """
    root = _root_of(listing, paths, folders)
    home = listing.parent
    above = home if root.is_relative_to(home) else home.parent
    Links(above, follow=options.follow_links).check_folder(root)
    return root


def _root_of(listing: Path, paths: Sequence[str], folders: Iterable[Path]) -> Path:
    tried = list(dict.fromkeys(folders))
    some = list(dict.fromkeys([*paths[:20], *paths[:: max(1, len(paths) // 20)]]))
    counts = {folder: sum(is_file(folder / path) for path in some) for folder in tried}
    most = max(counts.values(), default=0)
    if not most:
        where = ", ".join(str(folder) for folder in tried[:4])
        raise FileNotFoundError(
            f"{listing} lists {len(paths)} images, as {paths[0]!r}, of which none is in {where}: "
            f"put the images there."
        )
    first, *others = [folder for folder in tried if counts[folder] == most]
    others = [folder for folder in others if folder.parent == first.parent]
    split = split_in_name(listing.stem)
    for is_meant in (lambda f: split and split_in_name(f.name) == split, _is_called_images):
        for folder in (first, *others):
            if is_meant(folder):
                return folder
    if others and first != listing.parent:
        raise ValueError(
            f"{listing} lists images, as {paths[0]!r}, that are in {first} and in {others[0]}: "
            f"write the folder into the paths, as {first.name}/{paths[0]}."
        )
    return first


def _is_called_images(folder: Path) -> bool:
    return plain(folder.name) in IMAGE_FOLDERS


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
    rows = list(rows)
    images = []
    for row in rows:
        path = root / row.image
        if not is_file(path):
            reading.leave_out(NOT_THERE, path)
        elif not leads_out(row.image) and not links.is_way_followed(path):
            reading.leave_out(LINKS, path)
        else:
            images.append(row._replace(image=str(path)))
    absent = sorted({row.label for row in rows if row.label} - {row.label for row in images})
    if absent:
        further = f" and {len(absent) - 1} others" if len(absent) > 1 else ""
        reading.notes.append(f"No image of the class {absent[0]!r}{further} is in {root}.")
    return images


def count_unlisted(
    folder: Path, rows: Iterable[ImageRow], options: ReadOptions, reading: Reading
) -> None:
    """Counts the images in a folder that its lists do not name."""
    told = {name for names in reading.left_out.values() for name in names}
    for row in rows:
        image = row.image["path"] if isinstance(row.image, dict) else row.image
        told.add(str(image).rpartition("#")[0] or str(image))  # a box has a number after its image
        told.add(str(image))
    links = Links(folder, follow=options.follow_links)
    told_real = {os.path.realpath(name) for name in told if is_file(Path(name))}
    for parts in read_tree(folder, links, Reading()).images:
        path = folder.joinpath(*parts)
        if str(path) not in told and os.path.realpath(path) not in told_real:
            reading.leave_out(UNLISTED, "/".join(parts))
