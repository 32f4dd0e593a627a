"""Hostile and odd files of arrays: one sentence, and no memory taken."""

import io
import json
import struct
import tracemalloc
import zipfile
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
import safetensors.torch
import torch

from pyg_graphadapter.storage import Array, Arrays, FileKind, parsed, read


@dataclass(frozen=True)
class Content:
    x: Annotated[Any, Array("f", (2,))]
    names: Annotated[Any, Array("US", (1,))] = None


KIND = FileKind("file of arrays", Content, "Write it again", suffixes=(".npz", ".safetensors"))


def npy(descr="<f4", shape=(2, 2), data=b"\0" * 16, version=(1, 0), text=None):
    """The bytes of a .npy file, with a header that may lie."""
    header = text or repr({"descr": descr, "fortran_order": False, "shape": shape})
    encoded = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(encoded)) + encoded + data


def npz(path, members, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refused(path, message):
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as error:
        read(path, KIND)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()
    assert str(path) in str(error.value)
    assert "Write it again" in str(error.value)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(shape=(10**12, 4)), r"says that it is \[1000000000000, 4\], and holds"),
        (npy(shape=(2**40, 2**40)), "says that it is"),
        (npy(shape=(2**63, 4)), "says that it is"),
        (npy(shape=(-1, 4)), "says that it is"),
        (npy(shape=(True, 4)), "."),
        (npy(shape=2), "."),
        (npy(shape=()), "with 2 dimensions"),
        (npy(shape=(4,)), "with 2 dimensions"),
        (npy(shape=(1, 2)), "holds more than its shape says"),
        (npy(descr="|O"), "pickled objects"),
        (npy(descr=[("a", "<f4"), ("b", "|O")]), "pickled objects"),
        (npy(descr=[("a", "<f4")], shape=(2, 2)), "must be an array of numbers"),
        (npy(descr="<i4"), "must be an array of numbers with 2 dimensions"),
        (npy(descr="<U1"), "must be an array of numbers"),
        (npy(descr="<f16", shape=(1, 1)), "."),
        (npy(descr="nonsense"), "."),
        (npy(version=(9, 0)), "."),
        (npy(text="{'descr': '<f4'"), "."),
        (npy(text="__import__('os').system('touch /tmp/flag')"), "."),
        (npy(text="(" * 5000), "."),
        (npy()[:-3], "EOF"),
        (b"", "."),
        (b"\x93NUMPY", "."),
    ],
)
def test_members_that_lie(tmp_path, member, message):
    refused(npz(tmp_path / "f.npz", [("x.npy", member)]), message)


def test_arrays_of_a_usual_file(tmp_path):
    with (tmp_path / "f.npz").open("wb") as file:
        np.savez_compressed(file, x=np.ones((2, 3), ">f4"), names=np.array([b"a", b"\xc3\xa9"]))
    content = read(tmp_path / "f.npz", KIND)
    assert torch.equal(content.x, torch.ones(2, 3))
    assert content.names == ["a", "é"]


def test_what_is_not_asked_for_is_not_unpacked(tmp_path):
    bomb = npy(descr="<f4", shape=(10**8,), data=b"\0" * (4 * 10**8))
    path = npz(
        tmp_path / "f.npz", [("x.npy", npy()), ("unused.npy", bomb)],
        compression=zipfile.ZIP_DEFLATED,
    )  # fmt: skip
    del bomb
    tracemalloc.start()
    assert read(path, KIND).x.shape == (2, 2)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "descr", "shape"), [("x", "<f4", (10**8, 1)), ("names", "<U50000000", (2,))]
)
def test_a_bomb_is_refused(tmp_path, name, descr, shape):
    members = {"x.npy": npy(), f"{name}.npy": npy(descr, shape, b"\0" * (4 * 10**8))}
    path = npz(tmp_path / "f.npz", members.items(), compression=zipfile.ZIP_DEFLATED)
    refused(path, "out of proportion to the size of the file")


def test_odd_archives(tmp_path):
    path = npz(tmp_path / "many.npz", [(f"{i}.npy", b"") for i in range(1001)])
    refused(path, "1,001 members")
    with pytest.warns(UserWarning, match="Duplicate"):
        path = npz(tmp_path / "twice.npz", [("x.npy", npy()), ("x.npy", npy())])
    refused(path, "it holds 'x' twice")
    path = npz(tmp_path / "outside.npz", [("../x.npy", npy())])
    refused(path, "the entry 'x'")
    path = npz(tmp_path / "lzma.npz", [("x.npy", npy())], compression=zipfile.ZIP_LZMA)
    assert read(path, KIND).x.shape == (2, 2)
    content = bytearray(npz(tmp_path / "bits.npz", [("x.npy", npy())]).read_bytes())
    content[115] ^= 1
    (tmp_path / "bits.npz").write_bytes(content)
    refused(tmp_path / "bits.npz", "CRC")


def safetensors_of(header, data=b"\0" * 16):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


X = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**60) + b"{}",
        safetensors_of(b"{"),
        safetensors_of(b"[]"),
        safetensors_of({"x": {**X, "shape": [2**40, 2**40]}}),
        safetensors_of({"x": {**X, "shape": [-2, 2]}}),
        safetensors_of({"x": {**X, "data_offsets": [0, 2**40]}}),
        safetensors_of({"x": {**X, "dtype": "F99"}}),
        safetensors_of({"x": X, "y": X}),
        safetensors_of({"x": X}, b"\0" * 15),
        safetensors_of({"x": X}, b"\0" * 17),
        safetensors_of({"x": X, "__metadata__": {"names": 1}}),
        safetensors_of({"x": {**X, "dtype": "I32"}}),
        safetensors_of({"y": X}),
    ],
)
def test_safetensors_that_lie(tmp_path, content):
    path = tmp_path / "f.safetensors"
    path.write_bytes(content)
    refused(path, "cannot be read as a file of arrays")


def test_tensors_of_bytes_and_of_a_file(tmp_path):
    tensors = {"x": torch.ones(2, 2, dtype=torch.bfloat16), "y": torch.arange(3)}
    content = safetensors.torch.save(tensors, {"about": "é"})
    path = tmp_path / "f.safetensors"
    path.write_bytes(content)
    kind = FileKind("file of arrays", Arrays, "Write it again")
    for arrays in (read(path, kind), parsed(content, path, kind)):
        assert torch.equal(arrays["x"].load(), tensors["x"])
        assert torch.equal(arrays["y"].load(), tensors["y"])
    assert read(path, kind)["about"] == "é"
    assert torch.equal(read(path, KIND).x, tensors["x"])


def test_only_arrays_are_arrays(tmp_path):
    path = tmp_path / "f.safetensors"
    path.write_bytes(safetensors.torch.save({"names": torch.ones(2)}, {"x": "text"}))
    refused(path, "'x' must be an array of numbers with 2 dimensions")
    with pytest.raises(ValueError, match="must be a file of arrays"):
        parsed(b"[]", "f.json", FileKind("file", Arrays, "Write it again"))


def test_a_stream_can_be_read_twice(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, x=np.ones((1, 1), np.float16))
    assert parsed(stream.getvalue(), "f.npz", KIND).x.dtype == torch.float16


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy("<U0", (10**9,), b""), "says that its entries have no bytes"),
        (npy("|S0", (10**9,), b""), "says that its entries have no bytes"),
        (npy("<U1", (10**9, 0), b""), "'names' must be "),
    ],
)
def test_texts_without_bytes_are_as_many_as_there_are(tmp_path, member, message):
    path = npz(tmp_path / "a.npz", [("x.npy", npy()), ("names.npy", member)])
    refused(path, message)


def test_arrays_without_entries_are_of_bounded_shape(tmp_path):
    refused(npz(tmp_path / "a.npz", [("x.npy", npy(shape=(10**9, 0), data=b""))]), "with entries")
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**9, 0], "data_offsets": [0, 0]}})
    content = struct.pack("<Q", len(header)) + header.encode()
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(tmp_path / "a.safetensors", "with entries")
    empty = npz(tmp_path / "b.npz", [("x.npy", npy(shape=(0, 512), data=b""))])
    assert read(empty, KIND).x.shape == (0, 512)


def test_records_and_numbers_of_8_bits_are_no_features(tmp_path):
    records = npy([("a", "i1"), ("b", "i1")], data=b"\0" * 8)
    refused(npz(tmp_path / "a.npz", [("x.npy", records)]), "'x' must be an array of numbers")
    x = torch.ones(2, 2).to(torch.float8_e4m3fn)
    (tmp_path / "a.safetensors").write_bytes(safetensors.torch.save({"x": x}))
    refused(tmp_path / "a.safetensors", "'x' must be an array of numbers")


def test_safetensors_of_many_members_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"x{i}": entry for i in range(2000)})
    content = struct.pack("<Q", len(header)) + header.encode()
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(tmp_path / "a.safetensors", "it has more than 1,000 members")
