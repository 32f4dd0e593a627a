import pytest
import torch

from pyg_graphadapter import (
    Callback,
    EvaluationTask,
    GraphAdapterClassifier,
    TrainConfig,
    train,
)
from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.adapters.graph_stack import GraphStack
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.engine import train_together


class Calls(Callback):
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []

    def on_start(self, training):
        self.calls.append(("start", training))

    def on_epoch(self, training, epoch, loss, lr):
        self.calls.append(("epoch", training, epoch, loss, lr))

    def on_end(self, training, history, adapter):
        self.calls.append(("end", training, history, adapter))

    def of(self, kind):
        return [call[1:] for call in self.calls if call[0] == kind]


@pytest.fixture
def task():
    data = fake_features(num_classes=4, channels=16, views=2, text_noise=2.0)
    return EvaluationTask.from_file(data, shots=4, seed=1).task


def fitted(task, method="graph_adapter", callbacks=(), **config):
    adapter = adapter_class(method).from_task(task)
    config = TrainConfig(**config)
    return adapter, train(adapter, task, config, progress=False, callbacks=callbacks)


def test_what_they_are_told(task):
    calls = Calls()
    adapter, history = fitted(task, callbacks=[calls], epochs=4, batch_size=5, seed=3)
    assert [call[0] for call in calls.calls] == ["start", *["epoch"] * 4, "end"]
    [(training,)] = calls.of("start")
    assert (training.method, training.seed, training.epochs) == ("graph_adapter", 3, 4)
    assert (training.num_classes, training.num_images, training.shots) == (4, 16, 4)
    assert training.settings == adapter.settings()
    assert training.config.lr == 1e-3  # of the recipe
    assert training.config.batch_size == 5
    epochs = calls.of("epoch")
    assert [call[1] for call in epochs] == [1, 2, 3, 4]
    assert tuple(loss for _, _, loss, _ in epochs) == history.loss
    assert epochs[0][3] == 1e-3
    assert epochs[2][3] == pytest.approx(0.5e-3)  # half of the cosine decay
    assert calls.of("end") == [(training, history, adapter)]
    assert not adapter.training


@pytest.mark.parametrize("method", [name for name in adapter_names() if name != "coop"])
def test_no_bit_changes(task, method):
    plain, history = fitted(task, method, epochs=3)
    calls = Calls()
    told, told_history = fitted(task, method, callbacks=[calls], epochs=3)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, told.state_dict()[name]), name
    assert history.loss == told_history.loss
    assert len(calls.of("start")) == len(calls.of("end")) == 1
    epochs = 3 if adapter_class(method).is_trained else 0
    assert len(calls.of("epoch")) == calls.of("start")[0][0].epochs == epochs
    assert calls.of("start")[0][0].method == method


def test_adapters_that_are_trained_as_a_batch(task, monkeypatch):
    stacks = []
    stacked = GraphStack.unstack
    monkeypatch.setattr(GraphStack, "unstack", lambda self: (stacks.append(self), stacked(self))[1])
    method, config = adapter_class("graph_adapter"), TrainConfig(epochs=3)
    states = []
    for calls in (None, Calls()):
        adapters = [method.from_task(task) for _ in range(2)]
        callbacks = [calls] if calls else []
        histories = train_together(
            adapters, [task, task], config, [5, 6], progress=False, callbacks=callbacks
        )
        states.append([tensor for a in adapters for tensor in a.state_dict().values()])
    assert len(stacks) == 2
    assert all(map(torch.equal, *states))
    assert [t.seed for (t,) in calls.of("start")] == [5, 6]
    for i, seed in enumerate((5, 6)):
        losses = [loss for t, _, loss, _ in calls.of("epoch") if t.seed == seed]
        assert tuple(losses) == histories[i].loss
    assert [(h, a) for _, h, a in calls.of("end")] == list(zip(histories, adapters, strict=True))


def test_what_one_raises_stops_the_training(task):
    class Stop(Calls):
        def on_epoch(self, training, epoch, loss, lr):
            super().on_epoch(training, epoch, loss, lr)
            if epoch == 2:
                raise KeyError("pruned")

    stop = Stop()
    with pytest.raises(KeyError, match="pruned"):
        fitted(task, callbacks=[stop], epochs=9)
    assert [call[0] for call in stop.calls] == ["start", "epoch", "epoch"]


@pytest.mark.parametrize("wrong", [[object()], [Calls], ["loss"]])
def test_what_is_no_callback(task, wrong):
    with pytest.raises(ValueError, match="A callback has the methods on_start, on_epoch and on_e"):
        fitted(task, callbacks=wrong)


def test_one_that_is_not_in_a_list(task):
    with pytest.raises(ValueError, match=r"must be a list .* give \[callback\]"):
        fitted(task, callbacks=Calls())


def test_any_object_with_the_three_methods(task):
    class Other:
        ends = 0

        def on_start(self, training): ...
        def on_epoch(self, training, epoch, loss, lr): ...
        def on_end(self, training, history, adapter):
            self.ends += 1

    other = Other()
    fitted(task, callbacks=[other, Calls()], epochs=1)
    assert other.ends == 1


def test_a_classifier_is_fitted_with_them():
    calls, data = Calls(), fake_features(num_classes=3)
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    classifier = FewShotClassifier.fit(
        data, shots=4, method="task_res", config=TrainConfig(epochs=2), progress=False,
        callbacks=[calls],
    )  # fmt: skip
    assert len(calls.of("start")) == 1  # and not the trainings that select settings
    assert calls.of("end")[0][1] is classifier.history
    assert len(classifier.history.loss) == 2


def test_scikit_learns_estimator_is_fitted_with_them():
    calls, data = Calls(), fake_features(num_classes=3)
    X, y = data.train.mean_views().numpy(), data.train.y.numpy()
    classifier = GraphAdapterClassifier(epochs=2).fit(X, y, callbacks=[calls])
    assert [call[0] for call in calls.calls] == ["start", "epoch", "epoch", "end"]
    assert calls.of("end")[0][2] is classifier.adapter_
