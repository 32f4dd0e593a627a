"""``report`` on result files, on evaluations, and on what is neither."""

import json

import pytest

from pyg_graphadapter.report.results import read_results
from pyg_graphadapter.testing import fake_features
from tests.cli.test_commands import run
from tests.evaluations import random_evaluation
from tests.pages import check_page


@pytest.fixture
def results(tmp_path):
    fake_features(num_classes=3, channels=8, shots=2).save(tmp_path / "my features.npz")
    options = ("--methods", "zero_shot,graph_adapter", "--shots", 1, "--seeds", "1,2")
    run("compare", tmp_path / "my features.npz", *options, "--epochs", 2, "--jobs", 1,
        "--out", tmp_path / "results")  # fmt: skip
    return tmp_path / "results"


def evaluate(folder):
    folder.mkdir(exist_ok=True)
    random_evaluation()[0].save(folder)
    return folder


def test_results_with_their_command_and_losses(results, tmp_path):
    for content in read_results(results):
        assert content["command"] == (
            f"graphadapter compare '{tmp_path}/my features.npz' --methods zero_shot,graph_adapter "
            f"--shots 1 --seeds 1,2 --epochs 2 --jobs 1 --out {tmp_path}/results"
        )
    answer = run("report", results, "--out", tmp_path / "out")
    assert "report.html, and the tables and the figure beside it." in answer.stdout
    page = check_page((tmp_path / "out" / "report.html").read_text())
    assert read_results(results)[0]["command"] in page.text
    assert "Training loss per epoch" in page.text
    assert not (tmp_path / "out" / "evaluation.html").exists()


def test_an_evaluation_alone(tmp_path):
    folder = evaluate(tmp_path / "evaluation")
    out = tmp_path / "out"
    answer = run("report", folder, "--out", out, "--json")
    assert json.loads(answer.stdout) == {
        "page": None, "evaluation_page": str(out / "evaluation.html"), "tables": [],
    }  # fmt: skip
    assert [path.name for path in out.iterdir()] == ["evaluation.html"]
    check_page((out / "evaluation.html").read_text())
    run("report", folder / "evaluation.json", "--out", out)  # by its name; it is replaced


def test_both(results, tmp_path):
    evaluate(results)
    answer = run("report", results, "--out", tmp_path / "out")
    assert "report.html" in answer.stdout
    assert "evaluation.html" in answer.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "evaluation.html", "accuracy.png", "tables.md"} <= names
    run("report", results, "--out", tmp_path / "out")


def test_mistakes(tmp_path):
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / "classifier.json").write_text("{}")
    answer = run("report", tmp_path / "classifier", "--out", tmp_path / "out", code=1)
    assert "holds a classifier and no results: measure it first" in answer.stderr
    folder = evaluate(tmp_path / "evaluation")
    answer = run("report", folder, "--out", folder, code=1)
    assert "holds something else (evaluation.json)" in answer.stderr
    (folder / "evaluation.json").write_text("{}")
    answer = run("report", folder, "--out", tmp_path / "out", code=1)
    assert "evaluation" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "out").exists()
