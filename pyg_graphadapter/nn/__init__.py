"""Graph layers that fuse text and image knowledge; nothing else of the package is needed."""

from pyg_graphadapter.nn.dual_knowledge_conv import DualKnowledgeConv
from pyg_graphadapter.nn.knowledge_conv import KnowledgeConv
from pyg_graphadapter.nn.sub_graph_conv import CONVS

__all__ = ["CONVS", "DualKnowledgeConv", "KnowledgeConv"]
