"""What is exported answers as the library does, and needs nothing of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from pyg_graphadapter import FeatureFile, FewShotClassifier, TrainConfig
from pyg_graphadapter.adapters import ADAPTERS, LinearAdapter
from pyg_graphadapter.classifier import export_formats
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.labels import told_apart
from pyg_graphadapter.testing import fake_features

EXAMPLES = Path(__file__).parents[2] / "examples" / "export"
NAMES = ("cat", 'a "dog"\n', "Müßiggang", "<b>", "cat_2", "犬")
FILES = {
    "numpy": ("c.npz", "use_numpy.py"),
    "safetensors": ("c.safetensors", "use_safetensors.py"),
    "onnx-head": ("c.onnx", "use_onnx.py"),
    "torch": ("c.pt2", "use_torch_export.py"),
    "open_clip": ("c.pt", "use_open_clip.py"),
}
WITHOUT_WEIGHTS = ("clip_adapter", "tip_adapter", "tip_adapter_f", "proker", "ape", "ape_t")
METHODS = [method for method in ADAPTERS if method not in ("coop", "transclip")]
WITHOUT_PACKAGE = (
    "import runpy, sys\n"
    "for name in ('pyg_graphadapter', 'torch_geometric'):\n"
    "    sys.modules[name] = None\n"  # as if they were not installed
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


@pytest.fixture(scope="module")
def data():
    return replace(fake_features(num_classes=6, channels=16, shots=4), class_names=NAMES)


def fit(data, method, temperature=1.7, **settings):
    config = TrainConfig(epochs=5, lr=0.01, device="cpu")
    classifier = FewShotClassifier.fit(
        data, 4, 1, method, config, select=False, progress=False, **settings
    )
    classifier.confidence = Confidence(temperature=temperature)
    return classifier


def expected_of(classifier, x):
    with torch.no_grad():
        logits = classifier.adapter(x)
    return logits, (logits / classifier.temperature).softmax(dim=1)


def run(script, *arguments):
    command = [sys.executable, "-c", WITHOUT_PACKAGE, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs_of(path, name, x):
    """Logits and probabilities by the exported file."""
    if name == "onnx-head":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(y) for y in session.run(None, {"features": x.numpy()})]
    if name == "torch":
        return torch.export.load(path).module()(x)
    x = torch.nn.functional.normalize(x, dim=1)
    if name == "open_clip":
        logits = 100 * x @ torch.load(path, weights_only=True)
        return None, logits.softmax(dim=1)
    if name == "numpy":
        with np.load(path) as file:
            c = {key: torch.from_numpy(file[key]) for key in file if key != "class_names"}
    else:
        c = safetensors.torch.load_file(path)
    logits = c["logit_scale"] * x @ c["class_weights"].T + c["class_biases"]
    return logits, (logits / c["temperature"]).softmax(dim=1)


def check(classifier, x, folder):
    """Every format that can hold a classifier gives its logits, probabilities and labels."""
    logits, probabilities = expected_of(classifier, x)
    torch.testing.assert_close(classifier.predict_proba(x), probabilities)
    is_linear = isinstance(classifier.adapter, LinearAdapter)
    biases = classifier.adapter.class_biases() if is_linear else None
    for name, (file, _) in FILES.items():
        if name == "onnx-head":
            pytest.importorskip("onnxscript")
        path = folder / file
        if (not is_linear and name not in ("onnx-head", "torch")) or (
            name == "open_clip" and biases is not None
        ):
            message = "one weight per class" if not is_linear else "no place for class biases"
            with pytest.raises(ValueError, match=message):
                classifier.export(path, name)
            assert not path.exists()
            continue
        weights = classifier.export(path, name, overwrite=True)
        assert (weights is None) != is_linear
        found, probability = outputs_of(path, name, x)
        if found is not None:
            torch.testing.assert_close(found, logits, rtol=1e-4, atol=2e-3)
        torch.testing.assert_close(probability, probabilities, rtol=1e-3, atol=1e-4)
        assert torch.equal(probability.argmax(dim=1), logits.argmax(dim=1))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_in_every_format(data, method, tmp_path):
    x = 3 * data.test.mean_views()
    check(fit(data, method), x, tmp_path)


@pytest.mark.parametrize("method", ["graph_adapter", "gda", "tip_adapter", "hierarchical_lda"])
def test_without_texts(data, method, tmp_path):
    check(fit(replace(data, text=None), method), data.test.mean_views(), tmp_path)


@pytest.mark.parametrize("settings", [{"nodes": "images"}, {"whitening": 0.3}, {"conv": "GCNConv"}])
def test_settings_of_a_graph_adapter(data, settings, tmp_path):
    check(fit(data, "graph_adapter", **settings), data.test.mean_views(), tmp_path)


@pytest.mark.parametrize("name", ["onnx-head", "torch"])
def test_features_of_any_length_and_number(data, name, tmp_path):
    pytest.importorskip("onnxscript")
    classifier = fit(data, "zero_shot")
    path = tmp_path / FILES[name][0]
    classifier.export(path, name)
    x = data.test.mean_views()[:5]
    for factor in (1e-25, 1.0, 1e25):
        for count in (1, 2, 5):
            logits, _ = outputs_of(path, name, factor * x[:count])
            torch.testing.assert_close(logits, classifier.adapter(x[:count]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", ["graph_adapter", "linear_probe", "tip_adapter_f"])
def test_top1_on_real_features(method, shared_data, tmp_path):
    data = FeatureFile.load(shared_data / "clip_vitb32" / "imagenet_fewshot.npz")
    data = replace(data, class_names=told_apart(data.class_names))
    classifier = fit(data, method)
    x = data.train.mean_views()[torch.arange(0, 4000, 4)]  # one image of every class
    check(classifier, x, tmp_path)


# Examples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_the_examples_need_no_part_of_the_package(data, name, tmp_path):
    classifier = fit(data, "task_res")
    if name == "onnx-head":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    file, script = FILES[name]
    classifier.export(tmp_path / file, name)
    x = data.test.mean_views()[:7]
    np.save(tmp_path / "x.npy", 2 * x.numpy())
    _, probabilities = expected_of(classifier, x)
    said = run(EXAMPLES / script, tmp_path / file, tmp_path / "x.npy")
    labels = probabilities.argmax(dim=1).tolist()
    names = [str(c) if name == "open_clip" else NAMES[c] for c in labels]
    rows = zip(names, probabilities.amax(dim=1).tolist(), strict=True)
    assert said == "".join(f"{label}\t{p:.4f}\n" for label, p in rows)


def test_there_is_an_example_of_every_format():
    assert {path.name for path in EXAMPLES.iterdir()} == {
        *(script for _, script in FILES.values()),
        "use_transformers.sh",
    }


# What the files hold ----------------------------------------------------------------------------


def test_names_and_numbers(data, tmp_path):
    classifier = fit(data, "lp_pp")
    classifier.export(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz", allow_pickle=False) as file:
        assert tuple(file["class_names"].tolist()) == NAMES
        assert file["temperature"] == np.float32(1.7)
    classifier.export(tmp_path / "c.safetensors")
    with safetensors.safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert tuple(json.loads(file.metadata()["class_names"])) == NAMES
    classifier.export(tmp_path / "c.pt2")
    names = {"class_names.json": ""}
    torch.export.load(tmp_path / "c.pt2", extra_files=names)
    assert tuple(json.loads(names["class_names.json"])) == NAMES
    content = (tmp_path / "c.pt2").read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content


def test_the_columns_of_open_clips_matrix_have_length_one(data, tmp_path):
    fit(data, "zero_shot", temperature=1.0).export(tmp_path / "c.pt")
    matrix = torch.load(tmp_path / "c.pt", weights_only=True)
    assert matrix.shape == (16, 6)
    torch.testing.assert_close(matrix.norm(dim=0), torch.ones(6))


# Errors -----------------------------------------------------------------------------------------


def test_what_is_there_stays(data, tmp_path):
    classifier = fit(data, "zero_shot")
    path = tmp_path / "c.npz"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"There is a file or folder .*c\.npz already"):
        classifier.export(path)
    assert path.read_bytes() == b"old"
    classifier.export(path, overwrite=True)
    assert path.read_bytes() != b"old"


@pytest.mark.parametrize(
    ("file", "format", "message"),
    [
        ("c", None, r"format of c is not clear: let its name end with \.onnx \(onnx\)"),
        ("c.bin", None, "format of c.bin is not clear"),
        ("c.npz", "onnx", r"Files of the format 'onnx' end with \.onnx \(got c\.npz\)"),
        ("c", "nope", "Unknown format 'nope'. Choose from onnx, onnx-head"),
        ("c", "transformers", "fitted on features: say which encoder"),
    ],
)
def test_formats_that_are_not_clear(data, file, format, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(data, "zero_shot").export(tmp_path / file, format)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*FILES, "transformers", "onnx"])
def test_transductive_methods_are_refused(data, name, tmp_path):
    suffix = export_formats.FORMATS[name].suffix
    with pytest.raises(ValueError, match="TransCLIP is transductive"):
        fit(data, "transclip").export(tmp_path / f"c{suffix}", name)
    assert not any(tmp_path.iterdir())


def test_a_failed_export_leaves_nothing(data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(ValueError, match=r"TipAdapter has no graph that .*no such operator"):
        fit(data, "tip_adapter").export(tmp_path / "new" / "c.pt2")
    assert not any(tmp_path.iterdir())
