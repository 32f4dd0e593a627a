"""Schemas: what a file must hold, declared as types with bounds, and checked before use."""

import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

MAX_DEPTH = 32  # of values whose schema is Any
LARGEST_INTEGER = 2**63 - 1
MAX_SHOWN = 60  # characters of a value in a sentence
MAX_EMPTY = 2**20  # rows of an array without columns, of which a file may promise any number


class ContentError(ValueError):
    """A file is whole, and its content is not what it must be."""


class SchemaError(ContentError):
    """Content that is not what its schema declares: where, what is wanted, what came."""

    def __init__(self, where: str, wanted: str, value: Any) -> None:
        super().__init__(f"{where or 'its content'} must be {wanted} (got {shown(value)})")


class Constraint:
    """What a value must be beyond its type; it stands in ``Annotated[type, constraint]``."""

    wanted: str  # in words

    def holds(self, value: Any) -> bool:
        """Whether a value of the right type is as it must be."""
        raise NotImplementedError


@dataclass(frozen=True)
class Within(Constraint):
    """A number between two bounds, both included."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """The bounds in words."""
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"

    def holds(self, value: Any) -> bool:
        """Whether a number is within the bounds."""
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Length(Constraint):
    """A text, list or table of a bounded length."""

    low: int = 0
    high: float = math.inf

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """The bounds in words."""
        if self.high in (math.inf, self.low):
            return f"{'at least ' if self.high == math.inf else ''}{self.low} long"
        return f"at most {self.high:,} long" if not self.low else f"{self.low} to {self.high} long"

    def holds(self, value: Any) -> bool:
        """Whether a value is so long."""
        return self.low <= len(value) <= self.high


@dataclass(frozen=True)
class OneOf(Constraint):
    """One of some values."""

    choices: tuple[Any, ...]

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """The choices in words."""
        return f"one of {', '.join(map(repr, self.choices))}"

    def holds(self, value: Any) -> bool:
        """Whether a value is among them."""
        return value in self.choices


@dataclass(frozen=True)
class Array:
    """An array in a file of arrays; it stands in ``Annotated[Any, Array(…)]``. Type and shape are
    checked before any memory is taken, and the value is loaded then.

    Args:
        kinds (str): The kinds of numbers, as ``"fiu"``: floating-point, integer, unsigned; ``"U"``
            is text.
        dims (tuple of int): The permitted numbers of dimensions.
    """

    kinds: str
    dims: tuple[int, ...]

    @property
    def wanted(self) -> str:
        """Type and shape in words."""
        names = {"f": "numbers", "i": "whole numbers", "U": "text"}
        kinds = " or ".join(names[kind] for kind in self.kinds if kind in names)
        dims = (
            "1 dimension" if self.dims == (1,) else f"{' or '.join(map(str, self.dims))} dimensions"
        )
        return f"an array of {kinds} with {dims}"


class StoredArray:
    """An array that has not been loaded yet: its type and shape are known from the file's header.

    Args:
        kind (str): The kind of its numbers, as in numpy's ``dtype.kind``.
        dtype (str): The type as the file names it.
        shape (tuple of int): Its shape.
        load (callable): Reads it.
    """

    def __init__(self, kind: str, dtype: str, shape: tuple[int, ...], load: Any) -> None:
        self.kind, self.dtype, self.shape, self.load = kind, dtype, shape, load

    def __repr__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class Arrays(Mapping[str, Any]):
    """The arrays of a file by name, none of them loaded yet, and texts that describe the file."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def description(self, name: str) -> str | None:
        """The text of this name, if it is one that describes the file and no array."""
        entry = self._entries[name]
        return entry if isinstance(entry, str) else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def shown(value: Any) -> str:
    """A received value as a sentence shows it, which is short whatever it is."""
    if isinstance(value, Mapping):
        return f"a table of {len(value)} entries"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a list of {len(value)} entries"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**30:
        return f"a whole number of {len(hex(value)) * 1.2:.0f} digits"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def checked(value: Any, kind: Any, where: str = "") -> Any:
    """A value as its schema has it: tables become dataclasses and lists become tuples.

    Args:
        value (any): The content of a file: tables, lists, texts, numbers, and arrays.
        kind (any): The schema: a dataclass, ``str``, ``int``, ``float``, ``bool``, :obj:`None`,
            ``tuple[…]``, ``dict[str, …]``, a union or a ``Literal`` of them, ``Any`` for plain
            values of bounded depth, :class:`Arrays` for any arrays, and ``Annotated`` with
            constraints. Numbers are finite.
        where (str, optional): The place of the value in the file. (default: :obj:`""`)

    Raises:
        SchemaError: If it is not, naming the place, what is wanted and what was received.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(value, arguments[0], arguments[1:], where)
    if kind is Arrays:
        if not isinstance(value, Arrays):
            raise SchemaError(where, "a file of arrays", value)
        return value
    if kind is Any:
        return _plain(value, where, MAX_DEPTH)
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise SchemaError(where, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin is tuple:
        return _tuple(value, arguments, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise SchemaError(where, "a table", value)
        return {key: checked(item, arguments[1], _at(where, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, where)
    return _scalar(value, kind, where)


def _annotated(value: Any, kind: Any, constraints: tuple[Any, ...], where: str) -> Any:
    for constraint in constraints:
        if isinstance(constraint, Array):
            return _array(value, constraint, where)
    value = checked(value, kind, where)
    for constraint in constraints:
        if value is not None and not constraint.holds(value):
            raise SchemaError(where, constraint.wanted, value)
    return value


def _array(value: Any, array: Array, where: str) -> Any:
    is_array = isinstance(value, StoredArray)
    if not is_array or value.kind not in array.kinds or len(value.shape) not in array.dims:
        raise SchemaError(where, array.wanted, value)
    if not math.prod(value.shape) and max(value.shape) > MAX_EMPTY:
        raise SchemaError(where, "an array with entries", value)
    return value.load()


def _plain(value: Any, where: str, depth: int) -> Any:
    """A plain value of any kind, if it is not nested too deeply and its numbers are finite."""
    if depth == 0:
        raise SchemaError(where, f"nested at most {MAX_DEPTH} deep", value)
    if isinstance(value, dict):
        return {key: _plain(item, _at(where, key), depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", depth - 1) for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool):
        return value
    return _scalar(value, int if isinstance(value, int) else float, where)


def _one_of(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return checked(value, kinds[0], where)
    for kind in kinds:
        try:
            return checked(value, kind, where)
        except SchemaError:
            continue
    raise SchemaError(where, " or ".join(_name(kind) for kind in kinds), value)


def _tuple(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise SchemaError(where, "a list", value)
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(checked(item, kinds[0], f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(kinds):
        raise SchemaError(where, f"a list of {len(kinds)}", value)
    return tuple(
        checked(item, kind, f"{where}[{i}]")
        for i, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _dataclass(value: Any, kind: Any, where: str) -> Any:
    """Builds a dataclass from a table. Entries that are no fields are left out."""
    if not isinstance(value, Mapping):
        raise SchemaError(where, "a table", value)
    hints, values = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            values[field.name] = checked(
                value[field.name], hints[field.name], _at(where, field.name)
            )
        elif field.default is MISSING and field.default_factory is MISSING:
            listing = ", ".join(map(repr, list(value)[:12])) or "nothing"
            raise SchemaError(where, f"a table with the entry {field.name!r}", _Words(listing))
    return kind(**values)


class _Words(str):
    """What was received, in words."""

    def __repr__(self) -> str:
        return str(self)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is float and type(value) in (int, float):
        if abs(value) <= 1e308:  # false for NaN and infinity, too
            return float(value)
        raise SchemaError(where, "a finite number", value)
    if type(value) is not kind:
        raise SchemaError(where, _name(kind), value)
    if kind is int and abs(value) > LARGEST_INTEGER:
        raise SchemaError(where, "a whole number of at most 64 bits", value)
    return value


def _name(kind: Any) -> str:
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        types.NoneType: "null",
    }
    if get_origin(kind) is Annotated:
        first, *notes = get_args(kind)
        arrays = [note.wanted for note in notes if isinstance(note, Array)]
        return arrays[0] if arrays else _name(first)
    if get_origin(kind) in (tuple, dict) or dataclasses.is_dataclass(kind):
        return "a list" if get_origin(kind) is tuple else "a table"
    return names.get(kind, str(kind))


def _at(where: str, key: Any) -> str:
    """The place of an entry of a table."""
    return f"{where}.{key}" if where else repr(key)
