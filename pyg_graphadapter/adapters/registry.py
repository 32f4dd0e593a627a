"""Methods that other packages and modules bring: by registration, or by an entry point."""

import ast
import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.settings import unknown

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.base import Adapter

ENTRY_POINTS = "pyg_graphadapter.adapters"
RESERVED = ("all",)  # on the command line

_registered: "dict[str, type[Adapter]]" = {}


def register_adapter(name: str, cls: "type[Adapter]") -> None:
    """Makes a method known by a name, as the methods of this package are known: to ``compare``,
    ``fit``, ``methods``, to saved classifiers and to
    :class:`~pyg_graphadapter.GraphAdapterClassifier`.

    A class may be registered again, for example when a notebook's cell runs again.

    Args:
        name (str): The name: lower-case letters, digits and underscores.
        cls (type): The class, a subclass of :class:`~pyg_graphadapter.adapters.Adapter`.

    Raises:
        ValueError: If the name is taken or has other characters, or the class is no adapter.

    See ``examples/own_method/`` for a method outside this package.
    """
    from pyg_graphadapter.adapters import ADAPTERS, Adapter

    if not _is_name(name):
        raise ValueError(
            f"A method's name has lower-case letters, digits and underscores, and starts with a "
            f"letter (got {name!r})."
        )
    if name in ADAPTERS:
        raise ValueError(f"The name {name!r} belongs to a method of this package: choose another.")
    if not (isinstance(cls, type) and issubclass(cls, Adapter)):
        raise ValueError(
            f"{name!r} must be a subclass of pyg_graphadapter.adapters.Adapter (got {cls!r})."
        )
    other = _registered.get(name)
    if other is not None and _full_name(other) != _full_name(cls):
        raise ValueError(
            f"The name {name!r} belongs to {_full_name(other)} already: choose another."
        )
    _registered[name] = cls


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None and name not in RESERVED


def registered_adapters() -> "dict[str, type[Adapter]]":
    """The methods that were registered in this process."""
    return dict(_registered)


def adapter_names() -> list[str]:
    """The names of all methods: of this package, registered ones, and those of installed
    packages."""
    from pyg_graphadapter.adapters import ADAPTERS

    return list(dict.fromkeys([*ADAPTERS, *_registered, *_installed()]))


def adapter_class(method: str) -> "type[Adapter]":
    """The class of a method.

    Raises:
        ValueError: If there is no such method, listing all methods; if an installed one cannot be
            imported.
    """
    from pyg_graphadapter import adapters

    cls = adapters.ADAPTERS.get(method)
    if isinstance(cls, str):
        return getattr(adapters, cls)  # type: ignore[no-any-return]
    if cls is not None:
        return cls
    if method not in _registered:
        installed = _installed()
        if method not in installed:
            error = unknown("method", method, adapter_names())
            raise ValueError(
                f"{error} A method of your own must be registered first (--import MODULE, "
                f"register_adapter)."
            )
        register_adapter(method, _load(installed[method]))
    return _registered[method]


def name_of(cls: "type[Adapter]") -> str:
    """The name of a method; of a class without a name, that of the class."""
    from pyg_graphadapter.adapters import ADAPTERS

    for name, known in {**ADAPTERS, **_registered}.items():
        if cls is (adapter_class(name) if known == cls.__name__ else known):
            return name
    return cls.__name__


def is_built_in(method: str) -> bool:
    """Whether a method is one of this package."""
    from pyg_graphadapter.adapters import ADAPTERS

    return isinstance(ADAPTERS.get(method), str)


def _installed() -> dict[str, EntryPoint]:
    """The entry points with a valid name, by name."""
    entries = entry_points(group=ENTRY_POINTS)
    return {entry.name: entry for entry in entries if _is_name(entry.name)}


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise ValueError(
            f"The installed method {entry.name!r} ({entry.value}) cannot be imported: "
            f"{describe_error(error)}."
        ) from error


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# Modules that a user names ############################################################


def import_methods(name: str) -> ModuleType:
    """Imports a module that registers methods.

    Args:
        name (str): A module's name, which is also looked for in the working directory, or the path
            of a Python file.

    Raises:
        ValueError: If it cannot be imported, or registers no method.
    """
    registered_names, path = set(_registered), Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise ValueError(f"There is no file {name} to import.")
    module_name = path.stem if is_file else name
    folder = str((path.parent if is_file else Path()).resolve())
    sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _not_imported(name, error) from error
        raise ValueError(
            f"There is no module {name!r}, neither installed nor in this folder: give its name or "
            f"the path of its file."
        ) from error
    except (Exception, SystemExit) as error:
        raise _not_imported(name, error) from error
    file = getattr(module, "__file__", None)
    if is_file and (file is None or Path(file).resolve() != path.resolve()):
        raise ValueError(
            f"{name} cannot be imported: another module {module_name!r} is loaded already "
            f"({file or 'built-in'}). Rename the file."
        )
    if set(_registered) == registered_names and not _registers(module):
        raise ValueError(
            f"{name} registers no method: call pyg_graphadapter.register_adapter(name, cls) in it."
        )
    return module


def _not_imported(name: str, error: BaseException) -> ValueError:
    return ValueError(f"{name} cannot be imported: {describe_error(error)}.")


def _registers(module: ModuleType) -> bool:
    """Whether a module that was imported before has a registered class."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return any(cls in classes for cls in _registered.values())


# The code of a method #################################################################


def code_identity(method: str) -> str:
    """What stands for a method's code: the version of this package; for another's method, also the
    hash of the source files of its class, of the classes that it extends, and of the modules in
    their folders that these files import."""
    if is_built_in(method):
        return f"pyg_graphadapter {version('pyg-graphadapter')}"
    digest = hashlib.sha256(version("pyg-graphadapter").encode())
    modules: dict[str, ModuleType] = {}
    for cls in adapter_class(method).__mro__:
        if not _is_ours(cls.__module__):
            digest.update(_source(cls).encode())
            _add_modules(sys.modules.get(cls.__module__), modules)
    for name in sorted(modules):
        digest.update(Path(str(modules[name].__file__)).read_bytes())
    return f"sha256 {digest.hexdigest()}"


def _is_ours(module: str) -> bool:
    """Whether a module is of this package, or one that its methods stand on."""
    return module.partition(".")[0] in ("pyg_graphadapter", "torch", "abc", "builtins", "typing")


def _add_modules(module: ModuleType | None, modules: dict[str, ModuleType]) -> None:
    """Adds a module, and those beside it in its folder that it uses."""
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ in modules or not file or not Path(file).is_file():
        return
    modules[module.__name__] = module
    folder = Path(file).parent
    for name in _imported_by(Path(file), module.__package__ or ""):
        used = sys.modules.get(name)
        used_file = getattr(used, "__file__", None)
        if used_file and folder in Path(used_file).parents:
            _add_modules(used, modules)


def _imported_by(file: Path, package: str) -> Iterator[str]:
    """The names of the modules that a source file imports."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # no Python source
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*parents, node.module or ""] if node.level else [node.module or ""]
            name = ".".join(part for part in base if part)
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def _source(cls: type) -> str:
    """The source file of a class; of one without a file, what its functions do."""
    try:
        file = inspect.getsourcefile(cls)
        if file is not None and Path(file).is_file():
            return Path(file).read_text(encoding="utf-8")
        return inspect.getsource(cls)
    except (OSError, TypeError):
        functions = [f for f in vars(cls).values() if inspect.isfunction(f)]
        return repr([(f.__name__, f.__code__.co_code, f.__code__.co_consts) for f in functions])


def describe_error(error: BaseException) -> str:
    """An error in one line, with the file and the line of the code that raised it."""
    message = " ".join(str(error).split())
    name = type(error).__name__
    text = f"{name}: {message}" if message else name
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [frame for frame in frames if not _is_of_a_library(frame.filename)]
    if not user_frames:
        return text
    return f"{text} ({Path(user_frames[-1].filename).name}, line {user_frames[-1].lineno})"


def _is_of_a_library(filename: str) -> bool:
    package, library = Path(__file__).parents[1], Path(traceback.__file__).parent
    parents = Path(filename).parents
    is_inside = package in parents or library in parents or "site-packages" in Path(filename).parts
    return is_inside or filename.startswith("<frozen")
