"""Public fakes for tests and examples."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pyg_graphadapter.data import BENCHMARKS
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import unit


def fake_features(
    num_classes: int = 10,
    channels: int = 32,
    shots: int = 16,
    tests: int = 20,
    views: int = 1,
    seed: int = 0,
    *,
    text_noise: float = 1.0,
    image_noise: float = 1.0,
) -> FeatureFile:
    r"""Made-up features of a dual encoder, with what makes real ones hard: image features spread
    about their class, text features point beside it, and the two kinds lie apart.

    Args:
        num_classes (int, optional): The number of classes :math:`C`. (default: :obj:`10`)
        channels (int, optional): The width :math:`D`. (default: :obj:`32`)
        shots (int, optional): Training images a class. (default: :obj:`16`)
        tests (int, optional): Test images a class. (default: :obj:`20`)
        views (int, optional): Views a training image. (default: :obj:`1`)
        seed (int, optional): The seed. (default: :obj:`0`)
        text_noise (float, optional): How far texts point beside their class, as a multiple of the
            length of what sets it apart. (default: :obj:`1.0`)
        image_noise (float, optional): How far images spread, likewise. (default: :obj:`1.0`)

    Example:
        >>> fake_features(num_classes=3, channels=8, shots=2).train.x.shape
        torch.Size([6, 1, 8])
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        x = torch.randn(*shape, channels, generator=generator)
        return x / math.sqrt(channels)

    centre, gap = draw(num_classes), draw(2)  # [C, D], [2, D]
    text = unit(centre + text_noise * draw(num_classes) + gap[0])

    def images(count: int, views: int) -> Features:
        y = torch.arange(num_classes).repeat_interleave(count)
        x = (centre[y] + image_noise * draw(len(y))).unsqueeze(1)  # [N, 1, D]
        x = x + 0.3 * draw(len(y), views) if views > 1 else x  # [N, V, D]
        return Features(unit(x + gap[1]), y)

    return FeatureFile(
        text=text,
        class_names=tuple(f"class {c}" for c in range(num_classes)),
        train=images(shots, views),
        test=images(tests, 1),
    )


def fake_images(
    folder: Path,
    num_classes: int = 3,
    per_class: int = 4,
    splits: Mapping[str, int] | None = None,
    size: tuple[int, int] = (40, 32),
    seed: int = 0,
) -> Path:
    """Writes noisy images into a folder of class folders, each class in a colour of its own.

    Args:
        folder (Path): The folder; made if it is not there.
        num_classes (int, optional): The number of classes. (default: :obj:`3`)
        per_class (int, optional): Images a class. (default: :obj:`4`)
        splits (dict, optional): Images a class of every split, as ``{"train": 4, "test": 2}``, each
            in a folder of its own. (default: :obj:`None`)
        size (tuple of int, optional): Width and height in pixels. (default: :obj:`(40, 32)`)
        seed (int, optional): The seed. (default: :obj:`0`)
    """
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 216, (num_classes, 3))
    parts = {folder / split: count for split, count in (splits or {}).items()}
    for part, count in (parts or {folder: per_class}).items():
        for c in range(num_classes):
            (part / f"class_{c}").mkdir(parents=True, exist_ok=True)
            for i in range(count):
                suffix = "png" if i % 2 else "jpg"
                path = part / f"class_{c}" / f"{i}.{suffix}"
                _noisy(colours[c], size, generator).save(path)
    return folder


def fake_benchmarks(
    root: Path, names: Sequence[str] = tuple(BENCHMARKS), num_classes: int = 4, per_class: int = 3
) -> Path:
    """Writes benchmarks of a few noisy images in their true layouts, each class in a colour of its
    own, the same in all.

    Args:
        root (Path): The folder of all benchmarks.
        names (sequence of str, optional): Which. (default: all)
        num_classes (int, optional): The number of classes. (default: :obj:`4`)
        per_class (int, optional): Images a class in every split. (default: :obj:`3`)
    """
    for number, name in enumerate(names):
        found = BENCHMARKS[name]
        folder = root / found.folder
        images = folder / found.images
        images.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        rows = {
            split: [
                (f"{split}_{c}_{i}.jpg", c) for c in range(num_classes) for i in range(per_class)
            ]
            for split in ("train", "val", "test")
        }
        classes = [f"class_{c}" for c in range(num_classes)]
        ids = [f"n{c:08}" for c in range(num_classes)]
        pairs = [f"{key} {label}" for key, label in zip(ids, classes, strict=True)]
        if found.listing.endswith(".json"):
            content = {s: [[path, c, classes[c]] for path, c in r] for s, r in rows.items()}
            (folder / found.listing).write_text(json.dumps(content))
            files = {images / path: c for r in rows.values() for path, c in r}
        elif found.listing == "variants.txt":
            (folder / found.listing).write_text("\n".join(classes) + "\n")
            for split, r in rows.items():
                lines = [f"{Path(path).stem} {classes[c]}\n" for path, c in r]
                (folder / f"images_variant_{split}.txt").write_text("".join(lines))
            files = {images / path: c for r in rows.values() for path, c in r}
        elif name == "imagenet":
            (folder / found.listing).write_text("\n".join(pairs) + "\n")
            files = {images / "train" / ids[c] / path: c for path, c in rows["train"]}
            files |= {images / "val" / ids[c] / path: c for path, c in rows["test"]}
        else:
            (folder / found.listing).write_text("\n".join(pairs) + "\n")
            own = rows["test"] if name in ("imagenetv2", "imagenet_sketch") else rows["test"][3:]
            keys = [str(c) for c in range(num_classes)] if name == "imagenetv2" else ids
            files = {images / keys[c] / path: c for path, c in own}
        for path, c in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _noisy(COLOURS[c % len(COLOURS)], (40, 32), generator).save(path)
    return root


COLOURS = np.random.default_rng(0).integers(40, 216, (100, 3))


def _noisy(colour: Any, size: tuple[int, int], generator: np.random.Generator) -> Image.Image:
    noise = generator.integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray((colour + noise).astype(np.uint8))
