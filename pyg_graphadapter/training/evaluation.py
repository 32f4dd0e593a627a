"""Accuracy and calibration of adapters."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.contract import check_logits
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.graph import with_usual_length
from pyg_graphadapter.task import EvaluationTask, NewClasses, ShiftedTest
from pyg_graphadapter.training.temperature import probabilities

EVALUATION_BATCH = 4096
CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
CLASSES_FOR_TOP5 = 10  # of five classes, every image is right
NO_MEASURES = ("num_skipped", "num_shots", "zero_shot", "is_transductive", "calibrated")


@dataclass(frozen=True)
class Calibration:
    """How far class probabilities can be trusted.

    Args:
        ece (float): Expected calibration error in percent, 15 bins
            (:func:`expected_calibration_error`).
        nll (float): The mean negative log-likelihood of the labels, in nats
            (:func:`negative_log_likelihood`).
        brier (float): The Brier score, between 0 and 2 (:func:`brier_score`).
    """

    ece: float
    nll: float
    brier: float

    @classmethod
    def of(cls, probability: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]) -> Self:
        """Measures class probabilities ``[N, C]`` of images with labels ``[N]``."""
        ece = 100 * expected_calibration_error(probability, y)
        return cls(ece, negative_log_likelihood(probability, y), brier_score(probability, y))


@dataclass(frozen=True)
class Evaluation:
    """The measures of an adapter, in percent.

    Args:
        accuracy (float): Top-1 accuracy.
        balanced_accuracy (float): The mean accuracy over the classes that occur, in which a rare
            class counts as much as a frequent one.
        macro_f1 (float): The mean F1 score over the classes that occur.
        top5 (float, optional): Top-5 accuracy; :obj:`None` for fewer than ten classes.
        ece (float): Expected calibration error of the probabilities before calibration, 15 bins.
        num_images (int): The number of images.
        num_skipped (int, optional): The number of images that could not be decoded, which are not
            in the measures. (default: :obj:`0`)
        num_shots (int, optional): How many of the images the classifier was fitted on;
            :obj:`None` where this is not known. (default: :obj:`None`)
        zero_shot (float, optional): The accuracy of the class texts alone, zero-shot CLIP;
            :obj:`None` where there are none. (default: :obj:`None`)
        is_transductive (bool, optional): Whether the images were classified together, unlabelled,
            by a transductive method. (default: :obj:`False`)
        nll (float): The mean negative log-likelihood of the labels before calibration, in nats.
        brier (float): The Brier score before calibration, between 0 and 2.
        calibrated (Calibration, optional): The calibration error, the log-likelihood and the Brier
            score with the temperature of a classifier. (default: :obj:`None`)
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    top5: float | None
    ece: float
    num_images: int
    num_skipped: int = 0
    num_shots: int | None = None
    zero_shot: float | None = None
    is_transductive: bool = False
    nll: float = math.nan
    brier: float = math.nan
    calibrated: Calibration | None = None

    def measures(self) -> dict[str, float | None]:
        """What was measured of the adapter, without the counts of images that have no part in it
        and without zero-shot CLIP."""
        content = asdict(self)
        return {name: content[name] for name in content if name not in NO_MEASURES}

    def further(self) -> str:
        """The measures beside the accuracy, in words."""
        parts = [
            f"balanced accuracy {self.balanced_accuracy:.2f} %",
            f"macro-F1 {self.macro_f1:.2f} %",
        ]
        if self.top5 is not None:
            parts.append(f"top-5 accuracy {self.top5:.2f} %")
        if self.zero_shot is not None:
            parts.append(f"zero-shot accuracy {self.zero_shot:.2f} %")
        if self.calibrated is not None:
            parts.append(
                f"calibration error {self.calibrated.ece:.1f} % ({self.ece:.1f} % before "
                f"calibration)"
            )
        if self.is_transductive:
            parts.append("classified together (transductive)")
        return ", ".join(parts)

    def __str__(self) -> str:
        """The measures in a sentence."""
        parts = [f"accuracy {self.accuracy:.2f} %", self.further()]
        parts.append(counted(self.num_images, "image"))
        if self.num_skipped:
            parts.append(f"{self.num_skipped:,} more skipped")
        if self.num_shots:
            parts.append(f"{self.num_shots:,} of them shots of the classifier")
        return ", ".join(parts)


def batches(adapter: Adapter, count: int) -> list[slice]:
    """Which of so many images are classified at a time, in at least one batch: all in one, if the
    adapter classifies them together (:obj:`~pyg_graphadapter.adapters.Adapter.is_transductive`)."""
    size = count if adapter.is_transductive else EVALUATION_BATCH
    return [slice(start, start + size) for start in range(0, count, size or 1)] or [slice(0, 0)]


@torch.inference_mode()
def predict_logits(adapter: Adapter, x: Tensor) -> Tensor:
    """Logits ``[N, C]`` of features ``[N, D]`` on the CPU, computed on the adapter's device. A
    transductive method gets all of them at once.

    Raises:
        ValueError: If the adapter returns another shape, or logits that are not finite.
    """
    parts = [x[batch] for batch in batches(adapter, len(x))]
    return torch.cat(
        [
            check_logits(
                adapter(with_usual_length(part.to(adapter.text))).cpu(), adapter, len(part)
            )
            for part in parts
        ]
    )


def evaluate(
    adapter: Adapter, data: EvaluationTask | Features, temperature: float | None = None
) -> Evaluation:
    """Measures an adapter on a test split, or on any features with labels.

    An image with several views counts once, by the mean of its views.

    Args:
        adapter (Adapter): The adapter.
        data (EvaluationTask or Features): The images.
        temperature (float, optional): That of a classifier, with which the probabilities are
            measured, too. (default: :obj:`None`)

    Raises:
        ValueError: If there is no image, or the width is not the adapter's.
    """
    features = data.test if isinstance(data, EvaluationTask) else data
    if len(features) == 0:
        raise ValueError("There is no image to evaluate on.")
    logits = predict_logits(adapter, features.mean_views())
    probability = logits.softmax(dim=1).double().numpy()
    y, predicted = features.y.numpy(), probability.argmax(axis=1)
    top5 = None
    if probability.shape[1] >= CLASSES_FOR_TOP5:
        top5 = 100 * float((rank_of_label(probability, y) < 5).mean())
    before, after = Calibration.of(probability, y), None
    if temperature is not None:
        after = Calibration.of(probabilities(logits, temperature).double().numpy(), y)
    over_classes = {"labels": np.unique(y), "average": "macro", "zero_division": 0}
    return Evaluation(
        accuracy=100 * float(accuracy_score(y, predicted)),
        balanced_accuracy=100 * float(recall_score(y, predicted, **over_classes)),
        macro_f1=100 * float(f1_score(y, predicted, **over_classes)),
        top5=top5,
        ece=before.ece,
        num_images=len(features),
        is_transductive=adapter.is_transductive,
        nll=before.nll,
        brier=before.brier,
        calibrated=after,
    )


def rank_of_label(
    probability: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]
) -> NDArray[np.integer[Any]]:
    """How many classes come before the true one of each image ``[N]``, without sorting them. Of
    equal probabilities, the last class comes first, as in scikit-learn's top-k accuracy."""
    of_label = probability[np.arange(len(y)), y][:, None]
    is_later = np.arange(probability.shape[1]) > y[:, None]
    is_before = (probability > of_label) | ((probability == of_label) & is_later)
    rank: NDArray[np.integer[Any]] = is_before.sum(axis=1)
    return rank


def accuracy_on_shifted(adapter: Adapter, shifted: ShiftedTest) -> float:
    """Accuracy in percent on a shifted test set, among its own classes. A transductive method
    classifies the images of this set together, and no others."""
    logits = predict_logits(adapter, shifted.test.mean_views())[:, shifted.classes]
    return 100 * float(accuracy_score(shifted.test.y, logits.argmax(dim=1)))


def accuracy_on_new(adapter: Adapter, new: NewClasses) -> float:
    """Accuracy in percent on new classes, which are classified among themselves. A transductive
    method classifies the images of these classes together, and no others.

    Raises:
        ValueError: If the adapter cannot classify new classes.
    """
    extended = adapter.extend(new.text, class_names=new.class_names)
    logits = predict_logits(extended.eval(), new.test.mean_views())[:, adapter.num_classes :]
    return 100 * float(accuracy_score(new.test.y, logits.argmax(dim=1)))


def harmonic_mean(first: float, second: float) -> float:
    """The harmonic mean of two accuracies; zero if one of them is zero."""
    return 2 * first * second / (first + second) if first and second else 0.0


def expected_calibration_error(
    probability: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    bins: int = CALIBRATION_BINS,
) -> float:
    r"""The expected calibration error of the `"On Calibration of Modern Neural Networks"
    <https://arxiv.org/abs/1706.04599>`_ paper (Equation 3), a fraction.

    .. math::
        \sum_b \frac{n_b}{N} \left| \textrm{accuracy}_b - \textrm{confidence}_b \right|

    over bins of equal width of the confidence, the probability of the predicted class.

    Args:
        probability (numpy.ndarray): Class probabilities.
        y (numpy.ndarray): Labels.
        bins (int, optional): The number of bins. (default: :obj:`15`)

    Shapes:
        - **probability:** :math:`(N, C)`; **y:** :math:`(N)`
    """
    confidence = probability.max(axis=1)
    correct = probability.argmax(axis=1) == y
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def negative_log_likelihood(
    probability: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]
) -> float:
    r"""The mean of :math:`- \log p_{i, y_i}`, in nats. A probability that was rounded to zero
    counts as the smallest that ``float32`` holds.

    Args:
        probability (numpy.ndarray): Class probabilities.
        y (numpy.ndarray): Labels.

    Shapes:
        - **probability:** :math:`(N, C)`; **y:** :math:`(N)`
    """
    of_label = np.maximum(probability[np.arange(len(y)), y], SMALLEST_PROBABILITY)
    return float(-np.log(of_label).mean())


def brier_score(probability: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]) -> float:
    r"""The score of `"Verification of Forecasts Expressed in Terms of Probability"
    <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>`_ (Brier, 1950), between 0
    and 2.

    .. math::
        \frac{1}{N} \sum_i \sum_c (p_{ic} - [y_i = c])^2

    Args:
        probability (numpy.ndarray): Class probabilities.
        y (numpy.ndarray): Labels.

    Shapes:
        - **probability:** :math:`(N, C)`; **y:** :math:`(N)`
    """
    of_label = probability[np.arange(len(y)), y]
    return float((np.square(probability).sum(axis=1) - 2 * of_label + 1).mean())
