"""How GraphAdapter's alpha, nodes and whitening follow from the shots, and what that gives.

python benchmarks/trust/run.py [--images IMAGES] [--features FEATURES] [--before CHECKOUT]

IMAGES holds cifar10_mini, dtd10_mini and pacs_mini; FEATURES holds imagenet_fewshot.npz,
class_text.npz, flowers102_images.npz and ucf101_images.npz. Without them, only the drawings that
come with the package are measured. Every method is trained on a draw of the training images and
measured on the others; test images are not looked at. With `--before`, a checkout of the commit
before the rule, only the time of `fit` is measured, in turns, and added to the committed results.
Results of a whole run are written to the README, by `--report` alone those that are committed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases import Case, builtin_cases, drawn_often, feature_cases
from common import parser_of, write_down
from rules import (
    CANDIDATES,
    CONSTANT_DRAWS,
    CONSTANTS,
    EVIDENCE,
    FIXED,
    RULE,
    WHITENED,
    Choice,
    Facts,
    Settings,
    check_rule,
)
from tables import report

from pyg_graphadapter import Features, FewShotTask, GraphAdapter, TrainConfig, train
from pyg_graphadapter.adapters import graph_adapter
from pyg_graphadapter.training.evaluation import predict_logits

HERE = Path(__file__).parent
TURNS = 3
CHOICES = [RULE, *FIXED.values(), *EVIDENCE.values(), *WHITENED.values()]
CONFIG = TrainConfig(device="cpu")


def accuracy(task: FewShotTask, measured: Features, settings: Settings) -> float:
    """The accuracy of GraphAdapter in percent."""
    alpha, nodes, whitening, scale = settings
    with patch.object(graph_adapter, "LOGIT_SCALE_OF_IMAGES", scale):
        adapter = GraphAdapter.from_task(task, alpha=alpha, nodes=nodes, whitening=whitening)
    train(adapter, task, CONFIG, progress=False)
    predicted = predict_logits(adapter, measured.mean_views()).argmax(dim=1)
    return round(100 * float((predicted == measured.y).float().mean()), 2)


def measure_draw(case: Case, seed: int, choices: Iterable[Choice]) -> dict[str, Any]:
    """The facts of a draw, and the accuracy of everything that is chosen of them."""
    task, measured = case.draw(seed)
    facts = Facts.of(task)
    check_rule(task, facts)
    chosen = dict.fromkeys(choice(facts) for choice in choices)
    return {
        "seed": seed,
        "facts": facts.as_dict(),
        "accuracy": {each.key: accuracy(task, measured, each) for each in chosen},
    }


def measure(case: Case, choices: Sequence[Choice], others: Sequence[Choice] = ()) -> dict[str, Any]:
    """All draws of a case, of which the first ones also with other choices."""
    print(f"{case.kind}: {case.name}, {case.shots} shots", file=sys.stderr, flush=True)
    return {
        "kind": case.kind,
        "name": case.name,
        "shots": case.shots,
        "draws": [
            measure_draw(case, seed, [*choices, *(others if i < CONSTANT_DRAWS else ())])
            for i, seed in enumerate(case.seeds)
        ],
    }


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """All cases that there are data of; with ``--quick``, two of them."""
    start = time.process_time()
    is_quick = arguments.quick or arguments.tiny
    all_cases = list(builtin_cases(None if is_quick else arguments.images))
    if arguments.features is not None and not is_quick:
        all_cases += feature_cases(arguments.features)
    often = drawn_often(all_cases)
    if is_quick:
        all_cases, often = all_cases[:2], [replace(often[0], seeds=often[0].seeds[:2])]
    return {
        "cases": [
            measure(case, CHOICES, [] if case.is_large else list(CONSTANTS.values()))
            for case in all_cases
        ],
        "ten_draws": [measure(case, [RULE, *CANDIDATES.values()]) for case in often],
        "seconds": round(time.process_time() - start),
    }


def fit_seconds(checkout: Path, features: Path) -> float:
    """The processor time of `fit` on ImageNet with all four shots, by the package in a checkout."""
    done = subprocess.run(
        [sys.executable, HERE / "fit_seconds.py", features / "imagenet_fewshot.npz"],
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure_time(before: Path, features: Path) -> dict[str, list[float]]:
    """The processor time of `fit` before the rule and with it, in turns."""
    seconds: dict[str, list[float]] = {"before": [], "rule": []}
    for _ in range(TURNS):
        for name, checkout in (("before", before), ("rule", HERE.parents[1])):
            seconds[name].append(fit_seconds(checkout, features))
    return seconds


def main(arguments: argparse.Namespace) -> None:
    """Measures all cases, or the time."""
    torch.set_num_threads(1)
    committed = arguments.results / "cpu.json"
    if arguments.before is not None:
        found = json.loads(committed.read_text())
        found["fit_seconds"] = measure_time(arguments.before, arguments.features)
        committed.write_text(json.dumps(found, indent=1) + "\n")
    elif not arguments.report:
        write_down(arguments, measure_all(arguments))
    if not (arguments.quick or arguments.tiny):
        report(json.loads(committed.read_text()))


if __name__ == "__main__":
    parser = parser_of(__doc__.splitlines()[0], HERE)
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--features", type=Path, help="folder of feature files")
    parser.add_argument("--before", type=Path, help="measure the time of fit against a checkout")
    parser.add_argument("--report", action="store_true", help="write the committed results alone")
    main(parser.parse_args())
