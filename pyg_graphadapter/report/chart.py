"""Curves as SVG: the geometry, which a template draws."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH, HEIGHT = 440.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 12.0, 12.0, 44.0
NUM_COLOURS = 10  # of the style sheet
MARKERS = ("circle", "square", "triangle", "cross")
NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MOST_COLUMNS = 20  # of values that can be read by hovering or by the keyboard
SOLID, DASHED, DOTTED = "solid", "dashed", "dotted"
Format: TypeAlias = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """A curve in the units of its axes.

    Args:
        name (str): Its name in the legend.
        points (tuple): Its points: x, y and the half length of the bar around it.
        colour (int, optional): Its number among the colours; :obj:`None` for that of text.
            (default: :obj:`None`)
        stroke (str, optional): ``solid``, ``dashed`` or ``dotted``. (default: ``solid``)
        is_strong (bool, optional): Draw it thicker. (default: :obj:`False`)
        has_markers (bool, optional): Mark its points. (default: :obj:`True`)
        method (str, optional): The name by which a page filters it. (default: its name)
        values (tuple of str, optional): What is said of each point. (default: its y)
        holds (bool, optional): Where there is no point, the point before it is read.
            (default: :obj:`False`)
    """

    name: str
    points: tuple[tuple[float, float, float], ...]
    colour: int | None = None
    stroke: str = SOLID
    is_strong: bool = False
    has_markers: bool = True
    method: str = ""
    values: tuple[str, ...] = ()
    holds: bool = False

    @property
    def hue(self) -> str:
        """The class of its colour in the style sheet."""
        return "ink" if self.colour is None else f"c{self.colour % NUM_COLOURS}"

    @property
    def marker(self) -> str:
        """The shape of its marks, which tells curves of one colour apart."""
        return MARKERS[(self.colour or 0) // NUM_COLOURS % len(MARKERS)]


@dataclass(frozen=True)
class Mark:
    """A point in the picture, with the ends of its bar."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class DrawnCurve:
    """A curve in the picture.

    Args:
        curve (Curve): The curve.
        path (str): Its line, as the attribute ``d`` of a path.
        marks (tuple of Mark): Its points, where they are marked.
        values (tuple of str): What is said of it in each column; empty where there is no point.
    """

    curve: Curve
    path: str
    marks: tuple[Mark, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Tick:
    """A mark at an axis: where, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Column:
    """A strip of the picture, in which the values of all curves at one x are read."""

    left: float
    width: float
    middle: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A picture of curves.

    Args:
        title (str): What it shows.
        x_label (str): What the horizontal axis is.
        y_label (str): What the vertical axis is.
        curves (tuple of DrawnCurve): The curves.
        x_ticks (tuple of Tick): The marks of the horizontal axis.
        y_ticks (tuple of Tick): The marks of the vertical axis.
        columns (tuple of Column): The strips in which values are read.
        width (float): Its width.
        height (float): Its height.
        diagonal (str): The line on which x equals y, as the attribute ``d`` of a path, if any.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[DrawnCurve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    columns: tuple[Column, ...]
    width: float = WIDTH
    height: float = HEIGHT
    diagonal: str = ""
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Axis:
    """A scale from values to places in the picture.

    Args:
        low (float): The value at the start.
        high (float): The value at the end.
        start (float): The place of ``low``.
        end (float): The place of ``high``.
        is_log (bool, optional): Equal factors are equally long. (default: :obj:`False`)
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """The place of a value, rounded to a tenth."""
        scale = math.log2 if self.is_log else float
        low, high = scale(self.low), scale(self.high)
        share = (scale(value) - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def draw_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    x_text: Format = "{:g}".format,
    y_text: Format = "{:.2f}".format,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    y_bounds: tuple[float, float] = (-math.inf, math.inf),
    is_log: bool = False,
    is_square: bool = False,
) -> Chart:
    """Draws curves.

    Args:
        title (str): What the picture shows.
        curves (sequence of Curve): The curves; one point at least.
        x_label (str): What the horizontal axis is.
        y_label (str): What the vertical axis is.
        x_text (callable, optional): The text of an x, in front of the values there.
        y_text (callable, optional): The text of a y.
        x_range (tuple, optional): The smallest and the largest x. (default: those of the points)
        y_range (tuple, optional): The smallest and the largest y. (default: those of the points)
        y_bounds (tuple, optional): The smallest and the largest y that can be, as 0 and 100 for
            percent: where the range follows from the points, it ends there at the latest.
            (default: none)
        is_log (bool, optional): Draw x by its logarithm, with a mark for each x that there is.
            (default: :obj:`False`)
        is_square (bool, optional): Draw the line on which x equals y. (default: :obj:`False`)
    """
    points = [point for curve in curves for point in curve.points]
    positions = sorted({x for x, _, _ in points})
    left, right = x_range or (positions[0], positions[-1])
    low, high = y_range or _range(points, y_bounds)
    inset = 14.0 if x_range is None else 0.0  # so that the first bars stand free
    x_axis = Axis(left, right, LEFT + inset, WIDTH - RIGHT - inset, is_log)
    y_axis = Axis(low, high, HEIGHT - BOTTOM, TOP)
    x_ticks = positions if is_log else nice_ticks(left, right)
    stops = positions if len(positions) <= MOST_COLUMNS else _thinned(positions)
    return Chart(
        title,
        x_label,
        y_label,
        tuple(_drawn(curve, x_axis, y_axis, stops, y_text) for curve in curves),
        tuple(Tick(x_axis.place(x), f"{x:g}") for x in x_ticks),
        tuple(Tick(y_axis.place(y), f"{y:g}") for y in nice_ticks(low, high)),
        _columns([x_axis.place(x) for x in stops], [x_text(x) for x in stops]),
        diagonal=_path([(x_axis.place(low), y_axis.place(low)),
                        (x_axis.place(high), y_axis.place(high))]) if is_square else "",
    )  # fmt: skip


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two values, about ``count`` of them.

    Example:
        >>> nice_ticks(61.3, 88.0)
        [65.0, 70.0, 75.0, 80.0, 85.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min(NICE_STEPS, key=lambda nice: abs(math.log(nice * power / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def _range(
    points: Sequence[tuple[float, float, float]], bounds: tuple[float, float]
) -> tuple[float, float]:
    """The smallest and the largest y with its bar, and a little room inside the bounds."""
    low, high = min(y - bar for _, y, bar in points), max(y + bar for _, y, bar in points)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return max(low - room, min(low, bounds[0])), min(high + room, max(high, bounds[1]))


def _thinned(positions: Sequence[float]) -> list[float]:
    """Some of the positions, evenly, with the first and the last one."""
    step = (len(positions) - 1) / (MOST_COLUMNS - 1)
    return [positions[round(i * step)] for i in range(MOST_COLUMNS)]


def _drawn(
    curve: Curve, x_axis: Axis, y_axis: Axis, stops: Sequence[float], y_text: Format
) -> DrawnCurve:
    points = sorted(curve.points)
    texts = curve.values or tuple(
        f"{y_text(y)} ± {y_text(bar)}" if bar else y_text(y) for _, y, bar in curve.points
    )
    y_values = {x: text for (x, _, _), text in zip(curve.points, texts, strict=True)}

    def value_at(x: float) -> str:
        previous = [other for other in y_values if other <= x] if curve.holds else [x]
        return y_values.get(max(previous, default=x), "")

    marks = tuple(
        Mark(x_axis.place(x), y_axis.place(y), y_axis.place(y - bar), y_axis.place(y + bar))
        for x, y, bar in points
    )
    return DrawnCurve(
        curve,
        _path([(mark.x, mark.y) for mark in marks]),
        marks if curve.has_markers or len(marks) == 1 else (),
        tuple(map(value_at, stops)),
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)


def _columns(places: Sequence[float], texts: Sequence[str]) -> tuple[Column, ...]:
    """Strips that meet in the middle between two places."""
    edges = [
        LEFT,
        *((a + b) / 2 for a, b in itertools.pairwise(places)),
        WIDTH - RIGHT,
    ]
    return tuple(
        Column(round(edges[i], 1), round(edges[i + 1] - edges[i], 1), place, text)
        for i, (place, text) in enumerate(zip(places, texts, strict=True))
    )
