"""Reads files from outside: whatever is wrong with one is said in one sentence with its name."""

import csv
import io
import json
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

from pyg_graphadapter.storage.arrays import parse_npy, parse_npz, parse_safetensors
from pyg_graphadapter.storage.schema import ContentError, checked
from pyg_graphadapter.suggestions import path_suggestion

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Parser: TypeAlias = Callable[[BinaryIO, Path], Any]
MEGABYTE = 2**20
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")


@dataclass(frozen=True)
class FileKind(Generic[T_co]):
    """A kind of file that is read: what it is called, what it must hold, and how large it may be.

    Args:
        noun (str): What sentences call it, as ``"result file"``.
        schema (any): What it holds (:func:`~pyg_graphadapter.storage.schema.checked`).
        remedy (str): What a user does about a file that cannot be read.
        formats (tuple of str): The values of its entry ``format`` that can be read, the present
            one last. (default: :obj:`()`, which means that it has no such entry)
        suffixes (tuple of str): The suffixes that it may have; any, if none is given.
            (default: :obj:`()`)
        parse (callable, optional): Reads an open file; if not given, the suffix says how.
            (default: :obj:`None`)
        max_bytes (int): The largest size. (default: 64 MB)
        content_remedy (str, optional): What a user does about a whole file with other content, if
            that differs from :obj:`remedy`. (default: :obj:`None`)
    """

    noun: str
    schema: Any
    remedy: str
    formats: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    parse: Parser | None = None
    max_bytes: int = 64 * MEGABYTE
    content_remedy: str | None = None

    def error(self, path: Path, reason: object) -> ValueError:
        """The sentence about a file that cannot be read, or that holds something else."""
        words = " ".join(str(reason).split()).rstrip(".")
        if isinstance(reason, ContentError) and self.content_remedy is not None:
            return ValueError(
                f"{path} is not as a {self.noun} must be: {words}. {self.content_remedy}."
            )
        return ValueError(f"{path} cannot be read as a {self.noun}: {words}. {self.remedy}.")


def read(path: str | Path, kind: FileKind[T]) -> T:
    """Reads a file, and checks its content against the schema of its kind.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, too large, of another format, no regular file, or does not
            hold what it should: one sentence with its name.
    """
    path = Path(path)
    _check_suffix(path, kind)
    with _opened(path, kind) as stream:
        return _parsed(stream, path, kind)


def read_content(path: str | Path, kind: FileKind[Any]) -> bytes:
    """The bytes of a file, for a checksum before :func:`parsed`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large or no regular file.
    """
    path = Path(path)
    _check_suffix(path, kind)
    with _opened(path, kind) as stream:
        return stream.read()


def parsed(content: bytes, path: str | Path, kind: FileKind[T]) -> T:
    """What the bytes of a file hold.

    Raises:
        ValueError: As :func:`read` does.
    """
    return _parsed(io.BytesIO(content), Path(path), kind)


def _parsed(stream: BinaryIO, path: Path, kind: FileKind[T]) -> T:
    try:
        parse = kind.parse or PARSERS[path.suffix.lower()]
        content = parse(stream, path)
        if kind.formats:
            _check_format(content, kind)
        result: T = checked(content, kind.schema)
    # Parsers of damaged files raise errors of a dozen kinds, the lack of memory among them:
    except Exception as error:
        raise kind.error(path, _reason(error)) from error
    return result


def _reason(error: Exception) -> str | ContentError:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start})"
    if "pickle" in str(error).lower():
        words = (
            "it holds pickled objects, which can run any code when they are read; save plain "
            "arrays instead"
        )
        return ContentError(words) if isinstance(error, ContentError) else words
    if isinstance(error, ContentError):
        return error
    return str(error) or type(error).__name__


def _check_suffix(path: Path, kind: FileKind[Any]) -> None:
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES and suffix not in kind.suffixes:
        instead = f" as {' or '.join(kind.suffixes)}" if kind.suffixes else ""
        raise ValueError(
            f"{path} is a pickle, which can run any code when it is read: save its content"
            f"{instead} instead."
        )
    if kind.suffixes and suffix not in kind.suffixes:
        raise ValueError(
            f"{path} is no {kind.noun}, whose name ends with {' or '.join(kind.suffixes)}."
        )


def _check_format(content: Any, kind: FileKind[Any]) -> None:
    name = content.get("format") if isinstance(content, Mapping) else None
    if name in kind.formats:
        return
    if name is None:
        raise ValueError(f"it has no entry 'format', which says {kind.formats[-1]!r} in such files")
    raise ValueError(
        f"its format is {str(name)[:60]!r}, and this version knows {', '.join(kind.formats)} (a "
        f"later version of this package may know it)"
    )


@contextmanager
def _opened(path: Path, kind: FileKind[Any]) -> Iterator[BinaryIO]:
    """A regular file of a permitted size, open; nothing else is opened, so that nothing hangs."""
    try:
        stream = open_regular(path, kind.max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"There is no {kind.noun} {path}: check the path.{path_suggestion(path)}"
        ) from None
    except (OSError, ValueError) as error:  # a ValueError where the path holds a null byte
        raise kind.error(path, getattr(error, "strerror", None) or error) from error
    with stream:
        yield stream


def open_regular(path: str | Path, max_bytes: int) -> BinaryIO:
    """Opens a regular file of a permitted size; nothing else is waited for.

    Raises:
        OSError: If it cannot be read, is no regular file, or is larger.
        ValueError: If its path holds a null byte.
    """
    # Without O_NONBLOCK, opening a pipe waits for whoever writes to it:
    flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY", "O_NOCTTY"))
    descriptor = os.open(path, os.O_RDONLY | sum(flags))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is a folder, a pipe or a device, and no file", str(path))
        if status.st_size > max_bytes:
            reason = f"it has {status.st_size:,} bytes, and at most {max_bytes:,} are read"
            raise OSError(0, reason, str(path))
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


# Parsers ##############################################################################


def parse_text(stream: BinaryIO, path: Path) -> str:
    """UTF-8 text, with or without a byte order mark."""
    return stream.read().decode("utf-8-sig")


def parse_lines(stream: BinaryIO, path: Path) -> list[str]:
    """The lines of a text without blanks around them; empty ones are left out."""
    return [line.strip() for line in parse_text(stream, path).splitlines() if line.strip()]


def parse_json(stream: BinaryIO, path: Path) -> Any:
    """A JSON document; no table may have an entry twice."""
    return json.loads(parse_text(stream, path), object_pairs_hook=_table)


def parse_json_lines(stream: BinaryIO, path: Path) -> list[Any]:
    """One JSON document per line; other line separators may stand in its texts."""
    lines = parse_text(stream, path).split("\n")
    return [json.loads(line, object_pairs_hook=_table) for line in lines if line.strip()]


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        [(twice, _)] = counts.most_common(1)
        raise ValueError(f"the entry {twice[:60]!r} is there twice")
    return table


def parse_toml(stream: BinaryIO, path: Path) -> Any:
    """A TOML document."""
    return tomllib.loads(parse_text(stream, path))


def parse_csv(stream: BinaryIO, path: Path) -> list[dict[str, str]]:
    """A table with a header; all cells are text."""
    rows = csv.reader(io.StringIO(parse_text(stream, path), newline=""), strict=True)
    header = next(rows, None)
    if not header:
        raise ValueError("it is empty")
    if len(set(header)) < len(header):
        raise ValueError("two of its columns have the same name")
    table = []
    for row in rows:
        if not row:  # an empty line
            continue
        if len(row) != len(header):
            raise ValueError(
                f"line {rows.line_num} has {len(row)} cells, and the header has {len(header)}"
            )
        table.append(dict(zip(header, row, strict=True)))
    return table


PARSERS: Mapping[str, Parser] = {
    ".json": parse_json,
    ".jsonl": parse_json_lines,
    ".toml": parse_toml,
    ".csv": parse_csv,
    ".txt": parse_lines,
    ".npy": parse_npy,
    ".npz": parse_npz,
    ".safetensors": parse_safetensors,
}
