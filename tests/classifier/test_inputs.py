"""The one rule by which a classifier tells features from images."""

import numpy as np
import pytest
import torch
from PIL import Image

from pyg_graphadapter import Features, FewShotClassifier
from pyg_graphadapter.classifier.inputs import FeatureInput, ImageInput, read_input
from pyg_graphadapter.testing import fake_features

X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
PIXELS = np.zeros((4, 6, 3), np.uint8)


class Wrapped:
    """Anything with ``__array__``."""

    def __array__(self, dtype=None, copy=None):
        return X


FEATURES = {
    "numpy": lambda: X,
    "torch": lambda: torch.from_numpy(X),
    "lists": lambda: X.tolist(),
    "vectors": lambda: list(X),
    "tensors": lambda: list(torch.from_numpy(X)),
    "float64": lambda: X.astype(np.float64),
    "big-endian": lambda: X.astype(">f4"),
    "__array__": Wrapped,
    "data frame": lambda: pytest.importorskip("pandas").DataFrame(X),
    "negative strides": lambda: np.ascontiguousarray(X[::-1])[::-1],
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features(kind):
    given = read_input(FEATURES[kind](), 8)
    assert isinstance(given, FeatureInput)
    torch.testing.assert_close(given.x.float(), torch.from_numpy(X))


def test_one_vector_is_one_image_and_views_are_averaged():
    for value in (X[0], X[0].tolist(), torch.from_numpy(X[0])):
        assert read_input(value, 8).x.shape == (1, 8)
    features = Features(torch.from_numpy(X).view(5, 1, 8).repeat(1, 2, 1), torch.zeros(5).long())
    assert read_input(features, 8).x.shape == (5, 8)
    assert read_input([], 8).x.shape == read_input(X[:0], 8).x.shape == (0, 8)


def test_images():
    for value, count in (
        (PIXELS, 1),
        (torch.from_numpy(PIXELS), 1),
        (Image.new("L", (9, 9)), 1),
        (b"content", 1),
        (np.stack([PIXELS] * 3), 3),
        ([PIXELS, "a.jpg", Image.new("RGB", (2, 2))], 3),
        (np.array(["a.jpg", "b.jpg"]), 2),
    ):
        given = read_input(value, 8)
        assert isinstance(given, ImageInput)
        assert len(given.images) == len(given.files) == count


NEITHER = {
    "whole numbers": (np.zeros((5, 8), np.int64), "astype"),
    "grey": (np.zeros((5, 8), np.uint8), "grey image"),
    "floating image": (np.zeros((4, 6, 3), np.float32), "from 0 to 1"),
    "channels first": (np.zeros((3, 5, 6), np.uint8), "colours last"),
    "views": (np.ones((5, 2, 8), np.float32), "Of several views"),
    "bool": (np.ones((5, 8), bool), "bool"),
    "complex": (np.ones((5, 8), complex), "complex"),
    "list of whole numbers": ([[1, 0, 0, 0, 0, 0, 0, 1]], "int64"),
    "ragged": ([[0.5] * 8, [0.5] * 7], "of other lengths"),
    "vector and matrix": ([X[0], X], "as entry 1"),
    "None": ([None], "None as entry 0"),
    "dict": ({"a": 1}, "a dict"),
    "number": (3, "a int"),
}


@pytest.mark.parametrize("kind", NEITHER)
def test_what_is_neither(kind):
    value, message = NEITHER[kind]
    with pytest.raises(ValueError, match="Neither features nor images") as error:
        read_input(value, 8)
    assert message in str(error.value)
    assert "[N, 8]" in str(error.value)
    assert "uint8" in str(error.value)


def test_other_widths_mixed_lists_and_rows_without_direction():
    with pytest.raises(ValueError, match=r"8 wide \(got \[5, 9\]\).*images are uint8"):
        read_input(np.ones((5, 9), np.float32), 8)
    with pytest.raises(ValueError, match=r"not both .*as entry 1.*as entry 0"):
        read_input([X[0], "a.jpg"], 8)
    with pytest.raises(ValueError, match="Give one feature file"):
        read_input(["a.jpg", "f.npz"], 8)
    x = X.copy()
    x[3] = 0
    with pytest.raises(ValueError, match="zeros in rows 3"):
        read_input(x, 8)
    x[3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in rows 3"):
        read_input(x, 8)
    with pytest.raises(ValueError, match="NaN"):
        read_input(np.ma.masked_array(X, mask=np.eye(5, 8)), 8)


def test_every_way_in_follows_the_rule():
    data = fake_features(num_classes=4, channels=8)
    classifier = FewShotClassifier.fit(data, shots=2, progress=False)
    x, y = data.test.mean_views(), data.test.y
    assert classifier.predict(x.numpy()) == classifier.predict(x) == classifier.predict(x.tolist())
    expected = classifier.evaluate(data.test)
    names = [classifier.class_names[c] for c in y]
    for labels in (y, y.tolist(), names):
        assert classifier.evaluate(x.numpy(), labels).accuracy == expected.accuracy
    assert str(classifier.explain(x[0].numpy())) == str(classifier.explain(x[0]))
    for answer in (classifier.predict_proba, classifier.predict_rows, classifier.explain):
        with pytest.raises(ValueError, match="Neither features nor images"):
            answer(np.ones((5, 8), np.int64))
    with pytest.raises(ValueError, match="need labels"):
        classifier.evaluate(x.numpy())
    with pytest.raises(ValueError, match="one label per image"):
        classifier.evaluate(x, y[:-1])
    with pytest.raises(ValueError, match="no class of the classifier"):
        classifier.evaluate(x[:1], [-1])
    with pytest.raises(ValueError, match="features already"):
        classifier.encode(x)
    with pytest.raises(ValueError, match="was fitted on features"):
        classifier.predict(PIXELS)
    with pytest.warns(UserWarning, match="8 of 64 images"):
        assert classifier.evaluate(data, split="train").num_shots == 8


def test_the_path_of_an_array_is_told_what_to_give(tmp_path):
    classifier = FewShotClassifier.fit(fake_features(), shots=2, progress=False)
    np.save(tmp_path / "x.npy", np.ones((2, 32)))
    with pytest.raises(ValueError, match=r"x.npy is an array .* give the array itself"):
        classifier.predict(tmp_path / "x.npy")
