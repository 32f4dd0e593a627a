"""What a classifier knows of how far its probabilities can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Self

import torch
from torch import Tensor

from pyg_graphadapter.features import counted
from pyg_graphadapter.storage import Within

LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 1e-4, 1e4
OLDER = "none: it was saved by a version that did not calibrate"
SWITCHED_OFF = "none: calibration was switched off"
DIVERGED = "none: training without a part of the shots diverged"
NO_SHOTS = "that of zero-shot CLIP, as it was fitted without shots"
NOTHING_HELD_OUT = "that of zero-shot CLIP, as no image can be held out of one shot per class"


@dataclass(frozen=True)
class ConfidenceCard:
    """What ``classifier.json`` holds of a :class:`Confidence`; the rest are tensors.

    Args:
        temperature (float): What logits are divided by.
        source (str): How it was found, in words.
    """

    temperature: Annotated[float, Within(LEAST_TEMPERATURE, LARGEST_TEMPERATURE)] = 1.0
    source: str = OLDER


@dataclass(frozen=True, eq=False)
class Confidence:
    r"""How far the probabilities of a classifier can be trusted, measured on shots that were held
    out: the temperature :math:`T` of the `"On Calibration of Modern Neural Networks"
    <https://arxiv.org/abs/1706.04599>`_ paper (Section 4.2), and how often the classes that are
    predicted with it are right.

    .. math::
        \textrm{probabilities} = \textrm{softmax}(\textrm{logits} / T)

    Args:
        temperature (float): The temperature :math:`T`. (default: :obj:`1.0`)
        source (str): How it was found, in words.
        probability (torch.Tensor): The probability of the likeliest class of every held-out image,
            with this temperature, the largest first. (default: of none)
        is_right (torch.Tensor): Whether this class is that of the image. (default: of none)

    Shapes:
        - **probability**, **is_right:** :math:`(M)`

    Raises:
        ValueError: If the tensors do not fit together.
    """

    temperature: float = 1.0
    source: str = OLDER
    probability: Tensor = field(default_factory=lambda: torch.empty(0))
    is_right: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        """Checks that the tensors fit together."""
        probability, is_right = self.probability, self.is_right
        if probability.dim() != 1 or is_right.shape != probability.shape:
            raise ValueError(
                f"'probability' and 'is_right' must be [M] (got {list(probability.shape)} and "
                f"{list(is_right.shape)})."
            )
        if not probability.is_floating_point() or is_right.dtype != torch.bool:
            raise ValueError(
                f"'probability' must be floating-point numbers and 'is_right' true or false (got "
                f"{probability.dtype} and {is_right.dtype})."
            )
        is_sorted = bool((probability[1:] <= probability[:-1]).all())
        if not is_sorted or not bool(((probability >= 0) & (probability <= 1)).all()):
            raise ValueError("'probability' must be between 0 and 1, the largest first.")

    def with_new_classes(self, names: Sequence[str]) -> Self:
        """The confidence of a classifier that got classes without being fitted again: the
        temperature stays, and what was held out says nothing of the new classes."""
        if not len(self.probability):
            return self
        return self.without_held_out(f"before {counted(len(names), 'class')} came in by name")

    def without_held_out(self, why: str) -> Self:
        """The same temperature, without the images that were held out, as they do not stand for all
        classes: of those that they are not of, nothing could be promised."""
        nothing = type(self)()
        return replace(
            self,
            source=f"{self.source}, {why}",
            probability=nothing.probability,
            is_right=nothing.is_right,
        )

    def card(self) -> ConfidenceCard:
        """What is written of it in words and numbers."""
        return ConfidenceCard(self.temperature, self.source)

    def tensors(self) -> dict[str, Tensor]:
        """What is written of it as tensors."""
        return {"probability": self.probability, "is_right": self.is_right}

    @classmethod
    def from_file(cls, card: ConfidenceCard, tensors: Mapping[str, Tensor]) -> Self:
        """What :meth:`card` and :meth:`tensors` wrote.

        Raises:
            ValueError: If a tensor is missing, unknown or not as it must be.
        """
        names = set(cls().tensors())
        if set(tensors) != names:
            raise ValueError(
                f"its tensors of the confidence are {', '.join(sorted(tensors)) or 'missing'}, and "
                f"must be {', '.join(sorted(names))}"
            )
        return cls(card.temperature, card.source, **tensors)
