import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_graphadapter import EvaluationTask, Features, GraphAdapter, TrainConfig, select
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.selection import (
    _chosen,
    _is_behind,
    _validation_splits,
    select_defaults,
)


@pytest.fixture
def evaluation():
    return EvaluationTask.from_file(
        fake_features(num_classes=6, views=3, text_noise=2.0), shots=4, seed=1
    )


def test_select_by_cross_validation():
    data = fake_features(num_classes=20, text_noise=3.0)
    task = EvaluationTask.from_file(data, shots=16, seed=1).task
    selection = select(GraphAdapter, task, {"alpha": [1.0, 0.9], "lr": [1e-3]}, progress=False)
    assert selection.settings == {"alpha": 0.9, "lr": 1e-3}  # alpha 1 is zero-shot
    assert selection.accuracy[0.9, 1e-3] > selection.accuracy[1.0, 1e-3]


def test_the_first_of_equal_candidates_wins(evaluation):
    grid = {"beta": [0.3, 0.7, 0.5]}
    selection = select(GraphAdapter, evaluation.task, grid, alpha=1.0, progress=False)
    assert len(set(selection.accuracy.values())) == 1
    assert selection.settings == {"beta": 0.3}


def test_select_measures_on_a_validation_split_where_there_is_one(evaluation):
    wrong = Features(
        evaluation.test.x, (evaluation.test.y + 1) % 6
    )  # labels that zero-shot misses less than an adapter that learned the right ones
    task = replace(evaluation.task, validation=wrong)
    selection = select(GraphAdapter, task, {"alpha": [0.9, 1.0]}, progress=False)
    assert selection.settings == {"alpha": 1.0}


def test_at_one_shot_nothing_can_be_selected(caplog):
    evaluation = EvaluationTask.from_file(fake_features(), shots=1, seed=1)
    with caplog.at_level(logging.INFO):
        selection = select(GraphAdapter, evaluation.task, {"alpha": [0.8, 0.9]}, progress=False)
    assert selection.settings == {"alpha": 0.8}
    assert selection.accuracy == {}
    assert "With one shot per class" in caplog.text


def test_of_many_classes_one_shot_keeps_the_default():
    data = fake_features(num_classes=100, channels=8, shots=1)
    task = EvaluationTask.from_file(data, shots=1, seed=1).task
    grid = {"alpha": [0.95, 0.9], "beta": [0.1, 0.2], "lr": [1e-3]}
    selection = select(GraphAdapter, task, grid, progress=False)
    assert selection.settings == {
        "alpha": 0.9,
        "beta": 0.1,
        "lr": 1e-3,
    }  # the default, if it is there


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


def test_the_first_candidate_stays_until_the_shots_speak_against_it():
    right = [1.0] * 60 + [0.0] * 40
    clearly, barely = right.copy(), right.copy()
    clearly[60:80] = [1.0] * 20  # 20 more of 100
    barely[60], barely[61], barely[0] = 1.0, 1.0, 0.0  # one more, of three that differ
    cases = [(clearly, ("b",)), (barely, ("a",)), (right, ("a",))]
    for best, expected in cases:
        is_right = {("a",): np.array(right), ("b",): np.array(best)}
        assert _chosen(is_right, ("b",)) == expected
    one = {("a",): np.array([0.0]), ("b",): np.array([1.0])}
    assert _chosen(one, ("a",)) == ("b",)


@pytest.mark.parametrize(
    ("num_better", "num_worse", "num_images", "is_behind"),
    [
        (3, 1, 4, False),  # a mean of 0.5 and a standard error of exactly 0.5
        (2, 0, 100, True),  # a mean of 0.02 and a standard error of 0.014
        (3, 0, 100, True),
        (3, 2, 100, False),  # a mean of 0.01 and a standard error of 0.022
        (0, 0, 100, False),
    ],
)
def test_more_than_one_standard_error_is_behind(num_better, num_worse, num_images, is_behind):
    image = np.arange(num_images)
    best, candidate = image < num_better, image >= num_images - num_worse
    assert _is_behind(candidate, best) == is_behind


def test_seeds_of_folds_are_taken_modulo_two_to_the_32(evaluation):
    def held_out(seed):
        splits = _validation_splits(evaluation.task, 4, seed)
        return torch.stack([features.x.flatten() for _, features in splits])

    assert torch.equal(held_out(2**32 + 3), held_out(3))
    assert torch.equal(held_out(-1), held_out(2**32 - 1))
    assert not torch.equal(held_out(2**32 + 3), held_out(2**32 + 4))
    assert not torch.equal(held_out(2**31 + 3), held_out(3))


def test_of_many_measured_the_default_stays_until_they_speak_against_it(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.selection.MANY_SHOTS", 100)
    careful = np.array([1.0] * 60 + [0.0] * 40)
    barely, clearly = careful.copy(), careful.copy()
    barely[60], barely[61], barely[0] = 1.0, 1.0, 0.0
    clearly[60:80] = 1.0
    for best, default, expected in [
        (barely, ("b",), ("b",)),
        (barely, ("c",), ("c",)),
        (clearly, ("c",), ("b",)),
        (barely, ("not measured",), ("b",)),
    ]:
        is_right = {("a",): careful, ("b",): best, ("c",): careful}
        assert _chosen(is_right, default) == expected


def test_of_many_shots_one_fold_is_measured_on(monkeypatch, evaluation):
    monkeypatch.setattr("pyg_graphadapter.training.selection.MANY_SHOTS", 10)
    [(training_task, held_out)] = _validation_splits(evaluation.task, 4, seed=1)
    assert (len(training_task.support), len(held_out)) == (18, 6)


def test_what_is_given_is_not_selected(evaluation):
    config = TrainConfig(epochs=2)
    task = evaluation.task
    assert select_defaults("clip_adapter", task, config, {"ratio": 0.3}) == {}
    assert select_defaults("zero_shot", task, config, {}) == {}
    assert select_defaults("tip_adapter", task, config, {"beta": 0.3}).keys() == {"alpha"}
