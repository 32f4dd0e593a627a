"""The ONNX graph gives what PyTorch gives; everything runs on tiny checkpoints."""

import importlib.util
import json
import logging
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoModel

from pyg_graphadapter.classifier import onnx_graph
from pyg_graphadapter.classifier.export import export_onnx
from pyg_graphadapter.encoding.encoder import Encoder
from tests.checkpoints import save_checkpoint

NAMES, SCALE = ("cat", "apple pie", 'a "dog"\n', "Müßiggang", "cat_2"), 30.0


def load(family, folder):
    return Encoder.from_pretrained(save_checkpoint(family, folder), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def weights(clip):
    return F.normalize(torch.randn(len(NAMES), clip.num_channels), dim=1)


@pytest.fixture(scope="module")
def exported(clip, weights, tmp_path_factory):
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "new folder" / "classifier.onnx"
    export_onnx(clip, weights, SCALE, path, NAMES)
    return path


def session_of(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check_equal(path, encoder, weights):
    session = session_of(path)
    for batch in (1, 2, 5):
        pixels = torch.randn(batch, 3, 32, 32)
        features = encoder.model.get_image_features(pixel_values=pixels).pooler_output
        expected = SCALE * F.normalize(features, dim=1) @ weights.t()
        found = session.run(["logits", "probabilities"], {"pixel_values": pixels.numpy()})
        np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found[1], expected.softmax(dim=1), rtol=1e-3, atol=1e-4)


def test_equals_pytorch(exported, clip, weights):
    check_equal(exported, clip, weights)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["siglip", "vision-text-dual-encoder"])
def test_other_families_equal_pytorch(family, tmp_path):
    pytest.importorskip("onnxscript")
    encoder = load(family, tmp_path)
    weights = F.normalize(torch.randn(len(NAMES), encoder.num_channels), dim=1)
    export_onnx(encoder, weights.requires_grad_(), SCALE, str(tmp_path / "c.onnx"), NAMES)
    check_equal(tmp_path / "c.onnx", encoder, weights.detach())


def test_the_file_says_how_to_use_it(exported, clip, weights):
    session = session_of(exported)
    (pixels,), outputs = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type) == ("pixel_values", "tensor(float)")
    assert pixels.shape == ["N", 3, 32, 32]
    assert [(each.name, each.shape) for each in outputs] == [
        ("logits", ["N", 5]),
        ("probabilities", ["N", 5]),
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata.keys() == {"format", "class_names", "preprocessing"}
    assert tuple(json.loads(metadata["class_names"])) == NAMES
    # Who has the file alone makes the same pixels:
    settings = json.loads(metadata["preprocessing"])
    processor = type(clip.processor).from_dict(settings)
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    again, expected = (
        each(images=[Image.fromarray(noise)], return_tensors="np")["pixel_values"]
        for each in (processor, clip.processor)
    )
    np.testing.assert_array_equal(again, expected)


def test_the_file_is_valid_and_holds_no_more_than_it_needs(exported):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert not [each.name for each in model.graph.initializer if "text" in each.name]
    content = exported.read_bytes()
    for path in (importlib.util.find_spec("torch").origin, __file__):
        assert path.rpartition("/")[0].encode() not in content
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_exported_twice_is_the_same_file(exported, clip, weights, tmp_path):
    path = tmp_path / "classifier.onnx"
    path.write_bytes(b"an older one, which is replaced")
    export_onnx(clip, weights, SCALE, path, NAMES)
    assert path.read_bytes() == exported.read_bytes()


def test_the_exporter_is_quiet_and_leaves_nothing_behind(clip, weights, tmp_path, capfd, caplog):
    pytest.importorskip("onnxscript")
    before = {name: value.clone() for name, value in clip.model.state_dict().items()}
    levels = [logging.getLogger(name).level for name in onnx_graph.LOGGERS]
    export_onnx(clip, weights, SCALE, tmp_path / "c.onnx", NAMES)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert [logging.getLogger(name).level for name in onnx_graph.LOGGERS] == levels
    for name, value in clip.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_failed_export_leaves_the_old_file(clip, weights, tmp_path, monkeypatch):
    path = tmp_path / "c.onnx"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(RuntimeError, match="no such operator"):
        export_onnx(clip, weights, SCALE, path, NAMES)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Errors --------------------------------------------------------------------------------------


def test_siglip2_of_any_resolution_is_refused(tmp_path):
    encoder = load("siglip2", tmp_path)
    with pytest.raises(ValueError, match=r"'pixel_values' of shape \[2, 16, 192\] .*naflex"):
        export_onnx(encoder, torch.eye(5, 16), SCALE, tmp_path / "c.onnx", NAMES)
    assert not (tmp_path / "c.onnx").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(4, 24), "5 class names for 4 classes"),
        (torch.ones(5, 23), "class weights are 23 wide, but the features of the encoder 24"),
        (torch.full((5, 24), torch.nan), "'class_weights' must be finite"),
        (torch.ones(5), "'class_weights' must be a floating-point matrix"),
    ],
)
def test_weights_that_do_not_fit(clip, weights, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_onnx(clip, weights, SCALE, tmp_path / "c.onnx", NAMES)


def test_half_precision_is_refused(clip, weights, tmp_path):
    model = AutoModel.from_config(clip.model.config)
    half = Encoder(model, clip.processor, clip.tokenizer, device="cpu", dtype="float16")
    with pytest.raises(ValueError, match="Only float32 can be exported"):
        export_onnx(half, weights, SCALE, tmp_path / "c.onnx", NAMES)


def test_what_does_not_fit_into_one_file(clip, weights, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="use a smaller encoder"):
        export_onnx(clip, weights, SCALE, tmp_path / "c.onnx", NAMES)


@pytest.mark.parametrize("missing", ["onnxscript", "onnxscript._framework_apis.torch_2_11"])
def test_without_the_extra_or_of_an_old_one(clip, weights, missing, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError(f"No module named {missing!r}")

    monkeypatch.setattr(torch.onnx, "export", fail)
    message = rf"needs the extra \[onnx\]: pip install 'pyg-graphadapter\[onnx\]' \(.*'{missing}'"
    with pytest.raises(ValueError, match=message):
        export_onnx(clip, weights, SCALE, tmp_path / "c.onnx", NAMES)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_extra_is_really_needed(clip, weights, tmp_path):
    program = f"""
        import sys
        sys.modules["onnxscript"] = None  # as if it were not installed
        import torch
        from pyg_graphadapter.encoding.encoder import Encoder
        from pyg_graphadapter.classifier.export import export_onnx
        encoder = Encoder.from_pretrained({str(clip.name)!r}, device="cpu")
        export_onnx(encoder, torch.ones(1, {weights.size(1)}), 1.0, "c.onnx", ["cat"])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    assert "ValueError: The export needs the extra [onnx]" in run.stderr
