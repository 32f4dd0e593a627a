r"""What the class features of GraphAdapter add up from.

On either side, what comes before the activation :math:`\sigma` is a sum over nodes, the self-loop
and the bias. So is what comes after it, with every term scaled by
:math:`\sigma(\mathbf{h}_c) / \mathbf{h}_c` in each dimension (:math:`\sigma^{\prime}(0)` where
:math:`\mathbf{h}_c` is zero). All terms are divided by the length of their sum.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, NAMES, TRAINING
from pyg_graphadapter.graph import cosine_edges, row_blocks
from pyg_graphadapter.nn import KnowledgeConv

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.graph_adapter import GraphAdapter


@torch.no_grad()
def node_parts(adapter: "GraphAdapter") -> dict[str, Tensor]:
    """What :meth:`GraphAdapter.adapted_nodes` adds up from ``[C, D]``: the name, the names in the
    graphs (the text sub-graph and the self-loops), the examples (the image sub-graph), and the
    biases, which training made. With nodes of images, all but the biases are examples. What another
    convolution than the paper's makes of names and examples cannot be told apart."""
    nodes, alpha = adapter.class_nodes, adapter.config.alpha
    name = alpha * nodes
    if adapter.config.is_paper_conv:
        parts = {NAME: name, **_parts_of_sides(adapter)}
        length = torch.stack(list(parts.values())).sum(dim=0).norm(dim=1, keepdim=True)
    else:
        z = adapter.conv.convolve(adapter._sub_graphs()).to(nodes.dtype)
        parts = {NAME: name, TRAINING: (1 - alpha) * z}
        length = (name + parts[TRAINING]).norm(dim=1, keepdim=True)
    parts = {kind: part / length.clamp(min=1e-12) for kind, part in parts.items()}
    if adapter.config.nodes != IMAGES:
        return parts
    training = parts.pop(TRAINING)
    return {EXAMPLES: torch.stack(list(parts.values())).sum(dim=0), TRAINING: training}


def _parts_of_sides(adapter: "GraphAdapter") -> dict[str, Tensor]:
    """What text and image sub-graph add ``[C, D]``, weighted as in the fusion."""
    parts = {kind: torch.zeros_like(adapter.class_nodes) for kind in (NAMES, EXAMPLES, TRAINING)}
    groups = min(adapter.config.groups, adapter.num_classes)
    messages = adapter._messages()
    for side, (conv, share) in adapter.conv.sides().items():
        features = adapter.class_nodes if side == "text" else adapter.image_nodes
        of_groups = messages[side] if groups > 1 else messages[side].unsqueeze(0)  # [G, C, D]
        for g in range(groups):
            h = conv.transform(of_groups[g])
            scale = (1 - adapter.config.alpha) * share / groups * slope(adapter.conv.act, h)
            loop = _self_weights(adapter, conv, features[g::groups]) * adapter.class_nodes
            parts[NAMES] += scale * conv.lin(loop)
            kind = NAMES if side == "text" else EXAMPLES
            parts[kind] += scale * conv.lin(of_groups[g] - loop)
            if conv.bias is not None:
                parts[TRAINING] += scale * conv.bias
    return parts


def slope(act: torch.nn.Module, h: Tensor) -> Tensor:
    """``act(h) / h``, and its limit where ``h`` is zero."""
    smallest = torch.finfo(h.dtype).tiny ** 0.5  # so small that the activation is linear
    h = torch.where(h == 0, smallest, h)
    result: Tensor = act(h) / h
    return result


def _self_weights(adapter: "GraphAdapter", conv: KnowledgeConv, nodes: Tensor) -> Tensor:
    """With what weights classes collect from themselves ``[C, 1]``, by the edges from nodes
    ``[K, D]``."""
    queries, w = adapter.class_nodes, conv.self_loop_weight
    k = None if adapter.config.k is None else min(adapter.config.k, len(nodes))
    weights = queries.new_empty(len(queries))
    for rows in row_blocks(len(queries), len(nodes)):
        (_, query), edge_weight = cosine_edges(nodes, queries[rows], k)
        degree = weights.new_zeros(len(queries[rows])).index_add_(0, query, edge_weight)
        weights[rows] = w / (w + degree).clamp(min=torch.finfo(degree.dtype).tiny)
    return weights.unsqueeze(1)
