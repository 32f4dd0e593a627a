"""What a CUDA graph does, on the CPU: operations are noted, not run, and done again on the same
memory, with whatever Python numbers they were given. It refuses the usual ways of waiting for
values; others (`tolist`, `numpy`) it does not see."""

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
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def address(tensor):
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    """Notes operations; at the end, all memory is as it was."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.made = set()
        self.before = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.name().split(".")[0] in WAITS:
            raise RuntimeError(f"{func.name()} waits for the device")
        if func.name().startswith("aten::index") and any(
            each.dtype == torch.bool for each in tensors(args[1])
        ):
            raise RuntimeError(f"{func.name()} by truth values waits for the device")
        given = {address(each): each.untyped_storage() for each in tensors(args, kwargs)}
        for where, storage in given.items():
            if where not in self.made and where not in self.before:
                self.before[where] = storage, storage.clone()
        out = func(*args, **kwargs)
        self.made |= {address(each) for each in tensors(out)} - given.keys()
        self.calls.append((func, args, kwargs, tensors(out)))
        return out

    def restore(self):
        for storage, content in self.before.values():
            storage.copy_(content)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, noted in self.calls:
            for old, new in zip(noted, tensors(func(*args, **kwargs)), strict=True):
                if address(old) != address(new):
                    old.copy_(new)


def record(work):
    """In the place of :func:`pyg_graphadapter.training.training_step.cuda_graph`."""
    recorder = Recorder()
    try:
        with recorder:
            work()
    finally:
        recorder.restore()
    return recorder.replay
