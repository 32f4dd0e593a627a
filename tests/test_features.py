import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, random_split

from pyg_graphadapter import Features


def test_a_matrix_becomes_one_view():
    features = Features(torch.ones(3, 2), torch.tensor([0, 1, 1], dtype=torch.int16))
    assert features.x.shape == (3, 1, 2)
    assert features.y.dtype == torch.long
    assert len(features) == 3
    assert features.num_channels == 2


def test_the_mean_of_views_is_that_of_their_directions():
    x = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    mean = Features(x, torch.tensor([0])).mean_views()
    torch.testing.assert_close(mean, torch.full((1, 2), 0.5**0.5))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(2), torch.zeros(2, dtype=torch.long), r"\[N, D\] or \[N, V, D\]"),
        (torch.ones(2, 2).long(), torch.zeros(2, dtype=torch.long), "floating-point"),
        (torch.ones(2, 2), torch.zeros(3, dtype=torch.long), "one label per image"),
        (torch.ones(2, 2), torch.zeros(2), "integers"),
        (torch.ones(2, 2), torch.zeros(2, dtype=torch.bool), "integers"),
        (torch.ones(2, 2), torch.tensor([0, -1]), r"negative \(got -1\)"),
        (torch.tensor([[1.0], [torch.nan]]), torch.tensor([0, 0]), "finite .* rows 1"),
        (torch.full((7, 1), torch.inf), torch.zeros(7, dtype=torch.long), "rows 0, 1, 2, 3, 4, …"),
    ],
)
def test_features_that_do_not_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        Features(x, y)


def test_draw_takes_the_same_number_of_every_class_and_nests():
    y = torch.tensor([2, 0, 1, 0, 1, 2, 2, 0, 1, 2])
    features = Features(torch.ones(10, 1), y)
    index = features.draw(shots=3, seed=5)
    assert y[index].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(set(index.tolist())) == 9
    assert set(features.draw(shots=1, seed=5).tolist()) < set(index.tolist())
    assert torch.equal(index, features.draw(shots=3, seed=5))
    draws = {tuple(features.draw(shots=1, seed=seed).tolist()) for seed in range(20)}
    assert len(draws) > 5


@pytest.mark.parametrize("seed", [-1, 0, 2**40])
def test_any_whole_number_is_a_seed(seed):
    features = Features(torch.ones(4, 1), torch.tensor([0, 0, 1, 1]))
    assert torch.equal(features.draw(1, seed), features.draw(1, seed))


def test_draw_errors():
    features = Features(torch.ones(3, 1), torch.tensor([0, 0, 2]))
    with pytest.raises(ValueError, match=r"at least 1 \(got 0\)"):
        features.draw(0, seed=1)
    with pytest.raises(ValueError, match=r"2 of 3 classes .* than 2 images: '1' \(0\), '2' \(1\)"):
        features.draw(2, seed=1)
    with pytest.raises(ValueError, match=r"'b' \(0\), 'c' \(1\)"):
        features.draw(2, seed=1, class_names=["a", "b", "c"])
    many = Features(torch.ones(7, 1), torch.arange(7))
    with pytest.raises(ValueError, match=r"7 of 7 .*, …"):
        many.draw(2, seed=1)
    assert len(features.draw(2, seed=1, allow_fewer=True)) == 3


# A data set of PyTorch -----------------------------------------------------------------------


def seven(views=2):
    x = torch.arange(7.0 * views * 3).view(7, views, 3) + 1
    return Features(x, torch.tensor([0, 1, 2, 0, 1, 2, 5]))


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
def test_an_index_gives_an_image_and_its_label(kind):
    features = seven()
    for i in (*range(7), -1, -7):
        x, y = features[kind(i)]
        assert torch.equal(x, features.x[i])
        assert torch.equal(y, features.y[i])
        assert (x.shape, y.shape) == ((2, 3), ())


@pytest.mark.parametrize("i", [7, -8])
def test_there_is_no_image_past_the_end(i):
    with pytest.raises(IndexError, match=f"There is no image {i}: the features are of 7 images"):
        _ = seven()[i]


@pytest.mark.parametrize("index", ["0", 1.0, None])
def test_other_indices_are_refused(index):
    with pytest.raises((TypeError, RuntimeError)):
        _ = seven()[index]


def test_it_is_iterated_image_by_image():
    assert [int(y) for _, y in seven()] == [0, 1, 2, 0, 1, 2, 5]


@pytest.mark.parametrize(
    ("index", "images"),
    [
        (slice(1, 6, 2), [1, 3, 5]),
        (slice(0), []),
        ([], []),
        ([-1, 0], [6, 0]),
        ((2, 2), [2, 2]),
        (np.array([3]), [3]),
        (torch.tensor([4, 1]), [4, 1]),
        (torch.arange(7) > 4, [5, 6]),
    ],
    ids=str,
)
def test_several_indices_give_smaller_features(index, images):
    features, selected = seven(), seven()[index]
    assert isinstance(selected, Features)
    assert torch.equal(selected.x, features.x[images])
    assert torch.equal(selected.y, features.y[images])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_loader_gives_batches(workers):
    features = seven()
    assert isinstance(features, Dataset)
    batches = list(DataLoader(features, batch_size=3, num_workers=workers))
    assert [tuple(x.shape) for x, _ in batches] == [(3, 2, 3), (3, 2, 3), (1, 2, 3)]
    assert torch.equal(torch.cat([x for x, _ in batches]), features.x)
    assert torch.equal(torch.cat([y for _, y in batches]), features.y)


def test_a_random_split_and_a_subset():
    features = seven()
    parts = random_split(features, [5, 2], torch.Generator().manual_seed(1))
    assert sorted(int(y) for part in parts for _, y in part) == sorted(features.y.tolist())
    [(x, y)] = DataLoader(Subset(features, [6, 0]), batch_size=2)
    assert torch.equal(x, features.x[[6, 0]])
    assert y.tolist() == [5, 0]


# Its representation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (seven(), "Features(7 images, 2 views, 3 wide, 4 classes)"),
        (seven(1)[:1], "Features(1 image, 1 view, 3 wide, 1 class)"),
        (seven()[:0], "Features(0 images, 2 views, 3 wide, 0 classes)"),
        (
            Features(torch.ones(1000, 1), torch.zeros(1000).long()),
            "Features(1,000 images, 1 view, 1 wide, 1 class)",
        ),
    ],
    ids=str,
)
def test_repr(features, expected):
    assert repr(features) == expected
