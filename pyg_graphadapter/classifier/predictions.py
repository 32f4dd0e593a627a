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


class Rejection(NamedTuple):
    """What becomes of images of none of the classes.

    Args:
        name (str): What they are called instead.
        limit (float): The highest unknown score that is accepted.
    """

    name: str
    limit: float

    def name_of(self, unknown_score: float | None) -> str | None:
        """The name, if the score is beyond the limit."""
        return self.name if unknown_score is not None and unknown_score > self.limit else None


@dataclass(frozen=True)
class Prediction:
    """One image, and what a classifier says of it.

    Args:
        index (int): The place of the image among those that were given.
        file (str, optional): Its path, where it has one.
        top (tuple of ClassProbability): The likeliest classes, the likeliest first; empty if it
            cannot be classified.
        reason (str, optional): Why it cannot be classified, or has no answer.
        unknown_score (float, optional): How unlike the images of all classes it is, where images
            are rejected.
        rejected_as (str, optional): What it is called if it is of none of the classes. It has no
            :obj:`label` and no :obj:`probability` then; :obj:`top` still has the likeliest classes.
        is_answered (bool): Whether the likeliest class is an answer: the classifier may abstain.
            (default: :obj:`True`)
    """

    index: int
    file: str | None
    top: tuple[ClassProbability, ...]
    reason: str | None = None
    unknown_score: float | None = None
    rejected_as: str | None = None
    is_answered: bool = True

    @property
    def label(self) -> int | None:
        """The number of the likeliest class; :obj:`None` without an answer."""
        return self._first.label if self._first is not None and self.is_answered else None

    @property
    def class_name(self) -> str | None:
        """The name of the likeliest class, or that of rejected images; :obj:`None` without an
        answer."""
        if self.rejected_as is not None:
            return self.rejected_as
        return self._first.class_name if self._first is not None and self.is_answered else None

    @property
    def probability(self) -> float | None:
        """The probability of the likeliest class."""
        return None if self._first is None else self._first.probability

    @property
    def _first(self) -> ClassProbability | None:
        return self.top[0] if self.top and self.rejected_as is None else None


@dataclass(frozen=True)
class Classified:
    """The probabilities of images, and the images that have none.

    Args:
        probability (torch.Tensor): Class probabilities, one row per image that was classified.
        index (torch.Tensor): The places of these images among those that were given ``[M]``.
        skipped (dict): The place of every other image, with the reason.
        files (tuple of str): The path of every image that was given, where it has one.
        unknown_score (torch.Tensor, optional): How unlike the images of all classes these images
            are, where it was asked for. (default: :obj:`None`)

    Shapes:
        - **probability:** :math:`(M, C)`; **unknown_score:** :math:`(M)`
    """

    probability: Tensor
    index: Tensor
    skipped: Mapping[int, str]
    files: tuple[str | None, ...]
    unknown_score: Tensor | None = None

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
        *,
        rejection: Rejection | None = None,
        threshold: Threshold | None = None,
    ) -> list[Prediction]:
        """One prediction per image, in the order in which they were given. Images that are rejected
        have the name of such images, and others no answer where the probability is not above a
        threshold."""
        values, labels = _likeliest(self.probability, min(top, len(class_names)))
        scores = self._scores()
        rows = {}
        for row, index in enumerate(self.index.tolist()):
            choices = zip(labels[row].tolist(), values[row].tolist(), strict=True)
            likeliest = tuple(ClassProbability(c, class_names[c], p) for c, p in choices)
            name = None if rejection is None else rejection.name_of(scores[row])
            reason = None
            if threshold is not None and name is None:
                reason = threshold.reason(likeliest[0].probability)
            rows[index] = Prediction(
                index, self.files[index], likeliest, reason, scores[row], name, reason is None
            )
        if on_error == "row":
            rows |= {
                index: Prediction(index, self.files[index], (), reason)
                for index, reason in self.skipped.items()
            }
        return [rows[index] for index in sorted(rows)]

    def _scores(self) -> list[float | None]:
        """The unknown score of every image that was classified, or :obj:`None`."""
        if self.unknown_score is None:
            return [None] * len(self.index)
        scores: list[float | None] = self.unknown_score.tolist()
        return scores

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
