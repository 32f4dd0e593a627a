"""Where to compute."""

from collections.abc import Mapping
from typing import Any

import torch

# As torch.cpu.get_capabilities names the instructions: the first two on x86, the last two on ARM.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        ValueError: If there is no such device here, listing those that there are.
    """
    kinds = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    here = [kind for kind, is_here in kinds.items() if is_here]
    if name == "auto":
        return torch.device("cuda" if "cuda" in here else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in here:
        raise ValueError(f"There is no device {name!r} here. Choose from auto, {', '.join(here)}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"There is no device {name!r} here: {torch.cuda.device_count()} CUDA devices."
        )
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; GPUs are taken to have them. A processor
    without them is several times slower in bfloat16 than in float32."""
    if device.type != "cpu":
        return True
    # PyTorch 2.10 does not list the instructions of a processor:
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
