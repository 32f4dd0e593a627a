"""Ctrl-C and SIGTERM end the command in one line; worker processes end with their parent."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator

TYPE_CHECKING = False  # this module loads little: a signal may come first
if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
HELD_BACK = (*SIGNALS, *((signal.SIGCHLD,) if hasattr(signal, "SIGCHLD") else ()))
STOPPED = "Stopped; run the command again to continue."
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>

_command: int | None = None  # the process that is the command


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end.

    Args:
        number (int): The number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def end_at_signals() -> None:
    """From now on, the first SIGINT or SIGTERM ends this process, which is the command, at once:
    its workers are killed, and it says so in one line and exits with 130 or 143.

    Nothing is unwound. Unwinding can be interrupted again, can wait for what does not come, and
    cannot pass through a library that is being imported. Every file is written under another name
    first, so whatever is finished is complete.
    """
    global _command
    _command = os.getpid()
    try:
        for number in SIGNALS:
            signal.signal(number, _end)
    except ValueError:  # not the main thread
        _command = None


def is_command() -> bool:
    """Whether this process was started as the command, and not as a program that imports the
    package."""
    if sys.argv[:1] == ["-m"]:  # `python -m NAME` is looking for its module
        return sys.orig_argv[-len(sys.argv) :][:1] == ["pyg_graphadapter"]
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing and multiprocessing.parent_process():  # a worker has its parent's arguments
        return False
    return bool(sys.argv) and sys.argv[0].endswith(f"{os.sep}graphadapter")


def _end(number: int, _: "FrameType | None" = None) -> None:
    try:
        if os.getpid() == _command:  # not a worker that has just been forked
            for each in SIGNALS:  # another one must not end the process before its line
                signal.signal(each, signal.SIG_IGN)
            _tell()
            _kill_workers()
    finally:
        os._exit(128 + number)


def _tell() -> None:
    """Writes the line; nothing waits for a reader that does not read."""
    line = f"{STOPPED}\n"
    if os.isatty(2):
        line = f"\n{line}"  # below a progress bar
    if select.select([], [2], [], 1)[1]:
        os.write(2, line.encode())


def _kill_workers() -> None:
    multiprocessing = sys.modules.get("multiprocessing")
    children = multiprocessing.active_children() if multiprocessing else []
    for child in children:
        child.kill()
    for child in children:
        child.join(1)


@contextlib.contextmanager
def raised_as_stopped() -> Iterator[list[int]]:
    """Inside, the first SIGINT or SIGTERM raises :class:`Stopped` in the main thread, unless the
    process ends at it (:func:`end_at_signals`); the handlers are restored afterwards.

    Returns:
        list of int: The signals that came.
    """
    numbers: list[int] = []

    def stop(number: int, _: "FrameType | None") -> None:
        numbers.append(number)
        if len(numbers) == 1:
            raise Stopped(number)

    import threading

    if _command is not None or threading.current_thread() is not threading.main_thread():
        yield numbers
        return
    handlers = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield numbers
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


# Workers ##############################################################################


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside, signals wait. A process that is started inside is known to its parent, and has its
    own handlers, before one arrives."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def live_with(parent: int) -> None:
    """Makes this process a worker: it ends when its parent does, leaves Ctrl-C, which a terminal
    sends to all, to the parent, and ends without a word at SIGTERM.

    Args:
        parent (int): The process that started it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    if not _dies_with_parent():
        import threading

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def _dies_with_parent() -> bool:
    """Asks Linux to kill this process when its parent ends; False elsewhere."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return int(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def _watch(parent: int) -> None:
    """Ends this process when its parent does."""
    import multiprocessing
    import time
    from multiprocessing.connection import wait

    process = multiprocessing.parent_process()
    if process is not None:
        wait([process.sentinel])
    else:
        while os.getppid() == parent:
            time.sleep(1)
    os._exit(1)
