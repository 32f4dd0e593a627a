from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from pyg_graphadapter import (
    EncodingConfig,
    FeatureFile,
    Features,
    FewShotClassifier,
    TrainConfig,
)
from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.testing import fake_features, fake_images
from pyg_graphadapter.training import held_out
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


def plain(classifier, x):
    """Probabilities without the temperature, whose folds depend on the order of the shots."""
    return classifier.predict_proba(x, calibrated=False)


@pytest.mark.parametrize("method", METHODS)
def test_shots_in_two_steps_are_those_of_one(data, method):
    start = fit(part_of(data, 5, 0, 4), method=method)
    rest = part_of(data, 5, 4)
    grown = start.add_shots(rest, progress=False)
    assert len(start.shots) == 20
    assert len(grown.shots) == 40
    assert grown.training["shots"] == 8 if method != "zero_shot" else True
    if not adapter_class(method).is_trained and method != "zero_shot":
        at_once = fit(data, method=method, **start.adapter.settings())
        x = data.test.mean_views()
        torch.testing.assert_close(plain(grown, x), plain(at_once, x), atol=1e-3, rtol=1e-3)


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
    with pytest.warns(UserWarning, match="no shot of 'a', 'b': (the|linear_probe|clap|ss_text)"):
        grown = start.add_classes(["a", "b"], text=data.text[3:], progress=False)
    assert grown.class_names == (*start.class_names, "a", "b")
    assert grown.adapter.num_classes == 5
    assert grown.predict_proba(data.test.mean_views()).shape == (100, 5)
    assert len(grown.shots) == len(start.shots)
    own_texts = grown.predict(data.text[3:])
    assert own_texts == ["a", "b"]
    assert grown.training["classes_without_shots"] == ["a", "b"]


def test_images_of_named_classes_are_recognised():
    data = fake_features(num_classes=8, channels=64, shots=8, text_noise=0.5, image_noise=0.7)
    start = fit(part_of(data, 6), method="linear_probe")
    with pytest.warns(UserWarning, match=r"linear_probe hardly ever .* as gda"):
        grown = start.add_classes(["a", "b"], text=data.text[6:], progress=False)
    predicted = grown.predict_proba(data.test.mean_views()).argmax(dim=1)
    is_right = (predicted == data.test.y).double()
    assert is_right[data.test.y >= 6].mean() > 0.8
    assert is_right[data.test.y < 6].mean() > 0.9


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


def test_images_in_another_batch_are_not_added_twice(data):
    start = fit(data, 2, method="gda")
    noise = torch.randn(start.shots.x.shape, generator=torch.Generator().manual_seed(0))
    again = Features(3 * (start.shots.x + 1e-6 * noise), start.shots.y)
    new = part_of(data, 5, 7).train
    both = Features(torch.cat([again.x, 1.01 * new.x]), torch.cat([again.y, new.y]))
    with pytest.warns(UserWarning, match="are among the classifier's shots"):
        grown = start.add_shots(both, progress=False)
    copies = torch.cosine_similarity(new.x, start.shots.x.transpose(0, 1), dim=2).amax(1) > 0.999
    assert len(grown.shots) == 10 + int((~copies).sum())
    assert len(grown.shot_hashes) == len(grown.shots)
    # With another label, it is a correction that is added:
    other = Features(again.x, (again.y + 1) % 5)
    with pytest.warns(UserWarning, match="10 of 10 images are shots of another class already"):
        assert len(start.add_shots(other, progress=False).shots) == 20


def test_shots_that_are_added_to_another_class_are_named(data):
    classifier = FewShotClassifier.fit(data, shots=4, keep_shots=True, progress=False)
    again = classifier.shots.select(torch.arange(3)).mean_views()
    other = data.class_names[int(classifier.shots.y[:3].max()) + 1]
    with pytest.warns(UserWarning, match="3 of 3 images are shots of another class already"):
        grown = classifier.add_shots(again, [other] * 3)
    assert len(grown.shots) == len(classifier.shots) + 3


def test_kept_shots_are_known_in_another_batch_when_they_are_measured(data):
    start = fit(data, 2, method="gda")
    again = Features(2 * start.shots.x + 1e-6, start.shots.y)
    with pytest.warns(UserWarning, match="10 of 10 images that the classifier is measured on"):
        assert start.evaluate(again).num_shots == 10
    assert start.evaluate(data).num_shots == 0


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


def test_other_names_keep_what_was_selected(data):
    start = fit(data, select=True)
    assert "alpha" in start.selected
    renamed = start.rename_classes({"class 0": "dog"})
    with pytest.warns(UserWarning, match="no shot"):
        extended = renamed.add_classes(["cat"], text=data.text[:1] + 0.1 * data.text[1:2])
    assert start.selected == renamed.selected == extended.selected
    fitted_on = []

    def prepare_method(method, task, config, settings, **how):
        fitted_on.append((settings, how["select"]))
        return original(method, task, config, settings, **how)

    original = held_out.prepare_method
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "prepare_method", prepare_method)
        x, y = data.test.mean_views()[:5], ["dog"] * 5
        grown = renamed.add_shots(x, y, measure=True, progress=False)
    assert grown.temperature != 1  # by the same folds
    assert grown.measured["kind"] == "cross-validated"
    assert len(fitted_on) == 5
    assert all("alpha" not in settings and select for settings, select in fitted_on)


def test_text_features_are_of_names_alone(data):
    start = fit(part_of(data, 3))
    rest = without_first(data, 3)
    x, names = rest.train.mean_views(), [rest.class_names[c] for c in rest.train.y]
    for arguments in ((x, names), (rest,), (rest.train,)):
        with pytest.raises(ValueError, match=r"'text' has one row per name .*FeatureFile\("):
            start.add_classes(*arguments, text=rest.text)


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("is_saved", [True, False])
def test_files_without_class_names_add_no_classes(data, tmp_path, texts, is_saved):
    """Their numbers are those of the classifier's classes, as in evaluate."""
    start = fit(part_of(data, 5, 0, 4), method="gda")
    unnamed = FeatureFile.from_arrays(
        data.train.mean_views(), data.train.y, text_features=data.text if texts else None
    )
    if is_saved:
        unnamed.save(tmp_path / "f.npz")
        unnamed = tmp_path / "f.npz"
    with pytest.raises(ValueError, match=r"no names but numbers.*'class_names'.*add_shots"):
        start.add_classes(unnamed)
    with pytest.warns(UserWarning, match="20 of 40 images are among"):
        grown = start.add_shots(unnamed, progress=False)
    assert grown.class_names == data.class_names
    with pytest.warns(UserWarning, match="40 of 40 images that the classifier is measured on"):
        grown.evaluate(unnamed)
    named = start.add_classes(part_of(data, 5, 4), progress=False)
    x = data.test.mean_views()
    torch.testing.assert_close(plain(grown, x), plain(named, x))


def test_a_file_without_names_has_the_first_classes_or_none(data):
    start = fit(part_of(data, 5, 0, 4), method="gda")
    first = FeatureFile.from_arrays(data.test.mean_views()[:40], data.test.y[:40])
    assert len(first.class_names) == 2
    assert len(start.add_shots(first, progress=False).shots) == 60
    more = FeatureFile.from_arrays(data.test.mean_views()[:40], data.test.y[:40] + 4)
    with pytest.raises(ValueError, match=r"no image|Labels must lie in"):
        start.add_shots(more, progress=False)
    without = fit(FeatureFile.from_arrays(data.train.mean_views(), data.train.y), method="gda")
    assert without.class_names == ("0", "1", "2", "3", "4")
    six = torch.cat([data.train.y, torch.full((20,), 5)])
    x = torch.cat([data.train.mean_views() + 0.01, data.test.mean_views()[80:]])
    grown = without.add_classes(FeatureFile.from_arrays(x, six), progress=False)
    assert grown.class_names == ("0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2, 2], dtype=object),
        np.array(["class 2", "class 2"], dtype=object),
        np.array(["class 2", "class 2"]),
        [np.int64(2), np.uint8(2)],
        torch.tensor([2, 2]),
        pd.Series(["class 2", "class 2"]),
        ("class 2", np.str_("class 2")),
        [2, "class 2"],
    ],
)
def test_labels_of_any_kind(data, labels):
    start = fit(part_of(data, 3), method="gda")
    x = data.test.mean_views()[data.test.y == 2][:2]
    grown = start.add_shots(x, labels, progress=False)
    assert grown.shots.y[-2:].tolist() == [2, 2]
    assert start.evaluate(x, labels).accuracy == start.evaluate(x, [2, 2]).accuracy


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2.0, 2.0], "The label 2.0 is no class"),
        ([True, False], "The label True is no class"),
        ([None, None], "The label None is no class"),
        (np.array([[2], [2]]), r"The label \[2\] is no class"),
        ([3, 3], "The label 3 is no class"),
        ([-1, -1], "The label -1 is no class"),
        ([2], "1 label for 2 images"),
        ("class 2", "1 label for 2 images"),
        (2, "1 label for 2 images"),
        (["3", "3"], "does not have the class '3'"),
    ],
)
def test_labels_that_are_none(data, labels, message):
    start = fit(part_of(data, 3), method="gda")
    x = data.test.mean_views()[data.test.y == 2][:2]
    with pytest.raises(ValueError, match=message):
        start.add_shots(x, labels, progress=False)


@pytest.mark.parametrize(
    ("data_", "message"),
    [
        ([], "no name of a new class"),
        ((), "no name of a new class"),
        (np.array([]), "no name of a new class"),
        (["a", 3], "3 is no class name"),
        (["cat.jpg", "dog.jpg"], "'cat.jpg' is no class name: give the labels of images"),
        (np.array(["a", None], dtype=object), "None is no class name"),
        (5, "got a int"),
        ({"a": 1}, "got a dict"),
        ([1, 2], "got a list"),
        (None, "got a NoneType"),
    ],
)
def test_what_adds_no_classes(data, data_, message):
    start = fit(part_of(data, 3))
    with pytest.raises(ValueError, match=message):
        start.add_classes(data_)


def test_what_is_added_needs_labels(data):
    start = fit(part_of(data, 3))
    for bare in (data.train.mean_views(), ["a.jpg", "b.jpg"], [], None):
        with pytest.raises(ValueError, match=r"need labels \(got a \w+ alone\)"):
            start.add_shots(bare)


@pytest.mark.parametrize("names", [np.array(["a", "b"]), ("a", "b"), pd.Index(["a", "b"])])
def test_names_of_any_kind(data, names):
    start = fit(part_of(data, 3))
    with pytest.warns(UserWarning, match="no shot of 'a', 'b'"):
        assert start.add_classes(names, text=data.text[3:]).class_names[3:] == ("a", "b")


def test_nothing_to_add(data):
    start = fit(part_of(data, 3))
    for add in (start.add_shots, start.add_classes):
        with pytest.raises(ValueError, match="There is nothing to add"):
            add([], [])


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


@pytest.mark.filterwarnings("ignore:The class names tell")
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
    # Images are known by their hashes, too, whatever their features are:
    grown.shots = Features(torch.randn(grown.shots.x.shape), grown.shots.y)
    with pytest.warns(UserWarning, match="3 of 3 images are among"):
        same = grown.add_shots(sorted((images / "class_1").iterdir()), ["class_1"] * 3, **how)
    assert len(same.shots) == 9


@pytest.mark.parametrize("add", ["add_shots", "add_classes"])
def test_broken_images_are_counted_and_named(model, tmp_path, add):
    images = fake_images(tmp_path / "images", num_classes=2, per_class=4)
    how = {"encoding": NO_CACHE, "progress": False}
    start = FewShotClassifier.fit(images, model=model, method="gda", keep_shots=True, **how)
    more = fake_images(tmp_path / "more", num_classes=2, per_class=3, seed=5)
    (more / "class_0" / "1.png").write_bytes(b"no image")
    listed = sorted(path for path in more.rglob("*.*") if path.is_file())
    labels = [path.parent.name for path in listed]
    with pytest.warns(UserWarning, match=r"1 of 6 images is left out: .*class_0/1\.png cannot be"):
        grown = getattr(start, add)(listed, labels, **how)
    assert grown.shots.y[8:].tolist() == [0, 0, 1, 1, 1]
    whole = start.add_shots(more, **how)
    x = start.shots.mean_views()
    torch.testing.assert_close(grown.predict_proba(x), whole.predict_proba(x), atol=1e-4, rtol=0)
    strict = EncodingConfig(cache=False, strict=True)
    with pytest.raises(ValueError, match=r"class_0/1\.png cannot be decoded"):
        getattr(start, add)(listed, labels, encoding=strict)
    with pytest.raises(ValueError, match=r"No image can be decoded.*1\.png"):
        getattr(start, add)([more / "class_0" / "1.png"], ["class_0"], **how)


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
    torch.testing.assert_close(plain(grown, x), plain(at_once, x), atol=1e-3, rtol=1e-3)
    assert grown.training["texts"] == "none"
    with pytest.raises(ValueError, match="fitted without texts, so names say nothing"):
        start.add_classes(["a", "b"])
    with pytest.raises(ValueError, match="no texts, and without shots"):
        fit(bare, 0)
