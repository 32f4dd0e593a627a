from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_graphadapter import Encoder, EncodingConfig, FewShotClassifier
from pyg_graphadapter.data import few_shot, load_images
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import (
    FileSource,
    Origin,
    evaluation_tasks,
    is_feature_file,
    load_encoder,
    open_source,
)
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
    source = open_source(path, None)
    assert source.features().logit_scale == 100
    expected = draw_task(source.features(), 2, 1)
    assert torch.equal(source.task(2, 1).support.x, expected.support.x)
    assert len(source.test()) == 200
    assert len(source.test_or_all()) == 200
    assert source.origin() == Origin("f.npz")
    assert source.class_names == source.features().class_names
    assert source.text() is source.features().text
    assert source.text_encoder is None
    alone = FileSource(replace(source.file, test=None), "f")
    assert alone.test() is None
    assert alone.test_or_all() is source.file.train


@pytest.mark.filterwarnings("ignore:.*has no labels")
def test_images_without_labels_are_not_encoded_as_labelled(tmp_path, encoder):
    folder = fake_images(tmp_path / "images", splits={"train": 2})
    (folder / "test").mkdir()
    for i, path in enumerate(sorted(fake_images(tmp_path / "more", seed=1).rglob("*.jpg"))[:2]):
        path.rename(folder / "test" / f"{i}.jpg")
    source = image_source(folder, encoder)
    assert source.splits["test"]["label"] == [-1, -1]
    assert not source.has_test
    assert source.test() is None
    assert source.features().test is None
    assert len(source.test_or_all()) == 6
    with pytest.raises(ValueError, match=r"no test split .* images of test have no labels: put"):
        evaluation_tasks(source, [(1, 1)])


def test_sources_are_told_apart_by_their_names(tmp_path, folder, encoder, checkpoint):
    fake_features().save(tmp_path / "f.npz")
    source = open_source(tmp_path / "f.npz", None, logit_scale=7)
    assert isinstance(source, FileSource)
    assert source.features().logit_scale == 7
    assert source.task(2, 1).logit_scale == 7
    images = open_source(folder, checkpoint("clip"), logit_scale=8)
    assert isinstance(images, ImageSource)
    assert images.logit_scale == 8
    assert images.dataset_encoder.encoder.name == str(checkpoint("clip"))
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
    assert source.dataset_encoder.summary.num_used == 3 + 3  # as many for validation
    assert source.features().logit_scale == 9
    assert len(source.test()) == len(source.test_or_all()) == 6
    assert source.origin() == Origin("images", encoder.name, 0)
    assert source.text() is source.text()
    plain = image_source(load_images(folder), encoder, name="mine")
    assert plain.origin().name == "mine"
    assert plain.task(1, 1).logit_scale == encoder.logit_scale
    del plain.labelled["test"]
    assert plain.test() is None
    assert len(plain.test_or_all()) == 3 * (6 + 5)


def test_each_drawn_image_is_encoded_once(folder, encoder):
    source = image_source(folder, encoder)
    tasks = evaluation_tasks(source, [(1, 1), (2, 1), (4, 1), (2, 2)])
    drawn = [
        image["path"]
        for split in ("train", "val")
        for shots, seed in ((4, 1), (2, 2))
        for image in few_shot(source.labelled[split], shots, seed)["image"]
    ]
    assert source.dataset_encoder.summary.num_used == len(set(drawn)) + 6 < len(drawn) + 6
    assert source.used_in_words().startswith(
        f"Used {sum('train' in path for path in set(drawn))} of 18 training images and "
    )
    for (shots, seed), evaluation in tasks.items():
        alone = source.task(shots, seed)
        assert torch.equal(evaluation.task.support.y, alone.support.y)
        torch.testing.assert_close(evaluation.task.support.x, alone.support.x)
        torch.testing.assert_close(evaluation.task.validation.x, alone.validation.x)
        assert len(evaluation.test) == 6
    with pytest.raises(ValueError, match="fewer than 7 images"):
        evaluation_tasks(source, [(7, 1)])
    del source.labelled["test"]
    with pytest.raises(ValueError, match="images has no test split"):
        evaluation_tasks(source, [(1, 1)])


def test_a_file_without_test_images_is_told_which_arrays_it_needs():
    source = FileSource(replace(fake_features(), test=None), "f.npz")
    with pytest.raises(ValueError, match=r"f.npz has no test split .* 'test_features'"):
        evaluation_tasks(source, [(1, 1)])


@pytest.mark.parametrize("kind", ["file", "images"])
def test_base_and_new_classes(kind, folder, encoder):
    source = image_source(folder, encoder)
    if kind == "file":
        source = FileSource(source.features(), "f")
    base, new = source.base_and_new()
    assert base.class_names == ("class_0", "class_1")
    assert new.class_names == ("class_2",)
    assert base.name == new.name == source.name
    everything = source.features()
    for part, low, high in ((base, 0, 2), (new, 2, 3)):
        torch.testing.assert_close(part.text(), everything.text[low:high])
        chosen = (everything.test.y >= low) & (everything.test.y < high)
        torch.testing.assert_close(part.test().x, everything.test.x[chosen])
        assert torch.equal(part.test().y, everything.test.y[chosen] - low)
        assert len(part.task(2, 1).support) == 2 * (high - low)


def test_the_origin_counts_what_was_skipped(folder, encoder):
    for path in sorted((folder / "test" / "class_0").iterdir()):
        path.write_bytes(b"no image")
    source = image_source(folder, encoder)
    assert len(source.test()) == 4
    assert source.origin().skipped == 2


@pytest.mark.filterwarnings("ignore:The class names tell")
def test_what_has_no_effect_on_a_feature_file_is_said(tmp_path):
    width = open_source("builtin", "builtin").text().size(1)
    data = fake_features(num_classes=3, channels=width, shots=2)
    named = replace(data, class_names=("cat", "dog", "bird"))
    config = EncodingConfig(views=3, templates=("a {}.",))
    without = replace(named, text=None)
    for file, model, listing in (
        (named, None, "templates, views"),
        (named, "builtin", "the model, templates, views"),
        (without, None, "templates, views"),
        (without, "builtin", "views"),
    ):
        file.save(tmp_path / "f.npz")
        with pytest.warns(UserWarning, match=f"already, on which this has no effect: {listing}"):
            open_source(tmp_path / "f.npz", model, config)
    with pytest.warns(UserWarning, match="features and texts already, .* no effect: the model"):
        FewShotClassifier.fit(named, model="builtin", progress=False, select=False)
    classifier = FewShotClassifier.fit(without, model="builtin", progress=False, select=False)
    text = open_source(tmp_path / "f.npz", "builtin").text()
    torch.testing.assert_close(classifier.adapter.text, text)
