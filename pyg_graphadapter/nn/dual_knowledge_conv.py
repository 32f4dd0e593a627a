"""Two knowledge convolutions, one over texts and one over images, fused."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.resolver import activation_resolver
from torch_geometric.typing import Adj, EdgeType

from pyg_graphadapter.graph import as_edge_list, cosine_edges
from pyg_graphadapter.nn.degree import WeightedDegree
from pyg_graphadapter.nn.knowledge_conv import KnowledgeConv
from pyg_graphadapter.nn.sub_graph_conv import ConvFactory, SubGraph, SubGraphConv


class DualKnowledgeConv(torch.nn.Module):
    r"""The dual knowledge graph layer of the `"GraphAdapter: Tuning Vision-Language Models With
    Dual Knowledge Graph" <https://arxiv.org/abs/2309.13625>`_ paper: every
    query collects from the text and from the visual knowledge sub-graph.

    .. math::
        \mathbf{z}_c = \beta \cdot \sigma(g_{\textrm{text}}(\mathbf{t}_c)) + (1 - \beta) \cdot
        \sigma(g_{\textrm{image}}(\mathbf{t}_c))

    where each :math:`g` is a :class:`KnowledgeConv`, or another convolution of PyTorch Geometric.

    Another convolution gets one homogeneous graph per side, because many refuse bipartite input:

    - on the text side the classes' text features, with the edges among them (queries that are not
      these texts are joined to the graph as on the image side);
    - on the image side the prototypes and the queries, with the edges among the prototypes and
      from prototypes to queries. The queries' rows are read.

    It gets the edges' weights if its :meth:`forward` has an argument :obj:`edge_weight`
    (:class:`GCNConv`, for example), and else the edges alone (:class:`SAGEConv`,
    :class:`GATv2Conv`, …). :meth:`collect_knowledge` belongs to :class:`KnowledgeConv`: of another
    convolution, nothing but the edges can be computed once, and the rest is computed in each step.

    Args:
        in_channels (int or tuple): Size of each input sample.
        out_channels (int): Size of each output sample.
        beta (float, optional): The weight :math:`\beta` of the text side. At :obj:`1`, the image
            side is switched off; at :obj:`0`, the text side. A side that is switched off is not
            computed and has no parameters. (default: :obj:`0.7`)
        act (str, optional): The activation :math:`\sigma`; :obj:`None` for none.
            (default: :obj:`"tanh"`)
        conv (str or callable, optional): The convolution: a name in
            :obj:`~pyg_graphadapter.nn.CONVS` (:obj:`"GCNConv"`, :obj:`"SAGEConv"`, …), or a
            function that makes one from :obj:`in_channels` and :obj:`out_channels`.
            (default: :obj:`"KnowledgeConv"`)
        **kwargs (optional): Additional arguments of both convolutions.

    Shapes:
        - **input:** node features of the types ``text``, ``image`` and ``query``
          :math:`(C, F_{in})` each, edges of the types of
          :func:`~pyg_graphadapter.dual_knowledge_graph` *(optional)*
        - **output:** query features :math:`(C, F_{out})`

    Example:
        >>> import torch
        >>> from pyg_graphadapter import dual_knowledge_graph
        >>> data = dual_knowledge_graph(text=torch.randn(8, 16), image=torch.randn(8, 16), k=3)
        >>> conv = DualKnowledgeConv(16, 16)
        >>> conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict).shape
        torch.Size([8, 16])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        beta: float = 0.7,
        act: str | None = "tanh",
        conv: str | ConvFactory = "KnowledgeConv",
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= beta <= 1.0:
            raise ValueError(f"'beta' must lie in [0, 1] (got {beta}).")
        if kwargs.get("flow", "source_to_target") != "source_to_target":
            raise ValueError(
                "The edges of a heterogeneous graph go from nodes to queries: flip them, and leave "
                "'flow' at 'source_to_target'."
            )
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.beta = beta
        self.act = torch.nn.Identity() if act is None else activation_resolver(act)
        make: Callable[..., torch.nn.Module] = KnowledgeConv
        if conv not in ("KnowledgeConv", KnowledgeConv):
            make = partial(SubGraphConv, conv=conv)
        # Keyed by edge type, so that PyG's explainers find the layer of each mask:
        self.convs = torch.nn.ModuleDict()
        for side in self.shares():
            self.convs[f"{side}__to__query"] = make(in_channels, out_channels, **kwargs)
            if self.collects:
                self.convs[f"{side}__to__{side}"] = WeightedDegree()
        self.register_load_state_dict_pre_hook(_rename_convs)  # type: ignore[no-untyped-call]

    @property
    def text_conv(self) -> Any:
        """The convolution of the text side; :obj:`None` if it is switched off."""
        return self._conv("text")

    @property
    def image_conv(self) -> Any:
        """The convolution of the image side; :obj:`None` if it is switched off."""
        return self._conv("image")

    def _conv(self, side: str) -> torch.nn.Module | None:
        return dict(self.convs.items()).get(f"{side}__to__query")

    def shares(self) -> dict[str, float]:
        """The weight of each side that is not switched off."""
        shares = {"text": self.beta, "image": 1 - self.beta}
        return {side: share for side, share in shares.items() if share > 0}

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        for conv, _ in self.sides().values():
            conv.reset_parameters()

    def sides(self) -> dict[str, tuple[Any, float]]:
        """The convolution and the weight of each side that is not switched off."""
        return {side: (self._conv(side), share) for side, share in self.shares().items()}

    @property
    def collects(self) -> bool:
        """Whether both convolutions are a :class:`KnowledgeConv`, whose messages can be collected
        once."""
        return any(isinstance(conv, KnowledgeConv) for conv in self.convs.values())

    def forward(
        self,
        x_dict: Mapping[str, Tensor],
        edge_index_dict: Mapping[EdgeType, Adj] | None = None,
        edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
        batch_dict: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        r"""Runs the forward pass of the module.

        Args:
            x_dict (Dict[str, torch.Tensor]): The features of ``text``, ``image`` and ``query``.
                The side that is switched off may be missing.
            edge_index_dict (Dict[Tuple[str, str, str], torch.Tensor], optional): The edges from
                nodes to queries, and those among the nodes from which their degrees come;
                :obj:`None`, or none of a side, for complete graphs. (default: :obj:`None`)
            edge_weight_dict (Dict[Tuple[str, str, str], torch.Tensor], optional): The weights of
                edge lists. (default: :obj:`None`)
            batch_dict (Dict[str, torch.Tensor], optional): The graph of every node of each type in
                a mini-batch, which complete graphs need (:meth:`KnowledgeConv.forward`).
                (default: :obj:`None`)

        Raises:
            ValueError: If a side has edges among its nodes and none to the queries, or there are
                edges of another type between texts, images and queries.
        """
        _check_edge_types(edge_index_dict or {}, edge_weight_dict or {})
        missing = [kind for kind in (*self.shares(), "query") if kind not in x_dict]
        if missing:
            raise ValueError(f"'x_dict' must have the features of {', '.join(missing)} as well.")
        if self.collects:
            args = (x_dict, edge_index_dict, edge_weight_dict, batch_dict)
            return self._weighted_sum(self._transform(self.collect_knowledge(*args)))
        if batch_dict is not None and not edge_index_dict:
            raise ValueError(
                f"Complete graphs of a mini-batch are kept apart by KnowledgeConv alone (got "
                f"{self._conv_name()}): pass the edges of 'dual_knowledge_graph'."
            )
        return self.convolve(self.sub_graphs(x_dict, edge_index_dict, edge_weight_dict))

    def collect_knowledge(
        self,
        x_dict: Mapping[str, Tensor],
        edge_index_dict: Mapping[EdgeType, Adj] | None = None,
        edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
        batch_dict: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        r"""The part of the layer without parameters: what every query collects on both sides
        (:meth:`KnowledgeConv.collect_knowledge`). For frozen features it is constant; compute it
        once.

        Takes the arguments of :meth:`forward`.
        """
        if not self.collects:
            raise ValueError(
                f"Only KnowledgeConv collects its messages once (got {self._conv_name()}): call "
                f"the layer itself."
            )
        edges, weights = edge_index_dict or {}, edge_weight_dict or {}
        collected = {}
        for side, (conv, _) in self.sides().items():
            nodes, queries = x_dict[side], x_dict["query"]
            node_type, query_type = _edge_types(side)
            if query_type not in edges:
                if node_type in edges:
                    raise _no_edges_to_queries(side)
                # Passing one tensor in both roles saves a product:
                x = nodes if nodes is queries else (nodes, queries)
                batch = None
                if batch_dict is not None:
                    if side not in batch_dict or "query" not in batch_dict:
                        raise ValueError(f"'batch_dict' must have {side} and query.")
                    batch = (batch_dict[side], batch_dict["query"])
                collected[side] = conv.collect_knowledge(x, batch=batch)
                continue
            deg = None
            if node_type in edges:
                degree = self.convs[f"{side}__to__{side}"]
                deg = degree(edges[node_type], weights.get(node_type), nodes.size(-2))
            collected[side] = conv.collect_knowledge(
                (nodes, queries), edges[query_type], weights.get(query_type), deg
            )
        return collected

    def sub_graphs(
        self,
        x_dict: Mapping[str, Tensor],
        edge_index_dict: Mapping[EdgeType, Adj] | None = None,
        edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
    ) -> dict[str, SubGraph]:
        """The graph of each side for a convolution other than :class:`KnowledgeConv`.

        Takes the arguments of :meth:`forward`. Without edges, graphs are complete.
        """
        edges, weights = edge_index_dict or {}, edge_weight_dict or {}
        graphs = {}
        for side, (conv, _) in self.sides().items():
            nodes, queries = x_dict[side], x_dict["query"]
            node_edges, to_queries = (
                as_edge_list(edges[kind], weights.get(kind)) if kind in edges else None
                for kind in _edge_types(side)
            )
            is_complete = node_edges is None and to_queries is None
            if side == "text" and _is_same(nodes, queries):
                node_edges = (
                    cosine_edges(nodes, loop=False) if is_complete else node_edges or to_queries
                )
                graphs[side] = conv.sub_graph(nodes, queries, node_edges)
                continue
            if is_complete:
                node_edges, to_queries = (
                    cosine_edges(nodes, loop=False),
                    cosine_edges(nodes, queries),
                )
            if to_queries is None:
                raise _no_edges_to_queries(side)
            graphs[side] = conv.sub_graph(nodes, queries, node_edges, to_queries)
        return graphs

    def convolve(self, graphs: Mapping[str, SubGraph]) -> Tensor:
        """The layer over the graphs that :meth:`sub_graphs` returned."""
        return self._weighted_sum(
            {side: self.act(conv(graphs[side])) for side, (conv, _) in self.sides().items()}
        )

    def fuse(self, collected: Mapping[str, Tensor]) -> Tensor:
        r"""The trained part of the layer, from what :meth:`collect_knowledge` returned.

        Inputs :math:`(G, C, F_{in})` instead of :math:`(C, F_{in})` hold what was collected from
        :math:`G` separate sub-graphs; their activations are averaged.
        """
        h = self._transform(collected)
        return self._weighted_sum(
            {side: x.mean(dim=0) if x.dim() == 3 else x for side, x in h.items()}
        )  # [G, C, F] -> [C, F]

    def _transform(self, collected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            side: self.act(conv.transform(collected[side]))
            for side, (conv, _) in self.sides().items()
        }

    def _weighted_sum(self, h: Mapping[str, Tensor]) -> Tensor:
        terms = [weight * h[side] for side, (_, weight) in self.sides().items()]
        out: Tensor = sum(terms[1:], start=terms[0])
        return out

    def __repr__(self) -> str:
        conv = "" if self.collects else f", conv={self._conv_name()}"
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"beta={self.beta}{conv})"
        )

    def _conv_name(self) -> str:
        (conv, _), *_ = self.sides().values()
        return type(conv.conv).__name__


def _rename_convs(
    module: DualKnowledgeConv, state: dict[str, Tensor], prefix: str, *_: Any
) -> None:
    """Reads states in which the convolutions were attributes: ``text_conv.`` and ``image_conv.``"""
    for side in module.shares():
        old, new = f"{prefix}{side}_conv.", f"{prefix}convs.{side}__to__query."
        for name in [name for name in state if name.startswith(old)]:
            state[new + name.removeprefix(old)] = state.pop(name)


def _edge_types(side: str) -> tuple[EdgeType, EdgeType]:
    """The types of the edges among the nodes of a side, and from these to the queries."""
    return (side, "to", side), (side, "to", "query")


def _check_edge_types(edges: Mapping[EdgeType, Any], weights: Mapping[EdgeType, Any]) -> None:
    """Checks that no edges or weights between texts, images and queries would be ignored."""
    types = [edge_type for side in ("text", "image") for edge_type in _edge_types(side)]
    for edge_type in [*edges, *weights]:
        source, _, target = edge_type
        ends_are_ours = source in ("text", "image", "query") and target in (
            "text",
            "image",
            "query",
        )
        if ends_are_ours and edge_type not in types:
            raise ValueError(f"Unknown edge type {edge_type}. Choose from {types}.")
    if weights and not edges:
        raise ValueError("There are weights and no edges: pass 'edge_index_dict' as well.")


def _no_edges_to_queries(side: str) -> ValueError:
    return ValueError(
        f"The {side} side has edges among its nodes and none to the queries: add "
        f"{_edge_types(side)[1]} (dual_knowledge_graph has both), or leave out both for the "
        f"complete graph."
    )


def _is_same(nodes: Tensor, queries: Tensor) -> bool:
    """Whether the queries are the nodes."""
    if nodes is queries or nodes.shape != queries.shape:
        return nodes is queries
    if torch.compiler.is_compiling():
        raise ValueError(
            "A compiled layer cannot compare values: pass one tensor as 'text' and 'query'."
        )
    return torch.equal(nodes, queries)
