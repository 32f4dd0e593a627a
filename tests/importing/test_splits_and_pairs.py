"""The split of an array by names, folders and columns, and which features go with which labels."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.importing import import_features
from tests.faults.command import said_by


def rows_of(split, count, width=7):
    """Features whose first number tells the split, the second the row."""
    x = np.random.default_rng(0).random((count, width)).astype(np.float32)
    x[:, 0] = {"train": 1, "val": 2, "test": 3}[split]
    x[:, 1] = np.arange(count)
    return x, np.arange(count) % 2


def splits_in(file):
    """The marks of the rows of every split."""
    return {
        split: getattr(file, split).x[:, 0, 0].unique().tolist()
        for split in ("train", "val", "test")
        if getattr(file, split) is not None
    }


RIGHT = {"train": [1.0], "test": [3.0]}


def save_both(path, x, y):
    """One file of features and labels, or a pair of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
        return [path]
    stem = path.stem
    for word in ("Features", "feats", "x"):
        stem = stem.removesuffix(word)
    labels = path.with_name(f"{stem}Labels.npy")
    np.save(path, x)
    np.save(labels, y)
    return [path, labels]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("cifar_train.npz", "cifar_test.npz"),
        ("CIFAR10-Train.npz", "CIFAR10-Test.npz"),
        ("train_1.npz", "test_1.npz"),
        ("train2024.npz", "test2024.npz"),
        ("trainset.npz", "testset.npz"),
        ("my.training.data.npz", "my.eval.data.npz"),
        ("ViTB32Train.npz", "ViTB32Test.npz"),
        ("données_train.npz", "données_tst.npz"),
        ("a/cifar_train/f.npz", "a/cifar_test/f.npz"),
        ("trainFeatures.npy", "testFeatures.npy"),
        ("train_1.npy", "test_1.npy"),
        ("cifar_train_feats.npy", "cifar_test_feats.npy"),
        ("Xtrain.npy", "Xtest.npy"),
        ("a/cifar_train/feats.npy", "a/cifar_test/feats.npy"),
        ("train/clip/x.npy", "test/clip/x.npy"),
    ],
)
def test_the_split_is_a_part_of_the_name(tmp_path, train, test):
    sources = save_both(tmp_path / test, *rows_of("test", 6))
    if train == "Xtrain.npy":
        for name, split in (("ytrain", "train"), ("ytest", "test")):
            np.save(tmp_path / f"{name}.npy", rows_of(split, 4 if split == "train" else 6)[1])
        for name, split in (("Xtrain", "train"), ("Xtest", "test")):
            np.save(tmp_path / f"{name}.npy", rows_of(split, 4 if split == "train" else 6)[0])
        names = ("ytest", "Xtrain", "Xtest", "ytrain")
        sources = [tmp_path / f"{name}.npy" for name in names]
    else:
        sources += save_both(tmp_path / train, *rows_of("train", 4))
    file = import_features(sources).file
    assert splits_in(file) == RIGHT
    assert (len(file.train), len(file.test)) == (4, 6)


def test_an_array_of_unknown_kind_is_not_guessed(tmp_path):
    np.save(tmp_path / "cifar_train.npy", rows_of("train", 4)[0])
    np.save(tmp_path / "cifar_train_labels.npy", rows_of("train", 4)[1])
    with pytest.raises(ValueError, match=r"no train_features .*: give --train-features KEY"):
        import_features(sorted(tmp_path.glob("*.npy")))


def test_parts_of_several_splits(tmp_path):
    for name, split, rows in (
        ("train_1", "train", slice(0, 3)),
        ("train_2", "train", slice(3, 8)),
        ("test_1", "test", slice(0, 4)),
    ):
        x, y = rows_of(split, 8)
        np.save(tmp_path / f"{name}.npy", x[rows])
        np.save(tmp_path / f"{name}_y.npy", y[rows])
    file = import_features(sorted(tmp_path.glob("*.npy"))).file
    assert splits_in(file) == RIGHT
    assert file.train.x[:, 0, 1].tolist() == list(range(8))
    assert len(file.test) == 4


@pytest.mark.parametrize(
    ("name", "readings"),
    [
        ("train_test", "train_features or test_features"),
        ("train-val.2", "train_features or val_features"),
        ("trainval", "train_features or val_features"),
        ("cifartest", "test_features or train_features"),
        ("mytrainer", "train_features"),
    ],
)
def test_names_that_say_two_splits_are_refused(tmp_path, name, readings):
    x, y = rows_of("train", 4)
    np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    if name == "mytrainer":  # a word inside another one is no split
        assert len(import_features([tmp_path / f"{name}.npz"]).file.train) == 4
        return
    with pytest.raises(ValueError, match=f"can be {readings}.*choose one by --") as error:
        import_features([tmp_path / f"{name}.npz"])
    assert f"--train-features {name}.npz" in str(error.value)
    chosen = ("--train-features", f"{name}.npz", "--out", tmp_path / "f.npz")
    said_by("data", "import", tmp_path / f"{name}.npz", *chosen)
    assert len(FeatureFile.load(tmp_path / "f.npz").train) == 4


def test_a_key_and_a_file_that_disagree(tmp_path):
    x, y = rows_of("train", 4)
    np.savez(tmp_path / "test.npz", train_x=x, train_y=y)
    with pytest.raises(ValueError, match="train_features or test_features by its name and that"):
        import_features([tmp_path / "test.npz"])
    np.savez(tmp_path / "test.npz", train_x=x, train_y=y, test_x=3 * x, test_y=y)
    assert splits_in(import_features([tmp_path / "test.npz"]).file) == RIGHT


def test_no_array_is_train_and_test_at_once(tmp_path):
    x, y = rows_of("train", 4)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", f=x, y=y)
    names = {"train_features": "f", "test_features": "f"}
    with pytest.raises(ValueError, match="is named for test_features and for another array"):
        import_features([tmp_path / "a.npz", tmp_path / "b.npz"], names)


def test_features_and_labels_of_different_folders(tmp_path):
    expected = {}
    for folder, count in (("A", 4), ("B", 6)):
        (tmp_path / folder).mkdir()
        x, y = rows_of("train", count)
        x[:, 2] = (y := (y + (folder == "B")) % 2)
        expected[folder] = count
        np.save(tmp_path / folder / "features.npy", x)
        np.save(tmp_path / folder / "labels.npy", y)
    names = ("A/features", "B/features", "B/labels", "A/labels")
    paths = [tmp_path / f"{name}.npy" for name in names]
    imported = import_features(paths)
    train = imported.file.train
    assert torch.equal(train.x[:, 0, 2].long(), train.y)
    assert "A/features.npy with A/labels.npy" in imported.lines[0]
    for lacking in ([paths[0], paths[2]], [paths[0], paths[1], paths[2]]):
        with pytest.raises(ValueError, match="paired by the folder and the name of their files"):
            import_features(lacking)
    named = {"train_features": str(paths[1]), "train_labels": str(paths[2])}
    with pytest.warns(UserWarning, match="not read"):
        assert len(import_features(paths, named).file.train) == 6
    np.save(tmp_path / "z.npy", rows_of("train", 6)[1])
    named = {"train_features": str(paths[1]), "train_labels": "z.npy"}
    assert len(import_features([paths[1], tmp_path / "z.npy"], named).file.train) == 6


def test_folders_of_features_and_of_labels(tmp_path):
    for kind in ("features", "labels"):
        (tmp_path / kind).mkdir()
    for split in ("train", "test"):
        x, y = rows_of(split, 4)
        np.save(tmp_path / "features" / f"{split}.npy", x)
        np.save(tmp_path / "labels" / f"{split}.npy", y)
    assert splits_in(import_features(sorted(tmp_path.rglob("*.npy"))).file) == RIGHT


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (("dogs_features", "cats_features"), ("dogs_labels", "birds_labels")),
        (("x_1", "x_2"), ("y_2", "y_3")),
        (("x_1",), ("y_2",)),
        (("dogs_x",), ("cats_y",)),
        (("x",), ("y", "fine_labels")),
    ],
)
def test_names_that_do_not_pair_are_refused(tmp_path, features, labels):
    x, y = rows_of("train", 4)
    for name in (*features, *labels):
        np.save(tmp_path / f"{name}.npy", x if name in features else y)
    with pytest.raises(ValueError, match="paired by the folder and the name"):
        import_features([tmp_path / f"{name}.npy" for name in (*features, *labels)])


def test_predictions_are_no_labels(tmp_path):
    x, y = rows_of("train", 4)
    for name, array in (("x", x), ("y", y), ("y_pred", 1 - y)):
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.warns(UserWarning, match=r"not read: y_pred\.npy"):
        file = import_features([tmp_path / f"{name}.npy" for name in ("x", "y", "y_pred")]).file
    assert file.train.y.tolist() == y.tolist()


def refused(sources):
    out = sources[0].parent / "f.npz"
    return said_by("data", "import", *sources, "--out", out, code=1)


def test_shards_of_clip_retrieval(tmp_path):
    """As ``clip-retrieval inference`` writes them: folders of embeddings and of metadata."""
    (tmp_path / "img_emb").mkdir()
    (tmp_path / "metadata").mkdir()
    x, y = rows_of("train", 24)
    for shard in range(12):
        rows = slice(2 * shard, 2 * shard + 2)
        np.save(tmp_path / "img_emb" / f"img_emb_{shard}.npy", x[rows].astype(np.float16))
        table = pa.table(
            {"image_path": [f"{i}.jpg" for i in range(2)], "label": y[rows], "caption": ["a", "b"]}
        )
        pyarrow.parquet.write_table(table, tmp_path / "metadata" / f"metadata_{shard:02d}.parquet")
    sources = sorted(tmp_path.rglob("*_emb_*.npy")) + sorted(tmp_path.rglob("*.parquet"))
    with pytest.warns(UserWarning, match="'image_path' of metadata/metadata_00.parquet"):
        train = import_features(sources).file.train
    assert train.x[:, 0, 1].tolist() == list(range(24))
    assert train.y.tolist() == y.tolist()
    assert "have no partner" in refused(sources[1:])
    np.save(tmp_path / "img_emb" / "img_emb_3.npy", x[:5])
    said = refused(sources)
    assert "img_emb_3.npy: 'img_emb_3' is [5, 7], with 2 labels ('label' of metadata/meta" in said


def table_of(column, values, split="train"):
    x, y = rows_of(split, len(values))
    marks = {"train": 1, "val": 2, "test": 3}
    for row, value in enumerate(values):
        word = next((w for w in marks if str(value).lower().startswith(w)), None)
        x[row, 0] = marks.get(word, 0)
    return pa.table({"embedding": list(x), "label": y, column: values})


VALUES = ["train", "test", "Train", "train_set", "TESTING", "validation"]


@pytest.mark.parametrize("column", ["split", "Split", "SUBSET", "data-split", "partition", "set"])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_says_the_split(tmp_path, column, suffix):
    path = tmp_path / f"data{suffix}"
    table = table_of(column, VALUES)
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    file = import_features([path]).file
    assert splits_in(file) == {**RIGHT, "val": [2.0]}
    assert file.train.x[:, 0, 1].tolist() == [0, 2, 3]
    assert file.train.y.tolist() == [0, 0, 1]
    assert file.test.y.tolist() == [1, 0]


def test_a_column_of_another_name_and_of_npz(tmp_path):
    pyarrow.parquet.write_table(table_of("usage", VALUES), tmp_path / "data.parquet")
    words = ("--split-column", "usage", "--out", tmp_path / "f.npz")
    said_by("data", "import", tmp_path / "data.parquet", *words)
    assert splits_in(FeatureFile.load(tmp_path / "f.npz")) == {**RIGHT, "val": [2.0]}
    x, y = rows_of("train", 4)
    np.savez(tmp_path / "data.npz", x=x, y=y, split=np.array(["train", "train", "test", "test"]))
    assert len(import_features([tmp_path / "data.npz"]).file.test) == 2


def test_columns_that_do_not_say_the_split(tmp_path):
    def refused(column, values, match, name="data"):
        path = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(table_of(column, values), path)
        with pytest.raises(ValueError, match=match):
            import_features([path])

    refused("split", ["train", "test", "holdout"], "'holdout' in row 2, which is none of train")
    refused("split", [0, 1, 1], "must say train, val or test in each row")
    refused("split", ["train", None, "test"], "is empty in row 1")
    refused("split", ["test", "test"], "No row is of the split train")
    refused("is_train", [True, False], "seems to say which rows are of a split")
    refused("split", ["train", "test"], "rename the file if the column is right", name="train")
    pyarrow.parquet.write_table(table_of("split", ["train", "train"]), tmp_path / "train.parquet")
    assert len(import_features([tmp_path / "train.parquet"]).file.train) == 2


def test_what_seems_to_say_the_split_is_not_left_unread(tmp_path):
    """Otherwise test rows would be trained on."""
    x, y = rows_of("train", 4)
    is_train = np.array([True, True, False, False])
    path = tmp_path / "data.npz"
    for arrays in (
        {"train_mask": is_train, "test_mask": ~is_train},  # as PyG has it
        {"train_idx": np.arange(2), "testIndices": np.arange(2, 4)},
        {"is_test": ~is_train},
        {"train": is_train},
    ):
        np.savez(path, x=x, y=y, **arrays)
        with pytest.raises(ValueError, match="seems to say which rows are of a split"):
            import_features([path])
    np.savez(path, x=x, y=y, mode=np.array(["train", "Train", "TEST", "test"]))
    with pytest.raises(ValueError, match=r"'mode' of data.npz .* \(--split-column mode\)"):
        import_features([path])
    file = import_features([path], {"split": "mode"}).file
    assert (len(file.train), len(file.test)) == (2, 2)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "test_idx.npy", np.arange(2, 4))
    with pytest.raises(ValueError, match=r"test_idx.npy seems to say which rows"):
        import_features(sorted(tmp_path.glob("*.npy")))
    for arrays in (  # whose split is said, or that say none
        {"x_train": x, "y_train": y, "x_test": x, "y_test": y, "test_ids": np.arange(4)},
        {
            "x": x,
            "y": y,
            "mode": np.array(["train"] * 4),
            "path": np.array(["a", "b", "c", "test"]),
        },
    ):
        np.savez(path, **arrays)
        with pytest.warns(UserWarning, match="These arrays are not read"):
            assert len(import_features([path]).file.train) == 4


def test_a_column_beside_shards_of_features(tmp_path):
    for shard, values in enumerate((["train", "test"], ["test", "train", "train"])):
        table = table_of("split", values)
        x = np.stack(table.column("embedding").to_pylist()).astype(np.float32)
        np.save(tmp_path / f"img_emb_{shard}.npy", x)
        rest = table.drop_columns(["embedding"])
        pyarrow.parquet.write_table(rest, tmp_path / f"metadata_{shard}.parquet")
    file = import_features(sorted(tmp_path.iterdir())).file
    assert splits_in(file) == RIGHT
    assert (len(file.train), len(file.test)) == (3, 2)
