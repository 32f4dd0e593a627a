"""How do knowledge graphs grow, to 20,000 classes complete and to 100,000 by nearest neighbours?

    python benchmarks/graph_scale/run.py
    python benchmarks/graph_scale/run.py --quick --json FILE
    python benchmarks/graph_scale/run.py --features FEATURES.npz

complete: what every class collects from the complete graph, in blocks. neighbours: the graph of the
16 nearest neighbours, exact, and the layer over it, forward and backward. Each size is measured in
a process of its own, so that the memory is its own. With FEATURES.npz (labelled ImageNet features),
instead: the accuracy of GraphAdapter with the k nearest neighbours of every class, nothing
selected.
"""

import argparse
import statistics
import sys
import warnings
from pathlib import Path

import torch
from torch_geometric.utils import to_torch_csr_tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import FIXED, exponent, in_a_process, parser_of, seconds, sized, write_down

from pyg_graphadapter import EvaluationTask, FeatureFile, GraphAdapter, evaluate, train
from pyg_graphadapter.graph import knowledge_graph
from pyg_graphadapter.nn import KnowledgeConv
from pyg_graphadapter.training.config import TrainConfig

warnings.filterwarnings("ignore", message="Sparse")  # is in beta state, says PyTorch

WIDTH = 512
NEIGHBOURS = 16
COMPLETE = (1000, 2000, 5000, 10_000, 20_000)
NEAREST = (1000, 10_000, 30_000, 100_000)
QUICK_COMPLETE, QUICK_NEAREST = (1000, 2000, 4000), (1000, 5000, 10_000)
TINY = (1000, 2000)
KEPT = (1, 4, 16, 64, 256, None)
SHOTS, SEEDS = 4, (1, 2, 3)


def _features(num_classes: int, device: str) -> torch.Tensor:
    """All similarities are positive, as those of CLIP features."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(num_classes, WIDTH, generator=generator) + 1.0).to(device)


def _median(call, device: str, repeats: int) -> float:
    return statistics.median(seconds(call, device) for _ in range(repeats))


def _complete(num_classes: int, device: str, repeats: int) -> dict:
    x = _features(num_classes, device)
    conv = KnowledgeConv(WIDTH, WIDTH).to(device)
    nodes = _features(num_classes, device).flip(0)
    return {"seconds": _median(lambda: conv.collect_knowledge((nodes, x)), device, repeats)}


def _nearest(num_classes: int, device: str, repeats: int) -> dict:
    x = _features(num_classes, device)
    conv = KnowledgeConv(WIDTH, WIDTH).to(device)
    kept = []

    def build() -> None:
        kept.clear()
        kept.append(knowledge_graph(x, k=NEIGHBOURS))

    built = _median(build, device, repeats)
    [graph] = kept
    adj_t = to_torch_csr_tensor(
        graph.edge_index.flip(0), graph.edge_weight, (num_classes, num_classes)
    )

    def layer() -> None:
        conv(x, adj_t).sum().backward()

    layer()
    return {
        "seconds": built,
        "edges": graph.num_edges,
        "layer_seconds": _median(layer, device, repeats),
    }


def growth(work, sizes: tuple[int, ...], device: str, repeats: int) -> dict:
    """Time and memory at every size, and the exponents of their growth."""
    rows = []
    for num_classes in sizes:
        rows.append({"classes": num_classes, **in_a_process(work, num_classes, device, repeats)})
        print(rows[-1], flush=True)
    memory = [row["peak_mb" if device == "cpu" else "gpu_mb"] for row in rows]
    return {
        "rows": rows,
        "exponent_of_time": exponent(sizes, [row["seconds"] for row in rows]),
        "exponent_of_memory": exponent(sizes, memory),
    }


def accuracy(features: Path, device: str) -> list[dict]:
    """What sparse graphs cost in accuracy, on real features."""
    data = FeatureFile.load(features)
    rows = []
    for k in KEPT:
        found = []
        for seed in SEEDS:
            evaluation = EvaluationTask.from_file(data, SHOTS, seed)
            adapter = GraphAdapter.from_task(evaluation.task, k=k, **FIXED)
            config = TrainConfig(seed=seed, device=device)
            train(adapter, evaluation.task, config, progress=False)
            found.append(evaluate(adapter, evaluation).accuracy)
        rows.append(
            {
                "k": k or "all",
                "accuracy": round(statistics.fmean(found), 2),
                "deviation": round(statistics.stdev(found), 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Reads the command line."""
    parser = parser_of(__doc__.splitlines()[0], Path(__file__).parent)
    parser.add_argument("--features", type=Path, help="measure accuracy on these, instead")
    arguments: argparse.Namespace = parser.parse_args()
    if arguments.features is not None:
        rows = accuracy(arguments.features, arguments.device)
        write_down(arguments, {"shots": SHOTS, "seeds": SEEDS, "rows": rows}, "accuracy")
        return
    device = arguments.device
    repeats = sized(arguments, 5, 3, 1)
    complete = sized(arguments, COMPLETE, QUICK_COMPLETE, TINY)
    nearest = sized(arguments, NEAREST, QUICK_NEAREST, TINY)
    write_down(
        arguments,
        {
            "complete": growth(_complete, complete, device, repeats),
            "neighbours": growth(_nearest, nearest, device, repeats),
        },
    )


if __name__ == "__main__":
    main()
