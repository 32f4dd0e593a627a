"""What is measured: every way to the same output, as ``prepare`` (the graph) and ``apply``."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import GCNConv
from torch_geometric.utils import to_torch_csr_tensor

from pyg_graphadapter import cosine_edges, knowledge_graph, weighted_degree
from pyg_graphadapter.graph import row_blocks
from pyg_graphadapter.nn import KnowledgeConv

Graph = tuple[Tensor, ...]

SIZES = (10, 30, 100, 200, 400, 1000)
NEIGHBOUR_SIZES = (1000, 20000)
NEIGHBOURS = 16


@dataclass(frozen=True)
class Case:
    """One way to compute the layer; ``memory`` estimates its peak in bytes where that may be huge.

    ``prepare`` makes the graph of ``(nodes, queries)``; ``apply`` makes outputs of
    ``(conv, nodes, queries, graph)``; ``floor`` is what must be computed in any case.
    """

    apply: Callable[[KnowledgeConv, Tensor, Tensor, Graph], Graph]
    prepare: Callable[[Tensor, Tensor], Graph] | None = None
    floor: str = "bare_products"
    modes: tuple[str, ...] = ("forward", "frozen", "trained")
    sizes: tuple[int, ...] = SIZES
    memory: Callable[[int, int, str], float] = lambda num_classes, channels, mode: 0


def complete(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The layer without edges."""
    return (conv((nodes, queries)),)


def bare_products(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The matrix products that the complete graph needs, and nothing else."""
    return conv.lin(queries @ nodes.t() @ nodes), nodes @ nodes.t()


def bare_linear(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The product with the weight alone: the floor where the graph is given."""
    return (conv.lin(queries),)


def bare_cosines(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """All similarities among the nodes, in the same blocks, kept nowhere."""
    for block in row_blocks(nodes.size(0), nodes.size(0)):
        nodes[block] @ nodes.t()
    return ()


def complete_edges(nodes: Tensor, queries: Tensor, k: int | None = None) -> Graph:
    """Edge list, weights and node degrees."""
    graph = knowledge_graph(nodes, k)
    deg = weighted_degree(graph.edge_index, graph.edge_weight, nodes.size(0))
    return *cosine_edges(nodes, queries, k), deg


def neighbour_edges(nodes: Tensor, queries: Tensor) -> Graph:
    """Edge list, weights and node degrees of the nearest neighbours alone."""
    return complete_edges(nodes, queries, NEIGHBOURS)


def edge_list(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The layer on an edge list."""
    return (conv((nodes, queries), *graph),)


def complete_adjacency(nodes: Tensor, queries: Tensor, k: int | None = None) -> Graph:
    """Sparse matrix ``[queries, nodes]`` in CSR layout, and node degrees."""
    edge_index, edge_weight, deg = complete_edges(nodes, queries, k)
    size = (queries.size(0), nodes.size(0))
    return to_torch_csr_tensor(edge_index.flip(0), edge_weight, size), deg


def neighbour_adjacency(nodes: Tensor, queries: Tensor) -> Graph:
    """Sparse matrix and node degrees of the nearest neighbours alone."""
    return complete_adjacency(nodes, queries, NEIGHBOURS)


def sparse(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The layer on a sparse matrix."""
    adj_t, deg = graph
    return (conv((nodes, queries), adj_t, deg=deg),)


def graphs_with_query(nodes: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``[C, K + 1, D]`` and adjacency ``[C, K + 1, K + 1]``, the query being the last."""
    p, t = F.normalize(nodes, dim=-1), F.normalize(queries, dim=-1)
    among, across = (p @ p.t()).clamp(min=0), (t @ p.t()).clamp(min=0)
    num_queries, num_nodes = across.shape
    column = torch.cat([across, across.new_ones(num_queries, 1)], dim=1)  # [C, K + 1]
    adj = torch.cat([among.expand(num_queries, -1, -1), across.unsqueeze(1)], dim=1)
    adj = torch.cat([adj, column.unsqueeze(2)], dim=2)
    adj = adj + torch.eye(num_nodes + 1, device=adj.device)
    x = torch.cat([nodes.expand(num_queries, -1, -1), queries.unsqueeze(1)], dim=1)
    return x, adj


def graph_per_class(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The definition, word for word: normalise and convolve each graph, read the query's row."""
    x, adj = graphs_with_query(nodes, queries)
    scale = adj.sum(dim=2).rsqrt()  # [C, K + 1]
    out = conv.lin(torch.bmm(scale.unsqueeze(2) * adj * scale.unsqueeze(1), x))
    return (out[:, -1] + conv.bias,)


def batched_graphs(nodes: Tensor, queries: Tensor) -> Graph:
    """The graphs of :func:`graphs_with_query` as one batch: features, edge list and weights."""
    x, adj = graphs_with_query(nodes, queries)
    num_graphs, size = x.shape[:2]
    offset = torch.arange(num_graphs, device=x.device).view(-1, 1, 1) * size
    index = torch.arange(size, device=x.device)
    source = (offset + index.view(1, 1, -1)).expand_as(adj)
    target = (offset + index.view(1, -1, 1)).expand_as(adj)
    return x.flatten(0, 1), torch.stack([source.flatten(), target.flatten()]), adj.flatten()


def gcn_conv(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """PyG's own layer on the batch, with the same parameters; self-loops of 2 are in the list."""
    gcn = GCNConv(conv.in_channels, conv.out_channels, add_self_loops=False)
    gcn.lin, gcn.bias = conv.lin, conv.bias
    out = gcn(*graph)
    return (out.view(queries.size(0), -1, conv.out_channels)[:, -1],)


def build_graph(conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph) -> Graph:
    """The nearest neighbours of every node."""
    knowledge_graph(nodes, NEIGHBOURS)
    return ()


def graph_per_class_memory(num_classes: int, channels: int, mode: str) -> float:
    """Matrices ``[C, K + 1, K + 1]`` and ``[C, K + 1, D]``, as many of each as were measured."""
    copies = 3.6 if mode == "trained" else 2.2
    return 4 * copies * num_classes * (num_classes + 1) * (num_classes + 1 + channels)


def messages_memory(num_edges: int, channels: int, mode: str) -> float:
    """Messages ``[E, D]``, gathered and scaled; their gradients as well if features train."""
    copies = 4 if mode == "trained" else 2
    return 4 * copies * num_edges * channels


def gcn_conv_memory(num_classes: int, channels: int, mode: str) -> float:
    """The messages on all edges of all graphs."""
    return messages_memory(num_classes * (num_classes + 1) ** 2, channels, mode)


def edge_list_memory(num_classes: int, channels: int, mode: str) -> float:
    """The messages on the edges of one bipartite graph."""
    return messages_memory(num_classes**2, channels, mode)


NEIGHBOUR_MODES = ("forward", "frozen")
CASES = {
    "bare_products": Case(bare_products),
    "complete": Case(complete),
    "edge_list": Case(edge_list, complete_edges, memory=edge_list_memory),
    "sparse": Case(sparse, complete_adjacency),
    "graph_per_class": Case(graph_per_class, memory=graph_per_class_memory),
    "gcn_conv": Case(gcn_conv, batched_graphs, memory=gcn_conv_memory),
    "knn_graph_build": Case(
        build_graph, floor="bare_cosines", modes=("forward",), sizes=NEIGHBOUR_SIZES
    ),
    "knn_edge_list": Case(
        edge_list, neighbour_edges, "bare_linear", NEIGHBOUR_MODES, NEIGHBOUR_SIZES
    ),
    "knn_sparse": Case(
        sparse, neighbour_adjacency, "bare_linear", NEIGHBOUR_MODES, NEIGHBOUR_SIZES
    ),
}
FLOORS = {
    "bare_products": Case(bare_products),
    "bare_linear": Case(bare_linear),
    "bare_cosines": Case(bare_cosines),
}
