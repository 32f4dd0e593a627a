"""How long commands take before they do any work, as processor time beside `import torch`.

    python benchmarks/startup/run.py [--before CHECKOUT]
    python benchmarks/startup/run.py --quick --json FILE

`--before` measures an older checkout of this project in turn with this one.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from common import parser_of, write_down  # noqa: E402

from pyg_graphadapter.testing import fake_features  # noqa: E402

TURNS, QUICK_TURNS = 5, 1
# Ends where the first optimizer is made, so that training costs nothing:
UNTIL_TRAINING = """
import os, runpy, sys, torch
torch.optim.AdamW = lambda *_, **__: os._exit(0)
sys.argv[0] = "graphadapter"
runpy.run_module("pyg_graphadapter", run_name="__main__")
"""
# What is measured, what it is compared with, and the goal:
GOALS = {
    "graphadapter --help": ("import torch", 0.5),
    "graphadapter report": ("import torch", 1.0),
    "import pyg_graphadapter.nn": ("import torch_geometric", 1.1),
    "graphadapter compare, until training": ("import torch_geometric", 1.5),
}


def programs(folder: Path) -> dict[str, list[str]]:
    """The arguments of Python for each program."""
    command = ["-m", "pyg_graphadapter"]
    compare = ["compare", str(folder / "f.npz"), "--methods", "graph_adapter", "--shots", "1"]
    compare += ["--seeds", "1", "--no-select", "--jobs", "1", "--out", str(folder / "never")]
    return {
        "import torch": ["-c", "import torch"],
        "import torch_geometric": ["-c", "import torch_geometric"],
        "import pyg_graphadapter.nn": ["-c", "import pyg_graphadapter.nn"],
        "graphadapter --help": [*command, "--help"],
        "graphadapter report": [*command, "report", str(folder / "r"), "--out", str(folder / "o")],
        "graphadapter compare, until training": ["-c", UNTIL_TRAINING, *compare],
    }


def processor_seconds(arguments: list[str], checkout: Path) -> float:
    """User and system time of a Python process that finds the package in a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd="/"
    )
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def measure(checkouts: dict[str, Path], turns: int) -> dict[str, dict[str, float]]:
    """The median processor seconds of each program, for each checkout."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fake_features(num_classes=10, channels=64, shots=4).save(folder / "f.npz")
        options = ["--shots", "1,2,4", "--seeds", "1,2,3", "--methods", "zero_shot,gda,lp_pp"]
        arguments = ["compare", str(folder / "f.npz"), *options, "--out", str(folder / "r")]
        processor_seconds(["-m", "pyg_graphadapter", *arguments], checkouts["now"])
        seconds: dict[str, dict[str, list[float]]] = {checkout: {} for checkout in checkouts}
        for _ in range(turns):
            for checkout, path in checkouts.items():
                for program, arguments in programs(folder).items():
                    spent = processor_seconds(arguments, path)
                    seconds[checkout].setdefault(program, []).append(spent)
    return {
        checkout: {program: statistics.median(spent) for program, spent in measured.items()}
        for checkout, measured in seconds.items()
    }


def table(measured: dict[str, dict[str, float]]) -> str:
    """A Markdown table of seconds and ratios."""
    checkouts = list(measured)
    header = ["", *(f"s, {name}" for name in checkouts), "beside", *checkouts, "goal"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for program in measured["now"]:
        reference, goal = GOALS.get(program, ("", None))
        seconds = [f"{measured[checkout][program]:.2f}" for checkout in checkouts]
        ratios = [
            f"{measured[checkout][program] / measured[checkout][reference]:.2f}" if goal else ""
            for checkout in checkouts
        ]
        lines.append([program, *seconds, reference, *ratios, f"{goal:g}" if goal else ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], HERE)
    parser.add_argument("--before", type=Path, help="an older checkout of this project")
    arguments = parser.parse_args()
    checkouts = {"before": arguments.before} if arguments.before else {}
    checkouts["now"] = HERE.parents[1]
    turns = QUICK_TURNS if arguments.quick else TURNS
    measured = measure({name: path.resolve() for name, path in checkouts.items()}, turns)
    write_down(arguments, {"turns": turns, "seconds": measured})
    text = table(measured)
    print(text)
    if not arguments.quick:
        readme = HERE / "README.md"
        block = f"<!-- results -->\n{text}\n<!-- end -->"
        content = readme.read_text(encoding="utf-8")
        readme.write_text(
            re.sub("<!-- results -->.*?<!-- end -->", lambda _: block, content, flags=re.S),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
