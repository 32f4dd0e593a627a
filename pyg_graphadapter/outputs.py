"""Whether an output can be written, asked before the work that makes it."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
NAME_BYTES = 255  # where a file system does not say
TEMPORARY_BYTES = 24  # that the name of a temporary file is longer than the file's


class OutputError(OSError):
    """An output that cannot be written; the message has its path, the reason, and what to do."""


class OutputFolderGoneError(OutputError, FileNotFoundError):
    """An output whose folder does not exist, or was just removed."""


def check_output_file(path: str | Path) -> None:
    """Checks that a file can be written, without writing it. Parents that are missing are not made.

    Raises:
        OutputError: If it cannot: it is a folder, a device or below a file, there is no permission,
            the disk is full or cannot be written, or the name is too long.
    """
    path = Path(path)
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"The output {path} is a folder: name a file.")
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError(
            f"The output {path} is not a regular file but a device, a pipe or a socket: choose "
            f"another name."
        )
    _check_names(path, path.parent)
    _try_to_write(path, path.parent)


def check_output_folder(path: str | Path, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Checks that files can be written to a folder, without making it.

    Args:
        path (str or Path): The folder.
        is_ours (callable, optional): Whether a file in it is of the kind that will be written. If
            not given, it may hold anything. (default: :obj:`None`)

    Raises:
        OutputError: As for :func:`check_output_file`.
        ValueError: If it is a file, or holds something else, naming it.
    """
    path = Path(path)
    mode = _mode(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise ValueError(f"The output folder {path} is a file: choose another name.")
    _check_names(path, path)
    _try_to_write(path, path)
    if mode is None or is_ours is None:
        return
    for entry in sorted(path.iterdir()):
        if not is_leftover(entry) and not is_ours(entry):
            raise ValueError(
                f"The output folder {path} holds something else ({entry.name}): choose an empty or "
                f"a new folder."
            )


def make_parents(path: str | Path) -> None:
    """Makes the folders that a file is to lie in.

    Raises:
        OutputError: If they cannot be made.
    """
    with writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Lets what the operating system refuses end in a sentence with the path of the output."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise not_written(path, error) from error


def is_leftover(path: Path) -> bool:
    """Whether a file is a temporary file of a writer, by its name."""
    return path.name.startswith(".") and path.suffix == TEMPORARY_SUFFIX


@contextmanager
def no_empty_folders(path: str | Path) -> Iterator[None]:
    """Where the work fails, takes away the folders above and at a path that it made and that are
    still empty."""
    folders = [Path(path), *Path(path).parents]
    missing = [folder for folder in folders if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        for folder in missing:
            try:
                folder.rmdir()
            except OSError:  # not made, a file, or no longer empty
                continue
        raise


def _mode(path: Path) -> int | None:
    """The kind of what is at a path; :obj:`None` if there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None  # the parent says which of them
    except (OSError, ValueError) as error:
        raise not_written(path, error) from error


def _nearest(output: Path, folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    for parent in (folder, *folder.parents):
        mode = _mode(parent)
        if mode is not None and not stat.S_ISDIR(mode):
            raise OutputError(
                f"The output {output} cannot be written: {parent} is not a folder. Choose another "
                f"path."
            )
        if mode is not None:
            return parent
        if parent.is_symlink():
            raise OutputError(
                f"The output {output} cannot be written: {parent} is a link to nothing. Choose "
                f"another path."
            )
    return Path()


def _check_names(output: Path, folder: Path) -> None:
    nearest = _nearest(output, folder)
    try:
        most = os.pathconf(nearest, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        most = NAME_BYTES
    for name in output.parts[len(nearest.parts) :]:
        is_file = output != folder and name == output.name
        if len(os.fsencode(name)) > most - (TEMPORARY_BYTES if is_file else 0):
            raise OutputError(
                f"The output {output} cannot be written: the name {name[:20]}… is too long "
                f"({len(os.fsencode(name))} bytes). Choose a shorter one."
            )


def _try_to_write(output: Path, folder: Path) -> None:
    """Writes a byte to a file without a name, of which nothing remains."""
    nearest = _nearest(output, folder)
    try:
        with tempfile.TemporaryFile(dir=nearest, prefix=".", suffix=".tmp") as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        raise not_written(output, error) from error


def not_written(
    path: str | Path, error: OSError | ValueError, num_bytes: int | None = None
) -> OutputError:
    """The sentence about an output that the operating system refuses."""
    reason = getattr(error, "strerror", None) or str(error)
    needed = "" if num_bytes is None else f", {num_bytes:,} bytes are needed"
    kind = OutputFolderGoneError if isinstance(error, FileNotFoundError) else OutputError
    message = kind(
        f"The output {path} cannot be written ({reason[:1].lower()}{reason[1:]}{needed}): make "
        f"room or give permission, or choose another path."
    )
    message.errno = getattr(error, "errno", None)
    return message
