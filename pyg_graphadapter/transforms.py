"""PyG transforms that connect the nodes of a graph by the cosine similarity of their features."""

from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.data.storage import BaseStorage
from torch_geometric.transforms import BaseTransform

from pyg_graphadapter.graph import BLOCK_SIZE, dual_knowledge_graph, knowledge_graph

PARTS = ("text", "image", "query")


@functional_transform("knowledge_graph")
class KnowledgeGraph(BaseTransform):  # type: ignore[misc]  # PyG is not typed
    r"""Connects nodes by the cosine similarity of their features :obj:`data.x`, as
    :func:`~pyg_graphadapter.knowledge_graph` does (functional name: :obj:`knowledge_graph`).

    Sets :obj:`edge_index` and :obj:`edge_weight` in place of other edges, and removes
    :obj:`edge_attr`, as :class:`torch_geometric.transforms.KNNGraph` does. The other attributes are
    kept. Where the data has a vector :obj:`batch`, nodes of different graphs are not connected. In
    a :class:`~torch_geometric.data.HeteroData`, every node type that has :obj:`x` gets edges of the
    type ``(node_type, to, node_type)``.

    Args:
        k (int, optional): Connect each node only to its :obj:`k` most similar nodes, or to all in
            graphs that have no more. (default: :obj:`None`)
        threshold (float, optional): Keep only similarities above this one.
            (default: :obj:`0.0`)
        symmetric (bool, optional): Keep a :obj:`k`-nearest-neighbour edge in both directions if it
            exists in one. (default: :obj:`False`)
        loop (bool, optional): Whether each node is a neighbour of itself.
            (default: :obj:`False`)
        groups (int or str, optional): Connect only nodes of the same group: the name of the
            attribute :math:`(C)` that holds the group of every node, or a number of groups to
            which the nodes of each graph are assigned in turn. (default: :obj:`None`)
        block_size (int, optional): At most :obj:`block_size ** 2` similarities are held at a time.
            (default: :obj:`2048`)

    Shapes:
        - **x:** :math:`(C, D)`
        - **edge_index:** :math:`(2, E)`; **edge_weight:** :math:`(E)`

    Raises:
        ValueError: If an option is out of range, there are no node features, or they are no finite
            matrix.

    Example:
        >>> data = Data(x=torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), y=torch.arange(3))
        >>> KnowledgeGraph()(data)
        Data(x=[3, 2], y=[3], edge_index=[2, 4], edge_weight=[4])
    """

    def __init__(
        self,
        k: int | None = None,
        threshold: float = 0.0,
        *,
        symmetric: bool = False,
        loop: bool = False,
        groups: int | str | None = None,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        _check_options(k, threshold)
        if isinstance(groups, int) and groups < 1:
            raise ValueError(f"'groups' must be at least 1 (got {groups}).")
        self.k = k
        self.threshold = threshold
        self.symmetric = symmetric
        self.loop = loop
        self.groups = groups
        self.block_size = block_size

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        """Returns the data with the edges."""
        stores = [store for store in data.node_stores if store.get("x") is not None]
        if not stores:
            raise ValueError(
                "KnowledgeGraph needs node features [C, D]: set 'x' of the data, or of one of its "
                "node types."
            )
        for store in stores:
            edges = store if isinstance(data, Data) else data[store._key, "to", store._key]
            self._connect(store, edges)
        return data

    def _connect(self, nodes: BaseStorage, edges: BaseStorage) -> None:
        """Sets the edges among nodes."""
        x = nodes["x"]
        available = len(x) if self.loop else len(x) - 1
        graph = knowledge_graph(
            x,
            self.k if self.k is None or self.k <= available else None,
            self.threshold,
            symmetric=self.symmetric,
            loop=self.loop,
            groups=self._group_of(nodes),
            block_size=self.block_size,
        )
        edges["edge_index"], edges["edge_weight"] = graph.edge_index, graph.edge_weight
        edges.pop("edge_attr", None)

    def _group_of(self, nodes: BaseStorage) -> Tensor | int | None:
        """The group of every node: its graph, the group that is asked for, or both."""
        batch: Tensor | None = nodes.get("batch")
        if self.groups is None:
            return batch
        if isinstance(self.groups, int):
            if batch is None:
                return self.groups
            return _both(batch, _rank(batch) % self.groups)
        if self.groups not in nodes:
            raise ValueError(
                f"The data has no {self.groups!r} with the group of every node: it has "
                f"{', '.join(nodes.keys())}."
            )
        group: Tensor = nodes[self.groups]
        return group if batch is None else _both(batch, group)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(k={self.k})"


@functional_transform("dual_knowledge_graph")
class DualKnowledgeGraph(BaseTransform):  # type: ignore[misc]  # PyG is not typed
    r"""Makes both knowledge sub-graphs of :obj:`data.text` and :obj:`data.image`, as
    :func:`~pyg_graphadapter.dual_knowledge_graph` does (functional name:
    :obj:`dual_knowledge_graph`).

    Takes a :class:`~torch_geometric.data.Data` or :class:`~torch_geometric.data.HeteroData` with
    the attributes :obj:`text`, :obj:`image` and optionally :obj:`query`, or a
    :class:`~torch_geometric.data.HeteroData` with node types of these names. Other attributes are
    kept, those of a :class:`~torch_geometric.data.Data` as attributes of the whole graph. Transform
    graphs before they are batched.

    Args:
        k (int, optional): Keep only edges from the :obj:`k` most similar nodes, or from all where
            there are no more, both among nodes and from nodes to queries. (default: :obj:`None`)
        threshold (float, optional): Keep only similarities above this one.
            (default: :obj:`0.0`)
        symmetric (bool, optional): As in :class:`KnowledgeGraph`. (default: :obj:`False`)
        block_size (int, optional): As in :class:`KnowledgeGraph`. (default: :obj:`2048`)

    Shapes:
        - **text:** :math:`(C, D)`; **image:** :math:`(C, D)`; **query:** :math:`(Q, D)`

    Raises:
        ValueError: If an option is out of range, ``text`` or ``image`` is missing, a feature is no
            finite matrix, or the data is a batch.

    Example:
        >>> data = Data(text=torch.rand(8, 16), image=torch.rand(8, 16))
        >>> DualKnowledgeGraph(k=3)(data).num_edges
        96
    """

    def __init__(
        self,
        k: int | None = None,
        threshold: float = 0.0,
        *,
        symmetric: bool = False,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        _check_options(k, threshold)
        self.k = k
        self.threshold = threshold
        self.symmetric = symmetric
        self.block_size = block_size

    def forward(self, data: Data | HeteroData) -> HeteroData:
        """Returns the graph of texts, images and queries, with the other attributes of the data."""
        if isinstance(data, Batch):
            raise ValueError("DualKnowledgeGraph takes single graphs: apply it before batching.")
        features = {part: _feature(data, part) for part in PARTS}
        missing = [part for part in ("text", "image") if features[part] is None]
        if missing:
            raise ValueError(
                f"DualKnowledgeGraph needs the class features 'text' and 'image' [C, D]: the data "
                f"has no {' and no '.join(map(repr, missing))}."
            )
        num_nodes = max(len(x) for x in features.values() if x is not None)
        graph = dual_knowledge_graph(
            **features,
            k=self.k if self.k is None or self.k <= num_nodes else None,
            threshold=self.threshold,
            symmetric=self.symmetric,
            block_size=self.block_size,
        )
        out = data if isinstance(data, HeteroData) else HeteroData()
        if out is not data:
            out._global_store.update(data._store.to_dict())
        for part in PARTS:
            out._global_store.pop(part, None)  # it is the name of a node type from here on
        for kind in (*graph.node_types, *graph.edge_types):
            out[kind].update(graph[kind].to_dict())
            out[kind].pop("edge_attr", None)
        return out

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(k={self.k})"


def _check_options(k: Any, threshold: float) -> None:
    if k is not None and (isinstance(k, bool) or not isinstance(k, Integral)):
        raise ValueError(f"'k' must be a whole number or None (got {k!r}).")
    if k is not None and k < 1:
        raise ValueError(f"'k' must be at least 1 (got {k}); None connects all nodes.")
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"'threshold' is a cosine in [0, 1) (got {threshold}).")


def _feature(data: Data | HeteroData, part: str) -> Any:
    """The features of this name: an attribute, or those of a node type; None if there are none."""
    if isinstance(data, HeteroData) and part in data.node_types:
        return data[part].get("x")
    return getattr(data, part, None)


def _rank(batch: Tensor) -> Tensor:
    """The position of every node inside its graph ``[C]``."""
    order = batch.argsort(stable=True)
    count = torch.bincount(batch)
    first = count.cumsum(0) - count  # of each graph, among the sorted nodes
    rank = torch.empty_like(batch)
    rank[order] = torch.arange(len(batch), device=batch.device) - first[batch[order]]
    return rank


def _both(batch: Tensor, group: Tensor) -> Tensor:
    """Groups inside graphs ``[C]``: one number per pair of graph and group."""
    pairs = torch.stack([batch, group])
    index: Tensor = torch.unique(pairs, dim=1, return_inverse=True)[1]
    return index
