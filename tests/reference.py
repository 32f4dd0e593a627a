"""The published arithmetic in a slow and dense form."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def positive_cosine(x: Tensor) -> Tensor:
    """The cosine similarities of all rows of ``x``, with zero for negative ones ``[N, N]``."""
    x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return (x @ x.t()).relu()


def dense_reference(nodes: Tensor, queries: Tensor, self_loop_weight: float = 2.0) -> Tensor:
    """``D^-1/2 A D^-1/2 X`` at the query, over the graph of all nodes and one query, for each query
    in turn. The published diagonal of ``A`` is cosine 1 plus the identity.
    """
    rows = []
    for query in queries:
        x = torch.cat([nodes, query.unsqueeze(0)])  # [K + 1, D]
        diagonal = torch.eye(x.size(0), dtype=torch.bool)
        adj = positive_cosine(x).masked_fill(diagonal, self_loop_weight)
        deg = adj.sum(dim=1)
        scale = torch.where(deg > 0, deg, 1).rsqrt() * (deg > 0)  # 0 for a node without any edge
        rows.append((scale.unsqueeze(1) * adj * scale.unsqueeze(0) @ x)[-1])
    return torch.stack(rows)


def class_weights_reference(
    text: Tensor,
    prototypes: Tensor,
    w_text: Tensor,
    b_text: Tensor,
    w_image: Tensor,
    b_image: Tensor,
    alpha: float,
    beta: float,
    groups: int,
    act: Callable[[Tensor], Tensor] = torch.tanh,
) -> Tensor:
    """The adapted class features. Class ``c`` is a node of sub-graph ``c`` modulo ``groups``; the
    queries are convolved with every sub-graph, with the same ``W`` and ``b``.
    """
    text = F.normalize(text, dim=1)
    group = torch.arange(len(text)) % groups

    def side(nodes: Tensor, w: Tensor, b: Tensor) -> Tensor:
        sub_graphs = [nodes[group == g] for g in range(groups) if (group == g).any()]
        h = [act(dense_reference(sub_graph, text) @ w + b) for sub_graph in sub_graphs]
        return torch.stack(h).mean(dim=0)

    z = beta * side(text, w_text, b_text) + (1 - beta) * side(prototypes, w_image, b_image)
    return F.normalize(alpha * text + (1 - alpha) * z, dim=1)


def graph_adapter_reference(
    text: Tensor,
    prototypes: Tensor,
    w_text: Tensor,
    b_text: Tensor,
    w_image: Tensor,
    b_image: Tensor,
    alpha: float,
    beta: float,
    groups: int,
    scale: float,
    x: Tensor,
) -> Tensor:
    """The logits of images ``x`` ``[B, D]``."""
    weights = class_weights_reference(
        text, prototypes, w_text, b_text, w_image, b_image, alpha, beta, groups
    )
    return scale * F.normalize(x, dim=1) @ weights.t()
