"""The files that features are imported from, by suffix: each becomes arrays by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from pyg_graphadapter.importing.columns import parse_arrow, parse_parquet
from pyg_graphadapter.importing.torch_file import parse_torch
from pyg_graphadapter.storage import Arrays, FileKind, read
from pyg_graphadapter.storage.arrays import parse_npy, parse_npz, parse_safetensors

Reader: TypeAlias = Callable[[BinaryIO, Path], Arrays]
READERS: Mapping[str, Reader] = {
    ".npy": parse_npy,
    ".npz": parse_npz,
    ".safetensors": parse_safetensors,
    ".pt": parse_torch,
    ".pth": parse_torch,
    ".parquet": parse_parquet,
    ".arrow": parse_arrow,
    ".feather": parse_arrow,
}


FEATURE_SOURCE: FileKind[Any] = FileKind(
    "source of features",
    Any,
    "It is damaged or of another kind: write it again",
    suffixes=tuple(READERS),
    max_bytes=2**44,
    content_remedy="Save plain arrays, and import them",
)


class Header(NamedTuple):
    """The kind of the numbers of an array, as numpy has it, and its shape."""

    kind: str
    shape: list[int]


def read_headers(path: Path) -> dict[str, Header]:
    """The headers of the arrays of a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of another kind, or holds pickled objects.
    """

    def parse(stream: BinaryIO, path: Path) -> dict[str, Any]:
        arrays = READERS[path.suffix.lower()](stream, path)
        names = [name for name in arrays if arrays.description(name) is None]
        return {name: [arrays[name].kind, list(arrays[name].shape)] for name in names}

    headers = read(path, replace(FEATURE_SOURCE, parse=parse))
    return {name: Header(*header) for name, header in headers.items()}


def read_array(path: Path, name: str, schema: Any) -> Any:
    """One array of a file, which must be as a schema says.

    Raises:
        ValueError: As for :func:`read_headers`, or if it is not.
    """

    def parse(stream: BinaryIO, path: Path) -> dict[str, Any]:
        return {name: READERS[path.suffix.lower()](stream, path)[name]}

    return read(path, replace(FEATURE_SOURCE, parse=parse, schema=dict[str, schema]))[name]
