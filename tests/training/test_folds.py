import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from pyg_graphadapter.training.folds import equal_rows, held_out_folds


@pytest.mark.parametrize("shots", [2, 3, 4, 7, 16])
def test_classes_of_equal_size_have_the_folds_of_scikit_learn(shots):
    y = torch.arange(5).repeat_interleave(shots)
    for seed in (1, 2**32 + 5):
        splitter = StratifiedKFold(min(4, shots), shuffle=True, random_state=seed % 2**32)
        expected = splitter.split(np.zeros(len(y)), y.numpy())
        for pair, expected_pair in zip(held_out_folds(y, 4, seed), expected, strict=True):
            assert [index.tolist() for index in pair] == [i.tolist() for i in expected_pair]


def test_every_class_keeps_an_image_to_train_on():
    y = torch.tensor([0] * 2 + [1] * 33 + [2] * 7 + [3])
    folds = held_out_folds(y, 5, seed=1)
    assert len(folds) == 5
    held_out = torch.cat([index for _, index in folds])
    assert held_out.sort().values.tolist() == list(range(42))  # all but the only one of class 3
    for training, index in folds:
        assert set(y[training].tolist()) == {0, 1, 2, 3}
        assert set(training.tolist()).isdisjoint(index.tolist())


def test_nothing_can_be_held_out_of_single_images():
    assert held_out_folds(torch.tensor([0, 1, 2]), 4, seed=1) == []
    assert held_out_folds(torch.empty(0, dtype=torch.long), 4, seed=1) == []


def test_equal_images_are_held_out_together():
    x = torch.arange(12.0).view(12, 1).repeat(1, 3)
    x[5], x[11] = x[0], x[0]  # one of another class, too
    groups = equal_rows(x)
    assert groups.tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 0]
    y = torch.tensor([0] * 6 + [1] * 6)
    for seed in range(5):
        for _, index in held_out_folds(y, 4, seed, groups):
            assert len({0, 5, 11} & set(index.tolist())) in (0, 3)
    only = torch.zeros(4, dtype=torch.long)  # four copies of one image
    assert held_out_folds(torch.tensor([0, 0, 0, 0]), 4, 1, only) == []
