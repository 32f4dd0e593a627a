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


def evidence_in_words(found: Evidence, adapter: Adapter, method: str) -> str:
    """How often class names alone, and images alone, are right on the shots, and what follows from
    that."""
    names = (
        f"right on {found.right:,} of {counted(found.total, 'shot')} "
        f"({100 * found.right / found.total:.2g} %, chance {100 / found.num_classes:.2g} %)"
    )
    follows = _what_follows(found, adapter, method)
    images = ""
    if found.right_by_images is not None:
        more = "more" if found.right_by_images > found.right else "fewer"
        is_equal = found.right_by_images == found.right
        amount = "as many" if is_equal else f"{more}, {found.right_by_images:,}"
        images = f", and images alone on {amount} (each left out in turn)"
    if found.says_little:
        return f"The class names tell this model little: they alone are {names}{images}{follows}."
    return f"The class names alone are {names}{images}{follows}."


def _what_follows(found: Evidence, adapter: Adapter, method: str) -> str:
    if not isinstance(adapter, GraphAdapter):
        return "; graph_adapter lets the images alone decide then" if found.says_little else ""
    whitening = round(100 * adapter.config.whitening)
    metric = f", with features whitened by {whitening} %" if whitening else ""
    if adapter.config.nodes == IMAGES:
        return f"; the images alone decide{metric}"
    share = round(100 * adapter.config.alpha)
    return f"; names count for {share} % (alpha), the graphs for {100 - share} %{metric}"


def tell_of_poor_texts(found: Evidence | None, adapter: Adapter, method: str) -> None:
    """Warns where the class names say next to nothing about the images."""
    if found is not None and found.says_little and method not in WITHOUT_NAMES:
        warn(evidence_in_words(found, adapter, method))
