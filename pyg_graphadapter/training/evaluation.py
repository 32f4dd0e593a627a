"""Accuracy and calibration of adapters."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score, top_k_accuracy_score
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.contract import check_logits
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.graph import with_usual_length
from pyg_graphadapter.task import EvaluationTask, NewClasses, ShiftedTest

EVALUATION_BATCH = 4096
CALIBRATION_BINS = 15
CLASSES_FOR_TOP5 = 10  # of five classes, every image is right
NO_MEASURES = ("num_skipped", "num_shots", "zero_shot", "is_transductive")


@dataclass(frozen=True)
class Evaluation:
    """The measures of an adapter, in percent.

    Args:
        accuracy (float): Top-1 accuracy.
        balanced_accuracy (float): The mean accuracy over the classes that occur, in which a rare
            class counts as much as a frequent one.
        macro_f1 (float): The mean F1 score over the classes that occur.
        top5 (float, optional): Top-5 accuracy; :obj:`None` for fewer than ten classes.
        ece (float): Expected calibration error, 15 bins.
        num_images (int): The number of images.
        num_skipped (int, optional): The number of images that could not be decoded, which are not
            in the measures. (default: :obj:`0`)
        num_shots (int, optional): How many of the images the classifier was fitted on;
            :obj:`None` where this is not known. (default: :obj:`None`)
        zero_shot (float, optional): The accuracy of the class texts alone, zero-shot CLIP;
            :obj:`None` where there are none. (default: :obj:`None`)
        is_transductive (bool, optional): Whether the images were classified together, unlabelled,
            by a transductive method. (default: :obj:`False`)
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
    top5 = None
    if probability.shape[1] >= CLASSES_FOR_TOP5:
        labels = np.arange(probability.shape[1])
        top5 = 100 * float(top_k_accuracy_score(y, probability, k=5, labels=labels))
    over_classes = {"labels": np.unique(y), "average": "macro", "zero_division": 0}
    return Evaluation(
        accuracy=100 * float(accuracy_score(y, predicted)),
        balanced_accuracy=100 * float(recall_score(y, predicted, **over_classes)),
        macro_f1=100 * float(f1_score(y, predicted, **over_classes)),
        top5=top5,
        ece=100 * expected_calibration_error(probability, y),
        num_images=len(features),
        is_transductive=adapter.is_transductive,
    )


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
