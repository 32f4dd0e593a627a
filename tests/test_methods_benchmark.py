"""The parts of the benchmark of methods: its tasks, its two methods of scikit-learn, its ranks."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from pyg_graphadapter.adapters.registry import _registered
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import check_adapter, fake_features

FOLDER = Path(__file__).parents[1] / "benchmarks" / "methods"
MODULES = ("cases", "collected", "scikit_learn", "tables")


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmark, whose names are its own for the time of a test."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    registered = dict(_registered)
    yield importlib.import_module
    _registered.clear()
    _registered.update(registered)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["LogisticRegression", "LinearDiscriminantAnalysis"])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_scikit_learn_classifies_as_scikit_learn_does(name, num_classes, module):
    cls = getattr(module("scikit_learn"), name)
    data = fake_features(num_classes=num_classes, channels=16, shots=4, tests=30)
    adapter = cls.from_task(draw_task(data, 3, seed=1))
    expected = {
        "LogisticRegression": LogisticRegression(C=100, max_iter=1000),
        "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5),
    }[name]
    index = data.train.draw(3, 1, num_classes)
    x, y = data.train.x[index, 0].numpy(), data.train.y[index].numpy()
    expected.fit(x, y)
    test = data.test.x[:, 0]
    with torch.no_grad():
        logits = adapter(test).double().numpy()
    decision = expected.decision_function(test.numpy())
    if num_classes == 2:
        np.testing.assert_allclose(logits[:, 1] - logits[:, 0], decision, rtol=1e-2, atol=1e-2)
    else:
        np.testing.assert_allclose(logits, decision, rtol=1e-2, atol=1e-2)
    assert (logits.argmax(axis=1) == expected.predict(test.numpy())).all()


def test_scikit_learn_keeps_the_contract(module):
    check_adapter(module("scikit_learn").LogisticRegression)
    check_adapter(module("scikit_learn").LinearDiscriminantAnalysis)


def test_lda_refuses_one_shot(module):
    task = draw_task(fake_features(num_classes=3, channels=8, shots=4), 1, seed=1)
    with pytest.raises(ValueError, match=r"needs two shots per class .*'class 0' has 1"):
        module("scikit_learn").LinearDiscriminantAnalysis.from_task(task)


def test_far_apart_takes_the_farthest_each_time(module):
    # Angles of texts on a circle, in degrees; 180 is least like all others:
    angle = torch.deg2rad(torch.tensor([0.0, 5, 10, 180, 90, 60]))
    text = torch.stack([angle.cos(), angle.sin()], dim=1)
    available = torch.ones(6, dtype=torch.bool)
    chosen = module("cases").far_apart(text @ text.t(), available, 3)
    assert chosen.tolist() == [3, 0, 4]
    available[0] = False
    assert module("cases").far_apart(text @ text.t(), available, 2).tolist() == [3, 1]


def test_near_each_other_takes_the_densest(module):
    angle = torch.deg2rad(torch.tensor([0.0, 90, 100, 108, 200, 205, 300]))
    text = torch.stack([angle.cos(), angle.sin()], dim=1)
    available = torch.ones(7, dtype=torch.bool)
    chosen = module("cases").near_each_other(text @ text.t(), available, 3)
    assert sorted(chosen.tolist()) == [1, 2, 3]
    available[2] = False
    chosen = module("cases").near_each_other(text @ text.t(), available, 2)
    assert sorted(chosen.tolist()) == [4, 5]


def test_classes_of_a_file(module):
    data = fake_features(num_classes=6, channels=8, shots=2, tests=3)
    part = module("cases").classes_of(data, torch.tensor([1, 4]))
    assert part.class_names == ("class 1", "class 4")
    assert torch.equal(part.text, data.text[[1, 4]])
    for images, whole in ((part.train, data.train), (part.test, data.test)):
        for label, c in enumerate((1, 4)):
            assert torch.equal(images.x[images.y == label], whole.x[whole.y == c])


def test_wrong_names_are_nested(module):
    data = fake_features(num_classes=8, channels=16, shots=2)
    other = torch.randn(20, 16, generator=torch.Generator().manual_seed(3))
    other = other / other.norm(dim=1, keepdim=True)
    wrong_before = torch.zeros(8, dtype=torch.bool)
    for share, count in ((1.0, 0), (0.75, 2), (0.5, 4), (0.25, 6), (0.0, 8)):
        file = module("cases").with_wrong_names(data, share, other)
        wrong = (file.text - data.text).abs().amax(dim=1) > 1e-6
        assert wrong.sum() == count
        assert (wrong | ~wrong_before).all()
        assert ((file.text[wrong] @ other.t()).amax(dim=1) > 1 - 1e-6).all()
        assert len(file.text[wrong].unique(dim=0)) == count
        wrong_before = wrong


def test_ranks(module):
    places = {
        ("a", 1): {"x": 50.0, "y": 60.0, "z": 50.0, "all‡": 55.0},
        ("a", 2): {"x": 70.0, "y": 60.0, "all‡": 80.0},
    }
    ranks = module("tables").ranked(places, {"all‡"})
    assert ranks["a", 1] == {"y": 1.0, "x": 2.5, "z": 2.5, "all‡": 2.0}
    assert ranks["a", 2] == {"x": 1.0, "y": 2.0, "all‡": 1.0}
    behind = module("tables").points_behind(places, {"all‡"})
    assert behind["a", 1] == {"x": 10.0, "y": 0.0, "z": 10.0, "all‡": 5.0}
    assert behind["a", 2] == {"x": 0.0, "y": 10.0, "all‡": -10.0}


def run_of(dataset, method, accuracy, shots=1, seed=1, **entries):
    return {"dataset": dataset, "method": method, "shots": shots, "seed": seed,
            "accuracy": accuracy, "num_classes": 3, "num_images": 9, "fit_seconds": 1.0,
            "select_seconds": 0.5, "parameters": 7, "variant": "", **entries}  # fmt: skip


def test_rank_table_has_a_cell_per_size_and_only_wrong_names(module):
    easy = [
        run_of("easy, 3 classes (1)", "x", 90.0), run_of("easy, 3 classes (1)", "y", 80.0),
        run_of("easy, 3 classes (2)", "x", 50.0), run_of("easy, 3 classes (2)", "y", 70.0),
    ]  # fmt: skip
    names = [
        run_of("100% right names", "x", 99.0), run_of("100% right names", "y", 1.0),
        run_of("50% right names", "x", 40.0), run_of("50% right names", "y", 50.0),
        run_of("50% right names", "y", 90.0, variant="nodes = images"),
    ]  # fmt: skip
    results = {
        group: module("collected").Results({}, "", (), tuple(runs))
        for group, runs in (("easy", easy), ("names", names))
    }
    ranks, behind = module("tables").rank_tables(results)
    assert ranks.header == ("method", "easy subsets", "wrong names", "mean")
    assert [[cell.text for cell in line] for line in ranks.lines] == [
        ["y", "1.0", "1.0", "1.0"],
        ["x", "2.0", "2.0", "2.0"],
    ]
    assert [[cell.text for cell in line] for line in behind.lines] == [
        ["y", "0.00", "0.00", "0.00"],
        ["x", "5.00", "10.00", "7.50"],
    ]


def test_results_are_written_and_read(module, tmp_path):
    collected = module("collected")
    runs = (run_of("a", "x", 40.0), run_of("a", "y", 50.0, seed=2))
    results = collected.Results({"torch": "2"}, "2 cores", ("y: why",), runs)
    path = tmp_path / "results" / "a.json"
    collected.write_results(results, path)
    assert collected.read_results(path) == results
    assert results.seconds == 3.0
    path.write_text(path.read_text().replace("50.0", "500.0"))
    with pytest.raises(ValueError, match=r"a\.json .*accuracy"):
        collected.read_results(path)


def test_what_is_collected(module):
    result = run_of("a", "x", 33.333333333, is_transductive=False, parameters=0, top5=1.0)
    result["base_to_new"] = {"base": 1.00004, "new": None, "harmonic_mean": None, "reason": "why"}
    expected = {**run_of("a", "x", 33.3333), "parameters": 0}
    expected["base_to_new"] = {"base": 1.0, "new": None, "harmonic_mean": None}
    del expected["variant"]
    assert module("collected").collected(result) == expected
    transductive = run_of("a", "x", 0.0, is_transductive=True, variant="k = 1")
    assert module("collected").collected(transductive) == transductive
