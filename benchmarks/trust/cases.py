"""The few-shot tasks that the rule is measured on: all on training images, never on test images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path

import datasets
import numpy as np
import torch
from image_sets import DOMAINS, dtd
from torch import Tensor

from pyg_graphadapter import Encoder, EncodingConfig, FeatureFile, Features
from pyg_graphadapter.data import load_images
from pyg_graphadapter.demo import TEMPLATES
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import FewShotTask, draw_task, not_drawn

SEEDS = (100, 101, 102)
TEN_SEEDS = tuple(range(100, 110))
DRAWS = {10: 4, 50: 2, 200: 1}  # of ImageNet's classes, by their number
SPREADS = ("easy", "hard", "random")
WRONG = {"none": 0.0, "a quarter": 0.25, "half": 0.5, "three quarters": 0.75, "all": 1.0}
ALL_WRONG = "all names wrong, other sets"
ALL_IMAGENET = "ImageNet, 1000 classes"
WITHOUT_TEXTS = "without texts"


@dataclass(frozen=True)
class Case:
    """Draws of a kind of task with the same number of shots.

    Args:
        kind (str): The line of the tables that it belongs to.
        name (str): The data.
        shots (int): The number of images per class.
        seeds (tuple of int): The seeds of the draws.
        file (callable): The training images for a seed. Where it has a test split, it is of
            training images of other domains.
    """

    kind: str
    name: str
    shots: int
    seeds: tuple[int, ...]
    file: Callable[[int], FeatureFile]

    @property
    def is_large(self) -> bool:
        """Whether a fit takes many seconds, so that other constants are not tried."""
        return self.kind == ALL_IMAGENET

    def draw(self, seed: int) -> tuple[FewShotTask, Features]:
        """A task, and the images that it is measured on."""
        file = self.file(seed)
        held_out = not_drawn(file, self.shots, seed) if file.test is None else file.test
        return draw_task(file, self.shots, seed), held_out


def builtin_cases(images: Path | None) -> Iterator[Case]:
    """Under the built-in model."""
    encoder = Encoder.from_pretrained("builtin", device="cpu")
    drawings = encoded(load_images("builtin")["train"], encoder)
    for shots in (1, 2, 4, 8, 16):
        yield Case("drawings", "drawings", shots, SEEDS, partial(same, drawings))
    if images is None:
        return
    cifar10 = encoded(load_images(images / "cifar10_mini")["train"], encoder)
    textures = encoded(dtd(images / "dtd10_mini")["train"], encoder)
    domains = [
        encoded(load_images(images / "pacs_mini" / name)["train"], encoder) for name in DOMAINS
    ]
    for shots in (1, 2, 4, 8, 16):
        yield Case("CIFAR-10", "cifar10_mini", shots, SEEDS, partial(same, cifar10))
        yield Case("PACS, other domains", "pacs_mini", shots, SEEDS, partial(of_domains, domains))
    for shots in (1, 2, 4):
        yield Case("DTD, 10 classes", "dtd10_mini", shots, SEEDS, partial(same, textures))
    for shots in (1, 4, 16):
        yield Case(ALL_WRONG, "drawings", shots, SEEDS, partial(shifted_names, drawings))
        yield Case(ALL_WRONG, "cifar10_mini", shots, SEEDS, partial(codes, cifar10))


def feature_cases(folder: Path) -> Iterator[Case]:
    """Under OpenAI's CLIP ViT-B/32."""
    imagenet = training_images(folder / "imagenet_fewshot.npz")
    names = torch.from_numpy(np.load(folder / "class_text.npz")["lvis_text"]).float()
    for shots, spread, size in product((1, 2, 3), SPREADS, (10, 50, 200)):
        seeds = TEN_SEEDS[: DRAWS[size]]
        file = partial(some_classes, imagenet, spread, size)
        yield Case(f"ImageNet, {spread} classes", f"{spread} {size}", shots, seeds, file)
    for shots, (part, share) in product((1, 2, 3), WRONG.items()):
        file = partial(misnamed_classes, imagenet, names, share)
        yield Case(f"{part} of the names wrong", f"{part} of 24", shots, TEN_SEEDS[:3], file)
    for name in ("flowers102", "ucf101"):
        file = training_images(folder / f"{name}_images.npz")
        for shots in (1, 2, 4, 8):
            yield Case(WITHOUT_TEXTS, name, shots, SEEDS[:2], partial(same, file))
        for shots in (1, 4, 8):
            yield Case(ALL_WRONG, name, shots, SEEDS[:1], partial(misnamed, file, names, 1.0))
    for shots in (1, 2, 3):
        yield Case(ALL_IMAGENET, "all", shots, SEEDS[:1], partial(same, imagenet))


def drawn_often(cases: list[Case]) -> list[Case]:
    """Ten draws of the same classes and names, with 1, 2 and 4 shots, or 3 where there are no 4."""
    kinds = {
        "drawings", "CIFAR-10", "DTD, 10 classes", "PACS, other domains",
        "none of the names wrong", "half of the names wrong", "all of the names wrong",
    }  # fmt: skip
    shots = {case.name: {1, 2, 4} for case in cases if case.shots == 4}
    # What the file depends on is drawn once:
    return [
        replace(case, seeds=TEN_SEEDS, file=partial(same, case.file(TEN_SEEDS[0])))
        for case in cases
        if case.kind in kinds and case.shots in shots.get(case.name, {1, 2, 3})
    ]


def same(file: FeatureFile, _seed: int) -> FeatureFile:
    """The same images for all seeds."""
    return file


def encoded(images: datasets.Dataset, encoder: Encoder) -> FeatureFile:
    """The features of training images, kept in the cache of the package."""
    splits = datasets.DatasetDict(train=images)
    config = EncodingConfig(templates=TEMPLATES)
    return ImageSource(splits, encoder, config, progress=False).features()


def training_images(path: Path) -> FeatureFile:
    """A feature file without its test split."""
    file = FeatureFile.load(path)
    train = Features(file.train.mean_views().float(), file.train.y)
    text = None if file.text is None else file.text.float()
    return replace(file, train=train, text=text, test=None)


def of_domains(domains: list[FeatureFile], seed: int) -> FeatureFile:
    """Two domains to draw from, measured on the two others."""
    pairs = list(combinations(range(len(domains)), 2))
    pair = pairs[seed % len(pairs)]
    parts = [
        [domain.train for i, domain in enumerate(domains) if (i in pair) == is_drawn_from]
        for is_drawn_from in (True, False)
    ]
    train, test = (
        Features(torch.cat([part.x for part in each]), torch.cat([part.y for part in each]))
        for each in parts
    )
    return replace(domains[0], train=train, test=test)


def some_classes(file: FeatureFile, spread: str, size: int, seed: int) -> FeatureFile:
    """Some of the classes: random ones, those with names like that of a random one (hard), or each
    with the name that is farthest from those before it (easy)."""
    assert file.text is not None
    text = unit(file.text)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(text), generator=generator)
    classes = order[:size]
    if spread == "hard":
        classes = (text @ text[order[0]]).topk(size).indices
    elif spread == "easy":
        nearest = text @ text[order[0]]  # the cosine to the nearest class that was taken
        chosen = [int(order[0])]
        while len(chosen) < size:
            chosen.append(int(nearest.argmin()))
            nearest = torch.maximum(nearest, text @ text[chosen[-1]])
        classes = torch.tensor(chosen)
    label = torch.full((len(text),), -1)
    label[classes] = torch.arange(size)
    y = label[file.train.y]
    train = Features(file.train.x[y >= 0], y[y >= 0])
    class_names = tuple(file.class_names[c] for c in classes.tolist())
    return replace(file, text=file.text[classes], class_names=class_names, train=train)


def misnamed(file: FeatureFile, names: Tensor, share: float, seed: int) -> FeatureFile:
    """A share of the classes, the first ones, with the texts of other things."""
    count = round(share * len(file.class_names))
    other = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))[:count]
    text = names[other] if file.text is None else torch.cat([names[other], file.text[count:]])
    return replace(file, text=text)


def misnamed_classes(file: FeatureFile, names: Tensor, share: float, seed: int) -> FeatureFile:
    """24 random classes, of which a share has the texts of other things."""
    return misnamed(some_classes(file, "random", 24, seed), names, share, seed)


def shifted_names(file: FeatureFile, _seed: int) -> FeatureFile:
    """Every class with the name of another."""
    assert file.text is not None
    return replace(file, text=file.text.roll(3, dims=0))


def codes(file: FeatureFile, seed: int) -> FeatureFile:
    """Texts that say nothing and are all alike, as of codes."""
    assert file.text is not None
    noise = torch.randn(file.text.shape, generator=torch.Generator().manual_seed(seed))
    return replace(file, text=unit(unit(file.text).mean(dim=0) + 0.02 * noise))
