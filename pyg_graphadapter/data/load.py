"""Loads labelled images of any source as one kind of data set."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets.packaged_modules.webdataset import webdataset
from pyarrow import parquet

from pyg_graphadapter.builtin import BUILTIN, IMAGES_FOLDER
from pyg_graphadapter.data.archives import KINDS, archives_of, load_archives
from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.draw_file import is_draw, load_draw
from pyg_graphadapter.data.folder import Links, check_regular
from pyg_graphadapter.data.image_dataset import image_dataset
from pyg_graphadapter.data.table import find_column, load_table, with_class_labels
from pyg_graphadapter.data.tar_files import LABEL_SUFFIXES
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
    follow_links: bool = False,
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
        token (str or bool, optional): The access token for data that are not public.
            (default: :obj:`None`)
        image_column (str, optional): The column of images or their paths, where it is not
            recognised. (default: :obj:`None`)
        label_column (str, optional): The column of labels, likewise. (default: :obj:`None`)
        follow_links (bool, optional): Follow links that lead out of a folder of images, too.
            Otherwise such images are left out and counted in a warning, and such folders of classes
            are refused. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If a listed image does not exist.
        ValueError: If there are no such images, or fewer than two classes, or these are images
            without labels.
    """
    check_has_labels(source)
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        loaded = source
    elif str(source) == BUILTIN:
        loaded = datasets.DatasetDict(
            {
                split: datasets.Dataset(parquet.read_table(IMAGES_FOLDER / f"{split}.parquet"))
                for split in ("train", "test")
            }
        )
    elif _exists(source) and (archives := archives_of(Path(source), follow_links=follow_links)):
        columns = {"image_column": image_column, "label_column": label_column}
        loaded = load_archives(Path(source), archives, **columns)
        if archives[0].suffix == ".tar":
            image_column = label_column = None  # load_archives named them
    elif Path(source).is_dir():
        return _load_folder(Path(source), Links(Path(source), follow=follow_links))
    elif Path(source).suffix == ".json" and Path(source).is_file() and is_draw(Path(source)):
        return load_draw(source, follow_links=follow_links)
    elif Path(source).is_file() and Path(source).suffix in TABLE_SUFFIXES:
        loaded = load_table(Path(source), image_column, label_column)
        image_column = label_column = None  # load_table renamed them
    elif Path(source).exists():
        raise ValueError(
            f"{source} is not a list of images: give a folder, or a "
            f"{', '.join((*TABLE_SUFFIXES, *KINDS))} file."
        )
    else:
        loaded = _load_from_hub(str(source), revision, token)
    return _as_splits(loaded, image_column, label_column)


def check_has_labels(source: Any) -> None:
    """Checks that images are of a kind that has labels.

    Raises:
        ValueError: If they are not.
    """
    if not isinstance(source, str | os.PathLike | datasets.Dataset | datasets.DatasetDict):
        raise ValueError(
            f"Images with labels are a folder of class folders, a list in a file, a data set in "
            f"memory, or the id of one on the Hugging Face hub, and features with labels are a "
            f"FeatureFile (got a {type(source).__name__})."
        )


def list_images(paths: Sequence[str | Path], *, follow_links: bool = False) -> list[Path]:
    """Lists the image files at the given paths, and those in given folders at any depth.

    Args:
        paths (sequence of str or Path): Image files and folders.
        follow_links (bool, optional): Follow links that lead out of a folder, too. Otherwise they
            are left out and counted in a warning. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no image.
    """
    image_paths: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"There is no image or folder {path}: check the path.")
        check_regular(path)
        if path.is_dir():
            links = Links(path, follow=follow_links)
            image_paths += sorted(_images_in(path, links))
            links.tell()
        else:
            image_paths.append(path)
    if not image_paths:
        raise ValueError(
            f"There is no image in {', '.join(map(str, paths))}: images end with "
            f"{', '.join(SUFFIXES)}."
        )
    return image_paths


def _exists(source: str | Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        ValueError: If it is a pipe, a socket or a device.
    """
    check_regular(source)
    return Path(source).exists()


def _load_folder(folder: Path, links: Links) -> datasets.DatasetDict:
    subfolders = _class_folders(folder, links)
    splits = {SPLIT_NAMES[path.name.lower()]: path for path in subfolders
              if path.name.lower() in SPLIT_NAMES}  # fmt: skip
    if not splits or len(splits) < len(subfolders):
        splits = {"train": folder}
    classes = {split: _class_folders(path, links) for split, path in splits.items()}
    first = "train" if "train" in splits else next(iter(splits))
    names = [path.name for path in classes[first]]
    _check_names(names, folder)
    images = {}
    for split in sorted(splits, key=list(SPLIT_NAMES.values()).index):
        for path in classes[split]:
            if path.name not in names:
                raise ValueError(
                    f"The class {path.name!r} of {splits[split]} is not in {splits[first]}: add "
                    f"it to {splits[first]}, or remove it."
                )
        images[split] = _split_of(classes[split], names, links, complete=split == first)
    links.tell()
    return datasets.DatasetDict(images)


def _split_of(
    folders: Sequence[Path], names: list[str], links: Links, *, complete: bool
) -> datasets.Dataset:
    images: list[str] = []
    labels: list[int] = []
    for folder in folders:
        image_paths = sorted(_images_in(folder, links))
        if not image_paths and complete:
            raise ValueError(
                f"The class folder {folder} holds no image: add images that end with "
                f"{', '.join(SUFFIXES)}, or remove it."
            )
        images += map(str, image_paths)
        labels += [names.index(folder.name)] * len(image_paths)
    return image_dataset(images, labels, names)


def _class_folders(folder: Path, links: Links) -> list[Path]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_ignored(path))
    for path in folders:
        links.check_folder(path)
    return folders


def _images_in(folder: Path, links: Links) -> Iterator[Path]:
    """Yields the image files at any depth. Links to further folders are followed only where all
    links are, and each folder once."""
    num_other_files = 0
    visited: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=links.follow):
        if links.follow and (real := os.path.realpath(root)) in visited:
            folders.clear()  # a loop
            continue
        visited.add(real if links.follow else root)
        folders[:] = [name for name in folders if not _is_ignored(Path(name))]
        for name in files:
            path = Path(root) / name
            if _is_ignored(path):
                continue
            if path.suffix.lower() in SUFFIXES:  # whoever reads it skips what is no regular file
                if links.is_followed(path):
                    yield path
            else:
                num_other_files += 1
    if num_other_files:
        logger.info("%d files in %s are not images.", num_other_files, folder)


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in IGNORED


def _check_names(names: Sequence[str], where: Path | str) -> None:
    if not names:
        raise ValueError(
            f"{where} has no class folders: put the images of every class into a folder with the "
            f"name of the class, as {where}/cat/1.jpg."
        )
    if len(names) == 1:
        raise ValueError(f"{where} has one class, {names[0]!r}: at least two are needed.")
    seen: dict[str, str] = {}
    for name in names:
        normalized = normalize_class_name(name)
        if normalized in seen:
            raise ValueError(
                f"{where} has two classes of the same name, {seen[normalized]!r} and {name!r}: "
                f"join or rename them."
            )
        seen[normalized] = name


def _load_from_hub(name: str, revision: str | None, token: str | bool | None) -> Any:
    if not is_id(name):
        raise FileNotFoundError(f"There is no folder or list of images {name}: check the path.")
    was_offline = datasets.config.HF_HUB_OFFLINE
    decoders = webdataset.WebDataset.DECODERS  # others than of labels would read tensors in tars
    try:
        webdataset.WebDataset.DECODERS = {
            suffix: decode for suffix, decode in decoders.items() if suffix in LABEL_SUFFIXES
        }
        # Without a network, use what was downloaded earlier, without retries:
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
        webdataset.WebDataset.DECODERS = decoders


def _as_splits(loaded: Any, image_column: str | None, label_column: str | None) -> Any:
    """Keeps the known splits and the two columns, and gives all splits the same class names."""
    if isinstance(loaded, datasets.Dataset):
        loaded = datasets.DatasetDict({"train": loaded})
    splits = {SPLIT_NAMES[name.lower()]: part for name, part in loaded.items()
              if name.lower() in SPLIT_NAMES}  # fmt: skip
    if not splits:
        raise ValueError(
            f"There is no split train, val or test (got {', '.join(loaded)}): rename one of them."
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
