"""The classifier from images to labels, with a tiny encoder."""

import json

import datasets
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import safe_open

from pyg_graphadapter import Encoder, EncodingConfig, FewShotClassifier
from pyg_graphadapter.testing import fake_images
from tests.checkpoints import save_checkpoint

NO_CACHE = EncodingConfig(cache=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_checkpoint("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return fake_images(tmp_path_factory.mktemp("images"), splits={"train": 4, "test": 3})


@pytest.fixture(scope="module")
def classifier(model, images):
    return fit(images, model)


def fit(images, model, encoding=NO_CACHE, **settings):
    return FewShotClassifier.fit(
        images, shots=2, model=model, encoding=encoding, progress=False, **settings
    )


def test_a_folder_is_fitted_and_its_images_are_classified(classifier, images):
    assert classifier.class_names == ("class_0", "class_1", "class_2")
    files = [images / "test" / f"class_{c}" / "0.jpg" for c in (2, 0)]
    assert set(classifier.predict(files)) <= set(classifier.class_names)
    one = classifier.predict_proba([Image.open(files[0])])
    torch.testing.assert_close(one, classifier.predict_proba(files)[:1])
    assert len(classifier.predict(images / "test")) == 9
    assert len(classifier.predict(str(files[0]))) == 1
    table = datasets.Dataset.from_dict(
        {"image": [str(f) for f in files]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    assert classifier.predict(table) == classifier.predict(files)


def test_it_is_measured_on_the_test_split_by_class_names(classifier, images, tmp_path):
    found = classifier.evaluate(images, encoding=NO_CACHE, progress=False)
    assert found.num_images == 9
    other = fake_images(tmp_path / "other", num_classes=3, per_class=2, seed=5)
    (other / "class_0").rename(other / "class_9")  # the last one now
    with pytest.raises(ValueError, match="does not know the class 'class_9'"):
        classifier.evaluate(other, encoding=NO_CACHE)
    two = fake_images(tmp_path / "two", num_classes=3, per_class=2, seed=5)
    for path in (two / "class_0").iterdir():
        path.unlink()
    (two / "class_0").rmdir()
    assert classifier.evaluate(two, encoding=NO_CACHE, progress=False).num_images == 4


def test_save_and_load_find_the_encoder_again(classifier, images, tmp_path):
    classifier.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["encoding"]["templates"] == ["a photo of a {}."]
    assert card["encoding"]["width"] == 24
    files = sorted(images.rglob("*.png"))
    torch.testing.assert_close(loaded.predict_proba(files), classifier.predict_proba(files))


@pytest.mark.parametrize("part", ["weights", "configuration", "tokenizer", "preprocessing"])
def test_another_encoder_of_the_same_name_is_refused(classifier, tmp_path, part):
    classifier.save(tmp_path / "c")
    path = tmp_path / "c" / "classifier.json"
    card = json.loads(path.read_text())
    assert len(card["encoding"][part]) == 64
    card["encoding"][part] = "0" * 64
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError, match=f"was fitted with: its {part} changed"):
        FewShotClassifier.load(tmp_path / "c").predict(["a.jpg"])


def test_images_need_an_encoder(images, classifier):
    with pytest.raises(ValueError, match="Images need an encoder"):
        FewShotClassifier.fit(images)
    bare = FewShotClassifier(classifier.adapter, classifier.class_names, "graph_adapter")
    with pytest.raises(ValueError, match="fitted on features"):
        bare.predict(["a.jpg"])


def test_an_image_that_cannot_be_decoded_is_named(classifier, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    bad, good = tmp_path / "bad.jpg", Image.new("RGB", (9, 9))
    for answer in (
        lambda: classifier.predict([bad], on_error="raise"),
        lambda: classifier.predict_proba([bad]),
        lambda: classifier.predict_rows([bad], on_error="raise"),
        lambda: classifier.encode([bad]),
    ):
        with pytest.raises(ValueError, match=r"bad\.jpg cannot be decoded"):
            answer()
    with pytest.warns(UserWarning, match=r"1 of 2 images could not be classified.*bad\.jpg"):
        assert [name is None for name in classifier.predict([good, bad])] == [False, True]
    with pytest.warns(UserWarning, match="rows of NaN"):
        probability = classifier.predict_proba([bad, good], on_error="nan")
    assert probability.isnan().all(dim=1).tolist() == [True, False]
    first, second = classifier.predict_rows([good, bad], top=2)
    assert (first.file, first.reason, len(first.top)) == (None, None, 2)
    assert (second.file, second.class_name, second.index) == (str(bad), None, 1)
    assert "cannot be decoded" in second.reason
    with pytest.warns(UserWarning, match="have no row"):
        assert [r.index for r in classifier.predict_rows([bad, good], on_error="skip")] == [1]
    with pytest.raises(ValueError, match="Unknown 'on_error' 'x'"):
        classifier.predict([good], on_error="x")


def test_shots_among_the_images_are_told(classifier, images, tmp_path):
    assert len(classifier.shot_hashes) == 6
    assert all(each.startswith("image:") for each in classifier.shot_hashes)
    assert classifier.evaluate(images, encoding=NO_CACHE, progress=False).num_shots == 0
    with pytest.warns(UserWarning, match="6 of 12 images that the classifier is measured on"):
        seen = classifier.evaluate(images, split="train", encoding=NO_CACHE, progress=False)
    assert seen.num_shots == 6
    classifier.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    assert loaded.shot_hashes == classifier.shot_hashes


def test_files_of_a_folder_have_names_and_others_are_told(classifier, tmp_path):
    folder = fake_images(tmp_path / "images", num_classes=1, per_class=2)
    (folder / "notes.txt").write_text("x")
    with pytest.warns(UserWarning, match=r"1 file that is no image .*notes\.txt"):
        rows = classifier.predict_rows(folder)
    assert [r.file for r in rows] == sorted(map(str, folder.rglob("*.*g")))


def test_a_second_fit_encodes_nothing_and_one_new_image_is_one(images, model, tmp_path):
    folder = fake_images(tmp_path / "images")
    encoding = EncodingConfig(cache_dir=str(tmp_path / "cache"), views=2)
    encoder = Encoder.from_pretrained(model)
    encoded = []
    original = encoder.pipeline.encode
    encoder.pipeline.encode = lambda *a, **k: encoded.append(original(*a, **k)) or encoded[-1]
    first = fit(folder, encoder, encoding)
    second = fit(folder, encoder, encoding)
    assert [each.num_encoded for each in encoded] == [6, 0]
    assert torch.equal(first.export(), second.export())
    for path in folder.rglob("*.*"):
        if path.name == "0.jpg" and path.parent.name == "class_1":
            Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path)
    fit(folder, encoder, encoding, seed=1)
    assert encoded[-1].num_encoded <= 1
    encoder.encode_images(sorted(folder.rglob("*.*")), 2, cache=encoding.cache_folder())
    encoder.encode_images(sorted(folder.rglob("*.*")), 2, cache=encoding.cache_folder())
    assert encoded[-1].num_encoded == 0


def test_exports(classifier, tmp_path):
    weights = classifier.export(tmp_path / "w.safetensors")
    assert weights.shape == (3, 24)
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("class_weights"), weights)
        assert json.loads(file.metadata()["class_names"]) == list(classifier.class_names)
        processor = classifier.encoder.processor
        assert json.loads(file.metadata()["preprocessing"]) == json.loads(
            processor.to_json_string()
        )
    with pytest.raises(ValueError, match=r"The format of w\.bin is not clear"):
        classifier.export(tmp_path / "w.bin")


def test_explanations_of_a_class_and_of_an_image(classifier, images):
    file = images / "test" / "class_1" / "0.jpg"
    assert "class_1" in str(classifier.explain(class_name="class_1"))
    [label] = classifier.predict([file])
    assert label in str(classifier.explain(file))
    x = classifier.encode([file])[0]
    assert str(classifier.explain(x, "class_2")) == str(classifier.explain(file, "class_2"))
    with pytest.raises(ValueError, match="Unknown class 'dog'"):
        classifier.explain(class_name="dog")
    with pytest.raises(ValueError, match="nothing to explain"):
        classifier.explain()


def test_the_hubs_way_to_save_and_load(classifier, images, tmp_path, monkeypatch):
    classifier.save_pretrained(tmp_path / "hub")
    files = {path.name for path in (tmp_path / "hub").iterdir()}
    assert files == {"README.md", "classifier.json", "classifier.safetensors", "config.json"}
    loaded = FewShotClassifier.from_pretrained(str(tmp_path / "hub"))
    assert torch.equal(loaded.export(), classifier.export())

    asked = {}

    def snapshot_download(name, **settings):
        asked.update(name=name, **settings)
        return str(tmp_path / "hub")

    monkeypatch.setattr(
        "pyg_graphadapter.classifier.storage_mixin.snapshot_download", snapshot_download
    )
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download", lambda *_, **__: tmp_path / "hub/config.json"
    )
    FewShotClassifier.from_pretrained("me/classifier", revision="abc")
    assert asked["name"] == "me/classifier"
    assert asked["revision"] == "abc"
    assert asked["allow_patterns"] == [
        "classifier.safetensors",
        "classifier-*.safetensors",
        "classifier.json",
    ]


def test_the_model_card_tells_what_was_measured_and_escapes_names(classifier):
    classifier.measured = {"test accuracy (%)": 81.25}
    names = ("<script>alert(1)</script>", "a|b", "[link](x)")
    odd = FewShotClassifier(
        classifier.adapter, names, "graph_adapter", {}, classifier.encoding, classifier.measured
    )
    text = str(odd.generate_model_card())
    classifier.measured = {}
    assert "81.25" in text
    assert "<script>" not in text
    assert "a\\|b" in text
    card = ModelCard(text)
    assert card.data.library_name == "pyg_graphadapter"
    assert card.data.pipeline_tag == "image-classification"
