"""The contract of all methods, held against each of them."""

import copy
import pickle

import pytest
import torch

from pyg_graphadapter.adapters import ADAPTERS, Adapter, AdapterConfig, adapter_class
from pyg_graphadapter.task import EvaluationTask
from pyg_graphadapter.testing import fake_features

methods = pytest.mark.parametrize("method", ADAPTERS.values(), ids=ADAPTERS.keys())


@pytest.fixture
def task():
    return EvaluationTask.from_file(fake_features(num_classes=5, channels=8), shots=3, seed=1).task


def randomized(adapter):
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    return adapter


def test_adapter_class():
    for name, method in ADAPTERS.items():
        assert adapter_class(name) is method
    listed = ", ".join(ADAPTERS)
    with pytest.raises(ValueError, match=f"Unknown method 'coop'. Choose from {listed}"):
        adapter_class("coop")


def test_the_contract_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        Adapter(100.0, AdapterConfig())


@methods
def test_features_in_logits_out(method, task):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    logits, weights = adapter(x), adapter.class_weights()
    assert logits.shape == (7, adapter.num_classes)
    assert weights.shape == (5, 8)
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(
        logits, task.logit_scale * (x / x.norm(dim=1)[:, None]) @ weights.t()
    )
    torch.testing.assert_close(adapter(10 * x), logits)  # of any length
    assert adapter(x[:0]).shape == (0, 5)


@methods
def test_inputs_are_buffers_of_the_same_name(method, task):
    adapter = method.from_task(task)
    buffers = dict(adapter.named_buffers())
    for name in method.inputs:
        assert name in buffers
        assert name in adapter.state_dict()


@methods
def test_settings_build_it_again(method, task):
    settings = method.from_task(task).settings()
    assert method.Config(**settings) == method.Config()
    assert method.from_task(task, **settings).settings() == settings


@methods
def test_saved_and_built_again_it_gives_the_same_logits(method, task):
    adapter = randomized(method.from_task(task))
    state = copy.deepcopy(adapter.state_dict())
    again = method.from_state(state, task.logit_scale, adapter.settings())
    x = torch.randn(50, 8)
    assert torch.equal(again(x), adapter(x))
    for name, value in adapter.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@methods
@pytest.mark.parametrize("travel", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_it_travels(method, task, travel):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    assert torch.equal(travel(adapter)(x), adapter(x))


@methods
def test_it_moves_and_changes_type_with_its_buffers(method, task):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    expected = adapter(x)
    adapter = adapter.double()
    assert {t.dtype for t in (*adapter.buffers(), *adapter.parameters())} == {torch.float64}
    torch.testing.assert_close(adapter(x.double()), expected.double(), rtol=1e-4, atol=1e-4)
    adapter = adapter.to("meta")
    assert {t.device.type for t in (*adapter.buffers(), *adapter.parameters())} == {"meta"}


@methods
def test_inputs_are_not_changed(method, task):
    before = copy.deepcopy(task)
    adapter = method.from_task(task)
    state = {name: value + 1 for name, value in adapter.state_dict().items()}
    adapter.load_state_dict(state)
    assert torch.equal(task.text, before.text)
    assert torch.equal(task.support.x, before.support.x)


@methods
@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("text"),
        lambda state: state.update(surplus=torch.zeros(1)),
        lambda state: state.update(text=torch.zeros(())),
    ],
    ids=["missing", "surplus", "no matrix"],
)
def test_a_state_of_something_else_is_refused(method, task, change):
    state = dict(method.from_task(task).state_dict())
    change(state)
    with pytest.raises(ValueError, match=r"tensors are not those of|one prototype|'text' must be"):
        method.from_state(state, 100.0, {})


@methods
def test_a_setting_that_is_not_known_is_refused(method, task):
    state = method.from_task(task).state_dict()
    with pytest.raises(ValueError, match=f"not those of {method.__name__} .*'surplus'"):
        method.from_state(state, 100.0, {"surplus": 1})
