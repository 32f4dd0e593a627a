"""Links to names of this package that are documented under another one of their names."""

import importlib
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def first_name(target: str) -> str | None:
    """Where an object was defined, from any name by which it can be imported."""
    module, _, name = target.rpartition(".")
    try:
        value: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
    defined_in, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{defined_in}.{qualified}" if defined_in and qualified else None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Looks an unknown name up where the object was defined."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("pyg_graphadapter."):
        return None
    name = first_name(target)
    if name in (None, target):
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, words)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the names with the links."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
