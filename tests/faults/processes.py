"""Starts the command in a process group of its own, and looks what is alive in it."""

import subprocess
import sys
from pathlib import Path

from pyg_graphadapter.testing import fake_features


def start(folder, *options, program=None, first=()):
    """Starts a comparison of features in a folder, with results in its folder ``out``: by the
    command, or by a program that is given further arguments first."""
    if not (folder / "f.npz").exists():
        fake_features(num_classes=5, channels=16, shots=4).save(folder / "f.npz")
    arguments = [
        "compare", folder / "f.npz", "--methods", "graph_adapter", "--shots", 1,
        "--seeds", "1,2,3,4", "--no-select", "--out", folder / "out", *options,
    ]  # fmt: skip
    how = ["-m", "pyg_graphadapter"] if program is None else ["-c", program, *first]
    return subprocess.Popen(
        [sys.executable, *how, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alive_in_group(group):
    """The processes of a process group, without those that have ended."""
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, its_group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            except OSError:
                continue
            if int(its_group) == group and state != "Z":
                pids.append(int(folder.name))
    return pids
