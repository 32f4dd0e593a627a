"""Killed workers, other executors, and workers whose parent ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import TrainConfig, register_adapter
from pyg_graphadapter.adapters import ZeroShot, registry
from pyg_graphadapter.cli import app
from pyg_graphadapter.encoding import image_batches
from pyg_graphadapter.encoding.sources import FileSource, evaluation_tasks
from pyg_graphadapter.experiment import grid
from pyg_graphadapter.experiment.grid import grid_runs, run_all
from pyg_graphadapter.task import Origin
from pyg_graphadapter.testing import fake_features
from tests.faults.processes import alive_in_group, start

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
ORIGIN = Origin("fakes", "a model")
SEEDS = (1, 2, 3, 4)


class KillsItsWorker(ZeroShot):
    """Kills the process that it is in, as a system without memory does; notes each attempt."""

    tries = None  # a folder
    times = 99

    @classmethod
    def from_task(cls, task, **settings):
        if os.environ["PYG_TEST_PARENT"] != str(os.getpid()):
            attempt = len(list(Path(os.environ["PYG_TEST_TRIES"]).iterdir()))
            if attempt < int(os.environ["PYG_TEST_TIMES"]):
                (Path(os.environ["PYG_TEST_TRIES"]) / str(time.monotonic_ns())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().from_task(task, **settings)


@pytest.fixture
def killer(tmp_path, monkeypatch):
    """A method that kills its worker a number of times; returns the folder of its attempts."""
    monkeypatch.setattr(registry, "_registered", {})
    register_adapter("killer", KillsItsWorker)
    tries = tmp_path / "tries"
    tries.mkdir()
    monkeypatch.setenv("PYG_TEST_PARENT", str(os.getpid()))
    monkeypatch.setenv("PYG_TEST_TRIES", str(tries))
    monkeypatch.setenv("PYG_TEST_TIMES", "99")
    return tries


@pytest.fixture
def tasks():
    file = fake_features(num_classes=4, channels=8, shots=2)
    return evaluation_tasks(FileSource(file, "fakes"), product((1,), SEEDS))


def runs_of(*methods, seeds=SEEDS):
    return grid_runs(methods, [1], seeds, TrainConfig(epochs=2), {}, selects=False)


def without_times(results):
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in results]


def one_killer():
    return [*runs_of("zero_shot"), *runs_of("killer", seeds=[2]), *runs_of("task_res")]


def test_a_killed_worker_costs_its_own_run_only(tasks, killer, tmp_path, monkeypatch):
    out = tmp_path / "out"
    results = run_all(one_killer(), tasks, ORIGIN, out, workers=2)
    [failed] = [result for result in results if "error" in result]
    assert failed["method"] == "killer"
    assert failed["error"].startswith("its worker was killed (signal 9); often the memory")
    assert "use --jobs 1" in failed["error"]
    assert len(list(killer.iterdir())) == 2  # once again, no more
    assert not multiprocessing.active_children()
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setenv("PYG_TEST_TIMES", "0")
    assert not [r for r in run_all(one_killer(), tasks, ORIGIN, out, workers=2) if "error" in r]
    again = [path.name for path in out.iterdir() if path.stat().st_mtime_ns != before[path]]
    assert len(again) == 1
    assert again[0].startswith("killer-")


def test_a_worker_that_is_killed_once_costs_nothing(tasks, killer, tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_TEST_TIMES", "1")
    results = run_all(one_killer(), tasks, ORIGIN, tmp_path / "out", workers=2)
    assert not [result for result in results if "error" in result]
    assert len(list(killer.iterdir())) == 1


def test_the_command_says_which_run_failed(killer, tmp_path):
    fake_features(num_classes=4, channels=8, shots=2).save(tmp_path / "f.npz")
    command = ["compare", tmp_path / "f.npz", "--methods", "killer,zero_shot", "--shots", 1]
    command += ["--seeds", "1,2", "--jobs", 2, "--no-select", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, command)])
    assert result.exit_code == 1
    assert result.stderr.count("Failed: f.npz, killer, 1 shots, seed") == 2
    assert "Traceback" not in result.output
    assert len([p for p in (tmp_path / "out").iterdir() if p.name.startswith("zero_shot")]) == 2


# Executors ############################################################################


class AtOnce(Executor):
    """Does every piece when it is submitted, from bytes, as another machine would; loses some."""

    def __init__(self, lost=(), takes=99):
        self.lost, self.takes, self.sizes = lost, takes, []

    def submit(self, fn, /, *args, **kwargs):
        from multiprocessing.reduction import ForkingPickler

        if len(self.sizes) == self.takes:
            raise RuntimeError("cannot schedule new futures after shutdown")
        content = bytes(ForkingPickler.dumps((fn, args)))
        self.sizes.append(len(content))
        future = Future()
        if len(self.sizes) in self.lost:
            future.set_exception(ConnectionError("the machine is gone"))
        else:
            fn, args = ForkingPickler.loads(content)
            future.set_result(fn(*args))
        return future


def spawning(workers):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.slow
@pytest.mark.parametrize("make", [AtOnce, lambda: ThreadPoolExecutor(2), lambda: spawning(1)])
def test_any_executor_finds_the_same(make, tasks, tmp_path):
    runs = runs_of("graph_adapter", "clip_adapter", "zero_shot")
    expected = run_all(runs, tasks, ORIGIN, tmp_path / "here", workers=2)
    with make() as executor:
        found = run_all(runs, tasks, ORIGIN, tmp_path / "there", executor=executor)
    assert without_times(found) == without_times(expected)
    names = [sorted(p.name for p in (tmp_path / f).iterdir()) for f in ("here", "there")]
    assert names[0] == names[1]


def test_each_piece_is_sent_its_own_draw_alone(tmp_path):
    file = fake_features(num_classes=10, channels=64, shots=32)
    runs = runs_of("zero_shot")
    few = evaluation_tasks(FileSource(file, "fakes"), product((1,), SEEDS))
    many = few | evaluation_tasks(FileSource(file, "fakes"), product((1, 32), range(1, 9)))
    sizes = []
    for number, tasks in enumerate((few, many)):
        executor = AtOnce()
        run_all(runs, tasks, ORIGIN, tmp_path / str(number), executor=executor)
        sizes.append(executor.sizes)
    assert sizes[0] == sizes[1]
    assert max(sizes[0]) < 4 * (file.test.x.nbytes + file.text.nbytes)


@pytest.mark.slow
@pytest.mark.parametrize("executor", [AtOnce(lost=(1, 3)), AtOnce(takes=2)])
def test_what_an_executor_loses_is_done_here(executor, tasks, tmp_path):
    results = run_all(runs_of("zero_shot"), tasks, ORIGIN, tmp_path / "out", executor=executor)
    assert [result["seed"] for result in results] == list(SEEDS)
    assert not [result for result in results if "error" in result]


@pytest.mark.slow
def test_a_broken_pool_of_python_costs_one_run(tasks, killer, tmp_path):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
        results = run_all(one_killer(), tasks, ORIGIN, tmp_path / "out", executor=executor)
    assert [r["method"] for r in results if "error" in r] == ["killer"]
    assert len(list(killer.iterdir())) == 2


@pytest.mark.slow
def test_a_method_of_others_is_known_in_spawned_workers(tasks, killer, tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_TEST_TIMES", "0")
    with spawning(1) as executor:
        [result] = run_all(
            runs_of("killer", seeds=[1]), tasks, ORIGIN, tmp_path / "out", executor=executor
        )
    assert result["accuracy"] >= 0


@pytest.mark.slow
def test_prompts_are_learned_in_spawned_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    from pyg_graphadapter.encoding.sources import open_source

    source = open_source("builtin", "builtin")
    tasks = evaluation_tasks(source, [(1, 1)])
    runs = grid_runs(["coop"], [1], [1], TrainConfig(epochs=1), {}, selects=False)
    with spawning(1) as executor:
        [there] = run_all(runs, tasks, ORIGIN, tmp_path / "there", executor=executor)
    [here] = run_all(runs, tasks, ORIGIN, tmp_path / "here", workers=1)
    assert there["accuracy"] == pytest.approx(here["accuracy"], abs=2)


@pytest.mark.slow
def test_each_result_is_written_when_it_is_there(tasks, tmp_path, monkeypatch):
    counts, write = [], grid.write_atomic

    def counting(path, content):
        counts.append(os.getpid())
        write(path, content)

    monkeypatch.setattr(grid, "write_atomic", counting)
    run_all(runs_of("zero_shot"), tasks, ORIGIN, tmp_path / "out", workers=2)
    assert counts == [os.getpid()] * len(SEEDS)  # one process writes


# The end of the parent ################################################################


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(number, tmp_path):
    process = start(tmp_path, "--epochs", 1_000_000, "--jobs", 2)
    end = time.monotonic() + 60
    while len(alive_in_group(process.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=20)
    end = time.monotonic() + 5
    while alive_in_group(process.pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive_in_group(process.pid)


WATCHED = """
import multiprocessing, os, time
from pyg_graphadapter import interrupts
interrupts._dies_with_parent = lambda: False
def work(parent):
    interrupts.live_with(parent)
    print(os.getpid(), flush=True)
    time.sleep(1000)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    context.Process(target=work, args=(os.getpid(),)).start()
    time.sleep(1000)
"""


@linux
def test_workers_watch_their_parent_where_there_is_no_death_signal():
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        process.kill()
        process.wait()
        end = time.monotonic() + 5
        while alive_in_group(process.pid) and time.monotonic() < end:
            time.sleep(0.02)
        assert not alive_in_group(process.pid)


# Decoding #############################################################################


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    for name, colour in product("ab", range(3)):
        path = tmp_path / "images" / name / f"{colour}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (80 * colour, 10, ord(name))).save(path)
    return tmp_path / "images"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("times", [1, 99])
def test_workers_that_decode_are_replaced_once(images, tmp_path, monkeypatch, times):
    parent, original, tries = os.getpid(), image_batches.decode_image, tmp_path / "tries"
    tries.mkdir()

    def die(image):
        if os.getpid() != parent and len(list(tries.iterdir())) < times:
            (tries / str(time.monotonic_ns())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(image)

    monkeypatch.setattr(image_batches, "decode_image", die)
    command = ["encode", images, "--model", "builtin", "--workers", 1, "--no-cache"]
    result = CliRunner().invoke(app, [*map(str, command), "--out", str(tmp_path / "f.npz")])
    assert "Traceback" not in result.output
    assert len(list(tries.iterdir())) == min(times, 2), result.output
    assert not multiprocessing.active_children()
    if times == 1:
        assert result.exit_code == 0, result.output
        assert (tmp_path / "f.npz").exists()
    else:
        assert result.exit_code == 1
        assert "Error: A process that decodes images was killed (signal 9)" in result.stderr
        assert "--workers 1, or 0 for none" in result.stderr
