"""Packages that an environment may lack, and what to install then."""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# What to install for a package. All others come with pyg-graphadapter:
INSTALL = {
    "google": "'pyg-graphadapter[tokenizers]'",  # google.protobuf
    "h5py": "'pyg-graphadapter[h5]'",
    "matplotlib": "'pyg-graphadapter[plot]'",
    "pillow_heif": "'pyg-graphadapter[heif]'",
    "sentencepiece": "'pyg-graphadapter[tokenizers]'",
    "typer": "typer",
}


class MissingPackageError(ImportError):
    """A package is not installed; the message says in one sentence what to install."""


def missing(package: str, reason: str = "") -> MissingPackageError:
    """The error for a package that is not installed.

    Args:
        package (str): Its name.
        reason (str, optional): What needs it. (default: :obj:`""`)

    Example:
        >>> print(missing("typer"))
        The package typer is not installed: pip install typer.
    """
    package = package.split(".")[0]
    install = INSTALL.get(package, "pyg-graphadapter")
    reason = reason or f"The package {package} is not installed"
    return MissingPackageError(f"{reason}: pip install {install}.", name=package)


def is_installed(package: str) -> bool:
    """Whether a package, as ``matplotlib`` or ``google.protobuf``, can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


@contextmanager
def explained() -> Iterator[None]:
    """Turns the failed import of another package into a :class:`MissingPackageError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == __name__.split(".")[0]:
            raise
        raise missing(error.name) from error


def require(package: str) -> ModuleType:
    """Imports an optional package.

    Args:
        package (str): Its name.

    Raises:
        MissingPackageError: If it is not installed.

    Example:
        >>> require("json").__name__
        'json'
    """
    with explained():
        return importlib.import_module(package)
