"""Knowledge sub-graphs as SVG: the geometry, which a template draws, and every class's neighbours.

Networkx and numpy are imported when something is drawn.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.display import visible
from pyg_graphadapter.report.graph_panel import (
    FEW_CLASSES,
    FONT_SIZE,
    LINE_WIDTHS,
    PADDING,
    Edge,
    Panel,
    lay_out,
    name_lines,
    note_of,
    strength_of,
)
from pyg_graphadapter.report.knowledge_graph import strongest_edges

if TYPE_CHECKING:
    import numpy as np

LINE_HEIGHT = 1.2  # of the font size
NARROW, USUAL, BROAD, WIDE = 0.36, 0.65, 0.92, 1.25  # of the font size, in any font without serifs
TITLES = {"text": "Alike by their names", "image": "Alike by their pictures"}
PALEST = 0.4  # opacity of the weakest edge


@dataclass(frozen=True)
class Box:
    """A class in the picture: its number, its name in lines, and where its box is."""

    label: int
    name: str
    lines: tuple[tuple[float, str], ...]
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Where the name is centred."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True)
class Line:
    """An edge in the picture: its two classes, its ends, and how it is drawn."""

    source: int
    target: int
    ends: tuple[float, float, float, float]
    width: float
    opacity: float


@dataclass(frozen=True)
class Drawing:
    """A sub-graph in the picture.

    Args:
        side (str): ``text`` or ``image``.
        title (str): Its title.
        note (str): What it shows.
        width (float): Its width.
        height (float): Its height.
        boxes (tuple of Box): The classes.
        lines (tuple of Line): The edges, the strongest last.
    """

    side: str
    title: str
    note: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class KnowledgeGraphs:
    """The sub-graphs of a classifier or a run.

    Args:
        class_names (tuple of str): The names of the classes that have an edge.
        drawings (tuple of Drawing): The pictures.
        neighbours (dict): For each side, the edges as numbers of two classes and their cosine.
    """

    class_names: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    neighbours: dict[str, list[tuple[int, int, float]]]

    @property
    def are_large(self) -> bool:
        """Whether the pictures are too large to stand side by side."""
        return any(len(drawing.boxes) > FEW_CLASSES for drawing in self.drawings)

    def content(self) -> dict[str, Any]:
        """What the script of a page reads."""
        titles = {drawing.side: drawing.title for drawing in self.drawings}
        return {"names": self.class_names, "sides": self.neighbours, "titles": titles}

    @classmethod
    def of(
        cls, sides: Mapping[str, Iterable[Edge]], num_classes: int | None = None
    ) -> "KnowledgeGraphs | None":
        """The sub-graphs of lists of edges by their side; :obj:`None` where there are no edges.

        Args:
            sides (dict): The edges of each side, as pairs of names with their cosine.
            num_classes (int, optional): The number of classes that there are, where the edges do
                not tell. (default: :obj:`None`)
        """
        edges = {side: _each_pair_once(of_side) for side, of_side in sides.items()}
        names = sorted({name for side in edges.values() for edge in side for name in edge[:2]})
        if not names:
            return None
        label = {name: c for c, name in enumerate(names)}
        total = num_classes or len(names)
        return cls(
            tuple(map(visible, names)),
            tuple(_drawing(side, of_side, total, label) for side, of_side in edges.items()),
            {
                side: [(label[a], label[b], round(weight, 3)) for a, b, weight in of_side]
                for side, of_side in edges.items()
            },
        )


def _each_pair_once(edges: Iterable[Edge]) -> list[Edge]:
    """The edges, the strongest first, without those that are there in the other direction."""
    pairs: dict[tuple[str, str], float] = {}
    for a, b, weight in edges:
        pair = (min(a, b), max(a, b))
        if a != b:
            pairs[pair] = max(weight, pairs.get(pair, weight))
    return sorted(((a, b, weight) for (a, b), weight in pairs.items()), key=lambda e: (-e[2], e))


def _drawing(side: str, edges: Sequence[Edge], total: int, label: Mapping[str, int]) -> Drawing:
    panel = lay_out(side, strongest_edges(edges), total, _sizes)
    position = dict(zip(panel.names, panel.centre.tolist(), strict=True))
    return Drawing(
        side,
        TITLES.get(side, side),
        note_of(panel),
        round(panel.size[0], 1),
        round(panel.size[1], 1),
        tuple(_box(label[name], name, position[name]) for name in panel.names),
        tuple(_line(edge, panel, position, label) for edge in reversed(panel.edges)),
    )


def _sizes(names: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Width and height of the boxes of names ``[n, 2]``, enough in any usual font."""
    import numpy as np

    return np.array([_size(name_lines(name)) for name in names])


def _size(lines: Sequence[str]) -> tuple[float, float]:
    room = 2 * PADDING * FONT_SIZE
    width = max(map(text_width, lines)) * FONT_SIZE
    return width + room, len(lines) * LINE_HEIGHT * FONT_SIZE + room


def text_width(text: str) -> float:
    """The width of a text in font sizes, at most: fonts differ."""
    return sum(map(_char_width, text))


def _char_width(char: str) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF" or ord(char) > 0xFFFF:
        return WIDE
    if char in "iljtfr.,:;'|!()[] ":
        return NARROW
    return BROAD if char.isupper() or char in "mw@%&<>=+~#…" else USUAL


def _box(label: int, name: str, centre: Sequence[float]) -> Box:
    lines = name_lines(name)
    width, height = _size(lines)
    x, y = centre[0] - width / 2, centre[1] - height / 2
    first = y + PADDING * FONT_SIZE + 0.9 * FONT_SIZE
    step = LINE_HEIGHT * FONT_SIZE
    placed = tuple((round(first + i * step, 1), line) for i, line in enumerate(lines))
    return Box(label, name, placed, round(x, 1), round(y, 1), round(width, 1), round(height, 1))


def _line(
    edge: Edge, panel: Panel, position: Mapping[str, Sequence[float]], label: Mapping[str, int]
) -> Line:
    a, b, weight = edge
    strength = strength_of(weight, panel.edges)
    narrow, wide = LINE_WIDTHS
    x1, y1, x2, y2 = (round(value, 1) for value in (*position[a], *position[b]))
    return Line(
        label[a],
        label[b],
        (x1, y1, x2, y2),
        round(narrow + strength * (wide - narrow), 2),
        round(PALEST + strength * (1 - PALEST), 2),
    )
