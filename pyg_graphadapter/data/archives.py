"""Loads images from archives: tars in WebDataset form, and Parquet files."""

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import datasets

KINDS = {".tar": "webdataset", ".parquet": "parquet"}
CLASS_NAMES = "classnames.txt"  # one name per line, beside tars whose labels are numbers
SPLIT_IN_NAME = re.compile(r"(train|training|val|valid|validation|dev|test)(?=[^a-z]|$)")


def archives_of(source: Path) -> list[Path]:
    """Lists the archives of a source: a file itself, or those in a folder and its split folders."""
    if source.is_file():
        return [source] if source.suffix in KINDS else []
    splits = [path for path in source.iterdir() if SPLIT_IN_NAME.fullmatch(path.name.lower())]
    candidates = [
        path for folder in (source, *splits) if folder.is_dir() for path in folder.iterdir()
    ]
    return sorted(path for path in candidates if path.suffix in KINDS and path.is_file())


def load_archives(
    source: Path, archives: Sequence[Path], *, label_column: str | None = None
) -> datasets.DatasetDict:
    """Loads the images of archives, by split.

    The name of its folder, or else the beginning of its own name, tells the split of an archive;
    otherwise it belongs to ``train``. In tars, the label is ``cls`` or, if there is none,
    ``label`` in ``json``. Labels that are numbers count the lines of ``classnames.txt``, beside the
    tars or in the folder above.

    Args:
        source (Path): The file or folder that holds the archives.
        archives (sequence of Path): The archives.
        label_column (str, optional): The column of labels, if it has another name.
            (default: :obj:`None`)

    Raises:
        ValueError: If there are both tars and Parquet files, or an archive cannot be read.
    """
    kinds = sorted({path.suffix for path in archives})
    if len(kinds) > 1:
        raise ValueError(
            f"{source} holds both {' and '.join(kinds)} files: keep only one of the two kinds."
        )
    splits: dict[str, list[str]] = {}
    for path in archives:
        splits.setdefault(_split_of(path, source), []).append(str(path))
    try:
        images = datasets.load_dataset(KINDS[kinds[0]], data_files=splits)
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
        images = datasets.DatasetDict(
            {split: _with_label(rows, label_column) for split, rows in images.items()}
        )
        names = _class_names(archives, source)
        if names is not None and label_column is None:
            images = _with_class_names(images, names, source)
    return images


def _split_of(path: Path, source: Path) -> str:
    folder = "" if path.parent == source or path == source else path.parent.name
    for name in (folder, path.name):
        match = SPLIT_IN_NAME.match(name.lower())
        if match is not None:
            return match.group()
    return "train"


def _with_label(images: datasets.Dataset, label_column: str | None) -> datasets.Dataset:
    """Takes the column ``label`` from ``cls``, or from ``json`` where there is no label."""
    columns = images.column_names
    if label_column is None and "cls" in columns:
        return images.rename_column("cls", "label")
    if "json" in columns and "label" not in columns:
        labels = [metadata.get("label") for metadata in images["json"]]
        return images.add_column("label", labels)
    return images


def _class_names(archives: Sequence[Path], source: Path) -> list[str] | None:
    for folder in dict.fromkeys([*(path.parent for path in archives), source]):
        listing = folder / CLASS_NAMES
        if listing.is_file():
            return listing.read_text(encoding="utf-8").splitlines()
    return None


def _with_class_names(
    images: datasets.DatasetDict, names: list[str], source: Path
) -> datasets.DatasetDict:
    largest = max((max(rows["label"], default=0) for rows in images.values()), default=0)
    if not isinstance(largest, int) or largest >= len(names):
        raise ValueError(
            f"{source} has {len(names)} names in {CLASS_NAMES} and the label {largest!r}: labels "
            f"must be line numbers that start at 0."
        )
    return images.cast_column("label", datasets.ClassLabel(names=names))
