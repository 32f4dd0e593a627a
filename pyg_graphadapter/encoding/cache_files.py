"""The files of a feature cache: their names, what they must hold, and how they are read."""

import json
import logging
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pyg_graphadapter.outputs import is_leftover
from pyg_graphadapter.storage import (
    Array,
    FileKind,
    Length,
    SchemaError,
    Within,
    checked,
    parsed,
    read,
    read_content,
    sha256,
)
from pyg_graphadapter.storage.read import parse_lines

SCHEMA = 3
FIRST_SCHEMA = 1  # caches of earlier versions are listed and cleaned, but not used
MANIFEST = "manifest.json"
SHARDS = "shards.jsonl"  # one line per shard: name, number of images, bytes
LOCK = ".lock"
OWNER = ".lock.json"  # who holds the lock
SHARD_SUFFIX = ".safetensors"
CORRUPT_SUFFIX = f"{SHARD_SUFFIX}.corrupt"  # of what was moved aside
DIGEST_BYTES = 32
FOLDER_DIGITS = 32
FOLDER_NAME = re.compile(f"[0-9a-f]{{{FOLDER_DIGITS}}}")
SHARD_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
CORRUPT_NAME = re.compile(r"[0-9a-f]{64}\.safetensors\.corrupt")
MAX_SHARD_BYTES = 2**35

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """What every manifest holds, among everything else that its features depend on."""

    schema: Annotated[int, Within(FIRST_SCHEMA, SCHEMA)]
    model: Any
    dtype: Any = None
    views: Any = 1
    seed: Any = None


@dataclass(frozen=True)
class ShardLine:
    """A line of the list of shards."""

    shard: Annotated[str, Length(64, 64 + len(SHARD_SUFFIX))]
    images: Annotated[int, Within(0)]
    bytes: Annotated[int, Within(0)] = 0


@dataclass(frozen=True)
class _Keys:
    keys: Annotated[Any, Array("iu", (2,))]


@dataclass(frozen=True)
class _Shard(_Keys):
    x: Annotated[Any, Array("f", (2, 3))]


MANIFEST_FILE: FileKind[dict[str, Any]] = FileKind(
    "manifest of cached features",
    dict[str, Any],
    "Move its folder away, and its images are encoded again",
    suffixes=(".json",),
    max_bytes=2**20,
)
_LIST_FILE: FileKind[tuple[str, ...]] = FileKind(
    "list of shards",
    tuple[str, ...],
    "'graphadapter cache list --verify' writes it again",
    parse=parse_lines,
)
_REMEDY = "Its images are encoded again"
_KEYS_FILE: FileKind[_Keys] = FileKind(
    "shard of cached features", _Keys, _REMEDY, (), (SHARD_SUFFIX,), max_bytes=MAX_SHARD_BYTES
)
SHARD_FILE: FileKind[_Shard] = FileKind(
    "shard of cached features", _Shard, _REMEDY, (), (SHARD_SUFFIX,), max_bytes=MAX_SHARD_BYTES
)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Everything that the features in a folder depend on, if the folder is one of a feature cache:
    its name is the hash of its manifest, and no link.

    Raises:
        FileNotFoundError: If it has no manifest.
        ValueError: If it is no such folder, or its manifest is damaged or of a later version.
    """
    path = folder / MANIFEST
    if not is_regular(path):
        raise FileNotFoundError(f"There is no {MANIFEST_FILE.noun} {path}: check the path.")
    content = read_content(path, MANIFEST_FILE)
    entries = parsed(content, path, MANIFEST_FILE)
    try:
        checked(entries, Manifest)
    except SchemaError as error:
        raise MANIFEST_FILE.error(path, error) from error
    if folder.is_symlink() or sha256(content)[:FOLDER_DIGITS] != folder.name:
        raise MANIFEST_FILE.error(path, "the name of its folder is not the hash of its content")
    return entries


def read_list(folder: Path) -> dict[str, int]:
    """The number of images of every listed shard; incomplete lines, of killed processes, are left
    out."""
    path = folder / SHARDS
    if not is_regular(path):
        return {}
    try:
        lines = read(path, _LIST_FILE)
    except FileNotFoundError:  # another process has just removed it
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s", error)
        return {}
    num_images = {}
    for line in lines:
        try:
            entry: ShardLine = checked(json.loads(line), ShardLine)
        except (ValueError, RecursionError):
            continue
        if SHARD_NAME.fullmatch(entry.shard):
            num_images[entry.shard] = entry.images
    return num_images


def shard_line(name: str, images: int, num_bytes: int) -> str:
    """The line of a shard in the list of shards."""
    return json.dumps({"shard": name, "images": images, "bytes": num_bytes}) + "\n"


def append_line(folder: Path, line: str) -> None:
    """Adds a line to the list of shards, after what a killed process may have left of another."""
    path = folder / SHARDS
    if path.is_symlink() or (path.exists() and not is_regular(path)):
        logger.warning("%s is no regular file, so that no shard is listed in it.", path)
        return
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                line = f"\n{line}"
        file.write(line.encode())


def read_keys(path: Path) -> list[bytes]:
    """The keys of a shard, without its features.

    Raises:
        FileNotFoundError: If there is no such shard.
        ValueError: If it is damaged.
    """
    return _as_bytes(read(path, _KEYS_FILE).keys, path)


def read_shard(path: Path) -> tuple[list[bytes], Any, int]:
    """The keys of a shard, its features ``[N, *]``, and its size in bytes.

    Raises:
        FileNotFoundError: If there is no such shard.
        ValueError: If it is damaged: its checksum, type or lengths are wrong, or a value is not
            finite.
    """
    content = read_content(path, SHARD_FILE)
    if sha256(content) != path.stem:
        raise SHARD_FILE.error(path, "its checksum is wrong")
    shard = parsed(content, path, SHARD_FILE)
    keys = _as_bytes(shard.keys, path)
    if len(keys) != len(shard.x):
        raise SHARD_FILE.error(path, f"it has {len(keys)} keys for features of {len(shard.x)}")
    if not shard.x.isfinite().all():
        raise SHARD_FILE.error(path, "its features are not finite")
    return keys, shard.x, len(content)


def _as_bytes(keys: Any, path: Path) -> list[bytes]:
    if str(keys.dtype) != "torch.uint8" or keys.size(1) != DIGEST_BYTES:
        raise SHARD_FILE.error(
            path, f"its keys are {keys.dtype} {list(keys.shape)}, not torch.uint8 [N, 32]"
        )
    return [key.tobytes() for key in keys.numpy()]


# Which files are ours #################################################################


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, which is no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def is_ours(path: Path) -> bool:
    """Whether a file in the folder of a feature cache is one that is written there."""
    name = path.name
    is_named = name in (MANIFEST, SHARDS, LOCK, OWNER) or any(
        pattern.fullmatch(name) for pattern in (SHARD_NAME, CORRUPT_NAME)
    )
    return (is_named or is_temporary(path)) and is_regular(path)


def is_temporary(path: Path) -> bool:
    """Whether it is a temporary file of one that is written there."""
    name = path.name.removeprefix(".")
    of_file = name.startswith((f"{MANIFEST}.", f"{SHARDS}.", f"{OWNER}."))
    return is_leftover(path) and (of_file or SHARD_NAME.match(name) is not None)


def shards_in(folder: Path) -> list[Path]:
    """The shards in a folder: files of such names, and no links."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # there is no such folder, or it may not be read
        return []
    return [path for path in paths if SHARD_NAME.fullmatch(path.name) and is_regular(path)]
