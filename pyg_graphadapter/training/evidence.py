"""What the shots say of the class names and of the images, in words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pyg_graphadapter.adapters import Adapter, GraphAdapter
from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.settings import warn
from pyg_graphadapter.storage import sha256

WITHOUT_NAMES = ("linear_probe",)  # methods that use no names, whatever they say


_is_told_once: ContextVar[bool] = ContextVar("is_told_once", default=False)
_told: set[tuple[str, str]] = set()  # methods and class texts


@contextmanager
def told_once() -> Iterator[None]:
    """Inside, :func:`tell_of_poor_texts` says the same of a method and of the same class texts once
    per process, as a search fits them again and again."""
    token = _is_told_once.set(True)
    try:
        yield
    finally:
        _is_told_once.reset(token)


def evidence_of(training: Mapping[str, Any]) -> Evidence | None:
    """What the recipe of a training (:func:`~pyg_graphadapter.training.fitting.recipe`) says of
    the shots; :obj:`None` for a classifier without texts, without shots or of an earlier
    version."""
    measured = training.get("evidence")
    return Evidence(**measured) if isinstance(measured, dict) else None


def evidence_in_words(evidence: Evidence, adapter: Adapter, method: str) -> str:
    """How often class names alone, and pictures alone, are right on the shots, and what follows
    from that, for readers who know no graph."""
    share, chance = 100 * evidence.right / evidence.total, 100 / evidence.num_classes
    pictures = "picture" if evidence.total == 1 else "pictures"
    start = "Alone, the class names"
    if evidence.says_little:
        start = "The class names tell this model little: alone, they"
    sentence = (
        f"{start} get {evidence.right:,} of your {evidence.total:,} {pictures} "
        f"right ({share:.2g} %; guessing gets {chance:.2g} %)"
    )
    if evidence.right_by_images is not None:
        sentence += f"; pictures alone, each left out in turn, get {evidence.right_by_images:,}"
    return f"{sentence}.{_what_follows(evidence, adapter)}"


def without_texts_in_words(adapter: Adapter) -> str:
    """What follows for GraphAdapter where there are no texts; nothing for another method."""
    if not isinstance(adapter, GraphAdapter) or adapter.config.nodes != IMAGES:
        return ""
    return f"There are no texts: your pictures alone decide.{_whitening_in_words(adapter)}"


def _whitening_in_words(adapter: GraphAdapter) -> str:
    whitening = round(100 * adapter.config.whitening)
    if not whitening:
        return ""
    return f" Directions in which pictures of one class vary count less (whitening {whitening} %)."


def _what_follows(evidence: Evidence, adapter: Adapter) -> str:
    if not isinstance(adapter, GraphAdapter):
        advice = " The method graph_adapter would let your pictures alone decide."
        return advice if evidence.says_little else ""
    share = round(100 * adapter.config.alpha)  # of texts
    count = f" Class names count for {share} %, your pictures for {100 - share} %."
    if adapter.config.nodes == IMAGES:
        count = " Your pictures alone decide."
    return count + _whitening_in_words(adapter)


def tell_of_poor_texts(evidence: Evidence | None, adapter: Adapter, method: str) -> None:
    """Warns where the class names say next to nothing about the images."""
    if evidence is None or not evidence.says_little or method in WITHOUT_NAMES:
        return
    key = method, sha256(adapter.text.detach().float().cpu().contiguous().numpy().tobytes())
    if _is_told_once.get() and key in _told:
        return
    warn(evidence_in_words(evidence, adapter, method))
    _told.add(key)
