"""Images with boxes: annotations in COCO's form, as COCO and Roboflow write them."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pyg_graphadapter.data.decode import UnreadableImageError, decode_image
from pyg_graphadapter.data.listed import (
    existing,
    leads_out,
    root_of,
    split_in_name,
    subfolders,
)
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.zhou import distinct_names
from pyg_graphadapter.storage import FileKind, read

ROBOFLOW = "_annotations.coco.json"
START_BYTES = 2**16
ENTRIES = (b'"images"', b'"annotations"', b'"categories"')


@dataclass(frozen=True)
class CocoImage:
    """An image of a file of annotations."""

    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class CocoBox:
    """An annotation: a box ``(x, y, width, height)`` of a category in an image."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, ...] | None = None
    iscrowd: int | bool | None = None


@dataclass(frozen=True)
class CocoCategory:
    """A category."""

    id: int
    name: str


@dataclass(frozen=True)
class CocoFile:
    """A file of annotations. What else such a file holds is not read."""

    images: tuple[CocoImage, ...]
    annotations: tuple[CocoBox, ...]
    categories: tuple[CocoCategory, ...]


COCO_FILE: FileKind[CocoFile] = FileKind(
    "file of COCO annotations",
    CocoFile,
    "It must have 'images', 'annotations' and 'categories' as COCO has them",
    suffixes=(".json",),
    max_bytes=2**31,
)


# What a source is #####################################################################


def is_coco(path: Path) -> bool:
    """Whether a file has such annotations, or a folder holds such files."""
    return bool(_listings(path)) if path.is_dir() else _is_coco_file(path)


def _listings(folder: Path) -> list[Path]:
    """The files of annotations in a folder, in ``annotations``, or in the folders of splits."""
    places = [
        *folder.glob("*.json"),
        *(folder / "annotations").glob("instances_*.json"),
        *(split / ROBOFLOW for split in subfolders(folder) if split_in_name(split.name)),
    ]
    return sorted(path for path in places if path.is_file() and _is_coco_file(path))


def _is_coco_file(path: Path) -> bool:
    """Whether a file is named as Roboflow and COCO do, or has all its entries at its ends."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if path.name == ROBOFLOW:
        return True
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= 2**24:
                content = file.read()
            else:  # COCO's own files have 'images' first and 'categories' last
                content = file.read(START_BYTES)
                file.seek(size - START_BYTES)
                content += file.read() + ENTRIES[1]
    except OSError:
        return False
    return content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and all(
        entry in content for entry in ENTRIES
    )


def is_detection(path: Path) -> bool:
    """Whether a folder has boxes in a form that is not read."""
    return path.is_dir() and _detection(path) is not None


def _detection(folder: Path) -> str | None:
    splits = [path for path in subfolders(folder) if split_in_name(path.name)]
    for root in (folder, *splits):
        labels = root / "labels"
        nested = [labels, *subfolders(labels)] if labels.is_dir() else []
        if (root / "images").is_dir() and any(any(path.glob("*.txt")) for path in nested):
            return "YOLO"
        annotations = root / "Annotations"
        if annotations.is_dir() and any(annotations.glob("*.xml")):
            return "Pascal VOC"
    return None


def refuse_detection(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Refuses boxes in a form that is not read.

    Raises:
        ValueError: Always, naming the form and what to do.
    """
    raise ValueError(
        f"{path} has boxes in the form of {_detection(path)}, which is not read: export them in "
        f"COCO's form (and take their boxes with --crops), or as a folder per class."
    )


# Reading ##############################################################################


def read_coco(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads annotations: an image whose boxes have one category has it as its label. Images with
    several categories, or none, are left out and counted. With ``options.crops`` every box is an
    image of its own.

    Raises:
        FileNotFoundError: If no image is there.
        ValueError: If annotations cannot be read, or name images or categories that are not there.
    """
    listings = _listings(path) if path.is_dir() else [path]
    options.refuse(
        f"the COCO annotations {path}", "image_column", "label_column", "split_column", "layout"
    )
    reading.layout = "COCO annotations"
    rows: list[ImageRow] = []
    order: dict[int, str] = {}
    for listing in listings:
        content = read(listing, COCO_FILE)
        split = _split_of(listing)
        names = distinct_names({c.id: c.name for c in content.categories}, reading)
        order |= names
        if not content.images:
            raise ValueError(f"{listing} lists no image: give annotations with images.")
        for image in content.images:
            if leads_out(image.file_name):
                raise ValueError(
                    f"{listing} has the path {image.file_name!r}, which leads out of its folder."
                )
        by_image = _by_image(content, names, listing)
        paths = [image.file_name for image in content.images]
        root = root_of(listing, paths, _folders(listing, split), options)
        read_rows = _crops if options.crops else _whole
        rows += read_rows(content, by_image, names, root, split, options, reading)
    reading.notes.append(
        "Every box is an image (--crops)." if options.crops else
        "The label of an image is the category of its boxes; --crops takes every box as an image."
    )  # fmt: skip
    present = {row.label for row in rows}
    reading.order = list(
        dict.fromkeys(order[number] for number in sorted(order) if order[number] in present)
    )
    if present - set(reading.order):  # categories with other names in another file
        reading.order = None
    return rows


def _split_of(listing: Path) -> str | None:
    """The split by the name of the file or, of Roboflow's, of its folder."""
    name = listing.parent.name if listing.name == ROBOFLOW else listing.stem
    return split_in_name(name)


def _folders(listing: Path, split: str | None) -> Iterator[Path]:
    """Where the images of a file of annotations may lie."""
    root = listing.parent.parent if listing.parent.name == "annotations" else listing.parent
    name = listing.stem.rpartition("_")[2]  # as train2017
    for folder in (root, root / "images"):
        yield folder / name
        if split is not None:
            yield folder / split
    yield listing.parent
    yield root
    yield root / "images"
    yield from subfolders(root)


def _by_image(
    content: CocoFile, names: dict[int, str], listing: Path
) -> dict[int | str, list[CocoBox]]:
    by_image: dict[int | str, list[CocoBox]] = {image.id: [] for image in content.images}
    if len(by_image) < len(content.images):
        raise ValueError(f"{listing} has two images with one id: give each its own.")
    for box in content.annotations:
        if box.image_id not in by_image or box.category_id not in names:
            raise ValueError(
                f"{listing} has a box of the image {box.image_id!r} and the category "
                f"{box.category_id}, of which it lists only one or none."
            )
        by_image[box.image_id].append(box)
    return by_image


def _whole(
    content: CocoFile,
    by_image: dict[int | str, list[CocoBox]],
    names: dict[int, str],
    root: Path,
    split: str | None,
    options: ReadOptions,
    reading: Reading,
) -> list[ImageRow]:
    """The images, whose boxes have one category each.

    Raises:
        ValueError: If an image has boxes of several.
    """
    rows = []
    of_file: dict[str, set[str]] = {}
    for image in content.images:  # of which several may be of one file
        boxes = by_image[image.id]
        of_file.setdefault(image.file_name, set()).update(names[box.category_id] for box in boxes)
    categories = {name: sorted(of_image) for name, of_image in of_file.items()}
    several = [name for name, of_image in categories.items() if len(of_image) > 1]
    if several:
        raise ValueError(
            f"{len(several)} of {len(categories)} images have several labels, as "
            f"{root / several[0]} ({', '.join(categories[several[0]][:4])}): a classifier has one "
            f"label per image. Take every box as an image with --crops (crops=True), or remove "
            f"such images from the annotations."
        )
    for name, of_image in categories.items():
        if of_image:
            rows.append(ImageRow(name, of_image[0], split))
        else:
            reading.leave_out("images without a box", root / name)
    return existing(rows, root, options, reading)


# Crops ################################################################################


def _crops(
    content: CocoFile,
    by_image: dict[int | str, list[CocoBox]],
    names: dict[int, str],
    root: Path,
    split: str | None,
    options: ReadOptions,
    reading: Reading,
) -> list[ImageRow]:
    """The boxes as images, in the order of the annotations of each image."""
    rows = []
    for image in content.images:
        boxes = by_image[image.id]
        found = existing([ImageRow(image.file_name, "", split)], root, options, reading)
        if not found:
            continue
        if not boxes:
            reading.leave_out("images without a box", found[0].image)
        else:
            rows += [
                ImageRow(cell, names[boxes[i].category_id], split)
                for i, cell in _cells(found[0].image, image, boxes, reading)
            ]
    return rows


def _cells(
    path: str, image: CocoImage, boxes: Sequence[CocoBox], reading: Reading
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The crops of an image as PNG, and the numbers of their boxes."""
    try:
        decoded = _as_annotated(path, image)
    except UnreadableImageError as error:
        reading.leave_out("images that cannot be decoded", f"{path} ({error})")
        return
    if decoded is None:
        reading.leave_out("images of another size than their annotations say", path)
        return
    for i, box in enumerate(boxes):
        name = f"{path}#{i}"
        corners = _clipped(box, decoded)
        if box.iscrowd:
            reading.leave_out("boxes around a crowd", name)
        elif corners is None:
            reading.leave_out("empty boxes", name)
        else:
            stream = io.BytesIO()
            decoded.crop(corners).save(stream, "PNG", compress_level=1)
            yield i, {"bytes": stream.getvalue(), "path": name}


def _as_annotated(path: str, image: CocoImage) -> Image.Image | None:
    """An image turned as it was when its boxes were drawn: as its EXIF orientation says or, if only
    that has the annotated size, as it is stored. :obj:`None` if neither has."""
    decoded = decode_image(path)
    size = (image.width, image.height)
    if None in size or decoded.size == size:
        return decoded
    stored = decode_image(path, turn=False)
    return stored if stored.size == size else None


def _clipped(box: CocoBox, image: Image.Image) -> tuple[int, int, int, int] | None:
    """The corners of a box inside its image, in whole pixels; :obj:`None` if nothing is in it."""
    if box.bbox is None or len(box.bbox) != 4:
        return None
    x, y, width, height = box.bbox
    # Cut off before they are rounded, since a sum of large numbers is infinite:
    left, right = (round(min(max(side, 0), image.width)) for side in (x, x + width))
    upper, lower = (round(min(max(side, 0), image.height)) for side in (y, y + height))
    return (left, upper, right, lower) if left < right and upper < lower else None
