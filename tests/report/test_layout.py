from itertools import combinations

import numpy as np
import pytest

from pyg_graphadapter.report.layout import best_layout

PENTAGON = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])


@pytest.mark.parametrize(("width", "height"), [(1.0, 1.0), (30.0, 2.0), (1.0, 50.0)])
@pytest.mark.parametrize("ends", [PENTAGON, PENTAGON[:1], PENTAGON[[0, 2]]])
def test_boxes_do_not_overlap(width, height, ends):
    size = np.array([[width, height]] * 5)
    centre = best_layout(size, ends, layouts=4)
    for i, j in combinations(range(5), 2):
        assert (np.abs(centre[i] - centre[j]) >= size[0] - 1e-6).any()


def test_edges_of_a_ring_do_not_cross():
    centre = best_layout(np.ones((5, 2)), PENTAGON, layouts=4)
    around = np.arctan2(*(centre - centre.mean(axis=0)).T)
    assert sorted(np.diff(np.argsort(around)) % 5) in ([1] * 4, [4] * 4)


def test_the_same_layout_every_time():
    size = np.random.default_rng(1).uniform(1, 5, (5, 2))
    assert np.array_equal(best_layout(size, PENTAGON, 3), best_layout(size, PENTAGON, 3))
