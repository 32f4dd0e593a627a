"""A transductive method from the commands on: it is said wherever it is reported."""

import csv
import json
from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.report.results import read_results
from pyg_graphadapter.testing import fake_features, fake_images
from tests.cli.test_commands import run

NOTE = "transductive: classifies the test images together, unlabelled"


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=4, channels=16, shots=4, tests=30)


@pytest.fixture(scope="module")
def file(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "f.npz"
    data.save(path)
    return path


def test_every_table_marks_it(file, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    printed = run("compare", file, "--methods", "zero_shot,transclip", "--shots", 2, "--seeds",
                  "1,2", "--out", out).stdout  # fmt: skip
    assert "| transclip‡ |" in printed
    assert f"‡ {NOTE}" in printed
    assert "zero_shot‡" not in printed
    flags = {r["method"]: r["is_transductive"] for r in read_results(out)}
    assert flags == {"zero_shot": False, "transclip": True}
    printed = run("report", out, "--out", page, "--reference", "transclip").stdout
    assert "| transclip‡ |" in printed
    assert "transclip‡ against" in printed
    assert printed.count(f"‡ {NOTE}") == 2  # below each of the tables
    for name in ("report.html", "tables.md"):
        text = (page / name).read_text(encoding="utf-8")
        assert "transclip‡" in text
        assert f"‡ {NOTE}" in text
    latex = (page / "tables.tex").read_text(encoding="utf-8")
    assert r"transclip\textsuperscript{\ddag}" in latex
    assert rf"\textsuperscript{{\ddag}} {NOTE}" in latex
    with (page / "accuracy.csv").open(encoding="utf-8") as stream:
        rows = {row["method"]: row["transductive"] for row in csv.DictReader(stream)}
    assert rows == {"zero_shot": "False", "transclip": "True"}


def test_both_marks_in_one_table(file, tmp_path):
    printed = run("compare", file, "--methods", "transclip,zero_shot", "--shots", 2, "--seeds", 1,
                  "--protocol", "paper", "--out", tmp_path / "out").stdout  # fmt: skip
    assert "transclip†‡" in printed
    assert "† Settings were selected on the test split" in printed
    assert f"‡ {NOTE}" in printed


def test_a_result_does_not_depend_on_batches_or_processes(file, tmp_path, monkeypatch):
    accuracies = []
    for jobs, size in ((1, 4096), (2, 4096), (1, 7)):
        monkeypatch.setattr("pyg_graphadapter.training.evaluation.EVALUATION_BATCH", size)
        out = tmp_path / f"{jobs} {size}"
        run("compare", file, "--methods", "transclip", "--shots", "1,2", "--seeds", "1,2",
            "--jobs", jobs, "--out", out)  # fmt: skip
        accuracies.append([r["accuracy"] for r in read_results(out)])
    assert accuracies[0] == accuracies[1] == accuracies[2]


def test_base_to_new(file, tmp_path):
    printed = run("compare", file, "--methods", "transclip,gda", "--shots", 2, "--seeds", 1,
                  "--base-to-new", "--out", tmp_path / "out").stdout  # fmt: skip
    assert printed.count(f"‡ {NOTE}") == 2
    [result] = [r for r in read_results(tmp_path / "out") if r["method"] == "transclip"]
    assert result["base_to_new"]["new"] > 50


def test_methods_say_it():
    listed = run("methods").stdout
    assert "transclip        not trained‡  TransCLIP" in listed
    assert listed.count("‡") == 2
    assert f"‡ {NOTE}" in run("methods", "transclip").stdout
    assert "‡" not in run("methods", "gda").stdout


def test_fit_and_predict_say_it(file, data, tmp_path):
    fitted = run("fit", file, "--method", "transclip", "--out", tmp_path / "c").stdout
    assert "It classifies the images that are given together (transductive)." in fitted
    assert "were classified together, unlabelled (transductive)" in fitted
    printed = run("predict", tmp_path / "c", file, "--out", tmp_path / "p.json")
    assert "transclip is transductive: 120 images were classified together." in printed.stderr
    assert "classified together (transductive)" in printed.stderr
    labels = [row["label"] for row in json.loads((tmp_path / "p.json").read_text())]
    classifier = FewShotClassifier.load(tmp_path / "c")
    assert labels == classifier.predict(data.test.mean_views())
    assert "transductive" in str(classifier.generate_model_card())


def test_without_shots(file, data, tmp_path):
    run("fit", file, "--shots", 0, "--method", "transclip", "--out", tmp_path / "c")
    classifier = FewShotClassifier.load(tmp_path / "c")
    assert classifier.method == "transclip"
    assert len(classifier.adapter.keys) == 0
    zero_shot = FewShotClassifier.fit(data, shots=0, progress=False)
    assert zero_shot.method == "zero_shot"
    assert classifier.evaluate(data).accuracy != zero_shot.evaluate(data).accuracy
    grown = classifier.add_shots(data.train, progress=False)
    assert grown.method == "transclip"
    assert torch.equal(grown.adapter.labels, data.train.y)


def test_of_names_alone_on_a_folder_of_images(model, tmp_path):
    images = fake_images(tmp_path / "images", num_classes=2, per_class=3)
    (tmp_path / "names.txt").write_text("class_0\nclass_1\n", encoding="utf-8")
    run("fit", tmp_path / "names.txt", "--shots", 0, "--method", "transclip", "--model", model,
        "--out", tmp_path / "c")  # fmt: skip
    printed = run("predict", tmp_path / "c", images)
    assert len(printed.stdout.splitlines()) == 6
    assert "6 images were classified together" in printed.stderr
    some_image = next(images.rglob("*.png"))
    with pytest.warns(UserWarning, match="there is one alone"):
        FewShotClassifier.load(tmp_path / "c").predict([str(some_image)])


def test_what_needs_texts(data, tmp_path):
    path = tmp_path / "f.npz"
    replace(data, text=None).save(path)
    printed = run("compare", path, "--methods", "transclip", "--out", tmp_path / "o", code=1)
    assert "has no texts, which transclip needs" in printed.stderr
