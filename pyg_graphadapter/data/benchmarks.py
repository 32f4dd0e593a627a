"""The 11 benchmarks of few-shot adaptation, and the 4 shifted versions of ImageNet."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.templates import TEMPLATES
from pyg_graphadapter.settings import unknown

Listing = dict[str, list[tuple[Path, int]]]  # images with their classes, of every split
CLASS_NAMES = "classnames.txt"


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark's images lie, in the layout of CoOp's instructions, and what to ask.

    Args:
        title (str): Its name.
        num_classes (int): The number of its classes.
        folder (str): Its folder in the root of all benchmarks.
        images (str): The folder of its images, in there.
        listing (str): What lists its images: a split file, an image list, or class names.
        read (callable): Reads the listing: ``read(folder, images, listing)`` gives class names and,
            of every split, images with their classes.
        templates (tuple of str): Its prompts. (default: :obj:`("a photo of a {}.",)`)
    """

    title: str
    num_classes: int
    folder: str
    images: str
    listing: str
    read: Callable[[Path, Path, Path], tuple[list[str], Listing]]
    templates: tuple[str, ...] = TEMPLATES


# Readers ##############################################################################


def read_split_file(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """A ``split_zhou_….json``: of every split a list of ``[path, label, class name]``.

    Raises:
        ValueError: If it is malformed, or a path leads out of the folder of images.
    """
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
        rows = {
            split: [(str(path), int(label), str(name)) for path, label, name in content[split]]
            for split in ("train", "val", "test")
        }
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{listing} is no split file ({type(error).__name__}: {error}): it must have 'train', "
            f"'val' and 'test', lists of [path, label, class name]."
        ) from error
    names: dict[int, str] = {}
    for path, label, name in (row for part in rows.values() for row in part):
        if names.setdefault(label, name) != name:
            raise ValueError(
                f"{listing} has two names for label {label}: {names[label]!r}, {name!r}."
            )
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{listing} has the path {path!r}, which leads out of {images}.")
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{listing} has labels that do not count from 0 to {len(names) - 1}.")
    found = {split: [(images / path, y) for path, y, _ in part] for split, part in rows.items()}
    return _distinct([names[label] for label in range(len(names))]), found


def read_image_lists(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """FGVC Aircraft: ``variants.txt``, and ``images_variant_{train,val,test}.txt`` with lines of an
    image's number and its variant.

    Raises:
        ValueError: If a line is not understood.
    """
    names = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line]
    index = {name: i for i, name in enumerate(names)}
    found: Listing = {}
    for split in ("train", "val", "test"):
        path = folder / f"images_variant_{split}.txt"
        found[split] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            number, _, name = line.strip().partition(" ")
            if name not in index:
                raise ValueError(f"{path} has the line {line!r}, whose variant {listing} has not.")
            found[split].append((images / f"{number}.jpg", index[name]))
    return _distinct(names), found


def read_imagenet(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """ImageNet: ``images/train`` and ``images/val``, with a folder a WordNet id. As everywhere in
    this field, ``val`` is what is tested on."""
    ids, names = _class_names(listing)
    found = {
        split: _in_folders(images / part, {name: i for i, name in enumerate(ids)})
        for split, part in (("train", "train"), ("test", "val"))
        if (images / part).is_dir()
    }
    return names, found


def read_shifted(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """A shifted ImageNet: a test split alone, in folders of WordNet ids, or of numbers that count
    the lines of the class names; with only the classes that it has."""
    ids, names = _class_names(listing)
    there = {path.name for path in images.iterdir() if path.is_dir()} if images.is_dir() else set()
    numbered = bool(there) and all(name.isdecimal() for name in there)
    keys = [str(i) for i in range(len(ids))] if numbered else ids
    strange = sorted(there - set(keys))
    if strange:
        raise ValueError(f"{images} has the folder {strange[0]!r}, a class that {listing} has not.")
    own = [i for i, key in enumerate(keys) if key in there]
    folders = {keys[i]: label for label, i in enumerate(own)}
    return [names[i] for i in own], {"test": _in_folders(images, folders)}


def _class_names(listing: Path) -> tuple[list[str], list[str]]:
    """WordNet ids and names; of classes of one name, all but the first have their id behind it,
    which prompts leave out."""
    lines = [line for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    ids, names = [], []
    for line in lines:
        key, _, name = line.strip().partition(" ")
        if not name:
            raise ValueError(f"{listing} has the line {line!r}: expected a WordNet id and a name.")
        ids.append(key)
        names.append(f"{name} ({key})" if name in names else name)
    return ids, names


def _in_folders(root: Path, labels: dict[str, int]) -> list[tuple[Path, int]]:
    return [
        (path, label)
        for name, label in labels.items()
        if (root / name).is_dir()
        for path in sorted((root / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Two labels have one class name, {twice[0]!r}.")
    return list(names)


def _split(
    title: str, count: int, folder: str, images: str, name: str, *templates: str
) -> Benchmark:
    return Benchmark(title, count, folder, images, f"split_zhou_{name}.json", read_split_file,
                     templates or TEMPLATES)  # fmt: skip


def _shift(title: str, count: int, folder: str, images: str) -> Benchmark:
    return Benchmark(title, count, folder, images, CLASS_NAMES, read_shifted)


BENCHMARKS: dict[str, Benchmark] = {
    "imagenet": Benchmark("ImageNet", 1000, "imagenet", "images", CLASS_NAMES, read_imagenet),
    "caltech101": _split("Caltech101", 100, "caltech-101", "101_ObjectCategories", "Caltech101"),
    "oxford_pets": _split("OxfordPets", 37, "oxford_pets", "images", "OxfordPets",
                          "a photo of a {}, a type of pet."),
    "stanford_cars": _split("StanfordCars", 196, "stanford_cars", "", "StanfordCars"),
    "oxford_flowers": _split("Flowers102", 102, "oxford_flowers", "jpg", "OxfordFlowers",
                             "a photo of a {}, a type of flower."),
    "food101": _split("Food101", 101, "food-101", "images", "Food101",
                      "a photo of {}, a type of food."),
    "fgvc_aircraft": Benchmark("FGVCAircraft", 100, "fgvc_aircraft", "images", "variants.txt",
                               read_image_lists, ("a photo of a {}, a type of aircraft.",)),
    "sun397": _split("SUN397", 397, "sun397", "SUN397", "SUN397"),
    "dtd": _split("DTD", 47, "dtd", "images", "DescribableTextures", "{} texture."),
    "eurosat": _split("EuroSAT", 10, "eurosat", "2750", "EuroSAT",
                      "a centered satellite photo of {}."),
    "ucf101": _split("UCF101", 101, "ucf101", "UCF-101-midframes", "UCF101",
                     "a photo of a person doing {}."),
    "imagenetv2": _shift("ImageNetV2", 1000, "imagenetv2",
                         "imagenetv2-matched-frequency-format-val"),
    "imagenet_sketch": _shift("ImageNet-Sketch", 1000, "imagenet-sketch", "images"),
    "imagenet_a": _shift("ImageNet-A", 200, "imagenet-adversarial", "imagenet-a"),
    "imagenet_r": _shift("ImageNet-R", 200, "imagenet-rendition", "imagenet-r"),
}  # fmt: skip
SHIFTED_BENCHMARKS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")  # tests alone
FEW_SHOT_BENCHMARKS = tuple(name for name in BENCHMARKS if name not in SHIFTED_BENCHMARKS)


# Loading and checking #################################################################


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        ValueError: If there is none, listing those that there are.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]


def load_benchmark(name: str, root: str | Path, *, allow_missing: bool = False) -> Any:
    """A benchmark's images in the splits ``train``, ``val`` and ``test``, or those that it has, as
    :func:`load_images` gives them.

    Args:
        name (str): A name in :obj:`BENCHMARKS`.
        root (str or Path): The folder that holds the benchmarks' folders.
        allow_missing (bool, optional): Leave out listed images that are not there.
            (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the listing or a listed image is not there.
        ValueError: If the benchmark is unknown, or its listing is malformed.
    """
    names, listing = _read(benchmark(name), Path(root))
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=names)}
    )
    found = datasets.DatasetDict()
    for split, rows in listing.items():
        absent = [path for path, _ in rows if not path.exists()]
        if absent and not allow_missing:
            raise FileNotFoundError(
                f"{name} lists {len(rows)} {split} images, of which {len(absent)} are not there, "
                f"as {absent[0]}: 'graphadapter data check {root}' says what is missing."
            )
        gone = set(absent)
        kept = [(path, label) for path, label in rows if path not in gone]
        found[split] = datasets.Dataset.from_dict(
            {
                "image": [{"bytes": None, "path": str(path)} for path, _ in kept],
                "label": [label for _, label in kept],
            },
            features=features,
        )
    return found


def _read(found: Benchmark, root: Path) -> tuple[list[str], Listing]:
    folder = root / found.folder
    for path in (folder / found.listing, folder / found.images):
        if not path.exists():
            raise FileNotFoundError(f"{found.title} needs {path}, which is not there.")
    try:
        names, listing = found.read(folder, folder / found.images, folder / found.listing)
    except OSError as error:
        raise FileNotFoundError(
            f"{found.title} needs {error.filename}, which is not there."
        ) from None
    if not any(listing.values()):
        raise ValueError(f"{found.title} has no image in {folder / found.images}.")
    return names, listing


@dataclass(frozen=True)
class Check:
    """What :func:`check_benchmarks` found of one benchmark.

    Args:
        name (str): Its name.
        folder (Path): Where it belongs.
        num_classes (int): The number of classes that were found.
        images (dict): Listed images of every split.
        missing (int): How many of them are not there.
        problem (str): What is wrong; empty if nothing is.
    """

    name: str
    folder: Path
    num_classes: int
    images: dict[str, int]
    missing: int
    problem: str

    @property
    def is_complete(self) -> bool:
        """Whether all is there."""
        return not self.problem


def check_benchmarks(root: str | Path) -> list[Check]:
    """What is there of each of the 15 benchmarks, and what is missing.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root}: give the one that holds the benchmarks."
        )
    return [_check(name, root) for name in BENCHMARKS]


def _check(name: str, root: Path) -> Check:
    found = BENCHMARKS[name]
    folder = root / found.folder
    try:
        names, listing = _read(found, root)
    except (FileNotFoundError, ValueError) as error:
        return Check(name, folder, 0, {}, 0, str(error))
    absent = [path for rows in listing.values() for path, _ in rows if not path.exists()]
    problem = ""
    if absent:
        problem = f"{len(absent)} listed images are not there, as {absent[0]}."
    elif len(names) != found.num_classes:
        problem = f"It has {len(names)} classes instead of {found.num_classes}."
    counts = {split: len(rows) for split, rows in listing.items()}
    return Check(name, folder, len(names), counts, len(absent), problem)
