"""What lies in the feature cache, as the command line tells it."""

import os
import time

import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import cli
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.cache_folder import cached_features, collect_garbage, verify


@pytest.fixture
def caches(tmp_path):
    for model, views in (("a", 1), ("b", 2)):
        about = {"model": model, "dtype": "torch.float32", "views": views}
        cache = FeatureCache(tmp_path, about | ({"seed": 3} if views > 1 else {}))
        for numbers in ((1, 2), (3,)):
            cache.write([bytes([n]) * 32 for n in numbers], torch.ones(len(numbers), views, 4))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("no JSON")
    (tmp_path / "empty").mkdir()
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["cache", *map(str, arguments)])


def shards(caches, model):
    [each] = [each for each in cached_features(caches) if each.depends_on["model"] == model]
    return sorted(each.folder.glob("*.safetensors"))


def test_info(caches):
    found = {each.depends_on["model"]: each for each in cached_features(caches)}
    assert {name: each.images for name, each in found.items()} == {"a": 3, "b": 3}
    folder = found["a"].folder
    assert found["a"].num_bytes == sum(path.stat().st_size for path in folder.iterdir())
    result = run("list", "--cache-dir", caches)
    assert result.exit_code == 0
    assert "a, torch.float32, 1 view (" in result.output
    assert "b, torch.float32, 2 views, seed 3 (" in result.output
    assert "2 kinds of features" in result.output
    assert "0 kinds" in run("list", "--cache-dir", caches / "none").output


def test_the_last_used_comes_first(caches):
    for each in cached_features(caches):
        os.utime(each.folder / "manifest.json", (0, 0))
    cache = FeatureCache(caches, {"model": "a", "dtype": "torch.float32", "views": 1})
    cache.read([bytes([1]) * 32], torch.zeros(1, 1, 4))
    first, second = cached_features(caches)
    assert first.depends_on["model"] == "a"
    assert time.time() - first.used < 60
    assert second.used == 0


def test_verify(caches):
    assert run("list", "--verify", "--cache-dir", caches).output == (
        "4 shards are whole, 0 are damaged, 0 are missing.\n"
    )
    damaged, gone = shards(caches, "a")[0], shards(caches, "b")[1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    gone.unlink()
    result = run("list", "--verify", "--cache-dir", caches)
    assert result.exit_code == 1
    assert f"Damaged: {damaged}.corrupt" in result.output
    assert f"Missing: {gone}" in result.output
    assert "2 shards are whole, 1 are damaged, 1 are missing." in result.output
    assert verify(caches).shards == 2  # what was told once is known
    assert run("list", "--verify", "--cache-dir", caches).exit_code == 0


def test_verify_lists_what_a_killed_writer_did_not(caches):
    [listing] = {path.parent / "shards.jsonl" for path in shards(caches, "a")}
    listing.write_text('{"shard": "half a li')
    assert {each.images for each in cached_features(caches)} == {0, 3}
    assert verify(caches).missing == ()
    assert {each.images for each in cached_features(caches)} == {3}


def test_gc_removes_leftovers_alone(caches):
    folder = shards(caches, "a")[0].parent
    old, new = folder / ".shards.jsonl.1.tmp", folder / f".{'0' * 64}.safetensors.2.tmp"
    corrupt = folder / f"{'0' * 64}.safetensors.corrupt"
    for path in (old, new, corrupt):
        path.write_bytes(b"12345")
    os.utime(old, (0, 0))
    assert collect_garbage(caches).num_bytes == 10
    assert new.exists()
    assert not old.exists()
    assert not corrupt.exists()
    assert len(shards(caches, "a")) == len(shards(caches, "b")) == 2


def test_gc_removes_what_is_asked_for(caches):
    os.utime(shards(caches, "b")[0].parent / "manifest.json", (0, 0))
    assert "Freed 0.0 MB." in run("gc", "--cache-dir", caches, "--unused-days", "30").output
    assert [each.depends_on["model"] for each in cached_features(caches)] == ["a"]
    assert collect_garbage(caches, model="a").num_bytes > 0
    assert cached_features(caches) == []
    assert (caches / "other").exists()


def test_the_usual_folder(caches, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(caches))
    assert str(caches) in run("list").output
