import json

import pytest

from pyg_graphadapter.report.results import (
    RESULT_FORMAT,
    is_result,
    label_of,
    read_result,
    read_results,
    summarize,
)
from tests.results import result


def test_mean_and_sample_deviation_over_seeds():
    rows = summarize(
        [result(accuracy=50.0), result(accuracy=52.0, fit_seconds=3.0), result(shots=2)]
    )
    assert [(row.shots, row.seeds, row.accuracy) for row in rows] == [(1, 2, 51.0), (2, 1, 50.0)]
    assert rows[0].deviation == pytest.approx(2**0.5)
    assert rows[0].fit_seconds == 2.0
    assert rows[1].deviation == 0.0


def test_what_is_not_the_same_is_not_averaged():
    rows = summarize(
        [
            result(),
            result(dataset="b"),
            result(variant="alpha = 0.5"),
            result(protocol="paper"),
            result(variant="alpha = 0.5", protocol="paper"),
            result("transclip", is_transductive=True),
            result("transclip", protocol="paper", is_transductive=True),
            {**result(), "error": "diverged"},
        ]
    )
    assert [(row.dataset, row.label) for row in rows] == [
        ("a", "graph_adapter"),
        ("b", "graph_adapter"),
        ("a", "graph_adapter (alpha = 0.5)"),
        ("a", "graph_adapter†"),
        ("a", "graph_adapter (alpha = 0.5)†"),
        ("a", "transclip‡"),
        ("a", "transclip†‡"),
    ]
    assert {row.seeds for row in rows} == {1}
    assert label_of({"method": "gda"}) == "gda"  # of a file without variant and protocol


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', "\xff"])
def test_other_files_are_not_results(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content.encode("latin-1"))
    assert not is_result(path)
    with pytest.raises(ValueError, match="cannot be read as a result file"):
        read_result(path)
    with pytest.raises(ValueError, match=r"r\.json cannot be read as a result file"):
        read_results(tmp_path)  # rather than a mean without it
    path.unlink()
    with pytest.raises(ValueError, match="no result file in"):
        read_results(tmp_path)


def test_results_are_read(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result()))
    assert read_result(path) == result()
    assert result()["format"] == RESULT_FORMAT
    assert not is_result(path.rename(tmp_path / "r.txt"))
    assert not is_result(tmp_path)


def test_folders_in_a_folder_are_read_in_order(tmp_path):
    written = [result("gda"), result("zero_shot"), result(dataset="b"), result("gda", shots=2)]
    for i, each in enumerate(written):
        folder = tmp_path / each["dataset"]
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.json").write_text(json.dumps(each))
    found = read_results(tmp_path)
    assert [(r["dataset"], r["method"], r["shots"]) for r in found] == [
        ("a", "zero_shot", 1),
        ("a", "gda", 1),
        ("a", "gda", 2),
        ("b", "graph_adapter", 1),
    ]
