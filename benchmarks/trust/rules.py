"""GraphAdapter's rule with other constants, and what else could decide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyg_graphadapter.adapters.graph_adapter import LOGIT_SCALE_OF_IMAGES
from pyg_graphadapter.adapters.graph_defaults import (
    ALPHA_OF_IMAGES,
    IMAGES,
    LEAST,
    MOST,
    MOST_WHITENING,
    TEXTS,
    graph_settings,
)
from pyg_graphadapter.adapters.trust import SAYS_LITTLE, USUAL, Evidence, evidence
from pyg_graphadapter.task import FewShotTask

CONSTANT_DRAWS = 2  # of each case, on which other constants are tried
DECIMALS = 4  # of the settings


class Settings(NamedTuple):
    """What is chosen of a task."""

    alpha: float
    nodes: str = TEXTS
    whitening: float = 0.0
    logit_scale_of_images: float = LOGIT_SCALE_OF_IMAGES

    @property
    def key(self) -> str:
        """How results name it."""
        scale = self.logit_scale_of_images
        other = "" if scale == LOGIT_SCALE_OF_IMAGES else f" {scale:g}"
        return f"{self.alpha:g} {self.nodes} {self.whitening:g}{other}"


class Facts(NamedTuple):
    """What a rule sees of a task."""

    images: int
    classes: int
    channels: int
    texts: Evidence | None = None

    @classmethod
    def of(cls, task: FewShotTask) -> "Facts":
        """Measures a task."""
        texts = evidence(task) if task.has_text else None
        return cls(len(task.support), task.num_classes, task.support.num_channels, texts)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Facts":
        """From a result."""
        texts = content["texts"]
        return cls(**{**content, "texts": None if texts is None else Evidence(**texts)})

    def as_dict(self) -> dict[str, Any]:
        """For a result."""
        return {**self._asdict(), "texts": None if self.texts is None else self.texts._asdict()}


Choice = Callable[[Facts], Settings]


@dataclass(frozen=True)
class Rule:
    """The rule of ``graph_defaults`` where nothing is given.

    ``by`` is what alpha follows from: the share of the classes that texts place behind the right
    one (the package's rule), or the plain accuracy of the texts.
    """

    by: str = "share"
    coefficient: float = 0.35
    exponent: float = 0.5
    least: float = LEAST
    most: float = MOST
    says_little: float = SAYS_LITTLE
    slope: float = 0.6  # of the whitening over alpha
    alpha_of_images: float = ALPHA_OF_IMAGES
    logit_scale_of_images: float = LOGIT_SCALE_OF_IMAGES
    whitening: float | None = None  # if fixed

    def __call__(self, facts: Facts) -> Settings:
        texts = facts.texts
        if texts is None or smoothed(texts.ahead, texts.total) < self.says_little:
            whitening = self.whitening_of(facts, 1.0)
            return Settings(self.alpha_of_images, IMAGES, whitening, self.logit_scale_of_images)
        change = self.change(texts)
        alpha = 1 - min(max(change, self.least), self.most)
        whitening = self.whitening_of(facts, 1 - self.slope * alpha)
        return Settings(round(alpha, DECIMALS), TEXTS, whitening)

    def change(self, texts: Evidence) -> float:
        """How far the graphs may change the texts, without bounds."""
        if self.by == "accuracy":
            right = (texts.right + 1) / (texts.total + 2)
            shots = texts.total / texts.num_classes
            return 0.1 * (1 - right) / right * float(shots**0.3)
        wrong = odds_against(smoothed(texts.ahead, texts.total))
        by_images = texts.ahead_by_images
        images = USUAL if by_images is None else smoothed(by_images, texts.total)
        return self.coefficient * wrong / float(odds_against(images) ** self.exponent)

    def whitening_of(self, facts: Facts, most: float) -> float:
        """With one shot per class, nothing can be whitened."""
        freedom = facts.images - facts.classes
        if freedom == 0:
            return 0.0
        whitening = most * freedom / (freedom + facts.channels)
        whitening = whitening if self.whitening is None else self.whitening
        return round(min(whitening, MOST_WHITENING), DECIMALS)


def smoothed(share: float, total: float) -> float:
    """With one more shot, of the usual share."""
    return (share * total + USUAL) / (total + 1)


def odds_against(share: float) -> float:
    """How often one in which the class is placed behind, for one in which it is placed before."""
    return (1 - share) / share


def always(alpha: float, nodes: str = TEXTS) -> Choice:
    """The same, whatever the task."""
    return lambda _: Settings(alpha, nodes)


def nine_tenths(facts: Facts) -> Settings:
    """Alpha 0.9 whatever the texts are, with the whitening that goes with it."""
    rule = Rule()
    return Settings(0.9, TEXTS, rule.whitening_of(facts, 1 - rule.slope * 0.9))


RULE = Rule()
FIXED: dict[str, Choice] = {
    **{f"alpha {alpha:g}": always(alpha) for alpha in (0.95, 0.9, 0.7, 0.5, 0.3)},
    "images": always(ALPHA_OF_IMAGES, IMAGES),
}
WHITENED: dict[str, Choice] = {f"{each:g}": Rule(whitening=each) for each in (0.0, 0.3, 0.5, 0.8)}
EVIDENCE: dict[str, Choice] = {
    "share placed behind (the rule)": RULE,
    "accuracy": Rule(by="accuracy"),
    "none: alpha 0.9": nine_tenths,
}
VALUES: dict[str, tuple[float, ...]] = {
    "coefficient": (0.25, 0.3, 0.4, 0.5),
    "exponent": (0.25, 0.75),
    "least": (0.05, 0.15),
    "most": (0.5, 0.7),
    "says_little": (0.54, 0.58),
    "slope": (0.4, 0.8),
    "alpha_of_images": (0.5, 0.9),
    "logit_scale_of_images": (10.0, 25.0),
}
CONSTANTS: dict[str, Choice] = {
    f"{name} = {value:g}": Rule(**{name: value})
    for name, values in VALUES.items()
    for value in values
}
CANDIDATES = {name: FIXED[name] for name in ("alpha 0.9", "alpha 0.7", "alpha 0.5", "images")}


def check_rule(task: FewShotTask, facts: Facts) -> None:
    """Whether this is still the package's rule.

    Raises:
        ValueError: If it is not.
    """
    chosen, expected = RULE(facts)[:3], graph_settings(task, {})
    if dict(zip(("alpha", "nodes", "whitening"), chosen, strict=True)) != expected:
        raise ValueError(f"The rule of the package gives {expected}, that of rules.py {chosen}.")
