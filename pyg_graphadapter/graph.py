r"""Knowledge sub-graphs: classes as nodes, positive cosine similarities as edges.

.. math::
    a_{ck} = \max(\cos(\mathbf{t}_c, \mathbf{p}_k), 0)

All functions work in blocks of rows, so that memory is :math:`\mathcal{O}(C \cdot D + B^2)`
plus the edges that are returned, with :math:`B` the block size.
"""

import operator
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.jit import is_tracing  # type: ignore[attr-defined]
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData
from torch_geometric.typing import Adj, OptTensor, SparseTensor
from torch_geometric.utils import (
    is_sparse,
    scatter,
    sort_edge_index,
    to_edge_index,
    to_undirected,
)
from torch_geometric.utils.num_nodes import maybe_num_nodes

from pyg_graphadapter.settings import warn

BLOCK_SIZE = 2048
# The square of a length outside these bounds is not a normal number in float32:
SHORTEST, LONGEST = 1e-9, 1e15


def row_blocks(num_rows: int, num_cols: int, block_size: int = BLOCK_SIZE) -> Iterator[slice]:
    r"""Cuts the rows of a ``[num_rows, num_cols]`` matrix into blocks of at most
    ``block_size ** 2`` entries, but at least one row.
    """
    step = max(1, block_size**2 // max(1, num_cols))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def unit(x: Tensor) -> Tensor:
    """Scales rows of any finite length to length one; zero rows stay zero. Half precision is
    computed in ``float32``."""
    return normalized(with_usual_length(x))


def normalized(x: Tensor) -> Tensor:
    """Scales rows of usual length, whose squares are numbers, to length one, as :func:`unit` does.
    For training steps, which read no value and pass over the rows once."""
    return F.normalize(at_least_float32(x), dim=-1)


def with_usual_length(x: Tensor) -> Tensor:
    """Divides very long and very short rows by their largest element, which keeps their direction.
    All other rows are returned as they are."""
    x = at_least_float32(x)
    if x.size(-1) == 0:
        return x
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    is_usual = (largest > SHORTEST) & (largest < LONGEST) | (largest == 0)
    if can_look_at(largest) and bool(is_usual.all()):
        return x
    return x / torch.where(is_usual, 1, largest)


def can_look_at(x: Tensor) -> bool:
    """Whether values can be read without breaking a graph or waiting for the device."""
    is_traced = torch.compiler.is_compiling() or is_tracing()  # type: ignore[no-untyped-call]
    return not is_traced and not x.is_cuda and not is_batchedtensor(x)


def at_least_float32(x: Tensor) -> Tensor:
    """Converts half precision to ``float32``, since a GPU sums in the precision of the terms."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def cosine_edges(
    x: Tensor,
    query: Tensor | None = None,
    k: int | None = None,
    threshold: float = 0.0,
    *,
    loop: bool = True,
    groups: int | Tensor | None = None,
    block_size: int = BLOCK_SIZE,
) -> tuple[Tensor, Tensor]:
    r"""Edges from nodes :obj:`x` to queries :obj:`query`, weighted by cosine similarity.

    Only positive similarities become edges. Gradients flow from the weights to both inputs. The
    length of a row has no effect.

    Args:
        x (torch.Tensor): The node features :math:`\mathbf{p}`.
        query (torch.Tensor, optional): The query features :math:`\mathbf{t}`; the nodes
            themselves if not given. (default: :obj:`None`)
        k (int, optional): Keep only the :obj:`k` most similar nodes of each query, the most
            similar first. :obj:`None` keeps all. (default: :obj:`None`)
        threshold (float, optional): Keep only similarities above this one.
            (default: :obj:`0.0`)
        loop (bool, optional): Whether node :math:`c` may be a neighbour of query :math:`c`. It
            then counts among the :obj:`k`, as in PyG's :class:`~torch_geometric.nn.knn_graph`.
            (default: :obj:`True`)
        groups (int or torch.Tensor, optional): Connect only nodes of the same group: the group
            of every node ``[C]`` (queries are then the nodes), or a number of groups to which
            the nodes are assigned in turn by their index. (default: :obj:`None`)
        block_size (int, optional): At most :obj:`block_size ** 2` similarities are held at a time.
            (default: :obj:`2048`)

    Shapes:
        - **x:** :math:`(C, D)`; **query:** :math:`(Q, D)`
        - **output:** edge indices :math:`(2, E)`, nodes in the first row and queries in the second,
          sorted by query, and edge weights :math:`(E)`

    Raises:
        ValueError: If shapes do not fit, values are not finite, or an option is out of range.
    """
    query = x if query is None else query
    check_features(x, "x")
    check_features(query, "query")
    if x.size(1) != query.size(1):
        raise ValueError(
            f"Nodes and queries need the same width (got {x.size(1)} and {query.size(1)})."
        )
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"'threshold' is a cosine in [0, 1) (got {threshold}).")
    group = _group_of(groups, x.size(0), query.size(0), x.device)
    k = _clamp_neighbours(k, x.size(0), loop)
    if group is not None:
        return _edges_in_groups(x, query, group, k, threshold, loop=loop, block_size=block_size)

    node, target = unit(x), unit(query)
    tracks = torch.is_grad_enabled() and (node.requires_grad or target.requires_grad)
    # Without queries, one empty block makes the concatenation below possible:
    blocks = list(row_blocks(target.size(0), node.size(0), block_size)) or [slice(0, 0)]
    # One buffer for all blocks: edges allocated between blocks would fragment the heap.
    buffer = node.new_empty(0 if tracks else blocks[0].stop, node.size(0))
    block_edges = []
    for block in blocks:
        if tracks:
            cosine = target[block] @ node.t()  # [B, C]
            candidates = cosine.detach().clone()
        else:
            cosine = torch.mm(target[block], node.t(), out=buffer[: block.stop - block.start])
            candidates = cosine
        if not loop:
            candidates[:, block].fill_diagonal_(-1.0)
        if k is None:
            row, col = (candidates > threshold).nonzero(as_tuple=True)
            block_edges.append((row + block.start, col, cosine[row, col]))
        else:
            value, index = candidates.topk(k, dim=1)  # [B, k]
            row, position = (value > threshold).nonzero(as_tuple=True)
            col = index[row, position]
            block_edges.append((row + block.start, col, cosine[row, col]))

    row, col, weight = (torch.cat(parts) for parts in zip(*block_edges, strict=True))
    return torch.stack([col, row]), weight.to(x.dtype)


def knowledge_graph(
    x: Tensor,
    k: int | None = None,
    threshold: float = 0.0,
    *,
    symmetric: bool = False,
    loop: bool = False,
    groups: int | Tensor | None = None,
    block_size: int = BLOCK_SIZE,
) -> Data:
    r"""The knowledge sub-graph over class features, of the `"GraphAdapter: Tuning
    Vision-Language Models With Dual Knowledge Graph" <https://arxiv.org/abs/2309.13625>`_ paper:
    one node per class, with edges weighted by the cosine similarity of their ends.

    Without :obj:`k` the graph is complete, except for the pairs whose similarity is not positive.
    It has no self-loops unless :obj:`loop` is set. In a convolution from nodes to queries, a query
    also collects from the node of its own class: the complete graph of
    :class:`~pyg_graphadapter.nn.KnowledgeConv` without edges is that of ``loop=True``.

    Args:
        x (torch.Tensor): The class features.
        k (int, optional): Connect each node only to its :obj:`k` most similar nodes (exact).
            (default: :obj:`None`)
        threshold (float, optional): Keep only similarities above this one.
            (default: :obj:`0.0`)
        symmetric (bool, optional): Keep a :obj:`k`-nearest-neighbour edge in both directions if it
            exists in one. (default: :obj:`False`)
        loop (bool, optional): Whether each node is a neighbour of itself. It then counts among the
            :obj:`k`. (default: :obj:`False`)
        groups (int or torch.Tensor, optional): Connect only nodes of the same group: the group of
            every node ``[C]``, or a number of groups to which the nodes are assigned in turn by
            their index. (default: :obj:`None`)
        block_size (int, optional): At most :obj:`block_size ** 2` similarities are held at a time.
            (default: :obj:`2048`)

    Shapes:
        - **input:** :math:`(C, D)`
        - **output:** :class:`~torch_geometric.data.Data` with :obj:`x` :math:`(C, D)`,
          :obj:`edge_index` :math:`(2, E)` (neighbours in the first row) and :obj:`edge_weight`
          :math:`(E)`, sorted by the receiving node

    Raises:
        ValueError: If :obj:`x` is not a finite floating-point matrix, or an option is out of range.

    Example:
        >>> import torch
        >>> knowledge_graph(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]))
        Data(x=[3, 2], edge_index=[2, 4], edge_weight=[4])
    """
    edge_index, edge_weight = cosine_edges(
        x, k=k, threshold=threshold, loop=loop, groups=groups, block_size=block_size
    )
    if symmetric and k is not None:
        edge_index, edge_weight = to_undirected(edge_index, edge_weight, x.size(0), reduce="max")
        edge_index, edge_weight = sort_edge_index(
            edge_index, edge_weight, x.size(0), sort_by_row=False
        )
    return Data(x=x, edge_index=edge_index, edge_weight=edge_weight)


def dual_knowledge_graph(
    text: Tensor,
    image: Tensor,
    query: Tensor | None = None,
    k: int | None = None,
    threshold: float = 0.0,
    *,
    symmetric: bool = False,
    block_size: int = BLOCK_SIZE,
) -> HeteroData:
    r"""Both knowledge sub-graphs, each connected to the queries, as input of
    :class:`~pyg_graphadapter.nn.DualKnowledgeConv`.

    Args:
        text (torch.Tensor): The class text features, nodes of the text sub-graph.
        image (torch.Tensor): The class prototypes, nodes of the visual sub-graph.
        query (torch.Tensor, optional): The features that collect knowledge; :obj:`text` if not
            given. (default: :obj:`None`)
        k (int, optional): Keep only edges from the :obj:`k` most similar nodes, both among
            nodes and from nodes to queries. (default: :obj:`None`)
        threshold (float, optional): Keep only similarities above this one.
            (default: :obj:`0.0`)
        symmetric (bool, optional): As in :func:`knowledge_graph`. (default: :obj:`False`)
        block_size (int, optional): As in :func:`knowledge_graph`. (default: :obj:`2048`)

    Shapes:
        - **text:** :math:`(C, D)`; **image:** :math:`(C, D)`; **query:** :math:`(Q, D)`
        - **output:** :class:`~torch_geometric.data.HeteroData` with the node types ``text``,
          ``image`` and ``query`` and the edge types ``(text, to, text)``, ``(image, to, image)``,
          ``(text, to, query)`` and ``(image, to, query)``

    Raises:
        ValueError: As :func:`knowledge_graph` does.
    """
    query = text if query is None else query
    data = HeteroData()
    data["query"].x = query
    for side, x in (("text", text), ("image", image)):
        node_k = k if k is None or k < x.size(0) else None  # a node has n - 1 neighbours at most
        graph = knowledge_graph(x, node_k, threshold, symmetric=symmetric, block_size=block_size)
        data[side].x = x
        data[side, "to", side].edge_index = graph.edge_index
        data[side, "to", side].edge_weight = graph.edge_weight
        query_edges = cosine_edges(x, query, k, threshold, block_size=block_size)
        (
            data[side, "to", "query"].edge_index,
            data[side, "to", "query"].edge_weight,
        ) = query_edges
    return data


def weighted_degree(
    edge_index: Adj, edge_weight: OptTensor = None, num_nodes: int | None = None
) -> Tensor:
    r"""The weighted in-degree :math:`\sum_{l \neq k} a_{kl}` of every node, without self-loops.

    Args:
        edge_index (torch.Tensor or SparseTensor): The edges among the nodes.
        edge_weight (torch.Tensor, optional): The weights of an edge list, :obj:`1` if not given;
            negative ones count as :obj:`0`. (default: :obj:`None`)
        num_nodes (int, optional): The number of nodes; that of the sparse matrix, or one more than
            the largest index, if not given. (default: :obj:`None`)

    Shapes:
        - **edge_index:** :math:`(2, E)` or sparse matrix :math:`(C, C)`; **edge_weight:**
          :math:`(E)`
        - **output:** :math:`(C)`
    """
    if num_nodes is None:
        num_nodes = edge_index.size(0) if is_sparse(edge_index) else maybe_num_nodes(edge_index)
    edge_index, edge_weight = as_edge_list(edge_index, edge_weight)
    weight, _ = merged_weights(edge_index[0], edge_index[1], at_least_float32(edge_weight))
    weight = weight * (edge_index[0] != edge_index[1])
    deg: Tensor = scatter(weight, edge_index[1], dim_size=num_nodes)
    return deg.to(edge_weight.dtype)


def merged_weights(source: Tensor, target: Tensor, edge_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of edges of which several may join the same two nodes: the share of every edge in the
    sum of their weights, and this sum. A negative sum counts as zero.

    Args:
        source (torch.Tensor): Where each edge starts ``[E]``.
        target (torch.Tensor): Where it ends ``[E]``.
        edge_weight (torch.Tensor): Its weight ``[E]``.
    """
    if source.numel() == 0:
        return edge_weight, edge_weight
    key = target * (source.max() + 1) + source
    if can_look_at(key) and bool((key[1:] > key[:-1]).all()):
        weight = edge_weight.clamp(min=0)
        return weight, weight  # in order, and nothing is repeated
    key, order = key.sort()
    is_new = key[1:] != key[:-1]
    if can_look_at(key) and bool(is_new.all()):
        weight = edge_weight.clamp(min=0)
        return weight, weight
    pair = torch.cat([key.new_zeros(1), is_new.long().cumsum(0)])  # [E]
    pair = torch.empty_like(pair).index_copy(0, order, pair)
    zeros = torch.zeros_like(edge_weight)
    total = zeros.index_add(0, pair, edge_weight).clamp(min=0)[pair]
    count = zeros.index_add(0, pair, torch.ones_like(edge_weight))[pair]
    return total / count, total


def as_edge_list(edge_index: Adj, edge_weight: OptTensor = None) -> tuple[Tensor, Tensor]:
    """Edges ``[2, E]``, source first, and weights ``[E]``, from any form that PyG accepts.

    Raises:
        ValueError: If there is not one weight per edge, or ``edge_index`` is of another form.
    """
    edge_index = plain_edges(edge_index)
    if is_sparse(edge_index):
        if edge_weight is not None:
            raise ValueError("A sparse matrix holds its own weights: pass no 'edge_weight'.")
        index, edge_weight = to_edge_index(as_csr(edge_index))
        return index.flip(0), edge_weight  # `adj_t` has the receiving nodes as rows
    if edge_weight is None:
        edge_weight = torch.ones(edge_index.size(1), device=edge_index.device)
    elif not isinstance(edge_weight, Tensor):
        raise ValueError(f"'edge_weight' must be a tensor (got {type(edge_weight).__name__}).")
    elif edge_weight.shape != (edge_index.size(1),):
        raise ValueError(
            f"Expected one weight per edge (got {list(edge_weight.shape)} for "
            f"{edge_index.size(1)} edges)."
        )
    return edge_index, edge_weight


def plain_edges(edge_index: Adj) -> Adj:
    """Edges as a sparse matrix, or as a plain tensor ``[2, E]`` of type ``int64``.

    Raises:
        ValueError: If they are neither, saying what was received.
    """
    if is_sparse(edge_index):
        return edge_index
    if not isinstance(edge_index, Tensor):
        raise ValueError(
            f"'edge_index' must be a tensor (got {type(edge_index).__name__}); convert an array "
            f"with torch.from_numpy."
        )
    if isinstance(edge_index, EdgeIndex):
        edge_index = edge_index.as_tensor()
    if edge_index.is_floating_point() or edge_index.dtype == torch.bool:
        raise ValueError(
            f"'edge_index' must hold the integer indices of an edge list [2, E], or be a sparse "
            f"matrix (got {edge_index.dtype} {list(edge_index.shape)}); convert a dense matrix "
            f"[queries, nodes] with .to_sparse_csr()."
        )
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(
            f"'edge_index' must be an edge list [2, E] (got {list(edge_index.shape)})."
        )
    return edge_index.long()


def as_csr(adj_t: Adj) -> Tensor:
    """Converts to CSR, the only layout whose products carry gradients to values and features."""
    if isinstance(adj_t, SparseTensor):
        adj_t = adj_t.to_torch_sparse_csr_tensor()
    elif adj_t.layout == torch.sparse_coo:
        adj_t = adj_t.coalesce().to_sparse_csr()
    elif adj_t.layout == torch.sparse_csc:
        adj_t = adj_t.to_sparse_csr()
    csr: Tensor = adj_t
    return csr


def class_prototypes(
    x: Tensor,
    y: Tensor,
    num_classes: int | None = None,
    *,
    fallback: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    r"""The mean image feature of every class over its shots and their augmented views.

    Args:
        x (torch.Tensor): The image features.
        y (torch.Tensor): The labels.
        num_classes (int, optional): The number of classes :math:`C`; one more than the largest
            label if not given. (default: :obj:`None`)
        fallback (torch.Tensor, optional): The features of classes that have no image, usually the
            class text features. (default: :obj:`None`)
        class_names (sequence of str, optional): Used to name such classes in the error.
            (default: :obj:`None`)
        weight (torch.Tensor, optional): The positive weights of the images in the mean.
            (default: :obj:`None`)

    Shapes:
        - **x:** :math:`(N, D)` or :math:`(N, V, D)`; **y**, **weight:** :math:`(N)`;
          **fallback:** :math:`(C, D)`
        - **output:** :math:`(C, D)`, not normalised

    Raises:
        ValueError: If a label is out of range, or a class has no image and there is no
            :obj:`fallback`.

    Example:
        >>> import torch
        >>> class_prototypes(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        tensor([[2.],
                [5.]])
    """
    if y.dim() != 1 or y.size(0) != x.size(0):
        raise ValueError(f"Expected one label per image (got {list(y.shape)} for {x.size(0)}).")
    y = y.long()
    if num_classes is None:
        num_classes = int(y.max()) + 1 if y.numel() else 0
    if y.numel() and (int(y.min()) < 0 or int(y.max()) >= num_classes):
        raise ValueError(
            f"Labels must lie in [0, {num_classes}) (got {int(y.min())} to {int(y.max())})."
        )
    x = x.mean(dim=1) if x.dim() == 3 else x  # [N, V, D] -> [N, D]
    prototypes = _class_means(x, y, num_classes, weight)
    empty = torch.bincount(y, minlength=num_classes) == 0
    if not empty.any():
        return prototypes
    if fallback is not None:
        return torch.where(empty.unsqueeze(1), fallback.to(prototypes.dtype), prototypes)
    missing = empty.nonzero().flatten().tolist()
    named = [class_names[c] if class_names is not None else str(c) for c in missing]
    listing = ", ".join(repr(name) for name in named[:5]) + (", …" if len(named) > 5 else "")
    raise ValueError(
        f"{len(named)} of {num_classes} classes have no image: {listing}. Add images, remove the "
        f"classes, or use their text features as the fallback."
    )


def _class_means(x: Tensor, y: Tensor, num_classes: int, weight: Tensor | None) -> Tensor:
    """The mean of every class ``[C, D]``; zero without images."""
    means: Tensor
    if weight is None:
        means = scatter(x, y, dim=0, dim_size=num_classes, reduce="mean")
        return means
    weight = weight.to(x)
    total = scatter(weight, y, dim=0, dim_size=num_classes, reduce="sum")
    shares = weight / total[y]  # of each image in its class
    means = scatter(shares.unsqueeze(1) * x, y, dim=0, dim_size=num_classes, reduce="sum")
    return means


def check_features(x: Tensor, name: str) -> None:
    """Checks that features are a matrix of finite numbers.

    Raises:
        ValueError: Naming the argument, its shape or its rows.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"'{name}' must be a tensor [C, D] (got {type(x).__name__}); convert an array with "
            f"torch.from_numpy."
        )
    if x.dim() != 2 or not x.is_floating_point():
        raise ValueError(
            f"'{name}' must be a floating-point matrix [C, D] (got {x.dtype} {list(x.shape)})."
        )
    bad = (~x.detach().isfinite()).any(dim=1)
    if bad.any():
        raise ValueError(
            f"'{name}' must be finite (got NaN or infinity in rows "
            f"{bad.nonzero().flatten()[:5].tolist()})."
        )


def _group_of(
    groups: int | Tensor | None, num_nodes: int, num_queries: int, device: torch.device
) -> Tensor | None:
    if groups is None:
        return None
    if isinstance(groups, int):
        if groups < 1:
            raise ValueError(f"'groups' must be at least 1 (got {groups}).")
        groups = torch.arange(num_nodes, device=device) % groups
    if groups.shape != (num_nodes,) or num_queries != num_nodes:
        raise ValueError(
            f"'groups' needs one entry per node, and queries that are the nodes (got "
            f"{list(groups.shape)} for {num_nodes} nodes and {num_queries} queries)."
        )
    return groups.to(device)


def _edges_in_groups(
    x: Tensor,
    query: Tensor,
    group: Tensor,
    k: int | None,
    threshold: float,
    *,
    loop: bool,
    block_size: int,
) -> tuple[Tensor, Tensor]:
    """Computes the edges of each group separately, and sorts them by query."""
    edges = [group.new_empty(2, 0, dtype=torch.long)]
    weights = [x.new_empty(0)]
    for label in torch.unique(group):
        member = (group == label).nonzero().flatten()
        available = len(member) if loop else len(member) - 1
        if available:
            group_k = None if k is None else min(k, available)
            edge_index, weight = cosine_edges(
                x[member], query[member], group_k, threshold, loop=loop, block_size=block_size
            )
            edges.append(member[edge_index])
            weights.append(weight)
    edge_index = torch.cat(edges, dim=1)
    order = edge_index[1].argsort(stable=True)
    return edge_index[:, order], torch.cat(weights)[order]


def _clamp_neighbours(k: int | None, num_nodes: int, loop: bool) -> int | None:
    if k is None:
        return None
    try:
        k = operator.index(k)
    except TypeError:
        raise ValueError(f"'k' must be a whole number or None (got {k!r}).") from None
    if k < 1:
        raise ValueError(f"'k' must be at least 1 (got {k}); None connects all nodes.")
    available = max(0, num_nodes if loop else num_nodes - 1)
    if k > available:
        warn(f"A graph of {num_nodes} nodes has no {k} neighbours per node: using {available}.")
    return min(k, available)
