"""Tables of an evaluation as CSV: per class, confusions, and per image."""

from pathlib import Path

from pyg_graphadapter.display import csv_text
from pyg_graphadapter.report.evaluation_file import EvaluatedImage, EvaluationFile
from pyg_graphadapter.report.per_image import class_rows, confused_pairs, confusion_matrix
from pyg_graphadapter.storage import write_output

PER_CLASS, IMAGES = "per_class.csv", "images.csv"
CONFUSION, CONFUSED_PAIRS = "confusion.csv", "confused_pairs.csv"
MOST_COLUMNS = 1000  # classes, beyond which a matrix is no table any more
IMAGE_COLUMNS = (
    "file", "class", "predicted", "probability", "probability_uncalibrated", "second",
    "second_probability", "log_loss", "same_as", "reason",
)  # fmt: skip


def write_tables(e: EvaluationFile, folder: Path) -> list[Path]:
    """Writes ``per_class.csv``, ``confusion.csv`` (rows are the true classes; of more than 1000
    classes, ``confused_pairs.csv``) and ``images.csv`` to a folder.

    Raises:
        OSError: If they cannot be written.
    """
    confusions = CONFUSION if len(e.class_names) <= MOST_COLUMNS else CONFUSED_PAIRS
    tables = {
        PER_CLASS: per_class_csv(e),
        confusions: confusion_csv(e) if confusions == CONFUSION else confused_pairs_csv(e),
        IMAGES: images_csv(e),
    }
    for name, text in tables.items():
        write_output(folder / name, text.encode())
    return [folder / name for name in tables]


def per_class_csv(e: EvaluationFile) -> str:
    """One row per class: how many images show it, how many of them are right, how many images were
    classified as it, and accuracy (recall) and precision in percent."""
    header = ("class", "images", "right", "predicted", "accuracy", "precision")
    rows = (
        (row.name, row.images, row.right, row.predicted, row.recall, row.precision)
        for row in class_rows(e)
    )
    return csv_text(header, rows)


def confusion_csv(e: EvaluationFile) -> str:
    """The confusion matrix: one row per true class, one column per predicted class."""
    matrix = confusion_matrix(e).tolist()
    rows = ((name, *counts) for name, counts in zip(e.class_names, matrix, strict=True))
    return csv_text(("true class", *e.class_names), rows)


def confused_pairs_csv(e: EvaluationFile) -> str:
    """One row per pair of classes that were confused, the most frequent ones first."""
    rows = (
        (e.class_names[pair.label], e.class_names[pair.predicted], pair.images, pair.share)
        for pair in confused_pairs(e)
    )
    return csv_text(("true class", "predicted", "images", "percent of the class"), rows)


def images_csv(e: EvaluationFile) -> str:
    """One row per image, and one per image that could not be decoded, with the reason."""
    names = [_name(image, i) for i, image in enumerate(e.images)]
    rows = [_row(e, image, name, names) for image, name in zip(e.images, names, strict=True)]
    blanks = [None] * (len(IMAGE_COLUMNS) - 2)
    skipped = [(image.file, *blanks, image.reason) for image in e.skipped]
    return csv_text(IMAGE_COLUMNS, [*rows, *skipped])


def _row(
    e: EvaluationFile, image: EvaluatedImage, name: str, names: list[str]
) -> tuple[str | float | None, ...]:
    first, second = image.top[0], image.top[1] if len(image.top) > 1 else None
    return (
        name,
        e.class_names[image.label],
        e.class_names[first.label],
        first.probability,
        image.uncalibrated,
        None if second is None else e.class_names[second.label],
        None if second is None else second.probability,
        image.log_loss,
        None if image.copy_of is None else names[image.copy_of],
        None,
    )


def _name(image: EvaluatedImage, i: int) -> str:
    """The file of an image, or its number, counted from 0."""
    return str(i) if image.file is None else image.file
