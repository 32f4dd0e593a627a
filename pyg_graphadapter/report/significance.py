r"""P-values of paired tests, without scipy, whose import takes longer than the whole report.

Both tests are used as in J. Demšar, `Statistical Comparisons of Classifiers over Multiple Data Sets
<https://jmlr.org/papers/v7/demsar06a.html>`_ (2006).
"""

import math
import statistics
from collections.abc import Sequence


def paired_t_test(differences: Sequence[float]) -> float:
    r"""The two-sided p-value of the paired t-test: that of

    .. math::
        t = \frac{\bar{d}}{s_d / \sqrt{n}}

    under Student's distribution with :math:`n - 1` degrees of freedom.

    Args:
        differences (sequence of float): The differences :math:`d` of the pairs, two or more that
            are not all the same.
    """
    n = len(differences)
    error = statistics.stdev(differences) / math.sqrt(n)
    return student_tail(abs(statistics.fmean(differences)) / error, n - 1)


def student_tail(t: float, freedom: int) -> float:
    r"""The probability :math:`P(|T| > t)` under Student's distribution with a whole number
    :math:`\nu` of degrees of freedom, by its finite series (Abramowitz and Stegun, Equations 26.7.3
    and 26.7.4), in :math:`\theta = \arctan(t / \sqrt{\nu})`.

    Args:
        t (float): A number that is not negative.
        freedom (int): The degrees of freedom, at least one.
    """
    theta = math.atan(t / math.sqrt(freedom))
    cosine_squared = math.cos(theta) ** 2
    # 1 + 2/3 cos² + (2·4)/(3·5) cos⁴ + … for odd, 1 + 1/2 cos² + (1·3)/(2·4) cos⁴ + … for even:
    is_odd = freedom % 2
    term = total = 1.0
    for k in range(2 + is_odd, freedom - 1, 2):
        term *= (k - 1) / k * cosine_squared
        total += term
    if freedom == 1:
        return 1 - 2 * theta / math.pi
    if is_odd:
        return 1 - 2 / math.pi * (theta + math.sin(theta) * math.cos(theta) * total)
    return 1 - math.sin(theta) * total


def signed_rank_test(differences: Sequence[float]) -> float:
    r"""The two-sided p-value of Wilcoxon's signed-rank test, exact, with mean ranks for ties.
    Differences of zero are left out.

    The smaller rank sum is compared with its distribution over all :math:`2^n` signs, which is
    counted by dynamic programming over twice the ranks, as these are whole numbers.

    Args:
        differences (sequence of float): The differences of the pairs.

    Returns:
        float: The p-value; 1 if all differences are zero.
    """
    changes = [difference for difference in differences if difference != 0]
    ranks = doubled_ranks([abs(change) for change in changes])
    positive = sum(rank for rank, change in zip(ranks, changes, strict=True) if change > 0)
    smaller = min(positive, sum(ranks) - positive)
    counts = [1] + [0] * sum(ranks)  # of choices of signs, by the rank sum of the positive ones
    for rank in ranks:
        for total in range(len(counts) - 1, rank - 1, -1):
            counts[total] += counts[total - rank]
    return min(1.0, sum(counts[: smaller + 1]) / 2.0 ** (len(ranks) - 1))


def doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of every value, from 1; equal values have the mean of their ranks."""
    ordered = sorted(values)
    first = {value: i for i, value in reversed(list(enumerate(ordered, 1)))}
    last = {value: i for i, value in enumerate(ordered, 1)}
    return [first[value] + last[value] for value in values]
