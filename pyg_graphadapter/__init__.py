"""Few-shot adaptation of CLIP-like models by message passing over class graphs."""

from pyg_graphadapter.adapters import GraphAdapter, ZeroShot
from pyg_graphadapter.classifier import FewShotClassifier
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.estimator import GraphAdapterClassifier
from pyg_graphadapter.evaluation import evaluate
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import (
    class_prototypes,
    cosine_edges,
    dual_knowledge_graph,
    knowledge_graph,
    weighted_degree,
)
from pyg_graphadapter.nn import DualKnowledgeConv, KnowledgeConv
from pyg_graphadapter.selection import select
from pyg_graphadapter.task import EvaluationTask, FewShotTask

__version__ = "0.1.0"

__all__ = [
    "DualKnowledgeConv",
    "EvaluationTask",
    "FeatureFile",
    "Features",
    "FewShotClassifier",
    "FewShotTask",
    "GraphAdapter",
    "GraphAdapterClassifier",
    "KnowledgeConv",
    "TrainConfig",
    "ZeroShot",
    "class_prototypes",
    "cosine_edges",
    "dual_knowledge_graph",
    "evaluate",
    "knowledge_graph",
    "select",
    "train",
    "weighted_degree",
]
