import functools
import hashlib
import json
import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pyg_graphadapter import Encoder
from pyg_graphadapter.data import UnreadableImageError, image_name
from pyg_graphadapter.encoding import image_batches, pipeline
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.image_batches import (
    Batch,
    EncodedBatch,
    ImageBatches,
    digest_of,
    in_batches,
    join_shards,
)
from pyg_graphadapter.encoding.views import Views
from pyg_graphadapter.parallel import WorkerKilledError
from pyg_graphadapter.testing import fake_images

# Python 3.12 and later warn of processes that are forked beside threads:
ignore_forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture
def files(tmp_path):
    return sorted(fake_images(tmp_path / "images").rglob("*.*g"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def encode(encoder, files, *arguments, **settings):
    return encoder.encode_images(files, *arguments, progress=False, **settings)


def bad_file(path):
    path.write_bytes(b"no image " + path.name.encode())
    return path


# Batches and workers ##################################################################


@pytest.mark.parametrize("views", [1, 3])
def test_features_do_not_depend_on_the_size_of_batches(encoder, files, views):
    expected = encode(encoder, files, views).x
    for size in (1, 7, 32):
        encoder.batch_size = size
        torch.testing.assert_close(encode(encoder, files, views).x, expected, atol=2e-6, rtol=0)


@pytest.mark.slow
@ignore_forks
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_features_do_not_depend_on_workers(encoder, files, start, tmp_path, monkeypatch):
    given = [*files[:5], bad_file(tmp_path / "bad.png"), files[5].read_bytes()]
    expected = encode(encoder, given, 2)
    loader = functools.partial(DataLoader, multiprocessing_context=start)
    monkeypatch.setattr(pipeline, "DataLoader", loader)
    encoder.pipeline.workers = 2
    found = encode(encoder, given, 2)
    assert torch.equal(found.x, expected.x)
    assert found.skipped == expected.skipped


def test_features_do_not_depend_on_order_or_company(encoder, files):
    expected = encode(encoder, files, 3).x
    alone = torch.cat([encode(encoder, [file], 3).x for file in files[::-1]]).flip(0)
    torch.testing.assert_close(alone, expected, atol=2e-6, rtol=0)


@ignore_forks
def test_a_worker_killed_twice_is_told_and_what_was_finished_is_kept(
    encoder, files, cache, monkeypatch
):
    parent, original = os.getpid(), image_batches.decode_image

    def die(image):
        if os.getpid() != parent and image_name(image) == str(files[-1]):
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(image)

    monkeypatch.setattr(image_batches, "decode_image", die)
    encoder.pipeline.shard_images = 1
    encoder.pipeline.workers, encoder.batch_size = 1, 1
    begin = time.monotonic()
    with pytest.raises(WorkerKilledError, match=r"was killed \(signal 9\).*--workers 1"):
        encode(encoder, files, cache=cache)
    assert time.monotonic() - begin < 30
    monkeypatch.undo()
    assert 1 <= encode(encoder, files, cache=cache).num_encoded < len(files)


# Memory ###############################################################################


def limited(encoder, most, monkeypatch):
    """Lets the tower run out of memory; returns how many rows it was given, each time."""
    original, sizes = encoder.model.get_image_features, []

    def tower(pixel_values):
        sizes.append(len(pixel_values))
        if len(pixel_values) > most:
            raise torch.OutOfMemoryError
        return original(pixel_values)

    monkeypatch.setattr(encoder.model, "get_image_features", tower)
    return sizes


@pytest.mark.parametrize("views", [1, 3, 10])
def test_out_of_memory_halves_the_batch(encoder, files, views, monkeypatch, caplog):
    expected = encode(encoder, files, views).x
    limited(encoder, 3, monkeypatch)
    with caplog.at_level(logging.WARNING):
        found = encode(encoder, files, views).x
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
    assert encoder.batch_size in (2, 3)
    assert f"going on with {encoder.batch_size}." in caplog.text


def test_after_running_out_of_memory_batches_stay_small(encoder, files, monkeypatch, caplog):
    encoder.batch_size = 4
    sizes = limited(encoder, 2, monkeypatch)
    with caplog.at_level(logging.WARNING):
        encode(encoder, files)
    assert caplog.text.count("Out of memory") == 1
    assert "Out of memory with 4 views at once: going on with 2." in caplog.text
    assert sizes == [4] + [2] * 6


def test_a_single_view_that_does_not_fit_is_an_error(encoder, files, monkeypatch):
    limited(encoder, 0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        encode(encoder, files)


# What cannot be encoded ###############################################################


def test_features_that_are_not_finite_are_refused(encoder, files, cache):
    encoder.model.visual_projection.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"not finite in torch\.float32: use dtype='float32'"):
        encode(encoder, files, cache=cache)
    assert not list(cache.rglob("*.safetensors"))


def test_unreadable_images_are_skipped_with_the_reason(encoder, files, tmp_path):
    bad, gone = bad_file(tmp_path / "bad.jpg"), tmp_path / "gone.png"
    given = [files[0], bad, files[1], gone, bad, bad.read_bytes()]
    found = encode(encoder, given)
    assert found.index.tolist() == [0, 2]
    assert found.skipped.keys() == {1, 3, 4, 5}
    assert "bad.jpg" in found.skipped[1]
    assert "gone.png" in found.skipped[3]
    assert found.skipped[1] == found.skipped[4]
    assert found.num_encoded == 2
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        encode(encoder, given, strict=True)


def test_nothing_but_unreadable_images_is_no_crash(encoder, tmp_path, cache):
    bad = [bad_file(tmp_path / f"{i}.jpg") for i in range(20)]
    for given in (bad, bad[:1], []):
        found = encode(encoder, given, 2, cache=cache)
        assert found.x.shape == (0, 2, 24)
        assert found.num_encoded == 0
        assert len(found.skipped) == len(given)


def test_whole_batches_and_shards_may_be_unreadable(encoder, files, tmp_path, cache, monkeypatch):
    encoder.pipeline.shard_images = 2
    encoder.batch_size = 2
    bad = [bad_file(tmp_path / f"{i}.jpg") for i in range(6)]
    found = encode(encoder, [*files[:2], *bad, *files[2:]], cache=cache)
    assert found.index.tolist() == [0, 1, *range(8, 18)]
    torch.testing.assert_close(found.x, encode(encoder, files).x)


@pytest.mark.parametrize("as_a_row", [False, True])
def test_a_file_that_is_replaced_meanwhile_is_skipped(encoder, files, cache, monkeypatch, as_a_row):
    original = image_batches.digest_of

    def replaced(image):
        found = original(image)
        if str(files[2]) in str(image):
            Image.new("RGB", (9, 9)).save(files[2])
        return found

    monkeypatch.setattr(image_batches, "digest_of", replaced)
    given = [{"bytes": None, "path": str(f)} for f in files] if as_a_row else files
    found = encode(encoder, given, cache=cache)
    assert found.skipped.keys() == {2}
    assert f"{files[2]} changed while" in found.skipped[2]
    monkeypatch.undo()
    assert encode(encoder, given, cache=cache).num_encoded == 1


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "row", "image", "array"])
def test_every_kind_of_image_gives_the_same_features(encoder, files, kind):
    path = next(file for file in files if file.suffix == ".png")
    decoded = Image.open(path).convert("RGB")
    image = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "row": {"bytes": path.read_bytes(), "path": "elsewhere.png"},
        "image": decoded,
        "array": np.asarray(decoded),
    }[kind]
    found = encode(encoder, [image])
    torch.testing.assert_close(found.x, encode(encoder, [path]).x, atol=0, rtol=0)


def test_equal_images_are_encoded_once(encoder, files):
    found = encode(encoder, [files[0], files[1], files[0].read_bytes()])
    assert found.num_encoded == 2
    assert torch.equal(found.x[0], found.x[2])


# Parts ################################################################################


def test_the_digest_is_of_the_content_or_of_what_is_not_there(files):
    assert digest_of(files[0]) == hashlib.sha256(files[0].read_bytes()).digest()
    assert digest_of(files[0]) == digest_of(files[0].read_bytes())
    assert digest_of(Path("gone")) == digest_of(Path("gone"))
    assert digest_of(Path("gone")) != digest_of(Path("gone, too"))


def test_a_batch_has_a_row_for_every_view(encoder, files, tmp_path):
    images = [files[0], bad_file(tmp_path / "bad.png"), files[1], files[2]]
    views = Views(encoder.processor, 2)
    batches = ImageBatches(images, [digest_of(f) for f in images], views)
    batch = batches[Batch([2, 1, 0], ends_shard=True)]
    assert batch.images == [2, 0]
    assert batch.inputs["pixel_values"].shape == (4, 3, 32, 32)
    assert batch.skipped.keys() == {1}
    assert batch.ends_shard
    assert batches[Batch([1], ends_shard=False)][:2] == ([], None)


def test_a_batch_knows_whether_it_ends_its_shard():
    batches = list(in_batches([[4, 2, 7], [1], [5, 6]], 2))
    assert batches == [([4, 2], False), ([7], True), ([1], True), ([5, 6], True)]
    encoded = [
        EncodedBatch(batch.images, torch.tensor(batch.images), {}, batch.ends_shard)
        for batch in batches
    ]
    shards = list(join_shards(encoded))
    assert [shard.images for shard in shards] == [[4, 2, 7], [1], [5, 6]]
    assert [shard.x.tolist() for shard in shards] == [[4, 2, 7], [1], [5, 6]]


def test_shards_are_written_while_it_encodes(encoder, files, cache, monkeypatch):
    encoder.pipeline.shard_images = 4
    encoder.batch_size = 2
    encode(encoder, files, cache=cache)
    assert len(list(cache.rglob("*.safetensors"))) == 3
    [manifest] = cache.rglob("shards.jsonl")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert {line["shard"]: line["images"] for line in lines} == {
        path.name: 4 for path in cache.rglob("*.safetensors")
    }


# Shards ###############################################################################


def shards_in(cache):
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


@pytest.fixture
def small_shards(encoder):
    encoder.pipeline.shard_images = 3
    encoder.batch_size = 4  # with two views, a shard has batches of two images and of one


def test_the_order_of_images_changes_no_shard(encoder, files, tmp_path, small_shards):
    encode(encoder, files, 2, cache=tmp_path / "a")
    encode(encoder, [*files[::-1], files[0]], 2, cache=tmp_path / "b")
    assert shards_in(tmp_path / "a") == shards_in(tmp_path / "b")
    assert len(shards_in(tmp_path / "a")) == 4


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_make_the_shards_of_the_whole(encoder, files, tmp_path, small_shards, count):
    expected = encode(encoder, files, 2, cache=tmp_path / "whole")
    encoded = [
        encoder.fill_cache(files, 2, cache=tmp_path / "parts", part=(index, count), progress=False)[
            0
        ]
        for index in range(count)
    ]
    assert sum(encoded) == len(files)
    assert shards_in(tmp_path / "parts") == shards_in(tmp_path / "whole")
    found = encode(encoder, files, 2, cache=tmp_path / "parts")
    assert found.num_encoded == 0
    assert torch.equal(found.x, expected.x)
    assert encoder.fill_cache(files, 2, cache=tmp_path / "parts", progress=False)[0] == 0


def test_the_number_of_cores_changes_no_byte(encoder, files, tmp_path, small_shards):
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            encode(encoder, files, 2, cache=tmp_path / str(threads))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert shards_in(tmp_path / "1") == shards_in(tmp_path / "4")


def test_a_corrupt_image_in_every_shard_is_told(encoder, files, tmp_path, small_shards):
    given = list(files)
    bad = [bad_file(tmp_path / f"{i}.jpg") for i in range(6)]
    given += bad
    counts, skipped = zip(
        *(
            encoder.fill_cache(given, cache=tmp_path / "c", part=(i, 2), progress=False)
            for i in range(2)
        ),
        strict=True,
    )
    assert sum(counts) == len(files)
    assert skipped[0].keys() | skipped[1].keys() == set(range(12, 18))
    found = encode(encoder, given, cache=tmp_path / "c")
    assert found.num_encoded == 0
    assert found.skipped.keys() == set(range(12, 18))


def test_what_another_process_encodes_meanwhile_is_taken(encoder, files, tmp_path, small_shards):
    original = encoder.image_features
    calls = []

    def tower(batch, preprocessing):
        if not calls:
            calls.append(1)
            other = Encoder(
                encoder.model,
                encoder.processor,
                encoder.tokenizer,
                name=encoder.name,
                batch_size=4,
                shard_images=3,
            )
            encode(other, files, cache=tmp_path)
        return original(batch, preprocessing)

    encoder.image_features = tower
    found = encode(encoder, files, cache=tmp_path)
    assert found.num_encoded < len(files)
    assert len(found.x) == len(files)
    assert len(shards_in(tmp_path)) == 4
    assert torch.equal(found.x, encode(encoder, files, cache=tmp_path).x)


def test_what_another_process_wrote_and_is_damaged_is_encoded_after_all(
    encoder, files, tmp_path, small_shards, monkeypatch, caplog
):
    expected = encode(encoder, files, cache=tmp_path).x
    damaged = sorted(tmp_path.rglob("*.safetensors"))[0]
    content = bytearray(damaged.read_bytes())
    content[-3 * 32 - 1] ^= 1  # the last byte of the features; behind them are the keys
    damaged.write_bytes(content)
    read, calls = FeatureCache.read, []

    def nothing_at_first(self, keys, out):
        calls.append(len(keys))
        if len(calls) == 1:
            return torch.zeros(len(keys), dtype=torch.bool)
        return read(self, keys, out)

    monkeypatch.setattr(FeatureCache, "read", nothing_at_first)
    found = encode(encoder, files, cache=tmp_path)
    assert torch.equal(found.x, expected)
    assert found.num_encoded == 3
    assert "is damaged" in caplog.text
