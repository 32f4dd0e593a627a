"""The confusion matrix as a figure. Matplotlib is imported when it is drawn."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyg_graphadapter.display import visible
from pyg_graphadapter.optional import require
from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.figures import check_figure_path, save_figure
from pyg_graphadapter.report.per_image import Integers, predicted_labels, true_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 40  # that are drawn one by one
NAME_WIDTH = 24  # characters of a name
CELL = 0.3  # inches
OTHERS = "other classes"


def draw_confusion(e: EvaluationFile, path: Path) -> None:
    """Draws the confusion matrix: rows are the true classes, columns the predicted ones, and the
    shade is the share of the row. Of more than 40 classes, those with the most errors are drawn,
    and the others are one row and one column.

    Args:
        e (EvaluationFile): The evaluation.
        path (Path): The file to write, in the format of its suffix.

    Raises:
        MissingPackageError: If matplotlib is not installed.
        OSError: If it cannot be written.
    """
    matplotlib = require("matplotlib")
    check_figure_path(path)
    from matplotlib.figure import Figure

    names, matrix = _drawn(e)
    side = CELL * len(names)
    with matplotlib.rc_context({"text.parse_math": False}):  # class names are no formulas
        figure = Figure(figsize=(side + 3.2, side + 3.2), dpi=120, layout="constrained")
        axes = figure.subplots()
        _draw(axes, matrix)
        ticks, labels = range(len(names)), [_short(name) for name in names]
        axes.set_xticks(ticks, labels, rotation=90, fontsize=8)
        axes.set_yticks(ticks, labels, fontsize=8)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title(_title(e), fontsize=9)
        save_figure(figure, path)


def _drawn(e: EvaluationFile) -> tuple[list[str], Integers]:
    """The names of the rows and columns, and the counts between them."""
    label, predicted = true_labels(e), predicted_labels(e)
    classes = len(e.class_names)
    if classes <= MOST_CLASSES:
        return list(e.class_names), _counts(label, predicted, classes)
    wrong = label != predicted
    errors = np.bincount(label[wrong], minlength=classes)
    errors += np.bincount(predicted[wrong], minlength=classes)
    chosen = np.sort(np.argsort(-errors, kind="stable")[:MOST_CLASSES])
    place = np.full(classes, MOST_CLASSES)
    place[chosen] = np.arange(MOST_CLASSES)
    names = [*(e.class_names[c] for c in chosen), OTHERS]
    return names, _counts(place[label], place[predicted], MOST_CLASSES + 1)


def _counts(label: Integers, predicted: Integers, classes: int) -> Integers:
    return np.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _draw(axes: "Axes", matrix: Integers) -> None:
    """Shades the cells, and writes the counts that are not zero into them."""
    of_class: NDArray[Any] = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(of_class, 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*matrix.nonzero(), strict=True):
        axes.text(
            column,
            row,
            _count(int(matrix[row, column])),
            fontsize=7,
            horizontalalignment="center",
            verticalalignment="center",
            color="white" if share[row, column] > 0.5 else "black",
        )


def _count(count: int) -> str:
    """A count that fits into a cell."""
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.0f}M"


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= NAME_WIDTH else f"{text[: NAME_WIDTH - 1]}…"


def _title(e: EvaluationFile) -> str:
    classes = len(e.class_names)
    sentence = f"{len(e.images):,} images; the shade is the share of the row"
    if classes > MOST_CLASSES:
        sentence = f"{MOST_CLASSES} of {classes:,} classes, those with the most errors. {sentence}"
    return "\n".join(textwrap.wrap(sentence, 60))
