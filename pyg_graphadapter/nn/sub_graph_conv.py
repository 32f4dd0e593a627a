"""Any convolution of PyTorch Geometric in the place of :class:`KnowledgeConv`."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric import nn as pyg
from torch_geometric.nn.inits import zeros
from torch_geometric.typing import Adj
from torch_geometric.utils import coalesce
from torch_geometric.utils.sparse import index2ptr

from pyg_graphadapter.nn.knowledge_conv import (
    KnowledgeConv,
    check_finite,
    check_range,
    equal_width,
)
from pyg_graphadapter.settings import unknown

ConvFactory = Callable[..., torch.nn.Module]


class NoGraph(torch.nn.Module):
    r"""No graph at all: every class is transformed by itself,
    :math:`\mathbf{t}^{\prime}_c = \mathbf{W} \mathbf{t}_c`. What the graphs bring is the distance
    to it.

    Args:
        in_channels (int): Size of each input sample.
        out_channels (int): Size of each output sample.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = pyg.Linear(in_channels, out_channels, bias=False)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        self.lin.reset_parameters()

    def forward(self, x: Tensor, edge_index: Adj) -> Tensor:
        """Node features ``[N, F_out]`` of node features ``[N, F_in]``; edges are not used."""
        out: Tensor = self.lin(x)
        return out


def _gin(in_channels: int, out_channels: int, **kwargs: Any) -> torch.nn.Module:
    mlp = pyg.MLP([in_channels, out_channels, out_channels], norm=None)
    conv: torch.nn.Module = pyg.GINConv(mlp, **kwargs)
    return conv


def _without_bias(conv: type[torch.nn.Module], **defaults: Any) -> ConvFactory:
    """A factory of a convolution whose additive bias is left to :class:`SubGraphConv`."""

    def make(in_channels: int, out_channels: int, **kwargs: Any) -> torch.nn.Module:
        return conv(in_channels, out_channels, bias=False, **{**defaults, **kwargs})

    return make


#: The convolutions that have a name, with the defaults of PyTorch Geometric.
CONVS: dict[str, ConvFactory] = {
    "GCNConv": _without_bias(pyg.GCNConv),
    "SAGEConv": _without_bias(pyg.SAGEConv),
    "GraphConv": _without_bias(pyg.GraphConv),
    "GATConv": _without_bias(pyg.GATConv),
    "GATv2Conv": _without_bias(pyg.GATv2Conv),
    "TransformerConv": _without_bias(pyg.TransformerConv),
    "GINConv": _gin,
    "SGConv": _without_bias(pyg.SGConv),
    "TAGConv": _without_bias(pyg.TAGConv),
    "ChebConv": _without_bias(pyg.ChebConv, K=2),
    "LEConv": _without_bias(pyg.LEConv),
    "ResGatedGraphConv": _without_bias(pyg.ResGatedGraphConv),
    "NoGraph": NoGraph,
}

#: The convolutions that make no message per edge, and get a sparse matrix in place of an edge list.
SPARSE_CONVS = (
    NoGraph,
    KnowledgeConv,
    pyg.GCNConv,
    pyg.SAGEConv,
    pyg.GraphConv,
    pyg.GINConv,
    pyg.SGConv,
    pyg.TAGConv,
)


class SubGraph(NamedTuple):
    r"""One sub-graph as a homogeneous graph, whose last nodes are the queries.

    Args:
        x (torch.Tensor): The node features.
        edge_index (torch.Tensor): The edges, sorted by the receiving node.
        edge_weight (torch.Tensor): Their weights; :obj:`1` if the convolution takes none.
        ptr (torch.Tensor): Where the edges of each receiving node start.
        num_queries (int): The number of queries :math:`C`.

    Shapes:
        - **x:** :math:`(N, F)`; **edge_index:** :math:`(2, E)`; **edge_weight:** :math:`(E)`;
          **ptr:** :math:`(N + 1)`
    """

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    ptr: Tensor
    num_queries: int

    def adj_t(self) -> Tensor:
        """The edges as a sparse matrix :math:`(N, N)`, receiving nodes first."""
        num_nodes = self.x.size(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            adj_t: Tensor = torch.sparse_csr_tensor(
                self.ptr, self.edge_index[0], self.edge_weight, (num_nodes, num_nodes)
            )
        return adj_t


class SubGraphConv(torch.nn.Module):
    r"""A convolution over one knowledge sub-graph, read at the queries, plus a bias.

    Many convolutions refuse bipartite input, so nodes and queries are the nodes of one graph. The
    edges' weights are given to convolutions whose :meth:`forward` has an argument
    :obj:`edge_weight`. All others get the edges without weights. Those that need no message per
    edge (:obj:`SPARSE_CONVS`, and modules with a true attribute :obj:`takes_sparse`) get the edges
    as a sparse matrix, which is faster and takes less memory; its values are the weights, or
    :obj:`1`.

    Args:
        in_channels (int or tuple): Size of each input sample.
        out_channels (int): Size of each output sample.
        conv (str or callable): A name in :obj:`CONVS`, or a function that makes a convolution from
            :obj:`in_channels` and :obj:`out_channels`.
        bias (bool, optional): If set to :obj:`False`, no additive bias is learned here.
            (default: :obj:`True`)
        num_queries (int, optional): If given, every query has its own bias.
            (default: :obj:`None`)
        **kwargs (optional): Additional arguments of the convolution.

    Shapes:
        - **input:** a :class:`SubGraph` with :math:`N` nodes
        - **output:** query features :math:`(C, F_{out})`

    Raises:
        ValueError: If there is no convolution of this name, listing all.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        conv: str | ConvFactory,
        bias: bool = True,
        num_queries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if isinstance(conv, str):
            if conv not in CONVS:
                raise unknown("convolution", conv, ["KnowledgeConv", *CONVS])
            conv = CONVS[conv]
        if not callable(conv):
            raise ValueError(
                f"'conv' must be a name or a function that makes a convolution (got {conv!r})."
            )
        if isinstance(in_channels, tuple):
            in_channels = equal_width(in_channels)  # nodes and queries are nodes of one graph
        module = conv(in_channels, out_channels, **kwargs)
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"'conv' must make a torch.nn.Module (got {module!r}).")
        self.conv = module
        self.num_queries = num_queries
        self.out_channels = out_channels
        if bias:
            shape = (out_channels,) if num_queries is None else (num_queries, out_channels)
            self.bias = Parameter(torch.zeros(shape))
        else:
            self.register_parameter("bias", None)
        self.takes_weights = "edge_weight" in inspect.signature(self.conv.forward).parameters
        is_sparse = type(self.conv) in SPARSE_CONVS and getattr(self.conv, "fuse", True)
        self.takes_sparse = getattr(self.conv, "takes_sparse", is_sparse)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        self.conv.reset_parameters()  # type: ignore[operator]
        zeros(self.bias)

    def sub_graph(
        self,
        nodes: Tensor,
        queries: Tensor,
        node_edges: tuple[Tensor, Tensor] | None,
        to_queries: tuple[Tensor, Tensor] | None = None,
    ) -> SubGraph:
        r"""Joins nodes and queries in one graph.

        Args:
            nodes (torch.Tensor): The nodes.
            queries (torch.Tensor): The queries.
            node_edges (tuple, optional): The edges among the nodes, and their weights.
            to_queries (tuple, optional): The edges from nodes to queries, and their weights;
                :obj:`None` if the nodes are the queries. (default: :obj:`None`)

        Shapes:
            - **nodes:** :math:`(K, F)`; **queries:** :math:`(C, F)`
        """
        if nodes.dim() != 2:
            raise ValueError(f"The nodes must be [K, F] (got {list(nodes.shape)}).")
        x, parts = nodes, []
        if node_edges is not None:
            _check_edges(*node_edges, nodes, nodes)
            parts.append(node_edges)
        if to_queries is not None:
            _check_edges(*to_queries, nodes, queries)
            x = torch.cat([nodes, queries.to(nodes.dtype)])
            offset = to_queries[0].new_tensor([[0], [nodes.size(0)]])
            parts.append((to_queries[0] + offset, to_queries[1]))
        edge_index = torch.cat([edge_index for edge_index, _ in parts], dim=1)
        edge_weight = torch.cat([edge_weight for _, edge_weight in parts]).to(x.dtype)
        edge_index, edge_weight = coalesce(edge_index, edge_weight, x.size(0), sort_by_row=False)
        if not self.takes_weights:
            edge_weight = torch.ones_like(edge_weight)
        ptr = index2ptr(edge_index[1], x.size(0))
        return SubGraph(x, edge_index, edge_weight, ptr, queries.size(0))

    def forward(self, graph: SubGraph) -> Tensor:
        """Runs the forward pass of the module."""
        x, num_queries = graph.x, graph.num_queries
        is_half = x.dtype in (torch.float16, torch.bfloat16)
        if self.takes_sparse and not is_half and not torch.compiler.is_compiling():
            # Autocast does not support this product. The matrix comes from valid edges, and is not
            # checked again:
            no_autocast = torch.autocast(x.device.type, enabled=False)
            with no_autocast, torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
                out: Tensor = self.conv(x, graph.adj_t())
        elif self.takes_weights:
            out = self.conv(x, graph.edge_index, graph.edge_weight)
        else:
            out = self.conv(x, graph.edge_index)
        expected = [x.size(0), self.out_channels]
        if not isinstance(out, Tensor) or list(out.shape) != expected:
            got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"The convolution {type(self.conv).__name__} must return one row of "
                f"{self.out_channels} features per node, {expected} (got {got})."
            )
        out = out[x.size(0) - num_queries :]
        return out if self.bias is None else out + self.bias


def _check_edges(edge_index: Tensor, edge_weight: Tensor, nodes: Tensor, queries: Tensor) -> None:
    check_range("node", edge_index[0], nodes.size(0))
    check_range("query", edge_index[1], queries.size(0))
    check_finite(edge_weight)
