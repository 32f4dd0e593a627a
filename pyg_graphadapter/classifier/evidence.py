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
    if found.says_little:
        return f"The class names tell this model little: they alone are {names}; {_follows(classifier)}"
    images = ""
    if found.right_by_images is not None:
        more = "more" if found.right_by_images > found.right else "fewer"
        amount = "as many" if round(found.right_by_images) == round(found.right) else more
        images = (
            f", and images alone on {amount} ({round(found.right_by_images)}, each left out in "
            f"turn)"
        )
    return f"The class names alone are {names}{images}; {_follows(classifier)}"


def _follows(classifier: "FewShotClassifier") -> str:
    adapter = classifier.adapter
    if not isinstance(adapter, GraphAdapter):
        found = Evidence(**classifier.training["evidence"])
        if found.says_little and classifier.method != "zero_shot":
            return "graph_adapter would let the images alone decide."
        return f"{classifier.method} was fitted to both." if adapter.is_trained else "both count."
    if adapter.config.nodes == IMAGES:
        return "the images alone decide."
    share = round(100 * adapter.config.alpha)
    whitened = adapter.config.whitening
    metric = f", with features whitened by {100 * whitened:.0f} %" if whitened else ""
    return f"class names count for {share} % (alpha), the graphs for {100 - share} %{metric}."
