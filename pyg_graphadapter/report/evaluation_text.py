"""An evaluation in lines of text."""

from collections.abc import Iterator

from pyg_graphadapter.display import visible
from pyg_graphadapter.report.calibration import calibration
from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.intervals import Interval, intervals
from pyg_graphadapter.report.per_image import (
    class_rows,
    confused_pairs,
    confusion_matrix,
    errors,
    weakest_classes,
)

SHOWN = 5  # classes, confusions, errors and skipped images
MATRIX_CLASSES = 15  # of which the whole matrix is printed
NAME_WIDTH = 20  # characters of a name beside the matrix


def evaluation_lines(e: EvaluationFile) -> list[str]:
    """What was measured, for a terminal: the measures with their intervals, the calibration, the
    weakest classes, confusions, errors and what was skipped. Names are made visible."""
    parts = [
        [_headline(e)], _measures(e), _calibration(e), _weakest(e), _confusions(e), _matrix(e),
        _errors(e), _notes(e),
    ]  # fmt: skip
    return [line for part in parts if part for line in ("", *part)][1:]


def _headline(e: EvaluationFile) -> str:
    split = f" ({visible(e.split)} split)" if e.split else ""
    method = visible(e.classifier.get("method", "classifier"))
    classes, total = sum(row.images > 0 for row in class_rows(e)), len(e.class_names)
    of_classes = f"{classes:,} of {total:,} classes" if classes < total else f"{total:,} classes"
    return f"{method} on {visible(e.data)}{split}: {_number(len(e.images), 'image')}, {of_classes}"


def _measures(e: EvaluationFile) -> list[str]:
    limits = intervals(e)
    rows = [
        ("Accuracy", e.measures.get("accuracy"), limits.accuracy),
        ("Balanced accuracy", e.measures.get("balanced_accuracy"), limits.balanced_accuracy),
        ("Macro-F1", e.measures.get("macro_f1"), limits.macro_f1),
        ("Top-5 accuracy", e.measures.get("top5"), None),
        ("Zero-shot accuracy", e.measures.get("zero_shot"), None),
    ]
    return [
        f"{name:<20}{value:6.2f} %{_interval(interval)}"
        for name, value, interval in rows
        if value is not None
    ]


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"   95 % interval {interval.low:.2f} to {interval.high:.2f} %"


def _calibration(e: EvaluationFile) -> list[str]:
    calibrated, uncalibrated = calibration(e), calibration(e, calibrated=False)
    is_calibrated = e.temperature != 1
    rows = [
        ("Calibration error", f"{calibrated.ece:.2f} %", f"{uncalibrated.ece:.2f} %"),
        ("Log loss", f"{calibrated.nll:.4f}", f"{uncalibrated.nll:.4f}"),
        ("Brier score", f"{calibrated.brier:.4f}", f"{uncalibrated.brier:.4f}"),
    ]
    head = f"Probabilities, with temperature {e.temperature:.3g}"
    source = f" ({visible(e.temperature_source)})" if e.temperature_source else ""
    return [
        f"{head}{source}:",
        *(
            f"  {name:<18}{now:>9}{f'   {earlier} before calibration' if is_calibrated else ''}"
            for name, now, earlier in rows
        ),
    ]


def _weakest(e: EvaluationFile) -> list[str]:
    rows = [row for row in weakest_classes(e) if row.right < row.images]
    if not rows:
        return []
    return [
        "Classes with the lowest accuracy:",
        *(
            f"  {row.recall:6.2f} %  {visible(row.name)}: {row.right:,} of {row.images:,} right"
            for row in rows[:SHOWN]
        ),
        *_more(len(rows) - SHOWN, "class", "with errors"),
    ]


def _confusions(e: EvaluationFile) -> list[str]:
    pairs = confused_pairs(e)
    if not pairs:
        return []
    return [
        "Most frequent confusions:",
        *(
            f"  {pair.images:6,}  {visible(e.class_names[pair.label])} taken for "
            f"{visible(e.class_names[pair.predicted])} ({pair.share:.0f} % of its images)"
            for pair in pairs[:SHOWN]
        ),
        *_more(len(pairs) - SHOWN, "pair", ""),
    ]


def _matrix(e: EvaluationFile) -> list[str]:
    """The confusion matrix of few classes, with a number for each in the place of the names of the
    columns."""
    if len(e.class_names) > MATRIX_CLASSES or not confused_pairs(e):
        return []
    matrix = confusion_matrix(e).tolist()
    cell = max(len(str(count)) for row in matrix for count in (*row, len(matrix))) + 2
    names = [_short(name) for name in e.class_names]
    width = max(map(len, names))
    numbers = "".join(f"{c:>{cell}}" for c in range(1, len(names) + 1))
    return [
        "Confusion matrix, true classes in rows and predicted ones in columns:",
        f"  {'':>{width + 4}}{numbers}",
        *(
            f"  {c:>2}  {name:<{width}}" + "".join(f"{count or '·':>{cell}}" for count in row)
            for c, (name, row) in enumerate(zip(names, matrix, strict=True), 1)
        ),
    ]


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= NAME_WIDTH else f"{text[: NAME_WIDTH - 1]}…"


def _errors(e: EvaluationFile) -> list[str]:
    wrong = errors(e)
    if not wrong:
        return ["All images are classified right."]
    lines = []
    for i in wrong[:SHOWN]:
        image = e.images[i]
        file = f"image {i}" if image.file is None else visible(image.file)
        first = image.top[0]
        lines.append(
            f"  {first.probability:6.3f}  {file}: {visible(e.class_names[image.label])} taken for "
            f"{visible(e.class_names[first.label])}"
        )
    return ["Most confident errors:", *lines, *_more(len(wrong) - SHOWN, "error", "")]


def _notes(e: EvaluationFile) -> list[str]:
    notes = []
    if e.measures.get("is_transductive"):
        notes.append("The images were classified together, by a transductive method.")
    copies = sum(image.copy_of is not None for image in e.images)
    if copies:
        notes.append(f"{_number(copies, 'image')} {_is(copies)} the same as an earlier one.")
    shots = e.measures.get("num_shots")
    if shots:
        notes.append(f"{_number(shots, 'image')} {_is(shots)} among the classifier's shots.")
    if e.skipped:
        notes.append(f"Skipped {_number(len(e.skipped), 'image')} that could not be decoded:")
        notes += [f"  {visible(image.reason)}" for image in e.skipped[:SHOWN]]
        notes += _more(len(e.skipped) - SHOWN, "image", "")
    return notes


def _more(count: int, noun: str, what: str) -> Iterator[str]:
    if count > 0:
        yield f"  … and {count:,} more {_plural(count, noun)}{f' {what}' if what else ''}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}{'es' if noun.endswith('s') else 's'}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {_plural(count, noun)}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
