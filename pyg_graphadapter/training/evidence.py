"""What the shots say of the class names and of the images, in words."""

from collections.abc import Mapping
from typing import Any

from pyg_graphadapter.adapters import Adapter, GraphAdapter
from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.features import counted
from pyg_graphadapter.settings import warn

WITHOUT_NAMES = ("linear_probe",)  # methods that use no names, whatever they say


def evidence_of(training: Mapping[str, Any]) -> Evidence | None:
    """What the recipe of a training (:func:`~pyg_graphadapter.training.fitting.recipe`) says of
    the shots; :obj:`None` for a classifier without texts, without shots or of an earlier
    version."""
    measured = training.get("evidence")
    return Evidence(**measured) if isinstance(measured, dict) else None


def evidence_in_words(evidence: Evidence, adapter: Adapter, method: str) -> str:
    """How often class names alone, and images alone, are right on the shots, and what follows from
    that."""
    share, chance = 100 * evidence.right / evidence.total, 100 / evidence.num_classes
    names = (
        f"right on {evidence.right:,} of {counted(evidence.total, 'shot')} ({share:.2g} %, chance "
        f"{chance:.2g} %)"
    )
    follows = _what_follows(evidence, adapter, method)
    images = ""
    if evidence.right_by_images is not None:
        more = "more" if evidence.right_by_images > evidence.right else "fewer"
        is_equal = evidence.right_by_images == evidence.right
        amount = "as many" if is_equal else f"{more}, {evidence.right_by_images:,}"
        images = f", and images alone on {amount} (each left out in turn)"
    if evidence.says_little:
        return f"The class names tell this model little: they alone are {names}{images}{follows}."
    return f"The class names alone are {names}{images}{follows}."


def without_texts_in_words(adapter: Adapter) -> str:
    """What follows for GraphAdapter where there are no texts; nothing for another method."""
    if not isinstance(adapter, GraphAdapter) or adapter.config.nodes != IMAGES:
        return ""
    return f"There are no texts; the images alone decide{_whitening_in_words(adapter)}."


def _whitening_in_words(adapter: GraphAdapter) -> str:
    whitening = round(100 * adapter.config.whitening)
    return f", with features whitened by {whitening} %" if whitening else ""


def _what_follows(evidence: Evidence, adapter: Adapter, method: str) -> str:
    if not isinstance(adapter, GraphAdapter):
        return "; graph_adapter lets the images alone decide then" if evidence.says_little else ""
    metric = _whitening_in_words(adapter)
    if adapter.config.nodes == IMAGES:
        return f"; the images alone decide{metric}"
    share = round(100 * adapter.config.alpha)
    return f"; names count for {share} % (alpha), the graphs for {100 - share} %{metric}"


def tell_of_poor_texts(evidence: Evidence | None, adapter: Adapter, method: str) -> None:
    """Warns where the class names say next to nothing about the images."""
    if evidence is not None and evidence.says_little and method not in WITHOUT_NAMES:
        warn(evidence_in_words(evidence, adapter, method))
