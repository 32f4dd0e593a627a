"""What does each convolution give in the adapter's place, and at what cost? What does no graph?

    python benchmarks/graph_layers/convolutions.py FOLDER            # measure what is missing
    python benchmarks/graph_layers/convolutions.py FOLDER --report   # the table in the README

``FOLDER`` has imagenet_fewshot.npz, flowers102_images.npz and ucf101_images.npz. Each row is
measured on three draws (most rows of ImageNet on one): by validation (trained on all but one image
per class of the training split, measured on the others), and on the test split (trained on the
whole training split). Sets without texts take class means in their place. Finished rows are
skipped. ``--quick`` takes one draw of the two small sets, and keeps nothing.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import SETS, mean_of, write_report
from torch_geometric import nn as pyg

sys.path.append(str(Path(__file__).parents[1]))
from common import FIXED, environment, side_by_side

from pyg_graphadapter import (
    Features,
    FewShotTask,
    GraphAdapter,
    KnowledgeConv,
    TrainConfig,
    ZeroShot,
    class_prototypes,
    evaluate,
    train,
)
from pyg_graphadapter.nn import CONVS
from pyg_graphadapter.nn.sub_graph_conv import SubGraphConv

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "convolutions"
SEEDS = (1, 2, 3)
NEIGHBOURS = 8
BATCH = 256
# Fewer, larger steps for 1000 classes, since a convolution costs the same in each:
BATCH_OF = {"imagenet_fewshot": 1024}


class KnowledgeNet(pyg.models.basic_gnn.BasicGNN):
    """Several layers of KnowledgeConv over one graph."""

    supports_edge_weight = True
    supports_edge_attr = False

    def init_conv(self, in_channels: int, out_channels: int, **kwargs: Any) -> KnowledgeConv:
        return KnowledgeConv(in_channels, out_channels, **kwargs)


def deep(
    model: Callable[..., torch.nn.Module], depth: int
) -> Callable[[int, int], torch.nn.Module]:
    """A factory of a network of several layers, as wide as the features."""

    def make(in_channels: int, out_channels: int) -> torch.nn.Module:
        network = model(in_channels, in_channels, num_layers=depth, out_channels=out_channels)
        network.takes_sparse = True
        return network

    return make


# The rows of the table: settings of GraphAdapter by label.
ROWS: dict[str, dict[str, Any]] = {
    "zero-shot": {},
    "KnowledgeConv, all classes": {},
    f"KnowledgeConv, k = {NEIGHBOURS}": {"k": NEIGHBOURS},
    "no graph": {"conv": "NoGraph"},
    **{
        f"{name}, k = {NEIGHBOURS}": {"conv": name, "k": NEIGHBOURS}
        for name in CONVS
        if name != "NoGraph"
    },
    **{
        f"{model.__name__} of {depth} layers, k = {NEIGHBOURS}": {
            "conv": deep(model, depth),
            "k": NEIGHBOURS,
        }
        for model in (KnowledgeNet, pyg.GCN, pyg.GraphSAGE)
        for depth in (2, 3)
    },
}

MAIN_ROWS = (*list(ROWS)[:4], f"GCNConv, k = {NEIGHBOURS}", f"SAGEConv, k = {NEIGHBOURS}")


def load(path: Path) -> dict[str, Any]:
    """Both splits, texts or None, and the factor of the cosine."""
    arrays = np.load(path, allow_pickle=False)
    splits = {
        split: Features(
            torch.from_numpy(arrays[f"{split}_features"]).float(),
            torch.from_numpy(arrays[f"{split}_labels"].astype(np.int64)),
        )
        for split in ("train", "test")
    }
    text = torch.from_numpy(arrays["text_features"]).float() if "text_features" in arrays else None
    return {**splits, "text": text}


def task_of(data: dict[str, Any], support: Features) -> FewShotTask:
    text = data["text"]
    text = class_prototypes(support.mean_views(), support.y) if text is None else text
    return FewShotTask(tuple(map(str, range(len(text)))), text, support)


def accuracy(task: FewShotTask, measured: Features, row: str, seed: int, batch_size: int) -> float:
    if row == "zero-shot":
        return evaluate(ZeroShot.from_task(task), measured).accuracy
    adapter = GraphAdapter.from_task(task, **{**FIXED, **ROWS[row]})
    train(adapter, task, TrainConfig(seed=seed, batch_size=batch_size), progress=False)
    return evaluate(adapter, measured).accuracy


def draws(data: dict[str, Any], seeds: tuple[int, ...]) -> Iterator[tuple[int, Features, Features]]:
    """For each seed, the training images that are trained on and those that are held out."""
    train_split: Features = data["train"]
    shots = int(torch.bincount(train_split.y).min()) - 1
    for seed in seeds:
        index = train_split.draw(shots, seed)
        is_held_out = torch.ones(len(train_split), dtype=torch.bool)
        is_held_out[index] = False
        held_out = train_split.select(is_held_out.nonzero().flatten())
        yield seed, train_split.select(index), held_out


def seeds_of(name: str, row: str) -> tuple[int, ...]:
    """Three draws; one on ImageNet for most convolutions, which take minutes per draw there."""
    return SEEDS if name != SETS[0] or row in MAIN_ROWS else SEEDS[:1]


def sub_graph_conv(row: str) -> SubGraphConv:
    return SubGraphConv(4, 4, ROWS[row]["conv"])


def step_cost(task: FewShotTask, row: str) -> dict[str, float]:
    """A training step of the row and of the default, in turns: milliseconds and ratio."""
    x, y = task.support.mean_views()[:BATCH], task.support.y[:BATCH]
    default = GraphAdapter.from_task(task, **FIXED)
    adapter = GraphAdapter.from_task(task, **{**FIXED, **ROWS[row]})
    return side_by_side(
        lambda: default.backward(x, y), lambda: adapter.backward(x, y), "cpu", repeats=5, times=2
    )


def measure(
    data: dict[str, Any], row: str, seeds: tuple[int, ...], batch_size: int
) -> dict[str, Any]:
    validation = [
        accuracy(task_of(data, support), held_out, row, seed, batch_size)
        for seed, support, held_out in draws(data, seeds)
    ]
    task = task_of(data, data["train"])
    test = [accuracy(task, data["test"], row, seed, batch_size) for seed in seeds]
    content: dict[str, Any] = {"row": row, "weights": takes_weights(row)}
    content |= {"validation": validation, "test": test, "parameters": 0}
    if row != "zero-shot":
        adapter = GraphAdapter.from_task(task, **{**FIXED, **ROWS[row]})
        content["parameters"] = adapter.num_parameters()
        content["step"] = step_cost(task, row)
    return content | {"environment": environment("cpu")}


def file_of(name: str, row: str) -> Path:
    return RESULTS / name / f"{row.replace(' = ', '').replace(', ', '-').replace(' ', '_')}.json"


def takes_weights(row: str) -> str:
    """Whether the row's convolution is given the weights of the edges."""
    settings = ROWS[row]
    if row == "zero-shot" or settings.get("conv") == "NoGraph":
        return ""
    if "conv" not in settings:
        return "yes"
    return "yes" if sub_graph_conv(row).takes_weights else "no"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the feature files")
    parser.add_argument("--quick", action="store_true", help="one draw of the small sets")
    parser.add_argument("--report", action="store_true", help="rewrite the table only")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    args = parser.parse_args()
    if args.report:
        write_report(HERE / "results", HERE)
        return
    for name in SETS[1:] if args.quick else (*SETS[1:], SETS[0]):
        data = load(args.folder / f"{name}.npz")
        for row in args.rows:
            path = file_of(name, row)
            if path.exists() and not args.quick:
                continue
            seeds = SEEDS[:1] if args.quick else seeds_of(name, row)
            content = measure(data, row, seeds, BATCH_OF.get(name, BATCH))
            print(f"{name:18} {row:32} validation {mean_of(content['validation']):14} "
                  f"test {mean_of(content['test'])}", flush=True)  # fmt: skip
            if not args.quick:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
