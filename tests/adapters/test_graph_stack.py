"""GraphAdapters trained as a batch against each alone."""

from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import EvaluationTask, GraphAdapter, TrainConfig, train
from pyg_graphadapter.adapters import Stackable, TaskRes
from pyg_graphadapter.adapters.graph_stack import GraphStack
from pyg_graphadapter.adapters.recordable import is_recordable
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.engine import TrainingDivergedError, train_together

SEEDS = (1, 2, 5)


@pytest.fixture
def tasks():
    data = fake_features(num_classes=6, views=2, text_noise=2.0)
    return [EvaluationTask.from_file(data, shots=4, seed=seed).task for seed in SEEDS]


def adapters_of(count=3, **settings):
    torch.manual_seed(0)
    adapters = []
    for _ in range(count):
        text, prototypes = torch.randn(2, 7, 5, dtype=torch.float64)
        adapters.append(GraphAdapter(text, prototypes, 10.0, **settings))
        for parameter in adapters[-1].parameters():
            torch.nn.init.normal_(parameter)
    return adapters


@pytest.mark.parametrize("bias", ["class", "shared", "none"])
@pytest.mark.parametrize("activation", ["tanh", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_losses_and_gradients_are_those_of_each(bias, activation, beta):
    adapters = adapters_of(bias=bias, activation=activation, beta=beta, alpha=0.4)
    stack = GraphAdapter.stack(adapters)
    x, y = unit(torch.randn(3, 6, 5).double()), torch.randint(7, (3, 6))
    for size in (4, 6, 2):
        losses = stack.backward(x[:, :size], y[:, :size], 2.0, 0.1)
        for s, adapter in enumerate(adapters):
            loss = adapter.backward(x[s, :size], y[s, :size], 2.0, 0.1)
            torch.testing.assert_close(losses[s], loss, rtol=1e-12, atol=0)
            parameters = [p for side in adapter.sides() for p in side.parameters()]
            for stacked, parameter in zip(stack.parameters(), parameters, strict=True):
                torch.testing.assert_close(
                    stacked.grad[s].view_as(parameter), parameter.grad, rtol=1e-9, atol=1e-12
                )


@pytest.mark.parametrize("bias", ["class", "shared", "none"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_together_is_training_each(tasks, bias, precision, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.training_step.has_bfloat16", lambda device: True)
    config = TrainConfig(epochs=5, batch_size=10, precision=precision)
    alone, together = (
        [GraphAdapter.from_task(task, bias=bias) for task in tasks] for _ in range(2)
    )
    expected = [
        train(adapter, task, replace(config, seed=seed), progress=False)
        for adapter, task, seed in zip(alone, tasks, SEEDS, strict=True)
    ]
    histories = train_together(together, tasks, config, SEEDS, progress=False)
    for s in range(3):
        assert histories[s].loss == pytest.approx(expected[s].loss, rel=1e-5)
        assert histories[s].steps == expected[s].steps == 15
        for parameter, reference in zip(
            together[s].parameters(), alone[s].parameters(), strict=True
        ):
            torch.testing.assert_close(parameter, reference, rtol=1e-4, atol=1e-6)
        assert not together[s].training
    assert not torch.equal(together[0].class_weights(), together[1].class_weights())


def test_what_is_trained_as_a_batch():
    adapters = adapters_of()
    assert issubclass(GraphAdapter, Stackable)
    assert not issubclass(TaskRes, Stackable)
    assert isinstance(GraphAdapter.stack(adapters), GraphStack)
    assert is_recordable(GraphAdapter.stack(adapters))
    assert isinstance(GraphAdapter.stack([*adapters, *adapters_of(1, alpha=0.5)]), GraphStack)
    assert GraphAdapter.stack([*adapters, *adapters_of(1, beta=0.5)]) is None
    assert GraphAdapter.stack(adapters_of(activation="gelu")) is None
    assert GraphAdapter.stack(adapters_of(groups=2)) is None
    adapters[1].conv.text_conv.lin.weight.requires_grad_(False)
    assert GraphAdapter.stack(adapters) is None
    text = torch.randn(10, 512)
    assert GraphAdapter.stack([GraphAdapter(text, text)] * 2) is None  # no faster


def test_what_is_no_batch_is_trained_one_after_the_other(tasks):
    shorter = tasks[0].with_support(torch.arange(23))
    for adapters, their_tasks in (
        ([TaskRes.from_task(task) for task in tasks], tasks),
        ([GraphAdapter.from_task(task) for task in tasks[:2]], [tasks[0], shorter]),
        ([GraphAdapter.from_task(tasks[0])], tasks[:1]),
    ):
        starts = [[p.clone() for p in adapter.parameters()] for adapter in adapters]
        histories = train_together(adapters, their_tasks, TrainConfig(epochs=2), progress=False)
        assert [history.steps for history in histories] == [2] * len(adapters)
        for start, adapter in zip(starts, adapters, strict=True):
            assert all(
                not torch.equal(a, b) for a, b in zip(start, adapter.parameters(), strict=True)
            )


def test_nothing_is_trained_in_no_epoch(tasks):
    adapters = [GraphAdapter.from_task(task) for task in tasks]
    histories = train_together(adapters, tasks, TrainConfig(epochs=0), progress=False)
    assert [(history.loss, history.steps) for history in histories] == [((), 0)] * 3


def test_a_batch_that_diverges_leaves_all_as_they_were(tasks):
    adapters = [GraphAdapter.from_task(task, activation="none") for task in tasks]
    parameters = [parameter for adapter in adapters for parameter in adapter.parameters()]
    for parameter in parameters:
        torch.nn.init.normal_(parameter)
    start = [parameter.clone() for parameter in parameters]
    with pytest.raises(TrainingDivergedError, match="in epoch"):
        train_together(adapters, tasks, TrainConfig(epochs=2, lr=1e38, batch_size=5))
    assert all(torch.equal(a, b) for a, b in zip(start, parameters, strict=True))


def test_a_batch_that_takes_too_much_memory_is_trained_one_by_one(tasks, monkeypatch, caplog):
    def too_much(self, *batch):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(GraphStack, "backward", too_much)
    adapters = [GraphAdapter.from_task(task) for task in tasks]
    histories = train_together(adapters, tasks, TrainConfig(epochs=2), progress=False)
    assert [history.steps for history in histories] == [2, 2, 2]
    assert "Out of memory with 3 adapters at once" in caplog.text


@pytest.mark.parametrize("seeds", [(1, 2), (1, 2, 3, 4)])
def test_each_adapter_has_a_task_and_a_seed(tasks, seeds):
    adapters = [GraphAdapter.from_task(task) for task in tasks]
    with pytest.raises(ValueError, match=r"got 3 adapters, 3 tasks and \d seeds"):
        train_together(adapters, tasks, TrainConfig(), seeds)
    with pytest.raises(ValueError, match="got 0 adapters"):
        train_together([], [])
