"""Finds equal images under two labels or in two splits."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from pyg_graphadapter.data.decode import UnreadableImageError, decode_image, image_name
from pyg_graphadapter.data.folder import read_regular
from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.display import visible

MAX_COMPARED = 50_000  # images; the files of more take too long
BATCH = 1000


class _Image(NamedTuple):
    split: str
    row: int
    label: int


def tell_duplicates(splits: Mapping[str, datasets.Dataset], reading: Reading) -> None:
    """Notes equal images (by the bytes of their files) that are in two splits, or that have two
    labels. Only files of equal size are read."""
    total = sum(map(len, splits.values()))
    if total > MAX_COMPARED:
        reading.notes.append(
            f"Equal images were not looked for: there are {total} images, more than {MAX_COMPARED}."
        )
        return
    two_splits: list[str] = []
    two_labels: list[str] = []
    for group in _equal_images(splits):
        names = [visible(image_name(splits[i.split][i.row]["image"])) for i in group[:2]]
        if len({image.label for image in group}) > 1:
            other = next(image for image in group if image.label != group[0].label)
            classes = splits[group[0].split].features["label"].names
            two_labels.append(
                f"{names[0]} is {classes[group[0].label]!r} and {classes[other.label]!r}"
            )
        if len({image.split for image in group}) > 1:
            other = next(image for image in group if image.split != group[0].split)
            name = visible(image_name(splits[other.split][other.row]["image"]))
            two_splits.append(f"{names[0]} of {group[0].split} = {name} of {other.split}")
    reading.in_two_splits, reading.with_two_labels = two_splits, two_labels
    if two_labels:
        reading.notes.append(f"Equal images with two labels: {len(two_labels)} ({two_labels[0]}).")
    if two_splits:
        reading.notes.append(f"Equal images in two splits: {len(two_splits)} ({two_splits[0]}).")


def _equal_images(splits: Mapping[str, datasets.Dataset]) -> Iterator[list[_Image]]:
    by_size: dict[int, list[_Image]] = {}
    for split, part in splits.items():
        for start in range(0, len(part), BATCH):
            batch = part[start : start + BATCH]
            for i, (cell, label) in enumerate(zip(batch["image"], batch["label"], strict=True)):
                image = _Image(split, start + i, label)
                by_size.setdefault(_size(cell), []).append(image)
    for size, images in by_size.items():
        if size <= 0 or len({(image.split, image.label) for image in images}) < 2:
            continue
        by_hash: dict[bytes, list[_Image]] = {}
        for image in images:
            by_hash.setdefault(_hash(splits[image.split][image.row]["image"]), []).append(image)
        for digest, equal in by_hash.items():
            if len({(image.split, image.label) for image in equal}) < 2 or not digest:
                continue
            if _is_readable(splits[equal[0].split][equal[0].row]["image"]):
                yield equal


def _size(cell: dict[str, Any]) -> int:
    if cell["bytes"] is not None:
        return len(cell["bytes"])
    try:
        return Path(cell["path"]).stat().st_size
    except (OSError, ValueError, TypeError):
        return 0


def _is_readable(cell: dict[str, Any]) -> bool:
    """Whether an image can be decoded; others are skipped anyway, each with its reason."""
    try:
        decode_image(cell)
    except UnreadableImageError:
        return False
    return True


def _hash(cell: dict[str, Any]) -> bytes:
    """The hash of an image's bytes, or nothing where they cannot be read."""
    try:
        content = cell["bytes"] if cell["bytes"] is not None else read_regular(cell["path"])
    except (OSError, ValueError):
        return b""
    return hashlib.sha256(content).digest()
