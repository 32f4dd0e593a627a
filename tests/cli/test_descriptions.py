"""``--descriptions`` of fit, encode, compare, and what the report makes of their results."""

import json
import warnings

import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import Encoder, FeatureFile, FewShotClassifier, cli
from pyg_graphadapter.testing import fake_features, fake_images

TABLE = {
    "Class 0": ["A {} is round.", "It is red."],
    "class_1": "It is blue.",
    "class 2": ["It is green."],
}
NAMES = ["class_0", "class_1", "class_2"]


@pytest.fixture
def table(tmp_path):
    return written(tmp_path / "d.json", TABLE)


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def run(*arguments, code=0):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def results_in(folder):
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def test_encode_and_the_cache(images, model, table, tmp_path):
    encode = ("encode", images, "--model", model, "--descriptions", table)
    run(*encode, "--out", tmp_path / "f.npz")
    text = Encoder.from_pretrained(model).encode_text(NAMES, descriptions=TABLE)
    torch.testing.assert_close(FeatureFile.load(tmp_path / "f.npz").text, text)
    again = run(*encode, "--descriptions-weight", 1, "--out", tmp_path / "g.npz")
    assert "0 encoded, 15 from the cache" in again.stderr
    text = Encoder.from_pretrained(model).encode_text(
        NAMES, descriptions=TABLE, descriptions_weight=1
    )
    torch.testing.assert_close(FeatureFile.load(tmp_path / "g.npz").text, text)
    listed = run("cache", "list").stdout
    assert "sentences" in listed
    assert "2 kinds of features" in listed


def test_fit_records_them(images, model, table, tmp_path):
    plain = ("fit", images, "--model", model, "--shots", 2, "--epochs", 1, "--no-select")
    config = tmp_path / "run.toml"
    run(
        *plain, "--descriptions", table, "--descriptions-weight", 0.75, "--out", tmp_path / "c",
        "--save-config", config,
    )  # fmt: skip
    classifier = FewShotClassifier.load(tmp_path / "c")
    assert classifier.encoding["descriptions_weight"] == 0.75
    assert len(classifier.encoding["descriptions"]) == 64
    assert classifier.predict(images / "test" / "class_0")
    run("fit", images, "--config", config, "--out", tmp_path / "again")
    again = FewShotClassifier.load(tmp_path / "again")
    assert again.encoding == classifier.encoding
    assert torch.equal(again.adapter.text, classifier.adapter.text)
    run(*plain, "--out", tmp_path / "plain")
    assert "descriptions" not in FewShotClassifier.load(tmp_path / "plain").encoding


def test_fit_names(model, table, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(NAMES))
    fit = ("fit", names, "--shots", 0, "--model", model, "--descriptions", table)
    run(*fit, "--out", tmp_path / "c")
    text = Encoder.from_pretrained(model).encode_text(NAMES, descriptions=TABLE)
    torch.testing.assert_close(FewShotClassifier.load(tmp_path / "c").adapter.text, text)


def test_compare_and_report_keep_them_apart(images, model, table, tmp_path):
    out = tmp_path / "out"
    compare = ("compare", images, "--model", model, "--methods", "zero_shot", "--shots", 1,
               "--seeds", 1, "--out", out)  # fmt: skip
    shown = run(*compare, "--descriptions", table).stdout
    assert len(results_in(out)) == 2  # with and without
    assert shown.startswith("| data set")
    assert "| images  " in shown
    assert "| images, descriptions (weight 0.5) |" in shown
    assert run(*compare, "--descriptions", table).stdout == shown
    assert "1 of 1 runs taken" in run(*compare).stderr
    for more in ([], ["--descriptions-weight", 1]):
        run(*compare, "--descriptions", table, *more)
        run(*compare, "--descriptions", table, *more)  # nothing is done again
    assert len(results_in(out)) == 3
    described = {r["task"]["encoding"].get("descriptions_weight") for r in results_in(out)}
    assert described == {None, 0.5, 1.0}
    other = written(tmp_path / "e.json", {**TABLE, "class_1": "It is yellow."})
    run(*compare, "--descriptions", other)
    assert len(results_in(out)) == 4
    run("report", out, "--out", tmp_path / "report")
    shown = "\n".join(path.read_text() for path in (tmp_path / "report").rglob("*.md"))
    assert "descriptions (weight 0.5)" in shown
    assert "descriptions (weight 1)" in shown


def test_compare_from_base_to_new_and_on_shifted_images(images, model, table, tmp_path):
    shifted = fake_images(tmp_path / "few", num_classes=2, splits={"test": 2})
    compare = ("compare", images, "--model", model, "--methods", "zero_shot", "--shots", 1,
               "--seeds", 1, "--descriptions", table, "--descriptions-weight", 1)  # fmt: skip
    result = run(*compare, "--base-to-new", "--out", tmp_path / "base")
    assert "Warning" not in result.stderr
    for each in results_in(tmp_path / "base"):
        alone = [] if each["task"]["encoding"].get("descriptions") is None else [*compare[-4:]]
        out = tmp_path / f"alone-{len(alone)}"
        run(*compare[:-4], *alone, "--base-to-new", "--out", out)
        assert each["base_to_new"] in [other["base_to_new"] for other in results_in(out)]
    result = run(*compare, "--shifted", shifted, "--out", tmp_path / "shifted")
    assert "Warning" not in result.stderr


def test_what_is_refused(images, model, table, tmp_path):
    fit = ("fit", images, "--model", model, "--shots", 1, "--out", tmp_path / "c")
    one = written(tmp_path / "one.json", {"class_0": ["It is red."], "clas_2": ["It is green."]})
    blank = written(tmp_path / "blank.json", {"class_0": [" "]})
    fake_features(num_classes=3, channels=24).save(tmp_path / "f.npz")
    cases = [
        (["--descriptions-weight", 1], 2, "--descriptions-weight is the weight of descriptions"),
        (["--descriptions", table, "--descriptions-weight", 2], 2, "between 0 and 1"),
        (["--descriptions", tmp_path / "none.json"], 1, "There is no file of descriptions"),
        (["--descriptions", blank], 1, "has a blank sentence about 'class_0'"),
        (["--descriptions", one, "--descriptions-weight", 1], 1, "2 of 3 classes have no descript"),
    ]
    for options, code, message in cases:
        result = run(*fit, *options, code=code)
        assert message in result.stderr
        assert "encoded" not in result.stderr  # before the work
    assert "'clas_2' (meant as 'class_2'?)" in result.stderr
    assert not (tmp_path / "c").exists()
    features = ("fit", tmp_path / "f.npz", "--descriptions", table, "--out", tmp_path / "c")
    assert "f.npz holds features" in run(*features, code=1).stderr
    run(*fit, "--keep-shots", "--epochs", 1, "--no-measure")
    grow = ("fit", images, "--from", tmp_path / "c", "--out", tmp_path / "d")
    result = run(*grow, "--descriptions", table, "--descriptions-weight", 1, code=2)
    assert "--descriptions-weight is decided by the classifier of --from" in result.stderr
    assert "no new class to describe" in run(*grow, "--descriptions", table, code=1).stderr


def test_new_classes_are_described(images, model, table, tmp_path):
    fit = ("fit", images, "--model", model, "--shots", 1, "--method", "tip_adapter", "--no-select")
    run(*fit, "--keep-shots", "--no-measure", "--descriptions", table, "--out", tmp_path / "c")
    names = tmp_path / "names.txt"
    names.write_text("class_3\nclass_4\n")
    more = written(
        tmp_path / "e.json", {**TABLE, "class_3": "It is grey.", "class_4": "It is new."}
    )
    grow = ("fit", names, "--from", tmp_path / "c", "--descriptions", more, "--no-measure")
    result = run(*grow, "--out", tmp_path / "d")
    assert "not there" not in result.stderr
    text = Encoder.from_pretrained(model).encode_text(
        ["class_3", "class_4"], descriptions={"class_3": "It is grey.", "class_4": "It is new."}
    )
    torch.testing.assert_close(FewShotClassifier.load(tmp_path / "d").adapter.text[3:], text)


def test_classes_without_sentences_are_told(images, model, tmp_path):
    one = written(tmp_path / "one.json", {"class_0": ["It is red."]})
    encode = ("encode", images, "--model", model, "--descriptions", one)
    result = run(*encode, "--out", tmp_path / "f.npz")
    assert "2 of 3 classes have no descriptions" in result.stderr
    assert "('class_1', 'class_2'): the templates alone stand for them." in result.stderr
