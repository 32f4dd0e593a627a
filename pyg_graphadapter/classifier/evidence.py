"""What the shots say of the class names and of the images, in words."""

from typing import TYPE_CHECKING

from pyg_graphadapter.adapters.graph_adapter import GraphAdapter
from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.features import counted

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier


def evidence_in_words(classifier: "FewShotClassifier") -> str:
    """How often class names alone, and images alone, are right on the shots, and what follows from
    that; nothing for a classifier without texts, or without shots."""
    measured = classifier.training.get("evidence")
    if not isinstance(measured, dict):
        return ""
    try:
        found = Evidence(**measured)
    except TypeError:  # of another version
        return ""
    total, chance = max(1, round(found.total)), 100 / max(1, found.num_classes)
    names = (
        f"right on {round(found.right)} of {counted(total, 'shot')} "
        f"({100 * found.right / found.total:.0f} %, chance {chance:.{0 if chance >= 1 else 1}f} %)"
    )
    follows = _what_follows(classifier, found)
    if found.says_little:
        return f"The class names tell this model little: they alone are {names}; {follows}"
    images = ""
    if found.right_by_images is not None:
        right = round(found.right_by_images)
        more = "more" if right > found.right else "fewer"
        amount = "as many" if right == round(found.right) else f"{more}, {right}"
        images = f", and images alone on {amount} (each left out in turn)"
    return f"The class names alone are {names}{images}; {follows}"


def _what_follows(classifier: "FewShotClassifier", found: Evidence) -> str:
    adapter = classifier.adapter
    if not isinstance(adapter, GraphAdapter):
        if found.says_little:
            return "of all methods, graph_adapter alone leaves them out then."
        return f"{classifier.method} does not weigh one against the other by that."
    if adapter.config.nodes == IMAGES:
        return "the images alone decide."
    share = round(100 * adapter.config.alpha)
    whitening = adapter.config.whitening
    metric = f"; features are whitened by {100 * whitening:.0f} %" if whitening else ""
    return f"they count for {share} % (alpha), the graphs for {100 - share} %{metric}."
