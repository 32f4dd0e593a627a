"""A cache of features on disk, under everything that they depend on."""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pyg_graphadapter.storage import sha256, write_atomic

SCHEMA = 2
MANIFEST = "manifest.json"
SHARDS = "shards.jsonl"  # one line per shard: name, number of images, bytes
SHARD_SUFFIX = ".safetensors"
CORRUPT_SUFFIX = f"{SHARD_SUFFIX}.corrupt"  # of what was moved aside
DIGEST_BYTES = 32
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
ORPHAN_AGE = 3600.0  # seconds, after which a temporary file is a killed writer's

logger = logging.getLogger(__name__)


class FeatureCache:
    r"""A cache of features of one kind, with the SHA-256 of the encoded image as key.

    Everything else that features depend on (weights, preprocessing, views, versions, …) makes up
    the fingerprint, and each fingerprint has its own folder. Features are stored in shards that
    never change. A shard is named by the SHA-256 of its content, so damage is detected when it is
    read: a damaged shard is moved aside, and its features count as missing. Shards are written to a
    temporary file and renamed, so a killed process leaves a whole shard or none. If two processes
    write features of the same image, both use those that were written first.

    Args:
        folder (Path): The folder of all caches; made when something is written.
        depends_on (dict): What the features depend on, as plain JSON values.

    Example:
        >>> import tempfile
        >>> cache = FeatureCache(Path(tempfile.mkdtemp()), {"model": "a"})
        >>> cache.write([b"1" * 32], torch.ones(1, 4))
        tensor([[1., 1., 1., 1.]])
        >>> cache.read([b"1" * 32, b"2" * 32], torch.zeros(2, 4))
        tensor([ True, False])
    """

    def __init__(self, folder: Path, depends_on: Mapping[str, Any]) -> None:
        self.depends_on = {"schema": SCHEMA, **depends_on}
        self._manifest = (json.dumps(self.depends_on, indent=2, sort_keys=True) + "\n").encode()
        self.fingerprint = sha256(self._manifest)
        self.folder = Path(folder) / self.fingerprint[:32]
        self._known: set[str] = set()  # names of shards
        self._damaged: set[str] = set()  # those that cannot be moved aside
        self._places: dict[bytes, tuple[str, int]] = {}  # shard and row of every key

    def read(self, keys: Sequence[bytes], out: Tensor) -> Tensor:
        r"""Fills the rows of :obj:`out` whose features are cached.

        Args:
            keys (sequence of bytes): The SHA-256 of what was encoded, 32 bytes each.
            out (torch.Tensor): Receives the features.

        Returns:
            torch.Tensor: Which rows were filled.

        Shapes:
            - **out:** :math:`(N, *)`
            - **output:** :math:`(N)`
        """
        rows: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        is_filled = torch.zeros(len(keys), dtype=torch.bool)
        while True:
            self._refresh()
            places_in: dict[str, list[tuple[bytes, int]]] = {}  # by shard
            for key in rows:
                if key in self._places:
                    shard, at = self._places[key]
                    places_in.setdefault(shard, []).append((key, at))
            for shard, places in places_in.items():
                x = self._features_of(self.folder / shard, out)
                if x is None:  # another shard may have them
                    self._forget()
                    break
                for key, at in places:
                    for row in rows.pop(key):
                        out[row] = x[at]
                        is_filled[row] = True
            else:
                break
        if is_filled.any():
            with _unless_gone():
                os.utime(self.folder / MANIFEST)  # says when it was last used
        return is_filled

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether features are cached, including those that another process has just written;
        checksums are not compared."""
        self._refresh()
        return [key in self._places for key in keys]

    def write(self, keys: Sequence[bytes], x: Tensor) -> Tensor:
        r"""Writes features, except those that another process has written in the meantime.

        Args:
            keys (sequence of bytes): The SHA-256 of what was encoded, 32 bytes each.
            x (torch.Tensor): The features.

        Returns:
            torch.Tensor: The cached features, which may be those of the other process.

        Raises:
            OSError: If they cannot be written; nothing partial is left.

        Shapes:
            - **x:** :math:`(N, *)`
        """
        x = x.contiguous().clone()
        try:
            self._make_folder()
            with self._lock():
                is_cached = self.read(keys, x)
                new_keys = [key for key, old in zip(keys, is_cached, strict=True) if not old]
                self._write_shard(new_keys, x[~is_cached])
        except OSError as error:
            size = x.numel() * x.element_size()
            raise OSError(
                f"The feature cache {self.folder} cannot be written ({error.strerror or error}): "
                f"{size:,} bytes are needed. Free some space, choose another folder, or do without "
                f"a cache."
            ) from error
        return x

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SHARD_SUFFIX}"))

    def _refresh(self) -> None:
        """Reads the keys of new shards."""
        for path in self._shards():
            if path.name not in self._known and path.name not in self._damaged:
                self._known.add(path.name)
                for at, key in enumerate(keys_of(path)):
                    # The first shard wins, should two hold the same image:
                    self._places.setdefault(key, (path.name, at))

    def _forget(self) -> None:
        self._known.clear()
        self._places.clear()

    def _features_of(self, path: Path, like: Tensor) -> Tensor | None:
        """The features of a whole shard; a damaged one is moved aside."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # another process has just moved it aside
            return None
        try:
            if sha256(content) != path.stem:
                raise ValueError("its checksum is wrong")
            x = safetensors.torch.load(content)["x"]
            if x.shape[1:] != like.shape[1:]:
                raise ValueError(
                    f"its features are {list(x.shape[1:])}, not {list(like.shape[1:])}"
                )
            return x
        except (ValueError, KeyError, SafetensorError) as error:
            logger.warning("%s is damaged (%s): moved aside, its images are encoded again.",
                           path, error)  # fmt: skip
            _move_aside(path)
            if path.exists():
                self._damaged.add(path.name)
            return None

    def _write_shard(self, keys: Sequence[bytes], x: Tensor) -> None:
        if not keys:
            return
        digests = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8)
        content = safetensors.torch.save({"keys": digests.view(-1, DIGEST_BYTES), "x": x})
        name = f"{sha256(content)}{SHARD_SUFFIX}"
        write_atomic(self.folder / name, content)
        with (self.folder / SHARDS).open("a", encoding="utf-8") as file:
            file.write(shard_line(name, len(keys), len(content)))

    def _make_folder(self) -> None:
        """Makes the folder with its manifest, and removes the files that killed processes left."""
        if not (self.folder / MANIFEST).is_file():
            self._log_what_changed()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / MANIFEST, self._manifest)
        for path in self.folder.glob(".*.tmp"):
            with _unless_gone():
                if time.time() - path.stat().st_mtime > ORPHAN_AGE:
                    path.unlink()

    def _log_what_changed(self) -> None:
        """Logs why cached features of the same model are not used."""
        for path in sorted(self.folder.parent.glob(f"*/{MANIFEST}")):
            try:
                other = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            same = ("model", "kind")
            if not isinstance(other, dict) or any(
                other.get(name) != self.depends_on.get(name) for name in same
            ):
                continue
            changed = [
                f"{name!r} is {value!r} now and was {other.get(name)!r}"
                for name, value in self.depends_on.items()
                if other.get(name) != value
            ]
            logger.info("The features in %s are not used: %s.", path.parent, ", ".join(changed))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Locks the folder between processes. On a file system without locks, some images may be
        encoded twice.

        Raises:
            OSError: If there is another reason why it cannot be held.
        """
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire()
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
                raise
            logger.info("%s cannot be locked (%s).", self.folder, error)
        try:
            yield
        finally:
            lock.release()

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.folder})"


def shard_line(name: str, images: int, num_bytes: int) -> str:
    """The line of a shard in the list of shards."""
    return json.dumps({"shard": name, "images": images, "bytes": num_bytes}) + "\n"


def keys_of(path: Path) -> list[bytes]:
    """The keys of a shard, without its features; none if it cannot be read."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return [key.tobytes() for key in file.get_tensor("keys")]
    except FileNotFoundError:
        return []
    except (OSError, SafetensorError) as error:
        logger.warning("%s is damaged (%s): moved aside.", path, error)
        _move_aside(path)
        return []


def _move_aside(path: Path) -> None:
    with _unless_gone():
        path.replace(path.with_suffix(CORRUPT_SUFFIX))


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Ignores that another process was first, or that the folder is read-only."""
    try:
        yield
    except OSError as error:
        logger.debug("%s", error)
