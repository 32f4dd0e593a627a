"""What follows from the images of an evaluation, class by class: accuracies, confusions, errors.

Accuracies are in percent, as in :class:`~pyg_graphadapter.training.evaluation.Evaluation`.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_graphadapter.report.evaluation_file import EvaluationFile

Integers: TypeAlias = NDArray[np.int64]
MOST_CONFIDENT = 60  # errors that are shown
FREQUENT_PAIRS, PER_PAIR = 30, 3  # confusions of which examples are shown, and how many of each


@dataclass(frozen=True)
class ClassRow:
    """How well one class is classified.

    Args:
        name (str): Its name.
        images (int): The number of images that show it.
        right (int): How many of them were classified right.
        predicted (int): The number of images that were classified as it.
        recall (float, optional): ``right`` of ``images``, in percent; :obj:`None` if no image
            shows it.
        precision (float, optional): ``right`` of ``predicted``, in percent; :obj:`None` if it was
            never predicted.
    """

    name: str
    images: int
    right: int
    predicted: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were classified as another.

    Args:
        label (int): The class that they show.
        predicted (int): The class that was predicted.
        images (int): How many there are.
        share (float): How many percent of the images of their class they are.
    """

    label: int
    predicted: int
    images: int
    share: float


def true_labels(e: EvaluationFile) -> Integers:
    """The class ``[N]`` that each image shows."""
    return np.array([image.label for image in e.images], dtype=np.int64)


def predicted_labels(e: EvaluationFile) -> Integers:
    """The likeliest class ``[N]`` of each image."""
    return np.array([image.top[0].label for image in e.images], dtype=np.int64)


def confidences(e: EvaluationFile, *, calibrated: bool = True) -> NDArray[np.float64]:
    """The probability ``[N]`` of the likeliest class of each image."""
    return np.array(
        [image.top[0].probability if calibrated else image.uncalibrated for image in e.images],
        dtype=np.float64,
    )


def confusion_matrix(e: EvaluationFile) -> Integers:
    """The number of images ``[C, C]`` of each class (rows) that were classified as each class
    (columns)."""
    count = len(e.class_names)
    cells = true_labels(e) * count + predicted_labels(e)
    return np.bincount(cells, minlength=count**2).reshape(count, count)


def class_rows(e: EvaluationFile) -> list[ClassRow]:
    """One row per class, in the order of the classes."""
    label, predicted = true_labels(e), predicted_labels(e)
    counts = (
        np.bincount(classes, minlength=len(e.class_names)).tolist()
        for classes in (label, label[label == predicted], predicted)
    )
    return [
        ClassRow(name, images, right, as_it, _percent(right, images), _percent(right, as_it))
        for name, images, right, as_it in zip(e.class_names, *counts, strict=True)
    ]


def weakest_classes(e: EvaluationFile, most: int | None = None) -> list[ClassRow]:
    """The classes that occur, those with the lowest accuracy first; among equals, those with more
    images first."""
    rows = [row for row in class_rows(e) if row.recall is not None]
    return sorted(rows, key=lambda row: (row.recall or 0.0, -row.images))[:most]


def errors(e: EvaluationFile) -> list[int]:
    """The numbers of the images that were classified wrong, the most confident ones first."""
    wrong = (true_labels(e) != predicted_labels(e)).nonzero()[0]
    order = np.argsort(-confidences(e)[wrong], kind="stable")
    indices: list[int] = wrong[order].tolist()
    return indices


def confused_pairs(e: EvaluationFile, most: int | None = None) -> list[ConfusedPair]:
    """The pairs of classes that were confused, the most frequent ones first."""
    label, predicted = true_labels(e), predicted_labels(e)
    of_class = np.bincount(label)
    count = Counter(zip(label.tolist(), predicted.tolist(), strict=True))
    pairs = [
        ConfusedPair(a, b, images, 100 * images / int(of_class[a]))
        for (a, b), images in sorted(count.items())
        if a != b
    ]
    return sorted(pairs, key=lambda pair: -pair.images)[:most]


def shown_errors(e: EvaluationFile) -> list[int]:
    """The errors that a page shows with a picture, in their order: examples of the most frequent
    confusions, and the most confident ones, at most 150."""
    in_order = errors(e)
    pairs = {(pair.label, pair.predicted): 0 for pair in confused_pairs(e, FREQUENT_PAIRS)}
    chosen = set(in_order[:MOST_CONFIDENT])
    for i in in_order:
        pair = e.images[i].label, e.images[i].top[0].label
        if pairs.get(pair, PER_PAIR) < PER_PAIR:
            pairs[pair] += 1
            chosen.add(i)
    return [i for i in in_order if i in chosen]


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
