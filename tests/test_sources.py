from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_graphadapter import Encoder, EncodingConfig
from pyg_graphadapter.data import load_images
from pyg_graphadapter.sources import (
    FileSource,
    ImageSource,
    Origin,
    content_hash,
    is_feature_file,
    load_encoder,
    open_source,
)
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_features, fake_images


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 6, "val": 5, "test": 2})


def image_source(folder, encoder, **settings):
    return ImageSource(folder, encoder, EncodingConfig(cache=False), progress=False, **settings)


def test_a_feature_file_as_a_source(tmp_path):
    path = tmp_path / "f.npz"
    fake_features().save(path)
    source = FileSource(path)
    assert source.features().logit_scale == 100
    expected = draw_task(source.features(), 2, 1)
    assert torch.equal(source.task(2, 1).support.x, expected.support.x)
    assert len(source.test()) == 200
    assert source.origin() == Origin("f.npz", sha256(path.read_bytes()))
    with pytest.raises(FileNotFoundError, match=r"gone\.npz"):
        FileSource(tmp_path / "gone.npz")


def test_sources_are_told_apart_by_their_names(tmp_path, folder, encoder, checkpoint):
    fake_features().save(tmp_path / "f.npz")
    source = open_source(tmp_path / "f.npz", None, logit_scale=7)
    assert isinstance(source, FileSource)
    assert source.features().logit_scale == 7
    assert source.task(2, 1).logit_scale == 7
    images = open_source(folder, checkpoint("clip"), logit_scale=8)
    assert isinstance(images, ImageSource)
    assert images.logit_scale == 8
    assert images.encode.encoder.name == str(checkpoint("clip"))
    assert load_encoder(encoder, EncodingConfig()) is encoder


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "a.pt", "b/a.pkl"])
def test_files_that_hold_features_or_are_refused_with_the_reason(name):
    assert is_feature_file(name)
    assert not is_feature_file(Path(name).with_suffix(""))


def test_what_cannot_be_opened(tmp_path, folder, encoder, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.data.load.is_reachable", lambda: False)
    with pytest.raises(ValueError, match=r"Images need an encoder.*openai/clip.*builtin"):
        open_source(folder, None)
    with pytest.raises(FileNotFoundError, match=r"gone\.npz"):
        open_source(tmp_path / "gone.npz", None)
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.pt"):
        open_source(tmp_path / "a.pt", None)
    with pytest.raises(ValueError, match="device 'tpu'"):
        open_source(folder, "builtin", device="tpu")
    with pytest.raises(FileNotFoundError, match="no folder or list of images"):
        image_source(tmp_path / "gone", encoder)
    with pytest.raises(ValueError, match="no folder, list or data set 'gone'"):
        image_source("gone", encoder)


def test_images_as_a_source(folder, encoder):
    source = image_source(folder, encoder, logit_scale=9)
    assert source.task(1, 1).logit_scale == 9
    assert source.encode.summary.num_images == 3 * (1 + 1)  # the shots and as many for validation
    assert source.features().logit_scale == 9
    assert source.features() is source.features()
    assert len(source.test()) == 6
    origin = source.origin()
    assert origin == Origin("images", content_hash(source.features()), encoder.name, 0)
    plain = image_source(load_images(folder), encoder)
    assert plain.task(1, 1).logit_scale == encoder.logit_scale
    assert plain.origin().sha256 != origin.sha256  # of another scale
    del plain.splits["test"]
    assert plain.test() is None


def test_the_origin_counts_what_was_skipped(folder, encoder):
    for path in sorted((folder / "test" / "class_0").iterdir()):
        path.write_bytes(b"no image")
    source = image_source(folder, encoder)
    assert len(source.test()) == 4
    assert source.origin().skipped == 2


def changed(data, split, name, row):
    features = getattr(data, split)
    value = getattr(features, name).clone()
    value[row] = value[(row + 25) % len(value)]
    return replace(data, **{split: replace(features, **{name: value})})


@pytest.mark.parametrize(
    "change",
    [
        lambda data: replace(data, text=data.text.flip(0)),
        lambda data: replace(data, class_names=("other", *data.class_names[1:])),
        lambda data: replace(data, logit_scale=50.0),
        lambda data: changed(data, "train", "x", 3),
        lambda data: changed(data, "train", "y", 3),
        lambda data: changed(data, "test", "x", 0),
        lambda data: changed(data, "test", "y", 0),
        lambda data: replace(data, test=None),
        lambda data: replace(data, val=data.test),
    ],
)
def test_the_hash_of_features_changes_with_each_part(change):
    data = fake_features(num_classes=3)
    assert content_hash(data) == content_hash(fake_features(num_classes=3))
    assert content_hash(change(data)) != content_hash(data)


def test_the_hash_of_features_changes_with_seed_and_views():
    cases = (fake_features(), fake_features(seed=1), fake_features(views=2))
    assert len({content_hash(each) for each in cases}) == 3
