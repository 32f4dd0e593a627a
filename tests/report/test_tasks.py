import json

import pytest

from pyg_graphadapter.report.comparison import duel
from pyg_graphadapter.report.page import write_report
from pyg_graphadapter.report.results import read_result, read_results, summarize
from pyg_graphadapter.report.tables import accuracy_tables, csv_table, markdown_table
from pyg_graphadapter.report.tasks import TEST_SPLIT, Task, complete_tasks, names_of
from tests.results import result

BASE = {"base": 70.0, "new": 60.0, "harmonic_mean": 64.6}


def plain(*accuracy, **more):
    return [result(seed=i, accuracy=a, num_classes=1000, **more) for i, a in enumerate(accuracy)]


def base(*accuracy, **more):
    return [
        result(seed=i, accuracy=a, num_classes=500, base_to_new=BASE, **more)
        for i, a in enumerate(accuracy)
    ]


def test_plain_runs_and_those_of_base_classes_stand_apart():
    rows = summarize([*plain(60.0, 62.0), *base(70.0, 72.0)])
    assert [(row.dataset, row.seeds, row.accuracy) for row in rows] == [
        ("a (1000 classes)", 2, 61.0),
        ("a, base classes (500)", 2, 71.0),
    ]
    assert [table.title for table in accuracy_tables(rows)] == [row.dataset for row in rows]
    assert "a, base classes (500)" in markdown_table(rows)
    assert '"a, base classes (500)"' in csv_table(rows)
    [row] = summarize(plain(60.0, 62.0))
    assert row.dataset == "a"  # nothing to tell apart
    assert summarize(base(70.0))[0].dataset == "a, base classes (500)"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"num_images": 29}, "a, 29 test images"),
        ({"backbone": "b/large"}, "a, b/large"),
        ({"backbone": None}, "a, unknown encoder"),
        ({"shifted": {"v2": 30.0}}, "a, with v2"),
        ({"num_classes": 5}, "a (5 classes)"),
        ({"task": {"classes": "c" * 64}}, f"a, names {'c' * 8}"),
        ({"task": {"classes": "n", "rule": "what is left"}}, "a, what is left"),
        ({"task": {"classes": "n", "rule": TEST_SPLIT, "views": 10}}, "a, 10 views"),
        ({"task": {"classes": "n", "views": 1, "weights": "d" * 64}}, f"a, weights {'d' * 8}"),
        ({"task": {"classes": "n", "views": 1, "logit_scale": 50.0}}, "a, logit scale 50.0"),
        ({"task": {"classes": "n", "text": "e" * 64}}, f"a, text {'e' * 8}"),
        (
            {"task": {"encoding": {"descriptions": "f" * 64, "descriptions_weight": 0.5}}},
            "a, descriptions (weight 0.5)",
        ),
        ({"task": {"encoding": {"templates": ["{}.", "a {}."]}}}, "a, 2 prompts from '{}.'"),
        ({"task": {"encoding": {"templates": ["{}."]}}}, "a, prompt '{}.'"),
        (
            {"task": {"encoding": {"dtype": "float16", "view_seed": 0}}},
            "a, float16, view seed 0",
        ),
    ],
)
def test_what_tells_tasks_apart(more, name):
    task = {
        "classes": "n", "rule": TEST_SPLIT, "views": 1, "weights": "w", "text": "t",
        "logit_scale": 100.0, "encoding": {"templates": ["x {}"], "dtype": "float32"},
    }  # fmt: skip
    if name.startswith("a, text"):
        task["encoding"] = {}
    elif "prompt" in name:
        del task["text"]
    first = result(num_images=30, num_classes=10, task=task)
    second = {**first, **more}
    if "task" in more:
        changed = {"classes": "n", **more["task"]}
        changed["encoding"] = task["encoding"] | changed.get("encoding", {})
        second["task"] = task | changed
    rows = summarize([first, second, {**first, "seed": 2}])
    assert sorted(row.seeds for row in rows) == [1, 2]
    assert rows[1].dataset == name
    assert duel([first, {**second, "method": "gda"}], "graph_adapter", "gda") is None


def test_an_older_file_belongs_to_the_only_task_that_fits():
    full = result(num_classes=10, task={"classes": "n", "views": 1})
    old = result(seed=2, num_classes=10)
    [row] = summarize([old, full])
    assert row.seeds == 2
    other = result(seed=3, num_classes=10, task={"classes": "m", "views": 1})
    rows = summarize([old, full, other])  # which of the two it is cannot be told
    assert [row.dataset for row in rows] == [
        "a, names not recorded", "a, names n", "a, names m",
    ]  # fmt: skip


def test_what_two_tasks_have_in_common_does_not_make_them_one():
    one, two = Task("a", views=1), Task("a", num_images=3)
    assert complete_tasks([one, two]) == {one: one, two: two}
    assert len(set(names_of([one, two]).values())) == 2
    alike = [Task("a", logit_scale=0.0), Task("a"), Task("a", logit_scale=-0.5)]
    assert len(set(names_of(alike).values())) == 3


def test_means_over_data_sets_are_of_one_kind_of_task():
    rows = summarize(
        [
            *plain(60.0), *base(70.0), *plain(40.0, dataset="b"), *base(50.0, dataset="b"),
            *plain(30.0, dataset="c", backbone="b/large"),
        ]
    )  # fmt: skip
    titles = {table.title: table for table in accuracy_tables(rows)}
    small = "some/clip-vit-base-patch16"
    assert f"Average over 2 data sets, {small}" in titles
    assert f"Average over 2 data sets, base classes, {small}" not in titles
    mean = titles["Average over 2 data sets, base classes"].lines[0]
    assert mean[1].text == "60.00"


def test_zero_shot_that_varies_is_a_sign_of_mixed_runs(tmp_path):
    runs = [result("zero_shot", seed=seed, accuracy=60.0 + seed) for seed in (1, 2)]
    for each in runs:
        (tmp_path / f"{each['seed']}.json").write_text(json.dumps(each))
    with pytest.raises(ValueError, match=r"1\.json and .*2\.json were not measured on the same"):
        summarize(read_results(tmp_path))
    with pytest.raises(ValueError, match=r"has 61\.00 % and 62\.00 %"):
        write_report(tmp_path, tmp_path / "out")
    drawn = {"rule": "what is not drawn is tested"}
    assert summarize([{**run, "task": drawn} for run in runs])[0].accuracy == 61.5
    rounding = [{**runs[0], "accuracy": accuracy} for accuracy in (60.0, 60.05)]
    assert summarize(rounding)[0].seeds == 2


def test_a_run_that_is_there_twice(tmp_path):
    paths = [tmp_path / name for name in ("a/1.json", "b/1.json", "b/2.json")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result(accuracy=60.0 if path.name == "2.json" else 50.0)))
    assert summarize([read_result(path) for path in paths[:2]])[0].seeds == 1  # a copy
    with pytest.raises(ValueError, match=r"1\.json and .*2\.json are two runs of graph_adapter"):
        summarize([read_result(path) for path in paths])


def test_runs_of_other_code_stand_apart():
    rows = summarize([result(code="v 1"), result(code="v 2", protocol="paper"), result(code="v 2")])
    assert [row.label for row in rows] == [
        "graph_adapter [v 1]", "graph_adapter†", "graph_adapter [v 2]",
    ]  # fmt: skip
    assert summarize([result(), result(code="v 1", seed=2)])[0].seeds == 2
