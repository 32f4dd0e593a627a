"""The scikit-learn estimator: the conformance suite, and its own behaviour."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyg_graphadapter import GraphAdapterClassifier
from pyg_graphadapter.testing import fake_features


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


@parametrize_with_checks([GraphAdapterClassifier()])
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
        assert classifier.get_metadata_routing().fit.requests == {"text_features": True}
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
