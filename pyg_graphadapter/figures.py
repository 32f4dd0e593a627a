"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from pyg_graphadapter.report import Row

COLUMNS = 6


def accuracy_curve(rows: Sequence[Row], path: Path, title: str = "") -> None:
    """Draws accuracy over the number of labelled images a class, one line a method, with the
    standard deviation over the seeds.

    Args:
        rows (sequence of Row): What to draw.
        path (Path): The picture, as its suffix says.
        title (str, optional): A title. (default: :obj:`""`)
    """
    figure = Figure(figsize=(5.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        axes.errorbar(
            [row.shots for row in own],
            [row.accuracy for row in own],
            [row.deviation for row in own],
            marker="o",
            capsize=3,
            label=method.replace("_", " "),
        )
    shots = sorted({row.shots for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.minorticks_off()
    axes.set(xlabel="labelled images a class", ylabel="test accuracy (%)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def picture_grid(images: Sequence[Image.Image], captions: Sequence[str], path: Path) -> None:
    """Draws pictures in rows, each with its caption below.

    Args:
        images (sequence of PIL.Image.Image): The pictures.
        captions (sequence of str): One a picture.
        path (Path): The picture, as its suffix says.
    """
    lines = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 2.7 * lines), dpi=100, layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    for axes in grid:
        axes.axis("off")
    with matplotlib.rc_context({"text.parse_math": False}):  # class names are no formulas
        for axes, image, caption in zip(grid, images, captions, strict=False):
            axes.imshow(image)
            axes.set_title(caption, fontsize=8, y=-0.02, verticalalignment="top")
        figure.savefig(path)
