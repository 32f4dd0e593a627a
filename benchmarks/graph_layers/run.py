"""What does each route of ``KnowledgeConv`` cost, against the plain forms?

Command: ``python benchmarks/graph_layers/run.py --quick`` (under 50 s on two cores); without
``--quick`` the committed results are made anew where they are missing (``--again``: all of them).
Output: one line a measurement; one JSON a case; with ``--report`` the README's table, the figure.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from cases import CASES, FLOORS, Case, Graph, complete
from report import write_report
from torch import Tensor
from torch_geometric.typing import WITH_TORCH_SCATTER

sys.path.append(str(Path(__file__).parents[1]))  # behind this folder, which has a report, too
from common import processor, read_peak, reset_peak, seconds

import pyg_graphadapter
from pyg_graphadapter.nn import KnowledgeConv

HERE = Path(__file__).parent
CHANNELS = 512
EQUAL_UP_TO = 100  # classes: outputs are compared up to here
QUICK_SIZES = (10, 100)
TINY_SIZES = (10,)
QUICK_NEIGHBOUR_SIZES = (1000,)
MODES = ("forward", "frozen", "trained")

Step = Callable[[], None]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats")
    parser.add_argument(
        "--tiny", action="store_true", help="as --quick, with sizes that only show that it runs"
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tag", default=default_tag(), help="folder of the results in --out")
    parser.add_argument("--out", type=Path, help="default: results/, none with --quick")
    parser.add_argument("--json", type=Path, help="write all results to this one file as well")
    parser.add_argument("--again", action="store_true", help="measure finished cases once more")
    parser.add_argument("--report", action="store_true", help="rewrite table and figure only")
    parser.add_argument("--limit-gb", type=float, help="skip what would take more (6, quick: 1)")
    args = parser.parse_args()
    args.quick |= args.tiny
    return args


def default_tag() -> str:
    return "with_scatter" if WITH_TORCH_SCATTER else "without_scatter"


def environment(device: str) -> dict[str, Any]:
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {
        "device": device,
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "torch_scatter": WITH_TORCH_SCATTER,
        "pyg_graphadapter": pyg_graphadapter.__version__,
    }


def make_inputs(num_classes: int, device: str) -> tuple[KnowledgeConv, Tensor, Tensor]:
    """The layer, nodes and queries; all similarities are positive, as those of CLIP features."""
    torch.manual_seed(0)
    conv = KnowledgeConv(CHANNELS, CHANNELS)
    nodes, queries = (torch.randn(2, num_classes, CHANNELS) + 1.0).unbind()
    return conv.to(device), nodes.to(device), queries.to(device)


def make_step(
    case: Case, conv: KnowledgeConv, nodes: Tensor, queries: Tensor, graph: Graph, mode: str
) -> Step:
    """One forward pass, or one training step of the layer (and of the features: ``trained``)."""

    def forward() -> None:
        with torch.no_grad():
            case.apply(conv, nodes, queries, graph)

    def train() -> None:
        given = case.prepare(nodes, queries) if case.prepare and mode == "trained" else graph
        outputs = [out for out in case.apply(conv, nodes, queries, given) if out.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(out) for out in outputs])

    return forward if mode == "forward" else train


def clear_gradients(conv: KnowledgeConv, *features: Tensor) -> None:
    for x in (*conv.parameters(), *features):
        x.grad = None


def measure_mode(case: Case, num_classes: int, mode: str, device: str, budget: float) -> dict:
    """Peak memory of one step, then the times of step and floor, taken in turns."""
    conv, nodes, queries = make_inputs(num_classes, device)
    graph = case.prepare(nodes, queries) if case.prepare and mode != "trained" else ()
    for x in (nodes, queries):
        x.requires_grad_(mode == "trained")
    step = make_step(case, conv, nodes, queries, graph, mode)
    floor = make_step(FLOORS[case.floor], conv, nodes, queries, (), mode)
    warm_up(case, mode, device)

    base = reset_peak(device)
    once = seconds(step, device)
    peak = read_peak(device) - base

    times, floors = [], []
    for _ in range(num_repeats(once, budget)):
        for measured, into in ((step, times), (floor, floors)):
            clear_gradients(conv, nodes, queries)
            into.append(seconds(measured, device))
    median, floor_median = statistics.median(times), statistics.median(floors)
    return {
        "seconds": median,
        "floor_seconds": floor_median,
        "ratio": median / floor_median,
        "repeats": len(times),
        "peak_bytes": max(peak, 0),
    }


def warm_up(case: Case, mode: str, device: str) -> None:
    """One tiny step, so that libraries are loaded and threads started."""
    conv, nodes, queries = make_inputs(20, device)
    for x in (nodes, queries):
        x.requires_grad_(mode == "trained")
    graph = case.prepare(nodes, queries) if case.prepare else ()
    graph = tuple(x.detach() for x in graph)
    make_step(case, conv, nodes, queries, graph, mode)()


def num_repeats(once: float, budget: float) -> int:
    """As many as the budget of seconds holds: 5 to 200, 3 where one takes over ten seconds."""
    return 3 if once > 10 else max(5, min(200, int(budget / once)))


def measure_build(case: Case, num_classes: int, device: str) -> dict[str, float]:
    """The time to make the graph that the layer is given."""
    _, nodes, queries = make_inputs(num_classes, device)
    times = [seconds(lambda: case.prepare(nodes, queries), device)]
    while len(times) < 5 and sum(times) < 5:
        times.append(seconds(lambda: case.prepare(nodes, queries), device))
    return {"seconds": statistics.median(times), "repeats": len(times)}


def outputs_of(case: Case, num_classes: int, device: str, trained: bool) -> list[Tensor]:
    """The output and, if wanted, the gradients of all parameters and features."""
    conv, nodes, queries = make_inputs(num_classes, device)
    for x in (nodes, queries):
        x.requires_grad_(trained)
    graph = case.prepare(nodes, queries) if case.prepare else ()
    (out,) = case.apply(conv, nodes, queries, graph)
    if not trained:
        return [out]
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device)
    inputs = [*conv.parameters(), nodes, queries]
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


def compare(case: Case, num_classes: int, device: str, trained: bool) -> dict[str, float]:
    """The largest difference to the complete route: absolute, gradients over their largest."""
    ours = outputs_of(case, num_classes, device, trained)
    reference = outputs_of(Case(complete), num_classes, device, trained)
    (out, *grads), (expected, *expected_grads) = ours, reference
    pairs = zip(grads, expected_grads, strict=True)
    relative = [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]
    output = (out - expected).abs().max().item()
    return {"output": output, **({"gradients_relative": max(relative)} if relative else {})}


def measure(name: str, num_classes: int, options: dict[str, Any], pipe: Connection) -> None:
    """All measurements of one case, in a process of its own."""
    warnings.filterwarnings("ignore", message="Sparse")  # beta state, unchecked invariants
    case, device = CASES[name], options["device"]
    result: dict[str, Any] = {"case": name, "num_classes": num_classes, "channels": CHANNELS}
    for mode in case.modes:
        estimate = case.memory(num_classes, CHANNELS, mode)
        if estimate > 1e9 * options["limit_gb"]:
            reason = f"would take about {estimate / 1e9:.0f} GB, over {options['limit_gb']:g} GB"
            result[mode] = {"skipped": reason, "estimated_bytes": round(estimate)}
        else:
            result[mode] = measure_mode(case, num_classes, mode, device, options["budget"])
    fits = [mode for mode in case.modes if "skipped" not in result[mode]]
    if case.prepare and fits:
        result["build"] = measure_build(case, num_classes, device)
    if num_classes <= EQUAL_UP_TO and name != "bare_products" and fits:
        result["difference"] = compare(case, num_classes, device, "trained" in fits)
    pipe.send(result | {"environment": environment(device)})


def in_own_process(name: str, num_classes: int, options: dict[str, Any]) -> dict[str, Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch_geometric.nn", "pyg_graphadapter.nn"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(name, num_classes, options, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{name} at C = {num_classes} ended with {process.exitcode}.") from None
    finally:
        process.join()


def plan(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    few = TINY_SIZES if args.tiny else QUICK_SIZES
    for name in args.cases:
        for num_classes in CASES[name].sizes:
            knn = name.startswith("knn_")
            if not args.quick or num_classes in (QUICK_NEIGHBOUR_SIZES if knn else few):
                yield name, num_classes


def line(result: dict[str, Any]) -> str:
    """One case in words."""
    parts = [f"{result['case']:<16} C = {result['num_classes']:>5}"]
    for mode in MODES:
        at = result.get(mode, {})
        if "skipped" in at:
            parts.append(f"{mode} skipped ({at['skipped']})")
        elif at:
            memory = at["peak_bytes"] / 1e6
            parts.append(
                f"{mode} {1e3 * at['seconds']:.2f} ms ({at['ratio']:.2f}x, {memory:.0f} MB)"
            )
    return "  ".join(parts)


def run(args: argparse.Namespace, out: Path) -> list[dict[str, Any]]:
    limit, budget = (1.0, 0.0 if args.tiny else 0.1) if args.quick else (6.0, 1.0)
    options = {"device": args.device, "limit_gb": args.limit_gb or limit, "budget": budget}
    results = []
    for name, num_classes in plan(args):
        path = out / f"{name}_C{num_classes}.json"
        if path.exists() and not args.again:
            result = json.loads(path.read_text())
        else:
            result = in_own_process(name, num_classes, options)
            path.write_text(json.dumps(result, indent=2) + "\n")
        print(line(result), flush=True)
        results.append(result)
    return results


def main() -> None:
    args = parse_args()
    root = args.out or HERE / "results"
    if args.report and not args.again:
        write_report(root, HERE)
        return
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device here.")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) if args.quick and args.out is None else root
        folder = root / (args.tag if args.device == "cpu" else f"{args.tag}_{args.device}")
        folder.mkdir(parents=True, exist_ok=True)
        results = run(args, folder)
        if args.json:
            args.json.write_text(json.dumps(results, indent=2) + "\n")
        if args.report:
            write_report(root, HERE)


if __name__ == "__main__":
    main()
