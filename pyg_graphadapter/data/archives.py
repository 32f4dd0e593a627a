"""Images in archives: tars in WebDataset form, and Parquet files."""

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import datasets

KINDS = {".tar": "webdataset", ".parquet": "parquet"}
CLASS_NAMES = "classnames.txt"  # a line a class, beside tars, where labels are numbers
SPLIT_IN_NAME = re.compile(r"(train|training|val|valid|validation|dev|test)(?=[^a-z]|$)")


def archives_of(source: Path) -> list[Path]:
    """The archives that a source is or, as a folder, holds itself or in folders of splits."""
    if source.is_file():
        return [source] if source.suffix in KINDS else []
    splits = [path for path in source.iterdir() if SPLIT_IN_NAME.fullmatch(path.name.lower())]
    inside = [path for folder in (source, *splits) if folder.is_dir() for path in folder.iterdir()]
    return sorted(path for path in inside if path.suffix in KINDS and path.is_file())


def load_archives(
    source: Path, archives: Sequence[Path], *, label_column: str | None = None
) -> datasets.DatasetDict:
    """The content of archives as data sets, by split.

    An archive belongs to the split that its folder is named for, or that its own name begins with,
    and else to ``train``. Of tars, ``cls`` is the label or, where there is none, ``label`` in
    ``json``; numbers are lines of ``classnames.txt`` beside the tars or above them.

    Args:
        source (Path): Where they were found.
        archives (sequence of Path): The archives.
        label_column (str, optional): The column of labels, where it is another.
            (default: :obj:`None`)

    Raises:
        ValueError: If both kinds are there, or they cannot be read.
    """
    kinds = sorted({path.suffix for path in archives})
    if len(kinds) > 1:
        raise ValueError(f"{source} holds both {' and '.join(kinds)} files: give one kind of them.")
    splits: dict[str, list[str]] = {}
    for path in archives:
        splits.setdefault(_split_of(path, source), []).append(str(path))
    try:
        found = datasets.load_dataset(KINDS[kinds[0]], data_files=splits)
    except (
        datasets.exceptions.DatasetGenerationError,
        tarfile.TarError,
        OSError,
        ValueError,
    ) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"The archives {splits[next(iter(splits))][0]}, … cannot be read ({reason})."
        ) from error
    if kinds == [".tar"]:
        found = datasets.DatasetDict(
            {split: _with_label(part, label_column) for split, part in found.items()}
        )
        names = _class_names(archives, source)
        if names is not None and label_column is None:
            found = _named(found, names, source)
    return found


def _split_of(path: Path, source: Path) -> str:
    folder = "" if path.parent == source or path == source else path.parent.name
    for name in (folder, path.name):
        match = SPLIT_IN_NAME.match(name.lower())
        if match is not None:
            return match.group()
    return "train"


def _with_label(part: datasets.Dataset, label_column: str | None) -> datasets.Dataset:
    """The label that ``json`` holds as a column of its own, where there is no other."""
    columns = part.column_names
    if label_column is None and "cls" in columns:
        return part.rename_column("cls", "label")
    if "json" in columns and "label" not in columns:
        labels = [each.get("label") for each in part["json"]]
        return part.add_column("label", labels)
    return part


def _class_names(archives: Sequence[Path], source: Path) -> list[str] | None:
    for folder in dict.fromkeys([*(path.parent for path in archives), source]):
        listing = folder / CLASS_NAMES
        if listing.is_file():
            return listing.read_text(encoding="utf-8").splitlines()
    return None


def _named(found: datasets.DatasetDict, names: list[str], source: Path) -> datasets.DatasetDict:
    largest = max((max(part["label"], default=0) for part in found.values()), default=0)
    if not isinstance(largest, int) or largest >= len(names):
        raise ValueError(
            f"{source} has {len(names)} names in {CLASS_NAMES} and the label {largest!r}: labels "
            f"must be line numbers, from 0."
        )
    return found.cast_column("label", datasets.ClassLabel(names=names))
