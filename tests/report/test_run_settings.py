from pyg_graphadapter.report.run_settings import (
    commands_of,
    runs_table,
    settings_text,
    versions_of,
)
from tests.results import result


def test_values_in_words():
    settings = {"k": None, "on": True, "lr": 0.001, "names": ["a", "b"], "more": {"x": 1}}
    assert (
        settings_text(settings) == "k = not set, on = yes, lr = 0.001, names = a, b, more = x = 1"
    )


def test_runs_of_other_settings_have_a_line_of_their_own():
    runs = [
        result(seed=1, accuracy=50.0, settings={"alpha": 0.5, "seed": 1}),
        result(seed=2, accuracy=60.0, settings={"alpha": 0.5, "seed": 2}),
        result(seed=3, accuracy=70.0, settings={"alpha": 0.1, "seed": 3}, selected_on="test"),
        result("gda", seed=1),
    ]
    lines = [[cell.text for cell in line] for line in runs_table(runs).lines]
    assert lines == [
        ["graph_adapter", "a", "1", "1, 2", "55.00", "1.00", "0.00", "-", "alpha = 0.5"],
        ["graph_adapter", "a", "1", "3", "70.00", "1.00", "0.00", "test images", "alpha = 0.1"],
        ["gda", "a", "1", "1", "50.00", "1.00", "0.00", "-", "-"],
    ]


def test_commands_and_versions_are_there_once():
    runs = [
        result(command="graphadapter compare x", versions={"torch": "1"}, code="c"),
        result("gda", command="graphadapter compare x", versions={"torch": "2"}, code="c"),
        result(),
    ]
    assert commands_of(runs) == ["graphadapter compare x"]
    assert versions_of(runs) == [("torch", "1, 2"), ("code c", "graph_adapter, gda")]
    assert versions_of([result()]) == [("versions", "not recorded")]
