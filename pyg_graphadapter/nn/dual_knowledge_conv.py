"""Two knowledge convolutions, one over texts and one over images, fused."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.resolver import activation_resolver
from torch_geometric.typing import Adj, EdgeType

from pyg_graphadapter.graph import weighted_degree
from pyg_graphadapter.nn.knowledge_conv import KnowledgeConv


class DualKnowledgeConv(torch.nn.Module):
    r"""The dual knowledge graph layer of the `"GraphAdapter: Tuning Vision-Language Models With
    Dual Knowledge Graph" <https://arxiv.org/abs/2309.13625>`_ paper: every
    query collects from the text and from the visual knowledge sub-graph.

    .. math::
        \mathbf{z}_c = \beta \cdot \sigma(g_{\textrm{text}}(\mathbf{t}_c)) + (1 - \beta) \cdot
        \sigma(g_{\textrm{image}}(\mathbf{t}_c))

    where each :math:`g` is a :class:`KnowledgeConv`.

    Args:
        in_channels (int): Size of each input sample.
        out_channels (int): Size of each output sample.
        beta (float, optional): The weight :math:`\beta` of the text side. At :obj:`1`, the image
            side is switched off; at :obj:`0`, the text side. A side that is switched off is not
            computed and has no parameters. (default: :obj:`0.7`)
        act (str, optional): The activation :math:`\sigma`; :obj:`None` for none.
            (default: :obj:`"tanh"`)
        **kwargs (optional): Additional arguments of both :class:`KnowledgeConv`.

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
        in_channels: int,
        out_channels: int,
        beta: float = 0.7,
        act: str | None = "tanh",
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= beta <= 1.0:
            raise ValueError(f"'beta' must lie in [0, 1] (got {beta}).")
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.beta = beta
        self.act = torch.nn.Identity() if act is None else activation_resolver(act)
        self.text_conv = KnowledgeConv(in_channels, out_channels, **kwargs) if beta > 0 else None
        self.image_conv = KnowledgeConv(in_channels, out_channels, **kwargs) if beta < 1 else None

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        for conv, _ in self.sides().values():
            conv.reset_parameters()

    def sides(self) -> dict[str, tuple[KnowledgeConv, float]]:
        """The convolution and the weight of each side that is not switched off."""
        sides = {"text": (self.text_conv, self.beta), "image": (self.image_conv, 1 - self.beta)}
        return {side: (conv, weight) for side, (conv, weight) in sides.items() if conv is not None}

    def forward(
        self,
        x_dict: Mapping[str, Tensor],
        edge_index_dict: Mapping[EdgeType, Adj] | None = None,
        edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
    ) -> Tensor:
        r"""Runs the forward pass of the module.

        Args:
            x_dict (Dict[str, torch.Tensor]): The features of ``text``, ``image`` and ``query``.
                The side that is switched off may be missing.
            edge_index_dict (Dict[Tuple[str, str, str], torch.Tensor], optional): The edges from
                nodes to queries, and those among the nodes from which their degrees come;
                :obj:`None` for complete graphs. (default: :obj:`None`)
            edge_weight_dict (Dict[Tuple[str, str, str], torch.Tensor], optional): The weights of
                edge lists. (default: :obj:`None`)
        """
        return self.fuse(self.collect_knowledge(x_dict, edge_index_dict, edge_weight_dict))

    def collect_knowledge(
        self,
        x_dict: Mapping[str, Tensor],
        edge_index_dict: Mapping[EdgeType, Adj] | None = None,
        edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        r"""The part of the layer without parameters: what every query collects on both sides
        (:meth:`KnowledgeConv.collect_knowledge`). For frozen features it is constant; compute it
        once.

        Takes the arguments of :meth:`forward`.
        """
        edges, weights = edge_index_dict or {}, edge_weight_dict or {}
        collected = {}
        for side, (conv, _) in self.sides().items():
            nodes, queries = x_dict[side], x_dict["query"]
            node_type, query_type = (side, "to", side), (side, "to", "query")
            if query_type not in edges:
                # Passing one tensor in both roles saves a product:
                x = nodes if nodes is queries else (nodes, queries)
                collected[side] = conv.collect_knowledge(x)
                continue
            deg = None
            if node_type in edges:
                deg = weighted_degree(edges[node_type], weights.get(node_type), nodes.size(0))
            collected[side] = conv.collect_knowledge(
                (nodes, queries), edges[query_type], weights.get(query_type), deg
            )
        return collected

    def fuse(self, collected: Mapping[str, Tensor]) -> Tensor:
        r"""The trained part of the layer, from what :meth:`collect_knowledge` returned.

        Inputs :math:`(G, C, F_{in})` instead of :math:`(C, F_{in})` hold what was collected from
        :math:`G` separate sub-graphs; their activations are averaged.
        """
        terms = []
        for side, (conv, weight) in self.sides().items():
            h = self.act(conv.transform(collected[side]))
            terms.append(weight * (h.mean(dim=0) if h.dim() == 3 else h))  # [G, C, F] -> [C, F]
        out: Tensor = sum(terms[1:], start=terms[0])
        return out

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, beta={self.beta})"
        )
