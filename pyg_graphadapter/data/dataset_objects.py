"""Data sets of ``datasets`` that are streamed: copied to files, image by image."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import datasets

from pyg_graphadapter.progress import datasets_bars

STREAMED = (datasets.IterableDataset, datasets.IterableDatasetDict)
PARTS = (datasets.Dataset, datasets.IterableDataset)
KINDS = (*PARTS, datasets.DatasetDict, datasets.IterableDatasetDict)


def is_dataset(source: Any) -> bool:
    """Whether a source is a data set of ``datasets``, or a table of them by split."""
    if isinstance(source, Mapping) and not isinstance(source, KINDS):
        return bool(source) and all(isinstance(part, PARTS) for part in source.values())
    return isinstance(source, KINDS)


def is_streamed(source: Any) -> bool:
    """Whether a data set, or a split of it, is streamed."""
    parts = source.values() if isinstance(source, Mapping) else [source]
    return any(isinstance(part, STREAMED) for part in parts)


def in_files(source: Any) -> datasets.Dataset | datasets.DatasetDict:
    """A data set whose splits can be read at any place. What is streamed is read through once, and
    copied to files that last as long as the process."""
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        return source
    if isinstance(source, Mapping):
        return datasets.DatasetDict({str(name): _copied(part) for name, part in source.items()})
    return _copied(source)


def _copied(part: datasets.Dataset | datasets.IterableDataset) -> datasets.Dataset:
    if isinstance(part, datasets.Dataset):
        return part
    for name, feature in (part.features or {}).items():
        if isinstance(feature, datasets.Image):  # its files are copied as they are
            part = part.cast_column(name, datasets.Image(decode=False))

    def rows() -> Iterator[dict[str, Any]]:
        for row in part:
            yield dict(row)

    folder = tempfile.mkdtemp(prefix="graphadapter-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with datasets_bars(progress=False):
            return datasets.Dataset.from_generator(rows, part.features, cache_dir=folder)
    except datasets.exceptions.DatasetGenerationError as error:
        raise ValueError(
            f"The streamed data set cannot be read ({error.__cause__ or error})."
        ) from error
