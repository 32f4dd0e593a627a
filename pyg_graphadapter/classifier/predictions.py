"""What a classifier says of each image, with a reason where it says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_graphadapter.classifier.abstaining import Threshold
from pyg_graphadapter.display import visible
from pyg_graphadapter.features import counted
from pyg_graphadapter.settings import unknown, warn


class ClassProbability(NamedTuple):
    """A class of a classifier, with the probability that an image shows it.

    Args:
        label (int): The number of the class.
        class_name (str): Its name.
        probability (float): The probability.
    """

    label: int
    class_name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """One image, and what a classifier says of it.

    Args:
        index (int): The place of the image among those that were given.
        file (str, optional): Its path, where it has one.
        top (tuple of ClassProbability): The likeliest classes, the likeliest first; empty if it
            cannot be classified.
        reason (str, optional): Why it cannot be classified, or has no answer.
        is_answered (bool): Whether the likeliest class is an answer: the classifier may abstain.
            (default: :obj:`True`)
    """

    index: int
    file: str | None
    top: tuple[ClassProbability, ...]
    reason: str | None = None
    is_answered: bool = True

    @property
    def label(self) -> int | None:
        """The number of the likeliest class; :obj:`None` without an answer."""
        return self.top[0].label if self.top and self.is_answered else None

    @property
    def class_name(self) -> str | None:
        """The name of the likeliest class; :obj:`None` without an answer."""
        return self.top[0].class_name if self.top and self.is_answered else None

    @property
    def probability(self) -> float | None:
        """The probability of the likeliest class."""
        return self.top[0].probability if self.top else None


@dataclass(frozen=True)
class Classified:
    """The probabilities of images, and the images that have none.

    Args:
        probability (torch.Tensor): Class probabilities, one row per image that was classified.
        index (torch.Tensor): The places of these images among those that were given ``[M]``.
        skipped (dict): The place of every other image, with the reason.
        files (tuple of str): The path of every image that was given, where it has one.

    Shapes:
        - **probability:** :math:`(M, C)`
    """

    probability: Tensor
    index: Tensor
    skipped: Mapping[int, str]
    files: tuple[str | None, ...]

    def in_all_rows(self) -> Tensor:
        """Class probabilities ``[N, C]``, NaN for images that were not classified."""
        rows = self.probability.new_full((len(self.files), self.probability.size(1)), float("nan"))
        rows[self.index] = self.probability
        return rows

    def predictions(
        self,
        class_names: Sequence[str],
        top: int = 1,
        on_error: str = "row",
        threshold: Threshold | None = None,
    ) -> list[Prediction]:
        """One prediction per image, in the order in which they were given; without an answer where
        the probability is not above a threshold."""
        values, labels = _likeliest(self.probability, min(top, len(class_names)))
        rows = {}
        for index, labels_of_one, values_of_one in zip(
            self.index.tolist(), labels.tolist(), values.tolist(), strict=True
        ):
            choices = tuple(
                ClassProbability(label, class_names[label], probability)
                for label, probability in zip(labels_of_one, values_of_one, strict=True)
            )
            reason = None if threshold is None else threshold.reason(values_of_one[0])
            rows[index] = Prediction(index, self.files[index], choices, reason, reason is None)
        if on_error == "row":
            rows |= {
                index: Prediction(index, self.files[index], (), reason)
                for index, reason in self.skipped.items()
            }
        return [rows[index] for index in sorted(rows)]

    def tell_of_skipped(self, instead: str) -> None:
        """Warns of the images that were not classified."""
        if not self.skipped:
            return
        first = min(self.skipped)
        warn(
            f"{len(self.skipped):,} of {counted(len(self.files), 'image')} could not be classified "
            f"and {instead}, the first of them at index {first}: {visible(self.skipped[first])}"
        )


def _likeliest(probability: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest probabilities of each row and their classes ``[M, count]``. The first of equal
    ones is the first class, as for ``argmax``, which :meth:`torch.Tensor.topk` does not promise."""
    values, labels = probability.topk(count, dim=1)
    first = probability.argmax(dim=1, keepdim=True)
    labels = torch.where(labels == first, labels[:, :1], labels)
    return values, torch.cat([first, labels[:, 1:]], dim=1)


def check_on_error(on_error: Any, choices: Sequence[str]) -> None:
    """Checks what is to be done about images that cannot be decoded.

    Raises:
        ValueError: If it is none of the choices.
    """
    if on_error not in choices:
        raise unknown("'on_error'", str(on_error), choices)
