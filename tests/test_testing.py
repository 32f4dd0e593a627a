import torch

from pyg_graphadapter import ZeroShot, evaluate
from pyg_graphadapter.testing import fake_features


def test_the_same_seed_gives_the_same_features():
    first, second, other = (fake_features(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.x, second.train.x)
    assert not torch.equal(first.train.x, other.train.x)


def test_noise_makes_it_harder():
    easy, hard = (fake_features(text_noise=noise) for noise in (0.0, 3.0))
    accuracy = [evaluate(ZeroShot(data.text), data.test).accuracy for data in (easy, hard)]
    assert accuracy[0] > accuracy[1] + 20


def test_views_differ_little():
    x = fake_features(views=4).train.x
    assert x.shape[1] == 4
    assert torch.cosine_similarity(x[:, 0], x[:, 1], dim=1).min() > 0.7
