"""Recorded and replayed steps, with a recorder for the CPU, and on a GPU if there is one."""

import math
from contextlib import nullcontext

import pytest
import torch

from pyg_graphadapter import Callback, EvaluationTask, TrainConfig, train
from pyg_graphadapter.adapters import ADAPTERS, Adapter, CoOp, TaskRes, adapter_class
from pyg_graphadapter.adapters.recordable import is_recordable
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training import engine, training_step
from tests.recorder import record

TRAINED = [
    name
    for name in ADAPTERS
    if adapter_class(name).is_trained and is_recordable(adapter_class(name))
]


@pytest.fixture
def task():
    return EvaluationTask.from_file(
        fake_features(num_classes=6, views=3, text_noise=2.0), shots=4, seed=1
    ).task


@pytest.fixture
def replays(monkeypatch):
    """Training records its steps; the number of replays, by recording."""
    counts = []

    def counted(work):
        replay = record(work)
        i = len(counts)
        counts.append(0)

        def launch():
            counts[i] += 1
            replay()

        return launch

    can_record, cuda = training_step.can_record, torch.device("cuda")
    monkeypatch.setattr(
        training_step,
        "can_record",
        lambda trainee, device, num_steps: can_record(trainee, cuda, num_steps),
    )
    monkeypatch.setattr(training_step, "side_stream", lambda device: nullcontext())
    monkeypatch.setattr(training_step, "MIN_STEPS_TO_RECORD", 0)
    monkeypatch.setattr(training_step, "cuda_graph", counted)
    return counts


@pytest.fixture
def bfloat16(monkeypatch):
    """Training takes the processor for one with instructions for bfloat16."""
    monkeypatch.setattr(training_step, "has_bfloat16", lambda device: True)


def trained(method, task, **config):
    torch.manual_seed(0)
    adapter = adapter_class(method).from_task(task)
    history = train(adapter, task, TrainConfig(**config), progress=False)
    return adapter, history


def assert_equal_training(run, expected):
    assert run[1].loss == pytest.approx(expected[1].loss, rel=1e-4)
    for name, value in expected[0].state_dict().items():
        torch.testing.assert_close(run[0].state_dict()[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", TRAINED)
def test_a_recorded_step_trains_as_the_step_does(method, task, request):
    config = {"epochs": 8, "batch_size": 10}  # 24 images: 10, 10 and 4
    expected = trained(method, task, **config)
    counts = request.getfixturevalue("replays")
    recorded = trained(method, task, **config)
    assert_equal_training(recorded, expected)
    if expected[1].steps:
        assert counts == [16 - training_step.WARM_UP, 8 - training_step.WARM_UP]
        assert recorded[1].loss[0] != recorded[1].loss[-1]


@pytest.mark.parametrize("config", [{"optimizer": "sgd"}, {"precision": "bfloat16"}])
def test_other_optimizers_and_precisions(config, task, request, bfloat16):
    expected = trained("graph_adapter", task, epochs=6, **config)
    counts = request.getfixturevalue("replays")
    recorded = trained("graph_adapter", task, epochs=6, **config)
    assert_equal_training(recorded, expected)
    assert counts == [6 - training_step.WARM_UP]


def test_a_batch_of_adapters(task, replays):
    tasks = [task, task.with_support(torch.randperm(len(task.support)))]
    config = TrainConfig(epochs=6)
    one_by_one = [trained("graph_adapter", task, epochs=6) for task in tasks]
    assert len(replays) == 2
    adapters = [adapter_class("graph_adapter").from_task(task) for task in tasks]
    histories = engine.train_together(adapters, tasks, config, progress=False)
    assert replays[2:] == [6 - training_step.WARM_UP]
    for adapter, history, expected in zip(adapters, histories, one_by_one, strict=True):
        assert_equal_training((adapter, history), expected)


def test_callbacks_of_recorded_steps_are_told_the_same(task, replays):
    class Epochs(Callback):
        def __init__(self):
            self.calls = []

        def on_epoch(self, training, epoch, loss, lr):
            self.calls.append((training.seed, epoch, loss, lr))

    plain, told = trained("graph_adapter", task, epochs=8), Epochs()
    adapter = adapter_class("graph_adapter").from_task(task)
    history = train(adapter, task, TrainConfig(epochs=8), progress=False, callbacks=[told])
    assert replays == [8 - training_step.WARM_UP] * 2
    assert_equal_training((adapter, history), plain)
    assert [(seed, epoch) for seed, epoch, _, _ in told.calls] == [(1, i) for i in range(1, 9)]
    assert tuple(loss for _, _, loss, _ in told.calls) == history.loss
    rates = [0.5e-3 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert [rate for *_, rate in told.calls] == pytest.approx(rates, rel=1e-5)


def test_a_step_that_waits_is_taken_as_it_is(task, replays, monkeypatch, caplog):
    backward = Adapter.backward

    def waits(self, *batch):
        loss = backward(self, *batch)
        assert float(loss) > 0
        return loss

    monkeypatch.setattr(Adapter, "backward", waits)
    _, history = trained("task_res", task, epochs=6)
    assert history.steps == 6
    assert history.loss[-1] < history.loss[0]
    assert replays == []
    assert caplog.text.count("cannot be recorded as a CUDA graph (aten::_local_scalar_dense") == 1


def test_few_steps_are_not_recorded(task, replays, monkeypatch):
    monkeypatch.setattr(training_step, "MIN_STEPS_TO_RECORD", 7)
    trained("graph_adapter", task, epochs=6)
    assert replays == []


def test_what_can_be_recorded(monkeypatch):
    adapter, cuda = TaskRes(torch.eye(3)), torch.device("cuda")
    assert training_step.can_record(adapter, cuda, 500)
    assert not training_step.can_record(adapter, cuda, 499)
    assert not training_step.can_record(adapter, torch.device("cpu"), 500)
    assert not is_recordable(CoOp)  # its text tower may look at values
    assert not is_recordable(Adapter)  # a method must declare it
    monkeypatch.setattr(TaskRes, "is_recordable", False)
    assert not training_step.can_record(adapter, cuda, 500)


@pytest.mark.parametrize("has_instructions", [True, False])
def test_bfloat16_without_instructions_for_it_is_float32(
    has_instructions, task, monkeypatch, caplog
):
    monkeypatch.setattr(training_step, "has_bfloat16", lambda device: has_instructions)
    training_step._warn_of_slow_bfloat16.cache_clear()
    exact, _ = trained("graph_adapter", task, epochs=3)
    for _ in range(2):
        adapter, _ = trained("graph_adapter", task, epochs=3, precision="bfloat16")
        is_float32 = torch.equal(adapter.class_weights(), exact.class_weights())
        assert is_float32 == (not has_instructions)
    expected = 0 if has_instructions else 1
    assert caplog.text.count("no instructions for bfloat16") == expected  # it warns once


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("method", TRAINED)
def test_a_gpu_replays_what_it_would_do(method, task, monkeypatch, caplog):
    config = {"epochs": 8, "batch_size": 10, "device": "cuda"}
    expected = trained(method, task, **config)
    monkeypatch.setattr(training_step, "MIN_STEPS_TO_RECORD", 0)
    assert_equal_training(trained(method, task, **config), expected)
    assert "cannot be recorded" not in caplog.text
