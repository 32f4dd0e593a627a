"""Images in the form of Kaggle's competitions: ``train.csv`` beside a flat folder of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyg_graphadapter.data.columns import (
    label_column,
    named_column,
    no_column,
    split_cells,
    split_column,
    unused_splits,
    usual_columns,
)
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.listed import existing, holds_images, is_file, leads_out, portable
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames
from pyg_graphadapter.data.table import LISTS, Table, one_hot
from pyg_graphadapter.storage import read

TABLES = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}
FOLDERS = {
    "train": ("train", "train_images", "images", "train_img", "img"),
    "val": ("val", "val_images", "train", "train_images", "images", "img"),
    "test": ("test", "test_images", "images", "test_img", "img"),
}
ROWS_TO_TRY = 50
Columns = Mapping[str, list[str]]


def is_kaggle(path: Path) -> bool:
    """Whether a folder holds ``train.csv`` and a folder in which images lie side by side, or a file
    is such a ``train.csv`` and gives the names of the images alone."""
    folder = path.parent if path.name == TABLES["train"] else path
    if not (folder / TABLES["train"]).is_file() or _images_of("train", folder) is None:
        return False
    return path == folder or not _has_paths(path)


def _has_paths(path: Path) -> bool:
    """Whether a cell of the first row is the path of a file, from the folder of the table."""
    try:
        rows = read(path, LISTS).rows[:1]
    except ValueError:
        return True  # whoever reads the list says what is wrong with it
    cells = [str(cell) for row in rows for cell in row.cells.values()]
    return any(is_file(path.parent / portable(cell)) for cell in cells if cell)


def _images_of(split: str, folder: Path) -> Path | None:
    candidates = [folder / name for name in FOLDERS[split]]
    return next((path for path in candidates if path.is_dir() and holds_images(path)), None)


def read_kaggle(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads ``train.csv``, whose column of images gives their names with or without a suffix. The
    label is a column, or the one of several columns that has a 1. ``test.csv`` is read if it has
    labels, too; otherwise its images have none.

    Raises:
        ValueError: If the columns cannot be told, or a row has several labels.
    """
    path = path if path.is_dir() else path.parent
    options.refuse(f"{path}, where {TABLES['train']} lists the images", "layout", "crops")
    reading.layout = "train.csv and a folder of images (Kaggle)"
    rows: list[ImageRow] = []
    for split, name in TABLES.items():
        images = _images_of(split, path)
        if (path / name).is_file() and images is not None:
            rows += _rows_of_table(path / name, split, images, options, reading)
    submissions = [table.name for table in path.glob("*submission*.csv")]
    if submissions:
        reading.notes.append(f"{submissions[0]} has no labels, and is not read.")
    return [*rows, *_without_labels(path, rows)]


def _without_labels(path: Path, rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The images of a folder of test images, if none of them is listed with a label."""
    images = _images_of("test", path)
    if images is None or images.name not in FOLDERS["test"][:2]:
        return []
    paths = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES)
    if any(Path(row.image).parent == images for row in rows):
        return []
    return [ImageRow(str(file), None, "test") for file in paths]


def _rows_of_table(
    path: Path, split: str, images: Path, options: ReadOptions, reading: Reading
) -> list[ImageRow]:
    table = read(path, LISTS)
    if not table.rows:
        raise ValueError(f"{path} lists no image: add rows with an image and a label.")
    columns: Columns = {
        name: [str(row.cells.get(name, "")).strip() for row in table.rows] for name in table.headers
    }
    files = _files(images)
    image = _image_column(path, columns, files, images, options.image_column)
    splits = _splits(path, columns, image, options) if split == "train" else None
    used = [image] if splits is None else [image, splits]
    labels = _labels(path, table, columns, used, options, is_needed=split == "train")
    if labels is None:
        reading.notes.append(f"{path.name} has no labels, and its images neither.")
        return []
    column, cells = labels
    reading.notes.append(
        f"{path.name}: images: {image}, labels: {column}"
        f"{f', splits: {splits}' if splits else ''}{f', {table.form}' if table.form else ''}."
    )
    reading.notes += unused_splits(columns, SplitNames(options.split), [*used, column])
    of_split = [split] * len(cells) if splits is None else split_cells(splits, columns[splits])
    rows = []
    for row, cell, label, name in zip(table.rows, columns[image], cells, of_split, strict=True):
        if not cell or not label or not name:
            missing = "an image" if not cell else "a label" if not label else "a split"
            reading.leave_out(f"rows without {missing}", f"{path.name}, line {row.number}")
        else:
            image_path = _file_of(cell, files) or portable(cell)
            if leads_out(image_path):
                raise ValueError(
                    f"{path} has the path {cell!r} in line {row.number}, which leads out of "
                    f"{images}: give the names of images in it."
                )
            rows.append(ImageRow(image_path, label, name))
    return existing(rows, images, options, reading)


def _splits(path: Path, columns: Columns, image: str, options: ReadOptions) -> str | None:
    if options.split_column is not None:
        return named_column(list(columns), "split", options.split_column, str(path))
    named = [name for name in columns if name == options.label_column]
    used = [image, *(named or usual_columns(list(columns), "label"))]
    return split_column(columns, SplitNames(options.split), used, str(path))


def _labels(
    path: Path,
    table: Table,
    columns: Columns,
    used: Sequence[str],
    options: ReadOptions,
    *,
    is_needed: bool,
) -> tuple[str, list[str]] | None:
    """The column of labels, or the columns of a one-hot label, and the labels."""
    others = [name for name in columns if name not in used]
    name = options.label_column
    if name is not None and (is_needed or name in others):
        column = named_column(others, "label", name, str(path))
        return column, columns[column]
    usual = usual_columns(others, "label")
    if usual:
        column = label_column(columns, usual, str(path))
        return column, columns[column]
    if len(others) == 1:
        return others[0], columns[others[0]]
    labels = one_hot(columns, others, table, path)
    if labels is not None:
        return f"the one of {', '.join(others[:3])}, … with a 1", labels
    if is_needed:
        raise no_column(list(columns), "label", None, str(path))
    return None


def _image_column(
    path: Path, columns: Columns, files: Mapping[str, str], images: Path, name: str | None
) -> str:
    """The column that is named, or the first whose values are names of images that are there."""
    if name is not None:
        return named_column(list(columns), "image", name, str(path))
    for name, cells in columns.items():
        if any(_file_of(cell, files) for cell in cells[:ROWS_TO_TRY]):
            return name
    raise ValueError(
        f"{path} has no column whose values are images in {images} (it has {', '.join(columns)}): "
        f"name it with --image-column (image_column)."
    )


def _files(images: Path) -> dict[str, str]:
    """The names of the images by themselves, and by their names without suffix where that is the
    name of one alone."""
    files = {path.name: path.name for path in images.iterdir()
             if path.suffix.lower() in SUFFIXES}  # fmt: skip
    by_stem: dict[str, list[str]] = {}
    for name in sorted(files):
        by_stem.setdefault(Path(name).stem, []).append(name)
    return {stem: names[0] for stem, names in by_stem.items() if len(names) == 1} | files


def _file_of(cell: str, files: Mapping[str, str]) -> str | None:
    return files.get(portable(cell).rpartition("/")[2])
