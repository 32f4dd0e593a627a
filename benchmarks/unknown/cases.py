"""Tasks with images of their classes, and images of none: of the same data set, and of others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
from image_sets import DOMAINS, dtd
from PIL import Image

from pyg_graphadapter import Encoder, EncodingConfig, FeatureFile, Features
from pyg_graphadapter.data import load_images
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.pipeline import pipeline_of
from pyg_graphadapter.task import FewShotTask, draw_task, not_drawn

SEEDS = {"train": (100, 101, 102), "test": (1, 2, 3)}
COLOURS = ("white", "black", "grey", "red", "green", "blue")


@dataclass(frozen=True)
class Draw:
    """A task, and images to tell apart.

    Args:
        task (FewShotTask): The classes that are known, with their shots.
        known (torch.Tensor): Other images of these classes ``[N, D]``.
        near (torch.Tensor): Images of other classes of the same data set.
        far (dict): Images of other data sets, by name.
    """

    task: FewShotTask
    known: torch.Tensor
    near: torch.Tensor
    far: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """Draws of one kind.

    Args:
        kind (str): The column of the tables.
        name (str): The data and the number of classes.
        shots (int): The images per class.
        draw (callable): From a seed to a draw.
    """

    kind: str
    name: str
    shots: int
    draw: Callable[[int], Draw]


def divided(
    file: FeatureFile, classes: int, shots: int, split: str, far: dict[str, torch.Tensor], seed: int
) -> Draw:
    """Random classes are known. Images are those of the test split, or training images that are
    not drawn."""
    order = torch.randperm(len(file.class_names), generator=torch.Generator().manual_seed(seed))
    chosen = order[:classes]
    label = torch.full((len(order),), -1)
    label[chosen] = torch.arange(classes)

    def part(images: Features) -> tuple[Features, torch.Tensor]:
        x, y = images.mean_views().float(), label[images.y]
        return Features(x[y >= 0], y[y >= 0]), x[y < 0]

    train, near = part(file.train)
    names = tuple(file.class_names[c] for c in chosen.tolist())
    text = None if file.text is None else file.text[chosen].float()
    known_classes = replace(file, train=train, text=text, class_names=names, test=None)
    if split == "test":
        known, near = part(file.test)
    else:
        known = not_drawn(known_classes, shots, seed)
    task = draw_task(known_classes, shots, seed)
    return Draw(task, known.mean_views(), near, far)


def feature_cases(folder: Path, split: str) -> Iterator[Case]:
    """Under OpenAI's CLIP ViT-B/32."""
    files = {
        name: FeatureFile.load(folder / f"{name}.npz")
        for name in ("imagenet_fewshot", "flowers102_images", "ucf101_images")
    }
    x = {
        name: (file.test if split == "test" else file.train).mean_views().float()
        for name, file in files.items()
    }
    others = {"Flowers102": x["flowers102_images"], "UCF101": x["ucf101_images"]}
    for classes in (10, 100, 500):
        for shots in (1, 4) if split == "test" else (1, 3):
            draw = partial(divided, files["imagenet_fewshot"], classes, shots, split, others)
            yield Case("ImageNet", f"ImageNet, {classes} classes", shots, draw)
    for name, other in (("flowers102", "ucf101"), ("ucf101", "flowers102")):
        far = {"the other": x[f"{other}_images"], "ImageNet": x["imagenet_fewshot"]}
        for shots in (1, 4, 16) if split == "test" else (1, 4, 8):
            draw = partial(divided, files[f"{name}_images"], 50, shots, split, far)
            yield Case("without texts", f"{name}, 50 classes", shots, draw)


def builtin_cases(images: Path | None, split: str) -> Iterator[Case]:
    """Under the built-in model: half of the classes of each set, with and without texts."""
    encoder = Encoder.from_pretrained("builtin", device="cpu")
    sets = {"drawings": _encoded(load_images("builtin"), encoder)}
    if images is not None:
        sets["CIFAR-10"] = _encoded(load_images(images / "cifar10_mini"), encoder)
        sets["DTD"] = _encoded(dtd(images / "dtd10_mini"), encoder)
        sets["PACS"] = _encoded(_pacs(images / "pacs_mini"), encoder)
    x = {name: getattr(file, split).mean_views().float() for name, file in sets.items()}
    for name, file in sets.items():
        far = {other: x[other] for other in sets if other != name} | _plain_images(encoder)
        half = len(file.class_names) // 2
        fewest = int(torch.bincount(file.train.y).min())
        for shots in (1, 2, 4, 8, 16):
            if shots >= fewest + (split == "test"):
                break
            for kind, version in (
                ("built-in model", file),
                ("built-in, without texts", replace(file, text=None)),
            ):
                draw = partial(divided, version, half, shots, split, far)
                yield Case(kind, f"{name}, {half} classes", shots, draw)


def _pacs(folder: Path) -> datasets.DatasetDict:
    """All domains together, of each image in turn three to train on and one to test on."""
    images = datasets.concatenate_datasets(
        [load_images(folder / domain)["train"] for domain in DOMAINS]
    )
    rows = range(len(images))
    return datasets.DatasetDict(
        train=images.select([i for i in rows if i % 4]),
        test=images.select([i for i in rows if not i % 4]),
    )


def _encoded(images: datasets.DatasetDict, encoder: Encoder) -> FeatureFile:
    return ImageSource(images, encoder, EncodingConfig(), progress=False).features()


def _plain_images(encoder: Encoder) -> dict[str, torch.Tensor]:
    """Images of one colour, and of noise."""
    random = np.random.RandomState(0)
    plain = [Image.new("RGB", (size, size), name) for size in (64, 224) for name in COLOURS]
    noise = [
        Image.fromarray(random.randint(0, 256, (size, size, 3), dtype=np.uint8))
        for size in (32, 64, 224)
        for _ in range(4)
    ]
    pipeline = pipeline_of(encoder, EncodingConfig())
    return {
        name: pipeline.encode(images, progress=False).x[:, 0].float()
        for name, images in (("one colour", plain), ("noise", noise))
    }
