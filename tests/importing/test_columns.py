"""Columns of Parquet and Arrow files: sizes are checked before memory is taken."""

import struct

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.importing.arrow_sizes import unpacked_bytes
from tests.faults.command import said_by

MANY = 2**24


def features(num_rows):
    values = np.random.default_rng(0).normal(size=2 * num_rows).astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values), 2)


def write(path, table, compression):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, compression=compression)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path, compression=compression)
    else:
        options = pyarrow.ipc.IpcWriteOptions(compression=compression)
        with pyarrow.ipc.new_stream(path, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=2**16)
    return path


def imported(path, code=0):
    pool, before = pa.default_memory_pool(), pa.total_allocated_bytes()
    said = said_by("data", "import", path, "--out", path.with_suffix(".npz"), code=code)
    assert pool.max_memory() < before + 2**29
    return said


SUFFIXES = ("parquet", "feather", "arrow")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_that_unpack_to_much_are_refused(tmp_path, suffix):
    zeros = pa.array(np.zeros(MANY, np.int64))
    x = pa.FixedSizeListArray.from_arrays(zeros.cast(pa.float64()), 1)
    table = pa.table({"train_labels": zeros, "train_features": x})
    path = write(tmp_path / f"a.{suffix}", table, "zstd")
    assert path.stat().st_size < 2**21
    assert "is out of proportion to the size of the file" in imported(path, code=1)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_columns_are_read(tmp_path, suffix, compression):
    x, y = features(90_000), ["cat", "dog", "cat"] * 30_000
    texts = pa.array(y).dictionary_encode() if suffix == "arrow" else pa.array(y)
    table = pa.table({"train_features": x, "train_labels": texts})
    path = write(tmp_path / f"a.{suffix}", table, compression)
    said_by("data", "import", path, "--out", tmp_path / "f.npz")
    file = FeatureFile.load(tmp_path / "f.npz")
    assert torch.equal(file.train.x.flatten(), torch.from_numpy(x.flatten().to_numpy().copy()))
    assert [file.class_names[c] for c in file.train.y] == y


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_long_text_in_many_rows_is_held_once(tmp_path, suffix):
    texts = pa.DictionaryArray.from_arrays(pa.array(np.arange(3000) % 2), ["x" * 2**20, "y"])
    table = pa.table({"train_features": features(3000), "train_labels": texts})
    path = write(tmp_path / f"a.{suffix}", table, "zstd")
    assert "labels are names" in imported(path)


def test_places_outside_of_a_buffer_are_refused(tmp_path):
    texts = pa.array(list("abcdefgh"))
    table = pa.table({"train_features": features(8), "train_labels": texts})
    path = write(tmp_path / "a.arrow", table, None)
    content, offsets = path.read_bytes(), struct.pack("<9i", *range(9))
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, struct.pack("<9i", *range(0, 9 * 2**27, 2**27))))
    assert "a.arrow cannot be read" in imported(path, code=1)


def test_what_buffers_unpack_to():
    """As many bytes as pyarrow has once it has unpacked them, padding included."""
    table = pa.table({"a": np.zeros(1000), "b": ["x"] * 1000, "c": [None, True] * 500})
    stored = {}
    for compression in (None, "zstd", "lz4"):
        stream = pa.BufferOutputStream()
        options = pyarrow.ipc.IpcWriteOptions(compression=compression)
        with pyarrow.ipc.new_stream(stream, table.schema, options=options) as writer:
            writer.write_table(table)
        messages = pyarrow.ipc.MessageReader.open_stream(stream.getvalue())
        stored[compression] = sum(map(unpacked_bytes, messages))
    assert min(stored.values()) >= table.nbytes
    assert max(stored.values()) < table.nbytes + 500
