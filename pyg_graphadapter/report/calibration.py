"""Whether the probabilities of an evaluation can be believed. Probabilities and what they are
compared with are fractions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.per_image import confidences, predicted_labels, true_labels

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is above ``low`` and at most ``high``.

    Args:
        low, high (float): The limits of the bin.
        count (int): The number of images in it.
        confidence (float, optional): Their mean confidence; :obj:`None` if there are none.
        accuracy (float, optional): The fraction of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are off.

    Args:
        ece (float): The expected calibration error, in percent as in
            :class:`~pyg_graphadapter.training.evaluation.Evaluation`.
        nll (float): The mean negative logarithm of the probability of the true class.
        brier (float): The mean squared error of the probabilities, summed over the classes: from 0
            to 2.
    """

    ece: float
    nll: float
    brier: float


@dataclass(frozen=True)
class CoveragePoint:
    """What an answer is right how often, if only the most confident images get one.

    Args:
        coverage (float): The fraction of the images that get an answer.
        accuracy (float): The fraction of these that is right.
        threshold (float): The lowest confidence among them.
    """

    coverage: float
    accuracy: float
    threshold: float


def reliability(
    e: EvaluationFile, *, calibrated: bool = True, bins: int = BINS
) -> list[ReliabilityBin]:
    """Confidence and accuracy in bins of equal width of the confidence, the probability of the
    predicted class."""
    confidence = confidences(e, calibrated=calibrated)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    summed = np.bincount(bin_of, weights=confidence, minlength=bins)
    right = np.bincount(bin_of, weights=_is_right(e), minlength=bins)
    return [
        ReliabilityBin(
            b / bins,
            (b + 1) / bins,
            int(count[b]),
            float(summed[b] / count[b]) if count[b] else None,
            float(right[b] / count[b]) if count[b] else None,
        )
        for b in range(bins)
    ]


def calibration(e: EvaluationFile, *, calibrated: bool = True) -> Calibration:
    r"""The expected calibration error (`Guo et al. <https://arxiv.org/abs/1706.04599>`_,
    Equation 3), the negative log-likelihood and the `Brier score
    <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>`_

    .. math::
        \frac{1}{N} \sum_i \sum_c {(p_{ic} - y_{ic})}^2

    of the probabilities, after calibration or before it.
    """
    filled = [b for b in reliability(e, calibrated=calibrated) if b.count]
    gaps = [b.count * abs((b.accuracy or 0.0) - (b.confidence or 0.0)) for b in filled]
    if calibrated:
        pairs = [(image.log_loss, image.squared_error) for image in e.images]
    else:
        pairs = [
            (image.log_loss_uncalibrated, image.squared_error_uncalibrated) for image in e.images
        ]
    nll, brier = np.mean(pairs, axis=0).tolist()
    return Calibration(100 * sum(gaps) / len(e.images), nll, brier)


def coverage(e: EvaluationFile) -> list[CoveragePoint]:
    """Accuracy against coverage: one point per confidence that occurs, the highest first."""
    confidence = confidences(e)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], _is_right(e)[order].cumsum()
    is_last = np.append(confidence[1:] < confidence[:-1], True)  # of images of equal confidence
    answered = is_last.nonzero()[0] + 1
    return [
        CoveragePoint(count / len(order), float(right[count - 1]) / count, threshold)
        for count, threshold in zip(
            answered.tolist(), confidence[answered - 1].tolist(), strict=True
        )
    ]


def _is_right(e: EvaluationFile) -> NDArray[np.bool_]:
    is_right: NDArray[np.bool_] = true_labels(e) == predicted_labels(e)
    return is_right
