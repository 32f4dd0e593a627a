"""Tables and figures of the collected results."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases import GROUPS, RIGHT_NAMES, WRONG, name_of_share
from collected import Results, read_results
from matplotlib.figure import Figure

from pyg_graphadapter.report.comparison import duel_table
from pyg_graphadapter.report.figures import accuracy_curve, save_figure
from pyg_graphadapter.report.results import label_of, summarize
from pyg_graphadapter.report.tables import (
    MISSING,
    Cell,
    Table,
    accuracy_tables,
    base_to_new_tables,
)
from pyg_graphadapter.storage import write_atomic

KINDS = {
    "imagenet": "ImageNet",
    "easy": "easy subsets",
    "hard": "hard subsets",
    "without_texts": "without texts",
    "names": "wrong names",
    "images": "built-in images",
    "domains": "built-in domains",
    "base_to_new": "base to new",
}
OVERALL = "mean"
LINES = (  # of the figure on names
    "graph_adapter", "graph_adapter (nodes = images)", "zero_shot", "logistic_regression",
    "tip_adapter_f", "clap", "cross_modal",
)  # fmt: skip
Place = tuple[str, int]  # a data set and a number of shots
Cells = dict[Place, dict[str, float]]  # and the values of methods there
Run = dict[str, Any]


def write_readme(readme: Path, out: Path) -> None:
    """Writes tables between the marks of a README, and the figures, into a folder."""
    results = {
        group: read_results(path)
        for group in GROUPS
        if (path := out / "results" / f"{group}.json").exists()
    }
    if "without_texts" in results:  # where all are
        runs = tuple({**run, "variant": ""} for run in results["without_texts"].runs)
        results["without_texts"] = replace(results["without_texts"], runs=runs)
    if not results:
        raise ValueError(f"There are no results in {out / 'results'}: measure some first.")
    text = readme.read_text()
    for name, content in _blocks(results).items():
        block = f"<!-- {name} -->\n{content}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.S)
    write_atomic(out / "README.md", text.encode())
    for group in ("imagenet", "without_texts", "images", "domains"):
        if group in results:
            accuracy_curve(summarize(results[group].runs), out / f"{group}.png")
    if "names" in results:
        draw_names(results["names"].runs, out / "names.png")


def _blocks(results: Mapping[str, Results]) -> dict[str, str]:
    """What stands between the marks, of the groups that there are."""
    tables: dict[str, list[Table]] = {"ranks": rank_tables(results)}
    for group, found in results.items():
        if group == "base_to_new":
            tables[group] = base_to_new_tables(found.runs)
        elif group in ("easy", "hard"):
            tables[group] = [cell_table(KINDS[group].capitalize(), found.runs)]
        elif group == "names":
            tables[group] = name_tables(found.runs)
        else:
            rows = summarize(found.runs)
            tables[group] = accuracy_tables(rows)
            averages = [table for table in tables[group] if table.title.startswith("Average")]
            if group in ("images", "domains"):
                duels = duel_table(found.runs, "graph_adapter")
                tables[group] = averages + ([duels] if duels else [])
    blocks = {
        name: "\n\n".join(f"**{table.title}**\n\n{table.markdown()}" for table in content)
        for name, content in tables.items()
    }
    return {**blocks, "cost": _cost(results), "refused": _refused(results)}


# Ranks ################################################################################


def rank_tables(results: Mapping[str, Results]) -> list[Table]:
    """Methods × kinds of tasks: the mean rank, and the points behind the best of each cell."""
    places = {group: _ranked_cells(group, found.runs) for group, found in results.items()}
    transductive = {
        label_of(run)
        for found in results.values()
        for run in found.runs
        if run.get("is_transductive")
    }
    ranks = {group: _means(ranked(each, transductive)) for group, each in places.items()}
    behind = {group: _means(points_behind(each, transductive)) for group, each in places.items()}
    order = sorted(_overall(ranks).items(), key=lambda item: (item[0] in transductive, item[1]))
    names = [label for label, _ in order]
    every = dict.fromkeys(label for group in ranks.values() for label in group)
    names += [label for label in every if label not in names]
    return [
        _kind_table("Mean rank per kind of task", names, ranks, transductive, "{:.1f}"),
        _kind_table("Points behind the best method", names, behind, transductive, "{:.2f}"),
    ]


def _ranked_cells(group: str, runs: Sequence[Run]) -> Cells:
    """The cells of a group in which methods are ranked: with their defaults, where a name is wrong
    if names are the matter, and by the harmonic mean from base to new classes."""
    if group == "base_to_new":
        means = [(run, run["base_to_new"]["harmonic_mean"]) for run in runs]
        runs = [{**run, "accuracy": mean} for run, mean in means if mean is not None]
    if group == "names":
        runs = [
            run for run in runs if run["dataset"] != name_of_share(1.0) and not run.get("variant")
        ]
    return _cells([{**run, "variant": ""} for run in runs])


def _cells(runs: Iterable[Run]) -> Cells:
    """The mean accuracy of every method at every place: over draws, and over subsets of one
    size."""
    values: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        values[_place(run)][label_of(run)].append(run["accuracy"])
    return {
        place: {label: statistics.fmean(each) for label, each in methods.items()}
        for place, methods in values.items()
    }


def _place(run: Run) -> Place:
    return re.sub(r" \(\d+\)$", "", run["dataset"]), run["shots"]


def ranked(places: Cells, transductive: set[str]) -> Cells:
    """The rank of every method at every place, where equal methods share the mean of their ranks.
    A transductive method has the rank that it would have among the others, and none of them is
    behind it."""
    ranks: Cells = {}
    for place, accuracy in places.items():
        ranks[place] = {}
        for label, value in accuracy.items():
            others = [
                round(other - value, 6)
                for name, other in accuracy.items()
                if name != label and name not in transductive
            ]
            above, equal = sum(each > 0 for each in others), others.count(0)
            ranks[place][label] = 1 + above + equal / 2
    return ranks


def points_behind(places: Cells, transductive: set[str]) -> Cells:
    """How far every method is behind the best one at every place, which is no transductive one."""
    behind = {}
    for place, accuracy in places.items():
        best = max(value for label, value in accuracy.items() if label not in transductive)
        behind[place] = {label: best - value for label, value in accuracy.items()}
    return behind


def _means(places: Cells) -> dict[str, float]:
    """The mean of every method over the places where it has a value."""
    values: dict[str, list[float]] = defaultdict(list)
    for methods in places.values():
        for label, value in methods.items():
            values[label].append(value)
    return {label: statistics.fmean(each) for label, each in values.items()}


def _overall(kinds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over the kinds of tasks of methods that have a value in all of them; not every
    method can do without texts, or classify new classes."""
    counted = [kinds[group] for group in kinds if group not in ("without_texts", "base_to_new")]
    labels = [label for label in (counted or [{}])[0] if all(label in each for each in counted)]
    return {label: statistics.fmean(each[label] for each in counted) for label in labels}


def _kind_table(
    title: str,
    names: Sequence[str],
    kinds: Mapping[str, Mapping[str, float]],
    transductive: set[str],
    form: str,
) -> Table:
    columns = {KINDS[group]: methods for group, methods in kinds.items()}
    columns[OVERALL] = _overall(kinds)

    def cell(label: str, methods: Mapping[str, float]) -> Cell:
        if label not in methods:
            return MISSING
        others = (value for name, value in methods.items() if name not in transductive)
        is_best = form.format(methods[label]) == form.format(min(others))
        return Cell(form.format(methods[label]), is_best and label not in transductive)

    lines = ((Cell(name), *(cell(name, each) for each in columns.values())) for name in names)
    return Table(title, ("method", *columns), tuple(lines))


# Accuracies ###########################################################################


def cell_table(title: str, runs: Sequence[Run]) -> Table:
    """Methods × sizes of subsets and shots: the mean accuracy."""
    cells = _cells(sorted(runs, key=lambda run: run["num_classes"]))
    return _accuracy_table(title, {
        f"{name.partition(', ')[2]}, {_shots(shots)}": methods
        for (name, shots), methods in cells.items()
    })  # fmt: skip


def name_tables(runs: Sequence[Run]) -> list[Table]:
    """Methods × shares of right names, the mean over shots, and methods × data sets whose names
    are all wrong, at each number of shots."""
    cells = _cells(runs)
    shares, wrong = {}, {}
    for name in map(name_of_share, RIGHT_NAMES):
        of_share = [methods for (dataset, _), methods in cells.items() if dataset == name]
        shares[name.removesuffix(" right names")] = {
            label: statistics.fmean(methods[label] for methods in of_share)
            for label in of_share[0]
            if all(label in methods for methods in of_share)
        }
    for (name, shots), methods in cells.items():
        if name.endswith(WRONG):
            wrong[f"{name.removesuffix(WRONG)}, {_shots(shots)}"] = methods
    return [
        _accuracy_table("ImageNet, by the share of right names, mean over shots", shares),
        _accuracy_table("All names wrong", wrong),
    ]


def _accuracy_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> Table:
    labels = dict.fromkeys(label for methods in columns.values() for label in methods)
    best = {name: f"{max(methods.values()):.1f}" for name, methods in columns.items()}

    def cell(label: str, name: str) -> Cell:
        if label not in columns[name]:
            return MISSING
        text = f"{columns[name][label]:.1f}"
        return Cell(text, text == best[name])

    lines = ((Cell(label), *(cell(label, name) for name in columns)) for label in labels)
    return Table(title, ("method", *columns), tuple(lines))


def _shots(count: int) -> str:
    return f"{count} shot{'s' if count != 1 else ''}"


def draw_names(runs: Sequence[Run], path: Path) -> None:
    """Accuracy over the share of right names, a panel per number of shots."""
    cells = _cells(runs)
    all_shots = sorted(shots for name, shots in cells if name == name_of_share(1.0))
    figure = Figure(figsize=(3.6 * len(all_shots), 3.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(all_shots), sharey=True, squeeze=False)[0]
    for axes, shots in zip(panels, all_shots, strict=True):
        for label in LINES:
            values = {
                100 * share: cells[place][label]
                for share in RIGHT_NAMES
                if label in cells[place := (name_of_share(share), shots)]
            }
            axes.plot(
                list(values),
                list(values.values()),
                marker="o",
                markersize=4,
                label=label.replace("_", " "),
                color="black" if label == "zero_shot" else None,
                linestyle=":" if label == "zero_shot" else "-",
                linewidth=2.5 if label == "graph_adapter" else 1.5,
            )
        axes.set(title=_shots(shots), xlabel="right names (%)", xticks=[0, 25, 50, 75, 100])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy (%)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9
    )
    save_figure(figure, path)


# Notes ################################################################################


def _cost(results: Mapping[str, Results]) -> str:
    """The time of every group."""
    lines = [
        (Cell(KINDS[group]), Cell(f"{len(found.runs):,}"), Cell(f"{found.seconds / 60:.1f}"))
        for group, found in results.items()
    ]
    machines = " and ".join(dict.fromkeys(found.machine for found in results.values()))
    table = Table("", ("tasks", "runs", "minutes on one core"), tuple(lines))
    return f"{table.markdown()}\n\nMeasured on {machines}."


def _refused(results: Mapping[str, Results]) -> str:
    """What methods cannot do: one reason per method and number of shots."""
    reasons = {
        reason.partition(":")[0]: reason for found in results.values() for reason in found.refused
    }
    return "\n".join(f"- {reason}" for reason in reasons.values()) or "Nothing of this."
