"""The training step of GraphAdapter against automatic differentiation."""

import pytest
import torch

from pyg_graphadapter import GraphAdapter, TrainConfig, train
from pyg_graphadapter.adapters import LinearAdapter
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import EvaluationTask
from pyg_graphadapter.testing import fake_features


def adapter_of(dtype=torch.float64, **settings):
    """One that has left zero-shot, with a class text feature that is zero in the end."""
    torch.manual_seed(0)
    text, prototypes = torch.randn(2, 7, 5, dtype=dtype)
    adapter = GraphAdapter(text, prototypes, 10.0, **settings).train()
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    return adapter


def gradients(adapter):
    return {name: p.grad.clone() for name, p in adapter.named_parameters()}


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", ["class", "shared", "none"])
@pytest.mark.parametrize("activation", ["tanh", "none", "gelu"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_loss_and_gradient_are_those_of_automatic_differentiation(
    bias, activation, beta, label_smoothing
):
    adapter = adapter_of(bias=bias, activation=activation, beta=beta, alpha=0.4)
    x, y = unit(torch.randn(6, 5).double()), torch.tensor([0, 1, 2, 3, 3, 6])
    for batch in (x[:4], x, x[:2]):  # the memory that is kept serves batches of any size
        labels = y[: len(batch)]
        expected_loss = LinearAdapter.backward(adapter, batch, labels, 2.0, label_smoothing)
        expected = gradients(adapter)
        loss = adapter.backward(batch, labels, 2.0, label_smoothing)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradients(adapter), expected, rtol=1e-9, atol=1e-12)


def test_a_class_without_a_text_has_no_logit():
    torch.manual_seed(0)
    text, prototypes = torch.randn(2, 7, 5)
    text[3] = 0
    adapter = GraphAdapter(text, prototypes).train()  # as training starts
    x, y = unit(torch.randn(6, 5)), torch.arange(6)
    expected = LinearAdapter.backward(adapter, x, y)
    torch.testing.assert_close(adapter.backward(x, y), expected)


def test_a_step_after_other_weights_were_loaded_is_theirs():
    adapter, other = adapter_of(), adapter_of(alpha=0.9)
    x, y = unit(torch.randn(3, 5).double()), torch.tensor([0, 1, 2])
    adapter.backward(x, y)
    state = {name: value + 0.1 for name, value in other.state_dict().items()}
    adapter.load_state_dict(state)
    loss = adapter.backward(x, y)
    torch.testing.assert_close(loss, LinearAdapter.backward(adapter, x, y))


def test_a_step_follows_the_adapter_to_another_type_and_is_freed_after_training():
    adapter = adapter_of()
    x, y = unit(torch.randn(3, 5).double()), torch.tensor([0, 1, 2])
    adapter.backward(x, y)
    step = adapter._step
    adapter.backward(x, y)
    assert adapter._step is step  # it is reused
    adapter.float()
    loss = adapter.backward(x.float(), y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LinearAdapter.backward(adapter, x.float(), y))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = adapter.backward(x.float(), y)
    assert rounded != loss
    torch.testing.assert_close(adapter.backward(x.float(), y), loss)  # autocast is off again
    adapter.eval()
    assert adapter._step is None


def test_gradients_may_be_dropped_between_steps():
    adapter = adapter_of()
    x, y = unit(torch.randn(3, 5).double()), torch.tensor([0, 1, 2])
    adapter.backward(x, y)
    expected = gradients(adapter)
    adapter.zero_grad()
    adapter.backward(x, y)
    torch.testing.assert_close(gradients(adapter), expected)


def test_groups_are_trained_too():
    adapter = adapter_of(groups=2)
    x, y = unit(torch.randn(3, 5).double()), torch.tensor([0, 1, 2])
    torch.testing.assert_close(adapter.backward(x, y), LinearAdapter.backward(adapter, x, y))


def test_lower_precision_differs_by_its_rounding():
    adapter = adapter_of(dtype=torch.float32)
    x, y = unit(torch.randn(6, 5)), torch.arange(6)
    exact, expected = adapter.backward(x, y), gradients(adapter)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = adapter.backward(x, y)
    assert 0 < (rounded - exact).abs() < 0.05
    for name, gradient in gradients(adapter).items():
        assert 0 < (gradient - expected[name]).norm() < 0.05 * expected[name].norm()


def test_training_in_lower_precision_classifies_as_well(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.training_step.has_bfloat16", lambda device: True)
    evaluation = EvaluationTask.from_file(fake_features(num_classes=6), shots=4, seed=1)
    results = []
    for precision in ("float32", "bfloat16"):
        adapter = GraphAdapter.from_task(evaluation.task)
        history = train(adapter, evaluation.task, TrainConfig(precision=precision), progress=False)
        results.append(history.loss[-1])
        assert all(p.grad is None for p in adapter.parameters())
        assert adapter.conv.text_conv.lin.weight.dtype == torch.float32
    assert results[0] != results[1]
    assert results[0] == pytest.approx(results[1], rel=0.1)
