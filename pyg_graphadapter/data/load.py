"""Loads labelled images of any source as one kind of data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import datasets
from datasets.packaged_modules.webdataset import webdataset
from pyarrow import parquet

from pyg_graphadapter.builtin import BUILTIN, IMAGES_FOLDER
from pyg_graphadapter.data.archives import KINDS, archives_of, load_archives
from pyg_graphadapter.data.assemble import assemble, parts_of_rows
from pyg_graphadapter.data.coco import is_coco, is_detection, read_coco, refuse_detection
from pyg_graphadapter.data.dataset_objects import in_files, is_dataset, is_streamed
from pyg_graphadapter.data.dataset_parts import parts_of_dataset
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.draw_file import is_draw, load_draw
from pyg_graphadapter.data.folder import Links, check_regular
from pyg_graphadapter.data.folder_list import has_lists, read_lists_in
from pyg_graphadapter.data.kaggle import is_kaggle, read_kaggle
from pyg_graphadapter.data.layout import is_folder, read_folder
from pyg_graphadapter.data.listed import count_unlisted
from pyg_graphadapter.data.memory import rows_of
from pyg_graphadapter.data.reading import ImageRow, ImageSet, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames, SplitOption
from pyg_graphadapter.data.table import TABLE_SUFFIXES, is_list, read_list
from pyg_graphadapter.data.tar_files import LABEL_SUFFIXES
from pyg_graphadapter.data.text_list import is_text_list, read_text_list
from pyg_graphadapter.data.tree import read_tree
from pyg_graphadapter.data.zhou import is_zhou, read_zhou
from pyg_graphadapter.hub import is_id, is_reachable
from pyg_graphadapter.progress import datasets_bars, hidden_bars
from pyg_graphadapter.suggestions import path_suggestion

IsForm: TypeAlias = Callable[[Any], bool]
Reader: TypeAlias = Callable[[Any, ReadOptions, Reading], list[ImageRow]]


def on_path(is_form: Callable[[Path], bool]) -> IsForm:
    """A test of a path as a test of any source."""
    return lambda source: isinstance(source, str | Path) and is_form(Path(source))


def of_listed(read_rows: Callable[[Path, ReadOptions, Reading], list[ImageRow]]) -> Reader:
    """A reader of lists. In a folder, the images that are not in its lists are counted."""

    def read_all(source: str | Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
        path = Path(source)
        rows = read_rows(path, options, reading)
        if path.is_dir():
            count_unlisted(path, rows, options, reading)
        return rows

    return read_all


# The forms of sources that are read row by row. The first that a source is of is taken:
READERS: tuple[tuple[IsForm, Reader], ...] = (
    (on_path(is_zhou), of_listed(read_zhou)),
    (on_path(is_coco), of_listed(read_coco)),
    (on_path(is_detection), of_listed(refuse_detection)),
    (on_path(is_text_list), of_listed(read_text_list)),
    (on_path(is_kaggle), of_listed(read_kaggle)),
    (is_list, read_list),
    (on_path(has_lists), of_listed(read_lists_in)),
    (is_folder, read_folder),
)


def load_images(
    source: Any,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    split: SplitOption | None = None,
    class_names: str | Path | Mapping[str, str] | None = None,
    layout: str | None = None,
    crops: bool = False,
    follow_links: bool = False,
    progress: bool = True,
) -> datasets.DatasetDict:
    """Images with labels, in the splits ``train``, ``val`` and ``test`` or some of them. Each has
    the columns ``image`` (undecoded) and ``label`` (a ``ClassLabel``, the same in all splits).

    What is left out, and what else should be known, is said in one warning (:func:`read_images`
    returns it instead).

    Args:
        source: A folder of class folders, with or without folders of splits above or in them; a
            list of images (``.csv``, ``.tsv``, ``.json``, ``.jsonl``, or text with a path and a
            label per line); ``train.csv`` beside a flat folder; a ``split_zhou_….json``; COCO's
            annotations; a file of :func:`save_draw`; WebDataset tars or Parquet files, one or a
            folder of them; ``builtin``; a data set of ``datasets``, also a streamed one; a data
            frame; a data set of torch or pairs of image and label; or the id of a data set on the
            Hugging Face hub.
        revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
        token (str or bool, optional): The access token for data that are not public.
            (default: :obj:`None`)
        image_column (str, optional): The column of images or their paths, where it is not
            recognised. (default: :obj:`None`)
        label_column (str, optional): The column of labels, likewise. (default: :obj:`None`)
        split_column (str, optional): The column of splits, likewise. (default: :obj:`None`)
        split (str or dict, optional): What the source calls its splits, as ``"train=a,test=b"`` or
            ``{"train": ["a", "b"], "test": "c"}``. (default: :obj:`None`)
        class_names (str, Path or dict, optional): The names of the classes, by folder, label or
            WordNet id, or a file of them. (default: :obj:`None`)
        layout (str, optional): What folders are, where that is not clear: ``"classes"``,
            ``"splits"``, ``"class-splits"`` (folders of splits in each class folder), ``"domains"``
            (class folders in each folder of a domain). (default: :obj:`None`)
        crops (bool, optional): Take the boxes of a detection data set as images.
            (default: :obj:`False`)
        follow_links (bool, optional): Follow links that lead out of a folder of images, too.
            Otherwise such images are left out and counted, and such folders of classes
            are refused. (default: :obj:`False`)
        progress (bool, optional): Show the progress bars of ``datasets``, on a terminal.
            (default: :obj:`True`)

    Raises:
        FileNotFoundError: If no listed image of a class exists.
        ValueError: If there are no such images, fewer than two classes, or if the source can be
            understood in two ways, with the option that chooses.
    """
    options = ReadOptions(
        image_column, label_column, split_column, split, class_names, layout, crops, follow_links
    )
    with hidden_bars(not progress):
        images = read_images(source, options, revision, token)
    images.reading.tell(name_of(source))
    return images.splits


def read_images(
    source: Any,
    options: ReadOptions | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    *,
    min_classes: int = 2,
) -> ImageSet:
    """Images with labels as :func:`load_images` loads them, and how they were read.

    Args:
        source: As for :func:`load_images`.
        options (ReadOptions, optional): What the source does not tell. (default: :obj:`None`)
        revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
        token (str or bool, optional): The access token for data that are not public.
            (default: :obj:`None`)
        min_classes (int, optional): 1 for images that a classifier is measured on or grows by,
            which may be of one class. (default: :obj:`2`)

    Raises:
        FileNotFoundError: As :func:`load_images` does.
        ValueError: As :func:`load_images` does.
    """
    if isinstance(source, ImageSet):
        return source
    options, reading = options or ReadOptions(), Reading()
    try:
        with datasets_bars():
            images = _read(source, options, reading, revision, token)
        if len(images.class_names) < min_classes:
            raise ValueError(_one_class(images.class_names[0], name_of(source)))
        return images
    except (ValueError, FileNotFoundError) as error:
        if not reading.left_out:
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{error} {reading.sentences()[0]}") from error


def _read(
    source: Any,
    options: ReadOptions,
    reading: Reading,
    revision: str | None,
    token: str | bool | None,
) -> ImageSet:
    where = name_of(source)
    if is_dataset(source):
        reading.layout = "streamed data set" if is_streamed(source) else ""
        return _of_dataset(in_files(source), options, reading, where)
    if isinstance(source, str | Path):
        check_regular(source)
        if str(source) == BUILTIN:
            return _of_dataset(_built_in(), options, reading, where)
        if _is_draw(Path(source)):
            reading.layout = "draw of images"
            drawn = load_draw(source, follow_links=options.follow_links)
            return _of_dataset(drawn, options, reading, where)
        if Path(source).exists():
            names = SplitNames(options.split)
            archives = archives_of(Path(source), reading, names, follow_links=options.follow_links)
            if archives:
                return _of_archives(Path(source), archives, options, reading)
    for is_form, read_rows in READERS:
        if is_form(source):
            rows = read_rows(source, options, reading)
            return assemble(parts_of_rows(rows, reading), options, reading, where)
    if not isinstance(source, str | Path):
        rows = rows_of(source, options, reading)
        return assemble(parts_of_rows(rows, reading), options, reading, where)
    if Path(source).exists():
        raise ValueError(
            f"{where} is not a list of images: give a folder, or a "
            f"{', '.join((*TABLE_SUFFIXES, *KINDS))} file."
        )
    reading.layout = "data set of the hub"
    return _of_dataset(_load_from_hub(str(source), revision, token), options, reading, where)


def name_of(source: Any) -> str:
    """What messages call a source."""
    return str(source) if isinstance(source, str | Path) else "The data set"


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
            raise FileNotFoundError(
                f"There is no image or folder {path}: check the path.{path_suggestion(path)}"
            )
        check_regular(path)
        if path.is_dir():
            reading = Reading()
            links = Links(path, follow=follow_links)
            tree = read_tree(path, links, reading)
            links.report(reading)
            reading.tell(str(path))
            image_paths += [path.joinpath(*parts) for parts in tree.images]
        else:
            image_paths.append(path)
    if not image_paths:
        raise ValueError(
            f"There is no image in {', '.join(map(str, paths))}: images end with "
            f"{', '.join(SUFFIXES)}."
        )
    return image_paths


def _one_class(name: str, where: str) -> str:
    inner = f" If the classes lie in it, give {where}/{name}." if Path(where).is_dir() else ""
    return f"{where} has one class, {name!r}: at least two are needed.{inner}"


def _is_draw(path: Path) -> bool:
    return path.suffix == ".json" and path.is_file() and is_draw(path)


def _built_in() -> datasets.DatasetDict:
    return datasets.DatasetDict(
        {
            split: datasets.Dataset(parquet.read_table(IMAGES_FOLDER / f"{split}.parquet"))
            for split in ("train", "test")
        }
    )


def _of_dataset(
    loaded: datasets.Dataset | datasets.DatasetDict,
    options: ReadOptions,
    reading: Reading,
    where: str,
    folder: Path | None = None,
) -> ImageSet:
    parts = parts_of_dataset(loaded, options, reading, where, folder)
    return assemble(parts, options, reading, where)


def _of_archives(
    source: Path, archives: Sequence[Path], options: ReadOptions, reading: Reading
) -> ImageSet:
    columns = {"image_column": options.image_column, "label_column": options.label_column}
    names = SplitNames(options.split)
    loaded = load_archives(source, archives, **columns, names=names, reading=reading)
    is_tar = archives[0].suffix == ".tar"
    reading.layout = "WebDataset tars" if is_tar else "Parquet files"
    if is_tar:  # load_archives named the columns
        options = replace(options, image_column=None, label_column=None)
    return _of_dataset(loaded, options, reading, str(source), archives[0].parent)


def _load_from_hub(name: str, revision: str | None, token: str | bool | None) -> Any:
    if not is_id(name):
        meant = path_suggestion(name, [BUILTIN])
        raise FileNotFoundError(
            f"There is no folder or list of images {name}: check the path.{meant}"
        )
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
            f"on the Hugging Face hub and the network.{path_suggestion(name, [BUILTIN])}"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
        webdataset.WebDataset.DECODERS = decoders
