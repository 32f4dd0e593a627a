"""Measures what descriptions of the classes bring to the built-in model.

python benchmarks/descriptions/run.py [--data FOLDER] [--quick] [--tiny]

FOLDER holds cifar10_mini and dtd10_mini below `images`, and dtd_prompt.json below `prompts`.
Without it, only the drawings that come with the package are measured. Results of a whole run are
written to the README, by `--report` alone those that are committed.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import parser_of, sized, write_down
from report import put, table

from pyg_graphadapter import (
    Encoder,
    EncodingConfig,
    EvaluationTask,
    FeatureFile,
    FewShotClassifier,
)
from pyg_graphadapter.data import TEMPLATES, Descriptions
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.task import draw_task, not_drawn

HERE = Path(__file__).parent
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: the templates alone
METHODS = ("graph_adapter", "tip_adapter")
SHOTS = (1, 4)
SEEDS = (1, 2, 3)
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Case:
    """A data set with descriptions of its classes."""

    images: str | Path
    sentences: Path
    template: str = TEMPLATES[0]


def cases(folder: Path | None) -> dict[str, Case]:
    """The data sets that there are."""
    found = {"drawings": Case("builtin", HERE / "sentences" / "builtin.json")}
    if folder is not None:
        images, prompts = folder / "images", folder / "prompts"
        found |= {
            "CIFAR-10": Case(images / "cifar10_mini", HERE / "sentences" / "cifar10.json"),
            "DTD, 10 classes": Case(
                images / "dtd10_mini" / "images", prompts / "dtd_prompt.json", "{} texture."
            ),
        }
    return found


def evaluation(file: FeatureFile, shots: int, seed: int) -> EvaluationTask:
    """A draw, measured on the test split, or else on the training images that are not drawn."""
    test = file.test if file.test is not None else not_drawn(file, shots, seed)
    return EvaluationTask(draw_task(file, shots, seed), test)


def accuracy(file: FeatureFile, method: str, shots: int, seed: int) -> float:
    """The accuracy of a method in percent, with selection inside the shots."""
    task = evaluation(file, shots, seed)
    classifier = FewShotClassifier.fit(task.task, method=method, progress=False)
    return round(classifier.evaluate(task.test).accuracy, 2)


def zero_shot(file: FeatureFile) -> float:
    """The accuracy of the texts alone in percent, on the test split, or else on all images."""
    classifier = FewShotClassifier.fit(file, shots=0, progress=False)
    images = file.train if file.test is None else file.test
    return round(classifier.evaluate(images).accuracy, 2)


def measure(
    case: Case, encoder: Encoder, weights: Sequence[float], runs: Sequence[tuple[str, int, int]]
) -> dict[str, Any]:
    """The accuracies at every weight, of zero-shot and of runs of a method, shots and a seed."""
    images = ImageSource(case.images, encoder, EncodingConfig(), progress=False)
    file, names = images.features(), images.class_names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of descriptions of other classes
        descriptions = Descriptions.read(case.sentences).matched(names, weight=1)
    found: dict[str, Any] = {
        "classes": len(names),
        "sentences": sum(map(len, descriptions.sentences.values())),
    }
    for weight in weights:
        text = encoder.encode_text(names, case.template, descriptions, weight)
        described = replace(file, text=text)
        of_weight: dict[str, list[float]] = {ZERO_SHOT: [zero_shot(described)]}
        for method, shots, seed in runs:
            value = accuracy(described, method, shots, seed)
            of_weight.setdefault(f"{method} {shots}", []).append(value)
        found[str(weight)] = of_weight
    return found


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = statistics.mean(values)
    return f"{mean:.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{mean:.1f}"


def report(found: dict[str, Any]) -> None:
    """Writes the table into the README."""
    columns = [ZERO_SHOT, *(f"{method} {shots}" for method in METHODS for shots in SHOTS)]
    header = ["images", "weight", *(column.replace("_", " ") for column in columns)]
    rows = [
        (name, f"{weight:g}", *(cell(case[str(weight)][column]) for column in columns))
        for name, case in found.items()
        for weight in WEIGHTS
    ]
    put("descriptions", table(header, rows))


def main(arguments: argparse.Namespace) -> None:
    """Measures all cases."""
    torch.set_num_threads(1)
    if arguments.report:
        report(json.loads((arguments.results / "cpu.json").read_text())["accuracy"])
        return
    encoder = Encoder.from_pretrained("builtin", device=arguments.device)
    quick = [("graph_adapter", 1, 1)]
    runs = sized(arguments, list(product(METHODS, SHOTS, SEEDS)), quick, quick)
    weights = sized(arguments, WEIGHTS, (0.0, 0.5), (0.0, 0.5))
    found = {
        name: measure(case, encoder, weights, runs) for name, case in cases(arguments.data).items()
    }
    write_down(arguments, {"accuracy": found})
    if not (arguments.quick or arguments.tiny):
        report(found)


if __name__ == "__main__":
    parser = parser_of(__doc__.splitlines()[0], HERE)
    parser.add_argument("--data", type=Path, help="folder of images and prompts")
    parser.add_argument("--report", action="store_true", help="write the committed results alone")
    main(parser.parse_args())
