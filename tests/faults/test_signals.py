"""Ctrl-C and SIGTERM, one to three times, at any moment: one line, 130 or 143, and no worker left.

All moments with all signals take a quarter of an hour: set ``PYG_GRAPHADAPTER_FAULTS=1``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import product

import pytest
from typer.testing import CliRunner

from pyg_graphadapter import interrupts
from pyg_graphadapter.cli import LazyGroup, app
from pyg_graphadapter.interrupts import STOPPED, Stopped
from tests.faults.processes import alive_in_group, start

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.timeout(180),
]
# A program that is the command, and sends itself signals when a function is called:
HOOKED = """
import os, signal, sys, threading
from pyg_graphadapter.__main__ import main
moment, number, times, to_group = sys.argv.pop(1).split(":")
def fire(*_):
    for _ in range(int(times)):
        (os.killpg if to_group == "1" else os.kill)(os.getpid(), int(number))
def before(owner, name):
    original = getattr(owner, name)
    def hooked(*args, **kwargs):
        if threading.current_thread() is threading.main_thread() and os.getpid() == parent:
            setattr(owner, name, original)
            fire()
        return original(*args, **kwargs)
    setattr(owner, name, hooked)
parent = os.getpid()
if moment == "import torch":
    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name == "torch.nn":
                fire()
    sys.meta_path.insert(0, Finder)
elif moment == "pool":
    import multiprocessing.process
    before(multiprocessing.process.BaseProcess, "start")
elif moment == "started":
    import multiprocessing.connection, pyg_graphadapter.parallel as parallel
    before(parallel, "wait")
elif moment == "write":
    import pyg_graphadapter.experiment.grid
    before(os, "fsync")
elif moment == "rename":
    import pathlib
    before(pathlib.Path, "replace")
elif moment == "shutdown":
    import pyg_graphadapter.parallel as parallel
    before(parallel._Worker, "end")
elif moment == "exit":
    import atexit
    atexit.register(fire)
elif moment == "delete":
    class Trash:
        def __del__(self):
            fire()
    import pyg_graphadapter.experiment.run as run
    original = run.evaluate
    def hooked(*args):
        Trash()
        return original(*args)
    run.evaluate = hooked
main()
"""
MOMENTS = ("import torch", "pool", "started", "write", "rename", "shutdown", "exit")
DELAYS = (0.1, 0.3, 1.0, 3.0)  # seconds, from the moment that the package is being loaded
IS_FULL = bool(os.environ.get("PYG_GRAPHADAPTER_FAULTS"))
SIGNALS = tuple(product((signal.SIGINT, signal.SIGTERM), (1, 2, 3), (False, True)))


def hooked(folder, moment, number, times, to_group, jobs):
    first = (f"{moment}:{int(number)}:{times}:{int(to_group)}",)
    process = start(folder, "--epochs", 3, "--jobs", jobs, program=HOOKED, first=first)
    check(process, number)


def check(process, number):
    """One line, the exit code of the signal, and no process left."""
    try:
        _, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    end = time.monotonic() + 3
    while alive_in_group(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    left = alive_in_group(process.pid)
    if left:
        os.killpg(process.pid, signal.SIGKILL)
    assert not left
    assert process.returncode == 128 + number, stderr
    assert stderr == f"{STOPPED}\n"


def whole_results(folder):
    out = folder / "out"
    found = sorted(out.glob("*.json")) if out.is_dir() else []
    assert all(json.loads(path.read_text())["accuracy"] >= 0 for path in found)
    return {path: path.stat().st_mtime_ns for path in found}


def goes_on(folder):
    """What is finished is whole and stays; a second run does the others, and leaves no other
    file."""
    before = whole_results(folder)
    process = start(folder, "--epochs", 3, "--jobs", 1)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    after = whole_results(folder)
    assert len(after) == 4
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("moment", "number", "times", "to_group", "jobs"),
    [
        ("import torch", signal.SIGINT, 2, False, 1),
        ("started", signal.SIGTERM, 3, True, 2),
        ("write", signal.SIGINT, 1, True, 2),
        ("exit", signal.SIGTERM, 1, False, 1),
    ],
)
def test_a_signal_ends_the_command_in_one_line(moment, number, times, to_group, jobs, tmp_path):
    hooked(tmp_path, moment, number, times, to_group, jobs)
    whole_results(tmp_path)


@pytest.mark.skipif(not IS_FULL, reason="set PYG_GRAPHADAPTER_FAULTS=1")
@pytest.mark.parametrize(("number", "times", "to_group"), SIGNALS)
@pytest.mark.parametrize("moment", [*MOMENTS, "delete"])
def test_all_signals_at_all_moments(moment, number, times, to_group, tmp_path):
    jobs = 1 if moment == "delete" else 2
    hooked(tmp_path, moment, number, times, to_group, jobs)
    if times == 2:
        goes_on(tmp_path)


@pytest.mark.skipif(not IS_FULL, reason="set PYG_GRAPHADAPTER_FAULTS=1")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("number", "times", "to_group"), SIGNALS)
@pytest.mark.parametrize("delay", DELAYS)
def test_all_signals_at_any_time(delay, number, times, to_group, jobs, tmp_path):
    program = (
        "import pyg_graphadapter.__main__ as m\nm.end_at_signals()\nprint(flush=True)\nm.main()"
    )
    process = start(tmp_path, "--epochs", 10**6, "--jobs", jobs, program=program)
    process.stdout.readline()
    time.sleep(delay)
    for _ in range(times):
        if process.poll() is None:
            (os.killpg if to_group else os.kill)(process.pid, number)
    check(process, number)


@pytest.mark.skipif(not IS_FULL, reason="set PYG_GRAPHADAPTER_FAULTS=1")
@pytest.mark.parametrize("jobs", [1, 2])
def test_both_signals_at_random_times_between_results(jobs, tmp_path):
    for turn in range(12):
        process = start(tmp_path, "--epochs", 300 + turn, "--jobs", jobs)
        time.sleep(1.5 + 0.3 * turn)
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode in (0, 130, 143)
        assert process.returncode == 0 or stderr == f"{STOPPED}\n"
        assert not alive_in_group(process.pid)
        whole_results(tmp_path)


# In a program that is not the command #################################################


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handlers_of_a_program_are_restored(number, monkeypatch):
    def send(*_, **__):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    assert interrupts._command is None  # or the signal would end this process
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(LazyGroup, "resolve_command", send)
    result = CliRunner().invoke(app, ["methods"])
    assert result.exit_code == 128 + number
    assert result.stderr == f"{STOPPED}\n"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_interrupt_has_an_exit_code():
    assert Stopped().exit_code == 130
    assert Stopped(signal.SIGTERM).exit_code == 143


def test_the_package_as_a_library_leaves_signals_alone():
    program = (
        "import signal, pyg_graphadapter, pyg_graphadapter.parallel, pyg_graphadapter.cli\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
