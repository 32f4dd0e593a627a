import json
from dataclasses import replace
from itertools import product

import pytest
import torch

from pyg_graphadapter import Callback, GraphAdapter, TrainConfig
from pyg_graphadapter.adapters.graph_stack import GraphStack
from pyg_graphadapter.encoding.sources import FileSource, evaluation_tasks
from pyg_graphadapter.experiment import run
from pyg_graphadapter.experiment.grid import grid_runs, run_all
from pyg_graphadapter.report.results import summarize
from pyg_graphadapter.task import Origin
from pyg_graphadapter.testing import fake_features

ORIGIN = Origin("fakes", "a model")


def tasks_of(file):
    return evaluation_tasks(FileSource(file, "fakes"), product((1, 2, 4), (1, 2)))


@pytest.fixture
def data():
    return fake_features(num_classes=4, channels=8, shots=4)


@pytest.fixture
def tasks(data):
    return tasks_of(data)


def grid(**changed):
    arguments = {
        "methods": ["graph_adapter", "zero_shot"],
        "shots": [1, 2],
        "seeds": [1, 2],
        "training": TrainConfig(epochs=3),
        "settings": {"graph_adapter": {"alpha": 0.8}},
    }
    return grid_runs(**{**arguments, **changed})


def test_each_run_writes_one_result(tasks, tmp_path):
    results = run_all(grid(), tasks, ORIGIN, tmp_path / "out")
    files = [json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()]
    assert len(results) == len(files) == 8
    for result in files:
        assert 0 <= result["accuracy"] <= 100
        assert result["dataset"] == "fakes"
        assert result["backbone"] == "a model"
        task = tasks[result["shots"], result["seed"]]
        assert result["features"] == {"sha256": task.sha256(), "skipped": 0}
        assert result["settings"]["seed"] == result["seed"]
        assert (result["task"]["split"], result["task"]["views"]) == ("plain", 1)
    assert len({json.dumps(result["task"]) for result in files}) == 1  # of all draws
    [adapted, *_] = [r for r in files if r["method"] == "graph_adapter"]
    assert adapted["parameters"] == 2 * (8 * 8 + 4 * 8)
    assert adapted["settings"]["alpha"] == 0.8
    assert adapted["settings"]["epochs"] == adapted["steps"] == 3
    assert all("knowledge_graphs" not in r for r in files if r["method"] == "zero_shot")


def test_finished_runs_are_skipped_and_other_settings_are_other_files(
    data, tasks, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run_all(grid(), tasks, ORIGIN, out)
    first = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(
            "pyg_graphadapter.experiment.grid.execute_runs", None
        )  # nothing is left to do
        assert len(run_all(grid(), tasks, ORIGIN, out)) == 8
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == first
    run_all(grid(settings={"graph_adapter": {"alpha": 0.7}}), tasks, ORIGIN, out)
    assert len(list(out.iterdir())) == 12  # zero-shot has no alpha: its files are the same
    other = tasks_of(replace(data, logit_scale=50.0))
    run_all(grid(methods=["zero_shot"], settings={}), other, ORIGIN, out)
    assert len(list(out.iterdir())) == 16


def test_selection_is_recorded(data, tasks, tmp_path):
    [result] = run_all(
        grid(methods=["clip_adapter"], shots=[4], seeds=[1], settings={}, selects=True),
        tasks,
        ORIGIN,
        tmp_path / "out",
    )
    assert result["selected_on"] == "support"
    assert result["select_seconds"] > 0
    [result] = run_all(
        grid(methods=["clip_adapter"], shots=[4], seeds=[1], settings={}, selects=True),
        tasks_of(replace(data, val=data.test)),
        ORIGIN,
        tmp_path / "other",
    )
    assert result["selected_on"] == "validation"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["x"]}, "Unknown method 'x'. Choose from graph_adapter, zero_shot"),
        (
            {"settings": {"graph_adapter": {"gamma": 1}}},
            "no setting 'gamma'. Choose from alpha, beta",
        ),
        ({"settings": {"zero_shot": {"alpha": 1}}}, "no setting 'alpha'. It has none"),
        ({"settings": {"task_res": {"scale": 1}}}, "Unknown method with settings 'task_res'"),
        ({"settings": {"graph_adapter": {"alpha": 2}}}, "'alpha' must be between 0 and 1"),
    ],
)
def test_grids_that_cannot_be_planned(changed, message):
    with pytest.raises(ValueError, match=message):
        grid(**changed)


def test_a_folder_with_something_else(tasks, tmp_path):
    (tmp_path / "f.npz").touch()
    with pytest.raises(ValueError, match=r"something else \(f.npz\)"):
        run_all(grid(), tasks, ORIGIN, tmp_path)


def test_a_run_that_fails_is_recorded_and_tried_again(tasks, tmp_path):
    out = tmp_path / "out"
    runs = grid(methods=["graph_adapter", "zero_shot"], shots=[1], seeds=[1])
    [bad, good] = [replace(runs[0], training=replace(runs[0].training, lr=1e38)), runs[1]]
    failed, done = run_all([bad, good], tasks, ORIGIN, out, workers=1)
    assert "diverged" in failed["error"]
    assert "accuracy" not in failed
    assert done["accuracy"] > 0
    assert [row.method for row in summarize([failed, done])] == ["zero_shot"]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    run_all([bad, good], tasks, ORIGIN, out, workers=1)
    again = {path.name for path in out.iterdir() if path.stat().st_mtime_ns != before[path]}
    assert again == {bad.file_name(tasks[1, 1].sha256())}


def test_runs_side_by_side_find_the_same(tasks, tmp_path):
    one = run_all(grid(), tasks, ORIGIN, tmp_path / "one", workers=1)
    two = run_all(grid(), tasks, ORIGIN, tmp_path / "two", workers=2)
    assert [each["accuracy"] for each in one] == [each["accuracy"] for each in two]
    assert [each["seed"] for each in one] == [each["seed"] for each in two]


def test_seeds_that_are_done_together_fail_alone(tasks, tmp_path, monkeypatch):
    backward, sizes = GraphStack.backward, []

    def diverges(self, x, y, *rest):
        sizes.append(len(x))
        return backward(self, x, y, *rest) * torch.tensor([1.0, float("nan")])

    monkeypatch.setattr(GraphStack, "backward", diverges)
    runs = grid(methods=["graph_adapter"], shots=[2])
    found = run_all(runs, tasks, ORIGIN, tmp_path / "one", workers=1)
    assert set(sizes) == {2}
    assert [each["seed"] for each in found] == [1, 2]
    assert [each["accuracy"] > 0 for each in found] == [True, True]  # each alone does not diverge

    monkeypatch.undo()
    from_task = GraphAdapter.from_task.__func__
    monkeypatch.setattr(
        GraphAdapter,
        "from_task",
        classmethod(lambda cls, task, **settings: _unless(tasks[2, 2].task, task)
                    or from_task(cls, task, **settings)),
    )  # fmt: skip
    found = run_all(runs, tasks, ORIGIN, tmp_path / "two", workers=1)
    assert ["error" in each for each in found] == [False, True]
    assert found[1]["error"] == "no such task"


def _unless(unwanted, task):
    if task is unwanted:
        raise ValueError("no such task")


def test_settings_that_are_selected_may_differ_between_seeds(tasks, tmp_path, monkeypatch):
    chosen = iter([{"ratio": 0.5}, {"ratio": 0.9}])
    monkeypatch.setattr(run, "select_defaults", lambda *args, **kwargs: next(chosen))
    found = run_all(
        grid(methods=["clip_adapter"], shots=[4], settings={}),
        tasks,
        ORIGIN,
        tmp_path / "out",
        workers=1,
    )
    assert [each["settings"]["ratio"] for each in found] == [0.5, 0.9]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("beta", [0.0, 0.7, 1.0])
def test_graph_adapter_records_the_strongest_edges_of_its_sub_graphs(beta, groups, tmp_path):
    data = fake_features(num_classes=6, channels=8, shots=4, text_noise=0.1)
    tasks = tasks_of(data)
    settings = {"alpha": 0.8, "beta": beta, "groups": groups, "whitening": 0.0}
    settings = {"graph_adapter": settings}
    [result] = run_all(
        grid(methods=["graph_adapter"], shots=[2], seeds=[1], settings=settings),
        tasks,
        ORIGIN,
        tmp_path / "out",
    )
    graphs = result["knowledge_graphs"]
    [path] = (tmp_path / "out").iterdir()
    edges = [edge for each in graphs.values() for edge in each]
    assert all(json.dumps(edge) in path.read_text() for edge in edges)  # on one line
    assert list(graphs) == [*(["text"] if beta else []), *(["image"] if beta < 1 else [])]
    task = tasks[2, 1].task
    for side, x in (("text", task.text), ("image", task.prototypes())):
        x = torch.nn.functional.normalize(x, dim=1)
        for a, b, weight in graphs.get(side, []):
            i, j = task.class_names.index(a), task.class_names.index(b)
            assert weight == pytest.approx(float(x[i] @ x[j]), abs=1e-4)
            assert i % groups == j % groups
        assert side not in graphs or 3 <= len(graphs[side]) <= 12


def test_one_class_has_no_edges(tmp_path):
    tasks = tasks_of(fake_features(num_classes=1, channels=8, shots=4))
    runs = grid(methods=["graph_adapter"], shots=[1], seeds=[1])
    [result] = run_all(runs, tasks, ORIGIN, tmp_path / "out")
    assert "knowledge_graphs" not in result


# Callbacks and losses #################################################################


class Epochs(Callback):
    def __init__(self):
        self.losses = {}

    def on_epoch(self, training, epoch, loss, lr):
        key = training.method, training.shots, training.seed
        self.losses.setdefault(key, []).append(loss)


def without_times(result):
    return {k: v for k, v in result.items() if not k.endswith("_seconds") and k != "path"}


@pytest.mark.parametrize("workers", [1, None])
def test_callbacks_are_told_and_change_nothing(tasks, tmp_path, workers):
    told = Epochs()
    plain = run_all(grid(), tasks, ORIGIN, tmp_path / "a", workers=workers)
    results = run_all(grid(), tasks, ORIGIN, tmp_path / "b", workers=workers, callbacks=[told])
    assert list(map(without_times, results)) == list(map(without_times, plain))
    trained = [r for r in results if r["method"] == "graph_adapter"]
    assert len(told.losses) == len(trained) == 4
    for result in trained:
        losses = told.losses["graph_adapter", result["shots"], result["seed"]]
        assert result["loss"] == pytest.approx(losses, rel=1e-5)
        assert len(result["loss"]) == result["settings"]["epochs"] == 3
    assert all(r["loss"] == [] for r in results if r["method"] == "zero_shot")


def test_what_a_callback_raises_is_no_failed_run(tasks, tmp_path):
    class Stop(Callback):
        def on_epoch(self, training, epoch, loss, lr):
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        run_all(grid(), tasks, ORIGIN, tmp_path / "out", callbacks=[Stop()])
    assert not any("graph_adapter" in path.name for path in (tmp_path / "out").iterdir())


def test_callbacks_need_this_process(tasks, tmp_path):
    with pytest.raises(ValueError, match=r"Callbacks are called in this process.*2 jobs"):
        run_all(grid(), tasks, ORIGIN, tmp_path / "out", workers=2, callbacks=[Epochs()])


def test_losses_are_short(tasks, tmp_path):
    [result] = run_all(
        grid(methods=["graph_adapter"], shots=[1], seeds=[1]), tasks, ORIGIN, tmp_path / "out"
    )
    assert f'\n  "loss": {json.dumps(result["loss"])},\n' in result.path.read_text()
    assert run.rounded_losses([1 / 3, 1e-9 / 3, 0.0]) == [0.333333, 3.33333e-10, 0.0]
    losses = run.rounded_losses([float(i) for i in range(2500)])
    assert losses == [float(3 * i) for i in range(834)]
