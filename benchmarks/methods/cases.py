"""The tasks on which all methods are measured, in groups of one kind."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))
from image_sets import image_sets

from pyg_graphadapter import Encoder, EncodingConfig, FeatureFile, Features
from pyg_graphadapter.data import load_images
from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.demo import TEMPLATES
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import FileSource, Source
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_features

RIGHT_NAMES = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of the classes
WRONG = ", wrong names"  # at the end of the name of a data set
BUILT_IN_SHOTS = (1, 4, 8, 16)


@dataclass(frozen=True)
class Case:
    """A data set at some numbers of shots, as a part of a group.

    Args:
        source (Source): The features.
        shots (tuple of int): Images per class.
        new (Source, optional): Further classes, of which no image is learned.
        settings (dict): Settings of methods that are measured as well, beside their defaults.
    """

    source: Source
    shots: tuple[int, ...]
    new: Source | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def most_shots(self) -> int:
        """The number of training images in the smallest class."""
        if isinstance(self.source, FileSource):
            return int(torch.bincount(self.source.file.train.y).min())
        assert isinstance(self.source, ImageSource)
        return min(Counter(self.source.labelled["train"]["label"]).values())


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        subsets (dict): The number of subsets of ImageNet's classes, by their number of classes.
        named (int): The number of classes whose names are replaced.
        shots (tuple of int): On ImageNet and parts of it.
        base_shots (int): On its base classes.
        many_shots (tuple of int): Without texts.
        replaced_shots (tuple of int): With texts of other classes, on data sets without texts.
        built_in_shots (tuple of int): Under the built-in encoder.
    """

    subsets: dict[int, int] = field(default_factory=lambda: {10: 8, 50: 3, 200: 1})
    named: int = 100
    shots: tuple[int, ...] = (1, 2, 4)
    base_shots: int = 4
    many_shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    replaced_shots: tuple[int, ...] = (1, 4, 16)
    built_in_shots: tuple[int, ...] = BUILT_IN_SHOTS


QUICK = Sizes({3: 2, 5: 1}, 4, (1, 2), 2, (1, 2), (2,), (1,))


@dataclass(frozen=True)
class Data:
    """What is measured.

    Args:
        imagenet (FeatureFile): Features of ImageNet, with texts.
        without_texts (dict): Feature files without texts, by name.
        other_text (Tensor): Text features of classes that none of these files has ``[M, D]``.
        images (dict): Images by name, of which those of ``pacs_`` are tested on another domain.
        sizes (Sizes): How much is measured.
    """

    imagenet: FeatureFile
    without_texts: dict[str, FeatureFile]
    other_text: Tensor
    images: dict[str, datasets.DatasetDict]
    sizes: Sizes = field(default_factory=Sizes)

    @classmethod
    def load(cls, features: Path, images: Path) -> "Data":
        """Reads the feature files in a folder, and finds the images in another."""
        imagenet = FeatureFile.load(features / "imagenet_fewshot.npz")
        with np.load(features / "class_text.npz") as arrays:
            names, text = arrays["lvis_names"], torch.from_numpy(arrays["lvis_text"])
        taken = {normalize_class_name(each) for name in imagenet.class_names
                 for each in name.split(", ")}  # fmt: skip
        is_other = [normalize_class_name(str(name)) not in taken for name in names]
        without_texts = {
            name: FeatureFile.load(features / f"{name}_images.npz")
            for name in ("flowers102", "ucf101")
        }
        return cls(imagenet, without_texts, text[torch.tensor(is_other)], image_sets(images))

    @classmethod
    def quick(cls) -> "Data":
        """Random features, and the drawings that are built in."""
        drawings = load_images("builtin")
        return cls(
            fake_features(num_classes=12, channels=16, shots=4, tests=8),
            {"fake": replace(fake_features(num_classes=5, channels=16, shots=4), text=None)},
            fake_features(num_classes=20, channels=16, seed=1).text,
            {"drawings": drawings, "pacs_drawings": drawings},
            QUICK,
        )


def imagenet(data: Data) -> Iterator[Case]:
    """All classes."""
    yield Case(FileSource(data.imagenet, "ImageNet"), data.sizes.shots)


def base_to_new(data: Data) -> Iterator[Case]:
    """The first half of the classes, and the other half as new ones."""
    base, new = FileSource(data.imagenet, "ImageNet").base_and_new()
    yield Case(base, (data.sizes.base_shots,), new)


def easy(data: Data) -> Iterator[Case]:
    """Subsets of classes whose texts are far apart."""
    yield from _subsets(data, "easy", far_apart)


def hard(data: Data) -> Iterator[Case]:
    """Subsets of classes whose texts are near each other."""
    yield from _subsets(data, "hard", near_each_other)


def without_texts(data: Data) -> Iterator[Case]:
    """Features without texts."""
    for name, file in data.without_texts.items():
        yield Case(FileSource(file, name), data.sizes.many_shots)


def names(data: Data) -> Iterator[Case]:
    """Texts of other classes in place of some or all of the right ones."""
    order = torch.randperm(len(data.imagenet.class_names), generator=_generator())
    file = classes_of(data.imagenet, order[: data.sizes.named].sort().values)
    images_alone = {"graph_adapter": {"nodes": "images"}}
    for share in RIGHT_NAMES:
        source = FileSource(with_wrong_names(file, share, data.other_text), name_of_share(share))
        yield Case(source, data.sizes.shots, settings=images_alone)
    for name, other in data.without_texts.items():
        source = FileSource(with_wrong_names(other, 0.0, data.other_text), f"{name}{WRONG}")
        yield Case(source, data.sizes.replaced_shots, settings=images_alone)


def images(data: Data) -> Iterator[Case]:
    """Images under the built-in encoder."""
    yield from _built_in(data, [name for name in data.images if not name.startswith("pacs")])


def domains(data: Data) -> Iterator[Case]:
    """Images of another domain than those that are learned, under the built-in encoder."""
    yield from _built_in(data, [name for name in data.images if name.startswith("pacs")])


GROUPS: dict[str, Callable[[Data], Iterator[Case]]] = {
    "imagenet": imagenet,
    "easy": easy,
    "hard": hard,
    "without_texts": without_texts,
    "names": names,
    "images": images,
    "domains": domains,
    "base_to_new": base_to_new,
}


def name_of_share(share: float) -> str:
    """The name of a data set of which a share of the class names is right."""
    return f"{share:.0%} right names"


def with_wrong_names(file: FeatureFile, share: float, other_text: Tensor) -> FeatureFile:
    """A file of whose classes a share, drawn once, keeps its texts; the others have texts of other
    classes ``[M, D]``. What is wrong at one share is wrong at any smaller one."""
    num_classes = len(file.class_names)
    wrong = torch.randperm(num_classes, generator=_generator())[round(share * num_classes) :]
    drawn = torch.randperm(len(other_text), generator=_generator())[:num_classes]
    text = unit(other_text[drawn].float())
    if file.text is not None:
        wrong_text, text = text, unit(file.text.float())
        text[wrong] = wrong_text[wrong]
    return replace(file, text=text)


def classes_of(file: FeatureFile, classes: Tensor) -> FeatureFile:
    """The classes of a file at an index ``[C']``, counted in its order."""
    number = torch.full((len(file.class_names),), -1)
    number[classes] = torch.arange(len(classes))

    def of_these(images: Features | None) -> Features | None:
        if images is None:
            return None
        index = (number[images.y] >= 0).nonzero().flatten()
        return Features(images.x[index], number[images.y[index]])

    return replace(
        file,
        text=None if file.text is None else file.text[classes],
        class_names=tuple(file.class_names[c] for c in classes.tolist()),
        train=of_these(file.train),
        val=of_these(file.val),
        test=of_these(file.test),
    )


def far_apart(cosine: Tensor, available: Tensor, count: int) -> Tensor:
    """Farthest-point sampling: the class that is least like all, then each time the one whose
    nearest chosen class is farthest ``[count]``, among the available ones (``[C]``, bool)."""
    taken = ~available
    chosen = [int(cosine[:, available].mean(dim=1).masked_fill(taken, torch.inf).argmin())]
    while len(chosen) < count:
        nearest = cosine[:, chosen].amax(dim=1).masked_fill(taken, torch.inf)
        nearest[chosen] = torch.inf
        chosen.append(int(nearest.argmin()))
    return torch.tensor(chosen)


def near_each_other(cosine: Tensor, available: Tensor, count: int) -> Tensor:
    """The class whose nearest available neighbours are the nearest on average, and these
    neighbours ``[count]``."""
    among = cosine.masked_fill(~available, -torch.inf).masked_fill(~available.unsqueeze(1), -2)
    nearest = among.topk(count, dim=1)  # each class is the nearest of itself
    return nearest.indices[nearest.values.mean(dim=1).argmax()]


def _subsets(
    data: Data, kind: str, choose: Callable[[Tensor, Tensor, int], Tensor]
) -> Iterator[Case]:
    """Subsets of each size that share no class."""
    assert data.imagenet.text is not None
    text = unit(data.imagenet.text.float())
    cosine = text @ text.t()
    for count, number in data.sizes.subsets.items():
        available = torch.ones(len(text), dtype=torch.bool)
        for i in range(number):
            classes = choose(cosine, available, count).sort().values
            available[classes] = False
            name = f"{kind}, {count} classes" + (f" ({i + 1})" if number > 1 else "")
            yield Case(FileSource(classes_of(data.imagenet, classes), name), data.sizes.shots)


def _built_in(data: Data, names: Sequence[str]) -> Iterator[Case]:
    encoder = Encoder.from_pretrained("builtin")
    config = EncodingConfig(templates=TEMPLATES)
    for name in names:
        case = Case(
            ImageSource(data.images[name], encoder, config, name=name), data.sizes.built_in_shots
        )
        yield replace(case, shots=tuple(s for s in case.shots if s <= case.most_shots()))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
