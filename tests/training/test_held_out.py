from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import Features, TrainConfig
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.fitting import fit_method
from pyg_graphadapter.training.folds import held_out_folds
from pyg_graphadapter.training.held_out import held_out_logits

QUICK = TrainConfig(epochs=3)


def task_of(shots=4, num_classes=4):
    return draw_task(fake_features(num_classes=num_classes, shots=shots), shots, 1)


@pytest.mark.parametrize("method", ["graph_adapter", "linear_probe", "transclip", "tip_adapter_f"])
def test_they_are_those_of_fits_without_each_fold(method):
    task = task_of()
    held_out = held_out_logits(method, task, QUICK, {}, progress=False)
    x, y = task.support.x, task.support.y
    start = 0
    for training, index in held_out_folds(y, 5, QUICK.seed, groups_of_copies(x[:, 0])):
        adapter = fit_method(method, task.with_support(training), QUICK, {}, progress=False).adapter
        expected = predict_logits(adapter, x[index, 0])
        part = slice(start, start + len(index))
        torch.testing.assert_close(held_out.logits[part], expected, atol=1e-3, rtol=1e-4)
        assert torch.equal(held_out.images.y[part], y[index])
        start += len(index)
    assert start == len(held_out.logits) == 16
    assert held_out.num_folds == 4
    assert held_out.is_first.all()


def test_a_transductive_method_may_see_the_other_shots():
    task = task_of()
    gamma = {"gamma": 0.1}
    held_out = held_out_logits("transclip", task, QUICK, gamma, beside_shots=True, progress=False)
    x = task.support.x[:, 0]
    training, index = held_out_folds(task.support.y, 5, QUICK.seed, groups_of_copies(x))[0]
    adapter = fit_method("transclip", task.with_support(training), QUICK, gamma).adapter
    torch.testing.assert_close(
        held_out.logits[: len(index)], predict_logits(adapter, x)[index], atol=1e-3, rtol=1e-4
    )


def test_one_fold_and_none(monkeypatch):
    one = held_out_logits("gda", task_of(), QUICK, {}, only_one=True, progress=False)
    assert (len(one.logits), one.num_folds, one.is_one_of_many) == (4, 1, True)
    assert held_out_logits("gda", task_of(1), QUICK, {}, progress=False) is None
    monkeypatch.setattr("pyg_graphadapter.training.held_out.MANY_SHOTS", 10)
    many = held_out_logits("gda", task_of(), QUICK, {}, progress=False)
    assert (len(many.logits), many.num_folds) == (4, 1)


def test_copies_count_once():
    task = task_of()
    x, y = task.support.x, task.support.y
    twice = Features(torch.cat([x, 2 * x]), torch.cat([y, y]))
    held_out = held_out_logits("gda", replace(task, support=twice), QUICK, {}, progress=False)
    assert len(held_out.logits) == 32
    logits, labels = held_out.different
    assert len(logits) == len(labels) == 16
