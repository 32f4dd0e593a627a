"""Reads images and labels from tars in WebDataset form; no other member is looked into."""

import hashlib
import io
import json
import logging
import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import MAX_BYTES
from pyg_graphadapter.display import visible
from pyg_graphadapter.outputs import make_parents, writing
from pyg_graphadapter.settings import warn

LABEL_SUFFIXES = ("cls", "label", "json", "txt")
MEMBER_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
MAX_HEADER, MAX_NAME, MAX_LABEL = 2**20, 4096, 2**20  # bytes
BATCH_BYTES, BATCH_ROWS = 2**26, 1000
CACHE, CACHE_FORMAT = "graphadapter_tars", 1
Label = int | str | None

logger = logging.getLogger(__name__)


class TarError(ValueError):
    """A tar that is damaged or cannot be read."""


@dataclass
class Sample:
    """The members of a tar whose names differ in their suffix alone.

    Args:
        name (str): What the names have in common.
        members (dict): Offset and size of the image and label members, by suffix.
        label (int or str, optional): The label. (default: :obj:`None`)
    """

    name: str
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    label: Label = None

    def images(self) -> list[str]:
        """The suffixes of its images."""
        return [suffix for suffix in self.members if f".{suffix}" in SUFFIXES]


class _Headers(io.FileIO):
    """A file that gives headers, and no more at a time than a header may have."""

    def read(self, size: int | None = -1) -> Any:
        """Reads a header.

        Raises:
            TarError: If it is too long.
        """
        if size is None or size < 0 or size > MAX_HEADER:
            raise TarError("a header is too long")
        return super().read(size)


def load_tar(
    path: Path, image_column: str | None = None, label_column: str | None = None
) -> datasets.Dataset:
    """The images of a tar with the columns ``image`` (undecoded) and ``label`` (a number or a
    name). They are copied to the cache of ``datasets`` piece by piece, and read from there.

    Only regular members are read, and of them only images and labels.

    Args:
        path (Path): The tar.
        image_column (str, optional): The suffix of images, where samples have several.
            (default: :obj:`None`)
        label_column (str, optional): The suffix of labels, or a key of ``json``.
            (default: ``cls``, else ``label``, else ``label`` in ``json``)

    Raises:
        TarError: If it is damaged, or a sample has two images.
        OutputError: If the cache cannot be written.
    """
    samples = _samples(path, (image_column or "", label_column or ""))
    with path.open("rb") as file:
        for sample in samples:
            sample.label = _label_of(sample, file, label_column)
    complete = _complete(path, samples, image_column)
    if any(isinstance(sample.label, str) for sample, _ in complete):
        for sample, _ in complete:
            sample.label = str(sample.label)
    kind = "string" if complete and isinstance(complete[0][0].label, str) else "int64"
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.Value(kind)}
    )
    cached = _cached(path, image_column, label_column)
    if not cached.exists():
        make_parents(cached)
        with writing(cached):
            _write(path, complete, features, cached)
    return datasets.Dataset.from_file(str(cached))


# Members ##############################################################################


def _samples(path: Path, named: tuple[str, str]) -> list[Sample]:
    """The samples of a tar in their order; what is neither image nor label is counted."""
    samples: dict[str, Sample] = {}
    left_out: Counter[str] = Counter()
    for member in _members(path):
        match = MEMBER_NAME.fullmatch(member.name)
        suffix = match.group(2).lower() if match else ""
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            left_out["links, devices and sparse files"] += 1
        elif match is None or not _is_read(suffix, named):
            left_out[f".{suffix.rsplit('.', 1)[-1]}" if suffix else "other names"] += 1
        else:
            sample = samples.setdefault(match.group(1), Sample(match.group(1)))
            if suffix in sample.members:
                raise TarError(f"it has two members {visible(member.name)!r}")
            most = MAX_BYTES if f".{suffix}" in SUFFIXES else MAX_LABEL
            if member.size > most:
                raise TarError(f"its member {visible(member.name)!r} is larger than {most:,} bytes")
            sample.members[suffix] = (member.offset_data, member.size)
    if left_out:
        kinds = ", ".join(f"{visible(kind)}: {count}" for kind, count in left_out.items())
        logger.warning(
            "%s: members that are neither image nor label are left out (%s).", path, kinds
        )
    return list(samples.values())


def _is_read(suffix: str, named: tuple[str, str]) -> bool:
    last = f".{suffix.rsplit('.', 1)[-1]}"
    is_text = last[1:] in LABEL_SUFFIXES
    return f".{suffix}" in SUFFIXES or suffix in LABEL_SUFFIXES or (
        suffix in named and (last in SUFFIXES or is_text)
    )  # fmt: skip


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar, each checked against the size of the file.

    Raises:
        TarError: If one is damaged.
    """
    size = path.stat().st_size
    end = -1
    with path.open("rb") as start:
        if start.read(6).startswith(COMPRESSED):
            raise TarError("it is compressed: decompress it")
    try:
        with _Headers(path) as file, tarfile.TarFile(fileobj=file) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if member.size < 0 or member.offset_data <= end:
                    raise TarError(f"the header of {visible(member.name)[:80]!r} is wrong")
                end = member.offset_data
                if member.isreg() and member.offset_data + member.size > size:
                    raise TarError(f"it ends inside of {visible(member.name)[:80]!r}")
                if len(os.fsencode(member.name)) > MAX_NAME:
                    raise TarError(f"a name is longer than {MAX_NAME} bytes")
                yield member
            file.seek(tar.offset)
            end_block = file.read(tarfile.BLOCKSIZE)
            if end_block.strip(b"\0"):
                raise TarError("a header is damaged")
            if not end_block:
                warn(f"{visible(path.name)} has no end mark: it may have been cut off.")
    except TarError:
        raise
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        raise TarError(str(error).strip().splitlines()[0].rstrip(".") or "damaged") from error


# Labels ###############################################################################


def _label_of(sample: Sample, file: Any, label_column: str | None) -> Label:
    """The label of a sample; :obj:`None` if it has none."""
    members = sample.members
    if label_column in members:
        return _from_text(_text_of(sample, label_column, file))
    if label_column is None:
        for suffix in ("cls", "label"):
            if suffix in members:
                return _from_text(_text_of(sample, suffix, file))
    if "json" not in members:
        return None
    try:
        content = json.loads(_text_of(sample, "json", file))
        label = content.get(label_column or "label")
    except (ValueError, AttributeError, RecursionError) as error:
        raise TarError(f"{visible(sample.name)}.json is not a JSON object ({error})") from error
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
        raise TarError(
            f"the label in {visible(sample.name)}.json must be a class name or a whole number, not "
            f"{label!r}"
        )
    if isinstance(label, int) and not -(2**63) <= label < 2**63:
        raise TarError(f"the label in {visible(sample.name)}.json is no number of 64 bits")
    return visible(label) if isinstance(label, str) and not label.isprintable() else label


def _text_of(sample: Sample, suffix: str, file: Any) -> str:
    offset, size = sample.members[suffix]
    file.seek(offset)
    try:
        text: str = file.read(size).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise TarError(f"{visible(sample.name)}.{suffix} is not UTF-8 text") from error
    return text


def _from_text(text: str) -> Label:
    """A number, or a name. Numbers with leading zeros are names."""
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    return text or None


# Samples ##############################################################################


def _complete(
    path: Path, samples: Sequence[Sample], image_column: str | None
) -> list[tuple[Sample, str]]:
    """The samples with an image and a label, and the suffix of the image."""
    complete, no_image, no_label = [], [], []
    for sample in samples:
        images = [image_column] if image_column in sample.members else sample.images()
        if image_column is not None:
            images = [suffix for suffix in images if suffix == image_column]
        if len(images) > 1:
            raise TarError(
                f"{visible(sample.name)} has several images, {', '.join(map(str, images))}: name "
                f"one as 'image_column'"
            )
        if not images:
            no_image.append(sample.name)
        elif sample.label is None:
            no_label.append(sample.name)
        else:
            complete.append((sample, str(images[0])))
    for what, names in (("image", no_image), ("label", no_label)):
        if names and complete:
            warn(
                f"{path}: samples without {what} are left out, {len(names)} in number, as "
                f"{visible(names[0])}."
            )
    if not complete:
        what = "image with a label" if samples else "image"
        raise TarError(f"it holds no {what}: labels are members .cls, or 'label' in .json")
    return complete


def _cached(path: Path, *columns: str | None) -> Path:
    """Where the images of a tar are cached: by all that changes when the file does."""
    status = path.stat()
    key = [CACHE_FORMAT, os.fsencode(path.resolve()).hex(), status.st_size, status.st_mtime_ns,
           status.st_ctime_ns, status.st_ino, *columns]  # fmt: skip
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    return Path(datasets.config.HF_DATASETS_CACHE) / CACHE / f"{name}.arrow"


def _write(
    path: Path,
    samples: Sequence[tuple[Sample, str]],
    features: datasets.Features,
    cached: Path,
) -> None:
    """Copies images, in batches of bounded size, to a file that is renamed when it is whole."""
    descriptor, temporary = tempfile.mkstemp(dir=cached.parent, prefix=".", suffix=".tmp")
    try:
        with (
            os.fdopen(descriptor, "wb") as target,
            pyarrow.ipc.new_stream(target, features.arrow_schema) as writer,
        ):
            for rows in _batches(path, samples):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema))
        Path(temporary).replace(cached)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _batches(path: Path, samples: Sequence[tuple[Sample, str]]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    with path.open("rb") as file:
        for sample, suffix in samples:
            offset, size = sample.members[suffix]
            file.seek(offset)
            name = visible(f"{path}/{sample.name}.{suffix}")
            rows.append({"image": {"bytes": file.read(size), "path": name}, "label": sample.label})
            num_bytes += size
            if num_bytes >= BATCH_BYTES or len(rows) == BATCH_ROWS:
                yield rows
                rows, num_bytes = [], 0
    if rows:
        yield rows
