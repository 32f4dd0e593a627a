import pytest
import torch

from pyg_graphadapter import EvaluationTask, GraphAdapter, TrainConfig, ZeroShot, evaluate, train
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.engine import TrainingDivergedError
from pyg_graphadapter.training.training_step import TrainingStep


@pytest.fixture
def evaluation():
    return EvaluationTask.from_file(
        fake_features(num_classes=6, views=3, text_noise=2.0), shots=4, seed=1
    )


def trained(task, **config):
    adapter = GraphAdapter.from_task(task)
    return adapter, train(adapter, task, TrainConfig(**config), progress=False)


def test_training_pays(evaluation):
    zero_shot = evaluate(ZeroShot.from_task(evaluation.task), evaluation)
    adapter, history = trained(evaluation.task)
    assert evaluate(adapter, evaluation).accuracy > zero_shot.accuracy + 10
    assert history.loss[-1] < history.loss[0]
    assert history.steps == len(history.loss) == 100  # 24 images: one step an epoch
    assert history.seconds > 0
    assert not adapter.training


def test_epochs_that_are_given_are_kept(evaluation):
    _, history = trained(evaluation.task, epochs=2, batch_size=5)
    assert len(history.loss) == 2
    assert history.steps == 10


def test_the_same_seed_gives_the_same_bits(evaluation):
    states = [
        trained(evaluation.task, epochs=3, batch_size=7, seed=seed)[0].state_dict()
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(("warmup_epochs", "expected"), [(0, [1.0, 0.75, 0.25]), (1, None)])
def test_the_learning_rate_decays_as_a_cosine(evaluation, monkeypatch, warmup_epochs, expected):
    rates = []
    step = TrainingStep.__call__

    def recording_step(self, batch):
        rates.append(self.optimizer.param_groups[0]["lr"])
        return step(self, batch)

    monkeypatch.setattr(TrainingStep, "__call__", recording_step)
    config = {"epochs": 3 if expected else 5, "lr": 0.5, "warmup_epochs": warmup_epochs}
    trained(evaluation.task, **config)  # one step per epoch
    if expected:  # (1 + cos(pi * step / 3)) / 2
        assert rates == pytest.approx([0.5 * factor for factor in expected])
    else:  # the warm-up, then (1 + cos(pi * step / 4)) / 2
        factors = [1.0, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]
        assert rates == pytest.approx([1e-5, *(0.5 * factor for factor in factors)])


def test_one_view_is_drawn_per_image_and_epoch(evaluation, monkeypatch):
    batches = []
    backward = GraphAdapter.backward
    monkeypatch.setattr(
        GraphAdapter,
        "backward",
        lambda self, x, *arguments: (batches.append(x.clone()), backward(self, x, *arguments))[1],
    )
    adapter, _ = trained(evaluation.task, epochs=40)
    support = evaluation.task.support
    rows = adapter.prepare(support.x.flatten(0, 1))
    counts = torch.zeros(len(support), support.x.size(1))
    for batch in batches:
        assert len(batch) == len(support)
        match = (batch.unsqueeze(1) - rows).abs().amax(dim=2) < 1e-5
        image, view = match.nonzero()[:, 1] // 3, match.nonzero()[:, 1] % 3
        assert sorted(image.tolist()) == list(range(len(support)))  # each image once
        counts[image, view] += 1
    assert counts.min() > 0  # and every view in turn


def test_nothing_to_train_is_left_alone(evaluation):
    zero_shot = ZeroShot.from_task(evaluation.task)
    assert train(zero_shot, evaluation.task).steps == 0
    assert trained(evaluation.task, epochs=0)[1].loss == ()
    empty = evaluation.task.with_support(torch.tensor([], dtype=torch.long))
    assert train(GraphAdapter.from_task(evaluation.task), empty).steps == 0


def test_divergence_keeps_the_last_finite_state(evaluation):
    adapter = GraphAdapter.from_task(evaluation.task, activation="none")
    train(adapter, evaluation.task, TrainConfig(epochs=2), progress=False)
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    with pytest.raises(
        TrainingDivergedError, match=r"not finite in epoch 1\..*lower learning rate"
    ):
        train(adapter, evaluation.task, TrainConfig(epochs=1, lr=1e38, batch_size=5))
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, before[name])


def test_parameters_that_are_not_finite_after_the_last_step_are_noticed(evaluation):
    adapter = GraphAdapter.from_task(evaluation.task)
    with pytest.raises(TrainingDivergedError, match="in epoch 1"):
        train(adapter, evaluation.task, TrainConfig(epochs=1, lr=1e38))


@pytest.mark.parametrize(
    "settings",
    [{"lr": -1.0}, {"lr": float("nan")}, {"batch_size": 0}, {"temperature": 0.0}, {"epochs": -1}],
)
def test_training_settings_out_of_bounds(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainConfig(**settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_learns_what_the_cpu_learns(evaluation):
    on_cpu, _ = trained(evaluation.task, device="cpu")
    on_gpu, _ = trained(evaluation.task, device="cuda")
    torch.testing.assert_close(
        on_gpu.class_weights().cpu(), on_cpu.class_weights(), rtol=1e-3, atol=1e-4
    )
