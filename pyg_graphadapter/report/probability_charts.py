"""Whether probabilities can be trusted, as curves and tables of a page."""

from pyg_graphadapter.report.calibration import calibration, coverage, reliability
from pyg_graphadapter.report.chart import Chart, Curve, draw_chart
from pyg_graphadapter.report.evaluation_file import EvaluationFile
from pyg_graphadapter.report.evaluation_words import percent
from pyg_graphadapter.report.tables import MISSING, Cell, Table

MOST_POINTS = 100  # of a curve
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def _is_calibrated(e: EvaluationFile) -> bool:
    """Whether calibration changes the probabilities."""
    return any(image.uncalibrated != image.top[0].probability for image in e.images)


def reliability_chart(e: EvaluationFile) -> Chart:
    """The share of right pictures over the confidence, before and after calibration."""
    names = {True: "after calibration", False: "before calibration"}
    states = [False, True] if _is_calibrated(e) else [True]
    curves = []
    for color, calibrated in enumerate(states):
        bins = [b for b in reliability(e, calibrated=calibrated) if b.count]
        curves.append(
            Curve(
                names[calibrated] if len(states) > 1 else "all pictures",
                tuple((50 * (b.low + b.high), 100 * (b.accuracy or 0.0), 0.0) for b in bins),
                colour=1 - color if len(states) > 1 else 0,
                values=tuple(
                    f"{percent(100 * (b.accuracy or 0.0))} right of {b.count:,}, "
                    f"{percent(100 * (b.confidence or 0.0))} sure"
                    for b in bins
                ),
            )
        )
    return draw_chart(
        "How often a picture is right, by how sure the classifier is",
        curves,
        x_label="how sure (%)",
        y_label="right (%)",
        x_text="around {:.0f} % sure".format,
        x_range=(0.0, 100.0),
        y_range=(0.0, 100.0),
        is_square=True,
    )


def calibration_table(e: EvaluationFile) -> Table:
    """What calibration changes."""
    calibrated, uncalibrated = calibration(e), calibration(e, calibrated=False)
    words = {
        "ece": ("mean gap between how sure and how often right (ECE), %", "{:.1f}"),
        "nll": ("negative log-likelihood", "{:.3f}"),
        "brier": ("Brier score", "{:.3f}"),
    }
    states = (
        {"before": uncalibrated, "after": calibrated}
        if _is_calibrated(e)
        else {"value": calibrated}
    )
    lines = tuple(
        (Cell(text), *(Cell(form.format(getattr(state, name))) for state in states.values()))
        for name, (text, form) in words.items()
    )
    return Table("Probabilities", ("measure", *states), lines, "Smaller is better.")


def temperature_text(e: EvaluationFile) -> str:
    """The temperature, and how it was found."""
    source = f" ({e.temperature_source})" if e.temperature_source else ""
    return f"Temperature {e.temperature:.4g}{source}."


def coverage_chart(e: EvaluationFile) -> Chart:
    """Accuracy over coverage."""
    points = coverage(e)
    step = max(1, (len(points) - 1) // (MOST_POINTS - 1))
    chosen = [*points[:-1:step], points[-1]]
    curve = Curve(
        "accuracy",
        tuple((100 * p.coverage, 100 * p.accuracy, 0.0) for p in chosen),
        colour=0,
        has_markers=False,
        holds=True,
        values=tuple(
            f"{percent(100 * p.accuracy)} right, at least {percent(100 * p.threshold)} sure"
            for p in chosen
        ),
    )
    return draw_chart(
        "How often an answer is right, if only the surest pictures get one",
        [curve],
        x_label="pictures that get an answer (%)",
        y_label="right among them (%)",
        x_text="{:.1f} % answered".format,
        x_range=(0.0, 100.0),
        y_bounds=(0.0, 100.0),
    )


def threshold_table(e: EvaluationFile) -> Table:
    """What follows from answering only where the classifier is sure enough."""
    points = coverage(e)
    lines = []
    for threshold in THRESHOLDS:
        answered = [p for p in points if p.threshold >= threshold]
        if not answered:
            lines.append((Cell(f"{100 * threshold:.0f} %"), Cell("0.0"), MISSING))
            continue
        last = answered[-1]
        lines.append(
            (
                Cell(f"{100 * threshold:.0f} %"),
                Cell(f"{100 * last.coverage:.1f}"),
                Cell(f"{100 * last.accuracy:.1f}"),
            )
        )
    return Table(
        "Answers only where it is sure",
        ("at least so sure", "answered %", "right %"),
        tuple(lines),
    )
