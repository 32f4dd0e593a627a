"""Images in the form of Kaggle's competitions: ``train.csv`` beside a flat folder of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.listed import existing, holds_images, portable, subfolders
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.table import NAMES
from pyg_graphadapter.storage import FileKind, read

TABLES = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}
FOLDERS = {
    "train": ("train", "train_images", "images", "train_img", "img"),
    "val": ("val", "val_images", "train", "train_images", "images", "img"),
    "test": ("test", "test_images", "images", "test_img", "img"),
}
WITHOUT_LABELS = "without labels"
ROWS_TO_TRY = 50
TABLE: FileKind[tuple[dict[str, str], ...]] = FileKind(
    "list of images", tuple[dict[str, str], ...],
    "It must be a table with a column of images and one of labels",
    suffixes=(".csv",), max_bytes=2**30,
)  # fmt: skip
Row = Mapping[str, str]


def is_kaggle(folder: Path) -> bool:
    """Whether a folder holds ``train.csv`` and a folder in which images lie side by side."""
    return (folder / TABLES["train"]).is_file() and _images_of("train", folder) is not None


def _images_of(split: str, folder: Path) -> Path | None:
    candidates = [folder / name for name in FOLDERS[split]]
    return next((path for path in candidates if path.is_dir() and holds_images(path)), None)


def read_kaggle(path: Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads ``train.csv``, whose column of images gives their names with or without a suffix. The
    label is a column, or the one of several columns that has a 1. ``test.csv`` is read if it has
    labels, too; otherwise its images are left out and counted.

    Raises:
        ValueError: If the columns cannot be told, or a row has several labels.
    """
    reading.layout = "train.csv and a folder of images (Kaggle)"
    rows: list[ImageRow] = []
    columns: tuple[str, tuple[str, ...]] | None = None
    for split, name in TABLES.items():
        table = path / name
        images = _images_of(split, path)
        if not table.is_file() or images is None:
            continue
        content = read(table, TABLE)
        if columns is None:
            columns = _columns(table, content, images, options)
            labels = " or ".join(columns[1][:4]) + (", …" if len(columns[1]) > 4 else "")
            reading.notes.append(f"The image is in column {columns[0]}, the label in {labels}.")
        image, label = columns
        if content and not all(name in content[0] for name in label):
            reading.leave_out(WITHOUT_LABELS, f"{name} ({len(content)} rows)")
            continue
        rows += existing(_rows(table, content, image, label, split, images), images, options,
                         reading)  # fmt: skip
    _count_further(path, rows, reading)
    return rows


def _count_further(folder: Path, rows: Sequence[ImageRow], reading: Reading) -> None:
    """Counts the flat folders of which no image is listed, and images that are not listed."""
    listed = {row.image for row in rows}
    for images in subfolders(folder):
        paths = [path for path in images.iterdir() if path.suffix.lower() in SUFFIXES]
        further = [path for path in paths if str(path) not in listed]
        reason = WITHOUT_LABELS if len(further) == len(paths) else "not in the list"
        for path in sorted(further):
            reading.leave_out(reason, path)
    submissions = [path.name for path in folder.glob("*submission*.csv")]
    if submissions:
        reading.notes.append(f"{submissions[0]} has no labels, and is not read.")


def _columns(
    table: Path, content: Sequence[Row], images: Path, options: ReadOptions
) -> tuple[str, tuple[str, ...]]:
    """The column of images, and the column of labels or the columns of a one-hot label."""
    if not content:
        raise ValueError(f"{table} lists no image: add rows with an image and a label.")
    names = list(content[0])
    for option, name in (("image", options.image_column), ("label", options.label_column)):
        if name is not None and name not in names:
            raise ValueError(
                f"{table} has no column {name!r} for the {option}s (it has {', '.join(names)}): "
                f"name one with --{option}-column ({option}_column)."
            )
    image = options.image_column or _image_column(table, content, images, names)
    others = [name for name in names if name != image]
    if options.label_column is not None:
        return image, (options.label_column,)
    usual = [name for name in others if name.lower() in NAMES["label"]]
    if usual:
        return image, (usual[0],)
    if len(others) == 1:
        return image, (others[0],)
    if len(others) > 1 and all(_is_flag(row[name]) for row in content for name in others):
        return image, tuple(others)
    raise ValueError(
        f"{table} has no column for the labels (it has {', '.join(names)}): name it with "
        f"--label-column (label_column)."
    )


def _image_column(table: Path, content: Sequence[Row], images: Path, names: list[str]) -> str:
    """The first column whose values are names of images that are there."""
    files = _files(images)
    for name in names:
        if any(_file_of(row[name], files) for row in content[:ROWS_TO_TRY]):
            return name
    raise ValueError(
        f"{table} has no column whose values are images in {images} (it has {', '.join(names)}): "
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
    name = portable(cell.strip()).rpartition("/")[2]
    return files.get(name)


def _rows(
    table: Path,
    content: Sequence[Row],
    image: str,
    labels: tuple[str, ...],
    split: str,
    images: Path,
) -> list[ImageRow]:
    files = _files(images)
    return [
        ImageRow(_file_of(row[image], files) or row[image], _label_of(row, labels, table, i), split)
        for i, row in enumerate(content, start=2)
    ]


def _label_of(row: Row, labels: tuple[str, ...], table: Path, line: int) -> str:
    if len(labels) == 1:
        return row[labels[0]]
    ones = [name for name in labels if float(row[name]) == 1]
    if len(ones) != 1:
        several = f"several labels ({', '.join(ones)})" if ones else "no label"
        raise ValueError(f"{table} has {several} in line {line}: an image has one label here.")
    return ones[0]


def _is_flag(cell: str) -> bool:
    return cell.strip() in ("0", "1", "0.0", "1.0")
