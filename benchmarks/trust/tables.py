"""The tables and the figure of the README."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean, median, stdev
from typing import Any

from cases import ALL_IMAGENET
from matplotlib.figure import Figure
from report import hardware, put, save, table
from rules import (
    CANDIDATES,
    CONSTANT_DRAWS,
    CONSTANTS,
    EVIDENCE,
    FIXED,
    IMAGES,
    RULE,
    WHITENED,
    Choice,
    Facts,
)

FOLDER = "trust"
CLOSE = 5.0  # points that a user would see


def of_draw(draw: Mapping[str, Any], choice: Choice) -> float:
    """The accuracy of what a rule chooses."""
    return float(draw["accuracy"][choice(Facts.from_dict(draw["facts"])).key])


def of_case(case: Mapping[str, Any], choice: Choice) -> float:
    """The mean over draws."""
    return fmean(of_draw(draw, choice) for draw in case["draws"])


def by_kind(cases: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The cases of every line, in the order in which the kinds first come."""
    cases = list(cases)
    kinds = list(dict.fromkeys(case["kind"] for case in cases))
    ordered = sorted(cases, key=lambda case: kinds.index(case["kind"]))
    return ((kind, list(same)) for kind, same in groupby(ordered, lambda case: case["kind"]))


def lines(cases: Iterable[Any], choices: Iterable[Choice]) -> list[tuple[str, list[float]]]:
    """For each kind of task, and for all, the mean accuracy of every choice over cases."""
    choices = list(choices)
    kinds = [
        (kind, [fmean(of_case(case, choice) for case in same) for choice in choices])
        for kind, same in by_kind(cases)
    ]
    means = [fmean(column) for column in zip(*(row for _, row in kinds), strict=True)]
    return [*kinds, ("**mean of the kinds**", means)]


def shown(values: Iterable[float]) -> list[str]:
    return [f"{value:.1f}" for value in values]


def behind(case: Mapping[str, Any], choice: Choice) -> float:
    """How far a choice is behind the best fixed settings of the case."""
    best = max(of_case(case, fixed) for fixed in FIXED.values())
    return best - of_case(case, choice)


def fixed_table(cases: Sequence[Any]) -> str:
    """The rule against fixed settings."""
    found = {kind: [behind(case, RULE) for case in same] for kind, same in by_kind(cases)}
    means = fmean(map(fmean, found.values())), max(map(max, found.values()))
    rows = [
        (kind, *shown(values), *shown((fmean(found[kind]), max(found[kind])) if kind in found
         else means))
        for kind, values in lines(cases, [*FIXED.values(), RULE])
    ]  # fmt: skip
    return table(["tasks", *FIXED, "the rule", "behind the best, mean", "worst"], rows)


def whitening_table(cases: Sequence[Any]) -> str:
    """The rule with whitening of any degree, where there is any."""
    several = [case for case in cases if case["shots"] > 1]
    rows = lines(several, [*WHITENED.values(), RULE])
    return table(["tasks", *WHITENED, "the rule"], [(kind, *shown(row)) for kind, row in rows])


def evidence_table(cases: Sequence[Any]) -> str:
    """What alpha may follow from."""
    with_texts = [case for case in cases if case["draws"][0]["facts"]["texts"] is not None]
    rows = lines(with_texts, EVIDENCE.values())
    return table(["tasks", *EVIDENCE], [(kind, *shown(row)) for kind, row in rows])


def stability_rows(cases: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """For each case: the range of alpha, how often the images decide, and whether the rule is near
    the better of two settings where they differ."""
    for case in cases:
        chosen = [RULE(Facts.from_dict(draw["facts"])) for draw in case["draws"]]
        alphas = [each.alpha for each in chosen if each.nodes != IMAGES]
        near = near_the_better(case)
        yield (
            f"{case['kind']}, {case['shots']}",
            f"{min(alphas):.2f} to {max(alphas):.2f}" if alphas else "",
            f"{sum(each.nodes == IMAGES for each in chosen)} of {len(chosen)}",
            f"{sum(near)} of {len(near)}",
        )


def near_the_better(case: Mapping[str, Any]) -> list[bool]:
    """For each draw on which two candidates differ much, whether the rule is close to the best."""
    near = []
    for draw in case["draws"]:
        accuracies = [of_draw(draw, each) for each in CANDIDATES.values()]
        if max(accuracies) - min(accuracies) > CLOSE:
            near.append(max(accuracies) - of_draw(draw, RULE) <= CLOSE)
    return near


def stability(cases: Sequence[Any]) -> str:
    """The table, with the sum in a sentence."""
    near = [each for case in cases for each in near_the_better(case)]
    header = ["tasks, shots", "alpha", "images", f"within {CLOSE:g} points of the best"]
    return "\n\n".join([
        table(header, stability_rows(cases)),
        f"Of {len(near)} draws on which two of the candidates differ by more than {CLOSE:g} "
        f"points, the rule is within {CLOSE:g} points of the best on "
        f"**{100 * sum(near) / max(1, len(near)):.0f} %**.",
    ])  # fmt: skip


def constants_table(all_cases: Sequence[Any]) -> str:
    """The rule with other constants, against the rule as it is."""
    cases = [
        {**case, "draws": case["draws"][:CONSTANT_DRAWS]}
        for case in all_cases
        if case["kind"] != ALL_IMAGENET
    ]
    kinds = list(by_kind(cases))
    rows = [("**the rule**", "", "", "", *distances(kinds, RULE))]
    for name, choice in CONSTANTS.items():
        change = {
            kind: fmean(of_case(case, choice) - of_case(case, RULE) for case in same)
            for kind, same in kinds
        }
        extremes = [pick(change, key=change.__getitem__) for pick in (min, max)]
        error = stdev(change.values()) / len(change) ** 0.5 if len(change) > 1 else 0.0
        mean = f"{fmean(change.values()):+.2f} ± {error:.2f}"
        named = [f"{change[kind]:+.1f} ({kind})" if change[kind] else "" for kind in extremes]
        rows.append((name.replace("_", " "), mean, *named, *distances(kinds, choice)))
    header = ["differs in", "mean", "lowest", "highest", "behind the best, mean", "worst"]
    return table(header, rows)


def distances(kinds: Sequence[tuple[str, list[Any]]], choice: Choice) -> tuple[str, str]:
    """How far a choice is behind the best fixed settings: the mean over kinds, and the worst."""
    found = [[behind(case, choice) for case in same] for _, same in kinds]
    return f"{fmean(map(fmean, found)):.2f}", f"{max(map(max, found)):.1f}"


def time_sentence(seconds: Mapping[str, Sequence[float]]) -> str:
    """The time of `fit`, in turns."""
    ratios = [
        rule / before for before, rule in zip(seconds["before"], seconds["rule"], strict=True)
    ]
    listed = ", ".join(f"{each:.2f}" for each in ratios)
    return (
        f"`fit` on ImageNet's 1000 classes with four shots takes {median(seconds['rule']):.0f} s "
        f"of processor time with the rule and {median(seconds['before']):.0f} s with selection: "
        f"**{median(ratios):.2f}** (turns: {listed})."
    )


def draw_figure(cases: Sequence[Any]) -> None:
    """Accuracy over the share of right names."""
    shares = ("all", "three quarters", "half", "a quarter", "none")  # that are wrong
    named = {(case["name"], case["shots"]): case for case in cases}
    shots = [count for count in (1, 2, 3) if (f"{shares[0]} of 24", count) in named]
    if not shots:
        return
    choices = {"the rule": RULE, "alpha 0.9": FIXED["alpha 0.9"], "images": FIXED["images"]}
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    panels = figure.subplots(1, len(shots), sharey=True, squeeze=False)[0]
    for axes, count in zip(panels, shots, strict=True):
        for label, choice in choices.items():
            axes.plot(
                [0, 25, 50, 75, 100],
                [of_case(named[f"{share} of 24", count], choice) for share in shares],
                marker="o",
                label=label,
            )
        title = f"{count} shot{'s' if count > 1 else ''}"
        axes.set(xlabel="right names (%)", title=title, xticks=[0, 25, 50, 75, 100])
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="accuracy (%)")
    panels[-1].legend()
    save(figure, FOLDER)


def report(found: Mapping[str, Any]) -> None:
    """Writes the tables into the README, and the figure."""
    cases = found["cases"]
    parts = [
        hardware(found),
        "### Fixed settings",
        fixed_table(cases),
        "### Whitening",
        whitening_table(cases),
        "### What alpha follows from",
        evidence_table(cases),
        "### Ten draws",
        stability(found["ten_draws"]),
        "### Constants",
        constants_table(cases),
        "### Time",
        time_sentence(found["fit_seconds"]) if "fit_seconds" in found else "",
    ]
    put(FOLDER, "\n\n".join(parts))
    draw_figure(cases)
