"""Small pictures of a few classes, in the layouts of these tests."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")


def picture(seed, size=(8, 6)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save_pictures(folder, names, size=(8, 6)):
    """Saves a picture under each name, all of them different."""
    for i, name in enumerate(names):
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i, size).save(path)
