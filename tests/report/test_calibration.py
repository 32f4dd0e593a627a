"""Calibration, reliability and coverage, against scikit-learn and plain loops."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from pyg_graphadapter.report.calibration import calibration, coverage, reliability
from tests.evaluations import evaluation_of, random_evaluation, softmax


@pytest.fixture(scope="module")
def measured():
    return random_evaluation(temperature=2.5)


@pytest.mark.parametrize("calibrated", [True, False])
def test_bins_are_those_of_a_loop(measured, calibrated):
    e, logits, y = measured
    probability = softmax(logits / 2.5 if calibrated else logits)
    bins = reliability(e, calibrated=calibrated, bins=4)
    assert sum(b.count for b in bins) == len(y)
    for b in bins:
        inside = [i for i, p in enumerate(probability.max(axis=1)) if b.low < p <= b.high]
        assert b.count == len(inside)
        if inside:
            assert b.confidence == pytest.approx(probability[inside].max(axis=1).mean())
            assert b.accuracy == pytest.approx((logits[inside].argmax(axis=1) == y[inside]).mean())
        else:
            assert b.confidence is b.accuracy is None


@pytest.mark.parametrize("calibrated", [True, False])
def test_calibration_is_that_of_scikit_learn_and_of_the_evaluation(measured, calibrated):
    evaluation = pytest.importorskip("pyg_graphadapter.training.evaluation")
    e, logits, y = measured
    probability = softmax(logits / 2.5 if calibrated else logits)
    found = calibration(e, calibrated=calibrated)
    assert found.nll == pytest.approx(log_loss(y, probability, labels=range(7)))
    assert found.brier == pytest.approx(((probability - np.eye(7)[y]) ** 2).sum(axis=1).mean())
    expected = evaluation.expected_calibration_error(probability, y)
    assert found.ece == pytest.approx(100 * expected)
    assert found.ece > 1


def test_coverage_falls_with_the_threshold(measured):
    e, logits, y = measured
    confidence = softmax(logits / 2.5).max(axis=1)
    right = logits.argmax(axis=1) == y
    points = coverage(e)
    assert len(points) == len(set(confidence))
    assert points[-1].coverage == 1
    assert points[-1].accuracy == pytest.approx(right.mean())
    for point in points[::29]:
        answered = confidence >= point.threshold
        assert point.coverage == pytest.approx(answered.mean())
        assert point.accuracy == pytest.approx(right[answered].mean())


def test_images_of_equal_confidence_are_covered_together():
    logits = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 0.0]])
    points = coverage(evaluation_of(logits, [0, 0, 1, 0]))
    assert [(point.coverage, point.accuracy) for point in points] == [(0.25, 1.0), (1.0, 0.5)]
