"""The 32 faults (README.md): survived, or refused in one sentence; earlier work stays."""

import errno
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pyg_graphadapter import (
    Encoder,
    FeatureFile,
    FewShotClassifier,
    GraphAdapter,
    GraphAdapterClassifier,
    TrainConfig,
    knowledge_graph,
)
from pyg_graphadapter.data import UnreadableImageError, decode_image
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.encoding import image_batches
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.features import Features
from pyg_graphadapter.nn import KnowledgeConv
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_features, fake_images
from pyg_graphadapter.training.engine import train
from tests.faults.command import content, run


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(checkpoint):
    return checkpoint("clip")


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"), workers=0)


@pytest.fixture
def images(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 3, "test": 2})


@pytest.fixture
def data(tmp_path):
    """Features in memory, and as ``features.npz``."""
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    file.save(tmp_path / "features.npz")
    return file


def encode(images, model, out, *more, code=0):
    return run("encode", images, "--model", model, "--out", out, "--workers", 0, *more, code=code)[
        1
    ]


def fit(tmp_path, *more, data="features.npz", code=1):
    words = ("fit", tmp_path / data, "--out", tmp_path / "c")
    return run(*words, *(() if "--shots" in more else ("--shots", 2)), *more, code=code)[1]


def changed(tmp_path, **arrays):
    """A copy of the feature file with some arrays in place of its own."""
    with np.load(tmp_path / "features.npz") as file:
        np.savez(tmp_path / "changed.npz", **(dict(file) | arrays))
    return "changed.npz"


def photo(path, size=(40, 32), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(str(path).encode())).integers(
        0, 256, (size[1], size[0], 3), np.uint8
    )
    Image.fromarray(noise).convert(mode).save(path, **options)
    return path


# Images ###############################################################################


def test_fault_01_files_that_are_no_images(images, model, tmp_path):
    train = images / "train" / "class_0"
    half = photo(tmp_path / "whole.jpg", (200, 200)).read_bytes()
    for name, broken in (("a.jpg", b""), ("b.jpg", b"text"), ("c.jpg", half[: len(half) // 2])):
        (train / name).write_bytes(broken)
    (images / "test" / "class_1" / "d.jpg").write_bytes(b"text")
    said = encode(images, model, tmp_path / "f.npz")
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        assert re.search(rf"Skipped: The image \S*{name} cannot be decoded \(", said)
    assert len(FeatureFile.load(tmp_path / "f.npz").train) == 9
    before = (tmp_path / "f.npz").read_bytes()
    said = encode(images, model, tmp_path / "f.npz", "--strict", "--overwrite", code=1)
    assert re.search(
        r"Error: The image \S*[abcd]\.jpg cannot be decoded \(.*\): replace or re", said
    )
    assert (tmp_path / "f.npz").read_bytes() == before
    words = ("--methods", "zero_shot", "--shots", 1, "--seeds", 1, "--out", tmp_path / "r")
    run("compare", images, "--model", model, *words, code=0)
    [path] = (tmp_path / "r").iterdir()
    measured = json.loads(path.read_text())
    assert measured["num_images"] == 6
    assert measured["features"]["skipped"] >= 1


def test_fault_02_a_class_without_a_readable_image(images, model, tmp_path):
    for path in (images / "train" / "class_1").iterdir():
        path.write_bytes(b"")
    words = ("--shots", 1, "--out", tmp_path / "c")
    assert re.search("Error: .*'class_1'", run("fit", images, "--model", model, *words, code=1)[1])
    encode(images, model, tmp_path / "f.npz")  # the other classes are encoded
    said = run("fit", tmp_path / "f.npz", *words, code=1)[1]
    assert "1 of 3 classes has no image: 'class_1'" in said
    assert not (tmp_path / "c" / "classifier.json").exists()


def test_fault_03_a_header_that_promises_too_much(images, model, tmp_path):
    def chunk(kind, part):
        return (
            struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        )

    header = struct.pack(">IIBBBBB", 65_500, 65_500, 8, 2, 0, 0, 0)
    bomb = images / "train" / "class_0" / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    begin = time.perf_counter()
    with pytest.raises(UnreadableImageError):
        decode_image(bomb)
    assert time.perf_counter() - begin < 0.5
    said = encode(images, model, tmp_path / "f.npz")
    assert re.search(r"Skipped: The image \S*bomb\.png .*pixels.* 100,000,000 are allowed", said)


def test_fault_04_other_modes_become_rgb(encoder, tmp_path):
    paths = {
        "RGBA": photo(tmp_path / "a.png", mode="RGBA"), "P": photo(tmp_path / "p.png", mode="P"),
        "CMYK": photo(tmp_path / "c.jpg", mode="CMYK"), "1": photo(tmp_path / "1.png", mode="1"),
    }  # fmt: skip
    for path in paths.values():
        with Image.open(path) as opened:
            assert torch.equal(
                encoder.encode_images([path]).x, encoder.encode_images([opened.convert("RGB")]).x
            )
    wide = Image.fromarray(np.arange(0, 60_000, 50, dtype=np.uint16).reshape(30, 40))
    wide.save(tmp_path / "wide.png")
    assert len(np.unique(np.asarray(decode_image(tmp_path / "wide.png")))) > 200
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(photo(tmp_path / "turned.jpg", exif=exif)).size == (32, 40)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_fault_05_odd_sizes_give_finite_features(size, encoder, tmp_path):
    x = encoder.encode_images([photo(tmp_path / "odd.png", size)], views=2).x
    assert x.isfinite().all()
    torch.testing.assert_close(x.norm(dim=-1), torch.ones(1, 2))


@pytest.mark.parametrize("kind", ["empty", "flat", "hidden"])
def test_fault_06_folders_without_class_folders(kind, tmp_path, model):
    folder = tmp_path / "photos"
    folder.mkdir()
    if kind == "flat":
        photo(folder / "1.png")
    if kind == "hidden":
        for name in (".DS_Store", "Thumbs.db"):
            (folder / name).write_bytes(b"")
        photo(folder / "__MACOSX" / "a" / "1.png")
    said = encode(folder, model, tmp_path / "f.npz", code=1)
    assert f"Error: {folder} has no class folders: put the images" in said
    for name in ("a", "b"):
        photo(folder / name / "1.png")
        (folder / name / ".DS_Store").write_bytes(b"")
    if kind != "flat":
        assert "2 classes, images: 2 train" in encode(folder, model, tmp_path / "f.npz")


def test_fault_07_fewer_images_than_shots(data, images, model, tmp_path):
    said = fit(tmp_path, "--shots", 5)
    assert "4 of 4 classes have fewer than 5 images: 'class 0' (4), 'class 1' (4)" in said
    said = run("fit", images, "--model", model, "--shots", 4, "--out", tmp_path / "c", code=1)[1]
    assert "3 of 3 classes have fewer than 4 images: 'class_0' (3)" in said
    assert not (tmp_path / "c" / "classifier.json").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat"], "one class, 'cat': at least two"),
        (["a_b", "a b"], "'a b' and 'a_b' are classes of their own, though their names are alike"),
        (["Cat", "cat"], "'Cat' and 'cat' are classes of their own, though their names are alike"),
    ],
)
def test_fault_08_one_class_or_two_of_the_same_name(names, message, tmp_path, model):
    for name in names:
        photo(tmp_path / "photos" / name / "1.png")
    code = 1 if len(names) == 1 else 0
    assert message in encode(tmp_path / "photos", model, tmp_path / "f.npz", code=code)
    one = GraphAdapterClassifier("gda").fit(np.eye(3), [7, 7, 7])  # as scikit-learn allows
    assert one.predict(np.eye(3)).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(16) + 0.5, "labels"),
        (np.arange(16) - 1, "negative|-1"),
        (np.full(16, np.nan), "labels"),
        (np.full(16, "cat"), "'train_labels' holds 'cat' in row 0"),
        (np.ones(16, bool), "'train_labels' must be|labels"),
        (np.zeros((16, 2), int), "labels"),
        (np.full(16, 9), "label|9"),
        (np.full(16, 2**63, np.uint64), "label"),
        (np.zeros(3, int), "label"),
    ],
)
def test_fault_09_labels_that_are_none(labels, message, data, tmp_path):
    said = fit(tmp_path, data=changed(tmp_path, train_labels=labels))
    assert "changed.npz" in said
    assert re.search(message, said)
    assert not (tmp_path / "c" / "classifier.json").exists()


def test_fault_09_labels_of_the_estimator():
    X = np.random.default_rng(0).normal(size=(6, 4))
    for y in ([0.5, 1.5, 0.5, 1.5, 0.5, 1.5], np.zeros((6, 2)), [np.nan] * 6):
        with pytest.raises(ValueError, match=r"label|1d array|NaN"):
            GraphAdapterClassifier("gda").fit(X, y)
    for y in ([-1, 7, -1, 7, 3, 3], ["a", "b", "a", "b", "c", "c"], [True, False] * 3):
        classifier = GraphAdapterClassifier("gda").fit(X, y)
        assert set(classifier.predict(X)) <= set(y)


@pytest.mark.parametrize(
    "name", ["word " * 500, "🐈 emoji", "../../x", "{} braces {0}", "two\nlines", "%s"]
)
def test_fault_10_class_names_of_all_kinds(name, model, tmp_path, caplog):
    rows = [{"file_name": str(photo(tmp_path / f"{i}.png")), "class_name": c}
            for i, c in enumerate((name, "cat"))]  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(rows))
    before = set(tmp_path.parent.iterdir())
    said = encode(tmp_path / "list.json", model, tmp_path / "f.npz")
    file = FeatureFile.load(tmp_path / "f.npz")
    assert file.text.isfinite().all()
    assert len(file.class_names) == 2
    assert set(tmp_path.parent.iterdir()) == before
    if name.startswith("word"):
        assert re.search(r"A text of \d+ tokens is cut after 16", said + caplog.text)


def test_fault_10_an_empty_class_name(model, tmp_path):
    (tmp_path / "list.csv").write_text(f"file_name,class_name\n{photo(tmp_path / '1.png')},\n")
    said = encode(tmp_path / "list.csv", model, tmp_path / "f.npz", code=1)
    assert "list.csv" in said
    assert not (tmp_path / "f.npz").exists()


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_fault_11_templates_without_one_place(template, images, model, tmp_path):
    words = ("--out", tmp_path / "f.npz", "--template", template)
    code, said = run("encode", images, "--model", model, *words)
    assert code in (1, 2)
    assert f"A template needs one {{}} for the class name (got {template!r})" in said


# Features #############################################################################


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
@pytest.mark.parametrize("key", ["train_features", "test_features", "text_features"])
def test_fault_12_rows_that_are_no_features(value, key, data, tmp_path):
    with np.load(tmp_path / "features.npz") as file:
        rows = file[key].copy()
    rows[1] = value
    said = fit(tmp_path, data=changed(tmp_path, **{key: rows}))
    assert re.search(rf"changed\.npz: .*{key}", said)
    assert "in rows 1" in said
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        GraphAdapterClassifier("gda").fit(np.array([[1.0, 2.0], [np.nan, 1.0]]), [0, 1])
    assert not (tmp_path / "c" / "classifier.json").exists()


def test_fault_13_features_of_another_width_or_model(data, images, checkpoint, tmp_path):
    fit(tmp_path, "--method", "zero_shot", code=0)
    fake_features(num_classes=4, channels=9).save(tmp_path / "wide.npz")
    said = run("predict", tmp_path / "c", tmp_path / "wide.npz", code=1)[1]
    assert "fitted with features 8 wide (got [80, 9])" in said
    model = shutil.copytree(checkpoint("clip"), tmp_path / "model")
    words = ("--model", model, "--shots", 1, "--method", "zero_shot", "--out", tmp_path / "d")
    run("fit", images, *words, code=0)
    before = content(tmp_path / "d")
    weights = load_file(model / "model.safetensors")
    weights["visual_projection.weight"] += 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    said = run("predict", tmp_path / "d", images / "test", code=1)[1]
    assert "weights" in said
    assert str(model) in said
    assert content(tmp_path / "d") == before


@pytest.mark.filterwarnings("ignore:The class names tell")  # of channels in another order
@pytest.mark.parametrize("kind", [np.float16, np.float64, "fortran", "memmap", "bfloat16"])
def test_fault_14_features_of_all_types_are_taken_and_never_changed(kind, data, tmp_path):
    x = data.train.x[:, 0].numpy()
    if kind == "memmap":
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    elif kind == "fortran":
        x = np.asfortranarray(x)[:, ::-1]
    elif kind != "bfloat16":
        x = x.astype(kind)
    before = x.tobytes()
    tensor = torch.from_numpy(np.array(x))
    tensor = tensor.bfloat16() if kind == "bfloat16" else tensor
    kept = tensor.clone()
    task = replace(draw_task(data, 2, 1), text=data.text)
    classifier = FewShotClassifier.fit(
        FeatureFile(data.text, data.class_names, Features(tensor, data.train.y)), 2, progress=False
    )
    assert classifier.predict_proba(tensor).isfinite().all()
    assert torch.equal(tensor, kept)
    assert len(task.support) == 8
    estimator = GraphAdapterClassifier("graph_adapter", epochs=2).fit(x, data.train.y.numpy())
    assert np.isfinite(estimator.predict_proba(x)).all()
    assert x.tobytes() == before


def test_fault_14_whole_numbers_are_labels_and_no_features(data, tmp_path):
    numbers = np.ones((16, 8), dtype=np.int32)
    said = fit(tmp_path, data=changed(tmp_path, train_features=numbers))
    assert "Features must be floating-point numbers [N, D] or [N, V, D] (got torch.int32" in said
    X = np.random.default_rng(0).integers(-9, 9, (6, 4))
    before = X.copy()
    GraphAdapterClassifier("gda").fit(X, [0, 1, 2] * 2).predict(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("edge_index", "edge_weight", "message"),
    [
        ([[0, 9], [1, 1]], [1.0, 1.0], "9|index"),
        ([[0, -1], [1, 1]], [1.0, 1.0], "-1|index"),
        ([[0, 1], [1, 1]], [1.0], "weight"),
        ([[0, 1], [1, 1]], [1.0, float("nan")], "weight|finite"),
        ([[0.5, 1], [1, 1]], [1.0, 1.0], "edge_index|int"),
    ],
)
def test_fault_15_graphs_that_do_not_fit(edge_index, edge_weight, message):
    conv = KnowledgeConv(4, 4)
    with pytest.raises((ValueError, IndexError), match=message):
        conv(torch.ones(3, 4), torch.tensor(edge_index), torch.tensor(edge_weight))


def test_fault_15_odd_graphs_that_do():
    conv = KnowledgeConv(4, 4)
    x = torch.randn(3, 4)
    empty = torch.empty(2, 0, dtype=torch.long)
    assert conv(x, empty, torch.empty(0)).isfinite().all()
    once = conv(x, torch.tensor([[0, 0], [1, 0]]), torch.tensor([1.0, 1.0]))  # with a self-loop
    twice = conv(x, torch.tensor([[0, 0, 0], [1, 1, 0]]), torch.tensor([0.5, 0.5, 1.0]))
    torch.testing.assert_close(once, twice)
    assert once[2].isfinite().all()  # a node without edges


def test_fault_16_more_neighbours_than_nodes(data, tmp_path):
    with pytest.warns(
        UserWarning, match="A graph of 3 nodes has no 99 neighbours per node: using 2"
    ):
        graph = knowledge_graph(torch.randn(3, 4).abs(), k=99)
    assert graph.edge_index.size(1) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = fit(tmp_path, "--set", "k=99", "--epochs", 1, code=0)
    assert "Saved graph_adapter" in said
    assert said.count("k=99 neighbours per class are more than there are classes (4)") == 1
    one = fake_features(num_classes=1, channels=8, shots=2, tests=2)
    assert FewShotClassifier.fit(one, 1, progress=False).predict(one.test.mean_views()[:1]) == [
        "class 0"
    ]


# The cache ############################################################################


def shard(cache):
    return next(cache.rglob("*.safetensors"))


@pytest.mark.parametrize("damage", ["truncated", "bit", "type", "shape", "foreign", "empty"])
def test_fault_17_damaged_shards_are_moved_aside(damage, images, model, tmp_path):
    encode(images, model, tmp_path / "f.safetensors")
    path = shard(tmp_path / "cache")
    whole = path.read_bytes()
    if damage in ("type", "shape"):  # with the right sum
        arrays = load_file(path)
        arrays["x"] = arrays["x"].half() if damage == "type" else arrays["x"][:-1].contiguous()
        save_file(arrays, tmp_path / "other")
        broken = (tmp_path / "other").read_bytes()
        path.unlink()
        path = path.with_name(f"{hashlib.sha256(broken).hexdigest()}.safetensors")
        path.write_bytes(broken)
    else:
        path.write_bytes({
            "truncated": whole[:-9], "foreign": b"something else", "empty": b"",
            "bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        }[damage])  # fmt: skip
    encode(images, model, tmp_path / "g.safetensors")
    assert (tmp_path / "f.safetensors").read_bytes() == (tmp_path / "g.safetensors").read_bytes()
    assert list(tmp_path.joinpath("cache").rglob(f"{path.name}.corrupt"))
    assert whole in content(tmp_path / "cache").values()


def test_fault_17_a_cache_of_a_later_version_is_left_alone(images, model, tmp_path):
    encode(images, model, tmp_path / "f.safetensors")
    manifest = next((tmp_path / "cache").rglob("manifest.json"))
    later = manifest.read_text().replace('"schema": ', '"schema": 9')
    other = tmp_path / "cache" / hashlib.sha256(later.encode()).hexdigest()[:32]
    other.mkdir()
    (other / "manifest.json").write_text(later)
    (other / "new").write_bytes(b"of a later version")
    before = content(other)
    said = encode(images, model, tmp_path / "g.safetensors")
    assert "0 encoded, 15 from the cache" in said
    run("cache", "gc", "--cache-dir", tmp_path / "cache", "--unused-days", 0, code=0)
    assert content(other) == before


class Killed(BaseException):
    """Stands for the end of the process. ``benchmarks/faults`` kills real ones."""


@pytest.mark.parametrize("survived", range(0, 40, 3))
def test_fault_18_a_killed_command_goes_on(survived, images, model, tmp_path, monkeypatch):
    encode(images, model, tmp_path / "whole.safetensors", "--shard-images", 4)
    expected = (tmp_path / "whole.safetensors").read_bytes()
    shards = {n: c for n, c in content(tmp_path / "cache").items() if n.endswith(".safetensors")}
    shutil.rmtree(tmp_path / "cache")
    calls = []

    def dying(call):
        def at_most(*arguments, **options):
            calls.append(call)
            if len(calls) > survived:
                raise Killed
            return call(*arguments, **options)

        return at_most

    out = tmp_path / "f.safetensors"
    with monkeypatch.context() as patch:
        for name in ("replace", "fsync", "link"):
            patch.setattr(os, name, dying(getattr(os, name)))
        try:
            encode(images, model, out, "--shard-images", 4)
        except Killed:
            assert not out.exists() or out.read_bytes() == expected
    for name, kept in content(tmp_path / "cache").items():
        if name.endswith(".safetensors"):
            assert shards[name] == kept
    encode(images, model, out, "--shard-images", 4, "--overwrite")
    assert out.read_bytes() == expected
    assert {
        n: c for n, c in content(tmp_path / "cache").items() if n.endswith(".safetensors")
    } == shards


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EDQUOT, errno.EROFS])
def test_fault_19_a_disk_that_takes_nothing(code, images, model, tmp_path, monkeypatch):
    import tempfile

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    out = tmp_path / "f.npz"
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    said = encode(images, model, out, code=1)
    assert str(tmp_path / "cache") in said
    assert f"cannot be written ({os.strerror(code)}): " in said
    assert re.search(r"[\d,]+ bytes are needed", said)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    said = encode(images, model, out, "--no-cache", code=1)
    assert str(out) in said
    assert not out.exists()
    monkeypatch.undo()
    encode(images, model, out, "--no-cache")
    assert FeatureFile.load(out).train.x.isfinite().all()


@pytest.mark.parametrize("locks", ["held before", "none"])
def test_fault_20_several_writers_of_one_cache(locks, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    cache = FeatureCache(folder, {"model": "a", "dtype": "float32"})
    keys = [bytes([i]) * 32 for i in range(40)]
    x = torch.randn(40, 4)
    if locks == "none":

        def refuse(*_, **__):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    else:  # by a process that was killed: the file is there, and nobody holds it
        cache.folder.mkdir(parents=True)
        (cache.folder / ".lock").write_bytes(b"")

    def write(start):
        own = FeatureCache(folder, {"model": "a", "dtype": "float32"})
        for i in (*range(start, 40, 8), *range(0, start, 8)):
            own.write(keys[i : i + 8], x[i : i + 8])

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 8, 16, 24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    out = torch.zeros(40, 4)
    assert FeatureCache(folder, {"model": "a", "dtype": "float32"}).read(keys, out).all()
    assert torch.equal(out, x)
    assert not list(folder.rglob("*.corrupt"))


def test_fault_21_an_image_that_was_replaced(images, model, tmp_path):
    first = images / "train" / "class_0" / "1.png"
    encode(images, model, tmp_path / "f.npz")
    status = first.stat()
    Image.new("RGB", (40, 32), "white").save(first)
    assert first.stat().st_size <= status.st_size
    first.write_bytes(first.read_bytes().ljust(status.st_size, b"\x00"))
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (first.stat().st_size, first.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert "1 encoded, 14 from the cache" in encode(images, model, tmp_path / "g.npz")


def test_fault_22_what_features_depend_on_has_changed(images, model, tmp_path, caplog):
    encode(images, model, tmp_path / "f.npz")
    with caplog.at_level(logging.INFO, "pyg_graphadapter"):
        said = encode(images, model, tmp_path / "g.npz", "--dtype", "float16")
    assert "15 encoded, 0 from the cache" in said
    assert re.search(r"'dtype' is '(torch\.)?float16' now and was '(torch\.)?float32'", caplog.text)
    assert "0 encoded, 15 from the cache" in encode(images, model, tmp_path / "h.npz")


# Models ###############################################################################


@pytest.mark.parametrize("name", ["opnai/clip-vit-base-patch16", "no/such-model"])
def test_fault_23_a_model_that_is_not_here(name, images, tmp_path):
    begin = time.perf_counter()
    said = encode(images, name, tmp_path / "f.npz", "--offline", code=1)
    assert f"hf download {name}" in said
    assert time.perf_counter() - begin < 20
    said = encode(images, tmp_path / "gone", tmp_path / "f.npz", code=1)
    assert f"The model '{tmp_path}/gone' cannot be loaded" in said


def test_fault_24_a_model_of_another_kind(images, tmp_path):
    import transformers

    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    said = encode(images, tmp_path / "bert", tmp_path / "f.npz", code=1)
    assert "of type 'bert'" in said
    for name in ("clip", "siglip", "altclip"):
        assert name in said


@pytest.mark.parametrize(
    "damage", ["missing", "extra", "misshaped", "half", "config", "vocabulary"]
)
def test_fault_25_a_model_that_does_not_fit_its_configuration(damage, images, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    named = "visual_projection.weight"
    if damage == "missing":
        del weights[named]
    elif damage == "extra":
        named = "left.over"
        weights[named] = torch.ones(2)
    elif damage == "misshaped":
        weights[named] = torch.ones(2, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if damage == "half":
        named = ""
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    elif damage == "config":
        named = ""
        (folder / "config.json").write_text((folder / "config.json").read_text()[:90])
    elif damage == "vocabulary":
        named = ""
        for name in ("tokenizer.json", "vocab.json", "merges.txt"):
            (folder / name).unlink(missing_ok=True)
    said = encode(images, folder, tmp_path / "f.npz", code=1)
    assert re.search(f"The model {str(folder)!r} cannot be (loaded|used)", said)
    assert named in said
    assert not (tmp_path / "f.npz").exists()


def test_fault_25_a_configuration_with_an_unknown_entry(images, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"not_known_yet": [1]}))
    encode(images, folder, tmp_path / "f.npz")


def test_fault_25_a_classifier_of_a_later_version(data, tmp_path):
    fit(tmp_path, "--method", "zero_shot", code=0)
    path = tmp_path / "c" / "classifier.json"
    path.write_text(path.read_text().replace("/classifier/4", "/classifier/9"))
    said = run("predict", tmp_path / "c", tmp_path / "features.npz", code=1)[1]
    assert "its format is 'pyg_graphadapter/classifier/9', and this version knows" in said


class Payload:
    """Raises a flag when it is unpickled."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return (Path.write_text, (self.flag, "run"))


@pytest.mark.parametrize(
    "name", ["f.pt", "f.safetensors", "f.npz", "list.csv", "list.json", "t.tar", "s.toml"]
)
def test_fault_26_hostile_files_run_nothing(name, data, tmp_path):
    flag = tmp_path / "flag"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Payload(flag)))
    if name == "t.tar":
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "features.npz", "../flag")
    if name == "s.toml":
        path.write_text(f"!!python/object/apply:os.system ['touch {flag}']")
        code, said = run(
            "fit", tmp_path / "features.npz", "--config", path, "--out", tmp_path / "c"
        )
    else:
        code, said = run("fit", path, "--model", "builtin", "--shots", 1, "--out", tmp_path / "c")
    assert code in (1, 2)
    assert name in said
    assert not flag.exists()


def test_fault_27_a_gpu_without_memory(encoder, monkeypatch, caplog, tmp_path):
    paths = [photo(tmp_path / f"{i}.png") for i in range(6)]
    expected = encoder.encode_images(paths).x
    sizes = []

    def short_of_memory(inputs, preprocessing):
        size = len(next(iter(inputs.values())))
        sizes.append(size)
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return type(encoder)._tower_features(encoder, inputs, preprocessing)

    monkeypatch.setattr(encoder, "_tower_features", short_of_memory)
    monkeypatch.setattr(encoder, "batch_size", 8)
    features = encoder.encode_images(paths).x
    torch.testing.assert_close(features, expected)
    assert max(sizes) > 2
    assert "Out of memory with" in caplog.text


def test_fault_27_no_memory_at_all_and_devices_that_are_not_here(
    encoder, data, monkeypatch, tmp_path
):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(encoder, "_tower_features", never)
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode_images([photo(tmp_path / "1.png")])
    for name in ("cuda:99", "gpu", "mps:0", "cdua"):
        if name.startswith("mps") and torch.mps.is_available():
            continue
        said = fit(tmp_path, "--device", name)
        assert f"There is no device '{name}' here" in said
    with pytest.raises(ValueError, match=r"Choose from auto, cpu"):
        resolve_device("cdua")


# Processes, names, terminals ##########################################################


def _kill_this_worker(_, __):
    if torch.utils.data.get_worker_info() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("This is no worker.")


@pytest.mark.slow
def test_fault_28_a_killed_process_that_decodes(images, model, tmp_path, monkeypatch):
    monkeypatch.setattr(image_batches.ImageBatches, "__getitem__", _kill_this_worker)
    words = ("--model", model, "--workers", 1, "--out", tmp_path / "f.npz")
    begin = time.perf_counter()
    said = run("encode", images, *words, code=1)[1]
    assert "was killed" in said
    assert time.perf_counter() - begin < 60
    assert not (tmp_path / "f.npz").exists()


RANK = """
import os, signal, sys
from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder
if os.environ["RANK"] == "1":
    DatasetEncoder.fill_cache = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
from pyg_graphadapter.__main__ import main
sys.argv[0] = "graphadapter"
main()
"""


@pytest.mark.slow
def test_fault_28_a_killed_rank(images, tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words = ["encode", images, "--model", "builtin", "--out", tmp_path / "f.npz"]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    ended = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "rank.py"), *map(str, words)],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert re.search(r"rank\s*: 1|local_rank: 1", ended.stderr)
    assert not (tmp_path / "f.npz").exists()


def test_fault_29_file_names_of_all_kinds(model, tmp_path):
    names = [
        os.fsdecode(b"\xff\xfe.png"),
        "x" * 250 + ".png",
        "aux.png",
        "a\nb.png",
        "A.png",
        "a.png",
    ]
    folder = tmp_path / "photos"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for i, name in enumerate(names):
            shutil.copy(photo(tmp_path / f"{label * (i + 1)}.png"), folder / label / name)
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "a" / "self.png").symlink_to("self.png")
    (folder / "b" / os.fsdecode(b"\xff.jpg")).write_bytes(b"no image")
    said = encode(folder, model, tmp_path / "f.npz")
    assert "Wrote" in said
    file = FeatureFile.load(tmp_path / "f.npz")
    assert file.class_names == ("a", "b")
    assert len(file.train) >= 12
    said.encode("utf-8")


@pytest.mark.slow
def test_fault_30_terminals_of_all_kinds(data, tmp_path, monkeypatch):
    fit(tmp_path, "--method", "zero_shot", code=0)
    words = [
        "-m",
        "pyg_graphadapter",
        "predict",
        tmp_path / "c",
        tmp_path / "features.npz",
        "--top",
        3,
    ]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "20", "TERM": "dumb"}
    command = [sys.executable, *map(str, words)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert len(ended.stdout.splitlines()) == 20
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as piped:
        piped.stdout.close()  # as `| head -0` does
        error = piped.stderr.read()
    assert "BrokenPipe" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize("lr", ["1e38", "1e30"])
def test_fault_31_training_that_diverges(lr, data, tmp_path):
    fit(tmp_path, "--method", "zero_shot", code=0)
    before = content(tmp_path / "c")
    said = fit(tmp_path, "--lr", lr, "--set", "activation=none", "--epochs", 50, "--overwrite")
    assert re.search(r"Training diverged.*(NaN|nan|inf|finite).*(step|epoch) ?\d+", said), said
    assert content(tmp_path / "c") == before
    adapter = GraphAdapter.from_task(draw_task(data, 2, 1), activation="none")
    with pytest.raises(ValueError, match="Training diverged"):
        train(adapter, draw_task(data, 2, 1), TrainConfig(lr=1e38, epochs=50), progress=False)
    assert all(p.isfinite().all() for p in adapter.parameters())


@pytest.mark.parametrize("seed", [-1, 0, 2**40])
def test_fault_32_the_same_seed_twice(seed, data, tmp_path):
    for name in ("a", "b"):
        words = ("--seed", seed, "--shots", 2, "--epochs", 3, "--out", tmp_path / name)
        run("fit", tmp_path / "features.npz", *words, code=0)
    x = data.test.mean_views()
    first, second = (FewShotClassifier.load(tmp_path / name).predict_proba(x) for name in "ab")
    assert torch.equal(first, second)
    other = FewShotClassifier.fit(
        data, 2, 12345, config=TrainConfig(epochs=3, seed=12345), progress=False
    )
    assert not torch.equal(other.predict_proba(x), first)


@pytest.mark.parametrize("seed", [2**64, "x", "1.5"])
def test_fault_32_seeds_that_are_none(seed, data, tmp_path):
    code, said = run("fit", tmp_path / "features.npz", "--seed", seed, "--out", tmp_path / "c")
    assert code in (1, 2)
    assert "seed" in said
    with pytest.raises(ValueError, match="'seed' must be"):
        TrainConfig(seed=None)
