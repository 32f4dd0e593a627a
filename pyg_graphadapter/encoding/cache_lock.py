"""The lock of a cache folder between processes, which says who holds it and for how long."""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import filelock

from pyg_graphadapter.encoding.cache_files import LOCK, OWNER
from pyg_graphadapter.storage import FileKind, Length, Within, read

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
FIRST_WORD = (
    5.0  # seconds of waiting, after which it is told; each further time after twice as long
)
MAX_SILENCE = 300.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Owner:
    process: Annotated[int, Within(1)]
    host: Annotated[str, Length(0, 255)]
    since: Annotated[float, Within(0, 1e11)]  # seconds since 1970


OWNER_FILE: FileKind[_Owner] = FileKind(
    "owner of a lock", _Owner, "Nothing needs it", max_bytes=10_000
)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Locks a folder between processes. Whoever waits is told who holds the lock; that of a process
    that has ended is free. On a file system without locks, some images may be encoded twice.

    Raises:
        OSError: If there is another reason why it cannot be held.
    """
    lock = filelock.FileLock(folder / LOCK)
    is_held = False
    try:
        _acquire(lock, folder)
        is_held = True
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
        logger.info("%s cannot be locked (%s).", folder, error)
    try:
        if is_held:
            _write_owner(folder)
        yield
    finally:
        try:
            if is_held:
                _remove_owner(folder)
        finally:
            lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: Path) -> None:
    begin = time.monotonic()
    next_word = FIRST_WORD
    while True:
        try:
            lock.acquire(timeout=max(0.0, next_word - (time.monotonic() - begin)))
            return
        except filelock.Timeout:
            waited = time.monotonic() - begin
            logger.warning(
                "Waiting for %s, which holds the lock %s: %.0f s so far.",
                _owner(folder), folder / LOCK, waited,
            )  # fmt: skip
            next_word = waited + min(max(waited, FIRST_WORD), MAX_SILENCE)


def _write_owner(folder: Path) -> None:
    """Says who holds the lock, in a file beside it: on some systems nobody else can read a locked
    file. Only whoever holds the lock writes it."""
    owner = {"process": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    path = folder / OWNER
    try:
        _remove_owner(folder)  # that of a killed process, or a link
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(owner))
    except OSError as error:  # a full disk, as an example: the lock holds all the same
        logger.debug("%s", error)


def _remove_owner(folder: Path) -> None:
    with suppress(OSError):
        (folder / OWNER).unlink()


def _owner(folder: Path) -> str:
    """Who holds the lock, in words."""
    try:
        owner = read(folder / OWNER, OWNER_FILE)
    except (OSError, ValueError):
        return "another process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner.since))
    host = "".join(c if c.isprintable() else "?" for c in owner.host)
    return f"process {owner.process} on {host} (since {since})"
