"""Draws of the global generator that threads cannot mix up."""

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

_lock = threading.RLock()  # the global generator is one for all threads


def _renew() -> None:
    """A forked process has none of the threads that could hold the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@contextlib.contextmanager
def own_draws(seed: int | None = None) -> Iterator[None]:
    """Inside, the CPU's global generator is this thread's alone, among those that ask for it here,
    with a seed if one is given; afterwards it is as it was.

    Args:
        seed (int, optional): The seed. (default: :obj:`None`)
    """
    with _lock, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs, too
        yield
