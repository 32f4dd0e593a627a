import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from pyg_graphadapter.parallel import from_bytes, map_parallel, num_workers, to_bytes


def add_and_tell(piece):
    if piece is None:
        raise ValueError("a bad piece")
    x = torch.ones(64, 64) @ torch.full((64, 64), float(piece))
    return 10 + float(x[0, 0]) / 64, os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_piece_is_done_once(workers):
    threads = torch.get_num_threads()
    results = dict(map_parallel(add_and_tell, [1, 2, 3], workers))
    assert [results[i][0] for i in range(3)] == [11, 12, 13]
    assert (os.getpid() in {pid for _, pid, _ in results.values()}) == (workers == 1)
    assert {number for _, _, number in results.values()} == {threads if workers == 1 else 1}
    assert torch.get_num_threads() == threads
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("cuda", [False, True])
def test_workers_end_by_themselves(monkeypatch, cuda):
    """They need not be killed after a wait: each is told to end, whether forked or spawned."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    results = map_parallel(abs, [-1, -2, -3, -4], 2)
    next(results)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    assert len(list(results)) == 3
    assert [worker.exitcode for worker in workers] == [0, 0]


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_here(workers):
    with pytest.raises(ValueError, match="a bad piece"):
        list(map_parallel(add_and_tell, [1, None], workers))


def test_a_result_that_cannot_be_sent_is_an_error():
    with pytest.raises(RuntimeError, match="function"):
        list(map_parallel(_a_function, [1, 2], 2))


def _a_function(piece):
    return lambda: piece


def test_bytes_hold_only_what_a_view_shows():
    whole = torch.arange(100_000.0)
    content = to_bytes({"part": whole[5:8], "twice": [whole[5:8], torch.ones(2).bfloat16()]})
    assert len(content) < 5000
    value = from_bytes(content)
    assert value["part"].tolist() == [5, 6, 7]
    assert value["twice"][1].dtype == torch.bfloat16


def test_spawned_workers_do_the_same(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    results = dict(map_parallel(abs, [torch.tensor(-1), torch.tensor(-2)], 2))
    assert [int(results[i]) for i in range(2)] == [1, 2]


def test_a_worker_less_is_no_error(monkeypatch):
    start, started = multiprocessing.context.ForkProcess.start, []

    def start_one(self):
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", start_one)
    assert len(dict(map_parallel(add_and_tell, [1, 2, 3], 2))) == 3
    with pytest.raises(OSError, match=r"No worker process can be started .*: use --jobs 1"):
        list(map_parallel(add_and_tell, [1, 2, 3], 2))


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_an_interrupt_ends_the_workers(send):
    program = """
import os, time
from pyg_graphadapter.parallel import map_parallel
def work(piece):
    if piece:
        time.sleep(piece)
    return os.getpid()
for _ in map_parallel(work, [0, *[1000] * 6], 2):
    print("ready", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        send(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == 1, stderr  # that of the process itself


def test_number_of_workers():
    assert num_workers(0) == num_workers(1) == 1
    assert 1 <= num_workers(1000) <= (os.cpu_count() or 1)
