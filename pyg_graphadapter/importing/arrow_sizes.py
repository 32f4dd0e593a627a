"""What the compressed buffers of an Arrow file say that they unpack to, from its headers.

pyarrow unpacks them as it reads them, and its interface does not say to how many bytes. The headers
are tables of FlatBuffers, as `Arrow's format <https://arrow.apache.org/docs/format/Columnar.html>`_
has them: a message holds a batch of rows or a dictionary, which holds one, and that has buffers.
"""

import struct
from collections.abc import Iterator
from typing import Any

HEADER_TYPE, HEADER = 1, 2  # fields of a message
DICTIONARY, ROWS = 2, 3  # types of its header
DATA = 1  # field of a dictionary
BUFFERS, COMPRESSION = 2, 3  # fields of a batch of rows
BUFFER = struct.Struct("<qq")  # offset and length in the body of the message


def unpacked_bytes(message: Any) -> int:
    """How many bytes the buffers of a message (``pyarrow.ipc.Message``) unpack to."""
    header, body = memoryview(message.metadata), memoryview(message.body or b"")
    root = _number(header, 0, "<I")
    kind = _field(header, root, HEADER_TYPE)
    batch = _table(header, root, HEADER)
    if kind is None or batch is None or header[kind] not in (DICTIONARY, ROWS):
        return 0
    if header[kind] == DICTIONARY:
        batch = _table(header, batch, DATA)
    if batch is None:
        return 0
    is_compressed = _field(header, batch, COMPRESSION) is not None
    total = 0
    for start, length in _buffers(header, batch):
        # The first eight bytes say the size of what follows, and -1 that it is not compressed:
        size = _number(body, start, "<q") if is_compressed and length else length
        total += length if size == -1 else max(size, 0)
    return total


def _buffers(header: memoryview, batch: int) -> Iterator[tuple[int, int]]:
    place = _table(header, batch, BUFFERS)
    if place is None:
        return
    count = _number(header, place, "<I")
    yield from BUFFER.iter_unpack(header[place + 4 : place + 4 + count * BUFFER.size])


def _table(header: memoryview, table: int, field: int) -> int | None:
    """The place of a table or list in a field of a table."""
    place = _field(header, table, field)
    return None if place is None else place + _number(header, place, "<I")


def _field(header: memoryview, table: int, field: int) -> int | None:
    """The place of a field of a table; :obj:`None` if it has none."""
    fields = table - _number(header, table, "<i")
    entry = 4 + 2 * field
    if entry >= _number(header, fields, "<H"):
        return None
    offset = _number(header, fields + entry, "<H")
    return table + offset if offset else None


def _number(content: memoryview, place: int, form: str) -> int:
    number: int = struct.unpack_from(form, content, place)[0]
    return number
