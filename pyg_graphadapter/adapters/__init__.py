"""All methods, with one base class. A new method is one file and one line in the table, or a class
of its own that is registered from outside."""

from typing import TYPE_CHECKING

from pyg_graphadapter.adapters.registry import (
    adapter_class,
    adapter_names,
    is_built_in,
    register_adapter,
)
from pyg_graphadapter.lazy import lazy_names

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.ape import APE, APET
    from pyg_graphadapter.adapters.base import Adapter, AdapterConfig, LinearAdapter
    from pyg_graphadapter.adapters.clap import CLAP
    from pyg_graphadapter.adapters.clip_adapter import CLIPAdapter
    from pyg_graphadapter.adapters.coop import CoOp
    from pyg_graphadapter.adapters.cross_modal import CrossModal
    from pyg_graphadapter.adapters.gda import GDA
    from pyg_graphadapter.adapters.graph_adapter import GraphAdapter, GraphAdapterConfig
    from pyg_graphadapter.adapters.hierarchical_lda import HierarchicalLDA
    from pyg_graphadapter.adapters.linear_probe import LinearProbe
    from pyg_graphadapter.adapters.lp_pp import LPPlusPlus
    from pyg_graphadapter.adapters.proker import ProKeR
    from pyg_graphadapter.adapters.ss_text import SSText
    from pyg_graphadapter.adapters.stack import Stack, Stackable
    from pyg_graphadapter.adapters.task_res import TaskRes
    from pyg_graphadapter.adapters.tip_adapter import TipAdapter, TipAdapterF
    from pyg_graphadapter.adapters.transclip import TransCLIP
    from pyg_graphadapter.adapters.zero_shot import ZeroShot

# The class name of every method of this package; a class is imported when it is first used:
ADAPTERS: "dict[str, str | type[Adapter]]" = {
    "graph_adapter": "GraphAdapter",
    "zero_shot": "ZeroShot",
    "linear_probe": "LinearProbe",
    "coop": "CoOp",
    "clip_adapter": "CLIPAdapter",
    "tip_adapter": "TipAdapter",
    "tip_adapter_f": "TipAdapterF",
    "task_res": "TaskRes",
    "gda": "GDA",
    "lp_pp": "LPPlusPlus",
    "clap": "CLAP",
    "proker": "ProKeR",
    "cross_modal": "CrossModal",
    "hierarchical_lda": "HierarchicalLDA",
    "ss_text": "SSText",
    "ape": "APE",
    "ape_t": "APET",
    "transclip": "TransCLIP",
}

__all__ = [
    "ADAPTERS",
    "APE",
    "APET",
    "CLAP",
    "GDA",
    "Adapter",
    "AdapterConfig",
    "CLIPAdapter",
    "CoOp",
    "CrossModal",
    "GraphAdapter",
    "GraphAdapterConfig",
    "HierarchicalLDA",
    "LPPlusPlus",
    "LinearAdapter",
    "LinearProbe",
    "ProKeR",
    "SSText",
    "Stack",
    "Stackable",
    "TaskRes",
    "TipAdapter",
    "TipAdapterF",
    "TransCLIP",
    "ZeroShot",
    "adapter_class",
    "adapter_names",
    "is_built_in",
    "register_adapter",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "APE": "ape",
        "APET": "ape",
        "Adapter": "base",
        "AdapterConfig": "base",
        "CLAP": "clap",
        "CLIPAdapter": "clip_adapter",
        "CoOp": "coop",
        "CrossModal": "cross_modal",
        "GDA": "gda",
        "GraphAdapter": "graph_adapter",
        "GraphAdapterConfig": "graph_adapter",
        "HierarchicalLDA": "hierarchical_lda",
        "LPPlusPlus": "lp_pp",
        "LinearAdapter": "base",
        "LinearProbe": "linear_probe",
        "ProKeR": "proker",
        "SSText": "ss_text",
        "Stack": "stack",
        "Stackable": "stack",
        "TaskRes": "task_res",
        "TipAdapter": "tip_adapter",
        "TipAdapterF": "tip_adapter",
        "TransCLIP": "transclip",
        "ZeroShot": "zero_shot",
    },
)
