"""Arrays in HDF5 files, whose headers are checked before memory is taken.

What a file does not hold itself is not read: links to other files, data in other files, and arrays
that are composed of others. An array may be no larger than what its own bytes can unpack to.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.optional import require
from pyg_graphadapter.storage import Arrays, ContentError
from pyg_graphadapter.storage.arrays import FREE_BYTES, MAX_MEMBERS, MAX_RATIO
from pyg_graphadapter.storage.schema import StoredArray

MAX_DEPTH = 8  # of groups
AT_ONCE = MAX_RATIO  # texts, each as long as the file at most; that is known once they are read


def parse_h5(stream: BinaryIO, path: Path) -> Arrays:
    """The arrays of an HDF5 file, those in groups with ``/`` in their names.

    Raises:
        MissingPackageError: If h5py is not installed.
    """
    h5py = require("h5py")
    # It stays open as long as an array can be asked for:
    file = h5py.File(stream, "r")
    return Arrays(dict(_arrays(file, "", MAX_DEPTH, [MAX_MEMBERS])))


def _arrays(group: Any, prefix: str, depth: int, left: list[int]) -> Iterator[tuple[str, Any]]:
    import h5py

    if depth == 0:
        raise ContentError(f"its groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"it has more than {MAX_MEMBERS:,} members")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue  # to another place, which may be another file
        member, key = group[name], f"{prefix}{name}"
        if isinstance(member, h5py.Group):
            yield from _arrays(member, f"{key}/", depth - 1, left)
        elif isinstance(member, h5py.Dataset):
            stored = _stored(member, key)
            if stored is not None:
                yield key, stored


def _stored(array: Any, name: str) -> StoredArray | None:
    """An array of numbers or texts by its header; nothing of one of another type."""
    import h5py

    text = h5py.check_string_dtype(array.dtype)
    if array.shape is None or (array.dtype.kind not in "fiub" and text is None):
        return None
    if array.is_virtual or array.external:
        raise ContentError(f"{name[:60]!r} lies in other files: copy it into one")
    is_variable = text is not None and text.length is None
    itemsize = 16 if is_variable else array.dtype.itemsize  # of a reference to a text
    num_bytes = math.prod(array.shape) * itemsize
    # Its parts may be the same bytes of the file:
    stored = min(array.id.get_storage_size(), array.file.id.get_filesize())
    if num_bytes > max(FREE_BYTES, MAX_RATIO * stored):
        raise ValueError(
            f"{name[:60]!r} says that it is {list(array.shape)}, and holds {stored:,} bytes"
        )
    kind = "U" if text is not None else str(array.dtype.kind)
    load = partial(_load_texts if text is not None else _load, array)
    return StoredArray(kind, str(array.dtype), tuple(array.shape), load)


def _load(array: Any) -> Any:
    import numpy as np
    import torch

    values = array[()]
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if values.dtype.kind == "u" and values.dtype.itemsize > 1:  # of which torch knows little
        if values.size and int(values.max()) > np.iinfo(np.int64).max:
            raise ContentError("it holds whole numbers of more than 63 bits")
        values = values.astype(np.int64)
    return torch.from_numpy(np.array(values)).reshape(array.shape)


def _load_texts(array: Any) -> list[str]:
    """Texts, of which many may refer to the same bytes of the file."""
    budget = max(FREE_BYTES, MAX_RATIO * array.file.id.get_filesize())
    texts: list[str] = []
    for start in range(0, array.shape[0], AT_ONCE):
        more = array.asstr()[start : start + AT_ONCE].tolist()
        budget -= sum(map(len, more))
        if budget < 0:
            raise ValueError("its texts are out of proportion to the size of the file")
        texts += more
    return texts
