"""A cache of features on disk, under everything that they depend on."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pyg_graphadapter.encoding.cache_files import (
    CORRUPT_SUFFIX,
    DIGEST_BYTES,
    FOLDER_DIGITS,
    MANIFEST,
    MANIFEST_FILE,
    SCHEMA,
    SHARD_SUFFIX,
    append_line,
    is_temporary,
    read_keys,
    read_manifest,
    read_shard,
    shard_line,
    shards_in,
)
from pyg_graphadapter.encoding.cache_lock import folder_lock
from pyg_graphadapter.storage import read_content, sha256, write_atomic

ORPHAN_AGE = 3600.0  # seconds, after which a temporary file is a killed writer's
ATTEMPTS = 100  # to write into a folder that others remove at the same time

logger = logging.getLogger(__name__)


class FeatureCache:
    r"""A cache of features of one kind, with the SHA-256 of the encoded image as key.

    Everything else that features depend on (weights, preprocessing, views, versions, …) makes up
    the fingerprint, and each fingerprint has its own folder. Features are stored in shards that
    never change. A shard is named by the SHA-256 of its content, so damage is detected when it is
    read: a damaged shard is moved aside, and its features count as missing. Shards are written to a
    temporary file and renamed, so a killed process leaves a whole shard or none. If two processes
    write features of the same image, both use those that were written first. A folder whose
    manifest is not its own is moved aside as a whole.

    Args:
        folder (Path): The folder of all caches; made when something is written.
        depends_on (dict): What the features depend on, as plain JSON values.

    Raises:
        ValueError: If what they depend on cannot be written as JSON.

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
        self._manifest = _as_json(self.depends_on)
        self.fingerprint = sha256(self._manifest)
        self.folder = Path(folder) / self.fingerprint[:FOLDER_DIGITS]
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
        self._set_aside_foreign()
        return self._read(keys, out)

    def _read(self, keys: Sequence[bytes], out: Tensor) -> Tensor:
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
        self._set_aside_foreign()
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
            ValueError: If a feature is not finite.
            OSError: If they cannot be written; nothing partial is left.

        Shapes:
            - **x:** :math:`(N, *)`
        """
        x = x.contiguous().clone()
        if not x.isfinite().all():
            raise ValueError("Features that are not finite are not cached: check the encoder.")
        self._set_aside_foreign()
        try:
            with self._locked_folder():
                is_cached = self._read(keys, x)
                new_keys = [key for key, old in zip(keys, is_cached, strict=True) if not old]
                self._write_shard(new_keys, x[~is_cached])
        except OSError as error:
            size = x.numel() * x.element_size()
            reason = os.strerror(error.errno) if error.errno else error  # without another sentence
            raise OSError(
                f"The feature cache {self.folder} cannot be written ({reason}): "
                f"{size:,} bytes are needed. Free some space, choose another folder, or do without "
                f"a cache."
            ) from error
        return x

    def _shards(self) -> list[Path]:
        return shards_in(self.folder)

    def _refresh(self) -> None:
        """Reads the keys of new shards."""
        for path in self._shards():
            if path.name in self._known or path.name in self._damaged:
                continue
            self._known.add(path.name)
            try:
                keys = read_keys(path)
            except FileNotFoundError:  # another process has just moved it aside
                continue
            except ValueError as error:
                self._move_aside(path, error)
                continue
            for at, key in enumerate(keys):
                # The first shard wins, should two hold the same image:
                self._places.setdefault(key, (path.name, at))

    def _forget(self) -> None:
        self._known.clear()
        self._places.clear()

    def _features_of(self, path: Path, like: Tensor) -> Tensor | None:
        """The features of a whole shard; a damaged one is moved aside."""
        try:
            _, x, _ = read_shard(path)
            if x.shape[1:] != like.shape[1:] or x.dtype != like.dtype:
                raise ValueError(
                    f"{path} has features that are {x.dtype} {list(x.shape[1:])}, not {like.dtype} "
                    f"{list(like.shape[1:])}."
                )
        except FileNotFoundError:  # another process has just moved it aside
            return None
        except ValueError as error:
            self._move_aside(path, error)
            return None
        features: Tensor = x
        return features

    def _move_aside(self, path: Path, reason: ValueError) -> None:
        logger.warning("A shard is damaged and moved aside: %s", reason)
        move_aside(path)
        if path.exists():
            self._damaged.add(path.name)

    def _write_shard(self, keys: Sequence[bytes], x: Tensor) -> None:
        if not keys:
            return
        digests = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8)
        content = safetensors.torch.save({"keys": digests.view(-1, DIGEST_BYTES), "x": x})
        name = f"{sha256(content)}{SHARD_SUFFIX}"
        write_atomic(self.folder / name, content)
        append_line(self.folder, shard_line(name, len(keys), len(content)))
        with _unless_gone():
            os.utime(self.folder / MANIFEST)

    @contextmanager
    def _locked_folder(self) -> Iterator[None]:
        """The folder with its manifest, locked. What killed processes left in it is removed."""
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            with ExitStack() as stack:
                try:
                    self._make_folder()
                    stack.enter_context(folder_lock(self.folder))
                # Somebody has just removed the folder, also between two looks of mkdir at it:
                except (FileNotFoundError, FileExistsError):
                    if is_last:
                        raise
                    continue
                # 'cache gc' holds the lock while it removes a folder: it was that of no folder.
                if (self.folder / MANIFEST).is_file() or is_last:
                    self._remove_leftovers()
                    yield
                    return

    def _make_folder(self) -> None:
        if not (self.folder / MANIFEST).is_file():
            self._log_what_changed()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / MANIFEST, self._manifest)

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".*.tmp"):
            with _unless_gone():
                if is_temporary(path) and time.time() - path.lstat().st_mtime > ORPHAN_AGE:
                    path.unlink()

    def _set_aside_foreign(self) -> None:
        """Renames the folder if its manifest is not the one of its name: nobody knows what its
        features depend on."""
        if self._is_own():
            return
        aside = self.folder.with_name(f"{self.folder.name}.{time.time_ns():x}.corrupt")
        try:
            with folder_lock(self.folder):
                if self._is_own():  # another process was first
                    return
                self.folder.rename(aside)
        except OSError as error:
            raise OSError(
                f"The {MANIFEST} in {self.folder} is damaged or another's, and the folder cannot "
                f"be moved aside ({error.strerror or error}): remove it, choose another folder, or "
                f"do without a cache."
            ) from error
        self._forget()
        logger.warning(
            "The %s in %s is damaged or another's: the folder is moved aside to %s, and its images "
            "are encoded again.", MANIFEST, self.folder, aside.name,
        )  # fmt: skip

    def _is_own(self) -> bool:
        """Whether the folder has its own manifest, or none yet."""
        path = self.folder / MANIFEST
        if not path.exists() and not path.is_symlink():
            return True
        try:
            return read_content(path, MANIFEST_FILE) == self._manifest
        except FileNotFoundError:
            return not path.is_symlink()
        except ValueError:
            return False

    def _log_what_changed(self) -> None:
        """Logs why cached features of the same model are not used."""
        for path in sorted(self.folder.parent.glob(f"*/{MANIFEST}")):
            try:
                other = read_manifest(path.parent)
            except (OSError, ValueError):
                continue
            same = ("model", "kind")
            if any(other.get(name) != self.depends_on.get(name) for name in same):
                continue
            changed = [
                f"{name!r} is {value!r} now and was {other.get(name)!r}"
                for name, value in self.depends_on.items()
                if other.get(name) != value
            ]
            logger.info("The features in %s are not used: %s.", path.parent, ", ".join(changed))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.folder})"


def move_aside(path: Path) -> None:
    """Renames a damaged shard, if it can be."""
    with _unless_gone():
        path.replace(path.with_suffix(CORRUPT_SUFFIX))


def _as_json(depends_on: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(depends_on, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"What cached features depend on must be plain JSON values ({error}): check identity() "
            f"of the model {depends_on.get('model')!r} and describe() of its preprocessing."
        ) from error
    return f"{text}\n".encode()


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Ignores that another process was first, or that the folder is read-only."""
    try:
        yield
    except OSError as error:
        logger.debug("%s", error)
