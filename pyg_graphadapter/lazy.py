"""Imports the names of a package when they are first used (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pyg_graphadapter.optional import explained


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package. No name may equal that of a submodule:
    Python would put the submodule in its place.

    Args:
        package (str): The package's ``__name__``.
        modules (dict): For each name, the module that defines it, relative to the package.

    Example:
        >>> get, names = lazy_names("collections", {"Mapping": "abc"})
        >>> get("Mapping").__module__
        'collections.abc'
        >>> "Mapping" in names()
        True
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with explained():
            return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *modules})

    return __getattr__, __dir__
