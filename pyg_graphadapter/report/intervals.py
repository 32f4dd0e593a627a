"""How far the measures of an evaluation could be off because its images are a sample."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.per_image import Integers, predicted_labels, true_labels

NORMAL_95 = 1.959964  # the quantile of the normal distribution for 95 %


@dataclass(frozen=True)
class Interval:
    """An interval in percent."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """How far measures could be off because the images are a sample, with 95 % confidence.

    Args:
        accuracy (Interval): Of the accuracy.
        balanced_accuracy (Interval, optional): Of the balanced accuracy; :obj:`None` where all
            images are right or all are wrong, since then no sample of them differs.
        macro_f1 (Interval, optional): Of the macro-F1, likewise.
    """

    accuracy: Interval
    balanced_accuracy: Interval | None
    macro_f1: Interval | None


def intervals(e: EvaluationFile, samples: int = 1000, seed: int = 0) -> Intervals:
    """The interval of the accuracy is Wilson's (:func:`wilson_interval`), as that of ``fit``, with
    copies of an image counted once.

    Those of the other measures are percentile intervals of the bootstrap over images: the 2.5th and
    the 97.5th percentile over samples of the images with replacement (`Efron and Tibshirani, An
    Introduction to the Bootstrap <https://doi.org/10.1201/9780429246593>`_, Chapter 13). Images
    that are the same are drawn together.

    Args:
        e (EvaluationFile): The evaluation.
        samples (int, optional): The number of samples. (default: :obj:`1000`)
        seed (int, optional): The seed of the samples. (default: :obj:`0`)
    """
    label, predicted = true_labels(e), predicted_labels(e)
    unit = _units(e)
    right = label == predicted
    count = int(unit.max()) + 1
    accuracy = Interval(*wilson_interval(float(right.mean()) * count, count))
    if right.all() or not right.any():
        return Intervals(accuracy, None, None)
    generator = np.random.default_rng(seed)
    classes = len(e.class_names)
    measures = np.array(
        [
            _measures(label, predicted, right, times[unit], classes)
            for times in (_drawn(generator, count) for _ in range(samples))
        ]
    )  # [samples, 2]
    low, high = np.percentile(measures, [2.5, 97.5], axis=0).tolist()
    balanced, macro_f1 = map(Interval, low, high)
    return Intervals(accuracy, balanced, macro_f1)


def wilson_interval(right: float, total: int) -> tuple[float, float]:
    """The 95 % interval of a share by `Wilson's score
    <https://doi.org/10.1080/01621459.1927.10502953>`_, in percent."""
    share, z2 = right / total, NORMAL_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    radius = math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    radius *= NORMAL_95
    return 100 * max(0.0, centre - radius), 100 * min(1.0, centre + radius)


def _units(e: EvaluationFile) -> Integers:
    """The number ``[N]`` of what each image is drawn with: itself, and the same images."""
    first = [i if image.copy_of is None else image.copy_of for i, image in enumerate(e.images)]
    _, unit = np.unique(np.array(first), return_inverse=True)
    return unit.astype(np.int64)


def _drawn(generator: np.random.Generator, count: int) -> Integers:
    """How often each of so many units is in a sample with replacement."""
    return np.bincount(generator.integers(count, size=count), minlength=count)


def _measures(
    label: Integers, predicted: Integers, right: NDArray[np.bool_], times: Integers, classes: int
) -> tuple[float, float]:
    """Balanced accuracy and macro-F1 of images that count so many ``times`` ``[N]``, over
    the classes that occur among them."""
    of_class = _sums(label, times, classes)
    of_prediction = _sums(predicted, times, classes)
    right_of_class = _sums(label[right], times[right], classes)
    occurs = of_class > 0
    recall = right_of_class[occurs] / of_class[occurs]
    f1 = 2 * right_of_class[occurs] / (of_class + of_prediction)[occurs]
    return 100 * float(recall.mean()), 100 * float(f1.mean())


def _sums(index: Integers, values: Integers, length: int) -> NDArray[Any]:
    return np.bincount(index, weights=values, minlength=length)
