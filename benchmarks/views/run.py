"""Measures what augmented views of the shots bring to the built-in model, by method.

python benchmarks/views/run.py [--images IMAGES] [--quick] [--tiny]

IMAGES holds cifar10_mini, dtd10_mini and pacs_mini. Without it, only the drawings that come with
the package are measured. Results of a whole run are written to the README, by `--report` alone
those that are committed. Methods are measured on training images that are not drawn; test images
are not looked at.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import parser_of, sized, write_down
from image_sets import DOMAINS, dtd
from report import put, table

from pyg_graphadapter import Encoder, EncodingConfig, FeatureFile, Features, TrainConfig
from pyg_graphadapter.data import load_images
from pyg_graphadapter.demo import TEMPLATES
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.task import FewShotTask, draw_task, not_drawn
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.fitting import fit_method

HERE = Path(__file__).parent
ADAPTED = (
    "graph_adapter", "clip_adapter", "tip_adapter", "tip_adapter_f", "task_res",
    "linear_probe", "cross_modal", "gda", "lp_pp", "clap", "proker",
)  # fmt: skip
METHODS = ("zero_shot", *ADAPTED)
VIEWS = (1, 2, 5, 10)  # the image itself, and augmented ones
SHOTS = (1, 4, 16)
SEEDS = (100, 101, 102)
TIMED_IMAGES = 64


class Draw(NamedTuple):
    """A few-shot task with all views, and the training images that it does not have."""

    shots: int
    seed: int
    task: FewShotTask
    rest: Features


def data_sets(images: Path | None) -> dict[str, datasets.Dataset]:
    """The training images that there are."""
    found = {"drawings": load_images("builtin")["train"]}
    if images is not None:
        domains = [load_images(images / "pacs_mini" / name)["train"] for name in DOMAINS]
        found |= {
            "CIFAR-10": load_images(images / "cifar10_mini")["train"],
            "DTD, 10 classes": dtd(images / "dtd10_mini")["train"],
            "PACS, 4 domains": datasets.concatenate_datasets(domains),
        }
    return found


def encoded(images: datasets.Dataset, encoder: Encoder, config: EncodingConfig) -> FeatureFile:
    """The features of training images."""
    return ImageSource(
        datasets.DatasetDict(train=images), encoder, config, progress=False
    ).features()


def draws(file: FeatureFile, shots: Sequence[int], seeds: Sequence[int]) -> Iterator[Draw]:
    """The draws of which every class has enough images."""
    fewest = int(torch.bincount(file.train.y).min())
    for count in shots:
        for seed in seeds if count <= fewest else ():
            yield Draw(count, seed, draw_task(file, count, seed), not_drawn(file, count, seed))


def accuracy(method: str, draw: Draw, views: int) -> float:
    """The accuracy of a method in percent that is fitted on the first views of the shots, with
    selection inside these."""
    support = Features(draw.task.support.x[:, :views], draw.task.support.y)
    config = TrainConfig(seed=draw.seed, device="cpu")
    fitted = fit_method(method, replace(draw.task, support=support), config, {}, progress=False)
    logits = predict_logits(fitted.adapter, draw.rest.mean_views())
    return round(100 * float((logits.argmax(dim=1) == draw.rest.y).float().mean()), 2)


def measure(
    name: str, all_draws: Iterable[Draw], methods: Sequence[str], views: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """For each number of shots, by method and number of views: the accuracies of the draws."""
    for shots, of_shots in groupby(all_draws, lambda draw: draw.shots):
        same = list(of_shots)
        yield {
            "images": name,
            "shots": shots,
            "accuracy": {
                method: {
                    str(count): [accuracy(method, draw, count) for draw in same] for count in views
                }
                for method in methods
            },
        }


def encoding_seconds(
    images: datasets.Dataset, encoder: Encoder, views: Sequence[int]
) -> dict[str, float]:
    """The processor time to encode 100 images, by the number of views."""
    images = images.select(range(min(TIMED_IMAGES, len(images))))
    times = {}
    for count in views:
        start = sum(os.times()[:4])  # of this process and its children
        encoded(images, encoder, EncodingConfig(views=count, cache=False))
        times[str(count)] = round(100 * (sum(os.times()[:4]) - start) / len(images), 1)
    return times


def gains(cases: Sequence[dict[str, Any]], methods: Sequence[str], views: int) -> list[float]:
    """For each draw, how many points these views bring, on average over methods."""
    found = []
    for case in cases:
        accuracies = [case["accuracy"][method] for method in methods]
        differences = np.array([each[str(views)] for each in accuracies]) - np.array(
            [each["1"] for each in accuracies]
        )  # [methods, draws]
        found += differences.mean(axis=0).tolist()
    return found


def cells(cases: Sequence[dict[str, Any]], methods: Sequence[str]) -> list[str]:
    """The mean gain of each number of views over draws, with its standard error."""
    values = [gains(cases, methods, views) for views in VIEWS[1:]]
    return [
        f"{statistics.mean(each):+.1f} ± {statistics.stdev(each) / len(each) ** 0.5:.1f}"
        for each in values
    ]


def report(found: dict[str, Any]) -> None:
    """Writes the tables into the README."""
    cases, seconds = found["cases"], found["encoding"]
    of_shots = {shots: [case for case in cases if case["shots"] == shots] for shots in SHOTS}
    names = [f"{views} views" for views in VIEWS[1:]]
    by_method = [
        (method, shots, f"{statistics.mean(alone):.1f}", *cells(same, [method]))
        for method, (shots, same) in product(ADAPTED, of_shots.items())
        for alone in [[x for case in same for x in case["accuracy"][method]["1"]]]
    ]
    of_all = [
        *((case["images"], case["shots"], *cells([case], ADAPTED)) for case in cases),
        *(("all", shots, *cells(same, ADAPTED)) for shots, same in of_shots.items()),
    ]
    parts = [
        table(["method", "shots", "1 view", *names], by_method),
        "The mean over methods, by images:",
        table(["images", "shots", *names], of_all),
        "Encoding:",
        table(["views", *VIEWS], [["processor time, s per 100 images", *seconds.values()]]),
    ]
    put("views", "\n\n".join(parts))


def main(arguments: argparse.Namespace) -> None:
    """Measures all data sets."""
    torch.set_num_threads(1)
    if arguments.report:
        report(json.loads((arguments.results / "cpu.json").read_text()))
        return
    encoder = Encoder.from_pretrained("builtin", device=arguments.device)
    whole, tiny = (VIEWS, SHOTS, SEEDS), (VIEWS[:2], SHOTS[:1], SEEDS[:1])
    views, shots, seeds = sized(arguments, whole, tiny, tiny)
    images = data_sets(arguments.images if views == VIEWS else None)
    config = EncodingConfig(views=max(views), templates=TEMPLATES)
    found = {
        "encoding": encoding_seconds(images["drawings"], encoder, views),
        "cases": [
            case
            for name, of_set in images.items()
            for case in measure(
                name, draws(encoded(of_set, encoder, config), shots, seeds), METHODS, views
            )
        ],
    }
    write_down(arguments, found)
    if views == VIEWS:
        report(found)


if __name__ == "__main__":
    parser = parser_of(__doc__.splitlines()[0], HERE)
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--report", action="store_true", help="write the committed results alone")
    main(parser.parse_args())
