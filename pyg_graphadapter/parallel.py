"""Independent pieces of work side by side, on all CPU cores."""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

_shared: Any = None  # in a worker, the data that every piece needs


def num_workers(pieces: int) -> int:
    """The number of processes for pieces of work: one per core, at most one per piece."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(pieces, cores or 1))


def map_parallel(
    work: Callable[[Any, Any], Any], pieces: Sequence[Any], shared: Any, workers: int
) -> Iterator[tuple[int, Any]]:
    """Computes ``work(shared, piece)`` for every piece, and yields index and result in the order in
    which they finish. Ctrl-C ends the workers.

    Each worker computes with one thread, so that workers do not compete for cores. One worker is
    this process itself.

    Args:
        work (callable): A function of a module.
        pieces (sequence): The pieces of work.
        shared (any): Data that every piece needs; forked workers do not copy it.
        workers (int): The number of processes.
    """
    if workers == 1:
        for i, piece in enumerate(pieces):
            yield i, work(shared, piece)
        return
    # As in PyTorch's DataLoader: forking is quick, and safe on one thread without CUDA.
    forks = sys.platform == "linux" and not torch.cuda.is_available()
    context = multiprocessing.get_context("fork" if forks else "spawn")
    other_children = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(shared,)
    ) as pool:
        futures = {pool.submit(_in_worker, work, piece): i for i, piece in enumerate(pieces)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except KeyboardInterrupt:
            for worker in set(multiprocessing.active_children()) - other_children:
                worker.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def map_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Computes ``work(item)`` for every item, in threads of one core each, and yields the results
    in the order of the items, which are read as results are consumed.

    Results do not depend on the number of cores: no sum is split over several cores, which would
    round it differently.

    Args:
        work (callable): The function; it must let other threads run, as tensor operations do.
        items (iterable): Its arguments.
        threads (int): The number of threads.
    """
    num_threads = torch.get_num_threads()
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
            torch.set_num_threads(num_threads)  # for new threads


def _start_worker(shared: Any) -> None:
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once, without a traceback
    torch.set_num_threads(1)
    threadpool_limits(1)


def _in_worker(work: Callable[[Any, Any], Any], piece: Any) -> Any:
    return work(_shared, piece)
