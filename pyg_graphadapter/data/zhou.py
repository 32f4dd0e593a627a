"""Images that a ``split_zhou_….json`` lists, the form of CoOp's benchmarks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pyg_graphadapter.data.benchmarks import SPLIT_FILE, SplitRow
from pyg_graphadapter.data.listed import (
    existing,
    folders_beside,
    leads_out,
    portable,
    root_of,
)
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.storage import FileKind, read

PATTERN = "split_*.json"
START_BYTES = 4096


@dataclass(frozen=True)
class OwnSplitFile:
    """As :class:`~pyg_graphadapter.data.benchmarks.SplitFile`; splits may be missing."""

    train: tuple[SplitRow, ...]
    val: tuple[SplitRow, ...] = ()
    test: tuple[SplitRow, ...] = ()


OWN_SPLIT_FILE: FileKind[OwnSplitFile] = FileKind(
    SPLIT_FILE.noun, OwnSplitFile, SPLIT_FILE.remedy, suffixes=SPLIT_FILE.suffixes, max_bytes=2**30
)


def is_zhou(path: Path) -> bool:
    """Whether a file is a split file, or a folder holds one."""
    return _listing(path) is not None


def _listing(path: Path) -> Path | None:
    if path.is_dir():
        listings = sorted(listing for listing in path.glob(PATTERN) if listing.is_file())
        return listings[0] if len(listings) == 1 and _looks_like_one(listings[0]) else None
    return path if path.suffix == ".json" and path.is_file() and _looks_like_one(path) else None


def _looks_like_one(path: Path) -> bool:
    """Whether a file begins as a table of a split that is a list of lists, which no list of images
    does."""
    try:
        with path.open("rb") as file:
            start = b"".join(file.read(START_BYTES).split())
    except OSError:
        return False
    start = start.removeprefix(b"\xef\xbb\xbf")
    return any(
        start.startswith(b'{"%s":[%s' % (split.name.encode(), row))
        for split in fields(OwnSplitFile)
        for row in (b'["', b"],")
    )


def read_zhou(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads a split file: for every split a list of ``[path, label, class name]``. The paths are
    relative to its folder or to a folder in it or beside it.

    Raises:
        FileNotFoundError: If no listed image is there.
        ValueError: If it is malformed, one label has two names, or a path leads out of the folder.
    """
    listing = _listing(path) or path
    content = read(listing, OWN_SPLIT_FILE)
    splits = {"train": content.train, "val": content.val, "test": content.test}
    rows = [row for split_rows in splits.values() for row in split_rows]
    if not rows:
        raise ValueError(f"{listing} lists no image: add rows of path, label and class name.")
    names = _names(rows, listing, reading)
    for name, _, _ in rows:
        if leads_out(name):
            raise ValueError(f"{listing} has the path {name!r}, which leads out of its folder.")
    paths = [portable(row[0]) for row in rows]
    root = root_of(listing, paths, folders_beside(listing), options)
    options.refuse(
        f"the split file {listing}", "image_column", "label_column", "split_column", "layout",
        "crops",
    )  # fmt: skip
    reading.layout = "split file (split_zhou_….json)"
    reading.notes.append(f"{listing.name} gives the splits and the names of the classes.")
    images = [
        ImageRow(portable(name), names[label], split)
        for split, split_rows in splits.items()
        for name, label, _ in split_rows
    ]
    images = existing(images, root, options, reading)
    present = {row.label for row in images}
    reading.order = [names[label] for label in sorted(names) if names[label] in present]
    return images


def _names(rows: Sequence[SplitRow], listing: Path, reading: Reading) -> dict[int, str]:
    """The name of every label. Where two labels have one name, it is followed by the label."""
    names: dict[int, str] = {}
    for _, label, name in rows:
        if names.setdefault(label, name) != name:
            raise ValueError(
                f"{listing} has two names for label {label}, {names[label]!r} and {name!r}: give "
                f"it one."
            )
    return distinct_names(names, reading)


def distinct_names(names: dict[int, str], reading: Reading) -> dict[int, str]:
    """Names that are all different: those that several labels have are followed by the label."""
    counts = Counter(names.values())
    twice = {name for name, count in counts.items() if count > 1}
    if twice:
        reading.notes.append(
            f"Several labels have the name {min(twice)!r}: they are classes of their own, and the "
            f"label is added to the name."
        )
    return {k: f"{name} ({k})" if name in twice else name for k, name in names.items()}
