"""The benchmarks of few-shot adaptation, and shifted versions of ImageNet."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias

import datasets

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.image_dataset import image_dataset
from pyg_graphadapter.data.templates import TEMPLATES
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import FileKind, Within, read
from pyg_graphadapter.suggestions import path_suggestion

SplitRow: TypeAlias = tuple[str, Annotated[int, Within(0)], str]
Listing = dict[str, list[tuple[Path, int]]]  # the images of every split, with their labels
CLASS_NAMES = "classnames.txt"


@dataclass(frozen=True)
class Benchmark:
    """The folders of a benchmark, in the layout of CoOp's instructions, and its prompts.

    Args:
        title (str): Its name.
        num_classes (int): The number of its classes.
        folder (str): Its folder in the root of all benchmarks.
        images (str): The folder of its images, inside ``folder``.
        listing (str): The file that lists its images: a split file, an image list, or class names.
        read (callable): Reads the listing: ``read(folder, images, listing)`` gives the class
            names and, for every split, the images with their labels.
        templates (tuple of str): Its prompts. (default: :obj:`("a photo of a {}.",)`)
    """

    title: str
    num_classes: int
    folder: str
    images: str
    listing: str
    read: Callable[[Path, Path, Path], tuple[list[str], Listing]]
    templates: tuple[str, ...] = TEMPLATES


@dataclass(frozen=True)
class SplitFile:
    """What a ``split_zhou_….json`` holds: for every split, rows of path, label and class name."""

    train: tuple[SplitRow, ...]
    val: tuple[SplitRow, ...]
    test: tuple[SplitRow, ...]


SPLIT_FILE: FileKind[SplitFile] = FileKind(
    "split file",
    SplitFile,
    "It must have 'train', 'val' and 'test', lists of [path, label, class name]",
    suffixes=(".json",),
)
LINES: FileKind[tuple[str, ...]] = FileKind(
    "list of lines", tuple[str, ...], "Get it again, as text in UTF-8", suffixes=(".txt",)
)


# Readers ##############################################################################


def read_split_file(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """Reads a ``split_zhou_….json``: for every split a list of ``[path, label, class name]``.

    Raises:
        ValueError: If it is malformed, or a path leads out of the folder of images.
    """
    content = read(listing, SPLIT_FILE)
    rows = {"train": content.train, "val": content.val, "test": content.test}
    names: dict[int, str] = {}
    for path, label, name in (row for split_rows in rows.values() for row in split_rows):
        if names.setdefault(label, name) != name:
            raise ValueError(
                f"{listing} has two names for label {label}: {names[label]!r}, {name!r}."
            )
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{listing} has the path {path!r}, which leads out of {images}.")
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{listing} has labels that do not count from 0 to {len(names) - 1}.")
    paths = {
        split: [(images / path, label) for path, label, _ in split_rows]
        for split, split_rows in rows.items()
    }
    return _distinct([names[label] for label in range(len(names))]), paths


def read_image_lists(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """Reads FGVC Aircraft: ``variants.txt``, and ``images_variant_{train,val,test}.txt`` with the
    number and the variant of one image per line.

    Raises:
        ValueError: If a line has an unknown variant.
    """
    names = list(read(listing, LINES))
    index = {name: i for i, name in enumerate(names)}
    paths: Listing = {}
    for split in ("train", "val", "test"):
        path = folder / f"images_variant_{split}.txt"
        paths[split] = []
        for line in read(path, LINES):
            number, _, name = line.partition(" ")
            if name not in index:
                raise ValueError(
                    f"{path} has the line {line!r}, whose variant is not in {listing}."
                )
            paths[split].append((images / f"{number}.jpg", index[name]))
    return _distinct(names), paths


def read_imagenet(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """Reads ImageNet: ``images/train`` and ``images/val``, with one folder per WordNet id. As is
    common in this field, ``val`` is the test split."""
    ids, names = _class_names(listing)
    paths = {
        split: _in_folders(images / folder_name, {name: i for i, name in enumerate(ids)})
        for split, folder_name in (("train", "train"), ("test", "val"))
        if (images / folder_name).is_dir()
    }
    return names, paths


def read_shifted(folder: Path, images: Path, listing: Path) -> tuple[list[str], Listing]:
    """Reads a shifted ImageNet: only a test split, in folders named by WordNet ids or by line
    numbers of the class names. Classes without a folder are left out."""
    ids, names = _class_names(listing)
    folder_names = (
        {path.name for path in images.iterdir() if path.is_dir()} if images.is_dir() else set()
    )
    numbered = bool(folder_names) and all(name.isdecimal() for name in folder_names)
    keys = [str(i) for i in range(len(ids))] if numbered else ids
    unknown_folders = sorted(folder_names - set(keys))
    if unknown_folders:
        raise ValueError(
            f"{images} has the folder {unknown_folders[0]!r}, which is not in {listing}."
        )
    classes = [i for i, key in enumerate(keys) if key in folder_names]
    folders = {keys[i]: label for label, i in enumerate(classes)}
    return [names[i] for i in classes], {"test": _in_folders(images, folders)}


def _class_names(listing: Path) -> tuple[list[str], list[str]]:
    """Reads WordNet ids and class names. Where classes have the same name, all but the first get
    their id appended, which prompts leave out."""
    ids, names = [], []
    for line in read(listing, LINES):
        key, _, name = line.partition(" ")
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
        raise ValueError(f"Two labels have the same class name, {twice[0]!r}.")
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
# Shifted benchmarks have only a test split:
SHIFTED_BENCHMARKS = tuple(
    name for name, layout in BENCHMARKS.items() if layout.read is read_shifted
)
FEW_SHOT_BENCHMARKS = tuple(name for name in BENCHMARKS if name not in SHIFTED_BENCHMARKS)


# Loading and checking #################################################################


def benchmark(name: str) -> Benchmark:
    """The benchmark of the given name.

    Raises:
        ValueError: If there is no such benchmark, listing all.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]


def load_benchmark(name: str, root: str | Path, *, allow_missing: bool = False) -> Any:
    """Loads the images of a benchmark in its splits of ``train``, ``val`` and ``test``, as
    :func:`load_images` does.

    Args:
        name (str): A name in :obj:`BENCHMARKS`.
        root (str or Path): The folder that holds the benchmarks' folders.
        allow_missing (bool, optional): Leave out listed images that do not exist.
            (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the listing or a listed image does not exist.
        ValueError: If the benchmark is unknown, or its listing is malformed.
    """
    names, listing = _read(benchmark(name), Path(root))
    images = datasets.DatasetDict()
    for split, rows in listing.items():
        absent = {path for path, _ in rows if not path.exists()}
        if absent and not allow_missing:
            raise FileNotFoundError(
                f"{name} lists {len(rows)} {split} images, of which {len(absent)} do not exist, "
                f"as {min(absent)}: 'graphadapter data look {root}' lists what is missing."
            )
        existing = [(path, label) for path, label in rows if path not in absent]
        images[split] = image_dataset(
            [path for path, _ in existing], [label for _, label in existing], names
        )
    return images


def _read(benchmark: Benchmark, root: Path) -> tuple[list[str], Listing]:
    folder = root / benchmark.folder
    for path in (folder / benchmark.listing, folder / benchmark.images):
        if not path.exists():
            raise FileNotFoundError(f"{benchmark.title} needs {path}, which does not exist.")
    try:
        names, listing = benchmark.read(
            folder, folder / benchmark.images, folder / benchmark.listing
        )
    except OSError as error:
        raise FileNotFoundError(f"{benchmark.title} lacks a file: {error}") from None
    if not any(listing.values()):
        raise ValueError(f"{benchmark.title} has no image in {folder / benchmark.images}.")
    return names, listing


@dataclass(frozen=True)
class Check:
    """The state of one benchmark on disk, from :func:`check_benchmarks`.

    Args:
        name (str): Its name.
        folder (Path): The folder where it belongs.
        num_classes (int): The number of classes that were found.
        images (dict): The number of listed images of every split.
        missing (int): The number of listed images that do not exist.
        problem (str): What is wrong; empty if the benchmark is complete.
    """

    name: str
    folder: Path
    num_classes: int
    images: dict[str, int]
    missing: int
    problem: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.problem


def check_benchmarks(root: str | Path) -> list[Check]:
    """Checks every benchmark below a folder, and says what is missing.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root}: give the one that holds the benchmarks."
            f"{path_suggestion(root)}"
        )
    return [_check(name, root) for name in BENCHMARKS]


def _check(name: str, root: Path) -> Check:
    expected = BENCHMARKS[name]
    folder = root / expected.folder
    try:
        names, listing = _read(expected, root)
    except (FileNotFoundError, ValueError) as error:
        return Check(name, folder, 0, {}, 0, str(error))
    absent = [path for rows in listing.values() for path, _ in rows if not path.exists()]
    problem = ""
    if absent:
        problem = f"{len(absent)} listed images do not exist, as {absent[0]}."
    elif len(names) != expected.num_classes:
        problem = f"It has {len(names)} classes instead of {expected.num_classes}."
    counts = {split: len(rows) for split, rows in listing.items()}
    return Check(name, folder, len(names), counts, len(absent), problem)
