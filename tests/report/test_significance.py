"""Against scipy, over many random inputs."""

import warnings

import numpy as np
import pytest
from scipy import stats

from pyg_graphadapter.report.significance import (
    doubled_ranks,
    paired_t_test,
    signed_rank_test,
    student_tail,
)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 9, 10, 29, 100, 101])
def test_student_is_scipys(freedom):
    for t in (0.0, 0.1, 0.7, 1.0, 2.5, 10.0, 60.0):
        expected = 2 * stats.t.sf(t, freedom)
        assert student_tail(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_paired_t_test_is_scipys(seed):
    generator = np.random.default_rng(seed)
    differences = generator.normal(0.3, 1.0, generator.integers(2, 12))
    expected = stats.ttest_1samp(differences, 0.0).pvalue
    assert paired_t_test(list(differences)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_the_signed_rank_test_is_scipys(seed):
    generator = np.random.default_rng(seed)
    differences = generator.normal(0.3, 1.0, generator.integers(1, 25))
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_test(list(differences)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_ties_and_zeros_are_scipys_over_all_signs(seed):
    generator = np.random.default_rng(seed)
    differences = generator.integers(-3, 4, 8).astype(float)
    if not differences.any():
        differences[0] = 1.0
    changes = differences[differences != 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = stats.PermutationMethod(n_resamples=2**9)
        expected = stats.wilcoxon(changes, method=method).pvalue
    assert signed_rank_test(list(differences)) == pytest.approx(expected, rel=1e-10)


def test_by_hand():
    assert doubled_ranks([3.0, 1.0, 3.0]) == [5, 2, 5]
    assert signed_rank_test([1.0, 2.0, 3.0]) == 2 / 8
    assert signed_rank_test([0.0, 0.0]) == 1.0
    assert student_tail(1.0, 1) == pytest.approx(0.5)
