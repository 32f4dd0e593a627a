import errno
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from pyg_graphadapter.encoding import cache as cache_module
from pyg_graphadapter.encoding import cache_lock
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.cache_files import read_keys as read_keys_of
from pyg_graphadapter.encoding.config import default_cache_folder
from pyg_graphadapter.storage import sha256

MODEL = {"kind": "images", "model": "a", "dtype": "float32"}


def keys(*numbers):
    return [bytes([number]) * 32 for number in numbers]


def features(*numbers, views=2, width=3):
    rows = torch.tensor(numbers, dtype=torch.float32)
    return rows.view(-1, 1, 1).expand(-1, views, width).clone()


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path, MODEL)


def read(cache, *numbers):
    out = torch.zeros(len(numbers), 2, 3)
    found = cache.read(keys(*numbers), out)
    return out[:, 0, 0].tolist(), found.tolist()


def test_what_was_written_is_read(cache):
    cache.write(keys(1, 2), features(1, 2))
    cache.write(keys(3), features(3))
    assert read(cache, 3, 9, 1, 3) == ([3, 0, 1, 3], [True, False, True, True])
    assert read(FeatureCache(cache.folder.parent, MODEL), 2) == ([2], [True])


def test_an_empty_cache_has_nothing_and_makes_nothing(cache):
    assert read(cache, 1) == ([0], [False])
    assert not cache.folder.exists()


@pytest.mark.parametrize("field", ["kind", "model", "dtype"])
def test_each_part_of_what_features_depend_on_tells_caches_apart(cache, field):
    cache.write(keys(1), features(1))
    other = FeatureCache(cache.folder.parent, {**MODEL, field: "other"})
    assert read(other, 1) == ([0], [False])
    more = FeatureCache(cache.folder.parent, {**MODEL, "views": 2})
    assert read(more, 1) == ([0], [False])


def test_it_says_which_field_changed(cache, caplog):
    cache.write(keys(1), features(1))
    other = FeatureCache(cache.folder.parent, {**MODEL, "dtype": "float16"})
    with caplog.at_level(logging.INFO):
        other.write(keys(1), features(1))
    assert "'dtype' is 'float16' now and was 'float32'" in caplog.text


def test_foreign_manifests_do_not_disturb(cache, tmp_path):
    for name, content in (("a", "no json"), ("b", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    cache.write(keys(1), features(1))
    assert json.loads((cache.folder / "manifest.json").read_text())["model"] == "a"


@pytest.mark.parametrize("where", [3, 200, -1])
def test_a_flipped_bit_is_found_and_its_images_are_missing(cache, caplog, where):
    cache.write(keys(1, 2), features(1, 2))
    cache.write(keys(3), features(3))
    [path] = [p for p in cache.folder.glob("*.safetensors") if read_keys(p) == keys(1, 2)]
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    values, found = read(cache, 1, 2, 3)
    assert values[2] == 3
    assert found[2]
    assert not any(found[:2]) or values[:2] == [1, 2]  # a key may have changed into another's
    cache.write(keys(1, 2), features(1, 2))
    assert read(cache, 1, 2, 3) == ([1, 2, 3], [True, True, True])
    assert "damaged" in caplog.text
    assert list(cache.folder.glob("*.corrupt"))


def read_keys(path):
    return read_keys_of(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100])
def test_truncated_and_foreign_files_are_moved_aside(cache, content):
    cache.write(keys(1), features(1))
    [path] = cache.folder.glob("*.safetensors")
    path.write_bytes(content)
    (cache.folder / f"{'0' * 64}.safetensors").write_bytes(content)
    assert read(cache, 1) == ([0], [False])
    assert len(list(cache.folder.glob("*.corrupt"))) == 2


def test_features_of_another_shape_are_not_taken(cache):
    cache.write(keys(1), features(1, views=1))
    assert read(cache, 1) == ([0], [False])


def test_of_two_writers_the_first_wins_and_both_get_its_features(cache):
    second = FeatureCache(cache.folder.parent, MODEL)
    cache.write(keys(1, 2), features(1, 2))
    kept = second.write(keys(2, 3), features(9, 3))
    assert kept[:, 0, 0].tolist() == [2, 3]
    assert read(second, 1, 2, 3) == ([1, 2, 3], [True] * 3)
    assert len(list(cache.folder.glob("*.safetensors"))) == 2
    second.write(keys(1, 2), features(8, 8))
    assert len(list(cache.folder.glob("*.safetensors"))) == 2


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    import torch
    from pyg_graphadapter.encoding.cache import FeatureCache
    cache = FeatureCache(Path(sys.argv[1]), {"model": "a"})
    print("ready", flush=True)
    for n in range(int(sys.argv[2])):
        cache.write([n.to_bytes(32, "big")], torch.full((1, 50_000), float(n)))
""")


def writer(folder, count):
    command = [sys.executable, "-c", WRITER, str(folder), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def check_written(folder, count):
    cache = FeatureCache(folder, {"model": "a"})
    out = torch.zeros(count, 50_000)
    found = cache.read([n.to_bytes(32, "big") for n in range(count)], out)
    for n in found.nonzero().flatten().tolist():
        assert (out[n] == n).all()
    assert not list(cache.folder.glob("*.corrupt"))
    return int(found.sum())


def test_two_processes_that_write_the_same_give_one_result(tmp_path):
    with writer(tmp_path, 20) as first, writer(tmp_path, 20) as second:
        assert [first.wait(60), second.wait(60)] == [0, 0]
    assert check_written(tmp_path, 20) == 20
    cache = FeatureCache(tmp_path, {"model": "a"})
    assert len(list(cache.folder.glob("*.safetensors"))) == 20


def test_a_killed_writer_leaves_whole_shards(tmp_path):
    with writer(tmp_path, 100_000) as process:
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    written = check_written(tmp_path, 1000)
    assert written < 1000
    # The lock of the killed one holds nobody up:
    FeatureCache(tmp_path, {"model": "a"}).write(keys(1), torch.zeros(1, 50_000))


def test_what_killed_writers_left_is_collected_after_a_while(cache):
    cache.write(keys(1), features(1))
    old, new = cache.folder / ".manifest.json.1.tmp", cache.folder / ".manifest.json.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.write(keys(2), features(2))
    assert not old.exists()
    assert new.exists()


def test_a_full_disk_is_told_and_leaves_nothing_partial(cache, monkeypatch):
    cache.write(keys(1), features(1))

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "write_atomic", full)
    with pytest.raises(OSError, match=r"cannot be written.*No space left.*24 bytes"):
        cache.write(keys(2), features(2))
    monkeypatch.undo()
    assert read(cache, 1, 2) == ([1, 0], [True, False])


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        FeatureCache(tmp_path / "file", MODEL).write(keys(1), features(1))


@pytest.mark.parametrize(
    "error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "No locks available")]
)
def test_a_file_system_without_locks_costs_the_lock_alone(cache, monkeypatch, error):
    def acquire(self, *_, **__):
        raise error

    monkeypatch.setattr(cache_lock.filelock.FileLock, "acquire", acquire)
    cache.write(keys(1), features(1))
    assert read(cache, 1) == ([1], [True])


def test_a_lock_that_cannot_be_made_is_told(cache, monkeypatch):
    def acquire(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cache_lock.filelock.FileLock, "acquire", acquire)
    with pytest.raises(OSError, match=r"cannot be written \(Permission denied\)"):
        cache.write(keys(1), features(1))
    assert read(cache, 1) == ([0], [False])


def test_writing_leaves_the_features_of_the_caller_as_they_are(cache):
    FeatureCache(cache.folder.parent, MODEL).write(keys(1), features(1))
    x = features(2)
    assert torch.equal(cache.write(keys(1), x), features(1))
    assert torch.equal(x, features(2))


def test_a_damaged_shard_that_cannot_be_moved_aside_is_passed_over(cache, monkeypatch):
    cache.write(keys(1), features(1))
    [path] = cache.folder.glob("*.safetensors")
    content = path.read_bytes()  # its last 32 bytes are the key, those before are features
    path.write_bytes(content[:-33] + b"x" + content[-32:])
    monkeypatch.setattr(cache_module, "move_aside", lambda _: None)
    features_of, reads = cache._features_of, []

    def counted(shard, like):
        reads.append(shard)
        assert len(reads) <= 2, "the shard is read again and again"
        return features_of(shard, like)

    monkeypatch.setattr(cache, "_features_of", counted)
    assert read(cache, 1) == ([0], [False])
    assert cache.has(keys(1)) == [False]
    assert len(reads) == 1


def test_what_another_process_writes_is_seen(cache):
    assert cache.has(keys(1)) == [False]
    FeatureCache(cache.folder.parent, MODEL).write(keys(1, 2), features(1, 2))
    assert cache.has(keys(1, 3, 2)) == [True, False, True]


def test_a_shard_that_another_process_moves_aside_meanwhile(cache, monkeypatch):
    cache.write(keys(1), features(1))
    [path] = cache.folder.glob("*.safetensors")
    monkeypatch.setattr(FeatureCache, "_shards", lambda _: [path.with_name("gone"), path])
    assert read(cache, 1) == ([1], [True])
    path.unlink()
    assert read(cache, 1) == ([0], [False])
    assert cache._features_of(path, features(1)) is None
    cache_module.move_aside(path)


def test_shards_are_named_for_their_content_and_readable_by_others(cache):
    cache.write(keys(1), features(1))
    [path] = cache.folder.glob("*.safetensors")
    assert sha256(path.read_bytes()) == path.stem
    assert str(cache.folder) in repr(cache)


def test_where_caches_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PYG_GRAPHADAPTER_CACHE", raising=False)
    assert default_cache_folder() == tmp_path / "pyg_graphadapter"
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "own"))
    assert default_cache_folder() == tmp_path / "own"
