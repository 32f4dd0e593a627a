"""All methods on real ImageNet features, and on real images under the built-in encoder.

    python benchmarks/methods/run.py FEATURES.npz IMAGES   # compare; finished runs are skipped
    python benchmarks/methods/run.py --report              # the tables and the figures alone

FEATURES.npz holds features of ImageNet, four training images per class; IMAGES what
benchmarks/builtin_model/run.py takes. The first step is timed: all methods but CoOp, which needs
images, on 1000 classes at four shots.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pyg_graphadapter.adapters import ADAPTERS
from pyg_graphadapter.report.page import FIGURE, write_report
from pyg_graphadapter.report.tables import Table
from pyg_graphadapter.storage import versions

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FIGURES = ("imagenet", "images", "domains")
IMAGENET = ("imagenet", "imagenet_base_to_new")
# Of which results, which tables:
SHOWN = {
    "imagenet": ("imagenet_fewshot.npz", "graph_adapter against"),
    "imagenet_base_to_new": ("imagenet_fewshot.npz, base to new, 4 shots",),
    "images": ("Average over 3 data sets", "All at 16 shots", "graph_adapter against"),
    "domains": ("All at 16 shots", "Average over 4 data sets", "graph_adapter against"),
}


def run(*command: str | Path) -> float:
    """Runs a command of the library, and says how many seconds it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True)
    return time.perf_counter() - start


def compare(features: Path, images: Path) -> None:
    """All comparisons, the first of them timed."""
    program = ("-m", "pyg_graphadapter", "compare", features)
    methods = ("--methods", ",".join(name for name in ADAPTERS if name != "coop"))
    some, base_to_new = (RESULTS / name for name in IMAGENET)
    timed = HERE / "time.json"
    if not timed.exists():
        seconds = run(*program, *methods, "--shots", "4", "--seeds", "1", "--out", some)
        found = {"seconds": round(seconds), "versions": versions(),
                 "machine": f"{os.cpu_count()} cores, {platform.machine()}"}  # fmt: skip
        timed.write_text(json.dumps(found, indent=2) + "\n")
    run(*program, *methods, "--shots", "1,2,4", "--out", some)
    run(*program, *methods, "--shots", "4", "--base-to-new", "--out", base_to_new)
    run(HERE.parent / "builtin_model/run.py", images, "--methods", "all", "--out", RESULTS)


def report() -> None:
    """Writes the tables into the README, and the figures."""
    readme = HERE / "README.md"
    text = readme.read_text()
    for name, titles in SHOWN.items():
        with tempfile.TemporaryDirectory() as folder:
            tables = write_report(RESULTS / name, Path(folder))
            if name in FIGURES:
                shutil.copy(Path(folder) / FIGURE, HERE / f"{name}.png")
        block = f"<!-- {name} -->\n{_shown(tables, titles)}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.S)
    readme.write_text(text)


def _shown(tables: Iterable[Table], titles: tuple[str, ...]) -> str:
    found = {table.title: table for table in tables}
    return "\n\n".join(f"**{title}**\n\n{found[title].markdown()}" for title in titles)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--report", action="store_true", help="write the tables alone")
    arguments = parser.parse_args()
    if not arguments.report:
        if arguments.images is None:
            parser.error("FEATURES.npz and IMAGES are needed, or --report")
        compare(arguments.features, arguments.images)
    report()


if __name__ == "__main__":
    main()
