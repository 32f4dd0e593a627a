import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.feature_file import read_images
from pyg_graphadapter.features import num_base_classes
from pyg_graphadapter.testing import fake_features


@pytest.fixture
def file():
    return fake_features(num_classes=4, channels=8, shots=3, tests=2, views=2)


def arrays_of(file, **changed):
    arrays = {
        "train_features": file.train.x.numpy(),
        "train_labels": file.train.y.numpy(),
        "test_features": file.test.x.numpy(),
        "test_labels": file.test.y.numpy(),
        "text_features": file.text.numpy(),
        "class_names": np.array(file.class_names),
        **changed,
    }
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_round_trip(file, tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    file = FeatureFile(
        file.text, ("a", "é", "{}", "../x"), file.train, file.test, file.test, logit_scale=42.0
    )
    file.save(path)
    loaded = FeatureFile.load(path)
    assert loaded.class_names == file.class_names
    assert loaded.logit_scale == 42.0
    torch.testing.assert_close(loaded.text, file.text, rtol=0, atol=0)
    for split in ("train", "val", "test"):
        torch.testing.assert_close(getattr(loaded, split).x, getattr(file, split).x, rtol=0, atol=0)
        assert torch.equal(getattr(loaded, split).y, getattr(file, split).y)


def test_other_suffixes_are_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r"\.npz or \.safetensors \(got f\.csv\)"):
        file.save(tmp_path / "f.csv")
    (tmp_path / "f.csv").touch()
    with pytest.raises(ValueError, match=r"\.npz or \.safetensors \(got f\.csv\)"):
        FeatureFile.load(tmp_path / "f.csv")


def test_names_and_scale_have_defaults(file, tmp_path):
    np.savez(tmp_path / "f.npz", **arrays_of(file, class_names=None, unknown=np.ones(3)))
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == ("0", "1", "2", "3")
    assert loaded.logit_scale == 100.0
    assert loaded.val is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text_features": None}, "has no text_features .it has .*train_labels"),
        ({"text_features": np.ones((3, 8))}, "3 rows for 4 class names"),
        ({"text_features": np.ones((4, 8, 1))}, r"\[C, D\]"),
        ({"text_features": np.full((4, 8), np.nan)}, "'text_features' must be finite"),
        ({"text_features": np.ones((4, 9))}, "'train_features' is 8 wide.* 9 wide"),
        ({"test_features": np.ones((8, 9))}, "'test_features' is 9 wide.* 8 wide"),
        ({"test_features": np.zeros((8, 8))}, "all zero, in rows 0, 1"),
        ({"test_features": np.full((8, 8), np.inf)}, "'test_features'.* must be finite"),
        ({"test_labels": np.full(8, 4)}, r"Labels must lie in \[0, 4\).*got 4 with 'test_f"),
        ({"test_labels": None}, "are needed together"),
        ({"train_features": None}, "has no train_features"),
        ({"logit_scale": np.array(4.6)}, r"about 100 .*got 4.6.*exp\(logit_scale\)"),
        ({"logit_scale": np.array([1.0, 2.0])}, "must be one number"),
        ({"class_names": np.array(["a"], dtype=object)}, "pickled"),
        (
            {"class_names": np.zeros((2, 2))},
            r"an array of text or whole numbers with 1 dimension or text \(got float64 \[2, 2\]\)",
        ),
        ({"train_labels": np.array(["a"] * 12)}, "damaged"),
    ],
)
def test_content_that_does_not_fit_is_named(file, tmp_path, changed, message):
    np.savez(tmp_path / "f.npz", **arrays_of(file, **changed))
    with pytest.raises(ValueError, match=message) as error:
        FeatureFile.load(tmp_path / "f.npz")
    assert "f.npz" in str(error.value)


def test_base_and_new_classes_of_an_odd_number():
    file = fake_features(num_classes=5, channels=8, shots=3, tests=2)
    base, new = file.base_and_new()
    assert base.class_names + new.class_names == file.class_names
    assert len(base.class_names) == num_base_classes(5) == 3
    assert base.val is None
    torch.testing.assert_close(new.text, file.text[3:])
    torch.testing.assert_close(new.train.x, file.train.x[9:])
    assert new.test.y.tolist() == [0, 0, 1, 1]


def test_one_class_has_no_halves():
    with pytest.raises(ValueError, match=r"need at least two classes \(got 1\)"):
        fake_features(num_classes=1).base_and_new()


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0, -100.0, 4.6, 1e5])
def test_the_scale_is_a_factor(file, scale):
    with pytest.raises(ValueError, match="'logit_scale' is the factor"):
        FeatureFile(file.text, file.class_names, file.train, logit_scale=scale)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
def test_damaged_files(file, tmp_path, suffix, damage):
    path = tmp_path / f"features{suffix}"
    file.save(path)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": content[:-100], "text": b"hello" * 99}[damage])
    with pytest.raises(ValueError, match=r"features.* (damaged|pickle)"):
        FeatureFile.load(path)


def test_a_flipped_bit_in_an_npz_is_noticed(file, tmp_path):
    path = tmp_path / "f.npz"
    file.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        FeatureFile.load(path)


def test_class_names_that_are_no_json(file, tmp_path):
    tensors = {
        "text_features": file.text, "train_features": file.train.x, "train_labels": file.train.y
    }  # fmt: skip
    for text, reason in {"[": "JSON", '{"a": 1}': "a list", '["a", [1]]': "text or a"}.items():
        content = safetensors.torch.save(tensors, {"class_names": text})
        (tmp_path / "f.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=f"'class_names'.*{reason}"):
            FeatureFile.load(tmp_path / "f.safetensors")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".bin", ".npz", ".safetensors"])
def test_pickles_are_refused_and_never_run(tmp_path, suffix):
    sign = tmp_path / "it-ran"
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(pickle.dumps(Payload(str(sign))))
    with pytest.raises(ValueError, match=r"(pickle|damaged)"):
        FeatureFile.load(path)
    np.savez(tmp_path / "object.npz", text_features=np.array([Payload(str(sign))], dtype=object))
    with pytest.raises(ValueError, match="pickled"):
        FeatureFile.load(tmp_path / "object.npz")
    assert not sign.exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no feature file"):
        FeatureFile.load(tmp_path / "nothing.npz")


def test_read_images_finds_what_to_classify(file, tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, **arrays_of(file))
    x, y, _ = read_images(path)
    torch.testing.assert_close(x, file.test.mean_views())
    assert torch.equal(y, file.test.y)
    assert len(read_images(path, "train")[0]) == 12
    with pytest.raises(ValueError, match="no val_features"):
        read_images(path, "val")
    with pytest.raises(ValueError, match=r"Unknown split 'x'. Choose from train, val, test"):
        read_images(path, "x")
    np.savez(path, features=np.ones((2, 8)))
    x, y, _ = read_images(path)
    assert x.shape == (2, 8)
    assert y is None
    np.savez(path, features=np.full((2, 8), np.nan))
    with pytest.raises(ValueError, match="'features': Features must be finite"):
        read_images(path)
    np.savez(path, text_features=np.ones((2, 8)))
    with pytest.raises(ValueError, match="has no features or test_features"):
        read_images(path)


def test_the_real_file_is_read(shared_data):
    file = FeatureFile.load(shared_data / "clip_vitb32" / "imagenet_fewshot.npz")
    assert file.train.x.shape == (4000, 1, 512)
    assert file.test.x.shape == (3000, 1, 512)
    assert len(file.class_names) == 1000
    assert json.dumps(file.class_names[0])


def test_repr():
    data = fake_features(num_classes=3, channels=8, shots=2, tests=1, views=4)
    assert repr(data) == (
        "FeatureFile(3 classes, 8 wide, train: 6 images, 4 views, test: 3 images, 1 view)"
    )


def test_texts_that_are_all_the_same(file, tmp_path):
    np.savez(tmp_path / "f.npz", **arrays_of(file, text_features=np.ones((4, 8), "f4")))
    with pytest.raises(ValueError, match="same direction in all 4 rows"):
        FeatureFile.load(tmp_path / "f.npz")
