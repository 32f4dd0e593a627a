"""Graph layers that fuse text and image knowledge; nothing else of the package is needed."""

from pyg_graphadapter.nn.dual_knowledge_conv import DualKnowledgeConv
from pyg_graphadapter.nn.knowledge_conv import KnowledgeConv

__all__ = ["DualKnowledgeConv", "KnowledgeConv"]
