"""How well scores tell images of none of the classes, and how many of the others are accepted.

python benchmarks/unknown/run.py --train [--images IMAGES] [--features FEATURES]
python benchmarks/unknown/run.py [--images IMAGES] [--features FEATURES]
python benchmarks/unknown/run.py --report

IMAGES holds cifar10_mini, dtd10_mini and pacs_mini; FEATURES holds imagenet_fewshot.npz,
flowers102_images.npz and ucf101_images.npz. Without them, only the drawings that come with the
package are measured. With `--train`, images are training images that are not drawn, with other
draws: the score was chosen on these. Without it, they are test images.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases import SEEDS, Case, Draw, builtin_cases, feature_cases
from common import parser_of, write_down
from report import table
from scores import Score, combined, of_logits, of_shots, of_texts

from pyg_graphadapter import FewShotTask, TrainConfig
from pyg_graphadapter.training.familiarity import FEWEST, Familiarity
from pyg_graphadapter.training.fitting import fit_method

HERE = Path(__file__).parent
SHARES = (0.8, 0.95, 0.99)
README = HERE / "README.md"
BELOW = ("class mean", "logit")  # whose names stand below their points in the figure


def measure_score(score: Score, draw: Draw) -> dict[str, float]:
    """AUROC, and the share of images of no class that are accepted where 95 % of the others are."""
    with torch.inference_mode():
        known, near = score(draw.known.double()), score(draw.near.double())
        far = [score(x.double()) for x in draw.far.values()]
    return {
        "near_auroc": auroc(known, near),
        "near_fpr95": accepted_at_95(known, near),
        "far_auroc": statistics.mean(auroc(known, x) for x in far),
        "far_fpr95": statistics.mean(accepted_at_95(known, x) for x in far),
    }


def auroc(known: torch.Tensor, other: torch.Tensor) -> float:
    """The area under the curve in percent."""
    is_known = torch.cat([torch.ones(len(known)), torch.zeros(len(other))])
    return 100 * float(roc_auc_score(is_known, torch.cat([known, other])))


def accepted_at_95(known: torch.Tensor, other: torch.Tensor) -> float:
    """How many percent of the others are accepted where 95 % of the known images are."""
    return 100 * float((other >= torch.quantile(known, 0.05)).float().mean())


def measure_limit(draw: Draw) -> dict[str, float]:
    """How many percent of each kind of images are accepted by the limit that the shots give."""
    task = draw.task
    known, text = Familiarity.from_task(task), task.text if task.has_text else None
    if len(known.left_out) < FEWEST:
        return {}
    images = {"known": [draw.known], "near": [draw.near], "far": list(draw.far.values())}
    return {
        f"{name}_{share}": statistics.mean(
            100 * float((known.of(x, text) >= known.limit(share)).float().mean()) for x in parts
        )
        for name, parts in images.items()
        for share in SHARES
    }


def scores_of(task: FewShotTask) -> dict[str, Score]:
    """All scores that can be had for a task."""
    config = TrainConfig(device="cpu")
    adapter = fit_method("graph_adapter", task, config, {}, progress=False).adapter
    texts = of_texts(task) if task.has_text else {}
    return {**of_logits(adapter), **texts, **of_shots(task), **combined(task)}


def measure(case: Case, seeds: Iterable[int]) -> dict[str, Any]:
    """All draws of a case."""
    start, draws = time.perf_counter(), []
    for seed in seeds:
        draw = case.draw(seed)
        scores = scores_of(draw.task)
        measured = {name: rounded(measure_score(score, draw)) for name, score in scores.items()}
        draws.append({"seed": seed, "scores": measured, "accepted": rounded(measure_limit(draw))})
    print(f"{case.name}, {case.shots} shots: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return {"kind": case.kind, "name": case.name, "shots": case.shots, "draws": draws}


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Two digits are enough."""
    return {name: round(value, 2) for name, value in values.items()}


def mean_of(cases: Iterable[dict[str, Any]], part: str, *keys: str) -> float | None:
    """The mean over the cases that have a value of the mean over their draws."""
    means = []
    for case in cases:
        values = []
        for draw in case["draws"]:
            value = draw[part]
            for key in keys:
                value = value.get(key, {}) if isinstance(value, dict) else value
            if isinstance(value, float):
                values.append(value)
        if values:
            means.append(statistics.mean(values))
    return statistics.mean(means) if means else None


def cell(value: float | None) -> str:
    """One number of a table."""
    return "" if value is None else f"{value:.1f}"


def score_table(cases: list[dict[str, Any]]) -> str:
    """AUROC and FPR of every score, by kind of task."""
    kinds = list(dict.fromkeys(case["kind"] for case in cases))
    names = list(dict.fromkeys(n for c in cases for d in c["draws"] for n in d["scores"]))
    header = ["score", *(f"{kind}: near / far" for kind in kinds), "mean"]
    parts = []
    for measure_name, title in (("auroc", "AUROC (%)"), ("fpr95", "FPR at 95 % TPR (%)")):
        rows = []
        for name in names:
            values = [
                [
                    mean_of(
                        [c for c in cases if c["kind"] == kind],
                        "scores", name, f"{where}_{measure_name}",
                    )
                    for where in ("near", "far")
                ]
                for kind in kinds
            ]  # fmt: skip
            numbers = [value for pair in values for value in pair]
            whole = None if None in numbers else statistics.mean(numbers)  # type: ignore[type-var]
            rows.append([name, *(" / ".join(map(cell, pair)) for pair in values), cell(whole)])
        parts.append(f"{title}\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def limit_table(cases: list[dict[str, Any]]) -> str:
    """How many images are accepted, by the number of shots and by kind of task."""
    groups = {
        **{f"{k} shots": [c for c in cases if c["shots"] == k] for k in (1, 2, 4, 8, 16)},
        **{name: [c for c in cases if c["kind"] == name] for name in
           dict.fromkeys(c["kind"] for c in cases)},
        "all": cases,
    }  # fmt: skip
    header = [
        "images", *(f"known, {100 * share:.0f} % asked for" for share in SHARES),
        "lowest of a case, 95 %", "near, 95 %", "far, 95 %",
    ]  # fmt: skip
    rows = []
    for name, group in groups.items():
        known = [mean_of(group, "accepted", f"known_{share}") for share in SHARES]
        each = [mean_of([case], "accepted", "known_0.95") for case in group]
        lowest = min((value for value in each if value is not None), default=None)
        others = [mean_of(group, "accepted", f"{where}_0.95") for where in ("near", "far")]
        if lowest is not None:
            rows.append([name, *map(cell, [*known, lowest, *others])])
    return table(header, rows)


def report() -> None:
    """Writes the tables into the README, and draws the figure."""
    measured = {
        split: json.loads((HERE / "results" / f"{split}.json").read_text())["cases"]
        for split in ("test", "train")
        if (HERE / "results" / f"{split}.json").exists()
    }
    parts = [
        f"### {'Test images' if split == 'test' else 'Training images that were not drawn'}\n\n"
        f"{score_table(cases)}\n\nAccepted (%)\n\n{limit_table(cases)}"
        for split, cases in measured.items()
    ]
    text, begin, end = README.read_text(), "<!-- results -->", "<!-- end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    README.write_text(f"{before}{begin}\n" + "\n\n".join(parts) + f"\n{end}{after}")
    if "test" in measured:
        draw_figure(measured["test"])


def draw_figure(cases: list[dict[str, Any]]) -> None:
    """AUROC of every score, over near and far images."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    names = list(cases[0]["draws"][0]["scores"])
    with_texts = [c for c in cases if "without" not in c["kind"]]
    for name in names:
        x, y = (mean_of(with_texts, "scores", name, f"{w}_auroc") for w in ("near", "far"))
        is_ours = name == "familiarity"
        axes.plot(x, y, "s" if is_ours else "o", color="tab:red" if is_ours else "tab:blue")
        offset = (5, -11) if name in BELOW else (5, 4)
        axes.annotate(name, (x, y), offset, textcoords="offset points", fontsize=8)
    axes.set_xlabel("AUROC, images of other classes of the same data set (%)")
    axes.set_ylabel("AUROC, images of other data sets (%)")
    axes.set_title("Images of none of the classes, tasks with texts", fontsize=10)
    axes.margins(0.12)
    figure.savefig(HERE / "figure.png", dpi=150)


def main() -> None:
    """Measures all cases, or writes the tables alone."""
    parser = parser_of(__doc__.split("\n")[0], HERE)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if not arguments.report:
        torch.set_num_threads(1)
        split = "train" if arguments.train else "test"
        cases = list(builtin_cases(arguments.images, split))
        if arguments.features is not None:
            cases += feature_cases(arguments.features, split)
        seeds = SEEDS[split]
        if arguments.quick or arguments.tiny:
            cases, seeds = cases[: 2 if arguments.tiny else 10], seeds[:1]
        measured = [measure(case, seeds) for case in cases]
        write_down(arguments, {"cases": measured}, split)
        if arguments.quick or arguments.tiny:
            return
    report()


if __name__ == "__main__":
    main()
