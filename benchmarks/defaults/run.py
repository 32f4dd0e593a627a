"""How the defaults of GraphAdapter and of its training were chosen, and what they give.

    python benchmarks/defaults/run.py FEATURES.npz            # choose, on training images alone
    python benchmarks/defaults/run.py FEATURES.npz --report   # the tables and the figure

Needs a file with at least four training images per class. Every candidate differs from the defaults
in the settings that it names. It is trained on some of the training images of every class and
measured on all others; test images are not touched. Finished candidates are skipped.
"""

import argparse
import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from statistics import fmean

import torch

from pyg_graphadapter import FeatureFile, GraphAdapter, TrainConfig, ZeroShot, evaluate, train
from pyg_graphadapter.report.results import read_result, summarize
from pyg_graphadapter.report.tables import markdown_table
from pyg_graphadapter.storage import versions
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import DEFAULT_EPOCHS

HERE = Path(__file__).parent
SHOTS = (3, 2, 1)
DRAWS = (1, 2)
VALUES = {
    "alpha": (0.6, 0.7, 0.8, 0.9, 0.95),
    "beta": (0.0, 0.3, 0.5, 0.7, 0.9, 1.0),
    "temperature": (1.0, 1.5, 2.0, 2.5, 3.0),
    "lr": (3e-4, 1e-3, 2e-3),
    "epochs": (10, 20, 30, 40),
    "bias": ("class", "shared", "none"),
    "k": (16, None),
}
TRAINING = {each.name for each in fields(TrainConfig)}
# What follows from the shots (pyg_graphadapter.adapters.graph_defaults) is chosen elsewhere:
FIXED = {"alpha": 0.9, "nodes": "texts", "whitening": 0.0}
DEFAULTS = {
    **asdict(TrainConfig().completed(GraphAdapter)),
    "epochs": DEFAULT_EPOCHS,
    **{each.name: each.default for each in fields(GraphAdapter.Config)},
}


def held_out_accuracy(data: FeatureFile, shots: int, draw: int, settings: dict) -> float:
    """Trained on `shots` images of every class, measured on the others."""
    index = data.train.draw(shots, draw, len(data.class_names))
    rest = torch.ones(len(data.train), dtype=torch.bool)
    rest[index] = False
    task = FewShotTask(
        data.class_names, data.text, data.train.select(index), logit_scale=data.logit_scale
    )
    held_out = data.train.select(rest.nonzero().flatten())
    if settings.get("method") == "zero_shot":
        return evaluate(ZeroShot.from_task(task), held_out).accuracy
    config = {name: value for name, value in settings.items() if name in TRAINING}
    method = {name: value for name, value in settings.items() if name not in TRAINING}
    adapter = GraphAdapter.from_task(task, **{**FIXED, **method})
    train(adapter, task, TrainConfig(seed=draw, **config), progress=False)
    return evaluate(adapter, held_out).accuracy


def candidates() -> list[dict]:
    """The defaults, and each value of each setting that is not the default."""
    single = [
        {name: value}
        for name, values in VALUES.items()
        for value in values
        if value != DEFAULTS[name]
    ]
    return [{"method": "zero_shot"}, {}, *single]


def measure(data: FeatureFile, path: Path) -> None:
    """Adds what is missing to the result file."""
    results = json.loads(path.read_text()) if path.exists() else {"accuracy": {}}
    for settings in candidates():
        key = json.dumps(settings)
        if key in results["accuracy"]:
            continue
        results["accuracy"][key] = {
            str(k): fmean(held_out_accuracy(data, k, draw, settings) for draw in DRAWS)
            for k in SHOTS
        }
        results["versions"] = versions()
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(key, results["accuracy"][key], flush=True)


def validation_table(results: dict) -> str:
    """One line a candidate."""
    lines = [
        "| differs from the defaults in | " + " | ".join(f"{k}-shot" for k in SHOTS) + " | mean |",
        "| --- |" + " ---: |" * (len(SHOTS) + 1),
    ]
    for settings in candidates():
        accuracy = results["accuracy"][json.dumps(settings)]
        name = ", ".join(f"{k} = {v}" for k, v in settings.items()) or "**nothing**"
        cells = [f"{accuracy[str(k)]:.2f}" for k in SHOTS] + [f"{fmean(accuracy.values()):.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_figure(path: Path) -> None:
    """Accuracy on the test split over shots."""
    import matplotlib.pyplot as plt

    rows = summarize([read_result(each) for each in sorted((HERE / "test").glob("*.json"))])
    _, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    adapted = sorted((row for row in rows if row.method == "graph_adapter"), key=lambda r: r.shots)
    zero_shot = next(row for row in rows if row.method == "zero_shot")
    axes.errorbar(
        [row.shots for row in adapted],
        [row.accuracy for row in adapted],
        [row.deviation for row in adapted],
        marker="o",
        capsize=3,
        label="GraphAdapter",
    )
    axes.axhline(zero_shot.accuracy, color="gray", linestyle="--", label="zero-shot CLIP")
    axes.set(
        xlabel="labelled images per class",
        ylabel="test accuracy (%)",
        title=f"ImageNet, CLIP ViT-B/32, training ≤ {max(r.fit_seconds for r in adapted):.0f} s "
        "on two CPU cores",
        xticks=[row.shots for row in adapted],
        ylim=(60, 68),
    )
    axes.title.set_fontsize("medium")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    plt.savefig(path, dpi=150)


def report() -> None:
    """Writes the tables into the README, and the figure."""
    readme = HERE / "README.md"
    text = readme.read_text()
    rows = summarize([read_result(each) for each in sorted((HERE / "test").glob("*.json"))])
    tables = {
        "validation": validation_table(json.loads((HERE / "validation.json").read_text())),
        "test": markdown_table(rows),
    }
    for name, table in tables.items():
        block = f"<!-- {name} -->\n{table}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.S)
    readme.write_text(text)
    draw_figure(HERE / "figure.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if args.report:
        report()
    else:
        measure(FeatureFile.load(args.features), HERE / "validation.json")
