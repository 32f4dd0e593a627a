import pytest
import torch

from pyg_graphadapter.device import resolve_device


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("cudda", "xpu", "cuda:99"):
        with pytest.raises(ValueError, match=f"There is no device '{name}' here"):
            resolve_device(name)


def test_cuda_devices_beyond_the_last_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="1 CUDA devices"):
        resolve_device("cuda:1")
