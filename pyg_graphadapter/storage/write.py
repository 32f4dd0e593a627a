"""Atomic writing of files, and output folders that hold nothing else."""

import hashlib
import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyg_graphadapter.outputs import (
    TEMPORARY_SUFFIX,
    check_output_folder,
    is_leftover,
    no_empty_folders,
    not_written,
    writing,
)

STACK = ("pyg-graphadapter", "torch", "torch-geometric", "scikit-learn", "numpy")
LEFTOVER_AGE = 3600.0  # seconds, after which a temporary file is a killed writer's


def write_atomic(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Writes to a temporary file of a random name and renames it: whatever happens, there is the
    old file or the new one. File and folder are on the disk when it returns.

    Args:
        path (Path): The file.
        content (bytes): Its content.
        exclusive (bool, optional): Do not replace a file that is there. (default: :obj:`False`)

    Raises:
        FileExistsError: If it is there and ``exclusive``.
        OSError: If it cannot be written, with the path and the reason; nothing partial is left.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        prefix = f".{path.name[:100]}."
        descriptor, name = tempfile.mkstemp(TEMPORARY_SUFFIX, prefix, path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            # The folder may be a user's, which nobody else cleans:
            remove_leftovers(
                path.parent,
                lambda other: is_leftover(other) and other.name.startswith(prefix),
                now=os.fstat(file.fileno()).st_mtime,
            )
            file.write(content)
            file.flush()
            # Of mkstemp only the owner can read:
            temporary.chmod(_mode_of(path))
            os.fsync(file.fileno())
        if exclusive:
            _link(temporary, path)
        else:
            temporary.replace(path)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise not_written(path, error, len(content)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_output(path: str | Path, content: bytes) -> None:
    """Writes an output (:func:`write_atomic`) and makes the folders that it is to lie in; if it
    cannot be written, they are taken away again.

    Raises:
        OutputError: If it cannot be written, with the path and the reason.
    """
    path = Path(path)
    with writing(path), no_empty_folders(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


def _link(temporary: Path, path: Path) -> None:
    """Gives a file a second name that is not there yet. Where a file system has no links, it is
    renamed, and two writers at the same moment are not told apart."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(f"There is a file {path} already.") from None
        temporary.replace(path)


def _mode_of(path: Path) -> int:
    """The permissions of the file that is replaced, or else those of any new file."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o666 & ~_umask()


def _umask() -> int:
    """The umask of this process; it can only be read by setting it, which disturbs other threads,
    so that Linux's own record is preferred."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder last beyond a power cut, where a system can."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that may be written but not read
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot
        pass
    finally:
        os.close(descriptor)


def remove_leftovers(
    folder: Path, is_one: Callable[[Path], bool] = is_leftover, now: float | None = None
) -> int:
    """Removes the files of writers that were killed, which are older than an hour. Another process
    may be writing the younger ones.

    Args:
        folder (Path): The folder.
        is_one (callable, optional): Whether a file is one, by its name.
            (default: :func:`is_leftover`)
        now (float, optional): The time, in seconds since 1970; that of a file just written in the
            folder, if the clock may be another one than that of the file system.
            (default: the time of this process)

    Returns:
        int: How many bytes that freed.
    """
    freed = 0
    try:
        paths = [path for path in folder.iterdir() if is_one(path)]
    except OSError:  # a folder that may be written but not read
        return freed
    for path in paths:
        try:
            status = path.lstat()
            if (time.time() if now is None else now) - status.st_mtime > LEFTOVER_AGE:
                path.unlink()
                freed += status.st_size
        except OSError:  # another process was first, or may not be disturbed
            continue
    return freed


def prepare_folder(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Makes an output folder, unless it holds other files. What killed writers left in it is
    removed.

    Args:
        folder (Path): The folder.
        is_ours (callable): Whether a file in it is of the kind that will be written.

    Raises:
        ValueError: If it is a file, or holds another file, naming it.
        OSError: If it cannot be made.
    """
    check_output_folder(folder, is_ours)
    if folder.is_dir():
        remove_leftovers(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content``, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results depend on."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in STACK},
    }
