"""A look at images before any work: what was read, and what is worth knowing about it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import datasets

from pyg_graphadapter.data.decode import UnreadableImageError, image_name, size_and_mode
from pyg_graphadapter.data.reading import SPLITS, ImageSet, counted_reason
from pyg_graphadapter.data.summary import unbalanced
from pyg_graphadapter.features import counted

SAMPLE = 100  # images whose sizes are looked at
TINY = 4  # training images of a class, of which the draws of papers take up to 16
CUT = 0.25  # share of an image
MAX_SHOWN = 5


@dataclass(frozen=True)
class ClassLook:
    """A class: its images by split, and the file name of one of them."""

    name: str
    counts: dict[str, int]
    example: str


@dataclass(frozen=True)
class SizeLook:
    """The sizes of a sample of images.

    Args:
        sampled (int): The number of images.
        smallest (tuple of int): Width and height of the image with the fewest pixels.
        median (tuple of int): The medians of width and height.
        largest (tuple of int): Width and height of the image with the most pixels.
        modes (dict): The number of images by mode, as ``RGB`` or ``L``.
        cut (float): The mean share of an image that is cut off by the crop to a square around its
            centre, which most encoders make.
        most_cut (float): The largest share.
        most_cut_image (str): The image that it is cut off.
        unreadable (dict): The images that cannot be opened, with the reason.
    """

    sampled: int = 0
    smallest: tuple[int, int] = (0, 0)
    median: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    modes: dict[str, int] = field(default_factory=dict)
    cut: float = 0.0
    most_cut: float = 0.0
    most_cut_image: str = ""
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """What :func:`look_at` sees.

    Args:
        source (str): The source.
        layout (str): How it was read.
        splits (dict): The number of labelled images by split.
        unlabelled (dict): The number of images of splits without labels.
        classes (tuple of ClassLook): The classes.
        unbalanced (str): A sentence on classes of very different size, or nothing.
        tiny (dict): The classes with very few training images, and how many.
        sizes (SizeLook): The sizes of a sample.
        in_two_splits (list of str): Equal images in two splits.
        with_two_labels (list of str): Equal images with two labels.
        left_out (dict): What was left out, by reason.
        notes (list of str): Further sentences on how it was read.
        asked_next (list of str): What the user may have to say next.
    """

    source: str
    layout: str
    splits: dict[str, int]
    unlabelled: dict[str, int]
    classes: tuple[ClassLook, ...]
    unbalanced: str
    tiny: dict[str, int]
    sizes: SizeLook
    in_two_splits: list[str]
    with_two_labels: list[str]
    left_out: dict[str, list[str]]
    notes: list[str]
    asked_next: list[str]


def look_at(images: ImageSet, source: str = "images") -> Look:
    """Looks at images that were read.

    Args:
        images (ImageSet): The images.
        source (str, optional): What they are called. (default: :obj:`"images"`)
    """
    names, counts, reading = images.class_names, images.counts(), images.reading
    order = [split for split in SPLITS if split in counts]
    examples = _examples(images.splits, order)
    classes = tuple(
        ClassLook(name, {split: counts[split][c] for split in order}, examples.get(c, ""))
        for c, name in enumerate(names)
    )
    training = counts.get("train", Counter())
    tiny = {name: training[c] for c, name in enumerate(names) if training and training[c] < TINY}
    return Look(
        source,
        reading.layout,
        {split: counts[split].total() for split in order},
        {split: len(part) for split, part in images.unlabelled.items()},
        classes,
        unbalanced(images),
        tiny,
        sizes_of(sample(images.splits, SAMPLE)),
        list(reading.in_two_splits),
        list(reading.with_two_labels),
        dict(reading.left_out),
        list(reading.notes),
        _asked_next(images, tiny, names),
    )


def _examples(splits: Mapping[str, datasets.Dataset], order: Sequence[str]) -> dict[int, str]:
    """The file name of the first image of every class."""
    rows: dict[int, tuple[str, int]] = {}
    for split in order:
        for row, label in enumerate(splits[split]["label"]):
            rows.setdefault(label, (split, row))
    return {label: image_name(splits[split][row]["image"]) for label, (split, row) in rows.items()}


def sample(splits: Mapping[str, datasets.Dataset], number: int) -> list[Any]:
    """Images at even distances in all splits, undecoded."""
    places = [(part, row) for part in splits.values() for row in range(len(part))]
    step = max(1, len(places) // number)
    return [part[row]["image"] for part, row in places[::step][:number]]


def sizes_of(images: Sequence[Any]) -> SizeLook:
    """The sizes and modes of undecoded images, of which only the beginnings are read."""
    sizes: list[tuple[int, int]] = []
    modes: Counter[str] = Counter()
    cuts: list[tuple[float, str]] = []
    unreadable: dict[str, str] = {}
    for image in images:
        try:
            width, height, mode = size_and_mode(image)
        except UnreadableImageError as error:
            unreadable[image_name(image)] = str(error)
            continue
        sizes.append((width, height))
        modes[mode] += 1
        cuts.append((1 - min(width, height) / max(width, height), image_name(image)))
    if not sizes:
        return SizeLook(len(images), unreadable=unreadable)
    by_pixels = sorted(sizes, key=lambda size: size[0] * size[1])
    most, most_image = max(cuts)
    return SizeLook(
        len(images),
        by_pixels[0],
        (round(median(w for w, _ in sizes)), round(median(h for _, h in sizes))),
        by_pixels[-1],
        dict(modes.most_common()),
        round(fmean(cut for cut, _ in cuts), 4),
        round(most, 4),
        most_image,
        unreadable,
    )


def _asked_next(images: ImageSet, tiny: Mapping[str, int], names: Sequence[str]) -> list[str]:
    """What commands will ask for, with the option that answers."""
    asked = []
    splits = images.splits
    if "train" not in splits:
        asked.append("fit and compare need a training split: name it with --split train=NAME.")
    if "test" not in splits and "train" in splits:
        asked.append(
            "compare needs a test split: name one with --split test=NAME. fit measures on images "
            "that are not drawn, or by cross-validation."
        )
    if all(name.isascii() and name.isdecimal() for name in names):
        asked.append("The classes are numbers: give them names with --class-names FILE.")
    if tiny:
        have = "has" if len(tiny) == 1 else "have"
        asked.append(
            f"{counted(len(tiny), 'class')} {have} fewer than {TINY} training images: fit "
            f"--at-most N takes what there is, --shots N needs N of every class."
        )
    return asked


def look_lines(look: Look) -> list[str]:
    """What :func:`look_at` sees as sentences, without the table of classes."""
    lines = [f"Read as {look.layout}."] if look.layout else []
    lines += [f"Without labels: {counted(count, 'image')} ({split})." for split, count in
              look.unlabelled.items()]  # fmt: skip
    lines += [look.unbalanced] if look.unbalanced else []
    if look.tiny:
        lines.append(
            f"Few training images: {_listed([f'{n} ({c})' for n, c in look.tiny.items()])}."
        )
    lines += _size_lines(look.sizes)
    for what, equal in (
        ("in two splits", look.in_two_splits),
        ("with two labels", look.with_two_labels),
    ):
        lines.append(f"Equal images {what}: {len(equal)}{f' ({_listed(equal)})' if equal else ''}.")
    lines += [
        f"Left out: {counted_reason(len(names), reason)} ({_listed(names)})."
        for reason, names in look.left_out.items()
    ] or ["Left out: nothing."]
    lines += [f"Note: {note}" for note in look.notes if not note.startswith("Equal images ")]
    lines += [f"Next: {sentence}" for sentence in look.asked_next]
    return lines


def _size_lines(sizes: SizeLook) -> list[str]:
    lines = []
    if sizes.modes:
        width, height = sizes.median
        modes = ", ".join(f"{count} {mode}" for mode, count in sizes.modes.items())
        lines.append(
            f"Sizes of {counted(sizes.sampled, 'image')}: {_by(sizes.smallest)} to "
            f"{_by(sizes.largest)}, median {width} x {height}; modes: {modes}."
        )
    if sizes.most_cut >= CUT:
        lines.append(
            f"The crop to a square, which most encoders make, cuts off {100 * sizes.cut:.0f} % of "
            f"an image on average, and {100 * sizes.most_cut:.0f} % of {sizes.most_cut_image}."
        )
    if sizes.unreadable:
        lines.append(
            f"Cannot be read: {len(sizes.unreadable)} of {counted(sizes.sampled, 'image')} "
            f"({_listed(list(sizes.unreadable))})."
        )
    return lines


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_SHOWN]) + (", …" if len(names) > MAX_SHOWN else "")
