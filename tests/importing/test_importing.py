"""Features in the files that people have."""

import warnings
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.encoding.sources import open_source
from pyg_graphadapter.importing import import_features
from pyg_graphadapter.testing import fake_features
from tests.faults.command import said_by


@pytest.fixture
def file():
    return fake_features(num_classes=4, channels=8, shots=3, tests=3)


def same(loaded, file):
    for split in ("train", "test"):
        assert torch.equal(getattr(loaded, split).x, getattr(file, split).x)
        assert torch.equal(getattr(loaded, split).y, getattr(file, split).y)


def arrays_of(file):
    x, y = file.train.x[:, 0].numpy(), file.train.y.numpy()
    return x, y, file.test.x[:, 0].numpy(), file.test.y.numpy()


def test_pairs_of_npy(tmp_path, file):
    names = ("train_features", "train_labels", "test_feats", "test_targets")
    for name, array in zip(names, arrays_of(file), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    paths = [tmp_path / f"{name}.npy" for name in names]
    said = said_by("data", "import", *paths, "--out", tmp_path / "f.npz")
    assert "train: 12 images, 8 wide, float32, 4 classes, labels are whole numbers" in said
    assert "texts: none" in said
    same(FeatureFile.load(tmp_path / "f.npz"), file)


def test_npz_with_any_keys(tmp_path, file):
    x, y, test_x, test_y = arrays_of(file)
    one_hot = np.eye(4)[y]
    text = file.text.T.numpy()
    np.savez(tmp_path / "a.npz", a=x.T, b=one_hot, c=test_x, d=test_y, w=text, other=y)
    keys = ("--train-features", "a", "--train-labels", "b", "--test-features", "c",
            "--test-labels", "d", "--text-features", "w")  # fmt: skip
    said = said_by("data", "import", tmp_path / "a.npz", *keys, "--out", tmp_path / "f.npz")
    assert said.count("it was transposed") == 2
    assert "labels are one-hot rows" in said
    assert "'other' of a.npz" in said
    loaded = FeatureFile.load(tmp_path / "f.npz")
    same(loaded, file)
    assert torch.equal(loaded.text, file.text)
    wrong = ("--train-features", "z", "--out", tmp_path / "g.npz")
    assert "No source has 'z'" in said_by("data", "import", tmp_path / "a.npz", *wrong, code=1)


def test_parts_and_splits_by_file(tmp_path, file):
    x, y, test_x, test_y = arrays_of(file)
    np.savez(tmp_path / "test.npz", features=test_x, labels=test_y)
    np.savez(tmp_path / "train.npz", features=x, labels=y)
    same(import_features([tmp_path / "test.npz", tmp_path / "train.npz"]).file, file)
    for i, rows in enumerate((slice(0, 5), slice(5, 12))):
        np.save(tmp_path / f"x_{i}.npy", x[rows])
        np.save(tmp_path / f"y_{i}.npy", y[rows])
    paths = [tmp_path / name for name in ("x_0.npy", "x_1.npy", "y_0.npy", "y_1.npy")]
    assert torch.equal(import_features(paths).file.train.x, file.train.x)
    with pytest.raises(ValueError, match="same parts in the same order"):
        import_features([paths[1], paths[0], *paths[2:]])


def test_caches_of_tip_adapter(tmp_path, file):
    x, y, test_x, test_y = map(torch.from_numpy, arrays_of(file))
    torch.save(x.T.contiguous(), tmp_path / "keys_3shots.pt")
    torch.save(torch.eye(4)[y], tmp_path / "values_3shots.pt")
    torch.save(test_x, tmp_path / "test_f.pt")
    torch.save(test_y, tmp_path / "test_l.pt")
    said = said_by("data", "import", *sorted(tmp_path.glob("*.pt")), "--out", tmp_path / "f.npz")
    assert "it was transposed" in said
    same(FeatureFile.load(tmp_path / "f.npz"), file)


def test_tables_of_tensors_and_pickles(tmp_path, file):
    x, y, *_ = map(torch.from_numpy, arrays_of(file))
    torch.save({"features": x, "labels": y}, tmp_path / "train.pt")
    with warnings.catch_warnings():
        assert torch.equal(import_features([tmp_path / "train.pt"]).file.train.y, y)
    torch.save({"features": x, "labels": y, "code": CliRunner()}, tmp_path / "bad.pt")
    said = said_by("data", "import", tmp_path / "bad.pt", "--out", tmp_path / "f.npz", code=1)
    assert "pickled objects, which can run any code" in said


def test_columns_of_parquet(tmp_path, file):
    x, y, *_ = arrays_of(file)
    labels = [file.class_names[c] for c in y]
    table = pa.table({"embedding": list(x), "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    loaded = import_features([tmp_path / "train.parquet"]).file
    assert torch.equal(loaded.train.x, file.train.x)
    assert [loaded.class_names[c] for c in loaded.train.y] == labels
    short = pa.table({"embedding": [[1.0, 2.0], [1.0]], "label": [0, 1]})
    pyarrow.parquet.write_table(short, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="has 1 numbers in row 1, and 2 in row 0"):
        import_features([tmp_path / "train.parquet"])


def test_texts_by_a_model_of_the_names_in_a_file(tmp_path):
    names, y = np.array(["apple", "bird", "house"]), np.arange(6) % 3
    for width in (24, open_source("builtin", "builtin").text().size(1)):
        x = np.random.default_rng(0).random((6, width))
        np.savez(tmp_path / f"{width}.npz", features=x, labels=y, class_names=names)
    words = ("--model", "builtin", "--out", tmp_path / "f.npz")
    assert "The features are 24 wide" in said_by(
        "data", "import", tmp_path / "24.npz", *words, code=1
    )
    assert "texts: 3 classes" in said_by("data", "import", tmp_path / f"{width}.npz", *words)
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == ("apple", "bird", "house")
    replace(loaded, text=None).save(tmp_path / "g.npz")
    assert torch.equal(loaded.text, open_source(tmp_path / "g.npz", "builtin").text())
