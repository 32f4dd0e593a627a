"""Adapters that are made in threads start as those that are made alone."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pyg_graphadapter.adapters import CLIPAdapter, GraphAdapter
from pyg_graphadapter.adapters.seeding import own_draws
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_features


def states_of(make, workers, times=60):
    with ThreadPoolExecutor(workers) as executor:
        adapters = list(executor.map(lambda _: make(), range(times)))
    return [torch.cat([p.flatten() for p in adapter.parameters()]) for adapter in adapters]


@pytest.mark.parametrize("method", [CLIPAdapter, GraphAdapter])
def test_threads_do_not_mix_up_draws(method):
    file = fake_features(num_classes=4, channels=256)
    task = draw_task(file, shots=1, seed=1)
    settings = {"conv": "GCNConv"} if method is GraphAdapter else {}
    before = torch.random.get_rng_state()
    [alone] = states_of(lambda: method.from_task(task, **settings), 1, times=1)
    for state in states_of(lambda: method.from_task(task, **settings), 8):
        assert torch.equal(state, alone)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_does_not_wait_for_a_thread_that_it_does_not_have():
    is_held, may_end = threading.Event(), threading.Event()

    def hold():
        with own_draws():
            is_held.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    child = os.fork()
    if not child:
        with own_draws(seed=0):
            os._exit(7)
    may_end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
