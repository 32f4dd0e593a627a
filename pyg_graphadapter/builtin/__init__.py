"""The dual encoder and the few-shot image set that ship with the package."""

from pathlib import Path

BUILTIN = "builtin"
MODEL_FOLDER = Path(__file__).parent / "model"
IMAGES_FOLDER = Path(__file__).parent / "images"
