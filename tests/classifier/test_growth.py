from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import EncodingConfig, Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.adapters import adapter_names
from pyg_graphadapter.testing import fake_features, fake_images
from tests.checkpoints import save_checkpoint

QUICK = TrainConfig(epochs=3)
NO_CACHE = EncodingConfig(cache=False)


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=5, channels=16, shots=8)


def part_of(data, classes, first=0, last=None):
    """The first classes of a file, and some images of each."""
    chosen = [
        i
        for c in range(classes)
        for i in (data.train.y == c).nonzero().flatten().tolist()[first:last]
    ]
    return replace(
        data,
        text=data.text[:classes],
        class_names=data.class_names[:classes],
        train=data.train.select(torch.tensor(chosen)),
        test=data.test.select(data.test.y < classes),
    )


def fit(data, *arguments, keep_shots=True, **how):
    how = {"config": QUICK, "select": False, "progress": False, "keep_shots": keep_shots, **how}
    return FewShotClassifier.fit(data, *arguments, **how)


def without_first(data, classes):
    """The other classes of a file."""
    train = data.train.select(data.train.y >= classes)
    return replace(
        data,
        text=data.text[classes:],
        class_names=data.class_names[classes:],
        train=Features(train.x, train.y - classes),
        test=None,
    )


METHODS = [method for method in adapter_names() if method != "coop"]


@pytest.mark.parametrize("method", METHODS)
def test_shots_in_two_steps_are_those_of_one(data, method):
    start = fit(part_of(data, 5, 0, 4), method=method)
    rest = part_of(data, 5, 4)
    grown = start.add_shots(rest, progress=False)
    assert len(start.shots) == 20
    assert len(grown.shots) == 40
    assert grown.training["shots"] == 8 if method != "zero_shot" else True
    if method in ("gda", "tip_adapter", "proker", "lp_pp", "linear_probe"):
        at_once = fit(data, method=method, **start.adapter.settings())
        x = data.test.mean_views()
        torch.testing.assert_close(
            grown.predict_proba(x), at_once.predict_proba(x), atol=1e-3, rtol=1e-3
        )


@pytest.mark.parametrize("method", METHODS)
def test_new_classes_with_shots(data, method):
    start = fit(part_of(data, 3), method=method)
    grown = start.add_classes(without_first(data, 3), method=method, progress=False)
    assert grown.class_names == data.class_names
    assert start.class_names == data.class_names[:3]
    fresh = fit(data, method=method)
    assert grown.evaluate(data).accuracy > fresh.evaluate(data).accuracy - 10


@pytest.mark.parametrize("method", METHODS)
def test_new_classes_of_names_alone(data, method):
    start = fit(part_of(data, 3), method=method)
    with pytest.warns(UserWarning, match="no shot of 'a', 'b': the"):
        grown = start.add_classes(["a", "b"], text=data.text[3:], progress=False)
    assert grown.class_names == (*start.class_names, "a", "b")
    assert grown.adapter.num_classes == 5
    assert grown.predict_proba(data.test.mean_views()).shape == (100, 5)
    assert len(grown.shots) == len(start.shots)
    own_texts = grown.predict(data.text[3:])
    assert own_texts == ["a", "b"]
    assert grown.training["classes_without_shots"] == ["a", "b"]


def test_graph_adapter_extends_without_being_fitted_again(data):
    start = fit(part_of(data, 3), keep_shots=False)
    with pytest.warns(UserWarning, match="no shot"):
        grown = start.add_classes(["a", "b"], text=data.text[3:])
    expected = start.adapter.extend(data.text[3:])
    assert torch.equal(grown.adapter.class_weights(), expected.class_weights())
    gda = fit(part_of(data, 3), method="gda", keep_shots=False)
    with pytest.raises(ValueError, match=r"cannot classify new classes.*--keep-shots"):
        gda.add_classes(["a", "b"], text=data.text[3:])


def test_another_method_is_fitted_and_not_extended(data):
    start = fit(part_of(data, 3))
    with pytest.warns(UserWarning, match="the other classes are favoured"):
        grown = start.add_classes(["a", "b"], text=data.text[3:], method="gda", progress=False)
    assert grown.method == "gda"
    with pytest.warns(UserWarning, match="no shot"):
        bare = start.add_classes(["a", "b"], text=data.text[3:], keep_shots=False)
    assert bare.shots is None
    nothing = fit(part_of(data, 3), 0)
    with pytest.raises(ValueError, match="only the zero-shot classifier"):
        nothing.add_classes(["a", "b"], text=data.text[3:], method="gda")
    grown = nothing.add_classes(["a", "b"], text=data.text[3:])
    assert grown.method == "zero_shot"


def test_a_class_of_a_name_gets_shots_later(data):
    start = fit(part_of(data, 4), method="gda")
    with pytest.warns(UserWarning, match="no shot"):
        named = start.add_classes(["class 4"], text=data.text[4:], progress=False)
    grown = named.add_shots(data.train.select(data.train.y == 4), progress=False)
    assert "classes_without_shots" not in grown.training
    x = data.test.mean_views()
    at_once = fit(data, method="gda")
    torch.testing.assert_close(
        grown.predict_proba(x), at_once.predict_proba(x), atol=1e-3, rtol=1e-3
    )


def test_kept_shots_are_saved_and_no_others(data, tmp_path):
    kept = fit(data, 2)
    kept.save(tmp_path / "kept")
    loaded = FewShotClassifier.load(tmp_path / "kept")
    assert torch.equal(loaded.shots.x, kept.shots.x)
    assert torch.equal(loaded.shots.y, kept.shots.y)
    more = part_of(data, 5, 0, 1).train
    assert len(loaded.add_shots(Features(more.x + 0.01, more.y), progress=False).shots) == 15
    plain = fit(data, 2, keep_shots=False)
    plain.save(tmp_path / "plain")
    loaded = FewShotClassifier.load(tmp_path / "plain")
    assert loaded.shots is None
    sizes = [(tmp_path / name / "classifier.safetensors").stat().st_size
             for name in ("plain", "kept")]  # fmt: skip
    assert sizes[1] - sizes[0] >= 10 * 16 * 4
    for grow in (loaded.add_shots, loaded.add_classes):
        with pytest.raises(ValueError, match=r"holds no shots .* keep_shots=True \(--keep-shots\)"):
            grow(data)


def test_damaged_shots_are_refused(data, tmp_path):
    kept = fit(data, 2)
    kept.shots = Features(kept.shots.x, kept.shots.y + 3)
    kept.save(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be read.*Labels must lie in \[0, 5\)"):
        FewShotClassifier.load(tmp_path)


def test_the_same_images_are_not_added_twice(data):
    start = fit(data, 2)
    with pytest.warns(UserWarning, match="10 of 40 images are among the classifier's shots"):
        grown = start.add_shots(data, progress=False)
    assert len(grown.shots) == 40


def test_labels_beside_features(data):
    start = fit(part_of(data, 3), method="gda")
    x = data.train.mean_views()[data.train.y == 2][:2] + 0.01
    assert len(start.add_shots(x, ["class 2"] * 2, progress=False).shots) == 26
    assert len(start.add_shots(x, [2, 2], progress=False).shots) == 26
    with pytest.raises(ValueError, match="one label per image"):
        start.add_shots(x, ["class 2"])
    with pytest.raises(ValueError, match="does not have the class 'clas 2'"):
        start.add_shots(x, ["clas 2"] * 2)
    with pytest.raises(ValueError, match="features, so it knows no encoder for names"):
        start.add_classes(x, ["new"] * 2)


def test_features_of_another_encoder_are_refused(data):
    start = fit(data, 2)
    other = replace(data, text=data.text.flip(1))
    with pytest.raises(ValueError, match="of the same encoder and prompts"):
        start.add_shots(other)


def test_a_grown_classifier_is_measured_inside_its_shots(data):
    start = fit(part_of(data, 3), measure=True)
    grown = start.add_classes(without_first(data, 3), measure=True, progress=False)
    assert start.measured["kind"] == "test split"
    assert grown.measured["kind"] == "cross-validated"
    assert grown.measured["images"] == 40


def test_what_was_selected_is_selected_again(data, tmp_path):
    """Otherwise the measured accuracy would be of values that have seen the images."""
    start = fit(part_of(data, 5, 0, 4), select=True, measure=True)
    assert "alpha" in start.selected
    start.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    assert loaded.selected == start.selected
    with pytest.warns(UserWarning, match="already"):
        same = loaded.add_shots(part_of(data, 5, 0, 4), measure=True, progress=False)
    assert same.selected == start.selected
    whole = fit(data, select=True)
    assert loaded.add_shots(part_of(data, 5, 4), progress=False).selected == whole.selected


def test_renaming(data):
    start = fit(data, 2, keep_shots=False)
    renamed = start.rename_classes({"class 0": "Hund", "class 1": "class 0"})
    assert renamed.class_names == ("Hund", "class 0", "class 2", "class 3", "class 4")
    assert start.class_names == data.class_names
    x = data.test.mean_views()
    assert torch.equal(renamed.predict_proba(x), start.predict_proba(x))
    with pytest.raises(ValueError, match="Unknown class 'dog'"):
        start.rename_classes({"dog": "cat"})
    with pytest.raises(ValueError, match="Two classes have the name 'class 1'"):
        start.rename_classes({"class 0": "class 1"})
    with pytest.raises(ValueError, match="--keep-shots"):
        start.rename_classes({"class 0": "dog"}, encode=True)


# With an encoder ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_checkpoint("clip", tmp_path_factory.mktemp("clip"))


def test_from_names_to_shots_to_classes(model, tmp_path):
    (tmp_path / "names.txt").write_text("class_0\nclass_1\n", encoding="utf-8")
    start = FewShotClassifier.from_names(tmp_path / "names.txt", model=model, encoding=NO_CACHE)
    same = FewShotClassifier.from_names(["class_0", "class_1"], model=model, encoding=NO_CACHE)
    assert torch.equal(start.adapter.text, same.adapter.text)
    assert start.method == "zero_shot"
    start.save(tmp_path / "z")
    start = FewShotClassifier.load(tmp_path / "z")
    images = fake_images(tmp_path / "images", num_classes=3, per_class=3)
    how = {"encoding": NO_CACHE, "progress": False}
    with pytest.raises(ValueError, match="does not have the class 'class_2'"):
        start.add_shots(images, **how)
    grown = start.add_classes(images, keep_shots=True, **how)
    assert grown.method == "graph_adapter"
    assert grown.class_names == ("class_0", "class_1", "class_2")
    assert len(grown.shots) == 9
    fitted = FewShotClassifier.fit(
        images, model=model, encoding=NO_CACHE, progress=False, keep_shots=True
    )
    torch.testing.assert_close(grown.adapter.text, fitted.adapter.text)
    torch.testing.assert_close(grown.shots.x, fitted.shots.x)
    files = sorted(images.rglob("*.png"))
    assert grown.predict(files) == fitted.predict(files)
    renamed = grown.rename_classes({"class_2": "a red bird"}, encode=True, progress=False)
    assert not torch.equal(renamed.adapter.text[2], grown.adapter.text[2])
    assert torch.equal(renamed.adapter.text[:2], grown.adapter.text[:2])
    more = fake_images(tmp_path / "more", num_classes=1, per_class=2, seed=9)
    listed = sorted(path for path in more.rglob("*.*") if path.is_file())
    assert len(grown.add_shots(listed, ["class_0"] * 2, **how).shots) == 11


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], r"at least two classes \(got 1\)"),
        (["a", " "], "text with letters"),
        (["a", "b", "a"], "Two classes have the name 'a'"),
    ],
)
def test_names_that_make_no_classifier(model, names, message):
    with pytest.raises(ValueError, match=message):
        FewShotClassifier.from_names(names, model=model, encoding=NO_CACHE)


def test_no_shots_of_a_folder_are_the_names_of_its_classes(model, tmp_path):
    images = fake_images(tmp_path / "images", num_classes=3, per_class=3)
    how = {"model": model, "encoding": NO_CACHE, "progress": False}
    fitted = FewShotClassifier.fit(images, 0, measure=True, **how)
    names = FewShotClassifier.from_names(fitted.class_names, model=model, encoding=NO_CACHE)
    assert torch.equal(fitted.adapter.text, names.adapter.text)
    assert fitted.method == "zero_shot"
    assert fitted.measured["kind"] == "not drawn"
    assert fitted.measured["images"] == 9
    with pytest.raises(ValueError, match="only the zero-shot classifier"):
        FewShotClassifier.fit(images, 0, method="gda", **how)


def test_a_grown_classifier_knows_all_its_shots(data):
    start = fit(data, 2)
    rest = part_of(data, 5, 4)
    grown = start.add_shots(Features(rest.train.x + 0.01, rest.train.y), progress=False)
    assert len(start.shot_hashes) == 10
    assert set(start.shot_hashes) < set(grown.shot_hashes)
    assert len(grown.shot_hashes) == 30


def test_growth_without_texts(data):
    bare = replace(part_of(data, 3), text=None)
    start = fit(bare, method="gda", measure=True)
    assert "zero-shot accuracy (%)" not in start.measured
    grown = start.add_classes(replace(without_first(data, 3), text=None), progress=False)
    assert grown.class_names == data.class_names
    at_once = fit(replace(data, text=None), method="gda")
    x = data.test.mean_views()
    torch.testing.assert_close(
        grown.predict_proba(x), at_once.predict_proba(x), atol=1e-3, rtol=1e-3
    )
    assert grown.training["texts"] == "none"
    with pytest.raises(ValueError, match="fitted without texts, so names say nothing"):
        start.add_classes(["a", "b"])
    with pytest.raises(ValueError, match="no texts, and without shots"):
        fit(bare, 0)
