from pathlib import Path

import pytest
import torch

from pyg_graphadapter import Encoder, EncodingConfig
from pyg_graphadapter.data import few_shot, load_images
from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder, Summary
from pyg_graphadapter.encoding.distributed import Process
from pyg_graphadapter.encoding.image_batches import digest_of
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
    assert str(encoded.summary) == "39 encoded, 0 from the cache"


@pytest.mark.parametrize("shots", [1, 5])
def test_the_shots_are_those_that_would_be_drawn_of_all_features(encoder, folder, shots):
    data = load_images(folder)
    encoded = encode(encoder)
    task = encoded.draw_task(data, shots, seed=2)
    expected = draw_task(encode(encoder).encode(data), shots, seed=2)
    torch.testing.assert_close(task.support.x, expected.support.x)
    torch.testing.assert_close(task.validation.x, expected.validation.x)
    assert torch.equal(task.support.y, expected.support.y)
    assert encoded.summary.num_used == 3 * shots + 3 * min(shots, 4)


def order_of(data, label, seed):
    """The training images of a class in the order in which they are drawn."""
    shots = few_shot(data["train"], 6, seed=seed)
    rows = zip(shots["image"], shots["label"], strict=True)
    return [Path(image["path"]) for image, y in rows if y == label]


def make_unreadable(paths):
    for path in paths:
        path.write_bytes(b"no image " + path.name.encode())


@pytest.mark.parametrize("bad", [[0], [1], [0, 1], [0, 2, 3], [0, 1, 2, 3]])
def test_in_the_place_of_an_unreadable_image_comes_the_next_of_its_class(encoder, folder, bad):
    order = order_of(load_images(folder), label=1, seed=1)
    whole = encode(encoder).draw_task(load_images(folder), 2, seed=1)
    kept = [path for i, path in enumerate(order) if i not in bad][:2]
    expected = encoder.encode_images(kept, progress=False).x
    make_unreadable(order[i] for i in bad)
    encoded = encode(encoder)
    task = encoded.draw_task(load_images(folder), 2, seed=1)
    assert torch.equal(task.support.y, whole.support.y)
    torch.testing.assert_close(task.support.x[task.support.y == 1], expected)
    others = whole.support.y != 1  # of these, the same images as before
    torch.testing.assert_close(task.support.x[others], whole.support.x[others])
    asked = [i for i in bad if order[i] in order[: order.index(kept[1])]]
    assert set(encoded.summary.skipped) == {str(order[i]) for i in asked}


def test_the_same_holds_for_validation_images(encoder, folder):
    for c in range(3):
        make_unreadable(sorted((folder / "val" / f"class_{c}").iterdir())[: c + 2])
    task = encode(encoder).draw_task(load_images(folder), 4, seed=1)
    assert torch.bincount(task.validation.y).tolist() == [3, 2, 1]  # fewer are allowed


def test_a_class_with_too_few_readable_images_is_named(encoder, folder):
    make_unreadable(order_of(load_images(folder), 1, seed=1)[:4])
    data = load_images(folder)
    assert len(encode(encoder).draw_task(data, 2, seed=1).support) == 6
    with pytest.raises(ValueError, match=r"fewer than 3 images: 'class_1' \(2\)"):
        encode(encoder).draw_task(data, 3, seed=1)
    few = encode(encoder).draw_task(data, 3, seed=1, allow_fewer=True)
    assert torch.bincount(few.support.y).tolist() == [3, 2, 3]
    with pytest.raises(ValueError, match="cannot be decoded"):
        encode(encoder, strict=True).draw_task(data, 6, seed=1)


def test_a_class_without_a_readable_image_is_named(encoder, folder):
    make_unreadable((folder / "train" / "class_2").iterdir())
    message = r"1 of 3 classes has no image: 'class_2'\. .* could not be decoded: .*\."
    with pytest.raises(ValueError, match=message):
        encode(encoder).draw_task(load_images(folder), 1, seed=1)


def test_unreadable_images_are_left_out_of_a_feature_file(encoder, folder):
    bad = folder / "test" / "class_0" / "0.jpg"
    make_unreadable([bad])
    encoded = encode(encoder)
    file = encoded.encode(load_images(folder))
    assert file.test.y.tolist() == [0, 1, 1, 2, 2]
    assert encoded.summary.skipped.keys() == {str(bad)}
    encoded.encode_split(load_images(folder)["test"])  # counts once
    assert str(encoded.summary) == "38 encoded, 0 from the cache, 1 skipped"
    with pytest.raises(ValueError, match=r"0\.jpg cannot be decoded"):
        encode(encoder, strict=True).encode(load_images(folder))


def test_the_cache_is_shared_by_drawn_and_whole_data_sets(encoder, folder, tmp_path):
    config = EncodingConfig(cache_dir=str(tmp_path / "cache"))
    encoded = DatasetEncoder(encoder, config, progress=False)
    drawn = encoded.draw_task(load_images(folder), 2, seed=1)
    assert str(encoded.summary) == "12 encoded, 0 from the cache"
    file = encoded.encode(load_images(folder))
    assert str(encoded.summary) == "39 encoded, 0 from the cache"
    assert torch.equal(draw_task(file, 2, seed=1).support.x, drawn.support.x)


def test_without_a_training_split_nothing_can_be_drawn(encoder, folder):
    data = load_images(folder)
    del data["train"]
    for call in (lambda e: e.encode(data), lambda e: e.draw_task(data, 1, 1)):
        with pytest.raises(ValueError, match=r"no training split \(got val, test\)"):
            call(encode(encoder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 0}, "'views'"),
        ({"dtype": "int8"}, "'dtype'.*float32"),
        ({"workers": -1}, "'workers'"),
        ({"encode_batch_size": 0}, "'encode_batch_size'"),
        ({"templates": ("x",)}, "template.*x"),
    ],
)
def test_settings_out_of_bounds(settings, message):
    with pytest.raises(ValueError, match=message):
        EncodingConfig(**settings)


def test_settings_reach_the_encoder(checkpoint):
    config = EncodingConfig(dtype="bfloat16", encode_batch_size=3, workers=1, offline=True)
    encoder = config.load(checkpoint("clip"), "cpu")
    assert (encoder.dtype, encoder.batch_size, encoder.pipeline.workers) == (torch.bfloat16, 3, 1)
    described = {"dtype": "bfloat16", "views": 1, "view_seed": 0}
    assert config.describe() == {**described, "templates": EncodingConfig().templates}


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path))
    assert EncodingConfig().cache_folder() == tmp_path
    assert EncodingConfig(cache_dir="x").cache_folder().name == "x"
    assert EncodingConfig(cache=False).cache_folder() is None


def test_counts():
    summary = Summary(2, {"a": "bad"}, {"train": {0, 1, 3}, "test": {0}}, {"train": {2}})
    assert str(summary) == "2 encoded, 2 from the cache, 1 skipped"
    assert str(Summary(9, {}, {"train": {0, 1}})) == "2 encoded, 0 from the cache"  # without one


def test_two_processes_fill_the_cache_of_all_splits(encoder, folder, tmp_path):
    class Half(Process):
        def shared(self, own, length):
            return [digest_of(image) for image in images[length]]

    images = {len(split): split["image"] for split in load_images(folder).values()}
    config = EncodingConfig(cache_dir=str(tmp_path / "cache"), views=2)
    halves = [DatasetEncoder(encoder, config, progress=False) for _ in range(2)]
    for index, half in enumerate(halves):
        half.fill_cache(load_images(folder), Half(index, 2))
    assert sum(half.summary.num_encoded for half in halves) == 39
    file = halves[0].encode(load_images(folder))
    expected = encode(encoder, views=2).encode(load_images(folder))
    assert torch.equal(file.train.x, expected.train.x)
    assert torch.equal(file.test.x, expected.test.x)
    without = DatasetEncoder(encoder, EncodingConfig(cache=False), progress=False)
    with pytest.raises(ValueError, match="leave --no-cache out"):
        without.fill_cache(load_images(folder), Half(0, 2))
