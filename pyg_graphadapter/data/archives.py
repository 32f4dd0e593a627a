"""Loads images from archives: tars in WebDataset form, and Parquet files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

import datasets

from pyg_graphadapter.data.benchmarks import CLASS_NAMES
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import Links
from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.data.splits import SplitNames, split_and_words
from pyg_graphadapter.data.tar_files import LABEL_SUFFIXES, TarError, load_tar
from pyg_graphadapter.outputs import OutputError
from pyg_graphadapter.storage import FileKind, Length, read
from pyg_graphadapter.storage.read import parse_text

__all__ = ["KINDS", "LABEL_SUFFIXES", "archives_of", "load_archives"]
ROWS_AT_ONCE = 100
KINDS = {".tar": "webdataset", ".parquet": "parquet"}
SPLIT_IN_NAME = re.compile(r"[^A-Za-z]")  # what follows a split in the name of an archive


def _parse_names(stream: BinaryIO, path: Path) -> list[str]:
    """One name per line; an empty line counts, for the labels are numbers of lines."""
    return parse_text(stream, path).rstrip().splitlines()


# Beside tars whose labels are numbers:
NAMES_FILE: FileKind[tuple[str, ...]] = FileKind(
    "list of class names",
    tuple[Annotated[str, Length(1)], ...],
    "It must be UTF-8 text with one name per line",
    parse=_parse_names,
)


def archives_of(
    source: Path, reading: Reading, names: SplitNames | None = None, *, follow_links: bool = False
) -> list[Path]:
    """Lists the archives of a source: a file itself, or those in a folder and its split folders.
    Links that lead out of the folder are left out and counted, unless they are followed; so are
    archives in other folders.

    Raises:
        ValueError: If there are folders of images beside them.
    """
    if source.is_file():
        return [source] if source.suffix in KINDS else []
    names = names or SplitNames()
    folders = [path for path in source.iterdir() if path.is_dir()]
    splits = [path for path in folders if names.meant(path.name) is not None]
    candidates = [path for folder in (source, *splits) for path in folder.iterdir()]
    archives = sorted(path for path in candidates if path.suffix in KINDS and path.is_file())
    visible_folders = [path for path in folders if not path.name.startswith(".")]
    if not archives and len(visible_folders) == 1:  # as data, in a copy of a repository of the hub
        return archives_of(visible_folders[0], reading, names, follow_links=follow_links)
    if archives:
        _check_beside(source, archives, folders)
        for path in sorted(source.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                reading.leave_out("images beside the archives", path)
    for folder in folders if archives else []:
        for path in sorted(folder.iterdir()) if folder not in splits else []:
            if path.suffix in KINDS:
                reading.leave_out("archives in folders that are no split", path)
    links = Links(source, follow=follow_links)
    archives = [path for path in archives if follow_links or _is_followed(links, path)]
    links.report(reading)
    return archives


def _check_beside(source: Path, archives: Sequence[Path], folders: Sequence[Path]) -> None:
    """Refuses archives beside folders of images: either may be the data set."""
    with_images = [
        folder.name for folder in folders if not folder.name.startswith(".")
        and any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))
    ]  # fmt: skip
    if with_images:
        raise ValueError(
            f"{source} holds archives ({archives[0].relative_to(source)}) and folders of images "
            f"({', '.join(sorted(with_images)[:3])}): give an archive itself, or move one of the "
            f"two elsewhere."
        )


def _is_followed(links: Links, path: Path) -> bool:
    if links.is_inside(path):
        return True
    links.left_out.append(path)
    return False


def load_archives(
    source: Path,
    archives: Sequence[Path],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    names: SplitNames | None = None,
    reading: Reading | None = None,
) -> datasets.DatasetDict:
    """Loads the images of archives, by split.

    The name of its folder, or else the beginning of its own name, tells the split of an archive;
    otherwise it belongs to ``train``. In tars, the label is ``cls`` or, if there is none,
    ``label`` in ``json``. Labels that are numbers count the lines of ``classnames.txt``, beside the
    tars or in the folder above.

    Args:
        source (Path): The file or folder that holds the archives.
        archives (sequence of Path): The archives.
        image_column (str, optional): In tars, the suffix of images, where there are several.
            (default: :obj:`None`)
        label_column (str, optional): The column of labels, if it has another name.
            (default: :obj:`None`)
        names (SplitNames, optional): Which names mean splits. (default: :obj:`None`)
        reading (Reading, optional): Is told of archives whose names mean no split.
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
        split = _split_of(path, source, names or SplitNames())
        splits.setdefault(split or "train", []).append(str(path))
        if split is None and len(archives) > 1 and reading is not None:
            reading.notes.append(f"{path.name} is named as no split, and is read as train.")
    try:
        images = (
            _load_tars(splits, image_column, label_column)
            if kinds == [".tar"]
            else _load_parquet(splits)
        )
    except OutputError:
        raise
    except (
        datasets.exceptions.DatasetGenerationError,
        OSError,
        ValueError,
    ) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"The archives {splits[next(iter(splits))][0]}, … cannot be read ({reason})."
        ) from error
    if kinds == [".tar"]:
        class_names = _class_names(archives, source)
        if class_names is not None and label_column is None:
            images = _with_class_names(images, class_names, source)
    return images


def _split_of(path: Path, source: Path, names: SplitNames) -> str | None:
    """The name of a split that an archive's folder has, or its own name, or its beginning, or the
    only word in it that means a split."""
    folder = "" if path.parent == source or path == source else path.parent.name
    first = SPLIT_IN_NAME.split(path.stem, maxsplit=1)[0]
    for name in (folder, path.stem, first, split_and_words(path.stem)[0] or ""):
        if names.meant(name) is not None:
            return name
    return None


def _load_parquet(splits: Mapping[str, Sequence[str]]) -> datasets.DatasetDict:
    """Parquet files by split, whose names may hold signs."""
    files = {f"split{i}": list(paths) for i, paths in enumerate(splits.values())}
    # Of a group of rows at once, an image that a file holds once could fill the memory:
    loaded = datasets.load_dataset("parquet", data_files=files, batch_size=ROWS_AT_ONCE)
    return datasets.DatasetDict(
        {name: loaded[key] for name, key in zip(splits, files, strict=True)}
    )


def _load_tars(
    splits: Mapping[str, Sequence[str]], image_column: str | None, label_column: str | None
) -> datasets.DatasetDict:
    """The images of the tars of every split, with labels that are all numbers or all names."""
    images = {}
    for split, paths in splits.items():
        parts = []
        for path in paths:
            try:
                parts.append(load_tar(Path(path), image_column, label_column))
            except TarError as error:
                raise ValueError(f"{Path(path).name}: {error}") from error
        if len({str(part.features) for part in parts}) > 1:
            parts = [part.cast_column("label", datasets.Value("string")) for part in parts]
        images[split] = datasets.concatenate_datasets(parts)
    return datasets.DatasetDict(images)


def _class_names(archives: Sequence[Path], source: Path) -> tuple[str, ...] | None:
    for folder in dict.fromkeys([*(path.parent for path in archives), source]):
        if (folder / CLASS_NAMES).exists():
            return read(folder / CLASS_NAMES, NAMES_FILE)
    return None


def _with_class_names(
    images: datasets.DatasetDict, names: Sequence[str], source: Path
) -> datasets.DatasetDict:
    largest = max((max(rows["label"], default=0) for rows in images.values()), default=0)
    if not isinstance(largest, int) or largest >= len(names):
        raise ValueError(
            f"{source} has {len(names)} names in {CLASS_NAMES} and the label {largest!r}: labels "
            f"must be line numbers that start at 0."
        )
    return images.cast_column("label", datasets.ClassLabel(names=list(names)))
