"""Accuracies, confusions, errors and intervals, against scikit-learn and plain loops."""

import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)
from sklearn.metrics import (
    confusion_matrix as sklearn_matrix,
)

from pyg_graphadapter.report.evaluation_file import EVALUATION, EvaluationFile
from pyg_graphadapter.report.intervals import intervals, wilson_interval
from pyg_graphadapter.report.per_image import (
    class_rows,
    confidences,
    confused_pairs,
    confusion_matrix,
    errors,
    weakest_classes,
)
from tests.evaluations import evaluation_of, random_evaluation


@pytest.fixture(scope="module")
def measured():
    return random_evaluation()


def test_rows_are_those_of_scikit_learn(measured):
    e, logits, y = measured
    predicted = logits.argmax(axis=1)
    labels = range(7)
    np.testing.assert_array_equal(confusion_matrix(e), sklearn_matrix(y, predicted, labels=labels))
    rows = class_rows(e)
    assert [row.name for row in rows] == [f"class {c}" for c in labels]
    recall = recall_score(y, predicted, average=None, labels=labels, zero_division=np.nan)
    precision = precision_score(y, predicted, average=None, labels=labels, zero_division=np.nan)
    assert rows[6].images == 0
    assert rows[6].recall is None
    np.testing.assert_allclose([row.recall for row in rows[:6]], 100 * recall[:6])
    np.testing.assert_allclose(
        [np.nan if row.precision is None else row.precision for row in rows], 100 * precision
    )
    assert [row.predicted for row in rows] == np.bincount(predicted, minlength=7).tolist()
    assert sum(row.right for row in rows) == (y == predicted).sum()


def test_a_class_that_is_never_predicted_has_no_precision():
    e = evaluation_of(np.array([[2.0, 0, 0], [2.0, 0, 0]]), [0, 1])
    assert [row.precision for row in class_rows(e)] == [50.0, None, None]
    assert [row.recall for row in class_rows(e)] == [100.0, 0.0, None]
    assert [row.name for row in weakest_classes(e)] == ["class 1", "class 0"]


def test_errors_are_the_most_confident_first(measured):
    e, logits, y = measured
    wrong = [i for i in range(300) if logits[i].argmax() != y[i]]
    confidence = confidences(e)
    assert errors(e) == sorted(wrong, key=lambda i: -confidence[i])
    assert 10 < len(wrong) < 290


def test_confused_pairs_are_counted(measured):
    e, logits, y = measured
    predicted = logits.argmax(axis=1)
    count = Counter((a, b) for a, b in zip(y, predicted, strict=True) if a != b)
    pairs = confused_pairs(e)
    assert {(p.label, p.predicted): p.images for p in pairs} == dict(count)
    assert [p.images for p in pairs] == sorted(count.values(), reverse=True)
    assert pairs[0].share == pytest.approx(100 * pairs[0].images / (y == pairs[0].label).sum())
    assert confused_pairs(e, most=2) == pairs[:2]


# Intervals #############################################################################


def plain_intervals(y, predicted, units, samples, seed):
    """The percentiles of scikit-learn's measures over samples of whole units."""
    generator = np.random.default_rng(seed)
    members = [[i for i, u in enumerate(units) if u == unit] for unit in sorted(set(units))]
    rows = []
    for _ in range(samples):
        drawn = generator.integers(len(members), size=len(members))
        index = np.array([i for unit in drawn for i in members[unit]])
        a, b = y[index], predicted[index]
        f1 = f1_score(a, b, labels=np.unique(a), average="macro", zero_division=0)
        recall = recall_score(a, b, labels=np.unique(a), average="macro")
        rows.append((recall, f1))
    return 100 * np.percentile(rows, [2.5, 97.5], axis=0)


def as_array(found):
    pairs = (found.accuracy, found.balanced_accuracy, found.macro_f1)
    return np.array([[pair.low for pair in pairs], [pair.high for pair in pairs]])


@pytest.mark.parametrize("copies", [None, {i: i - 1 for i in range(1, 100, 2)}])
def test_intervals_are_percentiles_over_samples_of_units(copies):
    e, logits, y = random_evaluation(100, copies=copies)
    units = [(copies or {}).get(i, i) for i in range(100)]
    expected = plain_intervals(y, logits.argmax(axis=1), units, samples=50, seed=3)
    found = intervals(e, samples=50, seed=3)
    np.testing.assert_allclose(as_array(found)[:, 1:], expected)
    share, count = (logits.argmax(axis=1) == y).mean(), len(set(units))
    assert as_array(found)[:, 0].tolist() == list(wilson_interval(share * count, count))


def test_intervals_hold_the_measures_and_narrow_with_more_images():
    few, logits, y = random_evaluation(100)
    found = intervals(few)
    predicted = logits.argmax(axis=1)
    assert found.accuracy.low < 100 * accuracy_score(y, predicted) < found.accuracy.high
    balanced = 100 * recall_score(y, predicted, labels=np.unique(y), average="macro")
    assert found.balanced_accuracy.low < balanced < found.balanced_accuracy.high
    many = intervals(random_evaluation(3000)[0])
    assert many.accuracy.high - many.accuracy.low < (found.accuracy.high - found.accuracy.low) / 3
    assert intervals(few) == found


def test_the_interval_of_the_accuracy_covers_what_it_should():
    """Of the accuracy 0.8, in about 95 of 100 sets of images."""
    covered = 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(150) < 0.8
        logits = np.where(right[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
        found = intervals(evaluation_of(logits, np.zeros(150, dtype=int)), samples=200)
        covered += found.accuracy.low <= 80 <= found.accuracy.high
    assert 88 <= covered <= 99


def test_copies_make_intervals_as_wide_as_their_first_images():
    e, logits, y = random_evaluation(60)
    twice, copies = np.repeat(logits, 4, axis=0), {i: i - i % 4 for i in range(240) if i % 4}
    with_copies = evaluation_of(twice, np.repeat(y, 4), copies=copies)
    np.testing.assert_allclose(as_array(intervals(with_copies)), as_array(intervals(e)))


def test_images_that_are_all_right_do_not_make_an_accuracy_certain():
    logits = np.array([[1.0, 0.0]] * 20)
    found = intervals(evaluation_of(logits, [0] * 20))
    assert (found.accuracy.low, found.accuracy.high) == (pytest.approx(83.887, abs=1e-3), 100)
    assert (found.balanced_accuracy, found.macro_f1) == (None, None)
    wrong = intervals(evaluation_of(logits, [1] * 20))
    assert (wrong.accuracy.low, wrong.accuracy.high) == (0, pytest.approx(100 - found.accuracy.low))


def test_one_image():
    found = intervals(evaluation_of(np.array([[1.0, 0.0]]), [0]))
    assert found.accuracy.low == pytest.approx(20.654, abs=1e-3)


# Files #################################################################################


def test_a_file_is_read_as_it_was_written(measured, tmp_path):
    e = random_evaluation(20, copies={5: 2}, class_names=["=cat", "<b>", "é", "a", "a", "🏴", "g"])[
        0
    ]
    e.save(tmp_path)
    assert EvaluationFile.load(tmp_path) == e


@pytest.mark.parametrize("copy_of", [5, 7])
def test_a_copy_is_of_an_earlier_image(tmp_path, copy_of):
    content = asdict(random_evaluation(20)[0])
    content["images"][5]["copy_of"] = copy_of
    (tmp_path / EVALUATION).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"copy_of must be an earlier image"):
        EvaluationFile.load(tmp_path)
