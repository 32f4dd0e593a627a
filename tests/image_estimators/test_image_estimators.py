"""Images in pipelines and searches of scikit-learn."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils import get_tags

from pyg_graphadapter import (
    Encoder,
    EncodingConfig,
    FewShotClassifier,
    FewShotImageClassifier,
    GraphAdapterClassifier,
    ImageEncoder,
    ImageFeatures,
    TrainConfig,
)
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.data import load_images
from pyg_graphadapter.image_estimators import encoders
from pyg_graphadapter.testing import fake_images
from pyg_graphadapter.training import evidence

FAST = {"config": TrainConfig(epochs=3), "select": False}


@pytest.fixture(autouse=True)
def _own_process(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path_factory.mktemp("cache")))
    encoders._encoders.clear()
    evidence._told.clear()


@pytest.fixture
def model(checkpoint):
    return str(checkpoint("clip"))


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "photos", num_classes=3, per_class=6)


@pytest.fixture
def data(folder):
    paths = sorted(map(str, folder.rglob("*.*")))
    return paths, np.array([path.split("/")[-2] for path in paths])


@pytest.fixture
def counts(monkeypatch):
    """The numbers of images that went through the encoder, and of models that were loaded."""
    counts = {"images": 0, "models": 0, "texts": 0}
    image_features, from_pretrained = Encoder.image_features, Encoder.from_pretrained
    text_features = Encoder.text_features

    def counted(self, batch, preprocessing):
        x = image_features(self, batch, preprocessing)
        counts["images"] += len(x)
        return x

    def counted_texts(self, texts):
        counts["texts"] += 1
        return text_features(self, texts)

    def loaded(*args, **kwargs):
        counts["models"] += 1
        encoder = from_pretrained(*args, **kwargs)
        counts["texts"] = 0  # the check of the model
        return encoder

    monkeypatch.setattr(Encoder, "image_features", counted)
    monkeypatch.setattr(Encoder, "text_features", counted_texts)
    monkeypatch.setattr(Encoder, "from_pretrained", loaded)
    return counts


@pytest.fixture
def _poor_names():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The class names tell this model little")
        yield


@pytest.mark.usefixtures("_poor_names")
@pytest.mark.parametrize("method", ["graph_adapter", "gda", "tip_adapter"])
@pytest.mark.parametrize("shots", [2, "all"])
def test_it_is_the_classifier_that_fit_makes(data, folder, model, method, shots):
    X, y = data
    config = TrainConfig(epochs=3, seed=5)
    train = load_images(folder)["train"]
    names = train.features["label"].names
    X = train["image"]
    y = [names[label] for label in train["label"]]
    expected = FewShotClassifier.fit(
        folder, shots, 5, method, config, model=model, progress=False, select=False
    )
    estimator = FewShotImageClassifier(
        model, method, shots=shots, config=config, select=False, random_state=5
    ).fit(X, y)
    assert estimator.classes_.tolist() == list(expected.class_names)
    proba = estimator.predict_proba(X)
    np.testing.assert_allclose(proba, expected.predict_proba(X).numpy(), atol=1e-5)
    assert proba.shape == (18, 3)
    assert estimator.predict(X).tolist() == expected.predict(X)
    assert estimator.score(X, y) == np.mean(estimator.predict(X) == np.array(y))
    assert estimator.classifier_.shot_hashes == expected.shot_hashes
    assert estimator.classifier_.encoding == expected.encoding


@pytest.mark.usefixtures("_poor_names")
def test_the_classifier_can_be_saved(data, model, tmp_path):
    X, y = data
    estimator = FewShotImageClassifier(model, **FAST).fit(X, y)
    estimator.classifier_.save(tmp_path / "saved")
    assert FewShotClassifier.load(tmp_path / "saved").predict(X) == estimator.predict(X).tolist()


@pytest.mark.usefixtures("_poor_names")
def test_a_search_encodes_each_image_once(data, model, counts):
    X, y = data
    grid = {"method": ["gda", "graph_adapter"], "settings": [{}, {"alpha": 0.3}]}
    search = GridSearchCV(FewShotImageClassifier(model, **FAST), grid, cv=3).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.predict(X)) <= set(y)
    assert counts == {"images": len(X), "models": 1, "texts": 1}


@pytest.mark.usefixtures("_poor_names")
def test_a_search_in_several_processes(data, model):
    X, y = data
    fits = [
        GridSearchCV(
            FewShotImageClassifier(model, "gda", **FAST),
            {"settings": [{"alpha": 0.3}, {"alpha": 3.0}]},
            cv=2,
            n_jobs=jobs,
        ).fit(X, y)
        for jobs in (1, 2)
    ]
    scores = [fit.cv_results_["mean_test_score"].tolist() for fit in fits]
    assert scores[0] == scores[1]


def test_poor_class_names_are_told_once(data, model, monkeypatch):
    X, y = data
    monkeypatch.setattr(Evidence, "says_little", True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GridSearchCV(
            FewShotImageClassifier(model, "gda", **FAST), {"settings": [{}, {"alpha": 0.3}]}, cv=2
        ).fit(X, y)
    told = [str(w.message) for w in caught if "class names tell" in str(w.message)]
    assert len(told) == 1


def test_poor_texts_of_features_are_told_once(monkeypatch):
    monkeypatch.setattr(Evidence, "says_little", True)
    rng = np.random.default_rng(0)
    X, y, text = rng.normal(size=(60, 16)), np.repeat(np.arange(6), 10), rng.normal(size=(6, 16))
    estimators = [GraphAdapterClassifier(epochs=1).fit for _ in range(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for fit in estimators:
            fit(X, y, text_features=text)
        GraphAdapterClassifier(epochs=1).fit(X, y, text_features=-text)
    told = [str(w.message) for w in caught if "class names tell" in str(w.message)]
    assert len(told) == 2  # of two sets of texts


def resized(paths):
    return [Image.open(path).convert("RGB").resize((24, 24)) for path in paths]


@pytest.mark.usefixtures("_poor_names")
def test_as_the_last_step_of_a_pipeline(data, model):
    X, y = data
    small = FunctionTransformer(resized)
    pipeline = make_pipeline(small, FewShotImageClassifier(model, "gda", **FAST))
    scores = cross_val_score(pipeline, X, y, cv=StratifiedKFold(2), error_score="raise")
    assert scores.shape == (2,)
    assert pipeline.fit(X, y).predict(X[:2]).shape == (2,)


@pytest.mark.usefixtures("_poor_names")
def test_features_in_a_pipeline_with_any_classifier(data, model, counts):
    X, y = data
    features = ImageFeatures(model)
    texts = features.text_features(sorted(set(y)))
    pipeline = Pipeline(
        [("features", features), ("unit", Normalizer()),
         ("classifier", GraphAdapterClassifier(epochs=2, random_state=0))]
    )  # fmt: skip
    search = GridSearchCV(pipeline, {"classifier__alpha": [0.3, 0.7]}, cv=2)
    search.fit(X, y, classifier__text_features=texts)
    assert counts["images"] == len(X)
    assert counts["models"] == 1
    assert set(search.predict(X)) <= set(y)


def test_features_are_those_of_the_encoder(data, model):
    X, _ = data
    encoder = Encoder.from_pretrained(model)
    features = ImageFeatures(model)
    x = features.fit_transform(X)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, encoder.encode_images(X).x[:, 0].numpy(), atol=1e-6)
    assert len(features.get_feature_names_out()) == x.shape[1]
    np.testing.assert_array_equal(ImageFeatures(encoder).transform(X), x)
    texts = features.text_features(["a cat", "a dog"])
    expected = encoder.encode_text(["a cat", "a dog"]).numpy()
    assert list(texts) == ["a cat", "a dog"]
    np.testing.assert_allclose(np.stack(list(texts.values())), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["list", "paths", "array", "series", "frame", "column of a frame",
                                  "pil", "bytes", "pixels", "columns of datasets"])  # fmt: skip
def test_what_an_x_is(data, folder, model, form):
    X, _ = data
    pictures = [Image.open(path).convert("RGB") for path in X]
    expected = ImageFeatures(model).transform(X)
    forms = {
        "list": lambda: tuple(X),
        "paths": lambda: list(folder.parent.joinpath(path) for path in X),
        "array": lambda: np.array(X),
        "series": lambda: pd.Series(X),
        "frame": lambda: pd.DataFrame({"path": X, "label": range(len(X))}),
        "column of a frame": lambda: pd.DataFrame({"anything": X}),
        "pil": lambda: pictures,
        "bytes": lambda: [Path(path).read_bytes() for path in X],
        "pixels": lambda: np.stack([np.asarray(picture) for picture in pictures]),
        "columns of datasets": lambda: load_images(folder)["train"]["image"],
    }
    x = ImageFeatures(model).transform(forms[form]())
    if form == "columns of datasets":
        x, expected = np.sort(x, axis=0), np.sort(expected, axis=0)
    np.testing.assert_allclose(x, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("a.png", r"must be a list of images \(got one image\)"),
        (Image.new("RGB", (8, 8)), "got one image"),
        (np.zeros((4, 8)), "For features use GraphAdapterClassifier"),
        (3, "must be a list of images"),
        ([np.zeros(8)], "as entry 0"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "one column of images"),
    ],
)
def test_what_no_x_is(model, wrong, message):
    with pytest.raises(ValueError, match=message):
        ImageFeatures(model).transform(wrong)


def test_an_image_that_cannot_be_decoded(data, model, tmp_path):
    X, y = data
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    X = [*X[:4], str(bad), *X[5:]]
    for call in (
        lambda: ImageFeatures(model).transform(X),
        lambda: FewShotImageClassifier(model, "gda", **FAST).fit(X, y),
    ):
        with pytest.raises(ValueError, match=r"1 of the 18 images in X cannot be decoded.*index"):
            call()


@pytest.mark.usefixtures("_poor_names")
def test_class_names(data, model):
    X, y = data
    numbers = np.array([int(name[-1]) for name in y])
    by_name = FewShotImageClassifier(model, **FAST).fit(X, y)
    sequence = FewShotImageClassifier(model, class_names=sorted(set(y)), **FAST).fit(X, numbers)
    table = dict(enumerate(sorted(set(y)))) | {9: "not there"}
    mapping = FewShotImageClassifier(model, class_names=table, **FAST).fit(X, numbers)
    assert sequence.classes_.tolist() == [0, 1, 2]
    for other in (sequence, mapping):
        np.testing.assert_array_equal(other.predict_proba(X), by_name.predict_proba(X))
        assert other.classifier_.class_names == by_name.classifier_.class_names
    assert set(sequence.predict(X)) <= {0, 1, 2}
    with pytest.raises(ValueError, match=r"no name for the labels \[2\]"):
        FewShotImageClassifier(model, class_names=["a", "b"], **FAST).fit(X, numbers)
    with pytest.raises(ValueError, match="belong to labels that count from 0"):
        FewShotImageClassifier(model, class_names=["a", "b", "c"], **FAST).fit(X, y)


def test_an_encoder_without_texts(data):
    def colours(pixels):
        return pixels.mean(dim=(2, 3)) + 1

    def as_tensor(image):
        import torch

        return torch.tensor(np.asarray(image.resize((8, 8)))).permute(2, 0, 1) / 255

    X, y = data
    encoder = ImageEncoder(colours, as_tensor, name="colours", version="1")
    estimator = FewShotImageClassifier(encoder, "gda", **FAST)
    assert clone(estimator).model is encoder
    assert cross_val_score(estimator, X, y, cv=2, error_score="raise").mean() > 0.8
    with pytest.raises(ValueError, match="text"):
        FewShotImageClassifier(encoder, "zero_shot", **FAST).fit(X, y)


@pytest.mark.usefixtures("_poor_names")
def test_the_protocol_of_estimators(data, model):
    X, y = data
    estimator = FewShotImageClassifier(model, "gda", shots=2, settings={"alpha": 0.3}, **FAST)
    copy = clone(estimator).set_params(shots=1)
    assert copy.get_params()["shots"] == 1
    assert estimator.get_params() | {"shots": 1} == copy.get_params()
    tags = get_tags(estimator)
    assert tags.estimator_type == "classifier"
    assert not tags.input_tags.two_d_array
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    assert estimator.fit(X, y) is estimator
    assert estimator.get_params() == clone(estimator).get_params()
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))
    assert clone(ImageFeatures(model)).model == model


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "transclip"}, ValueError, "is transductive"),
        ({"method": "nope"}, ValueError, "Unknown method"),
        ({"settings": {"nope": 1}}, ValueError, "no setting 'nope'"),
        ({"shots": 7}, ValueError, "fewer than 7 images"),
        ({"encoding": EncodingConfig(views=2)}, ValueError, "Images have one view"),
    ],
)
def test_what_is_refused(data, model, arguments, error, message):
    X, y = data
    with pytest.raises(error, match=message):
        FewShotImageClassifier(model, **{**FAST, **arguments}).fit(X, y)


def test_labels_that_do_not_belong_to_the_images(data, model):
    X, y = data
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        FewShotImageClassifier(model, **FAST).fit(X, y[:-1])


@pytest.mark.parametrize("missing", [float("nan"), None, pd.NA])
def test_a_missing_label_is_no_class(data, model, missing):
    X, y = data
    labels = [missing, *map(str, list(y)[1:])]
    for form in (list, lambda labels: pd.Series(labels, dtype=object)):
        with pytest.raises(ValueError, match=r"1 of .* labels are missing, .* index 0"):
            FewShotImageClassifier(model, **FAST).fit(X, form(labels))


def test_a_model_that_is_written_anew_is_loaded_anew(data, checkpoint, tmp_path, counts):
    import os
    import shutil

    X, _ = data
    model = shutil.copytree(checkpoint("clip"), tmp_path / "model")
    for _ in range(2):
        ImageFeatures(model).transform(X)
    assert counts["models"] == 1
    os.utime(model / "model.safetensors", ns=(1, 1))
    ImageFeatures(model).transform(X)
    assert counts["models"] == 2
