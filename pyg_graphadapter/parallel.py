"""Independent pieces of work side by side, on as many CPU cores as there are."""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

_shared: Any = None  # what every piece of work needs, in a worker


def num_workers(pieces: int) -> int:
    """How many processes to use for so many pieces of work: one a core, at most one a piece."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(pieces, cores or 1))


def map_parallel(
    work: Callable[[Any, Any], Any], pieces: Sequence[Any], shared: Any, workers: int
) -> Iterator[tuple[int, Any]]:
    """Does ``work(shared, piece)`` for every piece; index and result, as they end.

    Each worker computes with one thread, so that the cores are not used twice over. With one
    worker, all happens in this process.

    Args:
        work (callable): A function of a module.
        pieces (sequence): What to do.
        shared (any): What every piece needs; workers that are forked do not copy it.
        workers (int): The number of processes.
    """
    if workers == 1:
        for i, piece in enumerate(pieces):
            yield i, work(shared, piece)
        return
    # As the DataLoader of PyTorch has it: forking is quick, and safe on one thread without CUDA.
    forks = sys.platform == "linux" and not torch.cuda.is_available()
    context = multiprocessing.get_context("fork" if forks else "spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(shared,)
    ) as pool:
        futures = {pool.submit(_in_worker, work, piece): i for i, piece in enumerate(pieces)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def map_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Does ``work(item)`` for every item, in threads that compute on one core each, and gives the
    results in the order of the items, which are taken as results are.

    Sums are rounded differently when they are cut for several cores; so computed, results do not
    depend on how many there are.

    Args:
        work (callable): What to do; it must let other threads run, as tensor operations do.
        items (iterable): What to do it to.
        threads (int): The number of threads.
    """
    before = torch.get_num_threads()
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            torch.set_num_threads(before)  # of threads to come; the others have their own


def _start_worker(shared: Any) -> None:
    global _shared
    _shared = shared
    torch.set_num_threads(1)
    threadpool_limits(1)


def _in_worker(work: Callable[[Any, Any], Any], piece: Any) -> Any:
    return work(_shared, piece)
