"""Images that are the same, by their features.

The features of an image differ a little from one encoding to the next: with the size of the batch,
the device and the precision. And methods see the direction of a feature, not its length. So two
images are taken to be the same if the cosine of their features is almost 1.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pyg_graphadapter.graph import unit

SAME_IMAGE = 1e-5  # the largest distance from 1 of the cosine of two encodings of an image
ROWS, COLUMNS = 512, 8192  # of one block of cosines
POWER_STEPS = 8


def groups_of_copies(x: Tensor) -> Tensor:
    """The group ``[N]`` of each image, by its features ``[N, D]``, counted from 0 in the order of
    their first images. Images that are the same are of one group, and so are those that a chain of
    such pairs connects."""
    group = torch.arange(len(x))
    for rows, columns, is_same in _blocks(x, x):
        row_group, column_group = group[rows], group[columns]
        is_new = is_same & (row_group.unsqueeze(1) != column_group)
        if is_new.any():
            i, j = is_new.nonzero().unbind(dim=1)
            group = _joined(group, row_group[i], column_group[j])
    _, first, number = np.unique(group.numpy(), return_index=True, return_inverse=True)
    rank = first.argsort().argsort()
    return torch.from_numpy(rank[number]).long()


def are_copies(
    x: Tensor, others: Tensor, y: Tensor | None = None, other_y: Tensor | None = None
) -> Tensor:
    """Which images ``[N]`` are among others, by the features ``[N, D]`` and ``[M, D]`` of both; if
    labels are given, among those with the same label."""
    is_copy = torch.zeros(len(x), dtype=torch.bool)
    for rows, columns, is_same in _blocks(x, others):
        if y is not None and other_y is not None:
            is_same = is_same & (y[rows].unsqueeze(1) == other_y[columns])
        is_copy[rows] |= is_same.any(dim=1)
    return is_copy


def _joined(group: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """The groups ``[N]`` when the groups ``i`` and ``j`` ``[E]`` are joined pair by pair."""
    edges = coo_array(
        (np.ones(len(i), dtype=np.int8), (i.numpy(), j.numpy())), shape=(len(group), len(group))
    )
    _, component = connected_components(edges, directed=False)
    return torch.from_numpy(component).long()[group]


def _blocks(x: Tensor, others: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    r"""The rows of both sides that may be the same, in blocks of bounded size: their indices
    ``[R]`` and ``[S]``, and which are the same ``[R, S]``.

    For rows of length one, :math:`{\Vert \mathbf{a} - \mathbf{b} \Vert}^2 = 2 (1 - \cos)`. The
    projections of two rows on any line are not farther apart than the rows. So both sides are
    sorted by their projection on the line along which they vary most, and a block of rows is
    compared with those others alone whose projections are near.
    """
    if not len(x) or not len(others):
        return
    x, others = unit(x.detach()).float().cpu(), unit(others.detach()).float().cpu()
    line = _widest_line(others)
    at, order = (x @ line).sort()
    other_at, other_order = (others @ line).sort()
    radius = (2 * SAME_IMAGE) ** 0.5 + 1e-5  # and the rounding of projections
    for start in range(0, len(x), ROWS):
        rows, near = order[start : start + ROWS], at[start : start + ROWS]
        low = int(torch.searchsorted(other_at, near[0] - radius))
        high = int(torch.searchsorted(other_at, near[-1] + radius, right=True))
        for left in range(low, high, COLUMNS):
            columns = other_order[left : min(left + COLUMNS, high)]
            yield rows, columns, _is_same(x[rows], others[columns])


def _is_same(a: Tensor, b: Tensor) -> Tensor:
    """Which rows of length one, or zero, are the same ``[N, M]``."""
    lengths = a.square().sum(dim=1, keepdim=True) + b.square().sum(dim=1)
    is_same: Tensor = lengths - 2 * a @ b.t() < 2 * SAME_IMAGE
    return is_same


def _widest_line(x: Tensor) -> Tensor:
    """About the first principal direction of rows ``[D]``, by the power method."""
    centred = x - x.mean(dim=0)
    line: Tensor = torch.ones(x.size(1)) / max(1, x.size(1)) ** 0.5
    for _ in range(POWER_STEPS):
        line = unit(centred.t() @ (centred @ line))
    return line
