"""Files of arrays: their headers are checked before memory is taken, and what is not asked for is
not unpacked."""

import io
import math
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pyg_graphadapter.storage.schema import Arrays, ContentError, StoredArray

if TYPE_CHECKING:
    from torch import Tensor

MAX_MEMBERS = 1000
MAX_HEADER = 10_000  # bytes of the header of one array; numpy's own limit
# Features are compressed to a half or a tenth. What unpacks to more than this is made to fill the
# memory:
MAX_RATIO = 100
FREE_BYTES = 64 * 2**20  # so much may be unpacked from a file of any size


def parse_npz(stream: BinaryIO, path: Path) -> Arrays:
    """The arrays of a ``.npz`` file."""
    size = stream.seek(0, 2)
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members):,} members, and at most {MAX_MEMBERS:,} are read")
    budget = _Budget(max(FREE_BYTES, MAX_RATIO * size))
    entries: dict[str, Any] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in entries:
            raise ValueError(f"it holds {name[:60]!r} twice")
        entries[name] = _Member(archive, member, budget)
    return _Unread(entries)


class _Budget:
    """How many bytes may still be unpacked."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes

    def take(self, num_bytes: int, name: str) -> None:
        if num_bytes > self.num_bytes:
            raise ValueError(
                f"{name[:60]!r} would unpack to {num_bytes:,} bytes, which is out of proportion to "
                f"the size of the file"
            )
        self.num_bytes -= num_bytes


class _Unread(Arrays):
    """Members of an archive, whose headers are read when they are asked for."""

    def __getitem__(self, name: str) -> StoredArray:
        member: _Member = super().__getitem__(name)
        return member.stored()


class _Member:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> None:
        self.archive, self.info, self.budget = archive, info, budget

    def stored(self) -> StoredArray:
        """Type and shape by the header, which may not promise more than the member holds."""
        import numpy as np

        with self.archive.open(self.info) as file:
            version = np.lib.format.read_magic(file)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise ValueError(f"{self.info.filename[:60]!r} has a header of a later version")
            shape, _, dtype = readers[version](file, max_header_size=MAX_HEADER)
            num_bytes = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ContentError("it holds pickled objects")
        if any(length < 0 for length in shape) or num_bytes > self.info.file_size:
            raise ValueError(
                f"{self.info.filename[:60]!r} says that it is {list(shape)}, and holds "
                f"{self.info.file_size:,} bytes"
            )
        # A type of strings may be wider than all that is stored of them:
        return StoredArray(dtype.kind, str(dtype), tuple(shape), partial(self._load, num_bytes))

    def _load(self, num_bytes: int) -> Any:
        import numpy as np

        self.budget.take(self.info.file_size, self.info.filename)
        with self.archive.open(self.info) as file:
            array = np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)
            if file.read(1):
                raise ValueError(f"{self.info.filename[:60]!r} holds more than its shape says")
        return _as_tensor_or_text(array)


def _as_tensor_or_text(array: Any) -> Any:
    """A tensor in the byte order of this machine, or a list of texts."""
    import numpy as np

    if array.dtype.kind == "U":
        return array.tolist()
    if array.dtype.kind == "S":
        return [text.decode() for text in array.tolist()]
    import torch

    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:  # of which torch knows little
        if native.size and int(native.max()) > np.iinfo(np.int64).max:
            raise ContentError("it holds whole numbers of more than 63 bits")
        native = native.astype(np.int64)
    return torch.from_numpy(native).reshape(array.shape)


def parse_safetensors(stream: BinaryIO, path: Path) -> Arrays:
    """The tensors of a ``.safetensors`` file, and the texts that describe it."""
    import safetensors
    import safetensors.torch

    if isinstance(stream, io.BytesIO):
        tensors = safetensors.torch.load(stream.getvalue())
        return Arrays({name: _stored(tensor) for name, tensor in tensors.items()})
    # The library compares the header with the size of the file when it opens it:
    file = safetensors.safe_open(path, framework="pt").__enter__()  # type: ignore[no-untyped-call]
    entries: dict[str, Any] = dict(file.metadata() or {})
    for name in file.keys():  # noqa: SIM118  # it is no dictionary
        part = file.get_slice(name)
        dtype = part.get_dtype()
        kind = {"B": "f" if dtype == "BF16" else "b", "U": "u"}.get(dtype[0], dtype[0].lower())
        entries[name] = StoredArray(
            kind, dtype, tuple(part.get_shape()), partial(file.get_tensor, name)
        )
    return Arrays(entries)


def _stored(tensor: "Tensor") -> StoredArray:
    kind = "f" if tensor.is_floating_point() else "i"
    return StoredArray(kind, str(tensor.dtype), tuple(tensor.shape), lambda: tensor)
