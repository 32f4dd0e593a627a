import os
import signal
import subprocess
import sys

import pytest
import torch

from pyg_graphadapter.parallel import map_parallel, num_workers


def add_and_tell(shared, piece):
    if piece is None:
        raise ValueError("a bad piece")
    x = torch.ones(64, 64) @ torch.full((64, 64), float(piece))
    return shared + float(x[0, 0]) / 64, os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_piece_is_done_once(workers):
    threads = torch.get_num_threads()
    results = dict(map_parallel(add_and_tell, [1, 2, 3], 10, workers))
    assert [results[i][0] for i in range(3)] == [11, 12, 13]
    assert (os.getpid() in {pid for _, pid, _ in results.values()}) == (workers == 1)
    assert {number for _, _, number in results.values()} == {threads if workers == 1 else 1}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_here(workers):
    with pytest.raises(ValueError, match="a bad piece"):
        list(map_parallel(add_and_tell, [1, None], 0, workers))


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_an_interrupt_ends_the_workers(send):
    program = """
import os, time
from pyg_graphadapter.parallel import map_parallel
def work(_, piece):
    if piece:
        time.sleep(piece)
    return os.getpid()
for _ in map_parallel(work, [0, *[1000] * 6], None, 2):
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
