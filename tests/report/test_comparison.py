import warnings

import pytest
from scipy import stats

from pyg_graphadapter.report.comparison import duel, duel_table
from tests.results import result


def runs(method, *accuracy, shots=1, **more):
    return [result(method, shots, seed, value, **more) for seed, value in enumerate(accuracy)]


def test_wins_ties_and_losses():
    results = [
        *runs("a", 50.0, 51.0, 52.0), *runs("b", 40.0, 41.2, 42.1),  # a win
        *runs("a", 50.0, 51.0, 52.0, shots=2), *runs("b", 50.3, 50.8, 52.1, shots=2),  # a tie
        *runs("a", 30.0, 31.0, 30.5, dataset="c"), *runs("b", 35.0, 36.1, 35.4, dataset="c"),
    ]  # fmt: skip
    found = duel(results, "a", "b")
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    differences = [9.9, -1 / 15, -5.0]
    assert found.difference == pytest.approx(sum(differences) / 3)
    assert found.p_value == pytest.approx(stats.wilcoxon(differences).pvalue)
    back = duel(results, "b", "a")
    assert (back.wins, back.losses, back.difference) == (1, 1, pytest.approx(-found.difference))


def test_only_runs_that_both_have_are_compared():
    results = [*runs("a", 50.0, 60.0, 70.0), *runs("b", 49.0)]
    assert duel(results, "a", "b").difference == pytest.approx(1.0)
    assert duel(results, "a", "b").ties == 1  # one seed tells nothing
    assert duel([*runs("a", 50.0), *runs("b", 50.0, shots=2)], "a", "b") is None
    assert duel([*runs("a", 50.0), *runs("b", 50.0, dataset="c")], "a", "b") is None


@pytest.mark.parametrize(("other", "expected"), [(49.0, (1, 0)), (50.0, (0, 1))])
def test_differences_without_any_spread(other, expected):
    results = [*runs("a", 50.0, 50.0, 50.0), *runs("b", other, other, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = duel(results, "a", "b")
    assert (found.wins, found.ties) == expected
    assert found.p_value == 1.0


def test_equal_differences_but_for_rounding():
    results = [*runs("a", 50.1, 50.2, 50.3), *runs("b", 50.0, 50.1, 50.2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert duel(results, "a", "b").wins == 1


def test_the_table():
    results = [*runs("a", 50.0, 51.0), *runs("b", 40.0, 41.0), {**result("c"), "error": "x"}]
    table = duel_table(results, "a")
    assert table.title == "a against"
    assert [[cell.text for cell in line] for line in table.lines] == [
        ["b", "1 / 0 / 0", "+10.00", "1.000"]
    ]
    assert duel_table(results[:2], "a") is None
    assert duel_table(results, "gone") is None
