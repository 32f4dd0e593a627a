"""Lists of images as text: one line per image, with its path and its label."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyg_graphadapter.data.class_names import without_minus_one
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.listed import (
    existing,
    folders_beside,
    is_file,
    portable,
    root_of,
    split_in_name,
)
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.zhou import distinct_names
from pyg_graphadapter.storage import FileKind, read

LIST_SUFFIXES = (".txt", ".lst")
NAME_FILES = ("classnames.txt", "classes.txt", "class_names.txt")
START_BYTES = 2**16
WINDOWS = "Windows-1252"
LINES_TO_TRY = 20
# A path that ends with the suffix of an image, and what follows it:
LINE = re.compile(
    rf"(?P<path>.+?(?:{'|'.join(map(re.escape, SUFFIXES))}))(?P<gap>[ \t,;]+)(?P<label>\S.*)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[0-9]{1,18}")  # longer ones are names
NUMBERED = re.compile(r"(\d{1,18})[ \t:,]+(\S.*)")


def _parse_lines(stream: BinaryIO, path: Path) -> list[str]:
    """The encoding of a text and its lines; empty ones count, so that a message can name one."""
    encoding, text = _decoded(stream.read())
    return [encoding, *text.splitlines()]


def _decoded(content: bytes) -> tuple[str, str]:
    try:
        return "UTF-8", content.decode("utf-8-sig")
    except UnicodeDecodeError:  # what spreadsheets and editors on Windows write
        return WINDOWS, content.decode("cp1252")


TEXT_LIST: FileKind[tuple[str, ...]] = FileKind(
    "text list of images",
    tuple[str, ...],
    "It must have one line per image, with its path and its label",
    suffixes=LIST_SUFFIXES,
    parse=_parse_lines,
    max_bytes=2**30,
)


@dataclass(frozen=True)
class Line:
    """A line of a list.

    Args:
        listing (Path): The list.
        number (int): The number of the line, from 1.
        path (str): The path of an image.
        labels (tuple of str): The label, or several numbers.
    """

    listing: Path
    number: int
    path: str
    labels: tuple[str, ...]


def is_text_list(path: Path) -> bool:
    """Whether a file is such a list, or a folder holds lists that are named for splits and whose
    images are there."""
    if path.is_dir():
        return bool(_lists_in(path))
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file() and bool(_first_paths(path))


def _lists_in(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in LIST_SUFFIXES
        and split_in_name(path.stem) is not None
        and path.is_file()
        and _begins_as_list(path)
    ]


def _begins_as_list(path: Path) -> bool:
    """Whether the first lines name an image and a label, and one of the images is there."""
    paths = _first_paths(path)
    return any(is_file(folder / image) for folder in folders_beside(path) for image in paths)


def _first_paths(path: Path) -> list[str]:
    """The images of the first lines, if the first has an image and a label."""
    try:
        with path.open("rb") as file:
            lines = _decoded(file.read(START_BYTES))[1].splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    matches = [LINE.fullmatch(line) for line in lines[:LINES_TO_TRY]]
    if not matches or matches[0] is None:
        return []
    return [portable(match["path"].strip()) for match in matches if match is not None]


def read_text_list(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads lists of ``path label``, separated by blanks or tabs. The label is a name or a number,
    which counts the lines of ``classnames.txt`` or ``classes.txt`` beside the list.

    A line with several numbers has one label if one of them is 1 and the others are 0 or -1.

    Raises:
        FileNotFoundError: If no listed image is there.
        ValueError: If a line has no label or several, or a number has no name.
    """
    listings = _lists_in(path) if path.is_dir() else [path]
    lines = [line for listing in listings for line in _lines(listing, reading)]
    if not lines:
        raise ValueError(f"{path} lists no image: add lines with a path and a label.")
    names = None if options.class_names is not None else _names(listings, reading)
    labels = without_minus_one(_single_labels(lines, reading))
    if names is not None:
        names = _counted_from_one(names, labels, reading)
        labels = _named(labels, names, lines[0].listing)
    elif all(label is None or label.isdecimal() for label in labels):
        reading.notes.append("The labels are numbers: --class-names gives them names.")
    options.refuse(
        f"the list {path}, which is text", "image_column", "label_column", "split_column", "layout",
        "crops",
    )  # fmt: skip
    reading.layout = "text list of images"
    rows_of: dict[Path, list[ImageRow]] = {}
    for line, label in zip(lines, labels, strict=True):
        row = ImageRow(line.path, label, split_in_name(line.listing.stem))
        rows_of.setdefault(line.listing, []).append(row)
    rows: list[ImageRow] = []
    for listing, of_listing in rows_of.items():
        paths = [row.image for row in of_listing]
        root = root_of(listing, paths, folders_beside(listing), options)
        rows += existing(of_listing, root, options, reading)
    present = {row.label for row in rows if row.label is not None}
    if names is not None and present <= set(names.values()):
        reading.order = [names[number] for number in sorted(names) if names[number] in present]
    return rows


def _lines(listing: Path, reading: Reading) -> Iterator[Line]:
    lines = read(listing, TEXT_LIST)
    if lines[:1] == (WINDOWS,):
        reading.notes.append(f"{listing.name} is no UTF-8 and was read as Windows-1252.")
    for number, text in enumerate(lines[1:], start=1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(text.strip())
        if match is None:
            if LINE.fullmatch(f"{text.strip()} ?"):
                reading.leave_out("lines without a label", f"{listing.name}, line {number}")
                continue
            raise ValueError(
                f"{listing} has {text.strip()[:60]!r} in line {number}, where a path that ends "
                f"with {', '.join(SUFFIXES[:4])}, … and a label are expected."
            )
        if LINE.fullmatch(match["label"]):
            raise ValueError(
                f"{listing} has two paths in line {number}: one line has one image and its label."
            )
        yield Line(listing, number, portable(match["path"].strip()), _fields(match["label"]))


def _fields(label: str) -> tuple[str, ...]:
    """A label, or several numbers in a row."""
    parts = tuple(part for part in re.split(r"[ \t,;]+", label.strip()) if part)
    is_numbers = all(re.fullmatch(r"-?\d+", part) for part in parts)
    return parts if is_numbers else (label.strip(),)


def _single_labels(lines: Sequence[Line], reading: Reading) -> list[str]:
    """The label of every line.

    Raises:
        ValueError: If a line has several.
    """
    widths = {len(line.labels) for line in lines}
    if widths == {1}:
        return [line.labels[0] for line in lines]
    is_one_hot = len(widths) == 1 and all(
        value in ("0", "1", "-1") for line in lines for value in line.labels
    )
    labels = []
    for line in lines:
        if not is_one_hot and len(line.labels) == 1:
            labels.append(line.labels[0])
        elif is_one_hot and line.labels.count("1") == 1:
            labels.append(str(line.labels.index("1")))
        else:
            few = "no label" if is_one_hot and "1" not in line.labels else "several labels"
            raise ValueError(
                f"{line.listing} has {few} in line {line.number} ({' '.join(line.labels)[:60]}): "
                f"an image has one label here."
            )
    reading.notes.append("The label is the place of the 1 in a line, counted from 0.")
    return labels


# Names ################################################################################


def _names(listings: Sequence[Path], reading: Reading) -> dict[int, str] | None:
    """The names by number, from a file beside the lists or above them."""
    for folder in dict.fromkeys(f for path in listings for f in (path.parent, path.parent.parent)):
        for name in NAME_FILES:
            path = folder / name
            if path.is_file() and path not in listings and not _begins_as_list(path):
                texts = [line.strip() for line in read(path, TEXT_LIST)[1:]]
                reading.notes.append(f"{name} gives the labels their names.")
                return distinct_names(_numbered(texts), reading)
    return None


def _numbered(texts: Sequence[str]) -> dict[int, str]:
    """The names by the number before them if each line has one, or else by their line from 0."""
    while texts and not texts[-1]:
        texts = texts[:-1]
    matches = [NUMBERED.fullmatch(text) for text in texts]
    numbers = [int(match[1]) for match in matches if match is not None]
    if len(numbers) == len(texts) and numbers in (
        list(range(len(texts))), list(range(1, len(texts) + 1))
    ):  # fmt: skip
        return {int(match[1]): match[2] for match in matches if match is not None}
    return dict(enumerate(texts))


def _counted_from_one(
    names: dict[int, str], labels: Sequence[str | None], reading: Reading
) -> dict[int, str]:
    """Names by line from 1, where the labels are as many numbers as there are names, from 1."""
    numbers = [int(label) for label in labels if label and NUMBER.fullmatch(label)]
    if min(names) == 0 and numbers and min(numbers) == 1 and max(numbers) == len(names):
        reading.notes.append("The first name is that of label 1.")
        return {number + 1: name for number, name in names.items()}
    return names


def _named(labels: Sequence[str | None], names: dict[int, str], listing: Path) -> list[str | None]:
    """Labels by name, where they are numbers; where they are names, as they are."""
    present = [label for label in labels if label is not None]
    if not all(NUMBER.fullmatch(label) for label in present):
        return list(labels)
    unknown = [label for label in present if int(label) not in names or not names[int(label)]]
    if unknown:
        raise ValueError(
            f"{listing} has the label {unknown[0]}, and the names beside it are numbered from "
            f"{min(names)} to {max(names)}: add its name, or give --class-names."
        )
    return [None if label is None else names[int(label)] for label in labels]
