import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from pyg_graphadapter import (
    EvaluationTask,
    Features,
    GraphAdapter,
    TrainConfig,
    ZeroShot,
    evaluate,
    select,
    train,
)
from pyg_graphadapter.engine import (
    TrainingDivergedError,
    expected_calibration_error,
    resolve_device,
)
from pyg_graphadapter.testing import fake_features


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


def test_one_view_is_drawn_per_image_and_epoch(evaluation, monkeypatch):
    seen = []
    forward = GraphAdapter.forward
    monkeypatch.setattr(
        GraphAdapter, "forward", lambda self, x: (seen.append(x.clone()), forward(self, x))[1]
    )
    trained(evaluation.task, epochs=40)
    support = evaluation.task.support
    counts = torch.zeros(len(support), support.x.size(1))
    for batch in seen:
        assert len(batch) == len(support)
        match = (batch.unsqueeze(1) - support.x.flatten(0, 1)).abs().amax(dim=2) < 1e-5
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
    with pytest.raises(TrainingDivergedError, match=r"not finite at step \d+.*lower learning rate"):
        train(adapter, evaluation.task, TrainConfig(epochs=1, lr=1e38, batch_size=5))
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, before[name])


def test_parameters_that_are_not_finite_after_the_last_step_are_noticed(evaluation):
    adapter = GraphAdapter.from_task(evaluation.task)
    with pytest.raises(TrainingDivergedError, match="at step 2"):
        train(adapter, evaluation.task, TrainConfig(epochs=1, lr=float("inf")))


@pytest.mark.parametrize(
    "settings",
    [{"lr": -1.0}, {"lr": float("nan")}, {"batch_size": 0}, {"temperature": 0.0}, {"epochs": -1}],
)
def test_training_settings_out_of_bounds(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainConfig(**settings)


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("cudda", "xpu", "cuda:99"):
        with pytest.raises(ValueError, match=f"There is no device '{name}' here"):
            resolve_device(name)


def test_cuda_devices_beyond_the_last_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="1 CUDA devices"):
        resolve_device("cuda:1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_learns_what_the_cpu_learns(evaluation):
    on_cpu, _ = trained(evaluation.task, device="cpu")
    on_gpu, _ = trained(evaluation.task, device="cuda")
    torch.testing.assert_close(
        on_gpu.class_weights().cpu(), on_cpu.class_weights(), rtol=1e-3, atol=1e-4
    )


def test_evaluation_by_hand():
    text = torch.eye(3)
    x = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    result = evaluate(ZeroShot(text), Features(x, torch.tensor([0, 1, 1, 1])))
    assert result.accuracy == 50.0
    assert result.top5 == 100.0
    assert result.num_images == 4
    # F1: class 0 has precision 1/2 and recall 1, class 1 has precision 1 and recall 1/3.
    assert result.macro_f1 == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert result.ece == pytest.approx(50.0)


def test_top_five_of_many_classes():
    text = torch.nn.functional.normalize(torch.eye(8) + 0.1 * torch.arange(8.0), dim=1)
    x = torch.eye(8)[:1].repeat(8, 1)  # every image looks like class 0
    result = evaluate(ZeroShot(text), Features(x, torch.arange(8)))
    assert result.top5 == pytest.approx(100 * 5 / 8)


def test_nothing_to_evaluate_on():
    with pytest.raises(ValueError, match="no image"):
        evaluate(ZeroShot(torch.eye(2)), Features(torch.ones(0, 2), torch.zeros(0).long()))


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 5.0])
def test_calibration_error_equals_torchmetrics(sharpness):
    probability = (sharpness * torch.randn(500, 4, dtype=torch.float64)).softmax(dim=1)
    y = torch.randint(4, (500,))
    expected = multiclass_calibration_error(probability, y, num_classes=4, n_bins=15, norm="l1")
    assert expected_calibration_error(probability.numpy(), y.numpy()) == pytest.approx(
        float(expected), abs=1e-6
    )


def test_certainty_and_chance_lie_in_the_outer_bins():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(sure, np.array([0, 1])) == 0.0
    assert expected_calibration_error(sure, np.array([1, 0])) == 1.0


def test_select_by_cross_validation():
    task = EvaluationTask.from_file(fake_features(text_noise=3.0), shots=8, seed=1).task
    found = select(GraphAdapter, task, {"alpha": [1.0, 0.9], "lr": [1e-3]}, progress=False)
    assert found.settings == {"alpha": 0.9, "lr": 1e-3}  # alpha 1 is zero-shot
    assert found.accuracy[0.9, 1e-3] > found.accuracy[1.0, 1e-3]


def test_the_first_of_equal_candidates_wins(evaluation):
    grid = {"beta": [0.3, 0.7, 0.5]}
    found = select(GraphAdapter, evaluation.task, grid, alpha=1.0, progress=False)
    assert len(set(found.accuracy.values())) == 1
    assert found.settings == {"beta": 0.3}


def test_select_measures_on_a_validation_split_where_there_is_one(evaluation):
    wrong = Features(
        evaluation.test.x, (evaluation.test.y + 1) % 6
    )  # labels that zero-shot misses less than an adapter that learned the right ones
    task = replace(evaluation.task, validation=wrong)
    found = select(GraphAdapter, task, {"alpha": [0.9, 1.0]}, progress=False)
    assert found.settings == {"alpha": 1.0}


def test_at_one_shot_nothing_can_be_selected(caplog):
    evaluation = EvaluationTask.from_file(fake_features(), shots=1, seed=1)
    with caplog.at_level(logging.WARNING):
        found = select(GraphAdapter, evaluation.task, {"alpha": [0.8, 0.9]}, progress=False)
    assert found.settings == {"alpha": 0.8}
    assert found.accuracy == {}
    assert "one shot" in caplog.text


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"alfa": [1.0]}, "Unknown setting 'alfa'. Choose from .*alpha"),
        ({"alpha": []}, "no value for 'alpha'"),
    ],
)
def test_grids_that_cannot_be_searched(evaluation, grid, message):
    with pytest.raises(ValueError, match=message):
        select(GraphAdapter, evaluation.task, grid)
