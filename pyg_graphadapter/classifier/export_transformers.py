"""A classifier of images as a folder for transformers: its class weights as text features, its
model or the name of it, and a script that uses both."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from pyg_graphadapter.classifier import standalone
from pyg_graphadapter.classifier.export_formats import Exported
from pyg_graphadapter.display import json_text
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.outputs import check_output_folder, no_empty_folders, writing
from pyg_graphadapter.storage import sync_folder

FORMAT = "pyg_graphadapter/transformers/1"
SETTINGS, WEIGHTS, SCRIPT, MODEL = (
    "classifier.json",
    "classifier.safetensors",
    "classify.py",
    "model",
)
CONTENT = (SETTINGS, WEIGHTS, SCRIPT, MODEL)


def export_transformers(exported: Exported, folder: Path) -> None:
    """Writes ``classifier.safetensors`` (``text_features``, ``class_biases``, ``logit_scale`` and
    ``temperature``), ``classifier.json`` (the class names and the model) and ``classify.py``. A
    model on the hub is named with its revision; any other is copied to ``model``.

    The folder is complete, or as it was before.

    Raises:
        ValueError: If the classifier has no class weights, no encoder of transformers, or the
            folder holds something else.
        OSError: If it cannot be written.
    """
    head = exported.weights("The folder for transformers")
    encoder = _checked(exported.encoder)
    check_output_folder(folder, lambda path: path.name in CONTENT)
    is_on_hub = encoder.revision is not None
    settings = {
        "format": FORMAT,
        "model": encoder.name if is_on_hub else None,
        "revision": encoder.revision,
        "dtype": str(encoder.model.dtype).removeprefix("torch."),
        "class_names": list(exported.class_names),
    }
    tensors = {
        "text_features": head.class_weights,
        "class_biases": head.class_biases,
        "logit_scale": torch.tensor(head.logit_scale),
        "temperature": torch.tensor(head.temperature),
    }
    with writing(folder), no_empty_folders(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", suffix=".tmp") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            (new / SETTINGS).write_text(json_text(settings), encoding="utf-8")
            (new / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
            shutil.copyfile(str(standalone.__file__), new / SCRIPT)
            if not is_on_hub:
                encoder.model.save_pretrained(new / MODEL)
                encoder.processor.save_pretrained(new / MODEL)
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            new.rename(folder)
        sync_folder(folder.parent)


def _checked(encoder: Any) -> Encoder:
    """An encoder whose model and image processor transformers itself can load."""
    if encoder is None:
        raise ValueError(
            "The folder for transformers holds the model of images, and this classifier was fitted "
            "on features: say which encoder they came from with use_encoder, or export it as "
            "'safetensors' or 'numpy'."
        )
    parts = [getattr(encoder, "model", None), getattr(encoder, "processor", None)]
    if not isinstance(encoder, Encoder) or not all(
        type(part).__module__.startswith("transformers.") for part in parts
    ):
        raise ValueError(
            f"transformers itself cannot load the model {encoder.name!r}: export the classifier as "
            f"'safetensors', 'numpy' or 'open_clip'."
        )
    return encoder
