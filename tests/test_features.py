import pytest
import torch

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
