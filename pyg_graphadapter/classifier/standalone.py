"""Classifies images with transformers, torch and safetensors alone.

Command:  python classify.py photo.jpg ...
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel
from transformers.image_utils import load_image

FOLDER = Path(__file__).parent


def load(folder: Path = FOLDER) -> tuple[Any, Any, dict[str, torch.Tensor], list[str]]:
    """The model, its image processor, the tensors of the classifier, and the class names."""
    settings = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    source = str(folder / "model") if settings["model"] is None else settings["model"]
    where = {"revision": settings["revision"]} if settings["revision"] else {}
    model = AutoModel.from_pretrained(source, dtype=getattr(torch, settings["dtype"]), **where)
    processor = AutoImageProcessor.from_pretrained(source, **where)  # type: ignore[no-untyped-call]
    with safe_open(folder / "classifier.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return model.eval(), processor, tensors, settings["class_names"]


@torch.inference_mode()
def classify(paths: list[str]) -> tuple[torch.Tensor, list[str]]:
    """The class probabilities of images ``[N, C]``, and the class names."""
    model, processor, tensors, class_names = load()
    inputs = processor(images=[load_image(path) for path in paths], return_tensors="pt")
    inputs = {name: x.to(model.dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    output = model.get_image_features(**inputs)
    features = normalize(getattr(output, "pooler_output", output).float(), dim=1)
    # The class weights stand in the place of text features:
    logits = tensors["logit_scale"] * features @ tensors["text_features"].T
    logits = logits + tensors["class_biases"]
    return (logits / tensors["temperature"]).softmax(dim=1), class_names


if __name__ == "__main__":
    probabilities, names = classify(sys.argv[1:])
    for path, row in zip(sys.argv[1:], probabilities, strict=True):
        name, probability = names[int(row.argmax())], float(row.max())
        sys.stdout.write(f"{path}\t{name}\t{probability:.4f}\n")
