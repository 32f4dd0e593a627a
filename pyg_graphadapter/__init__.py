"""Few-shot adaptation of CLIP-like models by message passing over class graphs."""

import importlib
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.adapters import GraphAdapter, ZeroShot
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

if TYPE_CHECKING:
    from pyg_graphadapter.classifier import FewShotClassifier
    from pyg_graphadapter.encoder import Encoder
    from pyg_graphadapter.encoding import EncodingConfig

__version__ = "0.1.0"

__all__ = [
    "DualKnowledgeConv",
    "Encoder",
    "EncodingConfig",
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

# What needs transformers and datasets is imported when it is first used: who uses the layers alone
# does not wait for them.
_IMAGES = {
    "Encoder": "pyg_graphadapter.encoder",
    "EncodingConfig": "pyg_graphadapter.encoding",
    "FewShotClassifier": "pyg_graphadapter.classifier",
}


def __getattr__(name: str) -> Any:
    """The names that work on images."""
    if name in _IMAGES:
        return getattr(importlib.import_module(_IMAGES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_IMAGES])
