import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from pyg_graphadapter.training.temperature import fit_temperature, probabilities


def logits_of(scale, num=400, classes=5, seed=0):
    """Logits whose probabilities are right, times a factor, and labels drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num, classes, generator=generator, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return scale * logits, y


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0, 150.0])
def test_the_factor_of_logits_is_found(scale):
    assert fit_temperature(*logits_of(scale), prior=1e-6) == pytest.approx(scale, rel=0.12)
    assert fit_temperature(*logits_of(scale)) == pytest.approx(scale, rel=0.15)


@pytest.mark.parametrize(("scale", "prior"), [(0.3, 1.0), (4.0, 3.0), (30.0, 10.0)])
def test_it_is_the_minimum_of_the_penalised_loss(scale, prior):
    logits, y = logits_of(scale, num=40)

    def loss(log_b):
        b = np.exp(log_b)
        nll = torch.nn.functional.cross_entropy(b * logits, y, reduction="sum")
        return float(nll) + prior * (b - log_b)

    expected = np.exp(-minimize_scalar(loss, bounds=(-7, 7), method="bounded").x)
    assert fit_temperature(logits, y, prior) == pytest.approx(expected, rel=1e-3)


def test_where_all_are_right_it_does_not_fall_to_zero():
    logits, y = 5 * torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    assert 0.3 < fit_temperature(logits, y) < 1
    assert fit_temperature(torch.empty(0, 4), torch.empty(0).long()) == pytest.approx(1)


def test_where_all_are_wrong_and_sure_it_stays_within_bounds():
    logits = 1e6 * torch.eye(2)
    assert fit_temperature(logits, torch.tensor([1, 0])) <= 1e3 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1e-3, 0.7, 1.3, 1e3])
def test_no_label_changes(dtype, temperature):
    generator = torch.Generator().manual_seed(1)
    near = 20 + 1e-6 * torch.randn(200, 6, generator=generator)  # nearly equal
    tied = torch.randint(3, (200, 6), generator=generator).float()  # equal
    wide = 300 * torch.randn(200, 6, generator=generator)  # nearly one-hot
    tiny = 1e-8 * torch.randn(200, 6, generator=generator)  # equal after the exponential
    logits = torch.cat([near, tied, wide, tiny]).to(dtype)
    scaled = probabilities(logits, temperature)
    assert scaled.dtype == dtype
    assert scaled.max() <= 1
    assert torch.equal(scaled.argmax(dim=1), logits.softmax(dim=1).argmax(dim=1))
    assert torch.equal(probabilities(logits, 1.0), logits.softmax(dim=1))
    expected = (logits.double() / temperature).softmax(dim=1)
    if dtype == torch.bfloat16:  # of which equal ones are far from each other
        return
    torch.testing.assert_close(scaled.double(), expected, atol=1e-5, rtol=0)
