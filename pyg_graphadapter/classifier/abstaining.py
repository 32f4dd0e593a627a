"""From which probability on a classifier answers, so that few of its answers are wrong."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pyg_graphadapter.classifier.confidence import DIVERGED, OLDER, SWITCHED_OFF, Confidence
from pyg_graphadapter.features import counted
from pyg_graphadapter.training.folds import even_folds
from pyg_graphadapter.training.held_out import FOLDS
from pyg_graphadapter.training.selection import MANY_SHOTS

DELTA = 0.05  # the probability that more of the answers are wrong than was asked for
AGAIN = {  # what to do first where no image was held out, however many shots there are
    SWITCHED_OFF: "fit it again with calibration, and with",
    OLDER: "fit it again, with",
    DIVERGED: "fit it again so that training does not diverge, with",
}


@dataclass(frozen=True)
class Threshold:
    """From where on a classifier answers.

    Args:
        probability (float): The probability of the likeliest class must be above it.
        max_error (float): The error rate among the answers that was asked for.
        num_answered (int): How many of the held-out images are above it.
        num_wrong (int): How many of these are classified wrong.
    """

    probability: float
    max_error: float
    num_answered: int
    num_wrong: int

    def reason(self, probability: float) -> str | None:
        """Why an image whose likeliest class has this probability has no answer; :obj:`None` if it
        has one."""
        if probability > self.probability:
            return None
        return (
            f"no answer: the probability {probability:.3g} is not above {self.probability:.3g}, "
            f"from where on at most {100 * self.max_error:g} % of the answers are wrong"
        )


def threshold_of(
    confidence: Confidence, max_error: float, num_classes: int, *, only_one: bool = False
) -> Threshold:
    r"""The lowest probability above which at most :obj:`max_error` of the answers are wrong, with a
    probability of 95 % over the held-out images (`"Selective Classification for Deep Neural
    Networks" <https://arxiv.org/abs/1705.08500>`_, Section 3; `"Learn then Test"
    <https://arxiv.org/abs/2110.01052>`_, Section 2.3).

    Of the :math:`m` surest of the held-out images, :math:`k` are classified wrong. Above the
    probability of the next one, the error rate is below :math:`\varepsilon` unless

    .. math::
        P(B_{m, \varepsilon} \leq k) > \delta

    with a binomial :math:`B` (the bound of Clopper and Pearson). This is tested for rising
    :math:`m`, up to the first that fails. To try several :math:`m` would make a lucky one likely,
    so the :math:`J` sequences start at fixed numbers :math:`m_0, 2 m_0, 4 m_0, \dots`, and each of
    them has the level :math:`\delta = 0.05 / J`; :math:`m_0` is the fewest images whose error rate
    can be bounded at all at this level. Steps within a sequence hold if images that the classifier
    is less sure of are not more often right.

    Args:
        confidence (Confidence): The confidence of a classifier.
        max_error (float): The error rate :math:`\varepsilon`, above 0 and below 1.
        num_classes (int): The number of classes, for what is said of shots that are lacking.
        only_one (bool, optional): Whether the method holds out one fold, however few shots there
            are, likewise. (default: :obj:`False`)

    Raises:
        ValueError: If there are too few held-out images, or too many of them are classified wrong.
    """
    check_max_error(max_error)
    total = len(confidence.probability)
    needed = fewest_images(max_error, DELTA)
    if total < needed:
        shots = fewest_shots(needed, num_classes, only_one=only_one)
        there = f"there are {total} ({confidence.source})" if total else _none(confidence)
        part = "" if only_one or shots * num_classes > MANY_SHOTS else _part(confidence)
        raise ValueError(
            f"An error rate of at most {100 * max_error:g} % needs at least {needed} held-out "
            f"images without error, and {there}: {AGAIN.get(confidence.source, 'give')} "
            f"{counted(shots, 'shot')} per class{part}, or allow more errors."
        )
    num_wrong = (~confidence.is_right).long().cumsum(0).numpy()  # [M], among the first images
    answered = _answered(num_wrong, max_error)
    if answered:
        below = float(confidence.probability[answered]) if answered < total else 0.0
        is_answered = confidence.probability > below  # without those that are equal to it
        wrong = is_answered & ~confidence.is_right
        return Threshold(below, max_error, int(is_answered.sum()), int(wrong.sum()))
    first = starts_of(total, max_error)[0]
    smallest = _smallest(num_wrong)
    instead = f"{smallest} % can be promised" if smallest else "no error rate can be promised"
    raise ValueError(
        f"An error rate of at most {100 * max_error:g} % cannot be promised: of the {first} "
        f"surest of {total} held-out images, {int(num_wrong[first - 1])} are classified wrong; "
        f"{instead}. Allow more errors, or give more shots."
    )


def check_max_error(max_error: float) -> None:
    """Checks an error rate.

    Raises:
        ValueError: If it is not a number above 0 and below 1.
    """
    is_number = isinstance(max_error, int | float) and not isinstance(max_error, bool)
    if not is_number or not 0 < max_error < 1:
        raise ValueError(
            f"The largest error rate must be above 0 and below 1, as 0.05 (got {max_error!r})."
        )


def fewest_images(max_error: float, delta: float) -> int:
    r"""The fewest images without error that bound an error rate,
    :math:`\lceil \log \delta / \log(1 - \varepsilon) \rceil`."""
    return math.ceil(math.log(delta) / math.log1p(-max_error))


def fewest_shots(needed: int, num_classes: int, *, only_one: bool) -> int:
    """The fewest shots per class of which so many are held out
    (:func:`~pyg_graphadapter.training.held_out.held_out_logits`)."""
    shots = 2
    while True:
        total = shots * num_classes
        is_one_fold = only_one or total > MANY_SHOTS
        folds = min(shots, even_folds([shots], FOLDS)) if is_one_fold else 1
        if math.ceil(total / folds) >= needed:
            return shots
        shots += 1


def starts_of(total: int, max_error: float) -> list[int]:
    """The numbers of surest images at which sequences of tests start; each has an equal part of the
    level."""
    starts: list[int] = []
    while True:
        first = fewest_images(max_error, DELTA / (len(starts) + 1))
        if first * 2 ** len(starts) > total:
            return starts
        starts = [first * 2**j for j in range(len(starts) + 1)]


def _answered(num_wrong: NDArray[np.integer], max_error: float) -> int:
    """How many of the surest images are answered, the most of all sequences; 0 if none can be."""
    starts = starts_of(len(num_wrong), max_error)
    counts = np.arange(1, len(num_wrong) + 1)
    passes = binom.cdf(num_wrong, counts, max_error) <= DELTA / max(1, len(starts))
    fails = np.append(~passes, True)
    ends = [start - 1 + int(fails[start - 1 :].argmax()) for start in starts]
    return max((end for start, end in zip(starts, ends, strict=True) if end >= start), default=0)


def _smallest(num_wrong: NDArray[np.integer]) -> int | None:
    """The smallest error rate in whole percent that can be promised."""
    percents = range(1, 100)
    return next((p for p in percents if _answered(num_wrong, p / 100)), None)


def _none(confidence: Confidence) -> str:
    return f"there are none (the temperature is {confidence.source})"


def _part(confidence: Confidence) -> str:
    """Why fewer shots do than there may be."""
    if not confidence.source.endswith("one fold"):
        return ""
    return f" (of more than {MANY_SHOTS:,} shots in total, a part is held out)"
