"""Teach an existing image model your own classes from a few pictures each."""

from pyg_graphadapter.interrupts import end_at_signals, is_command

if is_command():  # before anything else is loaded: Ctrl-C may come first
    end_at_signals()

from typing import TYPE_CHECKING

from pyg_graphadapter.lazy import lazy_names

if TYPE_CHECKING:
    from pyg_graphadapter.adapters import GraphAdapter, ZeroShot
    from pyg_graphadapter.adapters.registry import register_adapter
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.comparison.frame import compare, summary
    from pyg_graphadapter.encoding.config import EncodingConfig
    from pyg_graphadapter.encoding.encoder import Encoder
    from pyg_graphadapter.encoding.image_encoder import ImageEncoder
    from pyg_graphadapter.estimator import GraphAdapterClassifier
    from pyg_graphadapter.feature_file import FeatureFile
    from pyg_graphadapter.features import Features
    from pyg_graphadapter.graph import (
        class_prototypes,
        cosine_edges,
        dual_knowledge_graph,
        knowledge_graph,
        weighted_degree,
    )
    from pyg_graphadapter.image_estimators.classifier import FewShotImageClassifier
    from pyg_graphadapter.image_estimators.features import ImageFeatures
    from pyg_graphadapter.nn import DualKnowledgeConv, KnowledgeConv
    from pyg_graphadapter.report.knowledge_graph import draw_knowledge_graph
    from pyg_graphadapter.task import EvaluationTask, FewShotTask
    from pyg_graphadapter.training.callbacks import Callback
    from pyg_graphadapter.training.config import TrainConfig
    from pyg_graphadapter.training.engine import train
    from pyg_graphadapter.training.evaluation import evaluate
    from pyg_graphadapter.training.selection import select
    from pyg_graphadapter.transforms import DualKnowledgeGraph, KnowledgeGraph

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "DualKnowledgeConv",
    "DualKnowledgeGraph",
    "Encoder",
    "EncodingConfig",
    "EvaluationTask",
    "FeatureFile",
    "Features",
    "FewShotClassifier",
    "FewShotImageClassifier",
    "FewShotTask",
    "GraphAdapter",
    "GraphAdapterClassifier",
    "ImageEncoder",
    "ImageFeatures",
    "KnowledgeConv",
    "KnowledgeGraph",
    "TrainConfig",
    "ZeroShot",
    "class_prototypes",
    "compare",
    "cosine_edges",
    "draw_knowledge_graph",
    "dual_knowledge_graph",
    "evaluate",
    "knowledge_graph",
    "register_adapter",
    "select",
    "summary",
    "train",
    "weighted_degree",
]

# Whoever uses the layers alone does not wait for transformers and datasets, and whoever makes a
# report of results does not wait for torch.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Callback": "training.callbacks",
        "DualKnowledgeConv": "nn",
        "DualKnowledgeGraph": "transforms",
        "Encoder": "encoding.encoder",
        "EncodingConfig": "encoding.config",
        "EvaluationTask": "task",
        "FeatureFile": "feature_file",
        "Features": "features",
        "FewShotClassifier": "classifier.few_shot_classifier",
        "FewShotImageClassifier": "image_estimators.classifier",
        "FewShotTask": "task",
        "GraphAdapter": "adapters",
        "GraphAdapterClassifier": "estimator",
        "ImageEncoder": "encoding.image_encoder",
        "ImageFeatures": "image_estimators.features",
        "KnowledgeConv": "nn",
        "KnowledgeGraph": "transforms",
        "TrainConfig": "training.config",
        "ZeroShot": "adapters",
        "class_prototypes": "graph",
        "compare": "comparison.frame",
        "cosine_edges": "graph",
        "draw_knowledge_graph": "report.knowledge_graph",
        "dual_knowledge_graph": "graph",
        "evaluate": "training.evaluation",
        "knowledge_graph": "graph",
        "register_adapter": "adapters.registry",
        "select": "training.selection",
        "summary": "comparison.frame",
        "train": "training.engine",
        "weighted_degree": "graph",
    },
)
