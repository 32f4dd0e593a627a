"""``pyg_graphadapter.compare`` and ``summary``."""

import statistics
import sys
import tempfile
from dataclasses import replace

import pandas as pd
import pytest

from pyg_graphadapter import (
    Callback,
    EvaluationTask,
    TrainConfig,
    compare,
    evaluate,
    summary,
    train,
)
from pyg_graphadapter.adapters import GDA, GraphAdapter
from pyg_graphadapter.data import load_images
from pyg_graphadapter.report.results import read_results, summarize
from pyg_graphadapter.testing import fake_features, fake_images
from tests.cli.test_commands import run

FAST = {"config": TrainConfig(epochs=3), "jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=4, channels=16, shots=4, text_noise=2.0, image_noise=1.5)


@pytest.fixture
def model(checkpoint):
    return checkpoint("clip")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_one_row_per_run(data):
    frame = compare(data, ("graph_adapter", "gda"), (1, 4), (1, 2), select=False, **FAST)
    assert isinstance(frame, pd.DataFrame)
    runs = frame[["method", "shots", "seed"]].values.tolist()
    assert runs == [[m, k, s] for m in ("graph_adapter", "gda") for k in (1, 4) for s in (1, 2)]
    assert not frame["transductive"].any()
    assert frame["error"].isna().all()
    for row in frame.itertuples():
        evaluation = EvaluationTask.from_file(data, row.shots, row.seed)
        adapter = {"gda": GDA, "graph_adapter": GraphAdapter}[row.method].from_task(evaluation.task)
        train(adapter, evaluation.task, TrainConfig(epochs=3, seed=row.seed), progress=False)
        expected = evaluate(adapter, evaluation)
        assert row.accuracy == pytest.approx(expected.accuracy)
        assert row.macro_f1 == pytest.approx(expected.macro_f1)
        assert row.ece == pytest.approx(expected.ece, rel=1e-4)
        assert row.parameters == adapter.num_parameters()
        assert row.fit_seconds >= 0


def test_the_summary(data):
    frame = compare(data, ("gda", "zero_shot"), (1, 2), (1, 2, 3), **FAST)
    means = summary(frame)
    assert means[["label", "shots", "seeds", "failed"]].values.tolist() == [
        ["gda", 1, 3, 0], ["gda", 2, 3, 0], ["zero_shot", 1, 3, 0], ["zero_shot", 2, 3, 0]
    ]  # fmt: skip
    for row in means.itertuples():
        chosen = [r for r in frame.itertuples() if (r.label, r.shots) == (row.label, row.shots)]
        for name in ("accuracy", "macro_f1", "ece"):
            values = [getattr(r, name) for r in chosen]
            assert getattr(row, name) == pytest.approx(statistics.fmean(values))
            assert getattr(row, f"{name}_std") == pytest.approx(statistics.stdev(values))


def test_a_single_seed_has_no_deviation(data):
    means = summary(compare(data, "zero_shot", 1, 7, **FAST))
    assert means["seeds"].tolist() == [1]
    assert means["accuracy_std"].isna().all()


def test_rows_that_contradict_each_other_have_no_mean(data):
    frame = compare(data, "gda", 1, (1, 2), **FAST)
    other = compare(
        fake_features(num_classes=4, channels=16, shots=4, image_noise=1.5, seed=9),
        "gda",
        1,
        (1, 2),
        **FAST,
    )
    pd.testing.assert_frame_equal(summary(pd.concat([frame, frame])), summary(frame))
    assert frame["accuracy"].tolist() != other["accuracy"].tolist()
    with pytest.raises(ValueError, match="Two rows are of gda on the feature file with 1 shots"):
        summary(pd.concat([frame, other]))


def test_nothing_is_left_on_the_disk(data, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compare(data, "zero_shot", 1, 1, **FAST)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="fewer than 9 images"):
        compare(data, "zero_shot", 9, 1, **FAST)
    assert list(tmp_path.iterdir()) == []


def test_the_command_and_the_function_share_their_runs(data, tmp_path, caplog):
    data.save(tmp_path / "f.npz")
    out = tmp_path / "out"
    options = ("--methods", "gda,graph_adapter", "--shots", "1,2", "--seeds", "1,2", "--epochs", 3)
    run("compare", tmp_path / "f.npz", *options, "--jobs", 1, "--out", out)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with caplog.at_level("INFO"):
        frame = compare(
            tmp_path / "f.npz", ["gda", "graph_adapter"], (1, 2), (1, 2), out=out, **FAST
        )
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    assert "8 of 8 runs taken from" in caplog.text
    expected = {
        (row.label, row.shots): pytest.approx((row.accuracy, row.deviation))
        for row in summarize(read_results(out))
    }
    means = summary(frame)
    keys = zip(means["label"], means["shots"], strict=True)
    values = zip(means["accuracy"], means["accuracy_std"], strict=True)
    assert dict(zip(keys, values, strict=True)) == expected
    assert means["accuracy"].nunique() > 1
    compare(tmp_path / "f.npz", "gda", 1, 3, out=out, **FAST)
    assert len(list(out.iterdir())) == len(times) + 1


def test_a_transductive_method_is_marked(data):
    frame = compare(data, ("zero_shot", "transclip"), 1, 1, **FAST)
    assert frame["transductive"].tolist() == [False, True]
    assert frame["label"].tolist() == ["zero_shot", "transclip‡"]
    assert summary(frame)["transductive"].tolist() == [False, True]


def test_settings_selected_on_the_test_split_are_marked(data):
    frame = compare(data, "tip_adapter", 2, 1, protocol="paper", **FAST)
    assert frame["label"].tolist() == ["tip_adapter†"]
    assert frame["selected_on"].tolist() == ["test"]


def test_settings(data):
    frame = compare(data, "graph_adapter", 1, 1, settings={"graph_adapter": {"alpha": 0.3}}, **FAST)
    assert "alpha = 0.3" in frame["label"][0]


def test_runs_that_fail_are_rows(data):
    with pytest.warns(UserWarning, match="2 of 4 runs failed, the first of them coop with 1 shots"):
        frame = compare(data, ("gda", "coop"), 1, (1, 2), **FAST)
    assert frame["accuracy"].isna().tolist() == [False, False, True, True]
    assert frame["error"].isna().tolist() == [True, True, False, False]
    assert "needs the text encoder" in frame["error"][2]
    assert summary(frame)[["seeds", "failed"]].values.tolist() == [[2, 0], [0, 2]]
    with pytest.warns(UserWarning, match="1 of 1 run failed"):
        frame = compare(data, "coop", 1, 1, **FAST)
    assert {"accuracy", "macro_f1", "ece", "fit_seconds", "parameters"} <= set(frame.columns)


def test_all_methods_that_the_data_allow(data):
    with pytest.warns(UserWarning, match="Left out coop, which needs a text encoder"):
        frame = compare(data, "all", 2, 1, **FAST)
    assert "coop" not in set(frame["method"])
    assert {"graph_adapter", "transclip", "gda"} <= set(frame["method"])
    with pytest.raises(ValueError, match="has no texts, which zero_shot needs"):
        compare(replace(data, text=None), **FAST)


def test_images(model, tmp_path):
    photos = fake_images(tmp_path / "photos", splits={"train": 4, "test": 2})
    frame = compare(photos, shots=2, seeds=(1, 2), model=model, **FAST)
    assert frame["dataset"].unique().tolist() == ["photos"]
    assert frame["num_images"].tolist() == [6] * 4
    again = compare(load_images(photos), shots=2, seeds=(1, 2), model=model, **FAST)
    assert again["accuracy"].tolist() == frame["accuracy"].tolist()


def test_an_image_that_cannot_be_decoded(model, tmp_path):
    photos = fake_images(tmp_path / "photos", splits={"train": 4, "test": 2})
    (photos / "test" / "class_1" / "0.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 image of photos could not be decoded and took no part"):
        frame = compare(photos, "zero_shot", 1, 1, model=model, **FAST)
    assert frame[["num_images", "skipped"]].values.tolist() == [[5, 1]]


def test_descriptions_are_measured_with_and_without(model, tmp_path):
    photos = fake_images(tmp_path / "photos", splits={"train": 2, "test": 2})
    sentences = {f"class_{c}": [f"a thing of colour {c}"] for c in range(3)}
    frame = compare(photos, "zero_shot", 1, 1, model=model, descriptions=sentences, **FAST)
    assert len(frame) == len(summary(frame)) == frame["dataset"].nunique() == 2


def test_further_test_sets(model, tmp_path):
    photos = fake_images(tmp_path / "photos", num_classes=4, splits={"train": 4, "test": 2})
    other = fake_images(tmp_path / "other", num_classes=2)
    frame = compare(photos, "zero_shot", 1, 1, model=model, shifted=[other], **FAST)
    assert 0 <= frame["shifted: other"][0] <= 100
    frame = compare(photos, ("zero_shot", "gda"), 1, 1, model=model, base_to_new=True, **FAST)
    assert frame["base_to_new: new"].isna().tolist() == [False, True]
    assert frame["base_to_new: base"].tolist() == frame["accuracy"].tolist()
    assert "base_to_new: new_std" in summary(frame)


def test_callbacks(data):
    class Starts(Callback):
        runs = ()

        def on_start(self, training):
            self.runs += ((training.method, training.shots, training.seed),)

    starts = Starts()
    fast = {**FAST, "jobs": None}
    plain = compare(data, shots=(1, 2), seeds=(1, 2), **fast)
    frame = compare(data, shots=(1, 2), seeds=(1, 2), callbacks=[starts], **fast)
    methods = ("graph_adapter", "zero_shot")
    assert set(starts.runs) == {(m, k, s) for m in methods for k in (1, 2) for s in (1, 2)}
    without_times = [name for name in frame.columns if not name.endswith("_seconds")]
    pd.testing.assert_frame_equal(frame[without_times], plain[without_times])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": "nope"}, "Unknown method 'nope'"),
        ({"settings": {"zero_shot": 0.3}}, "settings of zero_shot must be a dictionary"),
        ({"methods": ()}, r"'methods' must be names of methods, or 'all' \(got \(\)\)"),
        ({"shots": 0}, "'shots' must be at least 1"),
        ({"shots": "4"}, r"'shots' must be whole numbers, as \(1, 4\)"),
        ({"shots": ()}, "'shots' must be whole numbers"),
        ({"seeds": 1.5}, "'seeds' must be a whole number"),
        ({"alpha": 0.5}, "There is no argument 'alpha': settings of a method are given as"),
        ({"settings": {"gda": {}}}, "Unknown method with settings 'gda'"),
        ({"layout": "classes"}, "'layout'|layout"),
        ({"protocol": "nope"}, "Unknown protocol"),
        ({"callbacks": [1]}, "A callback has the methods"),
    ],
)
def test_what_is_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(data, **{**FAST, **arguments})


def test_one_draw_is_no_data_set(data):
    evaluation = EvaluationTask.from_file(data, 1, 1)
    for draw in (evaluation, evaluation.task):
        with pytest.raises(ValueError, match="is one draw of shots"):
            compare(draw, **FAST)
    with pytest.raises(ValueError, match="has no test split"):
        compare(replace(data, test=None), **FAST)


def test_without_pandas(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^The package pandas is not installed: pip install"):
        compare(data, **FAST)


def test_a_folder_of_other_things_is_left_alone(data, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"letter\.txt"):
        compare(data, "zero_shot", 1, 1, out=tmp_path, **FAST)
