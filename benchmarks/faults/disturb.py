"""Commands in forked processes, killed or hindered at a chosen call that changes files."""

import builtins
import contextlib
import errno
import faulthandler
import io
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tqdm

from pyg_graphadapter import __main__

# Each call of `os` that changes files or makes changes last; pathlib and shutil call these:
CALLS = (
    "replace",
    "rename",
    "link",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "fsync",
    "chmod",
    "utime",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LONGEST = 60.0  # seconds, after which a command counts as one that hangs
# The lock of tqdm is a semaphore that forked processes share: one that is killed would keep it.
tqdm.tqdm.set_lock(threading.RLock())
tqdm.tqdm.monitor_interval = 0  # a process that forks has no other threads
Act = Callable[[str, int], None]  # at the point of that name and number
Prepare = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or a negative signal, and what it printed."""

    code: int
    printed: str

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def is_answered(self) -> bool:
        """Whether it did its work, or said in a sentence why not."""
        is_told = self.code == 1 and ("Error: " in self.printed or "Failed: " in self.printed)
        return (self.code == 0 or is_told) and "Traceback" not in self.printed


class Running:
    """A command of `graphadapter` in a process of its own, forked from this one, which has imported
    everything. It is a group of processes, so that its workers can be ended with it."""

    def __init__(
        self,
        words: Sequence[Any],
        log: Path,
        prepare: Prepare | None = None,
        gate: int | None = None,
    ) -> None:
        self.log = log
        self.log.touch()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_command([str(word) for word in words], log, prepare, gate)

    def kill(self) -> None:
        """Kills the process, as the kernel does for lack of memory."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        """Waits for its end, and ends what it has left running."""
        begin = time.monotonic()
        pause = 0.001
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > LONGEST:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return Ended(124, f"It hangs. {self._printed()}")
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return Ended(os.waitstatus_to_exitcode(status), self._printed())

    def _printed(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        self.log.unlink()
        return text


def run(words: Sequence[Any], log: Path, prepare: Prepare | None = None) -> Ended:
    """A command, from its start to its end."""
    return Running(words, log, prepare).end()


def race(
    commands: Sequence[Sequence[Any]], log: Path, prepare: Prepare | None = None
) -> list[Ended]:
    """Several commands that begin at the same moment."""
    gate, key = os.pipe()
    logs = [log.with_suffix(f".{i}") for i in range(len(commands))]
    started = [
        Running(words, path, prepare, gate) for words, path in zip(commands, logs, strict=True)
    ]
    os.write(key, b"!" * len(commands))
    ends = [each.end() for each in started]
    os.close(gate)
    os.close(key)
    return ends


def _be_the_command(words: list[str], log: Path, prepare: Prepare | None, gate: int | None) -> None:
    """What the forked process does; it never returns."""
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        random.seed()  # or all forks would choose the same random names
        faulthandler.dump_traceback_later(LONGEST - 5)
        if gate is not None:
            os.read(gate, 1)
        if prepare is not None:
            prepare()
        sys.argv = ["graphadapter", *words]
        __main__.main()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, end.code.encode())
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


# Points ###############################################################################


def at_every_point(folder: Path, act: Act) -> Prepare:
    """Calls ``act`` before and after each call that changes files in a folder, and in the middle of
    each write."""
    count = 0

    def point(name: str) -> None:
        nonlocal count
        number, count = count, count + 1
        act(name, number)

    def is_inside(target: Any) -> bool:
        if isinstance(target, int):
            try:
                target = Path(f"/proc/self/fd/{target}").readlink()
            except OSError:
                return False
        try:
            return str(os.fspath(target)).startswith(str(folder))
        except TypeError:
            return False

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(target: Any, *arguments: Any, **options: Any) -> Any:
            # What shutil.rmtree removes is named below a folder that is open:
            if not is_inside(target if options.get("dir_fd") is None else options["dir_fd"]):
                return call(target, *arguments, **options)
            point(f"before {name}")
            result = call(target, *arguments, **options)
            point(f"after {name}")
            return result

        return run

    def watched_open(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(target: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not (set(mode) & set("wax+") and is_inside(target)):
                return call(target, mode, *arguments, **options)
            if not isinstance(target, int):
                point("before open")
            return _Watched(call(target, mode, *arguments, **options), point)

        return run

    def watched_descriptor(call: Callable[..., int]) -> Callable[..., int]:
        def run(target: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if not (flags & WRITING and is_inside(target)):
                return call(target, flags, *arguments, **options)
            point("before open")
            descriptor = call(target, flags, *arguments, **options)
            point("after open")
            return descriptor

        return run

    def install() -> None:
        for name in CALLS:
            setattr(os, name, watched(name, getattr(os, name)))
        os.open = watched_descriptor(os.open)  # type: ignore[assignment]
        io.open = builtins.open = watched_open(io.open)  # type: ignore[assignment]

    return install


class _Watched:
    """A file that is open for writing, whose writes are in two halves."""

    def __init__(self, file: Any, point: Callable[[str], None]) -> None:
        self._file, self._point = file, point

    def write(self, content: Any) -> int:
        self._point("before write")
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._point("half write")
        self._file.write(content[half:])
        self._file.flush()
        self._point("after write")
        return len(content)

    def __enter__(self) -> "_Watched":
        self._file.__enter__()
        return self

    def __exit__(self, *reason: Any) -> Any:
        return self._file.__exit__(*reason)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


# Acts #################################################################################


def die_at(chosen: int) -> Act:
    """SIGKILL at a point."""

    def act(_: str, number: int) -> None:
        if number == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    return act


def fail_from(chosen: int, code: int, names: Sequence[str]) -> Act:
    """From a point on, each call of these names fails with an error of the operating system."""

    def act(name: str, number: int) -> None:
        moment, call = name.split()
        if number >= chosen and moment != "after" and call in names:
            raise OSError(code, os.strerror(code))

    return act


def fail_at(chosen: int, code: int, names: Sequence[str]) -> Act:
    """The call at a point fails, and later ones do not."""

    def act(name: str, number: int) -> None:
        if number == chosen:
            fail_from(chosen, code, names)(name, number)

    return act


def count_points(folder: Path, log: Path, words: Sequence[Any]) -> list[str]:
    """The names of all points that a command passes."""
    names = log.with_suffix(".points")
    descriptor = os.open(names, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def act(name: str, _: int) -> None:
        os.write(descriptor, f"{name}\n".encode())

    ended = run(words, log, at_every_point(folder, act))
    os.close(descriptor)
    passed = names.read_text().splitlines()
    names.unlink()
    if ended.code != 0:
        raise SystemExit(f"{words[0]} ended with {ended.code}: {ended.printed}")
    return passed


def slowed(folder: Path, seconds: float) -> Prepare:
    """A pause at every point, so that others act in between."""
    return at_every_point(folder, lambda *_: time.sleep(seconds))


def with_small_files(size: int) -> Prepare:
    """No file may be larger: writing fails in its middle, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def with_clock(seconds: float) -> Prepare:
    """A clock that is wrong by so many seconds."""
    real = time.time

    def prepare() -> None:
        time.time = lambda: real() + seconds

    return prepare


def with_process_id(number: int) -> Prepare:
    """The process id that every process of a container may have."""

    def prepare() -> None:
        os.getpid = lambda: number

    return prepare


FULL = (errno.ENOSPC, ("open", "write", "mkdir", "link", "fsync"))
FORBIDDEN = (
    errno.EACCES,
    ("open", "replace", "rename", "link", "unlink", "mkdir", "rmdir", "utime"),
)
