"""Imitates a CUDA graph on the CPU: operations are recorded, and replayed on the same memory with
the same Python numbers. Common ways to wait for values raise an error; `tolist` and `numpy` are not
detected."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = {
    "aten::_local_scalar_dense",  # .item(), float(), if
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::unique_dim",
    "aten::_unique2",
}


def tensors(*values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def address(tensor):
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    """Records operations; :meth:`restore` undoes their changes of memory."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.new_addresses = set()
        self.original_storages = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.name().split(".")[0] in WAITS:
            raise RuntimeError(f"{func.name()} waits for the device")
        if func.name().startswith("aten::index") and any(
            index.dtype == torch.bool for index in tensors(args[1])
        ):
            raise RuntimeError(f"{func.name()} with a mask waits for the device")
        inputs = {address(tensor): tensor.untyped_storage() for tensor in tensors(args, kwargs)}
        for input_address, storage in inputs.items():
            if input_address not in self.new_addresses | self.original_storages.keys():
                self.original_storages[input_address] = storage, storage.clone()
        out = func(*args, **kwargs)
        self.new_addresses |= {address(tensor) for tensor in tensors(out)} - inputs.keys()
        self.calls.append((func, args, kwargs, tensors(out)))
        return out

    def restore(self):
        for storage, content in self.original_storages.values():
            storage.copy_(content)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, outputs in self.calls:
            for old, new in zip(outputs, tensors(func(*args, **kwargs)), strict=True):
                if address(old) != address(new):
                    old.copy_(new)


def record(work):
    """Replaces :func:`pyg_graphadapter.training.training_step.cuda_graph`."""
    recorder = Recorder()
    try:
        with recorder:
            work()
    finally:
        recorder.restore()
    return recorder.replay
