"""Where to compute."""

import torch


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
