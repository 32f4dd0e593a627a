"""All methods, behind one contract; a new one is a file here and a line in the table."""

from pyg_graphadapter.adapters.base import Adapter, AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.graph_adapter import GraphAdapter, GraphAdapterConfig
from pyg_graphadapter.adapters.zero_shot import ZeroShot
from pyg_graphadapter.settings import unknown

ADAPTERS: dict[str, type[Adapter]] = {
    "graph_adapter": GraphAdapter,
    "zero_shot": ZeroShot,
}


def adapter_class(method: str) -> type[Adapter]:
    """The class behind a method's name.

    Raises:
        ValueError: If there is no such method, listing those that there are.
    """
    if method not in ADAPTERS:
        raise unknown("method", method, ADAPTERS)
    return ADAPTERS[method]


__all__ = [
    "ADAPTERS",
    "Adapter",
    "AdapterConfig",
    "GraphAdapter",
    "GraphAdapterConfig",
    "LinearAdapter",
    "ZeroShot",
    "adapter_class",
]
