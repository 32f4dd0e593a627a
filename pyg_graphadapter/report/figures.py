"""Figures of results. Matplotlib is imported when something is drawn."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.display import visible
from pyg_graphadapter.optional import require
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import Row
from pyg_graphadapter.report.tables import averages
from pyg_graphadapter.storage import write_output

if TYPE_CHECKING:  # commands that draw nothing start half a second sooner
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

COLUMNS = 6
PANEL_COLUMNS = 4
FEW_LINES = 4
MOST_LINES = 16  # of one column of a legend
MARKERS = "osD^v"
ZERO_SHOT, REFERENCE = "zero_shot", "graph_adapter"  # stand out


def accuracy_curve(
    rows: Sequence[Row], path: Path, title: str = "", published: Published | None = None
) -> None:
    """Draws accuracy over the number of labelled images per class, with one line per method and the
    standard deviation over the seeds. There is one panel per task and, if there are several of one
    suite, one for their average.

    Args:
        rows (sequence of Row): The results.
        path (Path): The file to write, in the format of its suffix.
        title (str, optional): A title. (default: :obj:`""`)
        published (Published, optional): Published numbers, drawn as dashed lines.
            (default: :obj:`None`)

    Raises:
        MissingPackageError: If matplotlib is not installed.
    """
    matplotlib = require("matplotlib")
    check_figure_path(path)
    from matplotlib.figure import Figure

    panels = panels_of(rows)
    columns = min(len(panels), PANEL_COLUMNS)
    lines = -(-len(panels) // columns)
    labels = list(dict.fromkeys(row.label for row in rows))
    colour = _colours(labels)
    size = (5.5, 3.6) if len(panels) == 1 else (4.2 * columns, 3.3 * lines)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_visible(False)
    with matplotlib.rc_context({"text.parse_math": False}):  # names are no formulas
        for axes, (name, panel_rows) in zip(grid, panels.items(), strict=False):
            axes.set_visible(True)
            _draw_panel(axes, panel_rows, colour)
            if published is not None:
                _draw_published(axes, published_of(panel_rows, rows, published), colour)
            axes.set_title(visible(name if len(panels) > 1 else title))
        handles, names = _legend(list(grid[: len(panels)]))
        if len(names) <= FEW_LINES and len(panels) == 1:
            grid[0].legend(handles, names)
        else:
            columns = math.ceil(len(names) / MOST_LINES)  # more do not fit beside the panels
            figure.legend(handles, names, loc="outside right upper", fontsize=8, ncols=columns)
        if len(panels) > 1:
            figure.suptitle(visible(title))
        save_figure(figure, path)


def panels_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of every panel of a figure, by its title: of the averages, and of every task."""
    panels = {
        name: [row for row in rows if row.dataset == name]
        for name in dict.fromkeys(row.dataset for row in rows)
    }
    return {f"average of {name}": mean for name, mean in averages(rows).items()} | panels


def check_figure_path(path: str | Path) -> None:
    """Checks that a figure can be written, before it is drawn.

    Raises:
        OutputError: If the file cannot be written.
        ValueError: If matplotlib has no such format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in formats:
        raise ValueError(
            f"The figure {path} has no suffix of a known format: choose .png, .pdf or .svg."
        )
    check_output_file(path)


def save_figure(figure: "Figure", path: str | Path, **settings: Any) -> None:
    """Writes a figure as a whole, in the format of its suffix."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format=Path(path).suffix[1:].lower(), **settings)
    write_output(path, content.getvalue())


def _colours(labels: Sequence[str]) -> dict[str, Any]:
    """One colour per label: black for zero-shot, ten strong ones, then ten pale ones."""
    import matplotlib

    palette = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    chosen: dict[str, Any] = {}
    others = [label for label in labels if label != ZERO_SHOT]
    for i, label in enumerate(others):
        chosen[label] = palette[2 * i % 20 + i // 10 % 2]
    return {label: chosen.get(label, "black") for label in labels}


def _draw_panel(axes: "Axes", rows: Sequence[Row], colour: Mapping[str, Any]) -> None:
    labels = list(dict.fromkeys(row.label for row in rows))
    for label in labels:
        line = sorted((row for row in rows if row.label == label), key=lambda row: row.shots)
        axes.errorbar(
            [row.shots for row in line],
            [row.accuracy for row in line],
            [row.deviation for row in line],
            marker=MARKERS[list(colour).index(label) // 10 % len(MARKERS)],
            color=colour[label],
            markersize=5 if len(colour) <= FEW_LINES else 3,
            capsize=3 if len(colour) <= FEW_LINES else 0,
            label=visible(label).replace("_", " "),
            linestyle=":" if label == ZERO_SHOT else "-",
            linewidth=2.5 if label == REFERENCE and len(colour) > FEW_LINES else 1.5,
            zorder=3 if label == REFERENCE else 2,
        )
    shots = sorted({row.shots for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.minorticks_off()
    axes.set(xlabel="labelled images per class", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)


def published_of(
    panel: Sequence[Row], rows: Sequence[Row], published: Published
) -> Mapping[str, Mapping[int, float]]:
    """The published numbers of a panel's data set, which hold for all of its classes: of its tasks
    the one with the most has them."""
    first = panel[0] if panel else None
    if first is None or first.task is None:
        return published.accuracy.get(first.dataset, {}) if first is not None else {}
    sizes = [
        row.task.num_classes or 0
        for row in rows
        if row.task is not None and row.task.dataset == first.task.dataset
    ]
    if first.task.split != "plain" or (first.task.num_classes or 0) < max(sizes):
        return {}
    return published.accuracy.get(first.task.dataset, {})


def _draw_published(
    axes: "Axes", accuracy: Mapping[str, Mapping[int, float]], colour: Mapping[str, Any]
) -> None:
    for method, points in accuracy.items():
        curve = sorted((shots, value) for shots, value in points.items() if shots > 0)
        if curve:
            axes.plot(
                *zip(*curve, strict=True),
                linestyle="--",
                marker="." if len(curve) == 1 else "",
                color=colour.get(method, "grey"),
                label=f"{visible(method).replace('_', ' ')}, published",
            )


def _legend(grid: "Sequence[Axes]") -> "tuple[list[Artist], list[str]]":
    """One entry per name, over all panels."""
    entries: dict[str, Any] = {}
    for axes in grid:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    return list(entries.values()), list(entries)


def picture_grid(images: "Sequence[Image.Image]", captions: Sequence[str], path: Path) -> None:
    """Draws pictures in rows, with captions below.

    Args:
        images (sequence of PIL.Image.Image): The pictures.
        captions (sequence of str): One caption per picture.
        path (Path): The file to write, in the format of its suffix.

    Raises:
        MissingPackageError: If matplotlib is not installed.
    """
    matplotlib = require("matplotlib")
    check_figure_path(path)
    from matplotlib.figure import Figure

    lines = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 2.7 * lines), dpi=100, layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    for axes in grid:
        axes.axis("off")
    with matplotlib.rc_context({"text.parse_math": False}):  # class names are no formulas
        for axes, image, caption in zip(grid, images, captions, strict=False):
            axes.imshow(image)
            axes.set_title(
                "\n".join(map(visible, caption.split("\n"))),
                fontsize=8,
                y=-0.02,
                verticalalignment="top",
            )
        save_figure(figure, path)
