import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.feature_file import read_images
from pyg_graphadapter.features import Features, num_base_classes
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
    np.savez(tmp_path / "f.npz", **arrays_of(file, class_names=None))
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == ("0", "1", "2", "3")
    assert loaded.logit_scale == 100.0
    assert loaded.val is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text_features": np.ones((3, 8))}, "3 rows for 4 class names"),
        ({"text_features": np.ones((4, 8, 1))}, r"\[C, D\]"),
        ({"text_features": np.full((4, 8), np.nan)}, "'text_features' must be finite"),
        ({"text_features": np.ones((4, 9))}, "'train_features' is 8 wide.* 9 wide"),
        ({"test_features": np.ones((8, 9))}, "'test_features' is 9 wide.* 8 wide"),
        ({"test_features": np.zeros((8, 8))}, "all zero, in rows 0, 1"),
        ({"test_features": np.full((8, 8), np.inf)}, "'test_features'.* must be finite"),
        ({"test_labels": np.full(8, 4)}, r"Labels must lie in \[0, 4\).*got 4 with 'test_l"),
        ({"test_labels": None}, "are needed together"),
        ({"train_features": None}, "has no train_features"),
        ({"logit_scale": np.array(4.6)}, r"about 100 .*got 4.6.*exp\(logit_scale\)"),
        ({"logit_scale": np.array([1.0, 2.0])}, "must be one number"),
        ({"class_names": np.array(["a"], dtype=object)}, "pickled"),
        (
            {"train_labels": np.array(["a"] * 12)},
            "'a' in row 0, which is none of the 4 class names",
        ),
        ({"train_labels": np.array([["a"] * 2] * 12)}, "must have one name per image"),
        ({"train_labels": np.full(12, -1)}, r"'train_labels' holds -1 in rows 0.*12 of 12"),
        ({"train_labels": np.arange(12) % 4 + 1}, "count from 1: subtract 1"),
        ({"train_labels": np.full(12, 0.5)}, "must be whole numbers .got 0.5 in rows 0"),
        ({"train_labels": np.full(12, True)}, "true and false"),
        ({"train_labels": np.full((12, 4), 0.5)}, "one-hot rows of 0 and 1"),
        ({"train_labels": np.ones((12, 4), int)}, "several classes .rows 0"),
        ({"train_labels": np.zeros((12, 4), int)}, "no class .rows 0"),
        ({"train_labels": np.eye(12, 5)}, "rows of 4 numbers"),
        ({"train_labels": np.ones((12, 4, 1))}, r"one-hot rows \[N, C\]"),
        ({"train_features": np.array(["a"] * 12)}, "is not as a feature file must be"),
        (
            {
                "trainfeatures": np.ones((12, 8)),
                "train_features": None,
                "X_train": np.ones((12, 8)),
            },
            "both 'trainfeatures' and 'X_train'",
        ),
        (
            {"class_names": np.zeros((2, 2))},
            r"an array of text or whole numbers with 1 dimension or text \(got float64 \[2, 2\]\)",
        ),
    ],
)
def test_content_that_does_not_fit_is_named(file, tmp_path, changed, message):
    np.savez(tmp_path / "f.npz", **arrays_of(file, **changed))
    with pytest.raises(ValueError, match=message) as error:
        FeatureFile.load(tmp_path / "f.npz")
    assert "f.npz" in str(error.value)


def test_sound_files_are_never_called_damaged(file, tmp_path):
    for changed in ({"train_features": np.array(["a"] * 12)}, {"class_names": np.array([None])}):
        np.savez(tmp_path / "f.npz", **arrays_of(file, **changed))
        with pytest.raises(ValueError, match=r"is not as a feature file must be") as error:
            FeatureFile.load(tmp_path / "f.npz")
        assert "damaged" not in str(error.value)


@pytest.mark.parametrize(
    "names",
    [
        {"class_names": "classnames", "test_features": "test_feats"},
        {"class_names": "classes", "train_features": "X_train", "train_labels": "y_train"},
        {"class_names": "Class-Names", "text_features": "text_embeddings"},
        {"test_features": "testing_features", "test_labels": "test_targets"},
        {"train_features": "train_feature", "train_labels": "train_y"},
    ],
)
def test_usual_names_of_keys(file, tmp_path, names):
    arrays = {names.get(key, key): value for key, value in arrays_of(file).items()}
    np.savez(tmp_path / "f.npz", **arrays)
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == file.class_names
    assert repr(loaded) == repr(file)


def test_validation_under_its_usual_names(file, tmp_path):
    further = {"validation_features": file.train.x, "validation_labels": file.train.y}
    np.savez(tmp_path / "f.npz", **arrays_of(file, **further))
    assert len(FeatureFile.load(tmp_path / "f.npz").val) == 12


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("tran_features", "train_features"), ("clas_nmes", "class_names"), ("paths", None)],
)
def test_keys_that_are_not_read_are_named(file, tmp_path, key, nearest):
    np.savez(tmp_path / "f.npz", **arrays_of(file, **{key: np.ones(3)}))
    words = f"did you mean '{nearest}'" if nearest else f"not read: '{key}'."
    with pytest.warns(UserWarning, match=rf"f\.npz holds keys .*{key}.*") as warnings:
        FeatureFile.load(tmp_path / "f.npz")
    assert words in str(warnings[0].message)
    np.savez(tmp_path / "f.npz", **arrays_of(file, classes=np.arange(3)))
    with pytest.warns(UserWarning, match="not read: 'classes'"):
        FeatureFile.load(tmp_path / "f.npz")


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.astype(np.uint16),
        lambda y: y.astype(np.uint32),
        lambda y: y.astype(np.uint64),
        lambda y: y.astype(np.float32),
        lambda y: y[:, None],
        lambda y: np.eye(4, dtype=np.int64)[y],
        lambda y: np.eye(4, dtype=np.float32)[y],
        lambda y: np.eye(4, dtype=bool)[y],
        lambda y: np.array([f"class {c}" for c in y]),
    ],
)
def test_forms_of_labels(file, tmp_path, form):
    labels = {"train_labels": form(file.train.y.numpy()), "test_labels": form(file.test.y.numpy())}
    np.savez(tmp_path / "f.npz", **arrays_of(file, **labels))
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert torch.equal(loaded.train.y, file.train.y)
    assert torch.equal(loaded.test.y, file.test.y)
    assert torch.equal(read_images(tmp_path / "f.npz").y, file.test.y)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_labels_of_safetensors(file, tmp_path, dtype):
    tensors = {"train_features": file.train.x, "train_labels": file.train.y.to(dtype)}
    safetensors.torch.save_file(tensors, tmp_path / "f.safetensors", {"format": "pt"})
    assert torch.equal(FeatureFile.load(tmp_path / "f.safetensors").train.y, file.train.y)


def test_names_in_labels_become_class_names(file, tmp_path):
    names = np.array(["cow", "ant", "bee", "dog"])
    labels = {"train_labels": names[file.train.y], "test_labels": names[file.test.y]}
    without = {"class_names": None, "text_features": None}
    np.savez(tmp_path / "f.npz", **arrays_of(file, **labels, **without))
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert loaded.class_names == ("ant", "bee", "cow", "dog")
    assert [loaded.class_names[c] for c in loaded.test.y] == labels["test_labels"].tolist()
    np.savez(tmp_path / "f.npz", **arrays_of(file, **labels, class_names=None))
    with pytest.warns(UserWarning, match="order of the sorted names, ant, bee, cow"):
        FeatureFile.load(tmp_path / "f.npz")
    metadata = {"train_labels": json.dumps(labels["train_labels"].tolist())}
    tensors = {"train_features": file.train.x}
    safetensors.torch.save_file(tensors, tmp_path / "f.safetensors", metadata)
    assert FeatureFile.load(tmp_path / "f.safetensors").class_names == loaded.class_names
    numbers = np.array(["2", "10", "1"])
    np.savez(tmp_path / "f.npz", train_features=np.ones((3, 8)), train_labels=numbers)
    assert FeatureFile.load(tmp_path / "f.npz").class_names == ("1", "2", "10")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_without_texts(file, tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    without = FeatureFile(None, file.class_names, file.train, file.val, file.test)
    without.save(path)
    loaded = FeatureFile.load(path)
    assert loaded.text is None
    assert repr(loaded) == (
        "FeatureFile(4 classes, 8 wide, no texts, train: 12 images, 2 views, test: 8 images, 1 "
        "view)"
    )
    base, new = loaded.base_and_new()
    assert base.text is new.text is None
    test = Features(torch.ones(2, 9), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="'test_features' is 9 wide, but 'train_features' is 8"):
        FeatureFile(None, file.class_names, file.train, None, test)
    with pytest.raises(ValueError, match=r"Labels must lie in \[0, 3\)"):
        FeatureFile(None, file.class_names[:3], file.train)


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


def test_from_arrays_reads_columns_one_hot_rows_and_names():
    file = fake_features(num_classes=4, channels=8, shots=3, tests=2)
    x, y = file.train.x[:, 0], file.train.y
    with pytest.warns(UserWarning, match="it was transposed") as said:
        loaded = FeatureFile.from_arrays(
            x.T.half(), torch.eye(4)[y].numpy(), text_features=file.text.T.numpy()
        )
    assert len(said) == 2
    assert torch.equal(loaded.train.x[:, 0], x.half())
    assert torch.equal(loaded.train.y, y)
    assert torch.equal(loaded.text, file.text)
    named = FeatureFile.from_arrays(x.numpy(), [file.class_names[c] for c in y])
    assert set(named.class_names) == set(file.class_names)
    with pytest.warns(UserWarning, match="is square"):
        FeatureFile.from_arrays(np.eye(4), [0, 0, 1, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_saved(tmp_path, dtype):
    file = FeatureFile.from_arrays(torch.rand(4, 8).to(dtype) + 1, [0, 0, 1, 1])
    file.save(tmp_path / "f.npz")
    loaded = FeatureFile.load(tmp_path / "f.npz")
    assert torch.equal(loaded.train.x.float(), file.train.x.float())


def test_from_arrays_refuses_other_things():
    with pytest.raises(ValueError, match="'train_features' must be an array of numbers"):
        FeatureFile.from_arrays(np.array([[object()]]), [0])
    with pytest.raises(ValueError, match="must come from the same encoder"):
        FeatureFile.from_arrays(np.ones((4, 8)), [0, 0, 1, 1], text_features=np.ones((2, 6)))


def test_texts_that_are_all_the_same(file, tmp_path):
    np.savez(tmp_path / "f.npz", **arrays_of(file, text_features=np.ones((4, 8), "f4")))
    with pytest.raises(ValueError, match="same direction in all 4 rows"):
        FeatureFile.load(tmp_path / "f.npz")


def test_class_names_that_cannot_be_right(tmp_path):
    file = fake_features(num_classes=3, channels=8, shots=4)
    x, y = file.train.x[:, 0].numpy(), file.train.y.numpy()
    path = tmp_path / "f.npz"
    per_image = np.array(["ant", "bee", "cow"])[y]
    np.savez(path, train_features=x, train_labels=y, class_names=per_image)
    with pytest.raises(ValueError, match="If it has one name per image, these are labels"):
        FeatureFile.load(path)  # otherwise the first three names would be those of the classes
    np.savez(path, train_features=x, train_labels=y, class_names=["ant", " ", "cow"])
    with pytest.raises(ValueError, match="'class_names' holds no name in rows 1"):
        FeatureFile.load(path)
    np.savez(path, train_features=x[[0, 4, 8]], train_labels=[0, 1, 2], class_names=["a", "b", "a"])
    assert FeatureFile.load(path).class_names == ("a", "b", "a")  # one image per class
    for names in ({0: "a", 2: "b", 1: "c"}, {"a", "b", "c"}, "abc"):  # which have no order
        with pytest.raises(ValueError, match="'class_names' must be a list of names in the order"):
            FeatureFile.from_arrays(x, y, class_names=names)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.nan, r"must be whole numbers \(got nan in rows 3"),
        (2**40, "holds 1099511627776: numbers count the classes from 0, up to 1,000,000"),
    ],
)
def test_numbers_that_are_no_labels(label, message):
    y = np.array([0, 1, 2, label])
    with pytest.raises(ValueError, match=f"'train_labels' {message}"):
        FeatureFile.from_arrays(np.eye(4, 5), y)


def test_an_empty_label_is_no_class():
    with pytest.raises(ValueError, match="'train_labels' holds no name in rows 2"):
        FeatureFile.from_arrays(np.eye(4, 5), ["ant", "bee", "", "nan"])


def test_data_frames_whose_rows_have_names():
    pd = pytest.importorskip("pandas")
    file = fake_features(num_classes=3, channels=8, shots=4)
    names = np.array(["cow", "ant", "bee"])
    x = pd.DataFrame(file.train.x[:, 0].numpy())
    labels = pd.Series(names[file.train.y])
    text = pd.DataFrame(file.text.numpy(), index=names)
    shuffled = labels.sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="the same rows in another order"):
        FeatureFile.from_arrays(x, shuffled)
    loaded = FeatureFile.from_arrays(x.loc[shuffled.index], shuffled)
    assert [loaded.class_names[c] for c in loaded.train.y] == shuffled.tolist()
    with (
        pytest.warns(UserWarning, match="in the order of the sorted names"),
        pytest.raises(ValueError, match=r"in the order of the classes, ant, bee, cow \(got cow,"),
    ):
        FeatureFile.from_arrays(x, labels, text_features=text)
    loaded = FeatureFile.from_arrays(x, labels, text_features=text, class_names=names)
    assert torch.equal(loaded.text, file.text)
    column = pd.Series(list(x.to_numpy()))
    assert torch.equal(FeatureFile.from_arrays(column, labels).train.x, loaded.train.x)
