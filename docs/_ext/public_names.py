"""Links to names of this package that are documented under another one of their names, or not."""

import importlib
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def named(target: str) -> Any:
    """The object with a name, also one inside a class; an :class:`LookupError` if there is none."""
    path = target.split(".")
    for length in range(len(path), 0, -1):
        try:
            value = importlib.import_module(".".join(path[:length]))
        except ImportError:
            continue
        for name in path[length:]:
            fields = getattr(value, "__dataclass_fields__", {})
            if not hasattr(value, name) and name not in fields:
                raise LookupError(target)
            value = getattr(value, name, None)
        return value
    raise LookupError(target)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Looks an unknown name up where its object was defined. What is there, and is not documented,
    gets no link; what is not there is left to be reported."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("pyg_graphadapter."):
        return None
    try:
        value = named(target)
    except LookupError:
        return None
    first = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    found = env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], first, node, words
    )
    return found or words


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the names with the links."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
