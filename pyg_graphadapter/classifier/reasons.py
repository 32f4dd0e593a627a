"""Why a classifier says what it says of an image, in words that need no graphs, for every method.

Two things are said. The first is what the lead of the likeliest class over the next one adds up
from (:meth:`~pyg_graphadapter.adapters.Adapter.logit_parts`): the names of both, the examples, and
what training made of them. The second can be seen without the method: which example, and which
name, the image is most similar to, by the cosine of their features.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.contract import parts_of_logits
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, NAMES
from pyg_graphadapter.classifier.reference import Reference
from pyg_graphadapter.classifier.words import image_in_words, quoted
from pyg_graphadapter.graph import with_usual_length
from pyg_graphadapter.training.evaluation import batches, predict_logits


@dataclass(frozen=True)
class LeadPart:
    """One part of what puts a class before another.

    Args:
        kind (str): Where it comes from (:mod:`~pyg_graphadapter.adapters.parts`).
        amount (float): How much, in the unit of the lead; below zero where it speaks for the other
            class.
    """

    kind: str
    amount: float


@dataclass(frozen=True)
class Similar:
    """What an image is most similar to.

    Args:
        kind (str): ``example``, ``trained example`` (as training changed it), ``mean of examples``
            or ``name``.
        class_name (str): The class that it belongs to.
        similarity (float): The cosine of the features.
    """

    kind: str
    class_name: str
    similarity: float


@dataclass(frozen=True)
class Reason:
    """Why an image is said to show a class and not another.

    Args:
        class_name (str): The likeliest class.
        probability (float): Its probability.
        rival (str, optional): The class that it is compared with: the next likely one, or the one
            that was asked for; :obj:`None` where there is one class alone.
        rival_probability (float, optional): The probability of that class.
        lead (float): The logarithm of the ratio of both probabilities.
        parts (tuple of LeadPart): What the lead adds up from, the largest (of either sign) first.
        example (Similar, optional): The most similar example, or mean of the examples of a class;
            :obj:`None` where the classifier keeps neither.
        name (Similar, optional): The most similar name; :obj:`None` without texts.
        is_transductive (bool, optional): Whether it depends on the other images that were given.
            (default: :obj:`False`)
    """

    class_name: str
    probability: float
    rival: str | None
    rival_probability: float | None
    lead: float
    parts: tuple[LeadPart, ...]
    example: Similar | None
    name: Similar | None
    is_transductive: bool = False

    @property
    def words(self) -> str:
        """All this in words."""
        return image_in_words(self)

    def as_dict(self) -> dict[str, Any]:
        """The reason as plain JSON values, with its words."""
        return {**asdict(self), "words": self.words}

    def table(self) -> str:
        """What the lead adds up from."""
        if self.rival is None:
            return ""
        rows = [(f"{part.amount:+.4f}", part.kind) for part in self.parts]
        rows.append((f"{self.lead:+.4f}", "total: logarithm of the ratio of the probabilities"))
        width = max(len(amount) for amount, _ in rows)
        lines = [f"{amount:>{width}}  {kind}" for amount, kind in rows]
        return "\n".join([f"{quoted(self.class_name)} before {quoted(self.rival)}", *lines])

    def __str__(self) -> str:
        return self.words


@torch.inference_mode()
def reasons_of(
    adapter: Adapter,
    class_names: Sequence[str],
    x: Tensor,
    reference: Reference,
    *,
    temperature: float = 1.0,
    against: int | None = None,
) -> list[Reason]:
    r"""Why images are said to show what they do, one reason per image. A transductive method
    classifies them together.

    .. math::
        \textrm{lead} = \log \frac{p_a}{p_b} = \frac{1}{T} \sum_i (\textrm{part}_{ia} -
        \textrm{part}_{ib})

    for the likeliest class :math:`a` and the other one :math:`b`, with the temperature :math:`T` of
    the probabilities.

    Args:
        adapter (Adapter): The method.
        class_names (sequence of str): The names of its classes.
        x (torch.Tensor): The features of the images.
        reference (Reference): What images are compared with.
        temperature (float, optional): The temperature :math:`T`. (default: :obj:`1.0`)
        against (int, optional): The class that the likeliest one is compared with; the next likely
            one if not given, or where it is the likeliest itself. (default: :obj:`None`)

    Shapes:
        - **x:** :math:`(N, D)`

    Raises:
        ValueError: If the logits of the method are not finite.
    """
    if not len(x):
        return []
    logits = predict_logits(adapter, x)
    pairs = _pairs(logits, against)
    probability = (logits / temperature).softmax(dim=1).gather(1, pairs).tolist()
    parts = _lead_parts(adapter, x, pairs, temperature, has_text=reference.text is not None)
    kinds, amounts = tuple(parts), torch.stack(list(parts.values()), dim=1).tolist()
    examples, names = reference.nearest_examples(x), reference.nearest_names(x)
    reasons = []
    for i, (a, b) in enumerate(pairs[:, [0, -1]].tolist()):
        leads = [LeadPart(*part) for part in zip(kinds, amounts[i], strict=True)]
        reasons.append(
            Reason(
                class_name=class_names[a],
                probability=probability[i][0],
                rival=None if a == b else class_names[b],
                rival_probability=None if a == b else probability[i][1],
                lead=sum(part.amount for part in leads),
                parts=tuple(sorted(leads, key=lambda part: -abs(part.amount))),
                example=_similar(reference.kind, class_names, examples, i),
                name=_similar(NAME, class_names, names, i),
                is_transductive=adapter.is_transductive,
            )
        )
    return reasons


def _pairs(logits: Tensor, against: int | None) -> Tensor:
    """The likeliest class of every image and the one that it is compared with ``[N, 2]``, or
    ``[N, 1]`` where there is one class."""
    pairs = logits.topk(min(2, logits.size(1)), dim=1).indices
    first = logits.softmax(dim=1).argmax(dim=1, keepdim=True)  # as ``predict`` says, also of ties
    pairs = torch.cat([first, torch.where(pairs == first, pairs[:, :1], pairs)[:, 1:]], dim=1)
    if against is not None and pairs.size(1) > 1:
        pairs[:, 1] = torch.where(pairs[:, 0] == against, pairs[:, 1], against)
    return pairs


def _lead_parts(
    adapter: Adapter, x: Tensor, pairs: Tensor, temperature: float, *, has_text: bool
) -> dict[str, Tensor]:
    """What the leads add up from ``[N]``, by their kind."""
    leads: dict[str, list[Tensor]] = {}
    for rows in batches(adapter, len(x)):
        parts = parts_of_logits(adapter, with_usual_length(x[rows].to(adapter.text)))
        for kind, logits in named_parts(parts, has_text=has_text).items():
            of_pair = logits.cpu().double().gather(1, pairs[rows])
            leads.setdefault(kind, []).append((of_pair[:, 0] - of_pair[:, -1]) / temperature)
    return {kind: torch.cat(parts) for kind, parts in leads.items()}


def named_parts(parts: dict[str, Tensor], *, has_text: bool) -> dict[str, Tensor]:
    """Parts as they are with texts. Without them, the means of examples stand in the place of
    names, or zeros, which are left out."""
    if has_text:
        return parts
    merged: dict[str, Tensor] = {}
    for name, part in parts.items():
        kind = EXAMPLES if name in (NAME, NAMES) else name
        if kind == name or part.any():
            merged[kind] = merged[kind] + part if kind in merged else part
    return merged


def _similar(
    kind: str, class_names: Sequence[str], nearest: Sequence[tuple[int, float]] | None, i: int
) -> Similar | None:
    if nearest is None:
        return None
    label, similarity = nearest[i]
    return Similar(kind, class_names[label], similarity)
