r"""The graph convolution that reads one query out of a knowledge graph, in an exact closed form.

The published layer joins every query :math:`\mathbf{t}_c` to the graph of the :math:`K` nodes
:math:`\mathbf{p}_k`, convolves the :math:`K + 1` nodes with
:math:`\mathbf{\hat{A}} = \mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}` and keeps the query's row.
In that row, the degree of a node is its degree among the nodes, :math:`r_k`, plus the weight of its
edge to the query, :math:`a_{ck}`. The row can therefore be computed without building the graph, in
one bipartite message pass, :math:`\mathcal{O}(C^2 D)` instead of :math:`\mathcal{O}(C^3 D)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import zeros
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, PairTensor, Size
from torch_geometric.utils import coalesce, is_sparse, scatter, spmm
from torch_geometric.utils.num_nodes import maybe_num_nodes

from pyg_graphadapter.graph import (
    BLOCK_SIZE,
    as_csr,
    as_edge_list,
    at_least_float32,
    can_look_at,
    merged_weights,
    plain_edges,
    row_blocks,
    unit,
    weighted_degree,
)


class KnowledgeConv(MessagePassing):  # type: ignore[misc]  # PyG is not typed
    r"""The knowledge sub-graph convolution of the `"GraphAdapter: Tuning Vision-Language Models
    With Dual Knowledge Graph" <https://arxiv.org/abs/2309.13625>`_ paper, from nodes
    to queries.

    .. math::
        \mathbf{t}^{\prime}_c = \mathbf{W}^{\top} \left( \sum_k \frac{a_{ck}}{\sqrt{d_c \,
        (r_k + a_{ck})}} \, \mathbf{p}_k + \frac{w}{d_c} \, \mathbf{t}_c \right) + \mathbf{b}

    with :math:`d_c = w + \sum_k a_{ck}` and :math:`r_k = w + \sum_{l \neq k} a_{kl}`, where
    :math:`a_{ck} \geq 0` is the weight of the edge from node :math:`k` to query :math:`c` (negative
    weights count as :obj:`0`), :math:`a_{kl}` the weight of the edge between two nodes, and
    :math:`w` the self-loop weight. This equals one
    :class:`~torch_geometric.nn.conv.GCNConv` on the :math:`(K + 1)`-node graph of every query, read
    at the query.

    There are three routes with equal results (for edges from nodes to other queries, with the
    degrees of the nodes, :obj:`deg`):

    - an edge list :obj:`edge_index` with :obj:`edge_weight`;
    - a sparse matrix :obj:`adj_t` ``[queries, nodes]`` that holds the weights;
    - no edges at all: the complete graph of all positive cosine similarities, computed block by
      block, without an edge list and without messages. A query that is a node as well also collects
      from itself as a node, so that this equals the edge list of
      :func:`~pyg_graphadapter.cosine_edges`, and that of
      :func:`~pyg_graphadapter.knowledge_graph` with ``loop=True``.

    Repeated edges count as one edge with the sum of their weights.

    Args:
        in_channels (int or tuple): Size of each input sample, or :obj:`-1` to derive the size from
            the first input to the forward method. A tuple corresponds to the sizes of nodes and
            queries, which must be equal, since both are multiplied by the same :math:`\mathbf{W}`.
        out_channels (int): Size of each output sample.
        self_loop_weight (float, optional): The weight :math:`w` of a node's connection to itself.
            In the paper it is its cosine :obj:`1` plus the identity. (default: :obj:`2.0`)
        bias (bool, optional): If set to :obj:`False`, the layer will not learn an additive bias.
            (default: :obj:`True`)
        num_queries (int, optional): If given, every query has its own bias, as in the paper, and
            the layer takes exactly this number of queries. (default: :obj:`None`)
        block_size (int, optional): The complete route holds at most :obj:`block_size ** 2`
            similarities at a time. (default: :obj:`2048`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`, such as :obj:`aggr` (by default
            :obj:`"add"`, the only one of the complete route), :obj:`flow` and :obj:`node_dim`.

    Shapes:
        - **input:** features :math:`(K, F_{in})` of nodes that are queries as well, or
          :math:`((K, F_{in}), (C, F_{in}))` of nodes and queries, or of static graphs
          :math:`(B, K, F_{in})`; edge indices :math:`(2, E)` or sparse matrix :math:`(C, K)`
          *(optional)*, edge weights :math:`(E)` *(optional)*, node degrees :math:`(K)`
          *(optional)*
        - **output:** query features :math:`(C, F_{out})`, or :math:`(B, C, F_{out})`

    Example:
        >>> import torch
        >>> from pyg_graphadapter import knowledge_graph
        >>> graph = knowledge_graph(torch.randn(8, 16), k=3)
        >>> conv = KnowledgeConv(16, 32)
        >>> conv(graph.x, graph.edge_index, graph.edge_weight).shape
        torch.Size([8, 32])

    See ``examples/pyg_layer.py`` for the layer inside a model.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        self_loop_weight: float = 2.0,
        bias: bool = True,
        num_queries: int | None = None,
        block_size: int = BLOCK_SIZE,
        **kwargs: Any,
    ) -> None:
        if not 0 <= self_loop_weight < float("inf"):  # NaN is refused as well
            raise ValueError(
                f"'self_loop_weight' must not be negative or infinite (got {self_loop_weight})."
            )
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)

        self.in_channels = in_channels
        self.out_channels = out_channels
        self.self_loop_weight = self_loop_weight
        self.num_queries = num_queries
        self.block_size = block_size

        self.lin = Linear(
            equal_width(in_channels), out_channels, bias=False, weight_initializer="glorot"
        )
        if bias:
            shape = (out_channels,) if num_queries is None else (num_queries, out_channels)
            self.bias = Parameter(torch.empty(shape))
        else:
            self.register_parameter("bias", None)

        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        super().reset_parameters()
        self.lin.reset_parameters()
        zeros(self.bias)

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj | None = None,
        edge_weight: OptTensor = None,
        deg: OptTensor = None,
        size: Size = None,
        batch: Tensor | PairTensor | None = None,
    ) -> Tensor:
        r"""Runs the forward pass of the module.

        Args:
            x (torch.Tensor or (torch.Tensor, torch.Tensor)): The features of the nodes, or of the
                nodes and the queries. Queries that are :obj:`None` have no features of their own
                to collect; they need edges.
            edge_index (torch.Tensor or SparseTensor, optional): The edges from nodes to queries;
                :obj:`None` for the complete graph. (default: :obj:`None`)
            edge_weight (torch.Tensor, optional): The weights of an edge list; :obj:`1` if not
                given. A sparse matrix holds its own weights. (default: :obj:`None`)
            deg (torch.Tensor, optional): The weighted degree of every node among the nodes,
                without its self-loop (:func:`weighted_degree`). If not given, it is that of
                :obj:`edge_index` where nodes are the queries as well, and zero (nodes that are
                connected to queries alone) otherwise. The complete graph computes its own degrees.
                (default: :obj:`None`)
            size ((int, int), optional): The numbers of nodes and queries, as in
                :meth:`~torch_geometric.nn.conv.MessagePassing.propagate`. (default: :obj:`None`)
            batch (torch.Tensor or (torch.Tensor, torch.Tensor), optional): The graph of every node
                (and query) of a mini-batch, in ascending order. The complete route needs it to keep
                the graphs apart; edges keep them apart by themselves. (default: :obj:`None`)

        Raises:
            ValueError: If shapes, sizes or types do not fit, or a weight is not finite.
            IndexError: If an edge has no node or query.
        """
        return self.transform(self.collect_knowledge(x, edge_index, edge_weight, deg, size, batch))

    def collect_knowledge(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj | None = None,
        edge_weight: OptTensor = None,
        deg: OptTensor = None,
        size: Size = None,
        batch: Tensor | PairTensor | None = None,
    ) -> Tensor:
        r"""The part of the layer without parameters: what every query collects from its nodes
        and itself :math:`(C, F_{in})`. For frozen features it is constant; compute it once.

        Takes the arguments of :meth:`forward`.
        """
        nodes, queries = (x, x) if isinstance(x, Tensor) else x
        for name, features in (("nodes", nodes), ("queries", queries)):
            is_missing = features is None and name == "queries"
            if not is_missing and not (isinstance(features, Tensor) and features.dim() in (2, 3)):
                got = list(features.shape) if hasattr(features, "shape") else features
                raise ValueError(f"The {name} must be a tensor [N, F] or [B, N, F] (got {got}).")
        if queries is not None and nodes.shape[:-2] != queries.shape[:-2]:
            raise ValueError(
                f"Nodes and queries need the same number of static graphs (got "
                f"{list(nodes.shape)} and {list(queries.shape)})."
            )
        if queries is not None and nodes.size(-1) != queries.size(-1):
            raise ValueError(
                f"Nodes and queries need the same width (got {nodes.size(-1)} and "
                f"{queries.size(-1)})."
            )
        if self.node_dim not in (-2, nodes.dim() - 2):
            raise ValueError(
                f"Nodes must be the last dimension but one, node_dim=-2 (got {self.node_dim})."
            )
        if edge_index is not None:
            return self._collect_over_edges(x, edge_index, edge_weight, deg, size)
        if edge_weight is not None or deg is not None:
            raise ValueError(
                "The complete graph computes its own weights and degrees: pass 'edge_index' "
                "along with 'edge_weight' and 'deg', or none of the three."
            )
        if queries is None:
            raise ValueError(
                "Queries without features have no cosine similarities: pass 'edge_index'."
            )
        if self.aggr not in ("add", "sum"):
            raise ValueError(
                f"The complete graph is computed as a sum (got aggr={self.aggr!r}): pass the edges "
                f"of 'cosine_edges' for other aggregations."
            )
        _check_size(size, 0, nodes.size(-2), "nodes")
        _check_size(size, 1, queries.size(-2), "queries")
        return self._collect_complete(nodes, queries, batch)

    def _collect_complete(
        self, nodes: Tensor, queries: Tensor, batch: Tensor | PairTensor | None
    ) -> Tensor:
        """The complete route, graph by graph."""
        if nodes.dim() == 3:  # [B, K, F]
            parts = [
                self._collect_complete(nodes[i], queries[i] if queries is not nodes else nodes[i],
                                       batch)
                for i in range(nodes.size(0))
            ]  # fmt: skip
            return torch.stack(parts)
        if batch is None:
            return complete_messages(nodes, queries, self.self_loop_weight, self.block_size)
        node_batch, query_batch = (batch, batch) if isinstance(batch, Tensor) else batch
        num_graphs = max(
            _num_graphs(node_batch, nodes.size(0), "node"),
            _num_graphs(query_batch, queries.size(0), "query"),
        )
        node_counts = torch.bincount(node_batch, minlength=num_graphs).tolist()
        query_counts = torch.bincount(query_batch, minlength=num_graphs).tolist()
        node_parts = torch.split(nodes, node_counts)
        query_parts = node_parts if queries is nodes else torch.split(queries, query_counts)
        parts = [
            complete_messages(*pair, self.self_loop_weight, self.block_size)
            for pair in zip(node_parts, query_parts, strict=True)
        ]
        return torch.cat(parts) if parts else queries.clone()

    def _collect_over_edges(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_weight: OptTensor,
        deg: OptTensor,
        size: Size,
    ) -> Tensor:
        nodes, queries = (x, x) if isinstance(x, Tensor) else x
        num_nodes = nodes.size(-2)
        _check_size(size, 0, num_nodes, "nodes")
        edge_index = plain_edges(edge_index)
        if is_sparse(edge_index):
            if self.flow == "target_to_source":
                raise ValueError(
                    "A sparse matrix holds the edges from nodes (columns) to queries (rows): pass "
                    "it transposed, with flow='source_to_target'."
                )
            edge_index = as_csr(edge_index)
            _check_size((edge_index.size(1), edge_index.size(0)), 0, num_nodes, "nodes")
        if self.aggr not in ("add", "sum"):  # only a sum may take an edge in several parts
            edge_index, edge_weight = coalesce(*as_edge_list(edge_index, edge_weight))
        (node, query), edge_weight = as_edge_list(edge_index, edge_weight)
        if self.flow == "target_to_source":
            node, query = query, node
        if queries is not None:
            num_queries = queries.size(-2)
            _check_size(size, 1, num_queries, "queries")
        elif is_sparse(edge_index):
            num_queries = edge_index.size(0)
        elif size is not None and size[1] is not None:
            num_queries = size[1]
        else:
            num_queries = maybe_num_nodes(query)
        if is_sparse(edge_index):
            _check_size((num_nodes, edge_index.size(0)), 1, num_queries, "queries")
        check_range("node", node, num_nodes)
        check_range("query", query, num_queries)
        check_finite(edge_weight)

        edge_weight = at_least_float32(edge_weight.to(nodes.dtype))
        edge_weight, a = merged_weights(node, query, edge_weight)
        if deg is None:
            deg = edge_weight.new_zeros(num_nodes)
            if isinstance(x, Tensor):
                deg = weighted_degree(torch.stack([node, query]), edge_weight, num_nodes)
        elif deg.shape != (num_nodes,):
            raise ValueError(
                f"'deg' must hold one degree per node, [{num_nodes}] (got {list(deg.shape)})."
            )
        elif can_look_at(deg) and not ((deg >= 0) & deg.isfinite()).all():
            raise ValueError("'deg' must be finite and not negative.")

        # a_ck / sqrt(d_c (r_k + a_ck)) for every edge, w / d_c for every query:
        d = self.self_loop_weight + scatter(edge_weight, query, dim_size=num_queries)
        r = self.self_loop_weight + deg
        edge_weight = edge_weight * _rsqrt(d[query]) * _rsqrt(r[node] + a)
        edge_weight = edge_weight.to(nodes.dtype)

        if is_sparse(edge_index) and nodes.dim() == 2:
            edge_index = torch.sparse_csr_tensor(
                edge_index.crow_indices(),
                edge_index.col_indices(),
                edge_weight,
                edge_index.size(),
                check_invariants=False,  # the input matrix has them
            )
        elif is_sparse(edge_index):  # there is no product with features [B, K, F]
            edge_index = torch.stack([node, query])
        to_queries = (num_nodes, num_queries)
        # propagate_type: (x: Tensor, edge_weight: OptTensor)
        out: Tensor = self.propagate(
            edge_index,
            size=to_queries if self.flow == "source_to_target" else to_queries[::-1],
            x=nodes,
            edge_weight=edge_weight,
        )
        if queries is None:
            return out
        self_weight = (self.self_loop_weight / _positive(d)).to(nodes.dtype)
        return out + self_weight.unsqueeze(1) * queries

    def transform(self, x: Tensor) -> Tensor:
        r"""The trained part of the layer: :math:`\mathbf{W}^{\top} \mathbf{x} + \mathbf{b}`, over
        any leading dimensions :math:`(*, C, F_{in})`.

        Raises:
            ValueError: If the numbers of queries and biases differ.
        """
        if self.num_queries is not None and x.size(-2) != self.num_queries:
            raise ValueError(
                f"The layer has one bias for each of {self.num_queries} queries (got "
                f"{x.size(-2)} queries)."
            )
        out: Tensor = self.lin(x)
        return out if self.bias is None else out + self.bias

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        """The message of an edge: the node, scaled."""
        return edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(self, adj_t: Adj, x: Tensor) -> Tensor:
        """All messages at once: one product with the sparse matrix of scales."""
        # Neither autocast nor half precision supports this product:
        with torch.autocast(x.device.type, enabled=False):
            features = at_least_float32(x)
            out: Tensor = spmm(adj_t.to(features.dtype), features, reduce=self.aggr)
        return out.to(x.dtype)


def complete_messages(
    nodes: Tensor,
    queries: Tensor,
    self_loop_weight: float = 2.0,
    block_size: int = BLOCK_SIZE,
) -> Tensor:
    r"""What every query collects from the complete graph of all positive cosine similarities
    (:meth:`KnowledgeConv.collect_knowledge` without edges), block by block.

    Memory is :math:`\mathcal{O}((K + C) \cdot D + B^2)` with :math:`B` the block size, in the
    backward pass as well, which computes the blocks again if there are several. The
    products needed are :math:`\mathbf{P} \mathbf{P}^{\top}`,
    :math:`\mathbf{T} \mathbf{P}^{\top}` (not if the nodes are the queries and one block holds them)
    and one with :math:`\mathbf{P}`.

    Args:
        nodes (torch.Tensor): The node features :math:`\mathbf{P}`.
        queries (torch.Tensor): The query features :math:`\mathbf{T}`.
        self_loop_weight (float, optional): The weight :math:`w`. (default: :obj:`2.0`)
        block_size (int, optional): At most :obj:`block_size ** 2` similarities are held at a time.
            (default: :obj:`2048`)

    Shapes:
        - **nodes:** :math:`(K, F)`; **queries:** :math:`(C, F)`
        - **output:** :math:`(C, F)`
    """
    p, t = unit(nodes), unit(queries)
    self_cosine = torch.linalg.vector_norm(p, dim=1)  # [K], 1, or 0 for a zero row
    node_blocks = list(row_blocks(p.size(0), p.size(0), block_size))
    query_blocks = list(row_blocks(t.size(0), p.size(0), block_size))

    cosine = None
    if nodes is queries and len(query_blocks) == 1:
        cosine = _positive_cosine(t, p)  # [C, K], serves the degrees and the messages
        deg = cosine.sum(dim=1)
    else:
        deg = _in_blocks(_degree_block, node_blocks, p.new_empty(p.size(0)), (p,), p)
    # The degree of a node without neighbours may be below zero by rounding:
    r = _positive(self_loop_weight + (deg - self_cosine).clamp(min=0))

    rows = (t, queries.to(t.dtype))
    shared = (p, nodes.to(p.dtype), r, self_loop_weight, cosine)
    out = _in_blocks(_message_block, query_blocks, torch.empty_like(t), rows, *shared)
    return out.to(queries.dtype)


def _positive_cosine(t: Tensor, p: Tensor) -> Tensor:
    # Not clamp(min=0), which has a gradient at zero: orthogonal is not similar.
    return (t @ p.t()).relu_()  # [B, K]


def _degree_block(block: Tensor, p: Tensor) -> Tensor:
    return _positive_cosine(block, p).sum(dim=1)  # [B]


def _message_block(
    t: Tensor,
    queries: Tensor,
    p: Tensor,
    features: Tensor,
    r: Tensor,
    self_loop_weight: float,
    cosine: Tensor | None,
) -> Tensor:
    a = _positive_cosine(t, p) if cosine is None else cosine  # [B, K]
    d = self_loop_weight + a.sum(dim=1)
    scaled = (a + r).rsqrt_()
    scaled = scaled * a if scaled.requires_grad else scaled.mul_(a)
    out = scaled @ features  # [B, F]
    self_weight = self_loop_weight / _positive(d)
    return torch.addcmul(out * _rsqrt(d).unsqueeze(1), self_weight.unsqueeze(1), queries)


def _in_blocks(
    function: Callable[..., Tensor],
    blocks: Sequence[slice],
    out: Tensor,
    rows: Sequence[Tensor],
    *shared: Any,
) -> Tensor:
    """Concatenates ``function(*rows, *shared)`` over all blocks of ``rows``.

    With several blocks, the backward pass computes them again instead of storing intermediates.
    """
    if len(blocks) == 1:
        return function(*rows, *shared)
    tensors = [x for x in (*rows, *shared) if isinstance(x, Tensor)]
    if not torch.is_grad_enabled() or not any(x.requires_grad for x in tensors):
        for block in blocks:  # in place: tensors allocated in between would fragment the heap
            out[block] = function(*(x[block] for x in rows), *shared)
        return out
    parts = [
        checkpoint(
            function,
            *(x[block] for x in rows),
            *shared,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for block in blocks
    ]
    return torch.cat(parts) if parts else out


def _positive(x: Tensor) -> Tensor:
    # A node without any edge, even a self-loop, has degree zero: 0 / tiny is still 0.
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _rsqrt(x: Tensor) -> Tensor:
    return _positive(x).rsqrt()


def equal_width(in_channels: int | tuple[int, int]) -> int:
    """The width of nodes and queries.

    Raises:
        ValueError: If it is not the same.
    """
    if isinstance(in_channels, int):
        return in_channels
    if in_channels[0] != in_channels[1]:
        raise ValueError(
            f"Nodes and queries are multiplied by the same weights and need the same width (got "
            f"in_channels={tuple(in_channels)})."
        )
    return in_channels[0]


def _check_size(size: Size, dim: int, count: int, what: str) -> None:
    if size is not None and size[dim] is not None and size[dim] != count:
        raise ValueError(f"Expected {size[dim]} {what} (got {count}).")


def _num_graphs(batch: Tensor, count: int, what: str) -> int:
    if not isinstance(batch, Tensor) or batch.is_floating_point() or batch.shape != (count,):
        raise ValueError(
            f"'batch' must be a tensor of integers, the graph of every {what} [{count}] (got "
            f"{list(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__})."
        )
    if count == 0:
        return 0
    if (batch[1:] < batch[:-1]).any() or int(batch[0]) < 0:
        raise ValueError("'batch' must be in ascending order, as in PyG's mini-batches.")
    return int(batch[-1]) + 1


def check_range(name: str, index: Tensor, size: int) -> None:
    """Checks that indices lie in ``[0, size)``, where values can be read."""
    if index.numel() == 0 or not can_look_at(index):
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= size:
        raise IndexError(
            f"The {name} indices in 'edge_index' must lie in [0, {size}) (got {low} to {high})."
        )


def check_finite(edge_weight: Tensor) -> None:
    """Checks that weights are finite, where values can be read."""
    if can_look_at(edge_weight) and not edge_weight.isfinite().all():
        raise ValueError("'edge_weight' must be finite (got NaN or infinity).")
