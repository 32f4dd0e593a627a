import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score

from pyg_graphadapter import Features, ZeroShot, evaluate
from pyg_graphadapter.training.evaluation import (
    Calibration,
    expected_calibration_error,
    rank_of_label,
)


def test_evaluation_by_hand():
    text = torch.eye(3)
    x = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    result = evaluate(ZeroShot(text), Features(x, torch.tensor([0, 1, 1, 1])))
    assert result.accuracy == 50.0
    assert result.top5 is None  # of three classes it says nothing
    assert result.balanced_accuracy == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert result.num_images == 4
    # F1: class 0 has precision 1/2 and recall 1, class 1 has precision 1 and recall 1/3.
    assert result.macro_f1 == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert result.ece == pytest.approx(50.0)


def test_top_five_of_many_classes():
    text = torch.nn.functional.normalize(torch.eye(10) + 0.1 * torch.arange(10.0), dim=1)
    x = torch.eye(10)[:1].repeat(10, 1)  # every image looks like class 0
    result = evaluate(ZeroShot(text), Features(x, torch.arange(10)))
    assert result.top5 == pytest.approx(100 * 5 / 10)


@pytest.mark.parametrize("levels", [3, 10**6])  # with many equal probabilities, and with none
def test_ranks_without_sorting_are_those_of_scikit_learn(levels):
    generator = np.random.default_rng(0)
    probability = generator.integers(1, levels + 1, (400, 12)) / levels
    probability /= probability.sum(axis=1, keepdims=True)
    y = generator.integers(12, size=400)
    for k in (1, 5, 11):
        expected = top_k_accuracy_score(y, probability, k=k, labels=range(12))
        assert (rank_of_label(probability, y) < k).mean() == pytest.approx(expected)


def test_nothing_to_evaluate_on():
    with pytest.raises(ValueError, match="no image"):
        evaluate(ZeroShot(torch.eye(2)), Features(torch.ones(0, 2), torch.zeros(0).long()))


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 5.0])
def test_calibration_error_equals_torchmetrics(sharpness):
    reference = pytest.importorskip("torchmetrics.functional.classification")
    probability = (sharpness * torch.randn(500, 4, dtype=torch.float64)).softmax(dim=1)
    y = torch.randint(4, (500,))
    expected = reference.multiclass_calibration_error(
        probability, y, num_classes=4, n_bins=15, norm="l1"
    )
    assert expected_calibration_error(probability.numpy(), y.numpy()) == pytest.approx(
        float(expected), abs=1e-6
    )


def test_certainty_and_chance_lie_in_the_outer_bins():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(sure, np.array([0, 1])) == 0.0
    assert expected_calibration_error(sure, np.array([1, 0])) == 1.0


def test_log_likelihood_and_brier_score_equal_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    probability = torch.randn(60, 4, generator=generator, dtype=torch.float64).softmax(1).numpy()
    y = torch.randint(4, (60,), generator=generator).numpy()
    calibration = Calibration.of(probability, y)
    assert calibration.nll == pytest.approx(log_loss(y, probability, labels=range(4)))
    squares = (probability - np.eye(4)[y]) ** 2
    assert calibration.brier == pytest.approx(squares.sum(axis=1).mean())
    zero = np.array([[1.0, 0.0], [1.0, 0.0]])
    sure = Calibration.of(zero, np.array([0, 1]))
    assert 40 < sure.nll < 50  # half of the logarithm of the smallest number, and not infinite
    assert sure.brier == 1.0
