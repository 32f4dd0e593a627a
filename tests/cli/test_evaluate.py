"""The command ``evaluate``."""

import csv
import io
import json
import sys
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from pyg_graphadapter import FewShotClassifier, cli
from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.per_image import errors
from pyg_graphadapter.testing import fake_features

FILES = {"evaluation.json", "per_class.csv", "confusion.csv", "images.csv", "confusion.png"}


def run(*arguments, code=0):
    with warnings.catch_warnings():
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def data(folder):
    data = fake_features(num_classes=12)
    data.save(folder / "data.npz")
    return data


@pytest.fixture(scope="module")
def classifier(folder, data):
    fitted = FewShotClassifier.fit(data, 4, select=False, progress=False)
    fitted.save(folder / "c")
    return fitted


# Features ##############################################################################


def test_it_prints_what_the_classifier_measures(folder, data, classifier):
    result = run("evaluate", folder / "c", folder / "data.npz")
    expected = classifier.evaluate(data)
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    for name, value in (
        ("Accuracy", expected.accuracy),
        ("Balanced accuracy", expected.balanced_accuracy),
        ("Macro-F1", expected.macro_f1),
        ("Top-5 accuracy", expected.top5),
        ("Zero-shot accuracy", expected.zero_shot),
    ):
        assert f"{value:.2f} %" in lines[name]
    assert "95 % interval" in lines["Accuracy"]
    assert "Classes with the lowest accuracy:" in result.stdout
    assert "taken for" in result.stdout
    assert "12 classes" in result.stdout


def test_json_is_one_document(folder, data, classifier):
    result = run("evaluate", folder / "c", folder / "data.npz", "--json")
    content = json.loads(result.stdout)
    expected = classifier.evaluate(data)
    assert content["measures"]["accuracy"] == pytest.approx(expected.accuracy)
    assert content["intervals"]["accuracy"]["low"] < expected.accuracy
    assert [row["name"] for row in content["classes"]] == list(data.class_names)
    e = classifier.evaluate_images(data)
    assert [error["index"] for error in content["errors"]] == errors(e)[:100]
    assert content["calibration"]["temperature"] == classifier.temperature
    assert content["files"] == []


def test_out_holds_the_files_and_the_page(folder, classifier, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "deep" / "out"
    result = run("evaluate", folder / "c", folder / "data.npz", "--out", out, "--report")
    assert {path.name for path in out.iterdir()} == FILES | {"evaluation.html"}
    assert f"evaluation.html to {out}" in result.stdout
    e = EvaluationFile.load(out)
    assert len(e.images) == 240
    assert e.data == str(folder / "data.npz")
    page = (out / "evaluation.html").read_text()
    assert "class 0" in page
    assert f"{e.measures['accuracy']:.1f}" in page


def test_an_evaluation_is_replaced_on_request_alone(folder, classifier, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    arguments = ("evaluate", folder / "c", folder / "data.npz", "--out", out)
    run(*arguments, "--report")
    assert "already: choose another folder, or --overwrite" in run(*arguments, code=1).stderr
    run(*arguments, "--overwrite", "--split", "test")
    assert {path.name for path in out.iterdir()} == FILES  # no page of the evaluation before
    (out / "mine.txt").write_text("mine")
    said = run(*arguments, "--overwrite", code=1).stderr
    assert "holds something else (mine.txt)" in said
    assert (out / "mine.txt").exists()


def test_without_matplotlib_the_rest_is_written(folder, classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    result = run("evaluate", folder / "c", folder / "data.npz", "--out", out)
    assert {path.name for path in out.iterdir()} == FILES - {"confusion.png"}
    [line] = [line for line in result.stderr.splitlines() if "confusion.png" in line]
    assert "pip install 'pyg-graphadapter[plot]'" in line


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("c", "data.npz", "--report"), 2, "name it with --out"),
        (("c", "nope.npz"), 1, "nope.npz"),
        (("nope", "data.npz"), 1, "nope"),
        (("c", "data.npz", "--split", "val"), 1, "no split 'val'"),
        (("c", "data.npz", "--split", "nope"), 1, "nope"),
        (("c", "data.npz", "--layout", "classes"), 1, "does not apply to the feature file"),
        (("c", "bare.npz"), 1, "no labels, so nothing can be measured on them: classify them with "
         "predict"),
        (("c", "strange.npz"), 1, "does not know the class 'emu' (20 images)"),
        (("c", "narrow.npz"), 1, "32 wide"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_sentence(folder, data, classifier, arguments, code, sentence):
    x, y = data.test.x.squeeze(1).numpy(), data.test.y.numpy()
    names = np.array(["emu", *data.class_names[1:]])
    np.savez(folder / "bare.npz", features=x)
    np.savez(folder / "strange.npz", test_features=x, test_labels=y, class_names=names)
    np.savez(folder / "narrow.npz", test_features=x[:, :9], test_labels=y)
    paths = [folder / arg if "." in arg or arg in ("c", "nope") else arg for arg in arguments[:2]]
    result = run("evaluate", *paths, *arguments[2:], code=code)
    assert sentence in result.stderr
    assert sum("Error" in line for line in result.stderr.splitlines()) == 1


@pytest.mark.filterwarnings("default:48 of 192 images")
def test_shots_among_the_images_are_said(folder, classifier):
    result = run("evaluate", folder / "c", folder / "data.npz", "--split", "train")
    assert "Warning: 48 of 192 images that the classifier is measured on were" in result.stderr
    assert "48 images are among the classifier's shots." in result.stdout


def test_a_transductive_method_says_so(folder, data, tmp_path):
    FewShotClassifier.fit(data, 2, method="transclip", progress=False).save(tmp_path / "t")
    result = run("evaluate", tmp_path / "t", folder / "data.npz")
    assert "The images were classified together, by a transductive method." in result.stdout


# Images ################################################################################


@pytest.fixture
def of_images(images, model, tmp_path):
    run("fit", images, "--model", model, "--method", "zero_shot", "--no-measure", "--shots", 1,
        "--out", tmp_path / "i")  # fmt: skip
    return tmp_path / "i"


def test_images_are_named_and_skipped_ones_are_counted(images, of_images, tmp_path):
    bad = images / "test" / "class_0" / "=bad\n.jpg"
    bad.write_bytes(b"no image")
    out = tmp_path / "out"
    result = run("evaluate", of_images, images, "--out", out)
    assert "Skipped 1 image that could not be decoded:" in result.stdout
    assert r"=bad\n.jpg" in result.stdout
    assert "6 images" in result.stdout
    assert "test/class_" in result.stdout.split("Most confident errors:")[1]
    rows = list(csv.reader(io.StringIO((out / "images.csv").read_text(), newline="")))
    assert len(rows) == 8
    assert "cannot be decoded" in rows[-1][-1]
    e = EvaluationFile.load(out)
    assert (e.split, len(e.skipped)) == ("test", 1)
    assert all(e.images[i].thumbnail and e.images[i].explanation for i in errors(e))
    said = run("evaluate", of_images, images, "--strict", code=1).stderr
    assert "cannot be decoded" in said


@pytest.mark.parametrize("form", ["folder", "csv", "json", "parquet", "tar"])
def test_data_in_the_forms_that_fit_takes(images, of_images, tmp_path, form):
    files = sorted((images / "test").rglob("*.*"))
    rows = [{"image": str(path), "label": path.parent.name} for path in files]
    if form == "folder":
        data = images / "test"
    elif form == "csv":
        data = tmp_path / "list.csv"
        data.write_text("image,label\n" + "".join(f"{r['image']},{r['label']}\n" for r in rows))
    elif form == "json":
        data = tmp_path / "list.json"
        data.write_text(json.dumps(rows))
    elif form == "parquet":
        import datasets

        table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
        data = tmp_path / "test.parquet"
        table.to_parquet(data)
    else:
        import tarfile

        data = tmp_path / "test.tar"
        with tarfile.open(data, "w") as tar:
            for i, path in enumerate(files):
                tar.add(path, f"{i}{path.suffix}")
                label = tmp_path / f"{i}.cls"
                label.write_text(path.parent.name)
                tar.add(label, f"{i}.cls")
    expected = json.loads(run("evaluate", of_images, images, "--json").stdout)
    measured = json.loads(run("evaluate", of_images, data, "--json").stdout)
    for name in ("accuracy", "balanced_accuracy", "num_images", "zero_shot"):
        assert measured["measures"][name] == expected["measures"][name]


def test_names_of_classes_may_be_given(images, of_images, tmp_path):
    for split in ("train", "test"):
        for c in range(3):
            (images / split / f"class_{c}").rename(images / split / f"folder{c}")
    said = run("evaluate", of_images, images, code=1).stderr
    assert "does not know the classes 'folder0', 'folder1', 'folder2' (6 images)" in said
    names = tmp_path / "names.json"
    names.write_text(json.dumps({f"folder{c}": f"class_{c}" for c in range(3)}))
    assert "6 images" in run("evaluate", of_images, images, "--class-names", names).stdout


def test_images_without_labels_are_referred_to_predict(images, of_images):
    said = run("evaluate", of_images, images / "test" / "class_0", code=1).stderr
    assert "Images without labels are classified with predict." in said


def test_a_classifier_of_features_refuses_images(folder, classifier, images):
    said = run("evaluate", folder / "c", images, code=1).stderr
    assert "fitted on features, so it knows no encoder" in said
