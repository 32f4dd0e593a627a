"""Columns of Parquet and Arrow tables as arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.importing.arrow_sizes import unpacked_bytes
from pyg_graphadapter.storage import Arrays, ContentError
from pyg_graphadapter.storage.arrays import FREE_BYTES, MAX_RATIO
from pyg_graphadapter.storage.schema import StoredArray

FILE_MARK = b"ARROW1\0\0"
NUMBER_BYTES = 8  # of the widest


def parse_parquet(stream: BinaryIO, path: Path) -> Arrays:
    """The columns of a Parquet file, each of which is read when it is asked for."""
    import pyarrow.parquet as pq

    size = stream.seek(0, 2)
    schema = pq.read_schema(stream)
    # Many rows may repeat a long text that the file holds once:
    texts = [name for name in schema.names if _kind(schema.field(name).type) == "U"]
    file = pq.ParquetFile(stream, read_dictionary=texts)

    def read(name: str) -> Any:
        parts = [
            file.metadata.row_group(i).column(j)
            for i in range(file.metadata.num_row_groups)
            for j in range(file.metadata.num_columns)
        ]
        parts = [part for part in parts if f"{part.path_in_schema}.".startswith(f"{name}.")]
        stored = sum(part.total_uncompressed_size for part in parts)
        _check_size(max(stored, NUMBER_BYTES * sum(part.num_values for part in parts)), size)
        return file.read([name]).column(name)

    return _Columns(schema, file.metadata.num_rows, read)


def parse_arrow(stream: BinaryIO, path: Path) -> Arrays:
    """The columns of an Arrow file, Feather file or Arrow stream."""
    import pyarrow.ipc

    size = stream.seek(0, 2)
    stream.seek(0)
    # A file is a stream between two marks, which is read in this one way:
    start = len(FILE_MARK) if stream.read(len(FILE_MARK)) == FILE_MARK else 0
    stream.seek(start)
    _check_size(sum(map(unpacked_bytes, pyarrow.ipc.MessageReader.open_stream(stream))), size)
    stream.seek(start)
    table = pyarrow.ipc.open_stream(stream).read_all()
    return _Columns(table.schema, len(table), table.column)


def _check_size(num_bytes: int, size: int) -> None:
    if num_bytes > max(FREE_BYTES, MAX_RATIO * size):
        raise ValueError(
            f"its columns would unpack to {num_bytes:,} bytes, which is out of proportion to the "
            f"size of the file"
        )


class _Columns(Arrays):
    """The columns of a table; those that hold neither numbers, lists of them nor texts are left
    out."""

    def __init__(self, schema: Any, num_rows: int, read: Callable[[str], Any]) -> None:
        names = schema.names
        if len(set(names)) < len(names):
            raise ValueError("two of its columns have the same name")
        super().__init__({name: None for name in names if _kind(schema.field(name).type)})
        self._schema, self._num_rows, self._read = schema, num_rows, read

    def __getitem__(self, name: str) -> StoredArray:
        kind = self._schema.field(name).type
        shape = (self._num_rows, 1) if _is_list(kind) else (self._num_rows,)
        return StoredArray(_kind(kind), str(kind), shape, lambda: _load(self._read(name), name))


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
    if pa.types.is_boolean(kind):
        return "b"
    return "U" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else ""


def _load(column: Any, name: str) -> Any:
    import torch

    column.validate(full=True)  # places in buffers, which may lie outside of them
    empty = column.is_null().to_numpy()
    if empty.any():
        raise ContentError(f"the column {name!r} is empty in row {int(empty.argmax())}")
    if not _is_list(column.type):
        if _kind(column.type) == "U":
            return _texts(column)
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


def _texts(column: Any) -> list[str]:
    """The texts of a column. Those of a dictionary are made once, however often they occur."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        texts: list[str] = column.to_pylist()
        return texts
    chunks = [(chunk.dictionary.to_pylist(), chunk.indices.to_pylist()) for chunk in column.chunks]
    return [words[i] for words, indices in chunks for i in indices]
