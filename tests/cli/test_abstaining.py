import csv
import json
import re

import pytest

from pyg_graphadapter.testing import fake_features
from tests.cli.test_commands import run


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "features.npz"
    fake_features(num_classes=3, channels=16, shots=40, image_noise=2.0).save(path)
    return path


@pytest.fixture(scope="module")
def classifier(features):
    folder = features.parent / "classifier"
    run("fit", features, "--method", "gda", "--no-measure", "--out", folder)
    return folder


def test_answers_of_few_errors(classifier, features, tmp_path):
    plain = run("predict", classifier, features, "--json")
    labels = [entry["label"] for entry in json.loads(plain.stdout)]
    asked = ("predict", classifier, features, "--max-error", 0.4)
    result = run(*asked)  # exit code 0: all images were classified
    lines = result.stdout.splitlines()
    unanswered = [line for line in lines if "no answer: the probability" in line]
    assert 0 < len(unanswered) < len(lines) == 60
    match = re.search(r"Answered (\d+) of 60, (\d+) of them wrong", result.stderr)
    assert int(match[1]) == 60 - len(unanswered)
    entries = json.loads(run(*asked, "--json").stdout)
    assert all(e["label"] in (None, label) for e, label in zip(entries, labels, strict=True))
    assert sum(entry["label"] is None for entry in entries) == len(unanswered)
    assert all(("reason" in entry) == (entry["label"] is None) for entry in entries)
    told = run(*asked, "--out", tmp_path / "p.csv")
    words = f"60 of 60 images classified, {len(unanswered)} of them without an answer."
    assert words in told.output
    records = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert sum(record["label"] == "" for record in records) == len(unanswered)


def test_what_cannot_be_promised(classifier, features, tmp_path):
    refused = run("predict", classifier, features, "--max-error", 0.001, code=1)
    assert re.search(
        r"at least 2995 held-out images .* 120 .*3,996 shots per class", refused.output
    )
    run("predict", classifier, features, "--max-error", 5, code=2)
    run("fit", features, "--method", "gda", "--no-calibrate", "--out", tmp_path / "c")
    off = run("predict", tmp_path / "c", features, "--max-error", 0.4, code=1)
    assert "calibration was switched off" in off.output
