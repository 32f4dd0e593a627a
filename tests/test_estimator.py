"""The scikit-learn estimator: the conformance suite, and its own behaviour."""

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyg_graphadapter import FewShotTask, GraphAdapterClassifier, TrainConfig
from pyg_graphadapter.adapters import ADAPTERS, Adapter, AdapterConfig, LinearAdapter, adapter_class
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.testing import fake_features

METHODS = [
    method for method in ADAPTERS if method != "coop" and not adapter_class(method).is_transductive
]
LINEAR = [method for method in METHODS if issubclass(adapter_class(method), LinearAdapter)]
FEW_EPOCHS = {"clap": 30, "clip_adapter": 50, "task_res": 50}  # instead of 100 to 300
# A setting of each method, other than its default:
SETTINGS = {
    "graph_adapter": {"alpha": 0.6, "k": 3},
    "zero_shot": {},
    "linear_probe": {"strength": 10.0},
    "clip_adapter": {"ratio": 0.6, "side": "both"},
    "tip_adapter": {"alpha": 3.0, "beta": 5.5},
    "tip_adapter_f": {"alpha": 3.0, "beta": 5.5},
    "task_res": {"scale": 0.1},
    "gda": {"alpha": 0.5},
    "lp_pp": {},
    "clap": {"constraint": "none"},
    "proker": {"beta": 2.0, "ridge": 3.0},
    "cross_modal": {"text_weight": 3.0},
    "hierarchical_lda": {"prior_shots": 1.0, "ridge": 0.5, "shrinkage": 3.0},
    "ss_text": {"repulsion": True},
    "ape": {"alpha": 8.0, "beta": 5.5, "gamma": 4.0, "channels": 0.3},
    "ape_t": {"alpha": 8.0, "beta": 5.5, "gamma": 4.0, "channels": 0.3},
}


def tolerance_of(method):
    """The rounding of probabilities in single precision; the solver of the linear probe stops at a
    tolerance."""
    return {"linear_probe": 1e-3, "lp_pp": 1e-4, "clap": 1e-4}.get(method, 1e-5)


def estimator_of(method, **parameters):
    epochs = FEW_EPOCHS.get(method)
    return GraphAdapterClassifier(method, **{"epochs": epochs, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def data():
    file = fake_features(num_classes=5, channels=16, shots=8, text_noise=0.5)
    return (
        file.train.mean_views().numpy(),
        file.train.y.numpy(),
        file.text.numpy(),
        file.test.mean_views().numpy(),
        file.test.y.numpy(),
    )


@parametrize_with_checks(
    [GraphAdapterClassifier(method, epochs=FEW_EPOCHS.get(method)) for method in METHODS]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def test_texts_help_at_one_shot(data):
    X, y, text, X_test, y_test = data
    first = np.unique(y, return_index=True)[1]
    without = GraphAdapterClassifier(random_state=0).fit(X[first], y[first])
    with_text = GraphAdapterClassifier(random_state=0).fit(X[first], y[first], text_features=text)
    assert with_text.score(X_test, y_test) > without.score(X_test, y_test)


def test_a_dictionary_of_texts_equals_the_matrix(data):
    X, y, text, X_test, _ = data
    names = np.array(["e", "a", "d", "b", "c"])[y]
    order = np.unique(names)
    by_label = {name: text[y[names == name][0]] for name in order}
    matrix = np.stack([by_label[name] for name in order])
    a = GraphAdapterClassifier(random_state=0).fit(X, names, text_features=by_label)
    b = GraphAdapterClassifier(random_state=0).fit(X, names, text_features=matrix)
    np.testing.assert_array_equal(a.predict_proba(X_test), b.predict_proba(X_test))
    assert set(a.predict(X_test)) <= set(order)


def test_the_same_random_state_gives_the_same_weights(data):
    X, y, text, _, _ = data
    fits = [
        GraphAdapterClassifier(batch_size=8, random_state=seed).fit(X, y, text_features=text)
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(fits[0].class_weights_, fits[1].class_weights_)
    assert (fits[0].class_weights_ != fits[2].class_weights_).any()


def test_grid_search_in_a_pipeline_with_routed_texts(data):
    X, y, text, X_test, y_test = data
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = GraphAdapterClassifier(random_state=0).set_fit_request(text_features=True)
        assert classifier.get_metadata_routing().fit.requests == {
            "text_features": True,
            "sample_weight": None,
            "callbacks": None,
        }
        pipeline = make_pipeline(FunctionTransformer(), classifier)
        search = GridSearchCV(pipeline, {"graphadapterclassifier__alpha": [0.7, 0.9]}, cv=2)
        search.fit(X, y, text_features=text)
        assert search.score(X_test, y_test) > 0.8
        assert len(search.cv_results_["params"]) == 2


def test_cross_validation_that_lacks_a_class_takes_a_dictionary(data):
    X, y, text, _, _ = data
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = GraphAdapterClassifier(random_state=0).set_fit_request(text_features=True)
        scores = cross_val_score(
            classifier, X, y, cv=2, params={"text_features": dict(enumerate(text))}
        )
    assert scores.min() > 0.5


def test_a_dictionary_of_texts_under_encoded_labels(data):
    X, y, text, _, _ = data
    names = np.array(["e", "a", "d", "b", "c"])
    texts = dict(zip(names, text, strict=True))
    expected = GraphAdapterClassifier(random_state=0).fit(X, names[y], texts).predict_proba(X)
    encoded = np.unique(names[y], return_inverse=True)[1]
    result = GraphAdapterClassifier(random_state=0).fit(X, encoded, texts).predict_proba(X)
    np.testing.assert_array_equal(result, expected)
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = GraphAdapterClassifier(random_state=0).set_fit_request(text_features=True)
        probability = cross_val_predict(
            classifier, X, names[y], cv=2, method="predict_proba", params={"text_features": texts}
        )
        assert (np.unique(names)[probability.argmax(axis=1)] == names[y]).mean() > 0.5
        voting = VotingClassifier([("a", classifier)], voting="soft")
        voting.fit(X, names[y], text_features=texts)
        np.testing.assert_array_equal(voting.predict_proba(X), expected)
    for labels in (encoded + 1, np.minimum(encoded, 3)):  # others, and fewer than the texts
        with pytest.raises(ValueError, match="no entry for the labels"):
            GraphAdapterClassifier().fit(X, labels, texts)


@pytest.mark.parametrize("missing", [float("nan"), np.float32("nan"), None])
def test_a_missing_label_is_no_class(data, missing):
    X, y, *_ = data
    labels = [f"class {i}" for i in y[:-2]] + [missing, missing]
    for form in (list, lambda labels: np.array(labels, dtype=object)):
        with pytest.raises(ValueError, match=rf"2 of {len(y)} labels are missing.* {len(y) - 2}\."):
            GraphAdapterClassifier().fit(X, form(labels))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (lambda text: text[:4], "one row per class"),
        (lambda text: text[:, :8], "one row per class"),
        (lambda text: np.full_like(text, np.nan), "text_features contains NaN"),
        (lambda text: {0: text[0]}, r"no entry for the labels \[.*1"),
    ],
)
def test_texts_that_do_not_fit(data, texts, message):
    X, y, text, _, _ = data
    with pytest.raises(ValueError, match=message):
        GraphAdapterClassifier().fit(X, y, text_features=texts(text))


def test_huge_and_zero_rows_stay_finite(data):
    X, y, _, _, _ = data
    X = X.astype(float) * 1e200
    X[0] = 0
    probability = GraphAdapterClassifier(random_state=0).fit(X, y).predict_proba(X)
    assert np.isfinite(probability).all()


# All methods ###########################################################################


@pytest.mark.parametrize("settings_are_set", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_probabilities_are_those_of_the_method_trained_alone(data, method, settings_are_set):
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    X, y, text, X_test, _ = data
    settings = SETTINGS[method] if settings_are_set else {}
    training = {"epochs": 4, "batch_size": 8} if settings_are_set else {}
    classifier = GraphAdapterClassifier(
        method, settings=settings, random_state=3, logit_scale=10.0, device="cpu", **training
    )
    classifier.fit(X, y, text_features=text)
    file = fake_features(num_classes=5, channels=16, shots=8, text_noise=0.5)
    alone = FewShotClassifier.fit(
        FewShotTask(file.class_names, file.text, file.train, logit_scale=10.0),
        method=method,
        config=TrainConfig(
            seed=int(np.random.RandomState(3).randint(2**31)), device="cpu", **training
        ),
        select=False,
        progress=False,
        **settings,
    )
    expected = alone.predict_proba(torch.from_numpy(X_test))
    np.testing.assert_allclose(
        classifier.predict_proba(X_test), expected, atol=tolerance_of(method)
    )
    assert classifier.adapter_.settings() == alone.adapter.settings()


@pytest.mark.parametrize("method", METHODS)
def test_a_setting_changes_the_method(data, method):
    X, y, text, X_test, _ = data
    if not SETTINGS[method]:
        pytest.skip("The method has no settings.")
    default, changed = (
        estimator_of(method, epochs=2, logit_scale=10.0, settings=settings)
        for settings in (None, SETTINGS[method])
    )
    default.fit(X, y, text_features=text)
    changed.fit(X, y, text_features=text)
    assert np.abs(default.predict_proba(X_test) - changed.predict_proba(X_test)).max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_linear_methods_alone_have_weights_and_biases(data, method):
    X, y, text, X_test, _ = data
    classifier = estimator_of(method, epochs=2).fit(X, y, text_features=text)
    assert hasattr(classifier, "class_weights_") == (method in LINEAR)
    if method in LINEAR:
        logits = 100.0 * X_test @ classifier.class_weights_.T + classifier.class_biases_
        np.testing.assert_allclose(classifier.decision_function(X_test), logits, atol=1e-4)
        has_biases = classifier.adapter_.class_biases() is not None
        assert classifier.class_biases_.any() == has_biases


@pytest.mark.filterwarnings("ignore:The class names tell")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("texts_are_given", [False, True])
def test_hard_data(data, method, texts_are_given):
    """One shot, two classes and one, unbalanced classes, zero and equal rows, extreme scales."""
    X, y, text, X_test, _ = data
    first = np.unique(y, return_index=True)[1]
    zero, scale = X.copy(), 10.0 ** np.linspace(-200, 200, len(X))[:, None]
    zero[::4] = 0
    unbalanced = np.union1d(np.flatnonzero(y == 0), first)
    cases = {
        "one shot": (X[first], y[first]),
        "two classes of one shot": (X[first[:2]], y[first[:2]]),
        "one class": (X[y == 3], y[y == 3]),
        "unbalanced": (X[unbalanced], y[unbalanced]),
        "zero rows": (zero, y),
        "zero rows alone": (np.zeros_like(X), y),
        "equal rows": (np.broadcast_to(X[:1], X.shape), y),
        "opposite rows": (np.concatenate([X[first], -X[first]]), np.tile(y[first], 2)),
        "scales": (X.astype(float) * scale, y),
    }
    for name, (rows, labels) in cases.items():
        texts = dict(enumerate(text)) if texts_are_given else None
        if name in ("zero rows alone", "opposite rows") and not texts_are_given:
            with pytest.raises(ValueError, match="mean of its samples is zero"):
                estimator_of(method, epochs=2).fit(rows, labels)
            continue
        classifier = estimator_of(method, epochs=2).fit(rows, labels, text_features=texts)
        probability = classifier.predict_proba(X_test)
        assert probability.shape == (len(X_test), len(np.unique(labels))), name
        assert np.isfinite(probability).all(), name
        np.testing.assert_allclose(probability.sum(axis=1), 1, err_msg=name)
        alone = np.concatenate([classifier.predict_proba(row[None]) for row in X_test[:5]])
        np.testing.assert_allclose(probability[:5], alone, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_neither_scale_nor_type_nor_order_nor_names_of_labels_matter(data, method):
    pd = pytest.importorskip("pandas")
    X, y, text, X_test, _ = data
    scale = 10.0 ** np.random.default_rng(0).integers(-30, 30, (len(X), 1))
    order = np.random.default_rng(0).permutation(len(X))
    names = np.array(["e", "d", "c", "b", "a"])  # their order is that of the labels, reversed
    columns = [f"feature {i}" for i in range(X.shape[1])]
    expected = estimator_of(method).fit(X, y, text_features=text).predict_proba(X_test)

    def probability(*data, tests=X_test):
        return estimator_of(method).fit(*data).predict_proba(tests)

    for result in (
        probability(X.astype(float) * scale, y, text),
        probability(X[order], y[order], text),
        probability(X, names[y], dict(zip(names, text, strict=True)))[:, ::-1],
        probability(X, names[y], text[::-1])[:, ::-1],
        probability(
            pd.DataFrame(X, columns=columns),
            pd.Series(y),
            pd.DataFrame(text, columns=columns),
            tests=pd.DataFrame(X_test, columns=columns),
        ),
    ):
        np.testing.assert_allclose(result, expected, atol=tolerance_of(method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_type_of_the_features_is_that_of_the_fit(data, method, is_weighted):
    X, y, text, X_test, _ = data
    weight = np.random.default_rng(0).random(len(X)) + 0.5 if is_weighted else None
    types = (np.float64, np.float32, np.float16)
    fits = [
        estimator_of(method, device="cpu").fit(X.astype(dtype), y, text, weight) for dtype in types
    ]
    if method in LINEAR:
        double, single = torch.float64, torch.float32
        assert [fit.adapter_.text.dtype for fit in fits] == [double, single, double]
    probability = [fit.predict_proba(X_test) for fit in fits]
    assert {rows.dtype for rows in probability} == {np.dtype(np.float64)}
    np.testing.assert_allclose(probability[0], probability[1], atol=tolerance_of(method))
    assert (probability[0] != probability[1]).any() or method == "zero_shot"
    np.testing.assert_allclose(probability[0], probability[2], atol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_copies_predict_the_same(data, method):
    X, y, _, X_test, _ = data
    classifier = estimator_of(method, epochs=2, settings=SETTINGS[method]).fit(X, y)
    expected = classifier.predict_proba(X_test)
    for same in (
        pickle.loads(pickle.dumps(classifier)),
        copy.deepcopy(classifier),
        clone(classifier).fit(X, y),
    ):
        np.testing.assert_array_equal(same.predict_proba(X_test), expected)


def test_grid_search_over_methods_and_settings(data):
    X, y, text, X_test, y_test = data
    grid = [
        {"method": ["graph_adapter", "gda"], "alpha": np.array([0.01, 0.9])},
        {"method": ["proker"], "settings": [{"ridge": 0.3}, {"ridge": 3.0}]},
        {"method": ["task_res"], "epochs": np.arange(1, 3)},
    ]
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = GraphAdapterClassifier(random_state=0).set_fit_request(text_features=True)
        search = GridSearchCV(classifier, grid, cv=2, error_score="raise")
        search.fit(X, y, text_features=text)
    assert len(search.cv_results_["params"]) == 8
    assert search.score(X_test, y_test) > 0.8


def test_another_fit_forgets_the_first(data):
    X, y, text, X_test, _ = data
    classifier = GraphAdapterClassifier("gda").fit(X, y, text_features=text)
    expected = classifier.predict_proba(X_test)
    classifier.set_params(logit_scale=1.0)  # takes effect in the next fit
    np.testing.assert_array_equal(classifier.predict_proba(X_test), expected)
    classifier.set_params(method="proker", logit_scale=100.0).fit(X, y, text_features=text)
    assert not hasattr(classifier, "class_weights_")
    assert not hasattr(classifier, "class_biases_")
    alone = GraphAdapterClassifier("proker").fit(X, y, text_features=text)
    np.testing.assert_array_equal(classifier.predict_proba(X_test), alone.predict_proba(X_test))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "coop"}, "CoOp learns prompts .* not features alone"),
        ({"method": "transclip"}, "transclip is transductive: .* scikit-learn does not allow"),
        ({"method": "nope"}, "Unknown method 'nope'. Choose from graph_adapter, "),
        ({"method": "proker", "alpha": 1.0}, "proker has no setting 'alpha'. .* beta, ridge"),
        ({"method": "zero_shot", "k": 3}, "zero_shot has no setting 'k'. It has none"),
        ({"settings": {"ridge": 1.0}}, "graph_adapter has no setting 'ridge'. Choose from alpha"),
        ({"settings": {"alpha": 0.5}, "alpha": 0.5}, "'alpha' is given twice"),
        ({"settings": [0.5]}, r"'settings' must be a dictionary .*\[0.5\]"),
        ({"alpha": 2.0}, "'alpha' must be between 0 and 1"),
        ({"settings": {"alpha": None}}, "'alpha' must be a number"),
        ({"method": "clap", "settings": {"constraint": "x"}}, "Unknown 'constraint'"),
        ({"k": 1.5}, "'k' must be a whole number"),
        ({"epochs": np.float64(2.0)}, "'epochs' must be a whole number"),
        ({"lr": -1.0}, "'lr' must be at least 0"),
        ({"logit_scale": 0.0}, "'logit_scale' must be a positive number"),
        ({"logit_scale": np.nan}, "'logit_scale' must be a positive number"),
        ({"method": "tip_adapter", "alpha": 1e308}, "not finite|NaN or infinite"),
    ],
)
def test_parameters_that_are_refused(data, parameters, message):
    X, y, text, _, _ = data
    with pytest.raises(ValueError, match=message):
        GraphAdapterClassifier(**parameters).fit(X, y, text_features=text)


def test_texts_of_a_data_frame_in_another_order_are_refused(data):
    pd = pytest.importorskip("pandas")
    X, y, text, _, _ = data
    names = np.array(["e", "a", "d", "b", "c"])
    with pytest.raises(
        ValueError, match=r"index .* in the order a, b, c, d, e .got e, a, d, b, c."
    ):
        GraphAdapterClassifier().fit(X, names[y], pd.DataFrame(text, index=names))
    X = pd.DataFrame(X, columns=[f"f{i}" for i in range(16)])
    with pytest.raises(ValueError, match=r"columns .* in the order f0, f1"):
        GraphAdapterClassifier().fit(X, y, pd.DataFrame(text, columns=X.columns[::-1]))


@dataclass(frozen=True)
class SharpConfig(AdapterConfig):
    sharpness: float = setting(1.0, "the exponent", low=0)


class Sharp(Adapter):
    """A method of another package, which is not linear."""

    Config: ClassVar[type[AdapterConfig]] = SharpConfig
    recipe: ClassVar[Mapping] = {"epochs": 5, "lr": 0.1}

    def __init__(self, text, logit_scale=100.0, **settings):
        super().__init__(text, logit_scale, **settings)
        self.shift = torch.nn.Parameter(torch.zeros(text.size(1)).to(self.text))

    def forward(self, x):
        cosine = unit(unit(x) + self.shift) @ self.text.t()
        return self.logit_scale * cosine.sign() * cosine.abs() ** self.config.sharpness


def test_a_method_of_another_package(data, monkeypatch):
    X, y, text, X_test, y_test = data
    monkeypatch.setattr("pyg_graphadapter.estimator.adapter_class", {"sharp": Sharp}.get)
    classifier = GraphAdapterClassifier("sharp", settings={"sharpness": 2.0}, random_state=0)
    assert classifier.fit(X, y, text_features=text).score(X_test, y_test) > 0.7
    assert classifier.adapter_.settings() == {"sharpness": 2.0}
    assert classifier.adapter_.shift.any()
    alone = np.concatenate([classifier.predict_proba(row[None]) for row in X_test])
    np.testing.assert_allclose(classifier.predict_proba(X_test), alone, atol=1e-12)
    with pytest.raises(ValueError, match=r"sharp has no setting 'alpha'. Choose from sharpness."):
        clone(classifier).set_params(alpha=1.0).fit(X, y)
    with pytest.raises(ValueError, match="The method sharp takes no weights of samples"):
        clone(classifier).fit(X, y, sample_weight=1 + y)


# Weights ##############################################################################


def logits(method, X, y, X_test, text=None, weight=None, **parameters):  # noqa: N803
    X = X.astype(np.float64)
    # L-BFGS stops at a tolerance:
    settings = {"settings": {"strength": 1.0}} if method == "linear_probe" else {}
    classifier = estimator_of(method, **settings, **parameters)
    return classifier.fit(X, y, text_features=text, sample_weight=weight).decision_function(X_test)


def close(one, other, method):
    np.testing.assert_allclose(one, other, atol=2e-2 if method == "linear_probe" else 1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("has_text", [True, False])
def test_a_whole_weight_is_a_repetition_and_zero_leaves_out(data, method, has_text):
    X, y, text, X_test, _ = data
    text = text if has_text else None
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weight[np.unique(y, return_index=True)[1]] = 2
    weighted = logits(method, X, y, X_test, text, weight)
    repeated = X.repeat(weight, axis=0), y.repeat(weight)
    close(weighted, logits(method, *repeated, X_test, text), method)
    if method != "zero_shot" or not has_text:
        assert np.abs(weighted - logits(method, X, y, X_test, text)).max() > 1e-4
    out = weight > 0
    close(
        logits(method, X, y, X_test, text, out.astype(float)),
        logits(method, X[out], y[out], X_test, text),
        method,
    )


@pytest.mark.parametrize("method", ["graph_adapter", "clap", "task_res", "gda"])
def test_only_the_ratio_of_weights_matters_in_training(data, method):
    X, y, text, X_test, _ = data
    weight = np.random.default_rng(0).random(len(X)) + 0.1
    one, other = (logits(method, X, y, X_test, text, f * weight) for f in (1, 8))
    if method == "gda":  # whose covariance knows how many samples there are
        assert np.abs(one - other).max() > 1e-4
    else:
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_weights_in_batches_are_those_of_the_mean_loss(data):
    """With batches, an epoch takes the same steps as without weights, and weights of one change
    nothing."""
    X, y, text, X_test, _ = data
    plain = logits("task_res", X, y, X_test, text, batch_size=7)
    ones = logits("task_res", X, y, X_test, text, np.full(len(X), 3.0), batch_size=7)
    np.testing.assert_allclose(plain, ones, atol=1e-7)
    heavy = np.where(y == 0, 50.0, 1.0)
    weighted = logits("task_res", X, y, X_test, text, heavy, batch_size=7)
    assert weighted[:, 0].mean() > plain[:, 0].mean()


@pytest.mark.parametrize("method", ["graph_adapter", "linear_probe", "tip_adapter"])
def test_class_weights_multiply_sample_weights(data, method):
    X, y, text, X_test, _ = data
    weight = np.random.default_rng(0).random(len(X)) + 0.5
    of_class = {0: 3.0, 1: 0.5, 2: 1.0, 3: 2.0, 4: 1.0}
    both = logits(method, X, y, X_test, text, weight, class_weight=of_class)
    product = weight * np.array([of_class[label] for label in y])
    close(both, logits(method, X, y, X_test, text, product), method)
    keep = ~((y == 1) & (np.arange(len(y)) % 2 == 0))
    X, y = X[keep], y[keep]
    balanced = logits(method, X, y, X_test, text, class_weight="balanced")
    counts = len(y) / (5 * np.bincount(y))
    close(balanced, logits(method, X, y, X_test, text, counts[y]), method)
    # Samples that weigh nothing change no balance:
    half = (np.arange(len(y)) % 3 > 0).astype(float)
    close(
        logits(method, X, y, X_test, text, half, class_weight="balanced"),
        logits(method, X[half > 0], y[half > 0], X_test, text, class_weight="balanced"),
        method,
    )


def test_weights_that_are_refused(data):
    X, y, text, *_ = data
    fit = GraphAdapterClassifier().fit
    with pytest.raises(ValueError, match="must not be negative"):
        fit(X, y, text, sample_weight=np.where(y == 1, -1.0, 1.0))
    with pytest.raises(ValueError, match="zero"):
        fit(X, y, text, sample_weight=np.zeros(len(y)))
    with pytest.raises(ValueError, match="sample_weight"):
        fit(X, y, text, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="NaN"):
        fit(X, y, text, sample_weight=np.full(len(y), np.nan))
    for wrong in ("heavy", {9: 1.0}):
        with pytest.raises(ValueError, match=r"class_weight|not in class"):
            GraphAdapterClassifier(class_weight=wrong).fit(X, y, text)
    with pytest.raises(ValueError, match="All samples have weight zero"):
        GraphAdapterClassifier(class_weight=dict.fromkeys(range(5), 0.0)).fit(X, y, text)
    with pytest.raises(ValueError, match="'class_weight' must hold finite weights"):
        GraphAdapterClassifier(class_weight={0: -1.0}).fit(X, y, text)


def test_a_class_of_weight_zero_is_left_out(data):
    X, y, text, X_test, _ = data
    classifier = GraphAdapterClassifier(random_state=0, class_weight={0: 0.0})
    classifier.fit(X, y, {label: text[label] for label in range(5)})
    assert classifier.classes_.tolist() == [1, 2, 3, 4]
    assert set(classifier.predict(X_test)) <= {1, 2, 3, 4}


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_as_good_as_scikit_learn_asks(method):
    """Its checks ask this of those alone that follow the weights of classes, too."""
    X, y = make_blobs(n_samples=300, random_state=0)
    X = StandardScaler().fit_transform(X)
    assert estimator_of(method).fit(X, y).score(X, y) > 0.83


def test_class_weights_of_names_under_encoded_labels(data):
    X, y, text, X_test, _ = data
    names = np.array(["e", "a", "d", "b", "c"])
    texts = dict(zip(names, text, strict=True))
    encoded = np.unique(names[y], return_inverse=True)[1]
    for class_weight in ({"e": 5.0}, dict(zip(names, [5.0, 1.0, 0.5, 2.0, 1.0], strict=True))):
        classifier = GraphAdapterClassifier(random_state=0, class_weight=class_weight)
        expected = clone(classifier).fit(X, names[y], texts).predict_proba(X_test)
        result = clone(classifier).fit(X, encoded, texts).predict_proba(X_test)
        np.testing.assert_array_equal(result, expected)
    expected = clone(classifier).fit(X, names[y]).predict_proba(X_test)  # all names, no texts
    voting = VotingClassifier([("a", classifier)], voting="soft").fit(X, names[y])
    np.testing.assert_array_equal(voting.predict_proba(X_test), expected)


def test_numbers_as_text_have_an_order_of_their_own():
    """'10' comes before '2', so that the texts of numbers would be those of other classes."""
    x = np.eye(12)
    keys = list(map(str, range(12)))
    with pytest.raises(ValueError, match=r"numbers as text, .* \('10' before '2'\)"):
        GraphAdapterClassifier().fit(x, np.arange(12), dict(zip(keys, x, strict=True)))
    same = {f"{int(key):02d}": row for key, row in zip(keys, x, strict=True)}
    classifier = GraphAdapterClassifier(random_state=0).fit(x, np.arange(12), same)
    assert classifier.predict(x).tolist() == list(range(12))
