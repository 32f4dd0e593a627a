import json

import pytest

from pyg_graphadapter.results import RESULT_FORMAT, is_result, read_result, summarize
from pyg_graphadapter.tables import markdown_table


def result(method="graph_adapter", shots=1, accuracy=50.0, seconds=1.0):
    return {
        "format": RESULT_FORMAT,
        "method": method,
        "shots": shots,
        "accuracy": accuracy,
        "fit_seconds": seconds,
        "parameters": 1234567,
    }


def test_mean_and_sample_deviation_over_seeds():
    rows = summarize([result(accuracy=50.0), result(accuracy=52.0, seconds=3.0), result(shots=2)])
    assert [(row.shots, row.seeds, row.accuracy) for row in rows] == [(1, 2, 51.0), (2, 1, 50.0)]
    assert rows[0].deviation == pytest.approx(2**0.5)
    assert rows[0].fit_seconds == 2.0
    assert rows[1].deviation == 0.0


def test_the_table():
    table = markdown_table(summarize([result(), result("zero_shot", accuracy=7.123)]))
    assert table.splitlines() == [
        "| method        | shots | seeds |   accuracy % | training s | parameters |",
        "| ------------- | ----: | ----: | -----------: | ---------: | ---------: |",
        "| graph_adapter |     1 |     1 | 50.00 ± 0.00 |        1.0 |  1,234,567 |",
        "| zero_shot     |     1 |     1 |  7.12 ± 0.00 |        1.0 |  1,234,567 |",
    ]


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', "\xff"])
def test_other_files_are_not_results(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content.encode("latin-1"))
    assert not is_result(path)
    with pytest.raises(ValueError, match="not a result file"):
        read_result(path)


def test_results_are_read(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result()))
    assert read_result(path) == result()
    assert not is_result(path.rename(tmp_path / "r.txt"))
    assert not is_result(tmp_path)
