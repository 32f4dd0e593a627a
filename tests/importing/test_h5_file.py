"""HDF5 files: keys as in ``.npz``, also in groups, and sizes checked before anything is read."""

import numpy as np
import pytest
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.importing import import_features
from pyg_graphadapter.testing import fake_features
from tests.faults.command import said_by

h5py = pytest.importorskip("h5py")


@pytest.fixture
def file():
    return fake_features(num_classes=4, channels=8, shots=3, tests=3)


def written(path, **arrays):
    with h5py.File(path, "w") as stream:
        for name, values in arrays.items():
            stream[name.replace("__", "/")] = values
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("train_features", "train_labels", "test_features", "test_labels"),
        ("train__features", "train__labels", "test__features", "test__labels"),
        ("X_train", "y_train", "X_test", "y_test"),
    ],
)
@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_usual_keys(tmp_path, file, names, suffix):
    x, y = file.train.x[:, 0].numpy(), file.train.y.numpy().astype(np.uint16)
    test_x, test_y = file.test.x[:, 0].numpy().astype(">f4"), file.test.y.numpy()
    arrays = dict(zip(names, (x, y, test_x, test_y), strict=True))
    source = written(
        tmp_path / f"features.{suffix}", **arrays, class_names=list(file.class_names),
        text_features=file.text.numpy(), logit_scale=50.0, comment="of a run",
    )  # fmt: skip
    said_by("data", "import", source, "--out", tmp_path / "f.npz")
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert torch.equal(loaded.train.x, file.train.x)
    assert torch.equal(loaded.train.y, file.train.y)
    assert torch.equal(loaded.test.x, file.test.x)
    assert torch.equal(loaded.text, file.text)
    assert loaded.class_names == file.class_names
    assert loaded.logit_scale == 50


def test_names_compressed_and_by_option(tmp_path, file):
    x, labels = file.train.x[:, 0].numpy(), [file.class_names[c] for c in file.train.y]
    with h5py.File(tmp_path / "train.h5", "w") as stream:
        stream.create_dataset("clip/a", data=x, compression="gzip", chunks=True)
        stream["clip/b"] = labels
        stream["clip/c"] = np.array(labels, dtype="S")
    for key in ("clip/b", "clip/c"):
        names = {"train_features": "clip/a", "train_labels": key}
        with pytest.warns(UserWarning, match="not read"):
            loaded = import_features([tmp_path / "train.h5"], names).file
        assert [loaded.class_names[c] for c in loaded.train.y] == labels


def refused(path):
    return said_by("data", "import", path, "--out", path.with_name("f.npz"), code=1)


def test_what_is_not_in_the_file_is_not_read(tmp_path):
    secret = written(tmp_path / "secret.h5", x=np.ones((4, 3)), y=np.arange(4) % 2)
    with h5py.File(tmp_path / "links.h5", "w") as stream:
        stream["x"] = h5py.ExternalLink(secret, "/x")
        stream["y"] = h5py.SoftLink("/nothing")
    assert "they hold nothing" in refused(tmp_path / "links.h5")
    (tmp_path / "raw").write_bytes(bytes(96))
    with h5py.File(tmp_path / "raw.h5", "w") as stream:
        stream.create_dataset("x", (4, 3), "f8", external=[(tmp_path / "raw", 0, 96)])
    assert "'x' lies in other files" in refused(tmp_path / "raw.h5")
    layout = h5py.VirtualLayout((4, 3), "f8")
    layout[:] = h5py.VirtualSource(secret, "x", (4, 3))
    with h5py.File(tmp_path / "virtual.h5", "w") as stream:
        stream.create_virtual_dataset("x", layout)
    assert "'x' lies in other files" in refused(tmp_path / "virtual.h5")


def test_sizes_are_checked_before_reading(tmp_path):
    with h5py.File(tmp_path / "big.h5", "w") as stream:
        stream.create_dataset("x", (2**20, 2**20), "f4", chunks=(1, 1024))
    assert "says that it is [1048576, 1048576], and holds 0 bytes" in refused(tmp_path / "big.h5")
    with h5py.File(tmp_path / "deep.h5", "w") as stream:
        group = stream.create_group("a")
        group["a"] = group  # a group in itself
    assert "nested more than 8 deep" in refused(tmp_path / "deep.h5")
    with h5py.File(tmp_path / "many.h5", "w") as stream:
        for i in range(1001):
            stream[f"x{i}"] = 0
    assert "more than 1,000 members" in refused(tmp_path / "many.h5")


def test_texts_that_refer_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.importing.h5_file.MAX_RATIO", 0)
    monkeypatch.setattr("pyg_graphadapter.importing.h5_file.FREE_BYTES", 1000)
    written(tmp_path / "a.h5", x=np.ones((4, 3)), y=["a" * 800] * 4)
    assert "out of proportion" in refused(tmp_path / "a.h5")


@pytest.mark.parametrize("kept", [0, 100, 1500])
def test_damaged_files(tmp_path, kept):
    source = written(tmp_path / "a.h5", x=np.ones((400, 3)), y=np.arange(400) % 2)
    source.write_bytes(source.read_bytes()[:kept])
    assert "cannot be read as a source of features" in refused(source)
