"""The geometry of a knowledge sub-graph in a figure or on a page: where every name stands.

Numpy is imported when something is drawn.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pyg_graphadapter.display import visible
from pyg_graphadapter.report.layout import best_layout

if TYPE_CHECKING:
    import numpy as np

Edge: TypeAlias = tuple[str, str, float]  # two classes and the weight of their edge

FEW_CLASSES = 30  # panels of so many stand side by side
LINE_WIDTHS = (0.9, 3.5)
FONT_SIZE = 9
PADDING = 0.25  # around a name, in font sizes
NAME_WIDTH = 16  # characters in a line
NAME_LINES = 3
LAYOUTS = (8, 32)  # of many and of few classes, of which the best one is taken
GAP, MARGIN = 7.0, 10.0  # in points
LEAST_WIDTH = 350.0  # of a panel, in points, so that its note has room


@dataclass(frozen=True)
class Panel:
    """A sub-graph that is laid out.

    Args:
        title (str): Its title.
        total (int): The number of classes that there are.
        edges (list of tuple): The edges, the strongest first.
        names (list of str): The classes.
        centre (numpy.ndarray): The centre of every name in points ``[n, 2]``.
        size (tuple): Width and height in points.
    """

    title: str
    total: int
    edges: list[Edge]
    names: list[str]
    centre: "np.ndarray[Any, Any]"
    size: tuple[float, float]


def lay_out(
    title: str,
    edges: list[Edge],
    total: int,
    sizes: "Callable[[Sequence[str]], np.ndarray[Any, Any]]",
) -> Panel:
    """Gives every name its place.

    Args:
        title (str): The title of the panel.
        edges (list of tuple): The edges, the strongest first.
        total (int): The number of classes that there are.
        sizes (callable): Width and height of the boxes of names, in points ``[n, 2]``.
    """
    import numpy as np

    names = sorted({name for a, b, _ in edges for name in (a, b)})
    if not names:
        return Panel(title, total, edges, names, np.zeros((0, 2)), (LEAST_WIDTH, 40.0))
    position = {name: i for i, name in enumerate(names)}
    ends = np.array([[position[a], position[b]] for a, b, _ in edges])  # [E, 2]
    size = sizes(names) + GAP  # [n, 2]
    best = best_layout(size, ends, LAYOUTS[len(names) <= FEW_CLASSES])
    low, high = (best - size / 2).min(axis=0), (best + size / 2).max(axis=0)
    width, height = np.maximum(high - low + 2 * MARGIN, (LEAST_WIDTH, 0.0))
    corner = (np.array([width, height]) - low - high) / 2
    return Panel(title, total, edges, names, best + corner, (float(width), float(height)))


def name_lines(name: str) -> list[str]:
    """A name in lines that fit a box; what does not fit ends in dots."""
    lines = textwrap.wrap(
        visible(name), NAME_WIDTH, max_lines=NAME_LINES, placeholder=" …", break_on_hyphens=False
    )
    return lines or [" "]


def strength_of(weight: float, edges: Sequence[Edge]) -> float:
    """Where a weight lies between the smallest and the largest one, which is first."""
    largest, smallest = edges[0][2], edges[-1][2]
    return (weight - smallest) / (largest - smallest) if largest > smallest else 1.0


def note_of(panel: Panel) -> str:
    """What a panel shows."""
    if not panel.edges:
        return "There are no edges."
    largest, smallest = panel.edges[0][2], panel.edges[-1][2]
    cosine = f"cosine {smallest:.2f} (pale) to {largest:.2f} (dark)"
    num_names = len(panel.names)
    if panel.total > num_names:
        return f"{num_names} of {panel.total:,} classes, with their strongest edges: {cosine}"
    return f"the strongest edges of each class, up to two: {cosine}"
