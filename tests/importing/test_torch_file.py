"""Files of ``torch.save`` as people have them: read, or refused in one sentence."""

import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.importing import import_features
from tests.faults.command import said_by

X = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2] * 2)
ONE_HOT = torch.eye(3)[Y]


def saved(tmp_path, **contents):
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pt")
    return [tmp_path / f"{name}.pt" for name in contents]


def refused(path):
    return said_by("data", "import", path, "--out", path.with_name("f.npz"), code=1)


def both(x, y):
    return {"features": x, "labels": y}


@pytest.mark.parametrize(
    "contents",
    [
        # CLIP_benchmark's linear probe:
        {"features_train": X, "targets_train": Y, "features_test": 2 * X, "targets_test": Y},
        {"train": both(X, Y), "test": both(2 * X, Y)},
        {"data": {"train": both(X, Y), "test": both(2 * X, Y)}},
        {"data": {"splits": {"train": both(X, Y), "test": both(2 * X, Y)}}},
        {"data": {"train": {"x": list(X), "y": Y.tolist()}, "test": {"x": (2 * X).tolist(),
                                                                     "y": list(Y)}}},
        {"train_features": torch.nn.Parameter(X), "train_labels": Y, "test_f": 2 * X, "test_l": Y},
        # Tip-Adapter's caches: keys are columns, values one-hot rows of half precision.
        {"keys_2shots": X.T, "values_2shots": ONE_HOT.half(), "test_f": 2 * X, "test_l": Y},
        {"keys_2shots": X.T.contiguous().half(), "values_2shots": ONE_HOT, "test_f": 2 * X,
         "test_l": Y},
    ],
)  # fmt: skip
def test_layouts_that_are_read(tmp_path, contents):
    sources = saved(tmp_path, **contents)
    said_by("data", "import", *sources, "--out", tmp_path / "f.npz")
    file = FeatureFile.load(tmp_path / "f.npz")
    assert torch.allclose(file.train.x[:, 0].float(), X, atol=2e-3)
    assert torch.equal(file.test.x[:, 0], 2 * X)
    assert torch.equal(file.train.y, Y)


def test_a_square_cache_has_one_column_per_image(tmp_path):
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    sources = saved(tmp_path, keys_2shots=x.T, values_2shots=ONE_HOT)
    with pytest.warns(UserWarning, match="one column per image"):
        assert torch.equal(import_features(sources).file.train.x[:, 0], x)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"features": X.numpy(), "labels": Y.numpy()}, "holds arrays of numpy"),
        ({"train": {"features": X, "labels": np.arange(6)}}, "holds arrays of numpy"),
        (X.numpy(), "holds arrays of numpy"),
        ({"features": X, "n": np.float64(1)}, "holds arrays of numpy"),
        (defaultdict(list, features=X), "holds pickled objects"),
        ({"features": X.to_sparse(), "labels": Y}, "sparse, quantised or complex"),
        ({"a": {"b_c": X}, "a_b": {"c": X}}, "holds 'a_b_c' twice"),
        ({"state_dict": {f"layer{i}.weight": X for i in range(40)}}, "layer11_weight, …): give"),
        ([X, Y], "they hold 0, 1): give --train-features KEY"),
        ({"features": [X, X[:, :3]], "labels": Y}, "no train_features"),
        ("a text", "they hold nothing"),
        ({}, "they hold nothing"),
        (None, "they hold nothing"),
    ],
)
def test_other_content_is_one_sentence(tmp_path, content, words):
    [source] = saved(tmp_path, some=content)
    said = said_by("data", "import", source, "--out", tmp_path / "f.npz", code=1)
    assert words.replace("layer11_weight", "layer11.weight") in said
    assert not (tmp_path / "f.npz").exists()


def test_nesting_is_bounded(tmp_path):
    content = X
    for _ in range(12):
        content = {"train": content}
    [source] = saved(tmp_path, deep=content)
    said = said_by("data", "import", source, "--out", tmp_path / "f.npz", code=1)
    assert "nested more than 8 deep" in said


def test_a_list_of_two_arrays_is_named_by_its_numbers(tmp_path):
    [source] = saved(tmp_path, pair=[X, Y])
    names = {"train_features": "0", "train_labels": "1"}
    assert torch.equal(import_features([source], names).file.train.y, Y)


def test_a_cache_of_another_form_is_named(tmp_path):
    sources = saved(tmp_path, keys_2shots={"a": X, "b": X}, values_2shots=ONE_HOT)
    said = said_by("data", "import", *sources, "--out", tmp_path / "f.npz", code=1)
    assert "no train_features (they hold a, b, values_2shots)" in said
    sources = saved(tmp_path, keys_1shots=X[:3].T, values_1shots=ONE_HOT[:3])
    sources += saved(tmp_path, keys_2shots=X.T, values_2shots=ONE_HOT)
    said = said_by("data", "import", *sources, "--out", tmp_path / "f.npz", code=1)
    assert "caches of several numbers of shots" in said


def test_no_other_command_reads_them(tmp_path):
    [source] = saved(tmp_path, train=both(X, Y))
    for command in (("fit", source, "--out", tmp_path / "c"), ("predict", tmp_path, source)):
        said_by(*command, code=1)
    with pytest.raises(ValueError, match="is a pickle"):
        FeatureFile.load(source)


@pytest.mark.timeout(60)
def test_more_than_the_file_holds_is_never_made(tmp_path):
    """Lists that hold others many times, compressed members, and tensors without numbers."""
    nested = [None] * 20
    for _ in range(6):
        nested = [nested] * 20
    row, vector = [0.0] * 20_000, torch.zeros(2**20)
    for content, words in (
        ({"a": nested, **both(X, Y)}, "more values than bytes"),
        (both([row] * 20_000, Y), "a list of 400,000,000 numbers"),
        (both([vector] * 4000, Y), "a list of 4,194,304,000 numbers"),
        (both(torch.empty(6, 9, device="meta"), Y), "'features' is sparse, quantised or complex"),
        (both(X.to(torch.float8_e4m3fn), Y), "'features' is sparse, quantised or complex"),
        (both(torch.empty(10**9, 0), Y), "must be an array with entries"),
    ):
        [source] = saved(tmp_path, a=content)
        assert words in refused(source)
    [source] = saved(tmp_path, a=both(torch.zeros(2**20, 1), Y))
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    assert "it would unpack to 4,19" in refused(tmp_path / "b.pt")
