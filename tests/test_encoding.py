from pathlib import Path

import pytest
import torch

from pyg_graphadapter import Encoder, EncodingConfig
from pyg_graphadapter.data import few_shot, load_images
from pyg_graphadapter.encoding import DatasetEncoder, Summary
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_images


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 6, "val": 5, "test": 2})


def encode(encoder, **settings):
    return DatasetEncoder(encoder, EncodingConfig(cache=False, **settings), progress=False)


def test_a_data_set_becomes_a_feature_file(encoder, folder):
    encoded = encode(encoder, views=2, templates=("a {}", "{}"))
    file = encoded.encode(load_images(folder))
    assert file.train.x.shape == (18, 2, 24)
    assert file.val.x.shape == (15, 1, 24)
    assert file.test.x.shape == (6, 1, 24)
    torch.testing.assert_close(file.text, encoder.encode_text(file.class_names, ("a {}", "{}")))
    assert file.logit_scale == encoder.logit_scale
    assert str(encoded.summary) == "39 images: 39 encoded, 0 from the cache"


@pytest.mark.parametrize("shots", [1, 5])
def test_the_shots_are_those_that_would_be_drawn_of_all_features(encoder, folder, shots):
    data = load_images(folder)
    encoded = encode(encoder)
    task = encoded.draw_task(data, shots, seed=2)
    expected = draw_task(encode(encoder).encode(data), shots, seed=2)
    torch.testing.assert_close(task.support.x, expected.support.x)
    torch.testing.assert_close(task.validation.x, expected.validation.x)
    assert torch.equal(task.support.y, expected.support.y)
    assert encoded.summary.num_images == 3 * shots + 3 * min(shots, 4)


def test_in_the_place_of_an_unreadable_image_comes_the_next_of_its_class(encoder, folder):
    data = load_images(folder)
    drawn = encode(encoder).draw_task(data, 2, seed=1)
    shots = few_shot(data["train"], 2, seed=1)
    bad = [Path(shots["image"][i]["path"]) for i in range(6) if shots["label"][i] == 1]
    bad += [path for path in bad[0].parent.iterdir() if path not in bad][:2]
    for path in bad:
        path.write_bytes(b"no image")
    encoded = encode(encoder)
    task = encoded.draw_task(load_images(folder), 2, seed=1)
    assert torch.bincount(task.support.y).tolist() == [2, 2, 2]
    assert torch.equal(drawn.support.y, task.support.y)
    assert set(encoded.summary.skipped) <= set(map(str, bad))
    assert "skipped" in str(encoded.summary)
    with pytest.raises(ValueError, match=r"fewer than 3 images: 'class_1' \(2\)"):
        encode(encoder).draw_task(load_images(folder), 3, seed=1)
    few = encode(encoder).draw_task(load_images(folder), 3, seed=1, allow_fewer=True)
    assert torch.bincount(few.support.y).tolist() == [3, 2, 3]
    with pytest.raises(ValueError, match="cannot be decoded"):
        encode(encoder, strict=True).draw_task(load_images(folder), 6, seed=1)


def test_without_a_training_split_nothing_can_be_drawn(encoder, folder):
    data = load_images(folder)
    del data["train"]
    for call in (lambda e: e.encode(data), lambda e: e.draw_task(data, 1, 1)):
        with pytest.raises(ValueError, match=r"no training split \(got val, test\)"):
            call(encode(encoder))


def test_settings_out_of_bounds():
    for settings in ({"views": 0}, {"dtype": "int8"}, {"workers": -1}, {"templates": ("x",)}):
        with pytest.raises(ValueError, match=r"views|dtype|workers|template"):
            EncodingConfig(**settings)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path))
    assert EncodingConfig().cache_folder() == tmp_path
    assert EncodingConfig(cache_dir="x").cache_folder().name == "x"
    assert EncodingConfig(cache=False).cache_folder() is None


def test_counts():
    assert str(Summary(5, 2, {"a": "bad"})) == "5 images: 2 encoded, 2 from the cache, 1 skipped"
