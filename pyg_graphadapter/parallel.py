"""Independent pieces of work side by side, on all CPU cores or wherever an executor does them."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pyg_graphadapter.interrupts import held_back, live_with

P = TypeVar("P")
T = TypeVar("T")
R = TypeVar("R")

ADVICE = "use --jobs 1, or fewer images or classes"
ATTEMPTS = 2  # of a piece whose worker is killed
END = ()  # tells a worker to end; a closed pipe does not, while other workers have inherited it

logger = logging.getLogger(__name__)


class WorkerKilledError(OSError):
    """A worker process ended in the middle of its work; the message has the reason."""


def num_workers(pieces: int) -> int:
    """The number of processes for pieces of work: one per core, at most one per piece."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(pieces, cores or 1))


def map_parallel(
    work: Callable[[P], R],
    pieces: Sequence[P],
    workers: int,
    executor: Executor | None = None,
) -> Iterator[tuple[int, R | WorkerKilledError]]:
    """Computes ``work(piece)`` for every piece, and yields index and result in the order in which
    they finish. What ``work`` raises is raised here.

    A piece whose worker is killed is done again once, in a fresh worker. If that is killed as well,
    its result is a :class:`WorkerKilledError`. The other pieces are not touched.

    Each local worker computes with one thread, so that workers do not compete for cores. One local
    worker is this process itself.

    Args:
        work (callable): A function of a module.
        pieces (sequence): The pieces of work; they must be picklable where processes are not
            forked.
        workers (int): The number of local processes.
        executor (concurrent.futures.Executor, optional): Does the pieces instead of local
            processes. A piece that it does not bring back is done by a local process. It is not
            shut down. (default: :obj:`None`)
    """
    if executor is not None:
        yield from _map_executor(work, pieces, executor)
    elif workers == 1:
        for i, piece in enumerate(pieces):
            yield i, work(piece)
    else:
        yield from _map_processes(work, dict(enumerate(pieces)), workers, ATTEMPTS)


def _map_executor(
    work: Callable[[P], R], pieces: Sequence[P], executor: Executor
) -> Iterator[tuple[int, R | WorkerKilledError]]:
    """Has the pieces done by an executor. It may break as a whole, as Python's pool of processes
    does when one of them is killed: whatever does not come back is done here, one after the other,
    in a worker of its own."""
    futures: dict[Future[R], int] = {}
    lost = dict(enumerate(pieces))
    try:
        try:
            for i, piece in enumerate(pieces):
                futures[executor.submit(work, piece)] = i
        except Exception as error:  # of any executor
            logger.warning("The executor takes no more work (%s).", _in_one_line(error))
        for future in as_completed(futures):
            i = futures[future]
            try:
                result = future.result()
            except Exception as error:
                logger.debug("The executor did not bring back piece %d.", i, exc_info=error)
                continue
            del lost[i]
            yield i, result
    finally:
        for future in futures:
            future.cancel()
    if lost:
        logger.warning("%d of %d pieces are done again by local processes.", len(lost), len(pieces))
        for i, piece in lost.items():
            yield from _map_processes(work, {i: piece}, 1, ATTEMPTS - 1)


def _map_processes(
    work: Callable[[P], R], pieces: dict[int, P], workers: int, attempts: int
) -> Iterator[tuple[int, R | WorkerKilledError]]:
    """Has the pieces done by local processes. This thread alone speaks to them, each through a pipe
    of its own: there is no lock that a killed worker could hold, and its piece is known."""
    pending, tried = deque(pieces), dict.fromkeys(pieces, 0)
    pool: list[_Worker[P, R]] = []
    try:
        while pending or any(worker.piece is not None for worker in pool):
            pool = [worker for worker in pool if worker.is_alive]
            while len(pool) < workers and sum(w.piece is None for w in pool) < len(pending):
                if not _add_worker(pool, work, pieces):
                    break
            for worker in pool:
                if worker.piece is None and pending:
                    worker.send(pending.popleft())
            busy = {worker.connection: worker for worker in pool if worker.piece is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                i, outcome = worker.receive()
                if isinstance(outcome, WorkerKilledError):
                    tried[i] += 1
                    if tried[i] < attempts:
                        pending.append(i)
                        continue
                elif isinstance(outcome, BaseException):
                    raise outcome
                yield i, outcome
    finally:
        for worker in pool:
            worker.end()


def _add_worker(pool: "list[_Worker[P, R]]", work: Callable[[P], R], pieces: dict[int, P]) -> bool:
    """Adds a worker; False if the system has no room for one more."""
    try:
        with held_back():
            pool.append(_Worker(work, pieces))
    except OSError as error:
        if not pool:
            raise OSError(f"No worker process can be started ({error}): use --jobs 1.") from error
        return False
    return True


class _Worker(Generic[P, R]):
    """A local process that does pieces of work, one after the other.

    Args:
        work (callable): The work.
        pieces (dict): All pieces. A forked process has them; to another they are sent.
    """

    def __init__(self, work: Callable[[P], R], pieces: dict[int, P]) -> None:
        # As in PyTorch's DataLoader: forking is quick, and safe on one thread without CUDA.
        forks = sys.platform == "linux" and not torch.cuda.is_available()
        context = multiprocessing.get_context("fork" if forks else "spawn")
        self.connection, its_end = context.Pipe()
        self.pieces, self.forks = pieces, forks
        self.piece: int | None = None  # which it is doing
        self.is_alive = True
        arguments = (its_end, work, pieces if forks else None, os.getpid())
        self.process: BaseProcess = context.Process(target=_serve, args=arguments)  # type: ignore[attr-defined]
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            its_end.close()

    def send(self, i: int) -> None:
        """Gives it a piece."""
        self.piece = i
        # If it was killed, the answer is the end of the pipe:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((i if self.forks else self.pieces[i],))

    def receive(self) -> tuple[int, R | BaseException]:
        """The piece that it was given, and the result, or why there is none."""
        i, self.piece = self.piece, None
        assert i is not None
        try:
            is_result, outcome = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.is_alive = False
            self.end()
            return i, WorkerKilledError(
                f"its worker {reason_of_end(self.process.exitcode, ADVICE)}"
            )
        if is_result or isinstance(outcome, BaseException):
            return i, outcome
        return i, RuntimeError(outcome)

    def end(self) -> None:
        """Ends it, in the middle of its work if it has some."""
        if self.piece is not None:
            self.process.kill()
        with contextlib.suppress(OSError):  # it has ended already
            self.connection.send(END)
        self.connection.close()
        self.process.join(5)
        self.process.kill()
        self.process.join()


def output_of_workers(loader: "DataLoader[T]") -> Iterator[T]:
    """What the worker processes of a loader bring.

    Args:
        loader (torch.utils.data.DataLoader): A loader with workers.

    Raises:
        WorkerKilledError: If one of them ends early. The others are ended.
    """
    others = set(multiprocessing.active_children())
    # PyTorch's handler raises in the middle of anything that this thread does, as in the release of
    # a lock. Without it, the loader itself looks after its workers, every five seconds:
    with _no_word_of_children() as silence:
        with held_back():
            iterator = iter(loader)
            workers = set(multiprocessing.active_children()) - others
            silence()
        yield from _batches(iterator, workers)


def _batches(iterator: Any, workers: set[BaseProcess]) -> Iterator[Any]:
    try:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                wait([worker.sentinel for worker in workers], 1)  # the pipe breaks a little earlier
                ended = [worker for worker in workers if not worker.is_alive()]
                if not ended:
                    raise
                advice = "use --workers 1, or 0 for none"
                reason = reason_of_end(ended[0].exitcode, advice)
                raise WorkerKilledError(f"A process that decodes images {reason}.") from error
            yield batch
    except WorkerKilledError:
        for worker in workers:
            worker.kill()
        iterator._shutdown_workers()  # or PyTorch tells of these again when others end
        raise


@contextlib.contextmanager
def _no_word_of_children() -> Iterator[Callable[[], None]]:
    """Inside, no handler is called when a child ends; the function that is returned sees to it once
    more, after a handler may have been installed. That handler is there afterwards."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield lambda: None
        return
    handlers = [signal.signal(signal.SIGCHLD, signal.SIG_DFL)]

    def silence() -> None:
        installed = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if installed is not signal.SIG_DFL:
            handlers.append(installed)

    try:
        yield silence
    finally:
        signal.signal(signal.SIGCHLD, handlers[-1])


def reason_of_end(exit_code: int | None, advice: str) -> str:
    """Why a worker ended, in words.

    Args:
        exit_code (int): Its exit code; negative, the signal.
        advice (str): What to do where the memory may not suffice.

    Example:
        >>> print(reason_of_end(-11, "use --jobs 1"))
        was killed (signal 11)
    """
    if exit_code is None or exit_code >= 0:
        return f"ended by itself (exit code {exit_code})"
    text = f"was killed (signal {-exit_code})"
    is_memory = -exit_code == signal.SIGKILL
    return f"{text}; often the memory did not suffice: {advice}" if is_memory else text


def _serve(
    connection: "Connection[Any, Any]",
    work: Callable[[Any], Any],
    pieces: dict[int, Any] | None,
    parent: int,
) -> None:
    """What a worker does: it answers every piece until it is told to end."""
    start_worker(parent)
    threadpool_limits(1)
    while True:
        try:
            message = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        if message == END:
            return
        [piece] = message
        answer: tuple[bool, Any]
        try:
            answer = True, work(piece if pieces is None else pieces[piece])
        except BaseException as error:
            answer = False, error
        try:
            connection.send(answer)
        except BrokenPipeError:
            return
        except Exception as error:  # cannot be pickled
            connection.send((False, f"{_in_one_line(answer[1])} ({_in_one_line(error)})"))


def start_worker(parent: int) -> None:
    """Makes this process a worker of one thread (:func:`~pyg_graphadapter.interrupts.live_with`).

    Args:
        parent (int): The process that started it.
    """
    live_with(parent)
    torch.set_num_threads(1)
    # Its usual lock is shared with the parent, which would wait for it for ever if this process
    # were killed while it holds it:
    tqdm.set_lock(threading.RLock())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, this process computes with one thread, as a worker does."""
    num_threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(num_threads)


def _in_one_line(error: object) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# What is sent to another process ######################################################


class _ByValue(ForkingPickler):
    """Sends tensors by value. PyTorch's own way sends a handle of shared memory, which is closed
    when its owner ends; a view would bring the whole tensor that it is a part of."""


def _tensor_by_value(x: Tensor) -> Any:
    is_part = x.layout == torch.strided and x.untyped_storage().nbytes() > x.nbytes
    return (x.detach().clone() if is_part else x).__reduce_ex__(2)  # type: ignore[no-untyped-call]


_ByValue._extra_reducers = {Tensor: _tensor_by_value}  # type: ignore[attr-defined]


def to_bytes(value: Any) -> bytes:
    """A value as bytes for another process of the same program, with all its tensors."""
    return bytes(_ByValue.dumps(value))


def from_bytes(content: bytes) -> Any:
    """The value that :func:`to_bytes` was given."""
    return _ByValue.loads(content)


# Threads ##############################################################################


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
