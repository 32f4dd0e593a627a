"""Measures how far probabilities can be trusted, before and after calibration, and abstaining.

python benchmarks/confidence/run.py FOLDER_OF_FEATURE_FILES [--tiny] [--report]

Finished runs, in results.json, are skipped. With --report, tables and figures are made of them.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pyg_graphadapter import FeatureFile, Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier.calibration import calibrated
from pyg_graphadapter.encoding.sources import Source
from pyg_graphadapter.task import FewShotTask, draw_task
from pyg_graphadapter.training.evaluation import CALIBRATION_BINS
from pyg_graphadapter.training.fitting import fit_method

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
METHODS = ("graph_adapter", "zero_shot", "tip_adapter_f", "linear_probe", "transclip")
NEED_TEXTS = ("zero_shot", "transclip")
SEEDS = (1, 2, 3)
DRAWS = tuple(range(1, 21))
ERRORS = (0.02, 0.05, 0.1, 0.2)
COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Run(NamedTuple):
    """One fit: of a set, by a method, with so many shots and a seed."""

    name: str
    method: str
    shots: int
    seed: int

    @property
    def key(self) -> str:
        """The name of its result."""
        return f"{self.name} | {self.method} | {self.shots} | {self.seed}"


def every_tenth_class(file: FeatureFile) -> FeatureFile:
    """A file of a tenth of the classes."""

    def images(features: Features) -> Features:
        index = (features.y % 10 == 0).nonzero().flatten()
        return Features(features.x[index].float(), features.y[index] // 10)

    return replace(
        file,
        text=file.text[::10].float(),
        class_names=file.class_names[::10],
        train=images(file.train),
        test=images(file.test),
    )


def drawings() -> FeatureFile:
    """Features of the built-in drawings by the built-in model."""
    from pyg_graphadapter.classifier.source import source_of
    from pyg_graphadapter.data.reading import ReadOptions

    source: Source = source_of("builtin", "builtin", None, "auto", ReadOptions(), progress=False)
    task: FewShotTask = source.task("all", 1, allow_fewer=True)
    return FeatureFile(
        text=task.text,
        class_names=task.class_names,
        train=task.support,
        test=source.test(),
        logit_scale=task.logit_scale,
    )


def load(folder: Path) -> dict[str, FeatureFile]:
    """The sets, by name."""
    imagenet = FeatureFile.load(folder / "imagenet_fewshot.npz")
    return {
        "drawings": drawings(),
        "ImageNet-100": every_tenth_class(imagenet),
        "Flowers102": FeatureFile.load(folder / "flowers102_images.npz"),
        "UCF101": FeatureFile.load(folder / "ucf101_images.npz"),
        "ImageNet": imagenet,
    }


def runs(*, is_tiny: bool) -> Iterator[Run]:
    """All fits, the quick ones first."""
    counts = {"drawings": (1, 4, 16), "ImageNet-100": (1, 2, 4), "Flowers102": (1, 4, 16)}
    counts |= {"UCF101": (1, 4, 16)}
    if is_tiny:
        yield Run("drawings", "graph_adapter", 2, 1)
        return
    for name, shots_of_name in counts.items():
        has_texts = name in ("drawings", "ImageNet-100")
        for shots in shots_of_name:
            for method in METHODS:
                if has_texts or method not in NEED_TEXTS:
                    yield from (Run(name, method, shots, seed) for seed in SEEDS)
    for name, shots in (("ImageNet-100", 2), ("Flowers102", 4), ("UCF101", 4), ("UCF101", 8)):
        yield from (Run(name, "graph_adapter", shots, seed) for seed in DRAWS)
    for shots in (1, 2, 4):
        for method in ("graph_adapter", "zero_shot", "transclip"):
            yield from (Run("ImageNet", method, shots, seed) for seed in SEEDS)


def fitted(file: FeatureFile, run: Run) -> tuple[FewShotClassifier, float, float]:
    """A classifier, and the seconds of its fit and of its calibration."""
    task, config = (
        draw_task(replace(file, val=None), run.shots, run.seed),
        TrainConfig(seed=run.seed),
    )
    start = time.perf_counter()
    fit = fit_method(run.method, task, config, {}, progress=False)
    middle = time.perf_counter()
    confidence, _ = calibrated(run.method, task, config, {}, fit.selected, progress=False)
    end = time.perf_counter()
    classifier = FewShotClassifier(fit.adapter, task.class_names, run.method, confidence=confidence)
    if not task.has_text:
        classifier.training["texts"] = "none"
    return classifier, middle - start, end - middle


def reliability(probability: torch.Tensor, y: torch.Tensor) -> list[list[float]]:
    """The count, the mean probability and the accuracy of every bin."""
    confidence, label = probability.double().max(dim=1)
    is_right = (label == y).double()
    index = (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    bins = [index == b for b in range(CALIBRATION_BINS)]
    return [
        [int(b.sum()), round(float(confidence[b].mean()), 4), round(float(is_right[b].mean()), 4)]
        for b in bins
        if b.any()
    ]


def abstaining(
    classifier: FewShotClassifier, probability: torch.Tensor, y: torch.Tensor
) -> dict[str, Any]:
    """What is answered of the test images, for every error rate that is asked for."""
    confidence, label = probability.max(dim=1)
    is_wrong = label != y
    weight = 1 / torch.bincount(y).double()[y]  # as often of each class, as among the shots
    answers: dict[str, Any] = {}
    for max_error in ERRORS:
        try:
            threshold = classifier.threshold(max_error)
        except ValueError:
            answers[str(max_error)] = None
            continue
        is_answered = confidence > threshold.probability
        wrong = float((weight * is_wrong)[is_answered].sum() / weight[is_answered].sum())
        answers[str(max_error)] = {
            "threshold": round(threshold.probability, 4),
            "answered": round(float(is_answered.double().mean()), 4),
            "error": round(float(is_wrong[is_answered].double().mean()), 4),
            "error by class": round(wrong, 4),
        }
    return answers


def measured(file: FeatureFile, run: Run) -> dict[str, Any]:
    """One result."""
    classifier, fit_seconds, calibration_seconds = fitted(file, run)
    test = Features(file.test.x.float(), file.test.y)
    evaluation = classifier.evaluate(test)
    plain = classifier.predict_proba(test.mean_views(), calibrated=False)
    probability = classifier.predict_proba(test.mean_views())
    order = probability.max(dim=1).values.argsort(descending=True)
    is_right = (probability.argmax(dim=1) == test.y)[order].double()
    return {
        "accuracy": round(evaluation.accuracy, 2),
        "temperature": round(classifier.temperature, 4),
        "before": {name: round(getattr(evaluation, name), 4) for name in ("ece", "nll", "brier")},
        "after": {name: round(value, 4) for name, value in asdict(evaluation.calibrated).items()},
        "reliability before": reliability(plain, test.y),
        "reliability after": reliability(probability, test.y),
        "coverage": [
            round(float(is_right[: max(1, round(share * len(order)))].mean()), 4)
            for share in COVERAGES
        ],
        "abstaining": abstaining(classifier, probability, test.y),
        "seconds": [round(fit_seconds, 2), round(calibration_seconds, 2)],
    }


def main() -> None:
    """Measures all, or makes tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where the feature files are")
    parser.add_argument("--tiny", action="store_true", help="one run, to show that it runs")
    parser.add_argument("--only", nargs="+", metavar="SET", help="measure these sets alone")
    parser.add_argument("--report", action="store_true", help="tables and figures of results.json")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if arguments.report:
        from tables import report

        report(results, HERE)
        return
    torch.set_num_threads(1)
    files = {"drawings": drawings()} if arguments.tiny else load(arguments.folder)
    for run in runs(is_tiny=arguments.tiny):
        if run.key in results or (arguments.only and run.name not in arguments.only):
            continue
        result = results[run.key] = measured(files[run.name], run)
        print(run.key, result["accuracy"], result["before"], result["after"], flush=True)
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in results.items()]
        arguments.results.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
