"""Settings of the papers, by method, data set and number of shots."""

from collections.abc import Callable
from typing import Any

from pyg_graphadapter.settings import unknown

Settings = tuple[dict[str, Any], dict[str, Any]]  # of the method, and of its training

# Tip-Adapter's initial weights of the cache:
TIP_ALPHA = {
    "imagenet": 1.17, "food101": 1.17, "oxford_pets": 1.17, "sun397": 1.17,
    "dtd": 2.0, "eurosat": 2.0,
    "caltech101": 3.0, "stanford_cars": 3.0, "ucf101": 3.0,
    "fgvc_aircraft": 5.0, "oxford_flowers": 10.0,
}  # fmt: skip
COOP_EPOCHS = {1: 50, 2: 100, 4: 100, 8: 200, 16: 200}


def paper(method: str, dataset: str, shots: int) -> Settings:
    """What the paper of a method prescribes; what the paper searches for is selected.

    - GraphAdapter: alpha 0.6, beta 0.7, no whitening, Adam, 1e-3, 100 epochs.
    - CoOp: 16 random context vectors, in the units of CLIP; 50, 100, 100, 200 and 200 epochs at 1,
      2, 4, 8 and 16 shots, 50 on ImageNet.
    - TaskRes: scale 0.5 (Flowers 1.0), learning rate 2e-3 (ImageNet 2e-4), 100 epochs at 1 to 4
      shots and 200 above.
    - CLIP-Adapter: ratio 0.2, 200 epochs.
    - Tip-Adapter: beta 1 and one alpha per data set; Tip-Adapter-F: the same, 20 epochs, 100 on
      EuroSAT.
    - APE and APE-T: 500 of 1024 channels, 800 on ImageNet; APE-T: 20 epochs.

    Args:
        method (str): The method's name.
        dataset (str): The benchmark's name, or any other name, for the general settings.
        shots (int): The number of images per class.
    """
    few = shots <= 4
    if method == "graph_adapter":
        settings = {"alpha": 0.6, "beta": 0.7, "nodes": "texts", "whitening": 0.0}
        return settings, {"epochs": 100, "temperature": 1.0}
    if method == "coop":
        nearest = max((count for count in COOP_EPOCHS if count <= shots), default=1)
        epochs = 50 if dataset == "imagenet" else COOP_EPOCHS[nearest]
        return {"context_length": 16, "vector_scale": 1.0}, {"epochs": epochs}
    if method == "task_res":
        scale = 1.0 if dataset == "oxford_flowers" else 0.5
        lr = 2e-4 if dataset == "imagenet" else 2e-3
        return {"scale": scale}, {"lr": lr, "epochs": 100 if few else 200}
    if method == "clip_adapter":
        return {"ratio": 0.2}, {"epochs": 200}
    if method in ("tip_adapter", "tip_adapter_f"):
        settings = {"alpha": TIP_ALPHA.get(dataset, 1.17), "beta": 1.0}
        tuned = method == "tip_adapter_f"
        return settings, {"epochs": 100 if dataset == "eurosat" else 20} if tuned else {}
    if method in ("ape", "ape_t"):
        channels = (800 if dataset == "imagenet" else 500) / 1024
        return {"channels": channels}, {"epochs": 20} if method == "ape_t" else {}
    return {}, {}


PRESETS: dict[str, Callable[[str, str, int], Settings]] = {"paper": paper}


def preset_of(preset: str | None, method: str, dataset: str, shots: int) -> Settings:
    """The settings of a preset; without a preset, none.

    Raises:
        ValueError: If there is no such preset, listing those that there are.
    """
    if preset is None:
        return {}, {}
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    return PRESETS[preset](method, dataset, shots)
