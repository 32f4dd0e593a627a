"""What all parts of a classifier share: what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.features import Features
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.fitting import NO_TEXTS

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel

# A folder, a path, a data set, or a sequence of images:
Images: TypeAlias = str | Path | Sequence[Any]


class ClassifierBase:
    """The fields of :class:`~pyg_graphadapter.FewShotClassifier`, which describes them."""

    adapter: Adapter
    class_names: tuple[str, ...]
    method: str
    training: dict[str, Any]
    encoding: dict[str, Any]
    measured: dict[str, Any]
    selected: dict[str, Any]
    shot_hashes: tuple[str, ...]
    shots: Features | None
    confidence: Confidence
    familiarity: Familiarity | None
    _encoder: "EncoderModel | None"

    @property
    def has_text(self) -> bool:
        """Whether it was fitted with class text features."""
        return self.training.get("texts") != NO_TEXTS

    @property
    def temperature(self) -> float:
        r"""What logits are divided by before they become probabilities, :math:`T`."""
        return self.confidence.temperature
