"""Labelled images of any source as one kind of data set."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
from pyarrow import parquet

from pyg_graphadapter.builtin import BUILTIN, IMAGES_FOLDER
from pyg_graphadapter.data.archives import KINDS, archives_of, load_archives
from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.draw_file import is_draw, load_draw
from pyg_graphadapter.data.table import find_column, load_table, with_class_labels
from pyg_graphadapter.hub import is_id, is_reachable

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
TABLE_SUFFIXES = (".csv", ".json", ".jsonl")
IGNORED = ("__macosx", "thumbs.db", "desktop.ini")

logger = logging.getLogger(__name__)


def load_images(
    source: str | Path | datasets.Dataset | datasets.DatasetDict,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> datasets.DatasetDict:
    """Images with labels, in the splits ``train``, ``val`` and ``test`` or some of them. Each has
    the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``, the same in all splits).

    Args:
        source: A folder of class folders; a folder with such folders in ``train``, ``val`` and
            ``test``; a list of images (``.csv``, ``.json``, ``.jsonl``); a file of
            :func:`save_draw`; WebDataset tars or Parquet
            files, one or a folder of them; ``builtin``; a data set in memory; or the id of one on
            the Hugging Face hub.
        revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
        token (str or bool, optional): For data that are not public. (default: :obj:`None`)
        image_column (str, optional): The column of images or their paths, where it cannot be told.
            (default: :obj:`None`)
        label_column (str, optional): The column of labels, likewise. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If a listed image is not there.
        ValueError: If there are no such images, or no labels of at least two classes.
    """
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        found = source
    elif str(source) == BUILTIN:
        found = datasets.DatasetDict(
            {
                split: datasets.Dataset(parquet.read_table(IMAGES_FOLDER / f"{split}.parquet"))
                for split in ("train", "test")
            }
        )
    elif Path(source).exists() and (archives := archives_of(Path(source))):
        found = load_archives(Path(source), archives, label_column=label_column)
    elif Path(source).is_dir():
        return _load_folder(Path(source))
    elif Path(source).suffix == ".json" and Path(source).is_file() and is_draw(Path(source)):
        return load_draw(source)
    elif Path(source).is_file() and Path(source).suffix in TABLE_SUFFIXES:
        found = load_table(Path(source), image_column, label_column)
        image_column = label_column = None  # they are renamed there
    elif Path(source).exists():
        raise ValueError(
            f"{source} is no list of images: give a folder, or a "
            f"{', '.join((*TABLE_SUFFIXES, *KINDS))} file."
        )
    else:
        found = _load_from_hub(str(source), revision, token)
    return _as_splits(found, image_column, label_column)


def list_images(paths: Sequence[str | Path]) -> list[Path]:
    """The images among paths, and in folders among them, at any depth.

    Raises:
        FileNotFoundError: If there is no such path.
        ValueError: If there is no image.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"There is no image or folder {path}: check the path.")
        found += sorted(_images_in(path)) if path.is_dir() else [path]
    if not found:
        raise ValueError(
            f"There is no image in {', '.join(map(str, paths))}: images end with "
            f"{', '.join(SUFFIXES)}."
        )
    return found


def _load_folder(folder: Path) -> datasets.DatasetDict:
    inside = _class_folders(folder)
    splits = {SPLIT_NAMES[path.name.lower()]: path for path in inside
              if path.name.lower() in SPLIT_NAMES}  # fmt: skip
    if not splits or len(splits) < len(inside):
        splits = {"train": folder}
    classes = {split: _class_folders(path) for split, path in splits.items()}
    first = "train" if "train" in splits else next(iter(splits))
    names = [path.name for path in classes[first]]
    _check_names(names, folder)
    found = {}
    for split in sorted(splits, key=list(SPLIT_NAMES.values()).index):
        for path in classes[split]:
            if path.name not in names:
                raise ValueError(
                    f"The class {path.name!r} of {splits[split]} is not in {splits[first]}: add "
                    f"it there, or remove it."
                )
        found[split] = _split_of(classes[split], names, complete=split == first)
    return datasets.DatasetDict(found)


def _split_of(folders: Sequence[Path], names: list[str], *, complete: bool) -> datasets.Dataset:
    images: list[str] = []
    labels: list[int] = []
    for folder in folders:
        own = sorted(_images_in(folder))
        if not own and complete:
            raise ValueError(
                f"The class folder {folder} holds no image: add images that end with "
                f"{', '.join(SUFFIXES)}, or remove it."
            )
        images += map(str, own)
        labels += [names.index(folder.name)] * len(own)
    return _dataset(images, labels, names)


def _dataset(images: list[str], labels: list[int], names: list[str]) -> datasets.Dataset:
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=names)}
    )
    return datasets.Dataset.from_dict(
        {"image": [_cell(path) for path in images], "label": labels}, features=features
    )


def _cell(path: str) -> dict[str, Any]:
    """A file by its path; by its bytes if its name is no UTF-8, which a table cannot hold."""
    if _is_utf8(path):
        return {"bytes": None, "path": path}
    return {"bytes": Path(path).read_bytes(), "path": None}


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _class_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_ignored(path))


def _images_in(folder: Path) -> Iterator[Path]:
    """Image files at any depth; links to folders are not followed."""
    others = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_ignored(Path(name))]
        for name in files:
            path = Path(root) / name
            if _is_ignored(path):
                continue
            if path.suffix.lower() in SUFFIXES:
                yield path
            else:
                others += 1
    if others:
        logger.info("%d files in %s are no images.", others, folder)


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in IGNORED


def _check_names(names: Sequence[str], where: Path | str) -> None:
    if not names:
        raise ValueError(
            f"{where} has no class folders: put the images of every class into a folder of the "
            f"class's name, as {where}/cat/1.jpg."
        )
    if len(names) == 1:
        raise ValueError(f"{where} has one class, {names[0]!r}: at least two are needed.")
    seen: dict[str, str] = {}
    for name in names:
        normalized = normalize_class_name(name)
        if normalized in seen:
            raise ValueError(
                f"{where} has two classes of one name, {seen[normalized]!r} and {name!r}: join or "
                f"rename them."
            )
        seen[normalized] = name


def _load_from_hub(name: str, revision: str | None, token: str | bool | None) -> Any:
    if not is_id(name):
        raise FileNotFoundError(f"There is no folder or list of images {name}: check the path.")
    was_offline = datasets.config.HF_HUB_OFFLINE
    try:
        # Without a network, what was fetched before is taken, and nothing is tried again:
        datasets.config.HF_HUB_OFFLINE = was_offline or not is_reachable()
        return datasets.load_dataset(name, revision=revision, token=token)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else ""
        raise ValueError(
            f"There is no folder, list or data set {name!r} ({reason}): check the path, or the id "
            f"on the Hugging Face hub and the network."
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline


def _as_splits(found: Any, image_column: str | None, label_column: str | None) -> Any:
    """One data set or several: known splits, the two columns, one set of class names."""
    if isinstance(found, datasets.Dataset):
        found = datasets.DatasetDict({"train": found})
    splits = {SPLIT_NAMES[name.lower()]: part for name, part in found.items()
              if name.lower() in SPLIT_NAMES}  # fmt: skip
    if not splits:
        raise ValueError(
            f"There is no split train, val or test (got {', '.join(found)}): rename one of them."
        )
    first = next(iter(splits.values()))
    image = find_column(first, "image", image_column)
    label = find_column(first, "label", label_column)
    columns = {
        split: part.select_columns([image, label]).rename_columns(
            {old: new for old, new in ((image, "image"), (label, "label")) if old != new}
        )
        for split, part in splits.items()
    }
    labelled = with_class_labels(datasets.DatasetDict(columns))
    _check_names(next(iter(labelled.values())).features["label"].names, "The data set")
    return labelled.cast_column("image", datasets.Image(decode=False))
