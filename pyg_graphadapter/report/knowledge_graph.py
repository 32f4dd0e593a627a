"""A figure of knowledge sub-graphs: class names, joined by their strongest edges.

Edges are plain tuples here, so that reports draw them without torch. Matplotlib, networkx and numpy
are imported when something is drawn.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pyg_graphadapter.display import visible
from pyg_graphadapter.optional import require
from pyg_graphadapter.report.figures import check_figure_path, save_figure
from pyg_graphadapter.report.graph_panel import (
    FEW_CLASSES,
    FONT_SIZE,
    LINE_WIDTHS,
    MARGIN,
    PADDING,
    Edge,
    Panel,
    lay_out,
    name_lines,
    note_of,
    strength_of,
)
from pyg_graphadapter.settings import unknown

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from torch_geometric.data import Data, HeteroData

NEIGHBOURS = 2  # edges per class
NUM_EDGES = 100
NUM_CLASSES = 60  # that a panel can show
HUES = ("tab:blue", "tab:orange")  # of the text and of the image sub-graph
PALE = "0.82"
BOX = f"round,pad={PADDING}"
POINTS_PER_INCH = 72
HEAD, FOOT = 24.0, 22.0  # in points


def strongest_edges(
    graph: "Data | Iterable[Edge]",
    class_names: Sequence[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    num_edges: int = NUM_EDGES,
) -> list[Edge]:
    """The strongest edges of a knowledge graph, each pair of classes once, the strongest first.

    At most two edges per class are taken, and at most 60 classes: those whose strongest edges are
    the strongest.

    Args:
        graph (Data or iterable of tuple): A graph of :func:`~pyg_graphadapter.knowledge_graph`, or
            edges as pairs of names with their weight.
        class_names (sequence of str, optional): The names of the classes of a
            :class:`~torch_geometric.data.Data`; their numbers if not given.
            (default: :obj:`None`)
        classes (sequence of str, optional): Take edges among these classes alone.
            (default: :obj:`None`)
        num_edges (int, optional): The largest number of edges. (default: :obj:`100`)

    Raises:
        ValueError: If the number of names is wrong, or a class is unknown.

    Example:
        >>> strongest_edges([("cat", "dog", 0.9), ("dog", "cat", 0.9), ("cat", "car", 0.2)])
        [('cat', 'dog', 0.9), ('car', 'cat', 0.2)]
    """
    edges = _edges_of(graph, class_names, classes)
    edges.sort(key=lambda edge: -edge[2])
    count: Counter[str] = Counter()  # edges per class
    ranks: dict[tuple[str, str], tuple[int, float]] = {}
    for a, b, weight in edges:
        pair = (min(a, b), max(a, b))
        if pair not in ranks and a != b:
            ranks[pair] = (min(count[a], count[b]), weight)
            count.update(pair)
    chosen: list[Edge] = []
    shown_classes: set[str] = set()
    # First the strongest edge of every class, then the second ones:
    for pair, (rank, weight) in sorted(ranks.items(), key=lambda item: (item[1][0], -item[1][1])):
        if (
            rank < NEIGHBOURS
            and len(chosen) < num_edges
            and len(shown_classes | {*pair}) <= NUM_CLASSES
        ):
            shown_classes |= {*pair}
            chosen.append((*pair, weight))
    return sorted(chosen, key=lambda edge: (-edge[2], edge))


def _edges_of(
    graph: Any, class_names: Sequence[str] | None, classes: Sequence[str] | None
) -> list[Edge]:
    """The edges as names and weights; of a graph of PyG, the strongest ones of every class."""
    if not hasattr(graph, "edge_index"):
        edges = [(str(a), str(b), float(weight)) for a, b, weight in graph]
        chosen = _checked(classes, sorted({name for a, b, _ in edges for name in (a, b)}))
        return [edge for edge in edges if {edge[0], edge[1]} <= chosen]
    import numpy as np

    if graph.edge_index is None or graph.edge_weight is None:
        raise ValueError(
            "The graph has no edges with weights: make it with knowledge_graph, or set "
            "'edge_index' and 'edge_weight'."
        )
    names = _unique(class_names or [str(c) for c in range(graph.num_nodes)])
    if len(names) != graph.num_nodes:
        raise ValueError(f"{len(names)} class names for {graph.num_nodes} classes.")
    chosen = _checked(classes, names)
    is_chosen = np.array([name in chosen for name in names], dtype=bool)
    node, query = graph.edge_index.cpu().numpy()
    weight = graph.edge_weight.detach().cpu().double().numpy()
    order = np.lexsort((-weight, query))
    order = order[(node != query)[order] & is_chosen[node[order]] & is_chosen[query[order]]]
    rank = np.arange(len(order)) - np.searchsorted(query[order], query[order])
    return [(names[node[i]], names[query[i]], float(weight[i])) for i in order[rank < NEIGHBOURS]]


def _checked(classes: Sequence[str] | None, names: Sequence[str]) -> set[str]:
    """The classes that were asked for, or all."""
    for name in classes or ():
        if name not in names:
            raise unknown("class", name, names)
    return set(names if classes is None else classes)


def _unique(names: Sequence[str]) -> list[str]:
    """Names with their number where several classes have the same one."""
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} ({c})" for c, name in enumerate(names)]


def draw_knowledge_graph(
    graph: "Data | HeteroData | Iterable[Edge] | Mapping[str, Iterable[Edge]]",
    class_names: Sequence[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    num_edges: int = NUM_EDGES,
    num_classes: int | None = None,
    title: str = "",
    path: str | Path | BinaryIO | None = None,
) -> "Figure":
    """Draws the strongest edges of a knowledge graph between the names of its classes: at most two
    edges per class, wider and darker the larger the cosine similarity of their ends. Of more than
    60 classes, those with the strongest edges are shown, or those in :obj:`classes`.

    Args:
        graph (Data, HeteroData, iterable of tuple or dict): A graph of
            :func:`~pyg_graphadapter.knowledge_graph`, both graphs of
            :func:`~pyg_graphadapter.dual_knowledge_graph`, edges as pairs of names with their
            weight, or several lists of edges by their title. Each graph is a panel.
        class_names (sequence of str, optional): The names of the classes of a graph of PyG; their
            numbers if not given. (default: :obj:`None`)
        classes (sequence of str, optional): Draw edges among these classes alone.
            (default: :obj:`None`)
        num_edges (int, optional): The largest number of edges in a panel. (default: :obj:`100`)
        num_classes (int, optional): The number of classes that there are, where the edges do not
            tell. (default: :obj:`None`)
        title (str, optional): A title. (default: :obj:`""`)
        path (str, Path or file, optional): The file to write, in the format of its suffix.
            (default: :obj:`None`)

    Raises:
        ValueError: If the number of names is wrong, or a class is unknown.
    """
    matplotlib = require("matplotlib")
    if isinstance(path, str | Path):
        check_figure_path(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)  # measures texts
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        panels = []
        for name, edges in _panels_of(graph).items():
            edges = edges if hasattr(edges, "edge_index") else list(edges)
            total = len(classes) if classes is not None else num_classes or _count(edges)
            strongest = strongest_edges(edges, class_names, classes=classes, num_edges=num_edges)
            panels.append(lay_out(name, strongest, total, partial(_sizes, figure)))
        _draw(figure, panels, title)
        if path is not None:
            if isinstance(path, str | Path):
                save_figure(figure, path, dpi=150)
            else:
                figure.savefig(path, dpi=150)
    return figure


def _panels_of(graph: Any) -> Mapping[str, Any]:
    """One graph, or several graphs by their titles."""
    if isinstance(graph, Mapping):
        return graph
    if not hasattr(graph, "edge_index_dict"):
        return {"": graph}
    panels = {}
    for side, _, target in graph.edge_types:
        if side == target:
            panels[side] = _Side(graph[side].num_nodes, **graph[side, side])
    return panels


def _count(graph: Any) -> int:
    """The number of classes of a graph."""
    if hasattr(graph, "num_nodes"):
        return int(graph.num_nodes)
    return len({name for a, b, _ in graph for name in (a, b)})


@dataclass(frozen=True)
class _Side:
    """One sub-graph of a heterogeneous graph."""

    num_nodes: int
    edge_index: Any
    edge_weight: Any


def _sizes(figure: "Figure", names: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Width and height of the boxes of names, in points ``[n, 2]``."""
    import numpy as np

    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    sizes = []
    for name in names:
        text = _name(figure, 0.0, 0.0, name)
        extent = text.get_window_extent(renderer)
        sizes.append([extent.width, extent.height])
        text.remove()
    return np.array(sizes) * POINTS_PER_INCH / figure.dpi + 2 * PADDING * FONT_SIZE


def _name(where: "Figure | Axes", x: float, y: float, name: str) -> "Text":
    return where.text(
        x,
        y,
        "\n".join(name_lines(name)),
        fontsize=FONT_SIZE,
        horizontalalignment="center",
        verticalalignment="center",
        linespacing=1.0,
        zorder=3,
        bbox={"boxstyle": BOX, "facecolor": "white", "edgecolor": "0.75", "lw": 0.6},
    )


def _draw(figure: "Figure", panels: Sequence[Panel], title: str) -> None:
    """Sets the size of the figure and fills it, with the panels side by side or in a column."""
    beside = all(len(panel.names) <= FEW_CLASSES for panel in panels)
    widths, heights = zip(*(panel.size for panel in panels), strict=True)
    head = HEAD if title else 0.0
    above = HEAD if any(panel.title for panel in panels) else MARGIN
    if beside:
        width, height = sum(widths), head + max(heights) + above + FOOT
    else:
        width, height = max(widths), head + sum(heights) + (above + FOOT) * len(panels)
    figure.set_size_inches(width / POINTS_PER_INCH, height / POINTS_PER_INCH)
    figure.set_dpi(150)
    left, top = 0.0, height - head
    for panel, hue in zip(panels, HUES * len(panels), strict=False):
        (w, h), room = panel.size, max(heights) if beside else panel.size[1]
        panel_width = w if beside else width
        axes = figure.add_axes(
            (left / width, (top - above - room) / height, panel_width / width, room / height)
        )
        axes.set(
            xlim=(-(panel_width - w) / 2, (panel_width + w) / 2),
            ylim=(-(room - h) / 2, (room + h) / 2),
        )
        axes.axis("off")
        axes.set_title(visible(panel.title), fontsize=11, pad=4)
        _draw_panel(axes, panel, hue)
        note = note_of(panel)
        axes.text(0.5, 0, note, fontsize=8, color="0.35", ha="center", va="top",
                  transform=axes.transAxes)  # fmt: skip
        left, top = (left + w, top) if beside else (left, top - room - above - FOOT)
    if title:
        figure.suptitle(visible(title), y=1 - 6 / height, va="top", fontsize=12)


def _draw_panel(axes: "Axes", panel: Panel, hue: str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    position = dict(zip(panel.names, panel.centre, strict=True))
    strength = [strength_of(weight, panel.edges) for _, _, weight in panel.edges][::-1]
    narrow, wide = LINE_WIDTHS
    lines = LineCollection(
        [(position[a], position[b]) for a, b, _ in reversed(panel.edges)],  # the strongest on top
        colors=LinearSegmentedColormap.from_list("tone", [PALE, hue])(strength),
        linewidths=[narrow + (wide - narrow) * share for share in strength],
        capstyle="round",
        zorder=1,
    )
    axes.add_collection(lines)
    for name, (x, y) in position.items():
        _name(axes, x, y, name)
