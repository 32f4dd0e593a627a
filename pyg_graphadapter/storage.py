"""Atomic writing of files, and output folders that hold nothing else."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable
from pathlib import Path

STACK = ("pyg-graphadapter", "torch", "torch-geometric", "scikit-learn", "numpy")


def write_atomic(path: Path, content: bytes) -> None:
    """Writes to a temporary file and renames it, so that a killed process leaves the old file or
    none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def prepare_folder(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Makes an output folder, unless it holds other files.

    Args:
        folder (Path): The folder.
        is_ours (callable): Whether a file in it is of the kind that will be written.

    Raises:
        ValueError: If it is a file, or holds another file, naming it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"The output folder {folder} is a file: choose another name.")
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            is_leftover = path.name.startswith(".") and path.suffix == ".tmp"
            if not is_leftover and not is_ours(path):
                raise ValueError(
                    f"The output folder {folder} holds something else ({path.name}): choose an "
                    f"empty or a new folder."
                )
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
