import math

import pytest

from pyg_graphadapter.report.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    draw_chart,
    nice_ticks,
)


def chart(curves, **how):
    return draw_chart("a title", curves, x_label="x", y_label="y", **how)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (61.3, 88.0, [65, 70, 75, 80, 85]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 3, [3]),
        (-0.001, 0.001, [-0.001, -0.0005, 0, 0.0005, 0.001]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(100, 100), (0, 0), (99.3, 100)])
def test_percent_end_at_0_and_100(low, high):
    curve = Curve("a", ((1, low, 0), (2, high, 0)))
    ticks = [float(tick.text) for tick in chart([curve], y_bounds=(0.0, 100.0)).y_ticks]
    assert 0 <= min(ticks) < max(ticks) <= 100


def test_marks_are_where_the_values_are():
    drawn = chart([Curve("a", ((1, 10, 0), (2, 20, 5), (4, 30, 0)))], is_log=True)
    [curve] = drawn.curves
    x = [mark.x for mark in curve.marks]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # equal factors, equal lengths
    y = [mark.y for mark in curve.marks]
    assert y[0] > y[1] > y[2]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)
    scale = (y[0] - y[2]) / 20
    assert curve.marks[1].low - curve.marks[1].high == pytest.approx(10 * scale, abs=0.3)
    assert [tick.text for tick in drawn.x_ticks] == ["1", "2", "4"]
    assert [tick.at for tick in drawn.x_ticks] == x


def test_all_is_inside_and_the_strips_cover_the_width():
    curves = [Curve(f"m{i}", ((1, i, 1), (16, 50 - i, 2)), i) for i in range(30)]
    drawn = chart(curves, is_log=True)
    for curve in drawn.curves:
        for mark in curve.marks:
            assert LEFT <= mark.x <= WIDTH - RIGHT
            assert TOP <= mark.high <= mark.low <= HEIGHT - BOTTOM
    assert drawn.columns[0].left == LEFT
    assert sum(column.width for column in drawn.columns) == pytest.approx(WIDTH - RIGHT - LEFT)
    looks = {(c.curve.hue, c.curve.marker) for c in drawn.curves}
    assert len(looks) == 30  # colours with marks tell 40 curves apart


def test_values_are_said_at_every_x_where_there_is_one():
    first = Curve("a", ((1, 10, 0.5), (4, 30, 0)))
    second = Curve("b", ((2, 1, 0),), values=("one",))
    drawn = chart([first, second], x_text="at {:g}".format)
    assert [column.text for column in drawn.columns] == ["at 1", "at 2", "at 4"]
    assert [curve.values for curve in drawn.curves] == [
        ("10.00 ± 0.50", "", "30.00"), ("", "one", ""),
    ]  # fmt: skip


def test_a_curve_that_holds_is_read_at_the_point_before():
    curves = [Curve("a", ((1, 5, 0), (3, 4, 0)), holds=True), Curve("b", ((0, 1, 0), (2, 1, 0)))]
    drawn = chart(curves, y_text="{:g}".format)
    assert [curve.values for curve in drawn.curves] == [("", "5", "5", "4"), ("1", "", "1", "")]


def test_of_many_places_some_are_read():
    drawn = chart([Curve("a", tuple((i, math.sin(i), 0) for i in range(1000)))])
    assert len(drawn.columns) == 20
    assert drawn.curves[0].values[0] == "0.00"
    assert drawn.curves[0].values[-1] == f"{math.sin(999):.2f}"


def test_one_point():
    drawn = chart([Curve("a", ((4, 50, 0),), has_markers=False)], is_log=True)
    assert len(drawn.curves[0].marks) == 1  # or nothing would be seen
    assert drawn.columns[0].width == WIDTH - RIGHT - LEFT
