"""Features and predictions as columns of data sets of ``datasets``."""

import gc
import math
import pickle
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher

from pyg_graphadapter import Encoder, FewShotClassifier, ImageEncoder, TrainConfig
from pyg_graphadapter.data import load_images
from pyg_graphadapter.encoding import batch_function
from pyg_graphadapter.testing import fake_features, fake_images

COLUMNS = [f"predicted_{name}" for name in ("label", "class_name", "probability", "reason")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fake_images(tmp_path_factory.mktemp("photos"), splits={"train": 4, "test": 2})


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def classifier(folder, checkpoint):
    return FewShotClassifier.fit(
        folder, 2, 1, "gda", TrainConfig(), model=checkpoint("clip"), select=False, progress=False
    )


@pytest.fixture
def images(folder):
    return load_images(folder)["test"]


@pytest.fixture
def with_bad_ones(images):
    """Images of which the second cannot be decoded, and the fourth is not there."""
    rows = list(images["image"])
    rows[1], rows[3] = {"bytes": b"no image", "path": None}, None
    features = datasets.Features({"image": datasets.Image(decode=False)})
    return datasets.Dataset.from_dict({"image": rows}, features)


@pytest.mark.parametrize("num_proc", [None, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_predictions_as_columns(classifier, images, num_proc, batch_size):
    mapped = images.map(
        classifier.as_map(features=True), batched=True, batch_size=batch_size, num_proc=num_proc
    )
    assert mapped.column_names == ["image", "label", *COLUMNS, "features"]
    assert mapped["label"][:] == images["label"][:]
    expected = classifier.predict_rows(list(images["image"]))
    assert mapped["predicted_label"][:] == [row.label for row in expected]
    assert mapped["predicted_class_name"][:] == [row.class_name for row in expected]
    probabilities = [row.probability for row in expected]
    assert mapped["predicted_probability"][:] == pytest.approx(probabilities, abs=1e-5)
    assert mapped["predicted_reason"][:] == [""] * len(images)
    x = classifier.encode(list(images["image"]))
    np.testing.assert_allclose(np.array(mapped["features"][:]), x, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_images_that_cannot_be_decoded_have_the_reason(classifier, with_bad_ones, batch_size):
    function = classifier.as_map(features=True)
    mapped = with_bad_ones.map(function, batched=True, batch_size=batch_size)
    labels, reasons = mapped["predicted_label"][:], mapped["predicted_reason"][:]
    assert [i for i, label in enumerate(labels) if label == -1] == [1, 3]
    assert [i for i, reason in enumerate(reasons) if reason] == [1, 3]
    assert reasons[3] == "there is no image"
    assert [mapped["predicted_class_name"][i] for i in (1, 3)] == ["", ""]
    assert all(math.isnan(mapped["predicted_probability"][i]) for i in (1, 3))
    is_number = [bool(np.isfinite(row).all()) for row in mapped["features"]]
    assert is_number == [True, False, True, False, True, True]


def test_decoded_images(classifier, images):
    decoded = images.cast_column("image", datasets.Image())
    mapped = decoded.map(classifier.as_map(), batched=True)
    assert mapped["predicted_class_name"][:] == classifier.predict(list(images["image"]))


def test_labels_are_not_lost(classifier, images):
    with pytest.raises(ValueError, match="has a column 'label' already"):
        images.map(classifier.as_map(prefix=""), batched=True)
    mapped = images.remove_columns("label").map(classifier.as_map(prefix=""), batched=True)
    assert mapped.column_names == ["image", "label", "class_name", "probability", "reason"]
    with pytest.raises(ValueError, match=r"no column 'photo' \(it has image, label\)"):
        images.map(classifier.as_map("photo"), batched=True)


def test_the_same_classifier_has_the_same_fingerprint(classifier, images, tmp_path):
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    first, again = (c.as_map() for c in (classifier, loaded))
    before = Hasher.hash(first)
    mapped = images.map(first, batched=True)
    assert before == Hasher.hash(first) == Hasher.hash(again)
    assert mapped._fingerprint == images.map(again, batched=True)._fingerprint
    assert Hasher.hash(classifier.as_map(features=True)) != before
    other = FewShotClassifier.load(tmp_path / "saved")
    with torch.no_grad():
        next(other.adapter.buffers()).mul_(1.5)
    assert Hasher.hash(other.as_map()) != before


def test_another_process_gives_the_same_fingerprint_and_classes(classifier, images, tmp_path):
    classifier.save(tmp_path / "saved")
    images.save_to_disk(tmp_path / "images")
    program = """
import sys, datasets, pickle
from datasets.fingerprint import Hasher
from pyg_graphadapter import FewShotClassifier
function = FewShotClassifier.load(sys.argv[1]).as_map()
sent = pickle.loads(open(sys.argv[3], "rb").read())  # in a process that was not forked
rows = datasets.load_from_disk(sys.argv[2])[:]
del rows["label"]
print(Hasher.hash(function), Hasher.hash(sent), sent(rows)["predicted_class_name"], sep="\\n")
"""
    function = classifier.as_map()
    (tmp_path / "function").write_bytes(pickle.dumps(function))
    paths = [str(tmp_path / name) for name in ("saved", "images", "function")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )
    hashes = [Hasher.hash(function)] * 2
    assert done.stdout.splitlines() == [*hashes, str(classifier.predict(list(images["image"])))]


def test_results_are_taken_from_the_cache(classifier, images, tmp_path, monkeypatch):
    images.save_to_disk(tmp_path / "images")
    stored = datasets.load_from_disk(tmp_path / "images")
    first = stored.map(classifier.as_map(), batched=True)

    def fails(*_, **__):
        raise AssertionError("encoded again")

    monkeypatch.setattr(Encoder, "image_features", fails)
    again = datasets.load_from_disk(tmp_path / "images").map(classifier.as_map(), batched=True)
    assert again["predicted_label"][:] == first["predicted_label"][:]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_features_as_a_column(checkpoint, images, with_bad_ones, num_proc):
    encoder = Encoder.from_pretrained(checkpoint("clip"))
    mapped = images.map(encoder.batch_function(), batched=True, num_proc=num_proc)
    expected = encoder.encode_images(list(images["image"])).x[:, 0]
    np.testing.assert_allclose(np.array(mapped["features"][:]), expected, atol=1e-5)
    assert mapped["reason"][:] == [""] * len(images)
    mapped = with_bad_ones.map(encoder.batch_function(), batched=True, num_proc=num_proc)
    assert [i for i, reason in enumerate(mapped["reason"]) if reason] == [1, 3]
    same = Encoder.from_pretrained(checkpoint("clip"))
    assert Hasher.hash(encoder.batch_function()) == Hasher.hash(same.batch_function())


def test_an_encoder_without_a_name_is_forked_and_not_loaded(images):
    def colours(pixels):
        return pixels.mean(dim=(2, 3)) + 1

    def as_tensor(image):
        return torch.tensor(np.asarray(image.resize((8, 8)))).permute(2, 0, 1) / 255

    encoder = ImageEncoder(colours, as_tensor, name="colours", version="1")
    function = encoder.batch_function()
    mapped = images.map(function, batched=True, num_proc=2)
    assert np.array(mapped["features"][:]).shape == (len(images), 3)
    make, arguments = function.__reduce__()
    del function, encoder
    gc.collect()
    assert arguments[0] not in batch_function._encoders
    with pytest.raises(ValueError, match="'colours' cannot be loaded by its name in another proc"):
        make(*arguments)


def test_what_cannot_be_mapped(folder, checkpoint):
    arguments = {"model": checkpoint("clip"), "select": False, "progress": False}
    together = FewShotClassifier.fit(folder, 2, 1, "transclip", **arguments)
    with pytest.raises(ValueError, match="transclip classifies images together"):
        together.as_map()
    of_features = FewShotClassifier.fit(fake_features(), 2, method="gda", progress=False)
    with pytest.raises(ValueError, match="was fitted on features, so it knows no encoder"):
        of_features.as_map()
