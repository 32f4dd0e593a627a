import pytest
import torch
from torch.nn.functional import normalize

from pyg_graphadapter import copies
from pyg_graphadapter.copies import are_copies, groups_of_copies


def random_rows(count, channels=16, seed=0):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


def turned(x, one_minus_cosine, seed=1):
    """Rows whose cosine with those of ``x`` is so far from 1, of other lengths."""
    x = normalize(x.double(), dim=1)
    side = random_rows(*x.shape, seed=seed).double()
    side = normalize(side - (side * x).sum(dim=1, keepdim=True) * x, dim=1)
    cosine = 1 - one_minus_cosine
    return 3 * (cosine * x + (1 - cosine**2) ** 0.5 * side)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_equal_rows_are_of_one_group(dtype):
    x = random_rows(12).to(dtype)
    x[5], x[11] = x[0], x[0]
    assert groups_of_copies(x).tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 7.5 * x,
        lambda x: 1e-20 * x,
        lambda x: x.half().float(),  # the same image in half precision
        lambda x: x * (1 + 1e-6 * random_rows(*x.shape, seed=3)),  # in another batch
        lambda x: turned(x, 5e-6).float(),
    ],
)
def test_copies_are_found_by_direction(change):
    x = random_rows(700, channels=64)
    both = torch.cat([x, change(x[100:400])])
    expected = [*range(700), *range(100, 400)]
    assert groups_of_copies(both).tolist() == expected
    assert are_copies(change(x[:5]), x).all()
    assert not are_copies(-x, x).any()


def test_images_that_are_alike_are_no_copies():
    x = random_rows(50, channels=64)
    both = torch.cat([x.double(), turned(x, 1e-4)])
    assert groups_of_copies(both).tolist() == list(range(100))
    assert not are_copies(turned(x, 1e-4), x.double()).any()


def test_chains_of_copies_are_of_one_group():
    angle = torch.arange(10.0) * 4e-3  # neighbours have a cosine of 1 - 8e-6
    x = torch.stack([angle.cos(), angle.sin(), torch.zeros(10)], dim=1)
    assert groups_of_copies(x.flip(0)).tolist() == [0] * 10


def test_small_blocks_find_the_same(monkeypatch):
    x = random_rows(60, channels=8)
    x = torch.cat([x, turned(x[:30], 5e-6).float(), turned(x[:10], 5e-6, seed=2).float()])
    expected = groups_of_copies(x)
    assert expected.tolist() == [*range(60), *range(30), *range(10)]
    monkeypatch.setattr(copies, "ROWS", 3)
    monkeypatch.setattr(copies, "COLUMNS", 2)
    assert torch.equal(groups_of_copies(x), expected)
    assert torch.equal(groups_of_copies(torch.ones(40, 8)), torch.zeros(40, dtype=torch.long))


def test_labels_tell_copies_apart():
    x = random_rows(4)
    y = torch.tensor([0, 1, 0, 1])
    assert are_copies(x, x, y, y).all()
    assert are_copies(x, x, y, torch.tensor([0, 1, 1, 0])).tolist() == [True, True, False, False]


def test_no_rows_and_rows_of_zeros():
    nothing = torch.empty(0, 5)
    assert groups_of_copies(nothing).tolist() == []
    assert are_copies(nothing, torch.ones(2, 5)).tolist() == []
    assert are_copies(torch.ones(2, 5), nothing).tolist() == [False, False]
    assert groups_of_copies(torch.zeros(2, 5)).tolist() == [0, 0]
