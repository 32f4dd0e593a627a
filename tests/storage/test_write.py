import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyg_graphadapter.storage import prepare_folder, remove_leftovers, versions, write_atomic


def test_folders(tmp_path):
    folder = tmp_path / "a" / "b"
    prepare_folder(folder, lambda _: False)
    assert folder.is_dir()
    (folder / ".result.json.123.tmp").touch()  # of a killed writer
    prepare_folder(folder, lambda _: False)
    (folder / "x").touch()
    prepare_folder(folder, lambda path: path.name == "x")
    with pytest.raises(ValueError, match=r"something else \(x\)"):
        prepare_folder(folder, lambda _: False)
    with pytest.raises(ValueError, match="is a file"):
        prepare_folder(folder / "x", lambda _: True)


def test_versions_name_what_results_depend_on():
    assert {"python", "torch", "torch-geometric", "pyg-graphadapter"} <= versions().keys()


def test_writers_at_once_lose_nothing(tmp_path, monkeypatch):
    """Threads, and processes of other containers, have the same process id."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "f"
    contents = [bytes([i]) * 10_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomic(path, content), contents * 20))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_on_the_disk(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_atomic(tmp_path / "f", b"x")
    assert synced == [False, True]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_files_have_the_mode_of_the_umask(tmp_path, mask):
    old = os.umask(mask)
    try:
        write_atomic(tmp_path / "f", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o666 & ~mask
    (tmp_path / "f").chmod(0o640)
    write_atomic(tmp_path / "f", b"y")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_names_the_path_and_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "f"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match=r"f cannot be written .no space left.*3 bytes") as error:
        write_atomic(path, b"new")
    assert error.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(OSError, match=r"f/g cannot be written .not a directory"):
        write_atomic(tmp_path / "f" / "g", b"x")
    with pytest.raises(OSError, match=r"f/g cannot be written: .*f is not a folder"):
        prepare_folder(tmp_path / "f" / "g", lambda _: True)
    write_atomic(tmp_path / ("n" * 250), b"x")  # its temporary name must not be too long


def test_an_exclusive_write_replaces_nothing(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, b"old", exclusive=True)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"new", exclusive=True)

    def no_links(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"new", exclusive=True)
    assert path.read_bytes() == b"old"
    write_atomic(tmp_path / "g", b"new", exclusive=True)
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "g"]


def test_leftovers_of_killed_writers_are_collected(tmp_path):
    for name, age in {".a.json.x1.tmp": 7200, ".b.json.x2.tmp": 60, "c.tmp": 7200}.items():
        (tmp_path / name).write_bytes(b"123")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    prepare_folder(tmp_path, lambda path: path.name == "c.tmp")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.x2.tmp", "c.tmp"]
    assert remove_leftovers(tmp_path) == 0


def test_a_write_collects_what_killed_writers_of_the_same_file_have_left(tmp_path, monkeypatch):
    names = {".f.npz.abc.tmp": 0, ".f.npz.def.tmp": None, ".g.npz.abc.tmp": 0, "f.npz.tmp": 0}
    for name, seconds in names.items():
        (tmp_path / name).write_bytes(b"half")
        if seconds is not None:
            os.utime(tmp_path / name, (seconds, seconds))
    monkeypatch.setattr(time, "time", lambda: 1e11)  # a clock that is wrong makes none older
    write_atomic(tmp_path / "f.npz", b"whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"f.npz", ".f.npz.def.tmp", ".g.npz.abc.tmp", "f.npz.tmp"}
