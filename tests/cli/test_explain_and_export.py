"""The commands ``explain`` and ``export``."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from pyg_graphadapter import FewShotClassifier, cli
from pyg_graphadapter.data import load_images
from pyg_graphadapter.testing import fake_features, fake_images

WITHOUT_PACKAGE = (
    "import runpy, sys\n"
    "for name in ('pyg_graphadapter', 'torch_geometric'):\n"
    "    sys.modules[name] = None\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def run(*arguments, code=0):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def fitted(folder, method="graph_adapter"):
    data = fake_features(num_classes=4, channels=16)
    data.save(folder / "x.npz")
    classifier = FewShotClassifier.fit(data, 4, method=method, select=False, progress=False)
    classifier.save(folder / "c")
    return classifier, data


@pytest.fixture(scope="module")
def on_features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    return folder, *fitted(folder)


@pytest.fixture(scope="module")
def of_images(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    images = fake_images(folder / "images", num_classes=3, per_class=3)
    run("fit", images, "--model", model, "--no-cache", "--epochs", 2, "--no-measure",
        "--out", folder / "c")  # fmt: skip
    return folder, images


# explain ----------------------------------------------------------------------------------------


def test_rows_of_a_feature_file(on_features):
    folder, classifier, data = on_features
    said = run("explain", folder / "c", folder / "x.npz", "--row", 3, "--row", 70).stdout
    reasons = classifier.reasons(data.test.mean_views()[[3, 70]])
    assert said == f"3\t{reasons[0].words}\n70\t{reasons[1].words}\n"
    everything = run("explain", folder / "c", folder / "x.npz").stdout
    assert len(everything.splitlines()) == 80


def test_details_are_the_numbers_behind_the_words(on_features):
    folder, classifier, data = on_features
    said = run("explain", folder / "c", folder / "x.npz", "--row", 3, "--details").stdout
    x = data.test.mean_views()[3]
    [reason] = classifier.reasons(x)
    for line in (*reason.table().splitlines(), *classifier.explain(x).table().splitlines()):
        assert f"    {line}\n" in said


def test_explain_as_json(on_features):
    folder, classifier, data = on_features
    options = ("--row", 3, "--class", "class 1", "--details", "--json")
    [entry] = json.loads(run("explain", folder / "c", folder / "x.npz", *options).stdout)
    [reason] = classifier.reasons(data.test.mean_views()[3], "class 1")
    assert entry["index"] == 3
    assert entry["words"] == reason.words
    assert sum(part["amount"] for part in entry["parts"]) == pytest.approx(entry["lead"])
    total = sum(part["amount"] for part in entry["contributions"])
    assert total == pytest.approx(entry["total"], abs=1e-3)
    of_class = json.loads(run("explain", folder / "c", "--class", "class 1", "--json").stdout)
    assert of_class == json.loads(json.dumps(classifier.explain(class_name="class 1").as_dict()))


def test_a_class(on_features):
    folder, classifier, _ = on_features
    explanation = classifier.explain(class_name="class 1")
    assert run("explain", folder / "c", "--class", "class 1").stdout == f"{explanation}\n"
    said = run("explain", folder / "c", "--class", "class 1", "--details").stdout
    assert "total: sine of the angle turned" in said


def test_images_and_a_folder_of_them(of_images):
    folder, images = of_images
    said = run("explain", folder / "c", images / "class_0", images / "class_1" / "0.jpg").stdout
    classifier = FewShotClassifier.load(folder / "c")
    files = [line.partition("\t")[0] for line in said.splitlines()]
    assert len(files) == 4
    words = [reason.words for reason in classifier.reasons(files)]
    assert [line.partition("\t")[2] for line in said.splitlines()] == words


def test_a_transductive_method_says_so(tmp_path):
    classifier, data = fitted(tmp_path, "transclip")
    rows = ("--row", 0, "--row", 30, "--details")
    said = run("explain", tmp_path / "c", tmp_path / "x.npz", *rows).stdout
    for reason in classifier.reasons(data.test.mean_views()[[0, 30]]):
        assert reason.words in said
    assert said.count("among others, the answer may be another.") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--class", "clas 1"), "Unknown class 'clas 1' of 4 classes. Did you mean 'class 1'"),
        (("--class", "zebra"), "Unknown class 'zebra'. Choose from class 0, class 1, class 2"),
        (("x.npz", "--row", 80), "There is no row 80 in x.npz: it has 80 rows, counted from 0."),
        (("x.npz", "x.npz"), "Give one feature file, or images (got 2 paths)."),
        (("photo.jpg",), "There is no image or folder photo.jpg: check the path."),
        (("photo.jpg", "--row", 1), "--row and --split belong to a feature file"),
        (("x.npz", "--split", "nope"), "nope"),
    ],
)
def test_what_cannot_be_explained(on_features, arguments, message, monkeypatch):
    folder, _, _ = on_features
    monkeypatch.chdir(folder)
    assert message in run("explain", "c", *arguments, code=1).stderr


def test_nothing_to_explain(on_features):
    said = run("explain", on_features[0] / "c", code=2).stderr
    assert "There is nothing to explain: give images, a feature file, or --class." in said


def test_images_for_a_classifier_of_features(on_features, tmp_path):
    images = fake_images(tmp_path / "images", num_classes=1, per_class=1)
    said = run("explain", on_features[0] / "c", images, code=1).stderr
    assert "fitted on features, so it knows no encoder" in said


def test_an_image_that_cannot_be_read(of_images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    assert "broken.jpg" in run("explain", of_images[0] / "c", tmp_path, code=1).stderr


# export -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["c.npz", "c.safetensors", "c.pt2", "c.pt", "c.onnx"])
def test_export_by_the_suffix(on_features, file, tmp_path):
    if file == "c.onnx":
        pytest.importorskip("onnxscript")
    command = ("export", on_features[0] / "c", tmp_path / "new" / file)
    said = run(*command).stdout
    assert said.startswith(f"Wrote {tmp_path / 'new' / file}: 4 classes by graph_adapter, as ")
    assert "already" in run(*command, code=1).stderr
    entry = json.loads(run(*command, "--overwrite", "--json").stdout)
    assert entry["classes"] == ["class 0", "class 1", "class 2", "class 3"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [file]


def test_what_cannot_be_exported(on_features, tmp_path):
    folder = on_features[0] / "c"
    assert "is not clear" in run("export", folder, tmp_path / "c", code=2).output
    assert "Unknown format" in run("export", folder, tmp_path / "c", "--format", "x", code=2).output
    said = run("export", folder, tmp_path / "c", "--format", "transformers", code=1).stderr
    assert "fitted on features" in said
    fitted(tmp_path, "transclip")
    said = run("export", tmp_path / "c", tmp_path / "t.npz", code=1).stderr
    assert "TransCLIP is transductive" in said
    assert not (tmp_path / "t.npz").exists()


def test_image_tower_with_a_method_without_class_weights(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    images = fake_images(tmp_path / "images", num_classes=3, per_class=3)
    run("fit", images, "--model", model, "--method", "tip_adapter", "--no-cache", "--no-measure",
        "--out", tmp_path / "c")  # fmt: skip
    run("export", tmp_path / "c", tmp_path / "c.onnx")
    classifier = FewShotClassifier.load(tmp_path / "c")
    pixels = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx", providers=["CPUExecutionProvider"])
    logits, _ = session.run(None, {"pixel_values": pixels})
    import torch

    with torch.no_grad():
        tower = classifier.encoder.model.get_image_features(torch.from_numpy(pixels)).pooler_output
        expected = classifier.adapter(tower)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-3)


@pytest.mark.timeout(200)
def test_a_folder_for_transformers(tmp_path):
    classifier = FewShotClassifier.fit(
        "builtin", 1, method="gda", model="builtin", select=False, progress=False
    )
    classifier.save(tmp_path / "c")
    command = ("export", tmp_path / "c", tmp_path / "t", "--format", "transformers")
    run(*command)
    assert "already" in run(*command, code=1).stderr
    run(*command, "--overwrite")
    files = {path.name for path in (tmp_path / "t").iterdir()}
    assert files == {"classifier.json", "classifier.safetensors", "classify.py", "model"}
    assert {path.name for path in tmp_path.iterdir()} <= {"c", "t", "cache"}
    paths = []
    for i, row in enumerate(load_images("builtin")["test"].select(range(0, 60, 5))):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(row["image"]["bytes"])
    (tmp_path / "t").rename(tmp_path / "moved")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE, tmp_path / "moved" / "classify.py", *paths],
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = classifier.predict_rows(paths)
    for line, row in zip(done.stdout.splitlines(), expected, strict=True):
        file, name, probability = line.split("\t")
        assert (file, name) == (row.file, row.class_name)
        assert float(probability) == pytest.approx(row.probability, abs=2e-3)
