import json
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_graphadapter import FeatureFile, Features, FewShotClassifier, GraphAdapter
from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.encoding.sources import FileSource
from pyg_graphadapter.testing import fake_features


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=4, channels=8)


@pytest.fixture(scope="module")
def classifier(data):
    return FewShotClassifier.fit(data, shots=2, progress=False, bias="shared")


def test_predictions(classifier, data):
    x = data.test.mean_views()
    probability = classifier.predict_proba(x)
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(len(x)))
    best = [data.class_names[c] for c in probability.argmax(dim=1)]
    assert classifier.predict(x) == best
    assert classifier.predict_proba(x[:0]).shape == (0, 4)


@pytest.mark.parametrize("method", ["graph_adapter", "zero_shot"])
def test_save_and_load_give_the_same_bits(data, tmp_path, method):
    fitted = FewShotClassifier.fit(data, shots=2, method=method, progress=False)
    fitted.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    x = data.test.mean_views()
    assert torch.equal(loaded.predict_proba(x), fitted.predict_proba(x))
    assert loaded.class_names == data.class_names
    assert loaded.method == method
    assert loaded.training == fitted.training
    assert loaded.adapter.settings() == fitted.adapter.settings()
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "classifier.json",
        "classifier.safetensors",
    }


METHODS_WITHOUT_TEXT = [m for m in adapter_names() if not adapter_class(m).needs_text]


@pytest.mark.parametrize("method", METHODS_WITHOUT_TEXT)
@pytest.mark.parametrize("shots", [1, 4])
def test_classifiers_without_texts_are_loaded(data, tmp_path, method, shots):
    bare = replace(data, text=None)
    fitted = FewShotClassifier.fit(
        bare, shots=shots, method=method, keep_shots=True, progress=False
    )
    fitted.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    x = data.test.mean_views()
    assert torch.equal(loaded.predict_proba(x), fitted.predict_proba(x))
    assert not loaded.has_text
    assert loaded.evaluate(data).accuracy > 40
    more = loaded.add_shots(x, data.test.y.tolist(), progress=False)
    assert not more.has_text
    assert len(more.shots) == 4 * shots + len(x)


def test_others_may_read_what_was_saved(classifier, tmp_path):
    classifier.save(tmp_path / "c")
    (tmp_path / "plain").touch()
    expected = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    for path in (tmp_path / "c").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == expected


def test_a_loaded_classifier_takes_new_classes(classifier, data, tmp_path):
    classifier.save(tmp_path / "c")
    adapter = FewShotClassifier.load(tmp_path / "c").adapter
    assert isinstance(adapter, GraphAdapter)
    assert adapter.extend(data.text[:2]).num_classes == 6


def test_features_that_do_not_fit(classifier):
    with pytest.raises(ValueError, match=r"features 8 wide \(got \[2, 9\]\)"):
        classifier.predict(torch.ones(2, 9))
    with pytest.raises(ValueError, match="finite"):
        classifier.predict(torch.full((2, 8), torch.nan))


def test_unknown_methods_list_the_choices(data):
    with pytest.raises(ValueError, match=r"'x'. Choose from graph_adapter, zero_shot"):
        FewShotClassifier.fit(data, shots=1, method="x")


DIGITS = ("0", "1", "10", "11", *map(str, range(2, 10)))  # as folders are sorted


@pytest.fixture(scope="module")
def digits():
    data = replace(fake_features(num_classes=12, channels=16), class_names=DIGITS)
    return data, FewShotClassifier.fit(data, method="gda", progress=False)


def test_text_labels_that_are_digits_are_names(digits, tmp_path):
    data, classifier = digits
    x, y = data.test.mean_views(), data.test.y
    expected = classifier.evaluate(data).accuracy
    names = [DIGITS[c] for c in y]
    named = FeatureFile.from_arrays(x, names)
    assert named.class_names == tuple(map(str, range(12)))
    assert not named.is_numbered
    in_order = FeatureFile.from_arrays(x, [int(n) for n in names], class_names=named.class_names)
    in_order.save(tmp_path / "f.npz")
    for by_name in (named, in_order, tmp_path / "f.npz"):
        assert classifier.evaluate(by_name).accuracy == expected
    assert classifier.evaluate(x, names).accuracy == expected


def test_numbers_are_positions_also_beside_names_that_are_digits(digits, tmp_path):
    data, classifier = digits
    x, y = data.test.mean_views(), data.test.y
    expected = classifier.evaluate(data).accuracy
    numbered = FeatureFile.from_arrays(x, y)
    assert numbered.is_numbered
    numbered.save(tmp_path / "f.npz")
    numbered.save(tmp_path / "f.safetensors")
    for by_position in (numbered, tmp_path / "f.npz", tmp_path / "f.safetensors"):
        assert classifier.evaluate(by_position).accuracy == expected
    assert classifier.evaluate(x, y).accuracy == expected
    assert classifier.evaluate(x, y.tolist()).accuracy == expected
    assert classifier.evaluate(x, y.numpy().astype(object)).accuracy == expected


def test_numbers_as_text_that_are_no_names_count_the_classes(classifier):
    y = torch.tensor([0, 3, 1])
    assert classifier.own_labels(y, ("0", "1", "2", "3")).tolist() == [0, 3, 1]
    assert classifier.own_labels(y, None).tolist() == [0, 3, 1]
    with pytest.raises(ValueError, match="does not know the class '0'"):
        classifier.own_labels(torch.tensor([0]), ("0", "1"))


@pytest.mark.parametrize(
    ("data_", "message"),
    [
        (["a.jpg", "b.jpg"], "got list with str in row 0"),
        (("a.jpg",), "got tuple with str in row 0"),
        (np.ones((4, 8)), "got ndarray with ndarray in row 0"),
        (Features(torch.ones(2, 8), torch.tensor([0, 1])), "got Features"),
        (None, "got NoneType"),
        (5, "got int"),
    ],
)
@pytest.mark.parametrize("model", [None, "builtin"])
def test_what_has_no_labels_is_not_fitted(data_, message, model):
    with pytest.raises(ValueError, match=rf"folder of class folders.*{message}"):
        FewShotClassifier.fit(data_, model=model)


def test_a_folder_is_not_overwritten(classifier, tmp_path):
    classifier.save(tmp_path)
    with pytest.raises(ValueError, match="holds a classifier already"):
        classifier.save(tmp_path)
    classifier.save(tmp_path, overwrite=True)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds something else \(thesis.tex\)"):
        classifier.save(tmp_path, overwrite=True)


def test_nothing_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"classifier.json is missing"):
        FewShotClassifier.load(tmp_path)


def edited(folder, **changed):
    card = json.loads((folder / "classifier.json").read_text())
    card = {key: value for key, value in {**card, **changed}.items() if value is not None}
    (folder / "classifier.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "pyg_graphadapter/classifier/9"}, "format is 'pyg_graphadapter/classifier/9'"),
        ({"sha256": "0" * 64}, "not the file"),
        ({"sha256": "0"}, "'sha256' must be 64 long"),
        ({"logit_scale": 4.6}, "'logit_scale' must be between 5 and 1000"),
        ({"logit_scale": float("inf")}, "'logit_scale' must be a finite number"),
        ({"logit_scale": "100"}, "'logit_scale' must be a number"),
        ({"class_names": "abcd"}, "'class_names' must be a list"),
        ({"weights": "../classifier.safetensors"}, "no name of such a file"),
        ({"encoding": {"model": 1}}, "'encoding'.model must be text"),
        ({"method": "x"}, "made by the method 'x', which is not registered"),
        ({"method": "zero_shot"}, "not those of ZeroShot"),
        ({"class_names": ["a"]}, "1 class names for 4 classes"),
        ({"class_names": None}, "class_names"),
        ({"settings": {"alpha": 2.0}}, "'alpha' must be between"),
        ({"settings": {"nonsense": 2.0}}, "nonsense"),
        ({"settings": {"bias": "class"}}, "size mismatch"),
    ],
)
def test_cards_that_do_not_fit(classifier, tmp_path, changed, message):
    classifier.save(tmp_path)
    edited(tmp_path, **changed)
    with pytest.raises(ValueError, match=message) as error:
        FewShotClassifier.load(tmp_path)
    assert "cannot be read" in str(error.value)


@pytest.mark.parametrize("name", ["classifier.json", "classifier.safetensors"])
def test_damaged_files(classifier, tmp_path, name):
    classifier.save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="cannot be read"):
        FewShotClassifier.load(tmp_path)


def test_damaged_tensors_with_a_matching_sum(classifier, tmp_path):
    from pyg_graphadapter.storage import sha256

    classifier.save(tmp_path)
    (tmp_path / "classifier.safetensors").write_bytes(b"x" * 99)
    edited(tmp_path, sha256=sha256(b"x" * 99))
    with pytest.raises(ValueError, match="cannot be read"):
        FewShotClassifier.load(tmp_path)


def test_a_source_is_fitted_and_measured_as_its_features_are(data, classifier):
    fitted = FewShotClassifier.fit(
        FileSource(data, "file"), shots=2, measure=True, progress=False, bias="shared"
    )
    x = data.test.mean_views()
    assert torch.equal(fitted.predict_proba(x), classifier.predict_proba(x))
    assert fitted.selected == classifier.selected != {}
    assert fitted.encoding == classifier.measured == {}
    zero_shot = FewShotClassifier.fit(data, shots=2, method="zero_shot", progress=False)
    assert fitted.measured["kind"] == "test split"
    assert fitted.measured["accuracy (%)"] == round(fitted.evaluate(data).accuracy, 2)
    assert fitted.measured["zero-shot accuracy (%)"] == round(zero_shot.evaluate(data).accuracy, 2)
    assert fitted.measured["images"] == len(data.test)
    assert fitted.measured["skipped images"] == 0


def test_a_classifier_of_features_loads_nothing_that_reads_images(data, tmp_path):
    data.save(tmp_path / "features.safetensors")
    program = f"""
        import sys
        import torch_geometric  # it imports transformers itself, where that is installed

        def loaded():
            return {{m for m in sys.modules if m.split(".")[0] in ("datasets", "transformers")}}

        before = loaded()
        from pyg_graphadapter import FewShotClassifier
        from pyg_graphadapter.encoding.sources import open_source
        folder = {str(tmp_path)!r}
        source = open_source(folder + "/features.safetensors", None)
        fitted = FewShotClassifier.fit(source, shots=2, measure=True, progress=False)
        fitted.save(folder + "/classifier")
        fitted = FewShotClassifier.load(folder + "/classifier")
        fitted.predict(source.test().mean_views())
        fitted.evaluate(source.features())
        fitted.explain(class_name="class 0")
        fitted.export(folder + "/weights.safetensors")
        print(sorted(loaded() - before))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert run.stdout.split() == ["[]"], run.stderr


def test_repr(classifier):
    parameters = classifier.adapter.num_parameters()
    expected = f"FewShotClassifier(graph_adapter, 4 classes, 8 wide, {parameters:,} parameters"
    assert repr(classifier) == f"{expected})"
    classifier.encoding = {"model": "some/model"}
    try:
        assert repr(classifier) == f"{expected}, encoder 'some/model')"
    finally:
        classifier.encoding = {}


def test_classes_of_one_name_are_told_apart():
    data = fake_features(num_classes=4, shots=4)
    twice = replace(data, class_names=("ant", "crane", "bee", "crane"))
    expected = FewShotClassifier.fit(data, keep_shots=True, progress=False)
    with pytest.warns(UserWarning, match=r"told apart by their numbers, as 'crane \(1\)'"):
        classifier = FewShotClassifier.fit(twice, keep_shots=True, progress=False)
    assert classifier.class_names == ("ant", "crane (1)", "bee", "crane (3)")
    accuracy = expected.evaluate(data.test).accuracy
    assert classifier.evaluate(twice).accuracy == accuracy
    assert classifier.evaluate(data.test).accuracy == accuracy
    with pytest.warns(UserWarning, match="shots already"):
        grown = classifier.add_shots(twice, progress=False)
    assert grown.shots.y.bincount().tolist() == [4] * 4
    old = replace(classifier, class_names=twice.class_names)  # of an earlier version
    assert old.evaluate(twice).accuracy == accuracy
    x, y = data.test.mean_views(), data.test.y
    pd = pytest.importorskip("pandas")
    labels = pd.Series(y.numpy()).sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="the same rows in another order"):
        classifier.evaluate(pd.DataFrame(x.numpy()), labels)


def test_a_transductive_method_says_so(data):
    classifier = FewShotClassifier.fit(data, method="transclip", measure=True, progress=False)
    assert "transclip (transductive)" in repr(classifier)
    assert classifier.measured["classified together"] == "yes, unlabelled"
    assert "classified together (transductive)" in str(classifier.evaluate(data))
    x = data.test.mean_views()
    together = classifier.predict_proba(x)
    assert not torch.allclose(classifier.predict_proba(x[:5]), together[:5])
    with pytest.warns(UserWarning, match="classifies images together, and there is one alone"):
        classifier.predict(x[:1])
    for path in (None, "classifier.onnx"):
        with pytest.raises(ValueError, match=r"TransCLIP is transductive: .* no class weights to"):
            classifier.export(path)
    within = FewShotClassifier.fit(
        replace(data, test=None), method="transclip", measure=True, progress=False
    )
    assert within.measured["kind"] == "cross-validated"
    assert within.measured["classified together"] == "yes, unlabelled"
