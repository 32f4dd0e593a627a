"""Files of arrays: their headers are checked before memory is taken, and what is not asked for is
not unpacked."""

import io
import math
import mmap
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
        with self.archive.open(self.info) as file:
            shape, _, dtype = _header(file, self.info.filename, self.info.file_size)
            num_bytes = math.prod(shape) * dtype.itemsize
        # A type of strings may be wider than all that is stored of them:
        load = partial(self._load, num_bytes)
        return StoredArray(_kind(dtype), str(dtype), tuple(shape), load)

    def _load(self, num_bytes: int) -> Any:
        import numpy as np

        self.budget.take(self.info.file_size, self.info.filename)
        with self.archive.open(self.info) as file:
            array = np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)
            if file.read(1):
                raise ValueError(f"{self.info.filename[:60]!r} holds more than its shape says")
        return _as_tensor_or_text(array)


def _header(file: Any, name: str, size: int) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, order and type of an array, which may not be more than there are bytes."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"{name[:60]!r} has a header of a later version")
    shape, is_fortran, dtype = readers[version](file, max_header_size=MAX_HEADER)
    if dtype.hasobject:
        raise ContentError("it holds pickled objects")
    if not dtype.itemsize:
        raise ValueError(f"{name[:60]!r} says that its entries have no bytes")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name[:60]!r} says that it is {list(shape)}, and holds {size:,} bytes")
    return shape, is_fortran, dtype


def _kind(dtype: Any) -> str:
    """The kind of numbers; ``bfloat16``, which numpy does not know, is stored as two raw bytes."""
    return "f" if dtype.str[1:] == "V2" and dtype.names is None else str(dtype.kind)


def parse_npy(stream: BinaryIO, path: Path) -> Arrays:
    """The array of a ``.npy`` file, under the name of the file, mapped into memory."""
    import numpy as np

    size = stream.seek(0, 2)
    stream.seek(0)
    shape, is_fortran, dtype = _header(stream, path.name, size)
    start, count = stream.tell(), math.prod(shape)
    if size != start + count * dtype.itemsize:
        raise ValueError(
            f"it has {size:,} bytes, and {start + count * dtype.itemsize:,} by its shape"
        )
    content: Any
    if not count:
        array = np.empty(0, dtype)
    elif isinstance(stream, io.BytesIO):
        content = bytearray(stream.read())
        array = np.frombuffer(content, dtype, count)
    else:  # pages that are written to, which none are here, would be copied
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        array = np.frombuffer(content, dtype, count, start)
    array = array.reshape(shape, order="F" if is_fortran else "C")
    load = partial(_as_tensor_or_text, array)
    return Arrays({path.stem: StoredArray(_kind(dtype), str(dtype), tuple(shape), load)})


def _as_tensor_or_text(array: Any) -> Any:
    """A tensor in the byte order of this machine, or a list of texts."""
    import numpy as np

    if array.dtype.kind == "U":
        return array.tolist()
    if array.dtype.kind == "S":
        return [text.decode() for text in array.tolist()]
    import torch

    if array.dtype.str[1:] == "V2":
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int16)).view(torch.bfloat16)
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
    names = file.keys()
    if len(names) + len(entries) > MAX_MEMBERS:
        raise ValueError(f"it has more than {MAX_MEMBERS:,} members")
    for name in names:
        part = file.get_slice(name)
        dtype = part.get_dtype()
        kinds = {"F16": "f", "BF16": "f", "F32": "f", "F64": "f", "BOOL": "b"}
        kind = kinds.get(dtype, dtype[0].lower() if dtype[0] in "IU" else "V")
        entries[name] = StoredArray(
            kind, dtype, tuple(part.get_shape()), partial(file.get_tensor, name)
        )
    return Arrays(entries)


def _stored(tensor: "Tensor") -> StoredArray:
    kind = "f" if tensor.is_floating_point() else "i"
    return StoredArray(kind, str(tensor.dtype), tuple(tensor.shape), lambda: tensor)
