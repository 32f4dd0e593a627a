import logging
from dataclasses import replace

import numpy as np
import pytest

from pyg_graphadapter import EvaluationTask, Features, GraphAdapter, TrainConfig, select
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.selection import _chosen, _validation_splits, select_defaults


@pytest.fixture
def evaluation():
    return EvaluationTask.from_file(
        fake_features(num_classes=6, views=3, text_noise=2.0), shots=4, seed=1
    )


def test_select_by_cross_validation():
    data = fake_features(num_classes=20, text_noise=3.0)
    task = EvaluationTask.from_file(data, shots=16, seed=1).task
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
    with caplog.at_level(logging.INFO):
        found = select(GraphAdapter, evaluation.task, {"alpha": [0.8, 0.9]}, progress=False)
    assert found.settings == {"alpha": 0.8}
    assert found.accuracy == {}
    assert "one shot" in caplog.text


def test_of_many_classes_one_shot_keeps_the_default():
    data = fake_features(num_classes=100, channels=8, shots=1)
    task = EvaluationTask.from_file(data, shots=1, seed=1).task
    grid = {"alpha": [0.95, 0.9], "beta": [0.1, 0.2], "lr": [1e-3]}
    found = select(GraphAdapter, task, grid, progress=False)
    assert found.settings == {"alpha": 0.9, "beta": 0.1, "lr": 1e-3}  # the default, if it is there


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
    for other, expected in cases:
        found = _chosen({("a",): np.array(right), ("b",): np.array(other)}, ("b",))
        assert found == expected
    one = {("a",): np.array([0.0]), ("b",): np.array([1.0])}
    assert _chosen(one, ("a",)) == ("b",)


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
    [(part, held_out)] = _validation_splits(evaluation.task, 4, seed=1)
    assert (len(part.support), len(held_out)) == (18, 6)


def test_what_is_given_is_not_selected(evaluation):
    config = TrainConfig(epochs=2)
    task = evaluation.task
    assert select_defaults("graph_adapter", task, config, {"alpha": 0.3}) == {}
    assert select_defaults("zero_shot", task, config, {}) == {}
    assert select_defaults("graph_adapter", task, config, {"beta": 0.3}).keys() == {"alpha"}
