import pytest

from pyg_graphadapter.report.curves import accuracy_charts, loss_charts
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import summarize
from tests.results import result


def results():
    return [
        result(method, shots, seed, 50.0 + shots + seed, dataset=dataset)
        for method in ("zero_shot", "gda", "graph_adapter")
        for shots in (1, 4)
        for seed in (1, 3)
        for dataset in ("a", "b")
        if method != "zero_shot" or shots == 1
    ]


def test_one_chart_per_task_and_one_of_the_average():
    charts = accuracy_charts(summarize(results()[4:]), None)
    assert list(charts) == ["average of 2 data sets", "a", "b"]
    curves = {drawn.curve.name: drawn.curve for drawn in charts["a"].curves}
    assert list(curves) == ["gda", "graph_adapter"]
    deviation = pytest.approx(2**0.5)
    assert curves["gda"].points == ((1.0, 53.0, deviation), (4.0, 56.0, deviation))
    assert curves["graph_adapter"].is_strong


def test_published_numbers_are_dashed_in_the_colour_of_their_method():
    published = Published("x", {"a": {"gda": {1: 40.0, 2: 45.0}, "other": {0: 1.0}}}, {})
    charts = accuracy_charts(summarize(results()[4:]), published)
    [dashed] = [d.curve for d in charts["a"].curves if d.curve.stroke == "dashed"]
    [measured] = [d.curve for d in charts["a"].curves if d.curve.name == "gda"]
    assert dashed.name == "gda, published"
    assert dashed.method == "gda"
    assert dashed.colour == measured.colour
    assert dashed.points == ((1.0, 40.0, 0.0), (2.0, 45.0, 0.0))
    assert [column.text for column in charts["a"].columns] == ["1 shot", "2 shots", "4 shots"]
    assert all(d.curve.stroke != "dashed" for d in charts["b"].curves)


def test_zero_shots_have_no_logarithm():
    rows = summarize([result("transclip", shots, dataset="a") for shots in (0, 1, 4)])
    [chart] = accuracy_charts(rows, None).values()
    assert [column.text for column in chart.columns] == ["0 shots", "1 shot", "4 shots"]
    assert [mark.x for mark in chart.curves[0].marks] == sorted(m.x for m in chart.curves[0].marks)


def test_losses_are_of_the_most_shots_and_keep_their_epochs():
    runs = [
        result(shots=1, loss=[9.0, 8.0], settings={"epochs": 2}),
        result(shots=4, seed=2, loss=[7.0, 6.0], settings={"epochs": 2}),
        result(shots=4, seed=1, loss=[5.0, 4.0, 3.0], settings={"epochs": 9}),  # every third
        result("gda", shots=4),
    ]
    [chart] = loss_charts(runs).values()
    [drawn] = chart.curves
    assert drawn.curve.name == "graph_adapter, 4 shots, seed 1"
    assert drawn.curve.points == ((1.0, 5.0, 0.0), (4.0, 4.0, 0.0), (7.0, 3.0, 0.0))
    assert loss_charts([result("gda")]) == {}
