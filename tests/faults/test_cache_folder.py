"""The feature cache among foreign, damaged and linked files, killed processes and locks."""

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from pyg_graphadapter import cli
from pyg_graphadapter.encoding import cache as cache_module
from pyg_graphadapter.encoding import cache_folder, cache_lock
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.cache_folder import cached_features, collect_garbage, verify
from pyg_graphadapter.storage import sha256

MODEL = {"model": "a", "dtype": "torch.float32"}


def keys(*numbers):
    return [bytes([number]) * 32 for number in numbers]


@pytest.fixture
def cache(tmp_path):
    """Two shards of three images, in a folder beside which foreign ones may lie."""
    cache = FeatureCache(tmp_path / "caches", MODEL)
    for numbers in ((1, 2), (3,)):
        cache.write(keys(*numbers), torch.ones(len(numbers), 1, 4))
    return cache


@pytest.fixture
def caches(cache):
    return cache.folder.parent


def run(*arguments):
    return CliRunner().invoke(cli.app, ["cache", *map(str, arguments)])


def gc(caches, *options):
    result = run("gc", "--cache-dir", caches, "--unused-days", "0", *options)
    assert result.exit_code == 0, result.output
    return result.output


def snapshot(folder):
    """Every path below a folder with what it is."""
    return {
        path.relative_to(folder): (
            path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
    }


def found(cache, *numbers):
    return FeatureCache(cache.folder.parent, MODEL).read(
        keys(*numbers), torch.zeros(len(numbers), 1, 4)
    )


# What gc removes ######################################################################


def foreign_manifests():
    whole = json.dumps({"schema": 2, "model": "a"})
    return {
        "a project": whole,
        "0" * 32: whole,  # a name of the right form, and not the hash
        "f" * 32: json.dumps({"schema": "mine"}),
        "e" * 32: "no JSON",
        "d" * 32: "",
        sha256(whole.encode())[:31]: whole,
        sha256(whole.encode()): whole,
    }


def test_gc_leaves_every_folder_that_is_not_ours_by_name_and_content(caches):
    for name, manifest in foreign_manifests().items():
        (caches / name).mkdir()
        (caches / name / "manifest.json").write_text(manifest)
        (caches / name / "thesis.tex").write_text("years of work")
        (caches / name / f"{'0' * 64}.safetensors.corrupt").write_text("mine")
    before = snapshot(caches)
    output = gc(caches, "--model", "a")
    for name in foreign_manifests():
        assert snapshot(caches / name) == {
            path.relative_to(name): content
            for path, content in before.items()
            if path.parts[0] == name and len(path.parts) > 1
        }
    assert f"Left alone: {caches / ('0' * 32)}" in output
    assert [path.name for path in sorted(caches.iterdir())] == sorted(foreign_manifests())


def test_gc_leaves_a_folder_of_the_right_name_and_another_schema(caches):
    for schema in (0, 99, "2", None, True):
        content = json.dumps({"schema": schema, "model": "a"}).encode()
        folder = caches / sha256(content)[:32]
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
    output = gc(caches)
    assert len(list(caches.iterdir())) == 5
    assert output.count("Left alone") == 5
    assert "'schema' must be between 1 and" in output


def test_gc_removes_caches_of_earlier_versions(caches):
    content = json.dumps({"schema": 2, "kind": "images", "model": "old"}).encode()
    folder = caches / sha256(content)[:32]
    folder.mkdir()
    (folder / "manifest.json").write_bytes(content)
    assert "old, None" in run("list", "--cache-dir", caches).output
    gc(caches)
    assert not folder.exists()


def test_gc_leaves_foreign_files_in_our_folders_and_names_them(cache, caches):
    foreign = {
        "notes.txt": "mine",
        "x.safetensors": "mine",
        f"{'A' * 64}.safetensors": "mine",
        f"{'0' * 63}.safetensors.corrupt": "mine",
        ".mine.tmp": "mine",
        "manifest.json.bak": "mine",
    }
    for name, content in foreign.items():
        (cache.folder / name).write_text(content)
        os.utime(cache.folder / name, (0, 0))
    (cache.folder / f"{'1' * 64}.safetensors").mkdir()
    output = gc(caches)
    assert snapshot(cache.folder) == {
        **{type(cache.folder)(name): content.encode() for name, content in foreign.items()},
        type(cache.folder)(f"{'1' * 64}.safetensors"): False,
    }
    for name in foreign:
        assert f"Left alone: {cache.folder / name} (no file of a feature cache)" in output


def test_gc_and_verify_follow_no_link(cache, caches, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{'2' * 64}.safetensors").write_text("precious")
    (outside / "shards.jsonl").write_text("precious")
    linked = shutil.copytree(cache.folder, outside / cache.folder.name)
    shutil.rmtree(cache.folder)
    cache.folder.symlink_to(linked, target_is_directory=True)
    other = FeatureCache(caches, {**MODEL, "seed": 1})
    other.write(keys(1), torch.ones(1, 1, 4))
    links = [f"{'2' * 64}.safetensors", f"{'3' * 64}.safetensors.corrupt", ".manifest.json.1.tmp"]
    for name in links:
        (other.folder / name).symlink_to(outside / f"{'2' * 64}.safetensors")
    (other.folder / "shards.jsonl").unlink()
    (other.folder / "shards.jsonl").symlink_to(outside / "shards.jsonl")
    before = snapshot(outside)
    verify(caches)
    output = gc(caches)
    assert snapshot(outside) == before
    assert cache.folder.is_symlink()
    assert f"Left alone: {cache.folder} (a link)" in output
    assert {name for name in links if (other.folder / name).is_symlink()} == set(links)


@pytest.mark.parametrize("options", [["--unused-days", "0"], ["--model", "a"], []])
def test_a_dry_run_shows_exactly_what_is_removed(cache, caches, options):
    (cache.folder / f"{'0' * 64}.safetensors.corrupt").write_bytes(b"x" * 100_000)
    old = cache.folder / ".shards.jsonl.abc.tmp"
    old.write_text("half")
    os.utime(old, (0, 0))
    (caches / "mine").mkdir()
    before = snapshot(caches)
    shown = run("gc", "--cache-dir", caches, "--dry-run", *options).output
    assert snapshot(caches) == before
    removed = run("gc", "--cache-dir", caches, *options).output
    gone = before.keys() - snapshot(caches).keys()
    assert {f"Would remove: {caches / path}" for path in gone} == set(shown.splitlines()[:-1])
    assert len(gone) == 2 if not options else len(gone) > 5
    assert f"Would free {removed.split()[1]} MB" in shown
    assert "0.1" in removed


@pytest.mark.parametrize("days", ["0", "30"])
def test_what_was_used_while_the_lock_was_waited_for_stays(cache, caches, monkeypatch, days):
    os.utime(cache.folder / "manifest.json", (0, 0))
    lock = cache_folder.folder_lock

    def used_meanwhile(folder):
        assert found(cache, 1).all()
        os.utime(cache.folder / "manifest.json", (time.time() + 9, time.time() + 9))
        return lock(folder)

    monkeypatch.setattr(cache_folder, "folder_lock", used_meanwhile)
    run("gc", "--cache-dir", caches, "--unused-days", days)
    assert found(cache, 1, 2, 3).all()


@pytest.mark.parametrize("kill_at", range(7))
def test_a_killed_gc_leaves_what_the_next_one_recognises(cache, caches, monkeypatch, kill_at):
    (caches / "mine.txt").write_text("mine")
    unlink, removed = type(caches).unlink, []

    def kill(path, **settings):
        if len(removed) == kill_at:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, **settings)

    monkeypatch.setattr("pathlib.Path.unlink", kill)
    with contextlib.suppress(KeyboardInterrupt):
        collect_garbage(caches, days=0)
    assert len(removed) == kill_at
    monkeypatch.undo()
    gc(caches)
    assert [path.name for path in caches.iterdir()] == ["mine.txt"]


GC = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from pyg_graphadapter.encoding.cache_folder import collect_garbage
    parent = os.getppid()
    print("ready", flush=True)
    while os.getppid() == parent:
        collect_garbage(Path(sys.argv[1]), days=0)
""")


def test_a_gc_that_never_stops_stops_no_writer(caches):
    """Whatever is removed, a writer goes on, and what it wrote last is there in the end."""
    with subprocess.Popen([sys.executable, "-c", GC, caches], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        end = time.monotonic() + 3
        n = 0
        while time.monotonic() < end or n < 20:
            cache = FeatureCache(caches, MODEL)
            x = torch.full((2, 1, 4), float(n))
            assert torch.equal(cache.write(keys(n % 200, 255), x)[0], x[0])
            cache.read(keys(n % 200), torch.zeros(1, 1, 4))
            cache.has(keys(n % 200))
            collect_garbage(caches, days=0)
            n += 1
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGKILL)
    cache.write(keys(7), torch.ones(1, 1, 4))
    assert found(cache, 7).all()
    assert len(cached_features(caches)) == 1


def test_a_folder_that_goes_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    """mkdir finds that it is there, and looks again when it is not."""
    cache = FeatureCache(tmp_path / "caches", MODEL)
    make, refusals = os.mkdir, []

    def mkdir(path, *arguments, **options):
        if Path(path) == cache.folder and not refusals:
            refusals.append(path)
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        make(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    cache.write(keys(3), torch.ones(1, 1, 4))
    assert refusals
    assert found(cache, 3).all()


def test_a_writer_that_comes_before_the_manifest_goes_gets_it_back(cache, caches, monkeypatch):
    remove_folder = cache_folder._remove_folder

    def late_writer(folder, *arguments):
        (folder / f"{'5' * 64}.safetensors").write_text("of another process")
        remove_folder(folder, *arguments)

    monkeypatch.setattr(cache_folder, "_remove_folder", late_writer)
    gc(caches)
    assert [entry.folder for entry in cached_features(caches)] == [cache.folder]


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_writer_that_waited_for_a_folder_that_was_removed(
    cache, caches, monkeypatch, is_made_again
):
    lock, calls = cache_module.folder_lock, []

    def removed_meanwhile(folder):
        calls.append(folder)
        if len(calls) == 1:
            collect_garbage(caches, days=0)
            if is_made_again:  # by another writer, whose manifest comes next
                folder.mkdir()
        return lock(folder)

    monkeypatch.setattr(cache_module, "folder_lock", removed_meanwhile)
    cache.write(keys(9), torch.ones(1, 1, 4))
    assert len(calls) == 2
    assert found(cache, 9).all()
    assert [entry.images for entry in cached_features(caches)] == [1]


def test_a_file_in_the_place_of_all_caches(tmp_path):
    (tmp_path / "file").write_text("mine")
    for command in (["gc"], ["list"], ["list", "--verify"]):
        result = run(*command, "--cache-dir", tmp_path / "file")
        assert result.exit_code == 1
        assert "is no folder" in result.output
        assert "Traceback" not in result.output


# Damaged shards, manifests and lists ##################################################


def bad_shards():
    x, k = torch.ones(2, 1, 4), torch.arange(64, dtype=torch.uint8).view(2, 32)
    spoilt = x.clone()
    spoilt[0, 0, 0] = float("nan")
    return {
        "integers": {"keys": k, "x": x.long()},
        "half precision": {"keys": k, "x": x.half()},
        "double precision": {"keys": k, "x": x.double()},
        "a row less": {"keys": k, "x": x[:1]},
        "a row more": {"keys": k, "x": torch.ones(3, 1, 4)},
        "no row": {"keys": k, "x": x[:0]},
        "wider": {"keys": k, "x": torch.ones(2, 1, 5)},
        "flat": {"keys": k, "x": torch.ones(8)},
        "not finite": {"keys": k, "x": spoilt},
        "no features": {"keys": k},
        "no keys": {"x": x},
        "keys as numbers": {"keys": k.long(), "x": x},
        "keys as floats": {"keys": k.float(), "x": x},
        "keys cut": {"keys": k[:, :16].contiguous(), "x": x},
        "keys flat": {"keys": k.flatten(), "x": x},
        "something else": {"weights": x},
    }


@pytest.mark.parametrize("kind", bad_shards())
def test_a_shard_with_the_right_sum_and_wrong_content(caches, cache, caplog, kind):
    content = safetensors.torch.save(bad_shards()[kind])
    path = cache.folder / f"{sha256(content)}.safetensors"
    path.write_bytes(content)
    wanted = [bytes(range(32)), bytes(range(32, 64))]
    reader, out = FeatureCache(caches, MODEL), torch.zeros(2, 1, 4)
    assert reader.read(wanted, out).tolist() == [False, False]
    assert not out.any()
    assert reader.write(wanted, torch.full((2, 1, 4), 0.5)).eq(0.5).all()
    assert reader.read(wanted, out).all()
    assert out.eq(0.5).all()
    assert found(cache, 1, 2, 3).all()
    if path.exists():  # it was never asked for what it has
        verify(caches)
    assert not path.exists()
    assert path.with_suffix(".safetensors.corrupt").exists()
    assert path.name in caplog.text or kind in ("no keys",)


@pytest.mark.parametrize(
    "kind", sorted(bad_shards().keys() - {"half precision", "double precision", "wider"})
)
def test_verify_finds_it_too(caches, cache, kind):
    content = safetensors.torch.save(bad_shards()[kind])
    (cache.folder / f"{sha256(content)}.safetensors").write_bytes(content)
    result = run("list", "--verify", "--cache-dir", caches)
    assert result.exit_code == 1
    assert "2 shards are whole, 1 are damaged" in result.output


def test_a_pipe_in_the_place_of_a_shard_hangs_nobody(cache, caches):
    for name in (f"{'0' * 64}.safetensors", ".manifest.json.x.tmp"):
        os.mkfifo(cache.folder / name)
    (cache.folder / "shards.jsonl").unlink()
    os.mkfifo(cache.folder / "shards.jsonl")
    cache.write(keys(9), torch.ones(1, 1, 4))
    assert found(cache, 1, 9).all()
    assert gc(caches).count("Left alone") == 3


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema": 3, "model": "b"}', b"[" * 100_000]
)
def test_a_folder_with_a_wrong_manifest_is_not_used(cache, caches, caplog, content):
    manifest = cache.folder / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(content)
    output = run("list", "--cache-dir", caches).output
    assert f"Left alone: {cache.folder}" in output
    assert "0 kinds" in output
    gc(caches)
    assert verify(caches).shards == 0
    assert manifest.read_bytes() == content  # and left alone
    assert not found(cache, 1, 2, 3).any()
    assert "moved aside" in caplog.text
    cache.write(keys(1), torch.ones(1, 1, 4))
    assert manifest.read_bytes() == whole
    assert found(cache, 1, 2).tolist() == [True, False]
    [aside] = [folder for folder in caches.iterdir() if folder != cache.folder]
    assert (aside / "manifest.json").read_bytes() == content
    assert len(list(aside.glob("*.safetensors"))) == 2  # nothing is lost


def test_half_a_line_of_a_killed_writer(cache, caches):
    listing = cache.folder / "shards.jsonl"
    listing.write_bytes(listing.read_bytes()[:-20])
    cache.write(keys(4, 5), torch.ones(2, 1, 4))
    assert [entry.images for entry in cached_features(caches)] == [4]
    assert verify(caches).shards == 3
    assert [entry.images for entry in cached_features(caches)] == [5]


@pytest.mark.parametrize(
    "line",
    ["null", "[]", '{"shard": 3, "images": 1}', '{"shard": "../x", "images": 1}', "[" * 9999]
    + [json.dumps({"shard": f"{'0' * 64}.safetensors", "images": n}) for n in (-1, 1.5, "1", True)],
)
def test_lines_that_are_none_are_left_out(cache, caches, line):
    with (cache.folder / "shards.jsonl").open("a") as file:
        file.write(f"{line}\n")
    assert [entry.images for entry in cached_features(caches)] == [3]
    assert verify(caches).missing == ()


def test_features_that_are_not_finite_are_not_cached(cache):
    with pytest.raises(ValueError, match="not finite"):
        cache.write(keys(8), torch.full((1, 1, 4), float("nan")))
    assert not found(cache, 8).any()


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_an_identity_that_is_no_json_is_told(tmp_path, value):
    with pytest.raises(ValueError, match=r"plain JSON values.*'mine'"):
        FeatureCache(tmp_path, {"model": "mine", "version": value})


# Locks ################################################################################


HOLDER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from pyg_graphadapter.encoding.cache_lock import folder_lock
    with folder_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(100)
""")


@pytest.fixture
def holder(cache):
    command = [sys.executable, "-c", HOLDER, cache.folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_who_waits_is_told_whose_lock_it_is(cache, holder, caplog, monkeypatch):
    monkeypatch.setattr(cache_lock, "FIRST_WORD", 0.2)
    threading.Timer(1.5, holder.kill).start()
    begin = time.monotonic()
    cache.write(keys(9), torch.ones(1, 1, 4))
    assert time.monotonic() - begin > 1
    assert found(cache, 9).all()  # the lock of a dead process is free
    words = [record.message for record in caplog.records if "Waiting" in record.message]
    assert 2 <= len(words) <= 4  # sparsely
    assert f"Waiting for process {holder.pid} on " in words[0]
    assert "(since 20" in words[0]
    assert "0 s so far" in words[0]
    assert str(cache.folder / ".lock") in words[0]


def test_gc_waits_for_the_lock_as_well(cache, caches, holder, caplog, monkeypatch):
    monkeypatch.setattr(cache_lock, "FIRST_WORD", 0.2)
    threading.Timer(0.8, holder.kill).start()
    gc(caches)
    assert f"Waiting for process {holder.pid}" in caplog.text
    assert not cache.folder.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"process": "x"}', b"\xff", b'{"process": 1, "host": "\\u001b", "since": 0}'],
)
def test_a_damaged_note_of_the_owner_does_no_harm(cache, holder, caplog, monkeypatch, content):
    (cache.folder / ".lock.json").write_bytes(content)
    monkeypatch.setattr(cache_lock, "FIRST_WORD", 0.1)
    threading.Timer(0.4, holder.kill).start()
    with caplog.at_level(logging.WARNING):
        cache.write(keys(9), torch.ones(1, 1, 4))
    assert "Waiting for" in caplog.text
    assert "\x1b" not in caplog.text


def test_the_note_goes_with_the_lock_and_follows_no_link(cache, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (cache.folder / ".lock.json").symlink_to(tmp_path / "precious")
    cache.write(keys(9), torch.ones(1, 1, 4))
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (cache.folder / ".lock.json").is_symlink()
    assert not (cache.folder / ".lock.json").exists()


def test_threads_that_write_one_cache(caches, cache):
    def write(n):
        mine = FeatureCache(caches, MODEL)
        for i in range(4):
            mine.write(keys(100 + (n + i) % 6), torch.ones(1, 1, 4))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(cache, *range(100, 106)).all()
    assert verify(caches).damaged == ()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("names", [(), (".lock",)])
def test_what_a_killed_removal_leaves_is_removed_by_the_next(cache, caches, names):
    folder = caches / ("0" * 32)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    others = [caches / ("1" * 32), caches / "photos", caches / f"{'2' * 32}.corrupt"]
    for other in others:
        other.mkdir()
    (others[0] / "1.jpg").write_bytes(b"a photo")
    assert collect_garbage(caches, dry_run=True).paths == [folder]
    assert folder.is_dir()
    assert collect_garbage(caches).paths == [folder]
    assert not folder.exists()
    assert all(other.is_dir() for other in others)
