"""What the built-in encoder and a few labelled images give on images from elsewhere.

    python benchmarks/builtin_model/run.py IMAGES --fashion-mnist DIR
    python benchmarks/builtin_model/run.py IMAGES --report

IMAGES holds pacs_mini (domains of class folders), cifar10_mini (train and test) and dtd10_mini
(class folders); DIR holds Fashion-MNIST's four files. Of PACS, three domains are for training and
the fourth is the test split, all four ways. Of DTD, 8 images per class are for training, drawn
once, the others are the test split. Runs that are finished are skipped.
"""

import argparse
import gzip
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))
from image_sets import image_sets

from pyg_graphadapter import Encoder, EncodingConfig, TrainConfig, draw_knowledge_graph
from pyg_graphadapter.demo import SEEDS, SHOTS, TEMPLATES
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import evaluation_tasks
from pyg_graphadapter.experiment.grid import grid_runs, run_all
from pyg_graphadapter.report.figures import accuracy_curve
from pyg_graphadapter.report.results import read_result, summarize

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FASHION = (
    "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
FASHION_IMAGES = {"train": 32, "test": 100}  # a class
# The paper's recipe, where it differs from the defaults:
PUBLISHED = {
    "settings": {"alpha": 0.6, "nodes": "texts", "whitening": 0.0},
    "training": {"epochs": 100, "temperature": 1.0},
}


def fashion_mnist(folder: Path) -> datasets.DatasetDict:
    """The first images of every class of either split, as they are: white on black."""
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pixels = _read(folder, f"{prefix}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
        labels = _read(folder, f"{prefix}-labels-idx1-ubyte", 8)
        count = FASHION_IMAGES[split]
        index = np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(len(FASHION))])
        features = datasets.Features(
            image=datasets.Image(), label=datasets.ClassLabel(names=list(FASHION))
        )
        images = [Image.fromarray(pixels[i]) for i in index]
        content = {"image": images, "label": labels[index].tolist()}
        splits[split] = datasets.Dataset.from_dict(content, features=features)
    return datasets.DatasetDict(splits)


def _read(folder: Path, name: str, header: int) -> np.ndarray:
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress(
        (folder / f"{name}.gz").read_bytes()
    )  # fmt: skip
    return np.frombuffer(content, dtype=np.uint8, offset=header)


def measure(data: dict[str, datasets.DatasetDict]) -> None:
    """Zero-shot, the defaults, and the published settings."""
    encoder = Encoder.from_pretrained("builtin")
    for name, images in data.items():
        source = ImageSource(images, encoder, EncodingConfig(templates=TEMPLATES))
        fewest = min(Counter(images["train"]["label"]).values())
        shots = [count for count in SHOTS if count <= fewest]
        tasks = evaluation_tasks(source, product(shots, SEEDS))
        published = TrainConfig(**PUBLISHED["training"])
        runs = {
            "default": grid_runs(["zero_shot", "graph_adapter"], shots, SEEDS, TrainConfig(), {}),
            "published": grid_runs(
                ["graph_adapter"],
                shots,
                SEEDS,
                published,
                {"graph_adapter": PUBLISHED["settings"]},
                selects=False,
            ),
        }
        for kind, each in runs.items():
            run_all(each, tasks, source.origin(), RESULTS / name / kind)
        print(*table(name), sep="\n", flush=True)


def table(name: str) -> list[str]:
    """The rows of a data set."""
    lines = []
    for kind in ("default", "published"):
        found = [read_result(path) for path in sorted((RESULTS / name / kind).glob("*.json"))]
        rows = {(row.method, row.shots): row for row in summarize(found)}
        if kind == "default":
            zero_shot = rows["zero_shot", 1].accuracy
            lines.append(f"| {name} | zero-shot | " + " | ".join([f"{zero_shot:.1f}"] * len(SHOTS)))
        cells = [rows.get(("graph_adapter", shots)) for shots in SHOTS]
        shown = (f"{row.accuracy:.1f} ± {row.deviation:.1f}" if row else "" for row in cells)
        lines.append(f"| | GraphAdapter, {kind} | " + " | ".join(shown))
    return [f"{line} |" for line in lines]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--fashion-mnist", type=Path)
    parser.add_argument("--report", action="store_true", help="print the tables alone")
    arguments = parser.parse_args()
    if arguments.report:
        print("| data | method | " + " | ".join(map(str, SHOTS)) + " |")
        print("| --- | --- |" + " ---: |" * len(SHOTS))
        for folder in sorted(RESULTS.iterdir()):
            print(*table(folder.name), sep="\n")
        drawings = [read_result(path) for path in sorted((RESULTS / "drawings/default").iterdir())]
        rows = sorted(summarize(drawings), key=lambda row: (row.method, row.shots))
        accuracy_curve(rows, HERE / "figure.png", "the built-in drawings, 15 classes")
        recorded = [each for each in drawings if "knowledge_graphs" in each]
        most_shots = max(recorded, key=lambda each: (each["shots"], -each["seed"]))
        draw_knowledge_graph(most_shots["knowledge_graphs"], path=HERE / "knowledge_graphs.png")
        return
    data = image_sets(arguments.images)
    if arguments.fashion_mnist:
        data["fashion_mnist"] = fashion_mnist(arguments.fashion_mnist)
    measure(data)


if __name__ == "__main__":
    main()
