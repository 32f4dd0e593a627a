"""The folder of all feature caches: listing, checking and cleaning it."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyg_graphadapter.encoding.cache import (
    CORRUPT_SUFFIX,
    MANIFEST,
    ORPHAN_AGE,
    SHARD_SUFFIX,
    SHARDS,
    keys_of,
    shard_line,
)
from pyg_graphadapter.storage import sha256, write_atomic

DAY = 86_400.0


@dataclass(frozen=True)
class CachedFeatures:
    """The features of one encoder with one set of settings.

    Args:
        folder (Path): Where they lie.
        depends_on (dict): What they depend on, as it was written down.
        images (int): How many images.
        num_bytes (int): The size of all files.
        used (float): When they were last read or written, in seconds since 1970.
    """

    folder: Path
    depends_on: dict[str, Any]
    images: int
    num_bytes: int
    used: float


@dataclass(frozen=True)
class Verified:
    """The results of :func:`verify`.

    Args:
        shards (int): How many shards are whole.
        damaged (tuple of Path): Those that are not; they were moved aside.
        missing (tuple of Path): Those that are listed and not there.
    """

    shards: int
    damaged: tuple[Path, ...]
    missing: tuple[Path, ...]


def cached_features(caches: Path) -> list[CachedFeatures]:
    """The features in the folder of all caches, the last used first."""
    entries = []
    for folder in _folders(caches):
        listed = _listed(folder)
        paths = [path for path in folder.iterdir() if path.is_file()]
        shards = {path.name for path in paths if path.name.endswith(SHARD_SUFFIX)}
        manifest = folder / MANIFEST
        entries.append(
            CachedFeatures(
                folder,
                json.loads(manifest.read_text(encoding="utf-8")),
                sum(listed.get(name, 0) for name in shards),
                sum(path.stat().st_size for path in paths),
                manifest.stat().st_mtime,
            )
        )
    return sorted(entries, key=lambda entry: -entry.used)


def verify(caches: Path) -> Verified:
    """Reads every shard and compares its checksum. Damaged shards are moved aside, so that their
    images are encoded again, and the list of shards is written again."""
    whole, damaged, missing = 0, [], []
    for folder in _folders(caches):
        lines = []
        for path in sorted(folder.glob(f"*{SHARD_SUFFIX}")):
            content = path.read_bytes()
            if sha256(content) != path.stem:
                damaged.append(path.rename(path.with_suffix(CORRUPT_SUFFIX)))
            else:
                lines.append(shard_line(path.name, len(keys_of(path)), len(content)))
        whole += len(lines)
        file_names = {path.name for path in folder.iterdir()}
        missing += [
            folder / name
            for name in _listed(folder)
            if not {name, Path(name).with_suffix(CORRUPT_SUFFIX).name} & file_names
        ]
        write_atomic(folder / SHARDS, "".join(lines).encode())
    return Verified(whole, tuple(damaged), tuple(missing))


def collect_garbage(caches: Path, days: float | None = None, model: str | None = None) -> int:
    """Removes the files that killed processes left, damaged shards and, if asked for, features.

    Args:
        caches (Path): The folder of all caches.
        days (float, optional): Remove features that were not used for so long. (default: `None`)
        model (str, optional): Remove features of this model. (default: :obj:`None`)

    Returns:
        The number of bytes that were freed.
    """
    now = time.time()
    freed = 0
    for entry in cached_features(caches):
        is_old = days is not None and now - entry.used > days * DAY
        if is_old or (model is not None and entry.depends_on.get("model") == model):
            freed += entry.num_bytes
            shutil.rmtree(entry.folder)
            continue
        for path in entry.folder.iterdir():
            is_orphan = path.suffix == ".tmp" and now - path.stat().st_mtime > ORPHAN_AGE
            if is_orphan or path.name.endswith(CORRUPT_SUFFIX):
                freed += path.stat().st_size
                path.unlink()
    return freed


def _folders(caches: Path) -> Iterator[Path]:
    return (path.parent for path in sorted(caches.glob(f"*/{MANIFEST}")) if _is_ours(path))


def _is_ours(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "schema" in content


def _listed(folder: Path) -> dict[str, int]:
    """The number of images of every listed shard; incomplete lines, of killed processes, are left
    out."""
    num_images = {}
    path = folder / SHARDS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            num_images[entry["shard"]] = int(entry["images"])
        except (ValueError, KeyError, TypeError):
            continue
    return num_images
