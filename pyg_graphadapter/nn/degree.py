"""The degrees of nodes among each other, as a layer whose edges can be masked."""

from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptTensor

from pyg_graphadapter.graph import as_edge_list, at_least_float32, merged_weights


class WeightedDegree(MessagePassing):  # type: ignore[misc]  # PyG is not typed
    r"""The weighted in-degree of every node (:func:`~pyg_graphadapter.weighted_degree`) as message
    passing, so that PyG's explainers can mask its edges. It has no parameters.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, edge_index: Adj, edge_weight: OptTensor, num_nodes: int) -> Tensor:
        r"""Runs the forward pass of the module.

        Takes the arguments of :func:`~pyg_graphadapter.weighted_degree`.
        """
        edge_index, edge_weight = as_edge_list(edge_index, edge_weight)
        weight, _ = merged_weights(edge_index[0], edge_index[1], at_least_float32(edge_weight))
        weight = weight * (edge_index[0] != edge_index[1])
        # propagate_type: (edge_weight: Tensor)
        deg: Tensor = self.propagate(edge_index, edge_weight=weight, size=(num_nodes, num_nodes))
        return deg.squeeze(1).to(edge_weight.dtype)

    def message(self, edge_weight: Tensor) -> Tensor:
        """The message of an edge: its weight."""
        return edge_weight.unsqueeze(1)
