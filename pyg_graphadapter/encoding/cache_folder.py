"""The folder of all feature caches: listing, checking and cleaning it.

What is not ours by its name and its content is never touched, nor is the target of any link.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyg_graphadapter.encoding.cache import ORPHAN_AGE, move_aside
from pyg_graphadapter.encoding.cache_files import (
    CORRUPT_NAME,
    CORRUPT_SUFFIX,
    FOLDER_NAME,
    LOCK,
    MANIFEST,
    OWNER,
    SHARDS,
    is_ours,
    is_temporary,
    read_list,
    read_manifest,
    read_shard,
    shard_line,
    shards_in,
)
from pyg_graphadapter.encoding.cache_lock import folder_lock
from pyg_graphadapter.storage import write_atomic

DAY = 86_400.0


@dataclass(frozen=True)
class CachedFeatures:
    """The features of one encoder with one set of settings.

    Args:
        folder (Path): Where they lie.
        depends_on (dict): What they depend on, as it was written down.
        images (int): How many images.
        num_bytes (int): The size of all files that belong to them.
        used (float): When they were last read or written, in seconds since 1970.
    """

    folder: Path
    depends_on: dict[str, Any]
    images: int
    num_bytes: int
    used: float


@dataclass(frozen=True)
class Verified:
    """The results of :func:`verify`.

    Args:
        shards (int): How many shards are whole.
        damaged (tuple of Path): Those that are not; they were moved aside.
        missing (tuple of Path): Those that are listed and not there.
    """

    shards: int
    damaged: tuple[Path, ...]
    missing: tuple[Path, ...]


@dataclass
class Removed:
    """The results of :func:`collect_garbage`.

    Args:
        num_bytes (int): The size of all that was removed, or would be.
        paths (list of Path): The files and folders.
        foreign (dict): What was left alone because it is not of a feature cache, with the reason.
    """

    num_bytes: int = 0
    paths: list[Path] = field(default_factory=list)
    foreign: dict[Path, str] = field(default_factory=dict)


def cached_features(caches: Path) -> list[CachedFeatures]:
    """The features in the folder of all caches, the last used first."""
    entries = [entry for folder in _folders(caches)[0] if (entry := _entry(folder)) is not None]
    return sorted(entries, key=lambda entry: -entry.used)


def left_alone(caches: Path) -> dict[Path, str]:
    """The folders that look like those of a feature cache and are none, with the reason."""
    return _folders(caches)[1]


def verify(caches: Path) -> Verified:
    """Reads every shard and compares its checksum. Damaged shards are moved aside, so that their
    images are encoded again, and the list of shards is written again.

    Raises:
        OSError: If a folder cannot be locked or written.
    """
    whole = 0
    damaged: list[Path] = []
    missing: list[Path] = []
    for folder in _folders(caches)[0]:
        with folder_lock(folder):
            if _entry(folder) is None:  # it was removed
                continue
            lines = []
            for path in shards_in(folder):
                try:
                    keys, _, num_bytes = read_shard(path)
                except (OSError, ValueError):
                    move_aside(path)
                    damaged.append(path if path.exists() else path.with_suffix(CORRUPT_SUFFIX))
                else:
                    lines.append(shard_line(path.name, len(keys), num_bytes))
            whole += len(lines)
            names = {path.name for path in folder.iterdir()}
            missing += [
                folder / name
                for name in read_list(folder)
                if not {name, Path(name).with_suffix(CORRUPT_SUFFIX).name} & names
            ]
            write_atomic(folder / SHARDS, "".join(lines).encode())
    return Verified(whole, tuple(damaged), tuple(missing))


def collect_garbage(
    caches: Path, days: float | None = None, model: str | None = None, *, dry_run: bool = False
) -> Removed:
    """Removes the files that killed processes left, damaged shards and, if asked for, features.

    Only folders whose name is the hash of their manifest are touched, and in these only files of
    the names that a feature cache writes. Each folder is locked meanwhile.

    Args:
        caches (Path): The folder of all caches.
        days (float, optional): Remove features that were not used for so long. (default: `None`)
        model (str, optional): Remove features of this model. (default: :obj:`None`)
        dry_run (bool, optional): Remove nothing, and say what would be. (default: :obj:`False`)

    Raises:
        OSError: If a folder cannot be locked, or a file cannot be removed.
    """
    folders, foreign = _folders(caches)
    removed = Removed(foreign=foreign)

    def is_chosen(entry: CachedFeatures) -> bool:
        is_old = days is not None and time.time() - entry.used > days * DAY
        return is_old or (model is not None and entry.depends_on.get("model") == model)

    for folder in folders:
        planned = _garbage_of(folder, is_chosen)
        removed.foreign |= planned.foreign
        if not dry_run and planned.paths:
            with suppress(FileNotFoundError), folder_lock(folder):
                # Another process may have used or removed it while its lock was waited for:
                before = set(planned.paths)
                planned = _garbage_of(folder, is_chosen)
                _remove_all(planned, folder)
                # The lock and who holds it are files, too:
                locks = {folder / name for name in (LOCK, OWNER)} - before
                planned.paths = [path for path in planned.paths if path not in locks]
        removed.paths += planned.paths
        removed.num_bytes += planned.num_bytes
    for folder in [folder for folder in foreign if _is_remainder(folder)]:
        del foreign[folder]
        removed.paths.append(folder)
        if not dry_run:
            _remove_remainder(folder)
    return removed


def _is_remainder(folder: Path) -> bool:
    """Whether a folder is what remains where a removal is killed at its end: of such a name, and
    without any file but a lock."""
    if not FOLDER_NAME.fullmatch(folder.name) or folder.is_symlink():
        return False
    try:
        return all(path.name == LOCK and is_ours(path) for path in folder.iterdir())
    except OSError:
        return False


def _remove_remainder(folder: Path) -> None:
    """A writer that has just made the folder makes it again."""
    with suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _garbage_of(folder: Path, is_chosen: Callable[[CachedFeatures], bool]) -> Removed:
    """What is to be removed of a folder, in this order, and what is not ours in it."""
    garbage = Removed()
    entry = _entry(folder)
    if entry is None:
        return garbage
    is_whole = is_chosen(entry)
    paths = sorted(folder.iterdir())
    ours = [path for path in paths if is_ours(path)]
    garbage.foreign = {path: "no file of a feature cache" for path in paths if path not in ours}
    # The lock is held until the end, and the manifest says until the end whose folder it is:
    last = [folder / name for name in (LOCK, MANIFEST)]
    garbage.paths = [path for path in ours if path not in last and (is_whole or _is_garbage(path))]
    if is_whole:
        garbage.paths += [path for path in last if path in ours]
    for path in garbage.paths:
        with suppress(OSError):
            garbage.num_bytes += path.lstat().st_size
    if is_whole and not garbage.foreign:
        garbage.paths.append(folder)
    return garbage


def _is_garbage(path: Path) -> bool:
    if CORRUPT_NAME.fullmatch(path.name):
        return True
    try:
        return is_temporary(path) and time.time() - path.lstat().st_mtime > ORPHAN_AGE
    except OSError:  # it was renamed just now
        return False


def _remove_all(garbage: Removed, folder: Path) -> None:
    """Removes files, and at the end perhaps their folder, which is empty by then."""
    manifest: Path | None = None
    content = b""
    for path in garbage.paths:
        try:
            if path.name == MANIFEST:
                manifest, content = path, path.read_bytes()
            if path == folder:
                _remove_folder(folder, manifest, content)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OSError(
                f"{path} cannot be removed ({error.strerror or error}): check its permissions."
            ) from error


def _remove_folder(folder: Path, manifest: Path | None, content: bytes) -> None:
    """Removes an empty folder. If another process has written into it since its lock was removed,
    it gets its manifest back."""
    try:
        folder.rmdir()
    except OSError:
        if manifest is not None and not manifest.exists() and shards_in(folder):
            write_atomic(manifest, content)


def _folders(caches: Path) -> tuple[list[Path], dict[Path, str]]:
    """The folders of feature caches, and those that look like one and are none, with the reason.

    Raises:
        ValueError: If the folder of all caches is a file.
    """
    if caches.exists() and not caches.is_dir():
        raise ValueError(f"The feature cache {caches} is no folder: choose another path.")
    ours: list[Path] = []
    foreign: dict[Path, str] = {}
    for folder in sorted(caches.iterdir()) if caches.is_dir() else ():
        if not FOLDER_NAME.match(folder.name) or not folder.is_dir():
            continue
        if folder.is_symlink():
            foreign[folder] = "a link"
            continue
        try:
            read_manifest(folder)
        except (OSError, ValueError) as error:
            foreign[folder] = str(error)
        else:
            ours.append(folder)
    return ours, foreign


def _entry(folder: Path) -> CachedFeatures | None:
    """The features in a folder; none if it is not, or no longer, one of a feature cache."""
    try:
        depends_on = read_manifest(folder)
        paths = [path for path in folder.iterdir() if is_ours(path)]
        listed, names = read_list(folder), {path.name for path in paths}
        return CachedFeatures(
            folder,
            depends_on,
            sum(images for name, images in listed.items() if name in names),
            sum(path.lstat().st_size for path in paths),
            (folder / MANIFEST).lstat().st_mtime,
        )
    except (OSError, ValueError):
        return None
