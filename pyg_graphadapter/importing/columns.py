"""Columns of Parquet and Arrow tables as arrays."""

from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.storage import Arrays, ContentError
from pyg_graphadapter.storage.schema import StoredArray


def parse_parquet(stream: BinaryIO, path: Path) -> Arrays:
    """The columns of a Parquet file."""
    import pyarrow.parquet

    return _Columns(pyarrow.parquet.read_table(stream))


def parse_arrow(stream: BinaryIO, path: Path) -> Arrays:
    """The columns of an Arrow file, Feather file or Arrow stream."""
    import pyarrow.ipc

    start = stream.read(6)
    stream.seek(0)
    is_file = start == b"ARROW1"
    reader = pyarrow.ipc.open_file(stream) if is_file else pyarrow.ipc.open_stream(stream)
    return _Columns(reader.read_all())


class _Columns(Arrays):
    """The columns of a table; those that hold neither numbers, lists of them nor texts are left
    out."""

    def __init__(self, table: Any) -> None:
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError("two of its columns have the same name")
        super().__init__({name: None for name in names if _kind(table.schema.field(name).type)})
        self._table = table

    def __getitem__(self, name: str) -> StoredArray:
        column = self._table.column(name)
        kind = _kind(column.type)
        shape = (len(column), 1) if _is_list(column.type) else (len(column),)
        return StoredArray(kind, str(column.type), shape, partial(_load, column, name))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    is_list: bool = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return is_list


def _kind(kind: Any) -> str:
    """The kind of a column's values as numpy has it, or nothing."""
    import pyarrow as pa

    if _is_list(kind):
        return _kind(kind.value_type) if not _is_list(kind.value_type) else ""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_floating(kind):
        return "f"
    if pa.types.is_integer(kind):
        return "i"
    return "U" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else ""


def _load(column: Any, name: str) -> Any:
    import torch

    empty = column.is_null().to_numpy()
    if empty.any():
        raise ContentError(f"the column {name!r} is empty in row {int(empty.argmax())}")
    if not _is_list(column.type):
        if _kind(column.type) == "U":
            return column.to_pylist()
        return torch.from_numpy(column.to_numpy().copy())
    lists = column.combine_chunks()
    values = lists.flatten()
    lengths = {len(chunk) for chunk in lists[:1]} or {0}
    width = lengths.pop()
    lengths_of_all = lists.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths_of_all != width).any():
        row = int((lengths_of_all != width).argmax())
        raise ContentError(
            f"the column {name!r} has {int(lengths_of_all[row])} numbers in row {row}, and {width} "
            f"in row 0"
        )
    if values.null_count:
        raise ContentError(f"the column {name!r} has numbers that are missing")
    return torch.from_numpy(values.to_numpy(zero_copy_only=False).copy()).reshape(-1, width)
