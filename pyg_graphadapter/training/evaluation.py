"""Accuracy and calibration of adapters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.contract import check_logits
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import with_usual_length
from pyg_graphadapter.task import EvaluationTask, NewClasses, ShiftedTest

EVALUATION_BATCH = 4096
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """The measures of an adapter, in percent.

    Args:
        accuracy (float): Top-1 accuracy.
        top5 (float): Top-5 accuracy; 100 for five classes or fewer.
        macro_f1 (float): The mean F1 score over the classes that occur.
        ece (float): Expected calibration error, 15 bins.
        num_images (int): The number of images.
    """

    accuracy: float
    top5: float
    macro_f1: float
    ece: float
    num_images: int


@torch.inference_mode()
def predict_logits(adapter: Adapter, x: Tensor) -> Tensor:
    """Logits ``[N, C]`` of features ``[N, D]`` on the CPU, computed on the adapter's device.

    Raises:
        ValueError: If the adapter returns another shape, or logits that are not finite.
    """
    batches = [x[start : start + EVALUATION_BATCH] for start in range(0, len(x), EVALUATION_BATCH)]
    return torch.cat(
        [
            check_logits(
                adapter(with_usual_length(batch.to(adapter.text))).cpu(), adapter, len(batch)
            )
            for batch in batches or [x]
        ]
    )


def evaluate(adapter: Adapter, data: EvaluationTask | Features) -> Evaluation:
    """Measures an adapter on a test split, or on any features with labels.

    An image with several views counts once, by the mean of its views.

    Args:
        adapter (Adapter): The adapter.
        data (EvaluationTask or Features): The images.

    Raises:
        ValueError: If there is no image, or the width is not the adapter's.
    """
    features = data.test if isinstance(data, EvaluationTask) else data
    if len(features) == 0:
        raise ValueError("There is no image to evaluate on.")
    probability = predict_logits(adapter, features.mean_views()).softmax(dim=1).double().numpy()
    y, predicted = features.y.numpy(), probability.argmax(axis=1)
    top5 = 1.0
    if probability.shape[1] > 5:
        labels = np.arange(probability.shape[1])
        top5 = top_k_accuracy_score(y, probability, k=5, labels=labels)
    occurring = np.unique(y)
    return Evaluation(
        accuracy=100 * float(accuracy_score(y, predicted)),
        top5=100 * float(top5),
        macro_f1=100
        * float(f1_score(y, predicted, labels=occurring, average="macro", zero_division=0)),
        ece=100 * expected_calibration_error(probability, y),
        num_images=len(features),
    )


def accuracy_on_shifted(adapter: Adapter, shifted: ShiftedTest) -> float:
    """Accuracy in percent on a shifted test set, among its own classes."""
    logits = predict_logits(adapter, shifted.test.mean_views())[:, shifted.classes]
    return 100 * float(accuracy_score(shifted.test.y, logits.argmax(dim=1)))


def accuracy_on_new(adapter: Adapter, new: NewClasses) -> float:
    """Accuracy in percent on new classes, which are classified among themselves.

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
