"""Tensors in files of ``torch.save``, for the command ``data import`` alone.

Such a file is a pickle, which can run any code when it is read. With ``weights_only=True``, torch's
own unpickler makes tensors, lists, tables, texts and numbers, and calls nothing else. Versions of
torch before 2.10 had holes in it, so they are refused. It is read where a user names the file to be
imported, and nowhere else in this package.
"""

from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.storage import Arrays, ContentError
from pyg_graphadapter.storage.schema import StoredArray

OLDEST = "2.10"  # of torch; its unpickler of weights had holes before


def parse_torch(stream: BinaryIO, path: Path) -> Arrays:
    """The tensors of a file: a single one under the name of the file, or those of tables and lists
    by their keys."""
    import torch

    if torch.torch_version.TorchVersion(torch.__version__) < OLDEST:
        raise ValueError(
            f"torch {torch.__version__} reads it with holes through which code can run: install "
            f"torch {OLDEST} or later, or save its content as .npz"
        )
    content = torch.load(stream, map_location="cpu", weights_only=True)
    return Arrays(dict(_entries(content, path.stem)))


def _entries(content: Any, name: str) -> list[tuple[str, Any]]:
    import torch

    if isinstance(content, torch.Tensor):
        return [(name, _stored(content, name))]
    if isinstance(content, list | tuple) and content and all(isinstance(t, str) for t in content):
        texts = list(content)
        return [(name, StoredArray("U", "text", (len(texts),), lambda: texts))]
    if isinstance(content, list | tuple):
        content = {str(i): value for i, value in enumerate(content)}
    if not isinstance(content, dict):
        return []
    return [
        entry
        for key, value in content.items()
        if isinstance(key, str) and not isinstance(value, dict)
        for entry in _entries_of_value(value, key)
    ]


def _entries_of_value(value: Any, key: str) -> list[tuple[str, Any]]:
    import torch

    is_list_of_lists = isinstance(value, list | tuple) and not all(
        isinstance(t, str) for t in value
    )
    if is_list_of_lists and all(isinstance(t, int | float) for t in value):
        value = torch.tensor(value)
    elif is_list_of_lists:
        return []
    return _entries(value, key)


def _stored(tensor: Any, name: str) -> StoredArray:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise ContentError(f"{name!r} is sparse, quantised or complex")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ContentError(f"{name!r} says that it is {list(tensor.shape)}, and holds less")
    kind = "f" if tensor.is_floating_point() else "b" if tensor.dtype == torch.bool else "i"
    dtype = str(tensor.dtype).removeprefix("torch.")
    return StoredArray(kind, dtype, tuple(tensor.shape), partial(tensor.detach))
