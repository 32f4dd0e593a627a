"""What the shots say of the class names and of the images, in words."""

from collections.abc import Mapping
from typing import Any

from pyg_graphadapter.adapters import Adapter, GraphAdapter
from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.features import counted
from pyg_graphadapter.settings import warn


def evidence_of(training: Mapping[str, Any]) -> Evidence | None:
    """What the recipe of a training (:func:`~pyg_graphadapter.training.fitting.recipe`) says of
    the shots; :obj:`None` for a classifier without texts, without shots or of an earlier
    version."""
    measured = training.get("evidence")
    return Evidence(**measured) if isinstance(measured, dict) else None


def evidence_in_words(found: Evidence, adapter: Adapter, method: str) -> str:
    """How often class names alone, and images alone, are right on the shots, and what follows from
    that."""
    total, chance = max(1, round(found.total)), 100 / max(1, found.num_classes)
    names = (
        f"right on {round(found.right)} of {counted(total, 'shot')} "
        f"({100 * found.right / found.total:.0f} %, chance {chance:.{0 if chance >= 1 else 1}f} %)"
    )
    follows = _what_follows(found, adapter, method)
    if found.says_little:
        return f"The class names tell this model little: they alone are {names}; {follows}"
    images = ""
    if found.right_by_images is not None:
        right = round(found.right_by_images)
        more = "more" if right > found.right else "fewer"
        amount = "as many" if right == round(found.right) else f"{more}, {right}"
        images = f", and images alone on {amount} (each left out in turn)"
    return f"The class names alone are {names}{images}; {follows}"


def _what_follows(found: Evidence, adapter: Adapter, method: str) -> str:
    if not isinstance(adapter, GraphAdapter):
        if found.says_little:
            return "of all methods, graph_adapter alone leaves them out then."
        return f"{method} does not weigh one against the other by that."
    if adapter.config.nodes == IMAGES:
        return "the images alone decide."
    share = round(100 * adapter.config.alpha)
    whitening = adapter.config.whitening
    metric = f"; features are whitened by {100 * whitening:.0f} %" if whitening else ""
    return f"they count for {share} % (alpha), the graphs for {100 - share} %{metric}."


def tell_of_poor_texts(found: Evidence | None, adapter: Adapter, method: str) -> None:
    """Warns where the class names say next to nothing about the images."""
    if found is not None and found.says_little and method != "zero_shot":
        warn(evidence_in_words(found, adapter, method))
