"""Labels of two kinds, class names that are none, and texts in files of their own."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.importing import import_features
from tests.checkpoints import PROJECTION, save_checkpoint
from tests.faults.command import said_by

X = np.random.default_rng(0).random((6, 8)).astype(np.float32)
NUMBERS, WORDS = np.array([0, 1, 2] * 2), np.array(["zebra", "ant", "cat"] * 2)
NAMES = ["zebra", "ant", "cat"]


def test_numbers_here_and_names_there_need_class_names(tmp_path):
    np.savez(tmp_path / "train.npz", x=X, y=NUMBERS)
    np.savez(tmp_path / "test.npz", x=X, y=WORDS)
    sources = [tmp_path / "train.npz", tmp_path / "test.npz"]
    with pytest.raises(ValueError, match="'train_labels' are numbers and 'test_labels' are names"):
        import_features(sources)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    words = ("--class-names", tmp_path / "names.txt", "--out", tmp_path / "f.npz")
    said_by("data", "import", *sources, *words)
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == tuple(NAMES)
    assert loaded.test.y.tolist() == loaded.train.y.tolist() == NUMBERS.tolist()


@pytest.mark.parametrize("swapped", [False, True])
def test_from_arrays_refuses_numbers_beside_names(swapped):
    first, second = (WORDS, NUMBERS) if swapped else (NUMBERS, WORDS)
    arrays = {"test_features": X, "test_labels": second}
    with pytest.raises(ValueError, match=r"are numbers and '.*' are names.*'class_names'"):
        FeatureFile.from_arrays(X, first, **arrays)
    file = FeatureFile.from_arrays(X, first, **arrays, class_names=NAMES)
    assert file.train.y.tolist() == file.test.y.tolist() == NUMBERS.tolist()


def test_a_stored_file_of_numbers_and_names_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz", train_features=X, train_labels=NUMBERS, test_features=X,
             test_labels=WORDS)  # fmt: skip
    with pytest.raises(ValueError, match=r"f\.npz: 'train_labels' are numbers"):
        FeatureFile.load(tmp_path / "f.npz")


@pytest.mark.parametrize(
    "names", [WORDS, np.array([f"img_{i}.jpg" for i in range(6)])], ids=["classes", "files"]
)
def test_one_name_per_image_is_no_class_name(tmp_path, names):
    np.savez(tmp_path / "a.npz", features=X, labels=NUMBERS, names=names)
    with pytest.raises(ValueError, match="6 names, one per image and not one per class"):
        import_features([tmp_path / "a.npz"])
    chosen = ("--train-labels", "names", "--out", tmp_path / "f.npz")
    said_by("data", "import", tmp_path / "a.npz", *chosen)
    assert FeatureFile.load(tmp_path / "f.npz").class_names == tuple(sorted(set(names)))


def test_a_column_of_class_names(tmp_path):
    table = pa.table({"embedding": list(X), "label": NUMBERS, "class_name": WORDS})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="--train-labels class_name"):
        import_features([tmp_path / "a.parquet"])


def test_as_many_classes_as_images(tmp_path):
    names = [f"class {c}" for c in range(6)]
    np.savez(tmp_path / "a.npz", features=X, labels=np.arange(6), class_names=names)
    assert import_features([tmp_path / "a.npz"]).file.class_names == tuple(names)


def test_class_names_differ(tmp_path):
    twice = ["ant", "cat", "ant"]
    np.savez(tmp_path / "a.npz", features=X, labels=NUMBERS, class_names=twice)
    message = r"'class_names' holds 'ant' 2 times \(classes 0, 2\)"
    with pytest.raises(ValueError, match=message):
        import_features([tmp_path / "a.npz"])
    with pytest.raises(ValueError, match=message):
        FeatureFile.from_arrays(X, NUMBERS, class_names=twice)
    labels = np.array(twice * 2)
    np.savez(tmp_path / "f.npz", train_features=X, train_labels=labels, class_names=twice)
    with pytest.raises(ValueError, match=message):
        FeatureFile.load(tmp_path / "f.npz")


def test_too_few_class_names(tmp_path):
    np.savez(tmp_path / "a.npz", features=X, labels=NUMBERS, class_names=["ant", "cat"])
    with pytest.raises(ValueError, match=r"Labels must lie in \[0, 2\)"):
        import_features([tmp_path / "a.npz"])


# Texts ################################################################################

TEXT = np.random.default_rng(1).random((3, PROJECTION)).astype(np.float32)


def test_captions_of_images_are_no_texts_of_classes(tmp_path):
    for labels in (NUMBERS, WORDS):
        np.savez(tmp_path / "a.npz", img_emb=X, text_emb=X[::-1], labels=labels)
        with pytest.raises(ValueError, match="6 rows, one per image and not one per class"):
            import_features([tmp_path / "a.npz"])
    np.savez(tmp_path / "a.npz", img_emb=X, text_emb=X[::-1], labels=np.arange(6))
    assert torch.equal(
        import_features([tmp_path / "a.npz"]).file.text, torch.from_numpy(X[::-1].copy())
    )


@pytest.fixture
def wide(tmp_path):
    x = np.random.default_rng(0).random((6, PROJECTION)).astype(np.float32)
    np.savez(tmp_path / "a.npz", features=x, labels=NUMBERS)
    return tmp_path / "a.npz"


def imported(source, *words, code=0):
    out = source.with_name("f.npz")
    said = said_by("data", "import", source, *words, "--out", out, "--overwrite", code=code)
    return FeatureFile.load(out) if code == 0 else said


@pytest.mark.parametrize("suffix", [".txt", ".json", ".npy"])
def test_texts_by_a_model_and_a_file_of_names(wide, tmp_path, suffix):
    checkpoint = save_checkpoint("clip", tmp_path / "clip")
    names = tmp_path / f"names{suffix}"
    if suffix == ".npy":
        np.save(names, np.array(NAMES))
    else:
        names.write_text(json.dumps(NAMES) if suffix == ".json" else "\n".join(NAMES))
    file = imported(wide, "--model", checkpoint, "--class-names", names)
    assert file.class_names == tuple(NAMES)
    assert file.text.shape == (3, PROJECTION)
    swapped = tmp_path / "swapped.json"
    swapped.write_text(json.dumps(NAMES[::-1]))
    other = imported(wide, "--model", checkpoint, "--class-names", swapped)
    assert torch.allclose(other.text.flip(0), file.text, atol=1e-6)
    assert "no class names, from which" in imported(wide, "--model", checkpoint, code=1)
    few = tmp_path / "few.json"
    few.write_text(json.dumps(NAMES[:2]))
    assert "Labels must lie in [0, 2)" in imported(wide, "--class-names", few, code=1)


@pytest.mark.parametrize("stored", ["npy", "npz", "transposed", "safetensors"])
def test_texts_in_a_file(wide, tmp_path, stored):
    path = tmp_path / f"words.{stored.replace('transposed', 'npy')}"
    if stored == "npz":
        np.savez(path, weights=TEXT)
    elif stored == "safetensors":
        import safetensors.numpy

        safetensors.numpy.save_file({"text_features": TEXT, "other": X}, path)
    else:
        np.save(path, TEXT.T if stored == "transposed" else TEXT)
    file = imported(wide, "--text-features", path)
    assert np.array_equal(file.text.numpy(), TEXT)
    said = imported(wide, "--text-features", path, "--model", "builtin", code=1)
    assert "text features already" in said


def test_texts_by_key_or_none(wide, tmp_path):
    x, text = np.load(wide)["features"], TEXT
    np.savez(wide, features=x, labels=NUMBERS, words=text)
    assert np.array_equal(imported(wide, "--text-features", "words").text.numpy(), text)
    assert imported(wide).text is None
    missing = imported(wide, "--text-features", tmp_path / "no.npy", code=1)
    assert "There is no source of features" in missing
    missing = imported(wide, "--class-names", tmp_path / "no.txt", code=1)
    assert "There is no file of class names" in missing
