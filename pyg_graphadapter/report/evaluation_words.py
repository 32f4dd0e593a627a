"""What a page says of an evaluation in words, and how it was made."""

from collections.abc import Mapping
from typing import Any

from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.intervals import Interval, intervals
from pyg_graphadapter.report.per_image import errors
from pyg_graphadapter.report.run_settings import value_text
from pyg_graphadapter.report.tables import MISSING, Cell, Table

HIDDEN = ("class_names", "shot_hashes", "versions")  # of a card: shown elsewhere, or for machines


def headline(e: EvaluationFile, num_wrong: int) -> str:
    """How many pictures were right."""
    count = len(e.images)
    right = count - num_wrong
    noun = "picture was" if count == 1 else "pictures were"
    return f"{right:,} of {count:,} {noun} named right: {percent(100 * right / count)}."


def remarks(e: EvaluationFile) -> list[str]:
    """What a reader must know of the headline."""
    interval = intervals(e).accuracy
    measures = e.measures
    texts = []
    if not measures.get("num_shots"):
        texts.append(
            f"Of many more pictures like these, expect between {_between(interval)} to be named "
            "right. These limits hold with 95 % confidence."
        )
    if isinstance(measures.get("zero_shot"), float):
        texts.append(
            f"The names of the classes alone, without your examples, give "
            f"{percent(measures['zero_shot'])}."
        )
    if measures.get("num_shots"):
        texts.append(
            f"{measures['num_shots']:,} of the pictures were among the examples that the "
            "classifier learned from. New pictures will be named right less often, and the limits "
            "below are not for them."
        )
    if measures.get("is_transductive"):
        texts.append(
            "‡ The method is transductive: it looked at all of these pictures together, without "
            "their labels. A picture alone may be named otherwise."
        )
    if e.skipped:
        texts.append(f"{len(e.skipped):,} could not be read and are in no number.")
    return texts


def percent(value: float) -> str:
    """A value in percent, to a tenth."""
    return f"{value:.1f} %"


def _between(interval: Interval) -> str:
    return f"{percent(interval.low)} and {percent(interval.high)}"


def measures_table(e: EvaluationFile) -> Table:
    """The measures with their intervals."""
    around = intervals(e)
    bounds = {
        "accuracy": around.accuracy,
        "balanced_accuracy": around.balanced_accuracy,
        "macro_f1": around.macro_f1,
    }
    words = {
        "accuracy": "accuracy",
        "balanced_accuracy": "accuracy, every class counted alike",
        "macro_f1": "macro-F1",
        "top5": "right class among the five likeliest",
    }
    accuracy = 100 * (1 - len(errors(e)) / len(e.images))
    values = {**e.measures, "accuracy": accuracy}
    lines = []
    for name, text in words.items():
        value, interval = values.get(name), bounds.get(name)
        if isinstance(value, float):
            limits = Cell(_between(interval)) if interval is not None else MISSING
            lines.append((Cell(text), Cell(percent(value)), limits))
    return Table("Measures", ("measure", "value", "between (95 %)"), tuple(lines))


def settings_of(card: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The groups of a card, each as pairs of name and value."""
    single = [
        (name, value_text(value))
        for name, value in card.items()
        if name not in HIDDEN and not isinstance(value, Mapping)
    ]
    groups = [("Classifier", single)] if single else []
    for name, value in card.items():
        if name not in HIDDEN and isinstance(value, Mapping) and value:
            pairs = [(str(key), value_text(entry)) for key, entry in value.items()]
            groups.append((name.replace("_", " ").capitalize(), pairs))
    return groups


def versions_of(e: EvaluationFile) -> list[tuple[str, str]]:
    """The versions of the libraries, with those that the classifier was fitted with, if other."""
    fitted = e.classifier.get("versions") or {}
    pairs = []
    for name in dict.fromkeys([*e.versions, *fitted]):
        now, then = e.versions.get(name), fitted.get(name)
        fitted_with = f" (fitted with {then})" if now and then not in (None, now) else ""
        pairs.append((name, f"{now or then}{fitted_with}"))
    return pairs or [("versions", "not recorded")]
