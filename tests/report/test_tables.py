import csv
import io

import pytest

from pyg_graphadapter.report.results import summarize
from pyg_graphadapter.report.tables import (
    Cell,
    Table,
    accuracy_tables,
    average,
    base_to_new_tables,
    csv_table,
    dataset_tables,
    latex,
    markdown_table,
    shifted_tables,
    skipped_note,
)
from tests.results import result


def test_the_table_of_rows():
    table = markdown_table(summarize([result(), result("zero_shot", accuracy=7.123)]))
    assert table.splitlines() == [
        "| method        | shots | seeds | accuracy % | training s | parameters |",
        "| ------------- | ----: | ----: | ---------: | ---------: | ---------: |",
        "| graph_adapter |     1 |     1 |      50.00 |        1.0 |  1,234,567 |",
        "| zero_shot     |     1 |     1 |       7.12 |        1.0 |  1,234,567 |",
    ]


def test_several_seeds_have_a_deviation():
    rows = summarize([result(seed=1, accuracy=50.0), result(seed=2, accuracy=52.0)])
    assert "51.00 ± 1.41" in markdown_table(rows)


def texts(table):
    return [[cell.text + "*" * cell.is_best for cell in line] for line in table.lines]


def test_methods_by_shots_with_the_best_of_each_column():
    [table] = accuracy_tables(
        summarize(
            [
                result(accuracy=50.0, seed=1),
                result(accuracy=52.0, seed=2),
                result("gda", accuracy=50.998),  # as good, as it is printed: 51.00
                result("gda", shots=4, accuracy=60.0, fit_seconds=2.5, parameters=7),
            ]
        )
    )
    assert table.title == "a"
    assert table.header == ("method", "1 shot", "4 shots", "fit s", "parameters")
    assert texts(table) == [
        ["graph_adapter", "51.00 ± 1.41*", "-", "1.0", "1,234,567"],
        ["gda", "51.00*", "60.00*", "2.5", "7"],
    ]
    assert "over 1 or 2 seeds" in table.note
    assert "†" not in table.note


def test_images_that_could_not_be_read_are_beside_the_accuracies():
    skipped = {"sha256": "", "skipped": 2}
    rows = summarize([result(features=skipped), result(seed=2)])
    assert skipped_note(rows) == "Could not be read, and are in no number: 2 images."
    [table] = accuracy_tables(rows)
    assert table.note.endswith(skipped_note(rows))
    rows += summarize([result(dataset="b", features={"sha256": "", "skipped": 1})])
    assert skipped_note(rows).endswith(": 2 images of a, 1 image of b.")
    assert not skipped_note(summarize([result()]))


def test_the_average_is_over_all_data_sets_or_not_at_all():
    rows = summarize(
        [
            result(accuracy=40.0),
            result(accuracy=60.0, dataset="b"),
            result("gda", accuracy=90.0, protocol="paper"),
        ]
    )
    [mean] = average(rows)
    assert (mean.label, mean.accuracy, mean.seeds) == ("graph_adapter", 50.0, 1)
    tables = accuracy_tables(rows)
    assert [table.title for table in tables] == ["a", "b", "Average over 2 data sets"]
    assert "selected on the test split" in tables[0].note
    assert "selected on the test split" not in tables[1].note


def test_methods_by_data_sets():
    rows = summarize(
        [result(accuracy=40.0), result(accuracy=60.0, dataset="b"), result("gda", accuracy=45.0)]
    )
    [table] = dataset_tables(rows)
    assert table.title == "All at 1 shot"
    assert table.header == ("method", "a", "b", "average")
    assert texts(table) == [
        ["graph_adapter", "40.00", "60.00*", "50.00*"],
        ["gda", "45.00*", "-", "-"],
    ]
    assert dataset_tables(rows[:1]) == []


def test_shifted_test_sets():
    results = [
        result(shifted={"v2": 40.0, "sketch": 20.0}),
        result("gda", shifted={"v2": 30.0, "sketch": 24.0}, accuracy=55.0),
        result("lp"),
    ]
    [table] = shifted_tables(results)
    assert table.title == "a, domain generalisation, 1 shot"
    assert table.header == ("method", "source", "v2", "sketch", "mean of shifted")
    assert texts(table) == [
        ["graph_adapter", "50.00", "40.00*", "20.00", "30.00*"],
        ["gda", "55.00*", "30.00", "24.00*", "27.00"],
    ]
    assert shifted_tables([result("lp")]) == []


def test_base_and_new_classes_and_methods_that_cannot():
    cannot = {"base": 90.0, "new": None, "harmonic_mean": None, "reason": "has learned none"}
    can = {"base": 80.0, "new": 60.0, "harmonic_mean": 68.57}
    [table] = base_to_new_tables([result(base_to_new=can), result("lp", base_to_new=cannot)])
    assert table.header == ("method", "base", "new", "harmonic mean")
    assert texts(table) == [
        ["graph_adapter", "80.00", "60.00*", "68.57*"],
        ["lp", "90.00*", "-", "-"],
    ]


TABLE = Table("a & b", ("method", "1 shot"), ((Cell("x_y"), Cell("1 ± 2", is_best=True)),), "†")


def test_markdown_with_the_best_in_bold():
    assert TABLE.markdown().splitlines()[2] == "| x_y    | **1 ± 2** |"


def test_latex_with_what_is_special_in_it_escaped():
    lines = TABLE.latex().splitlines()
    assert r"\caption{a \& b. \textsuperscript{\dag}}" in lines
    assert r"x\_y & \textbf{1 $\pm$ 2} \\" in lines
    assert lines[0] == r"\begin{table}"
    assert lines[-1] == r"\end{table}"
    assert latex("50% {a}\\^~") == r"50\% \{a\}\textbackslash{}\textasciicircum{}\textasciitilde{}"


def test_csv_has_full_precision():
    rows = summarize([result(accuracy=100 / 3), result("gda", protocol="paper", dataset='b,"')])
    first, second = csv.DictReader(io.StringIO(csv_table(rows)))
    assert float(first["accuracy"]) == pytest.approx(100 / 3, abs=1e-12)
    assert first["selected_on_test"] == "False"
    assert second["dataset"] == 'b,"'
    assert (second["method"], second["selected_on_test"]) == ("gda", "True")


def test_no_average_where_no_method_has_all_tasks():
    rows = summarize([result(accuracy=40.0), result("gda", accuracy=60.0, dataset="b")])
    assert [table.title for table in accuracy_tables(rows)] == ["a", "b"]
    [table] = dataset_tables(rows)
    assert table.header == ("method", "a", "b")
