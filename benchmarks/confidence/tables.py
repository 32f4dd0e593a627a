"""The tables and the figure of the results of run.py."""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Results = Mapping[str, dict[str, Any]]
SEEDS = ("1", "2", "3")
DRAWS = {("ImageNet-100", "2"), ("Flowers102", "4"), ("UCF101", "4"), ("UCF101", "8")}
SHOWN = {"ImageNet": "4", "Flowers102": "4", "UCF101": "4", "drawings": "16"}


def by_case(results: Results) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """The results of the first three seeds, by set, shots and method."""
    cases = defaultdict(list)
    for key, result in results.items():
        name, method, shots, seed = key.split(" | ")
        if seed in SEEDS:
            cases[name, shots, method].append(result)
    return cases


def mean(results: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    """The mean of a number."""
    return statistics.mean(map(of, results))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, whose first three columns are text."""
    marks = ["---"] * 3 + ["--:"] * (len(header) - 3)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, marks, *rows))


def calibration(results: Results) -> str:
    """The measures before and after calibration."""
    header = ["set", "shots", "method", "accuracy %", "T", "ECE % before", "after"]
    header += ["NLL before", "after", "Brier before", "after", "fit s", "folds s"]
    rows = []
    for (name, shots, method), of_case in by_case(results).items():
        row = [name, shots, method, f"{mean(of_case, lambda r: r['accuracy']):.2f}"]
        row.append(f"{mean(of_case, lambda r: r['temperature']):.2f}")
        for measure, digits in (("ece", 1), ("nll", 3), ("brier", 3)):
            for when in ("before", "after"):
                value = mean(of_case, lambda r, w=when, m=measure: r[w][m])
                row.append(f"{value:.{digits}f}")
        row += [f"{mean(of_case, lambda r, i=i: r['seconds'][i]):.2f}" for i in (0, 1)]
        rows.append(row)
    return table(header, rows)


def abstaining(results: Results) -> str:
    """What was promised and what was answered, over draws."""
    header = ["set", "shots", "asked %", "draws", "promised", "answered %"]
    header += ["wrong %", "by class %", "draws above"]
    cases = defaultdict(list)
    for key, result in results.items():
        name, method, shots, _ = key.split(" | ")
        if method == "graph_adapter" and (name, shots) in DRAWS:
            for asked, answers in result["abstaining"].items():
                cases[name, shots, asked].append(answers)
    rows = []
    for (name, shots, asked), answers in cases.items():
        promised = [answer for answer in answers if answer is not None]
        row = [name, shots, f"{100 * float(asked):g}", str(len(answers)), str(len(promised))]
        if promised:
            for measure in ("answered", "error", "error by class"):
                row.append(f"{100 * mean(promised, lambda a, m=measure: a[m]):.1f}")
            row.append(str(sum(a["error by class"] > float(asked) for a in promised)))
        rows.append(row + ["-"] * (len(header) - len(row)))
    return table(header, rows)


def draw(results: Results, folder: Path) -> None:
    """Reliability before and after, accuracy over coverage, and errors asked and made."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    cases = by_case(results)
    for name, shots in SHOWN.items():
        of_case = cases.get((name, shots, "graph_adapter"))
        if not of_case:
            continue
        label = f"{name}, {shots} shots"
        [line] = left.plot(*_curve(of_case, "reliability after"), marker="o", ms=3, label=label)
        color = line.get_color()
        left.plot(*_curve(of_case, "reliability before"), ls=":", color=color)
        coverage = [mean(of_case, lambda r, i=i: 100 * r["coverage"][i]) for i in range(10)]
        middle.plot(range(10, 101, 10), coverage, marker="o", ms=3, color=color, label=label)
    left.plot([0, 1], [0, 1], color="0.7", lw=1, zorder=0)
    left.set(xlabel="probability of the predicted class", ylabel="share that is right")
    left.set_title("graph_adapter before (dotted) and after")
    middle.set(xlabel="answered, the surest first (%)", ylabel="accuracy of the answers (%)")
    middle.set_title("graph_adapter: accuracy over coverage")
    for key, result in results.items():
        name, method, shots, _ = key.split(" | ")
        if method == "graph_adapter" and (name, shots) in DRAWS:
            points = [(float(e), a["error by class"]) for e, a in result["abstaining"].items() if a]
            x, y = [100 * e for e, _ in points], [100 * error for _, error in points]
            right.plot(x, y, "o", ms=3, alpha=0.3, color=f"C{sorted(DRAWS).index((name, shots))}")
    for i, (name, shots) in enumerate(sorted(DRAWS)):
        right.plot([], [], "o", color=f"C{i}", label=f"{name}, {shots} shots")
    right.plot([0, 20], [0, 20], color="0.7", lw=1, zorder=0)
    right.set(xlabel="largest error rate asked for (%)", ylabel="error rate of the answers (%)")
    right.set_title("graph_adapter: one point per draw")
    for axes in (left, middle, right):
        axes.legend(fontsize=8)
    figure.savefig(folder / "figure.png", dpi=150)


def _curve(of_case: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """The mean probability and the accuracy of every bin, over seeds."""
    bins: dict[int, list[list[float]]] = defaultdict(list)
    for result in of_case:
        for count, confidence, accuracy in result[name]:
            bins[min(14, int(confidence * 15))].append([count, confidence, accuracy])
    points = []
    for part in (bins[b] for b in sorted(bins)):
        total = sum(count for count, _, _ in part)
        if total >= 10:  # of fewer images, the share that is right says little
            points.append([sum(n * row[i] for n, *row in part) / total for i in (0, 1)])
    return [p[0] for p in points], [p[1] for p in points]


def report(results: Results, folder: Path) -> None:
    """Writes the tables into the README, and the figure beside it."""
    path = folder / "README.md"
    text = path.read_text()
    for mark, block in (("calibration", calibration(results)), ("abstaining", abstaining(results))):
        text = re.sub(
            f"<!-- {mark} -->.*?<!-- end -->",
            lambda _, m=mark, b=block: f"<!-- {m} -->\n{b}\n<!-- end -->",
            text,
            flags=re.S,
        )
    path.write_text(text)
    draw(results, folder)
