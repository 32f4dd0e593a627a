"""Measures methods on feature files with and without texts.

python benchmarks/own_features/run.py FOLDER_OF_FEATURE_FILES

Finished runs, in results.json, are skipped.
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch

from pyg_graphadapter import EvaluationTask, FeatureFile, Features, FewShotClassifier

METHODS = ("linear_probe", "gda", "tip_adapter", "proker", "graph_adapter")
SEEDS = (1, 2, 3)
RESULTS = Path(__file__).parent / "results.json"
CLASSES = 100  # of ImageNet: every tenth


def part_of_imagenet(file: FeatureFile) -> FeatureFile:
    """Every tenth class of a file."""
    step = len(file.class_names) // CLASSES

    def images(features: Features) -> Features:
        index = (features.y % step == 0).nonzero().flatten()
        return Features(features.x[index].float(), features.y[index] // step)

    return replace(
        file,
        text=file.text[::step].float(),
        class_names=file.class_names[::step],
        train=images(file.train),
        test=images(file.test),
    )


def accuracies(file: FeatureFile, shots: int, method: str) -> list[float]:
    """The test accuracy in percent for every seed."""
    values = []
    for seed in SEEDS:
        evaluation = EvaluationTask.from_file(file, shots, seed)
        classifier = FewShotClassifier.fit(evaluation.task, method=method, progress=False)
        values.append(round(classifier.evaluate(evaluation.test).accuracy, 2))
    return values


def main(folder: Path) -> None:
    """Measures all, and prints a table."""
    torch.set_num_threads(1)
    imagenet = part_of_imagenet(FeatureFile.load(folder / "imagenet_fewshot.npz"))
    cases = {
        "ImageNet-100, with texts": (imagenet, (1, 4)),
        "ImageNet-100, without texts": (replace(imagenet, text=None), (1, 4)),
        "Flowers102, without texts": (
            FeatureFile.load(folder / "flowers102_images.npz"),
            (1, 4, 16),
        ),
        "UCF101, without texts": (FeatureFile.load(folder / "ucf101_images.npz"), (1, 4, 16)),
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, (file, counts) in cases.items():
        for shots in counts:
            for method in METHODS:
                of_method = results.setdefault(name, {}).setdefault(method, {})
                if str(shots) not in of_method:  # finished runs are skipped
                    of_method[str(shots)] = accuracies(file, shots, method)
                measured = of_method[str(shots)]
                mean, deviation = statistics.mean(measured), statistics.stdev(measured)
                print(f"{name} | {shots} | {method} | {mean:.2f} ± {deviation:.2f}", flush=True)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
