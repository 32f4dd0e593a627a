"""``compare`` over benchmarks, shifted test sets and new classes, killed and side by side, and the
report of what it wrote, with a tiny encoder."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pyg_graphadapter.data import FEW_SHOT_BENCHMARKS, SHIFTED_BENCHMARKS
from pyg_graphadapter.report.results import read_results
from pyg_graphadapter.testing import fake_benchmarks, fake_features, fake_images
from tests.checkpoints import save_checkpoint
from tests.cli.test_commands import run

SHIFTED = ",".join(SHIFTED_BENCHMARKS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    # Long enough for the prompts of all benchmarks:
    return save_checkpoint("clip", tmp_path_factory.mktemp("clip"), length=48)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fake_benchmarks(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


FAST = ("--epochs", 2, "--no-select", "--jobs", 1)


@pytest.mark.slow
def test_all_benchmarks_then_the_report(root, model, tmp_path):
    out = tmp_path / "out"
    options = ("--root", root, "--model", model, "--methods", "zero_shot,graph_adapter,gda")
    result = run(
        "compare", "all", *options, "--shots", "1,2", "--seeds", "1,2", *FAST, "--out", out
    )
    for name in FEW_SHOT_BENCHMARKS:
        assert f"\n{name}\n\n| method" in "\n" + result.stdout
    results = read_results(out)
    assert len(results) == len(FEW_SHOT_BENCHMARKS) * 3 * 2 * 2
    assert {r["dataset"] for r in results} == set(FEW_SHOT_BENCHMARKS)
    assert {r["backbone"] for r in results} == {str(model)}

    report = run("report", out, "--out", tmp_path / "report", "--reference", "gda")
    assert f"Average over {len(FEW_SHOT_BENCHMARKS)} data sets" in report.stdout
    assert "gda (no selection) against" in report.stdout
    assert (tmp_path / "report" / "report.html").exists()

    again = run("compare", "dtd", *options, "--shots", 1, "--seeds", 1, *FAST, "--out", out / "dtd")
    assert "3 encoded" not in again.stderr
    assert len(read_results(out)) == len(results)


def test_domain_generalisation(root, model, tmp_path):
    out = tmp_path / "out"
    options = ("--root", root, "--model", model, "--methods", "zero_shot,graph_adapter")
    result = run("compare", "imagenet", *options, "--shifted", SHIFTED, "--shots", 2, "--seeds",
                 "1,2", *FAST, "--out", out)  # fmt: skip
    assert "imagenet, domain generalisation, 2 shots" in result.stdout
    for result in read_results(out):
        assert list(result["shifted"]) == SHIFTED.split(",")
        assert all(0 <= accuracy <= 100 for accuracy in result["shifted"].values())


def test_shifted_folders_of_ones_own(model, tmp_path):
    data = fake_images(tmp_path / "photos", splits={"train": 3, "test": 2})
    other = fake_images(tmp_path / "drawings")
    (other / "class_2").rename(other / "Class-2")
    options = ("--model", model, "--methods", "zero_shot", "--shots", 1, "--seeds", 1, *FAST)
    result = run("compare", data, *options, "--shifted", other, "--out", tmp_path / "out")
    assert "| method    |" in result.stdout
    [result] = read_results(tmp_path / "out")
    assert list(result["shifted"]) == ["drawings"]
    (other / "class_1").rename(other / "else")
    refused = run("compare", data, *options, "--shifted", other, "--out", tmp_path / "x", code=1)
    assert "shifted test set drawings has the class 'else'" in refused.stderr


def test_base_to_new(root, model, tmp_path):
    methods = "zero_shot,graph_adapter,clip_adapter,linear_probe,gda"
    result = run("compare", "eurosat", "--root", root, "--model", model, "--methods", methods,
                 "--base-to-new", "--shots", 2, "--seeds", 1, "--template", "{}", *FAST,
                 "--out", tmp_path / "out")  # fmt: skip
    assert "eurosat, base to new, 2 shots" in result.stdout
    accuracies = {r["method"]: r["base_to_new"] for r in read_results(tmp_path / "out")}
    # Of a model of random weights, names say nothing:
    assert "a new class needs images" in accuracies["graph_adapter"]["reason"]
    for method in ("zero_shot", "clip_adapter"):
        base, new = accuracies[method]["base"], accuracies[method]["new"]
        mean = 2 * base * new / (base + new) if base and new else 0
        assert accuracies[method]["harmonic_mean"] == pytest.approx(mean)
    for method in ("linear_probe", "gda"):
        assert accuracies[method]["new"] is None
        assert "cannot classify new classes" in accuracies[method]["reason"]


def test_what_a_paper_selected_on_the_test_split_is_marked(tmp_path):
    fake_features(num_classes=4, channels=8, shots=4).save(tmp_path / "f.npz")
    options = ("--methods", "tip_adapter,zero_shot", "--shots", 2, "--seeds", "1,2", "--out",
               tmp_path / "out")  # fmt: skip
    honest = run("compare", tmp_path / "f.npz", *options)
    assert "†" not in honest.stdout
    marked = run("compare", tmp_path / "f.npz", *options, "--protocol", "paper")
    assert "tip_adapter†" in marked.stdout
    assert "zero_shot†" not in marked.stdout  # it has nothing to select
    results = [r for r in read_results(tmp_path / "out") if r["method"] == "tip_adapter"]
    assert sorted(r["selected_on"] for r in results) == ["support", "support", "test", "test"]
    report = run("report", tmp_path / "out", "--out", tmp_path / "report")
    assert "tip_adapter†" in report.stdout
    assert "selected on the test split" in (tmp_path / "report" / "report.html").read_text()


def test_the_settings_of_the_papers(tmp_path):
    fake_features(num_classes=4, channels=8, shots=2).save(tmp_path / "f.npz")
    options = ("--methods", "graph_adapter,task_res", "--shots", 1, "--seeds", 1, "--preset",
               "paper", "--set", "beta=0.4", "--epochs", 3, "--out", tmp_path / "out")  # fmt: skip
    table = run("compare", tmp_path / "f.npz", *options).stdout
    assert "graph_adapter (paper settings, beta = 0.4, epochs = 3)" in table
    settings = {r["method"]: r["settings"] for r in read_results(tmp_path / "out")}
    assert settings["graph_adapter"]["alpha"] == 0.6
    assert settings["graph_adapter"]["beta"] == 0.4  # given, so it holds
    assert settings["task_res"]["lr"] == 2e-3
    assert settings["task_res"]["epochs"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("all", "--root", "ROOT/gone", "--model", "MODEL"),
            "classnames.txt, which does not exist",
        ),
        (("dtf", "--root", "ROOT", "--model", "MODEL"), "Unknown benchmark 'dtf'. Choose from ima"),
        (("dtd", "--root", "ROOT"), "Images need an encoder"),
        (("f.npz", "--protocol", "mine"), "Unknown protocol 'mine'. Choose from honest, paper"),
        (("f.npz", "--preset", "mine"), "Unknown preset 'mine'. Choose from paper"),
        (("f.npz", "--methods", "coop"), "not features alone"),
    ],
)
def test_what_compare_refuses(root, model, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    fake_features(num_classes=4, channels=8, shots=1).save(tmp_path / "f.npz")
    options = [o.replace("ROOT", str(root)).replace("MODEL", str(model)) for o in options]
    code = 2 if "Unknown" in message else 1
    result = run("compare", *options, "--shots", 1, "--seeds", 1, "--out", "out", code=code)
    assert message in " ".join(result.stderr.replace("│", " ").split())


def start(*arguments):
    command = [sys.executable, "-m", "pyg_graphadapter", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def slow_comparison(tmp_path):
    fake_features(num_classes=5, channels=16, shots=4).save(tmp_path / "f.npz")
    return (
        "compare", tmp_path / "f.npz", "--methods", "graph_adapter,task_res,zero_shot",
        "--shots", "1,2,4", "--seeds", "1,2,3", "--no-select", "--epochs", 150, "--jobs", 1,
        "--out", tmp_path / "out",
    )  # fmt: skip


def contents(folder):
    """The results without their times; the command names the folder that they are in."""
    found = {}
    for path in folder.glob("*.json"):
        result = json.loads(path.read_text())
        found[path.name] = {k: v for k, v in result.items() if "seconds" not in k}
        found[path.name]["command"] = result["command"].replace(str(folder), "OUT")
    return found


def nearly(value):
    """A result whose last digits may differ, by how many seeds are trained as a batch."""
    if isinstance(value, dict):
        return {key: nearly(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [nearly(entry) for entry in value]
    return pytest.approx(value, rel=1e-4) if isinstance(value, float) else value


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_stopped(slow_comparison, tmp_path):
    out = tmp_path / "out"
    process = start(*slow_comparison)
    end = time.monotonic() + 100
    while len(list(out.glob("*.json"))) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert 4 <= len(before) < 27
    run(*slow_comparison)
    assert len(contents(out)) == 27
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = tmp_path / "whole"
    run(*slow_comparison[:-1], whole)
    assert contents(whole) == nearly(contents(out))


@pytest.mark.slow
def test_two_at_once_do_not_harm_each_other(slow_comparison, tmp_path):
    both = [start(*slow_comparison) for _ in range(2)]
    outputs = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(contents(tmp_path / "out")) == 27
    assert not list((tmp_path / "out").glob("*.tmp"))
    for stdout, _ in outputs:
        assert stdout.count("± ") == 9
