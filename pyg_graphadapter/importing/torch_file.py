"""Tensors in files of ``torch.save``, for the command ``data import`` alone.

Such a file is a pickle, which can run any code when it is read. With ``weights_only=True``, torch's
own unpickler makes tensors, lists, tables, texts and numbers, and calls nothing else. Versions of
torch before 2.10 had holes in it, so they are refused. It is read where a user names the file to be
imported, and nowhere else in this package.
"""

import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.importing.names import SPLIT_OF, words_of
from pyg_graphadapter.storage import Arrays, ContentError
from pyg_graphadapter.storage.schema import StoredArray

MAX_DEPTH, MAX_ARRAYS = 8, 1000
OLDEST = "2.10"  # of torch; its unpickler of weights had holes before


def parse_torch(stream: BinaryIO, path: Path) -> Arrays:
    """The tensors of a file: a single one under the name of the file, or those of tables and lists,
    also nested ones, by their keys with ``_`` between."""
    import torch

    if torch.torch_version.TorchVersion(torch.__version__) < OLDEST:
        raise ValueError(
            f"torch {torch.__version__} reads it with holes through which code can run: install "
            f"torch {OLDEST} or later, or save its content as .npz"
        )
    size = _checked_size(stream)
    try:
        content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:
        if "numpy" in str(error):
            raise ContentError(
                "it holds arrays of numpy, which torch reads only where it may run code: save them "
                "by numpy.savez, or as tensors (torch.from_numpy)"
            ) from error
        raise
    entries: dict[str, StoredArray] = {}
    num_values = 0
    for names, value in _leaves(_unwrapped(content), (), MAX_DEPTH, size):
        num_values += 1
        if num_values > size:  # a list may hold another many times, and that a third
            raise ContentError("it holds more values than bytes")
        name = "_".join(names) or path.stem
        stored = _stored_value(value, name)
        if stored is None:
            continue
        if name in entries:
            raise ContentError(f"it holds {name[:60]!r} twice")
        entries[name] = stored
        if len(entries) > MAX_ARRAYS:
            raise ValueError(f"it holds more than {MAX_ARRAYS:,} arrays")
    return Arrays(dict(entries))


def _checked_size(stream: BinaryIO) -> int:
    """The size of a file, of which no part is compressed, and none is there twice.

    Raises:
        ValueError: If its parts are larger than the file.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    if zipfile.is_zipfile(stream):
        num_bytes = sum(member.file_size for member in zipfile.ZipFile(stream).infolist())
        if num_bytes > size:
            raise ValueError(f"it would unpack to {num_bytes:,} bytes, and has {size:,}")
    stream.seek(0)
    return size


def _unwrapped(content: Any) -> Any:
    """The table inside tables that hold nothing else and whose key is no split."""
    for _ in range(MAX_DEPTH):
        [key] = content if isinstance(content, dict) and len(content) == 1 else [None]
        is_split = key is None or any(word in SPLIT_OF for word in words_of(str(key)))
        if is_split or not isinstance(content[key], dict):
            break
        content = content[key]
    return content


def _leaves(
    value: Any, names: tuple[str, ...], depth: int, size: int
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values in nested tables, and in lists of several arrays, with the names on the way."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple) and not _is_one_array(value, size):
        items = list(enumerate(value))
    else:
        yield names, value
        return
    if depth == 0:
        raise ContentError(f"it is nested more than {MAX_DEPTH} deep")
    for key, item in items:
        yield from _leaves(item, (*names, str(key)), depth - 1, size)


def _is_one_array(values: Sequence[Any], size: int) -> bool:
    """Whether a list has texts, numbers, or the rows of a matrix, all as long as the first.

    Raises:
        ContentError: If it has more numbers than the file has bytes: it has one row many times.
    """
    import torch

    num_numbers = sum(_num_numbers(value) for value in values)
    if num_numbers > size:
        raise ContentError(f"it holds a list of {num_numbers:,} numbers, and has {size:,} bytes")
    if not values or all(isinstance(value, str) for value in values):
        return True
    if all(isinstance(value, int | float) for value in values):
        return True
    if all(isinstance(value, torch.Tensor) for value in values):
        return len({value.shape for value in values}) == 1 and values[0].dim() < 2
    return all(
        isinstance(value, list | tuple)
        and len(value) == len(values[0])
        and all(isinstance(number, int | float) for number in value)
        for value in values
    )


def _num_numbers(value: Any) -> int:
    import torch

    if isinstance(value, torch.Tensor):
        return int(value.numel())
    return len(value) if isinstance(value, list | tuple) else 1


def _stored_value(value: Any, name: str) -> StoredArray | None:
    """An array, or nothing of a single text or of nothing."""
    import torch

    if isinstance(value, torch.Tensor):
        return _stored(value, name)
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        texts = list(value)
        return StoredArray("U", "text", (len(texts),), lambda: texts)
    if isinstance(value, list | tuple) and value and isinstance(value[0], torch.Tensor):
        return _stored(torch.stack(list(value)), name)
    if isinstance(value, list | tuple | int | float):
        return _stored(torch.tensor(value), name)
    return None


def _stored(tensor: Any, name: str) -> StoredArray:
    import torch

    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8,
              torch.int8, torch.int16, torch.int32, torch.int64)  # fmt: skip
    is_plain = tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_meta
    if not is_plain or tensor.dtype not in dtypes:
        raise ContentError(
            f"{name[:60]!r} is sparse, quantised or complex, or no plain array in another way"
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ContentError(f"{name[:60]!r} says that it is {list(tensor.shape)}, and holds less")
    kind = "f" if tensor.is_floating_point() else "b" if tensor.dtype == torch.bool else "i"
    dtype = str(tensor.dtype).removeprefix("torch.")
    return StoredArray(kind, dtype, tuple(tensor.shape), partial(tensor.detach))
