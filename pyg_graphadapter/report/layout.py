"""Positions of the boxes of a figure, so that no two overlap and few lines between them cross.

Networkx and numpy are imported when something is drawn.
"""

from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

GRAVITY = 0.03  # holds parts together that no edge connects


def best_layout(
    size: "np.ndarray[Any, Any]", ends: "np.ndarray[Any, Any]", layouts: int
) -> "np.ndarray[Any, Any]":
    """The best of several layouts: the one in which the fewest edges run below a box or cross.

    Args:
        size (numpy.ndarray): Width and height of the boxes ``[n, 2]``.
        ends (numpy.ndarray): The two boxes that each edge connects ``[E, 2]``.
        layouts (int): The number of layouts.

    Returns:
        numpy.ndarray: The centres of the boxes ``[n, 2]``, in the unit of their size.
    """
    return min(
        (_spread(_spring(len(size), ends, seed), size) for seed in range(layouts)),
        key=lambda centre: _clutter(centre, size, ends),
    )


def _spring(num_nodes: int, ends: "np.ndarray[Any, Any]", seed: int) -> "np.ndarray[Any, Any]":
    """Positions ``[n, 2]`` by springs along the edges."""
    import networkx
    import numpy as np

    graph = networkx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_weighted_edges_from((i, j, GRAVITY) for i, j in combinations(range(num_nodes), 2))
    graph.add_weighted_edges_from((i, j, 1.0) for i, j in ends.tolist())
    layout: dict[int, Any] = networkx.spring_layout(graph, seed=seed, iterations=150)
    return np.array([layout[i] for i in range(num_nodes)])


def _spread(
    position: "np.ndarray[Any, Any]", size: "np.ndarray[Any, Any]"
) -> "np.ndarray[Any, Any]":
    """Positions in points, at which boxes of these sizes ``[n, 2]`` do not overlap."""
    import numpy as np

    area = 3.5 * size.prod(axis=1).sum()
    extent = np.ptp(position, axis=0).clip(min=1e-9)
    stretch = np.sqrt(area * np.array([1.6, 1 / 1.6]))
    centre: np.ndarray[Any, Any] = (position - position.min(axis=0)) / extent * stretch
    needed = (size[:, None] + size[None]) / 2  # [n, n, 2]
    for _ in range(1000):
        offset = centre[:, None] - centre[None]  # [n, n, 2]
        overlap = (needed - np.abs(offset)).clip(min=0)
        apart = overlap.min(axis=2) <= 1e-6
        np.fill_diagonal(apart, val=True)
        if apart.all():
            break
        along_x = overlap[..., 0] < overlap[..., 1]  # the shorter way
        way = np.stack([along_x, ~along_x], axis=2) & ~apart[..., None]
        # Of two that lie on the same spot, the first goes to the right:
        sign = np.where(
            offset != 0, np.sign(offset), np.triu(np.ones(apart.shape))[..., None] - 0.5
        )
        centre += (0.26 * way * sign * (overlap + 0.1)).sum(axis=1)
    return centre


def _clutter(
    centre: "np.ndarray[Any, Any]", size: "np.ndarray[Any, Any]", ends: "np.ndarray[Any, Any]"
) -> float:
    """How hard a layout is to read: edges below boxes that they do not belong to count five times,
    crossings once, and the length of the edges decides between equals."""
    import numpy as np

    start, end = centre[ends[:, 0]], centre[ends[:, 1]]  # [E, 2]
    steps = np.linspace(0, 1, 33)[:, None, None]
    points = start + steps * (end - start)  # [33, E, 2]
    inside = (np.abs(points[:, :, None] - centre) < size / 2).all(axis=3).any(axis=0)  # [E, n]
    inside[np.arange(len(ends))[:, None], ends] = False

    def side(a: Any, b: Any, c: Any) -> Any:
        u, v = b - a, c - a
        return np.sign(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    crosses = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    diagonal = np.hypot(*np.ptp(centre, axis=0))
    length = np.hypot(*(end - start).T).mean() / max(diagonal, 1e-9)
    return float(5 * inside.sum() + crosses.sum() / 2 + length)
