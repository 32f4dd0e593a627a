"""What the benchmarks share: how they are asked, how they measure, what they write down."""

import argparse
import ctypes
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyg_graphadapter.storage import versions

Call = Callable[[], Any]
# GraphAdapter without what follows from the shots (pyg_graphadapter.adapters.graph_defaults):
FIXED: dict[str, Any] = {"alpha": 0.9, "nodes": "texts", "whitening": 0.0}


def parser_of(description: str, folder: Path) -> argparse.ArgumentParser:
    """The options that all have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="fewer repeats and sizes, under 50 s on two cores"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="as --quick, with sizes that only show that it runs"
    )
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.set_defaults(results=folder / "results")
    return parser


def sized(arguments: argparse.Namespace, whole: Any, quick: Any, tiny: Any) -> Any:
    """The one of three values that the options ask for."""
    return tiny if arguments.tiny else quick if arguments.quick else whole


def write_down(
    arguments: argparse.Namespace, found: dict[str, Any], name: str | None = None
) -> None:
    """Prints results with the hardware and the versions, and keeps those of a whole run."""
    found = {"environment": environment(arguments.device), **found}
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if arguments.json is not None:
        kept = json.loads(arguments.json.read_text()) if name and arguments.json.exists() else {}
        whole = {**kept, name: found} if name else found
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")
    if not (arguments.quick or arguments.tiny):
        arguments.results.mkdir(exist_ok=True)
        (arguments.results / f"{name or arguments.device}.json").write_text(text)


def processor() -> str:
    """The model of the CPU, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def environment(device: str) -> dict[str, Any]:
    """The hardware and the versions."""
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **gpu,
        **versions(),
    }


def seconds(call: Call, device: str = "cpu", times: int = 1) -> float:
    """How long a call takes, the mean over ``times``."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def side_by_side(
    first: Call, second: Call, device: str, repeats: int, times: int = 10
) -> dict[str, float]:
    """Both in turn: the median of each in milliseconds, and of their ratio in a turn."""
    seconds(first, device, times), seconds(second, device, times)
    turns = [
        (seconds(first, device, times), seconds(second, device, times)) for _ in range(repeats)
    ]
    return {
        "first_ms": round(1e3 * statistics.median(a for a, _ in turns), 3),
        "second_ms": round(1e3 * statistics.median(b for _, b in turns), 3),
        "ratio": round(statistics.median(b / a for a, b in turns), 3),
        "ratio_low": round(min(b / a for a, b in turns), 3),
        "ratio_high": round(max(b / a for a, b in turns), 3),
    }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of a straight line through the logarithms."""
    return round(float(np.polyfit(np.log(sizes), np.log(costs), 1)[0]), 3)


def in_a_process(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What ``work`` returns in a process of its own, and the memory that it took there, in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_memory, (work, *arguments))


def _with_memory(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    before = reset_peak("cpu")
    found = work(*arguments)
    if torch.cuda.is_initialized():
        found["gpu_mb"] = round(read_peak("cuda") / 2**20, 1)
    return {**found, "peak_mb": round((read_peak("cpu") - before) / 2**20, 1)}


def reset_peak(device: str) -> int:
    """Forgets the peak (where Linux lets us) and returns the bytes in use."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)  # what was freed goes back, or the next step would reuse it unseen
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def read_peak(device: str) -> int:
    """The largest number of bytes since then."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # the other figure begins with the peak of the process's parent
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
