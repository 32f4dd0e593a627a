"""The texts of a classifier's classes, and text features of classes that are added or renamed."""

from typing import TYPE_CHECKING

from torch import Tensor

from pyg_graphadapter.classifier.added import encoding_of
from pyg_graphadapter.data.descriptions import (
    DESCRIPTIONS_WEIGHT,
    Descriptions,
    DescriptionsLike,
    descriptions_of,
)
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import warn
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.training.fitting import NO_TEXTS

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier


def has_texts(classifier: "FewShotClassifier") -> bool:
    """Whether a classifier was fitted with texts of its classes."""
    return classifier.training.get("texts") != NO_TEXTS


def encode_names(
    classifier: "FewShotClassifier", names: tuple[str, ...], descriptions: Descriptions | None
) -> Tensor:
    """The text features of class names ``[C', D]``, by the classifier's encoder and prompts."""
    check_texts(classifier)
    if "descriptions" in classifier.encoding and descriptions is None:
        listing = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
        warn(
            f"The classifier was fitted with descriptions of its classes, and has none of "
            f"{listing}: the templates alone stand for them. Describe them, too (--descriptions)."
        )
    if not classifier.encoding:
        raise ValueError(
            "The classifier was fitted on features, so it knows no encoder for names: give the "
            "text features of the new names, or a feature file with them."
        )
    from pyg_graphadapter.encoding.model import class_text_features

    templates = encoding_of(classifier, None).templates
    weight = _weight_of(classifier)
    x = class_text_features(classifier.encoder, names, templates, descriptions, weight)
    return unit(x)


def described(
    classifier: "FewShotClassifier", names: tuple[str, ...], descriptions: DescriptionsLike | None
) -> Descriptions | None:
    """The descriptions of new classes; those of other classes of the classifier are left out.

    Raises:
        ValueError: If there is no new class, or they are not as they must be.
    """
    table = descriptions_of(descriptions)
    if table is None:
        return None
    if not names:
        raise ValueError("There is no new class to describe: leave the descriptions out.")
    return table.matched(names, _weight_of(classifier), classifier.class_names)


def recorded(
    classifier: "FewShotClassifier", descriptions: Descriptions | None
) -> dict[str, str | float]:
    """What a classifier records of further descriptions: one hash of the old and the new ones."""
    if descriptions is None:
        return {}
    digests = (classifier.encoding.get("descriptions"), descriptions.digest)
    known = [digest for digest in digests if digest is not None]
    digest = known[0] if len(known) == 1 else sha256(" ".join(known).encode())
    return {"descriptions": digest, "descriptions_weight": _weight_of(classifier)}


def check_texts(classifier: "FewShotClassifier") -> None:
    """Checks that a classifier was fitted with texts of its classes.

    Raises:
        ValueError: If it was not.
    """
    if not has_texts(classifier):
        raise ValueError(
            "The classifier was fitted without texts, so names say nothing to it: add images of "
            "the new classes."
        )


def _weight_of(classifier: "FewShotClassifier") -> float:
    return float(classifier.encoding.get("descriptions_weight", DESCRIPTIONS_WEIGHT))
