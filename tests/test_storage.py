from pathlib import Path

import pytest

from pyg_graphadapter.storage import prepare_folder, versions, write_atomic


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


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
