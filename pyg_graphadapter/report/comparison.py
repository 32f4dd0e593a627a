"""Paired tests of methods, over seeds and over data sets."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyg_graphadapter.report.results import Measured, measured
from pyg_graphadapter.report.significance import paired_t_test, signed_rank_test
from pyg_graphadapter.report.tables import Cell, Table, marked

SIGNIFICANT = 0.05
EXACT = 1e-6  # points; smaller differences are rounding errors
Place = tuple[str, int]  # a task and a number of shots


@dataclass(frozen=True)
class Duel:
    """A comparison of two methods, at all places where both were measured with the same seeds.

    Args:
        first (str): A method.
        second (str): Another.
        wins (int): Places (a task at a number of shots) where the first is better over the
            seeds, significantly by a paired t-test.
        ties (int): Places where no difference is significant.
        losses (int): Places where the second is better, significantly.
        difference (float): The mean difference over places, in points.
        p_value (float): The p-value of Wilcoxon's signed-rank test over the mean differences of the
            places; 1 if all are zero.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    difference: float
    p_value: float


def duel(results: Sequence[dict[str, Any]], first: str, second: str) -> Duel | None:
    """Compares two methods, by their labels; :obj:`None` if they share no place.

    The draws are the same for all methods, so runs with the same seed are pairs
    (:mod:`~pyg_graphadapter.report.significance`).
    """
    return _duel(measured(results), first, second)


def _duel(runs: Sequence[Measured], first: str, second: str) -> Duel | None:
    pairs = _pairs(runs, first, second)
    if not pairs:
        return None
    outcomes = [_outcome(differences) for differences in pairs.values()]
    means = [statistics.fmean(differences) for differences in pairs.values()]
    return Duel(
        first,
        second,
        outcomes.count(1),
        outcomes.count(0),
        outcomes.count(-1),
        statistics.fmean(means),
        signed_rank_test(means),
    )


def _pairs(runs: Sequence[Measured], first: str, second: str) -> dict[Place, list[float]]:
    """For every place, the differences of accuracy over the seeds that both methods have."""
    accuracy: dict[str, dict[tuple[Place, int], float]] = {first: {}, second: {}}
    for run in runs:
        if run.label in accuracy:
            place = (run.name, run.result["shots"])
            accuracy[run.label][place, run.result["seed"]] = run.result["accuracy"]
    pairs: dict[Place, list[float]] = {}
    for place, seed in accuracy[first].keys() & accuracy[second].keys():
        difference = accuracy[first][place, seed] - accuracy[second][place, seed]
        pairs.setdefault(place, []).append(difference)
    return pairs


def _outcome(differences: Sequence[float]) -> int:
    """1 for a win, -1 for a loss, 0 where the difference is not significant."""
    mean = 0.0
    if len(differences) > 1 and max(differences) - min(differences) < EXACT:
        mean = round(statistics.fmean(differences), 6)  # no spread to test against
    elif len(differences) > 1 and paired_t_test(differences) < SIGNIFICANT:
        mean = statistics.fmean(differences)
    return (mean > 0) - (mean < 0)


def duel_table(results: Sequence[dict[str, Any]], reference: str) -> Table | None:
    """Compares a method, by its label, with all others; :obj:`None` if there are none."""
    runs = measured(results)
    labels = dict.fromkeys(run.label for run in runs)
    duels = [_duel(runs, reference, other) for other in labels if other != reference]
    lines = [
        (
            Cell(comparison.second),
            Cell(f"{comparison.wins} / {comparison.ties} / {comparison.losses}"),
            Cell(f"{comparison.difference:+.2f}"),
            Cell(f"{comparison.p_value:.3f}"),
        )
        for comparison in duels
        if comparison is not None
    ]
    if not lines:
        return None
    return Table(
        f"{reference} against",
        ("method", "win / tie / loss", "difference", "p"),
        tuple(lines),
        f"How often {reference} is better, not told apart, or worse (paired t-test over the seeds "
        f"at a level of {SIGNIFICANT:g}), on every task at every number of shots; its mean "
        "difference in points, and the p-value of Wilcoxon's signed-rank test over them."
        + marked(labels),
    )
