import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pyg_graphadapter import cli
from pyg_graphadapter.testing import fake_features


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path):
    """A classifier, and features of which the last five are of none of its classes."""
    data = fake_features(num_classes=4, channels=16, shots=8)
    data.save(tmp_path / "features.npz")
    x = data.test.mean_views()[:5].numpy()
    others = np.random.RandomState(0).standard_normal((5, 16)).astype("float32")
    np.savez(tmp_path / "images.npz", features=np.concatenate([x, others]))
    run("fit", tmp_path / "features.npz", "--method", "gda", "--out", tmp_path / "c")
    return tmp_path


def predict(folder, *arguments, code=0):
    return run("predict", folder / "c", folder / "images.npz", *arguments, code=code)


def test_lines(folder):
    result = predict(folder, "--reject", "none of these")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    rejected = [line for line in lines if line[1:] == ["-", "none of these", "-"]]
    assert len(lines) == 10
    assert 3 <= len(rejected) <= 6
    assert f"{len(rejected)} of 10 images rejected as none of these." in result.stderr
    assert "rejected" not in predict(folder).stderr


def test_a_larger_share_rejects_fewer(folder):
    counts = [
        predict(folder, "--reject", "unknown", "--accept", share).stdout.count("unknown")
        for share in ("0.5", "0.95", "0.999999")
    ]
    assert counts[0] >= counts[1] > counts[2]


def test_further_classes_and_json(folder):
    lines = predict(folder, "--reject", "unknown", "--top", "2").stdout.splitlines()
    rows = json.loads(predict(folder, "--reject", "unknown", "--top", "2", "--json").stdout)
    for line, row in zip(lines, rows, strict=True):
        is_rejected = row["class_name"] == "unknown"
        assert len(line.split("\t")) == (10 if is_rejected else 7)
        assert (row["label"] is None) == (row["probability"] is None) == is_rejected
        assert isinstance(row["unknown_score"], float)
        assert len(row["top"]) == 2


def test_a_file(folder):
    predict(folder, "--reject", "unknown", "--out", folder / "rows.csv")
    head, *rows = (folder / "rows.csv").read_text().splitlines()
    assert head.endswith(",reason,unknown_score")
    assert sum(",unknown,," in row for row in rows) >= 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--accept", "0.9"), 2, "give --reject, too"),
        (("--reject", "class 1"), 1, "'class 1' is one of the classes"),
        (("--reject", "unknown", "--accept", "95"), 1, "between 0 and 1 (got 95.0)"),
        (("--reject", ""), 1, "'reject' is the name of images of no class"),
    ],
)
def test_what_is_refused(folder, arguments, code, message):
    assert message in predict(folder, *arguments, code=code).stderr


def test_help_says_that_the_answer_is_always_a_class():
    words = " ".join(run("predict", "--help").stdout.split())
    assert "Without --reject, the answer is always one of the classes" in words
