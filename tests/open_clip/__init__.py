"""Tiny models of open_clip, and what open_clip itself computes with them."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
MODELS = HERE / "models"
TOKENIZERS = HERE / "tokenizers"
TOKENIZER_OF = "tokenizer"  # the entry of open_clip_config.json that says which one is the model's
TEXTS = (
    "a photo of a cat.",
    "A Photo of  a DOG!",
    "an apple in the tree, and it's green",
    "the house beside the river, with many birds that fly over it and a dog in the tree",
    "class 7",
)
# What is cleaned before it is tokenized:
ODD_TEXTS = (
    "It\u2019s a \u201cdog\u201d\u2026",
    "Cr\u00e8me br\u00fbl\u00e9e, e\u0301galite\u0301",
    "\ufb01sh and \ufb02y, \u0132s, o\u0149",
    "AT&amp;T &lt;b&gt; &amp;amp; &#39;x&#39; &quot;y&quot;",
    "\uff26\uff35\uff2c\uff2c \uff11\uff12 width\u3000space",
    "tab\tand\nnew line  two spaces ",
    "red_panda, half-open; C++/C#: (100%) 3.5 kg!?",
    "don't we'll I'D they're you've I'm 's",
    "\u732b \u0438 \u0441\u043e\u0431\u0430\u043a\u0430 \U0001f436 \u0130stanbul Stra\u00dfe",
    "zero\u200bwidth soft\u00adhyphen bell\x07 \ufeffmark",
)
SIZES = ((40, 32), (31, 57), (24, 24), (19, 90), (9, 7), (61, 24), (1, 1), (25, 24))


def pictures() -> list[Image.Image]:
    """Images of noise in several shapes, so that each way to resize has something to round."""
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in SIZES
    ]


def kinds() -> list[str]:
    """The names of the models."""
    return sorted(path.name for path in MODELS.iterdir() if path.is_dir())


def model_folder(kind: str, folder: Path) -> Path:
    """Copies a model with its tokenizer into a folder, as a repository on the hub holds both."""
    shutil.copytree(MODELS / kind, folder, dirs_exist_ok=True)
    name = json.loads((folder / "open_clip_config.json").read_text())[TOKENIZER_OF]
    return shutil.copytree(TOKENIZERS / name, folder, dirs_exist_ok=True)
