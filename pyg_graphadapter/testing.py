"""Public fakes for tests and examples."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pyg_graphadapter.adapters.contract import build_adapter, check_built
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import EvaluationTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train
from pyg_graphadapter.training.evaluation import evaluate

if TYPE_CHECKING:  # features are faked without what reads images
    from PIL import Image

    from pyg_graphadapter.adapters import Adapter


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
    r"""Random features of a dual encoder that are hard for the same reasons as real ones: image
    features spread around their class, text features point beside it, and both lie apart.

    Args:
        num_classes (int, optional): The number of classes :math:`C`. (default: :obj:`10`)
        channels (int, optional): The width :math:`D`. (default: :obj:`32`)
        shots (int, optional): Training images per class. (default: :obj:`16`)
        tests (int, optional): Test images per class. (default: :obj:`20`)
        views (int, optional): Views per training image. (default: :obj:`1`)
        seed (int, optional): The seed. (default: :obj:`0`)
        text_noise (float, optional): The distance of texts from their class, as a multiple of the
            distance of the class from the mean of all classes. (default: :obj:`1.0`)
        image_noise (float, optional): The spread of images, in the same unit. (default: :obj:`1.0`)

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
    """Writes noisy images into a folder of class folders. Every class has its own colour.

    Args:
        folder (Path): The folder; created if it does not exist.
        num_classes (int, optional): The number of classes. (default: :obj:`3`)
        per_class (int, optional): Images per class. (default: :obj:`4`)
        splits (dict, optional): Images per class of every split, as ``{"train": 4, "test": 2}``.
            Every split has its own folder. (default: :obj:`None`)
        size (tuple of int, optional): Width and height in pixels. (default: :obj:`(40, 32)`)
        seed (int, optional): The seed. (default: :obj:`0`)
    """
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 216, (num_classes, 3))
    counts = {folder / split: count for split, count in (splits or {}).items()}
    for split_folder, count in (counts or {folder: per_class}).items():
        for c in range(num_classes):
            (split_folder / f"class_{c}").mkdir(parents=True, exist_ok=True)
            for i in range(count):
                suffix = "png" if i % 2 else "jpg"
                path = split_folder / f"class_{c}" / f"{i}.{suffix}"
                _noisy(colours[c], size, generator).save(path)
    return folder


def fake_benchmarks(
    root: Path, names: Sequence[str] | None = None, num_classes: int = 4, per_class: int = 3
) -> Path:
    """Writes benchmarks of a few noisy images in their true layouts. Every class has its own
    colour, which is the same in all benchmarks.

    Args:
        root (Path): The folder of all benchmarks.
        names (sequence of str, optional): The benchmarks, or :obj:`None` for all.
            (default: :obj:`None`)
        num_classes (int, optional): The number of classes. (default: :obj:`4`)
        per_class (int, optional): Images per class in every split. (default: :obj:`3`)
    """
    from pyg_graphadapter.data import BENCHMARKS

    for number, name in enumerate(BENCHMARKS if names is None else names):
        layout = BENCHMARKS[name]
        folder = root / layout.folder
        images = folder / layout.images
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
        if layout.listing.endswith(".json"):
            content = {s: [[path, c, classes[c]] for path, c in r] for s, r in rows.items()}
            (folder / layout.listing).write_text(json.dumps(content))
            files = {images / path: c for r in rows.values() for path, c in r}
        elif layout.listing == "variants.txt":
            (folder / layout.listing).write_text("\n".join(classes) + "\n")
            for split, r in rows.items():
                lines = [f"{Path(path).stem} {classes[c]}\n" for path, c in r]
                (folder / f"images_variant_{split}.txt").write_text("".join(lines))
            files = {images / path: c for r in rows.values() for path, c in r}
        elif name == "imagenet":
            (folder / layout.listing).write_text("\n".join(pairs) + "\n")
            files = {images / "train" / ids[c] / path: c for path, c in rows["train"]}
            files |= {images / "val" / ids[c] / path: c for path, c in rows["test"]}
        else:
            (folder / layout.listing).write_text("\n".join(pairs) + "\n")
            test_rows = (
                rows["test"] if name in ("imagenetv2", "imagenet_sketch") else rows["test"][3:]
            )
            keys = [str(c) for c in range(num_classes)] if name == "imagenetv2" else ids
            files = {images / keys[c] / path: c for path, c in test_rows}
        for path, c in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _noisy(COLOURS[c % len(COLOURS)], (40, 32), generator).save(path)
    return root


COLOURS = np.random.default_rng(0).integers(40, 216, (100, 3))


def _noisy(colour: Any, size: tuple[int, int], generator: np.random.Generator) -> "Image.Image":
    from PIL import Image

    noise = generator.integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray((colour + noise).astype(np.uint8))


def check_adapter(cls: "type[Adapter]", **settings: Any) -> None:
    """Checks that a method keeps the contract of :class:`~pyg_graphadapter.adapters.Adapter`, on
    toy tasks of one, two and several classes: what it is built from, settings, the shape and the
    values of the logits, gradients, training, saving and loading. Authors of methods call it in
    their tests.

    Args:
        cls (type): The method.
        **settings (optional): Its settings.

    Raises:
        ValueError: Naming what is wrong, and what to do.

    Example:
        >>> from pyg_graphadapter.adapters import TipAdapterF
        >>> check_adapter(TipAdapterF)
    """
    for num_classes in (6, 2, 1):
        data = fake_features(num_classes=num_classes, channels=16, shots=4, tests=4)
        evaluation = EvaluationTask.from_file(data, shots=4, seed=1)
        adapter = build_adapter(cls, evaluation.task, settings)
        check_built(adapter, evaluation.task)
        train(adapter, evaluation.task, TrainConfig(epochs=2), progress=False)
        check_built(adapter.eval(), evaluation.task)
        evaluate(adapter, evaluation)
        if not cls.needs_text:
            without = EvaluationTask.from_file(replace(data, text=None), shots=4, seed=1)
            adapter = build_adapter(cls, without.task, settings)
            check_built(adapter, without.task)
            evaluate(adapter, without)
