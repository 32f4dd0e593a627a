"""The benchmarks run as their headers say, in a copy of their folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyg_graphadapter.adapters import ADAPTERS
from pyg_graphadapter.testing import fake_features

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
REPORTS = {
    "report.py": ["training", "graph_scale", "encoding", "distributed"],
    "defaults/run.py": ["defaults"],
    "graph_layers/run.py": ["graph_layers"],
    "graph_layers/convolutions.py": ["graph_layers"],
    "methods/run.py": ["methods"],
    "builtin_model/run.py": ["builtin_model"],
    "faults/run.py": ["faults"],
    "descriptions/run.py": ["descriptions"],
    "views/run.py": ["views"],
    "trust/run.py": ["trust"],
    "confidence/run.py": ["confidence"],
    "unknown/run.py": ["unknown"],
}
WITHOUT_FIGURE = ("faults/run.py", "descriptions/run.py", "views/run.py")
ARGUMENTS = {  # of runners with --report that need some
    "defaults/run.py": ["features.npz"],
    "graph_layers/convolutions.py": ["features"],
    "builtin_model/run.py": ["images"],
}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def copy(tmp_path):
    """A folder of its own to write to."""
    ignored = shutil.ignore_patterns("__pycache__", "startup", "runs")
    return shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=ignored)


@pytest.fixture
def features(tmp_path):
    """A small feature file with four images per class, as that of ImageNet."""
    path = tmp_path / "features.npz"
    fake_features(num_classes=5, channels=8, shots=4, tests=4).save(path)
    return path


def run(script, *arguments):
    """Runs a script in the folder above the benchmarks, and returns what it printed."""
    folder = next(each for each in script.parents if each.name == "benchmarks").parent
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",  # what is measured here is small
            "PYG_GRAPHADAPTER_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keys(found):
    """The names in a result, two deep, less those of sizes."""
    inner = {
        (name, key)
        for name, value in found.items()
        if isinstance(value, dict) and name not in ("seeds", "environment")
        for key in value
    }
    return {*found, *inner}


@pytest.mark.slow
@pytest.mark.parametrize("script", REPORTS)
def test_report_writes_the_committed_readmes_and_all_figures(script, copy):
    readmes = [Path(folder) / "README.md" for folder in REPORTS[script]]
    for readme in readmes:
        text = (copy / readme).read_text()
        blank = re.sub(r"(<!-- [\w ]+ -->\n).*?<!-- end -->", r"\1<!-- end -->", text, flags=re.S)
        (copy / readme).write_text(blank)
    figures = [path for folder in REPORTS[script] for path in (copy / folder).glob("*.png")]
    for figure in figures:
        figure.unlink()
    before = content(copy)
    options = [] if script == "report.py" else [*ARGUMENTS.get(script, []), "--report"]
    printed = run(copy / script, *options)
    assert figures or script in WITHOUT_FIGURE
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)
    for readme in readmes:
        committed = (BENCHMARKS / readme).read_text()
        assert (copy / readme).read_text() == committed
    written = {*figures, *(copy / readme for readme in readmes)}
    assert {path for path, each in content(copy).items() if before.get(path) != each} <= written
    if script == "builtin_model/run.py":  # prints its tables
        committed = (BENCHMARKS / readmes[0]).read_text()
        numbers = re.findall(r"\d+\.\d ± \d+\.\d", printed)
        assert numbers
        assert all(each in committed for each in numbers)


def quick(copy, name, *options):
    """The result of a quick run, which writes nothing but it."""
    before = content(copy)
    path = copy.parent / "found.json"
    run(copy / name / "run.py", *options, "--quick", "--tiny", "--json", path)
    assert content(copy) == before
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("training", marks=pytest.mark.slow), "graph_scale"])
def test_quick(name, copy):
    committed = json.loads((copy / name / "results" / "cpu.json").read_text())
    # Steps are named by their width, and a processor may have no instructions for bfloat16:
    variable = {(part, key) for part in ("step", "precision") for key in committed.get(part, {})}
    assert keys(quick(copy, name)) >= keys(committed) - variable


@pytest.mark.slow
def test_quick_descriptions(copy):
    committed = json.loads((copy / "descriptions" / "results" / "cpu.json").read_text())["accuracy"]
    measured = quick(copy, "descriptions")["accuracy"]
    assert measured["drawings"]["sentences"] == committed["drawings"]["sentences"]
    for weight in ("0.0", "0.5"):
        [accuracy] = measured["drawings"][weight]["zero-shot"]
        assert [accuracy] == pytest.approx(committed["drawings"][weight]["zero-shot"], abs=0.5)


@pytest.mark.slow
def test_quick_views(copy):
    committed = json.loads((copy / "views" / "results" / "cpu.json").read_text())["cases"][0]
    [measured] = quick(copy, "views")["cases"]
    assert (measured["images"], measured["shots"]) == ("drawings", 1)
    assert measured["accuracy"].keys() == committed["accuracy"].keys()
    for views in ("1", "2"):
        [accuracy] = measured["accuracy"]["zero_shot"][views]
        assert accuracy == pytest.approx(committed["accuracy"]["zero_shot"][views][0], abs=0.5)


@pytest.mark.slow
def test_quick_trust(copy):
    committed = json.loads((copy / "trust" / "results" / "cpu.json").read_text())["cases"]
    cases = {(case["kind"], case["shots"]): case for case in committed}
    for case in quick(copy, "trust")["cases"]:
        same = zip(case["draws"], cases[case["kind"], case["shots"]]["draws"], strict=True)
        for measured, expected in same:
            found, kept = (draw["facts"]["texts"]["ahead"] for draw in (measured, expected))
            assert found == pytest.approx(kept, abs=0.02)
            for key in ("0.9 texts 0", "0.7 images 0"):  # processors differ in the last bits
                assert measured["accuracy"][key] == pytest.approx(expected["accuracy"][key], abs=3)


@pytest.mark.slow
def test_quick_graph_layers(copy):
    found = quick(copy, "graph_layers")
    assert len(found) == 9
    assert all(each["forward"]["seconds"] > 0 for each in found)
    differences = [each["difference"] for each in found if "difference" in each]
    assert len(differences) == 5
    assert all(each["output"] < 1e-4 for each in differences)


@pytest.mark.slow
def test_quick_convolutions(copy, tmp_path):
    for name in ("flowers102_images", "ucf101_images"):
        data = fake_features(num_classes=5, channels=8, shots=4, tests=4)
        splits = {"train": data.train, "test": data.test}
        arrays = {f"{split}_features": part.mean_views().numpy() for split, part in splits.items()}
        arrays |= {f"{split}_labels": part.y.numpy() for split, part in splits.items()}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    before = content(copy)
    rows = ["zero-shot", "no graph", "GCNConv, k = 8", "KnowledgeNet of 2 layers, k = 8"]
    script = copy / "graph_layers" / "convolutions.py"
    lines = run(script, tmp_path, "--quick", "--rows", *rows).splitlines()
    assert len(lines) == 2 * len(rows)
    assert all(float(line.split("test ")[1].split()[0]) > 20 for line in lines)
    assert content(copy) == before


@pytest.mark.slow
def test_quick_graph_scale_accuracy(copy, features):
    found = quick(copy, "graph_scale", "--features", features)["accuracy"]
    assert [row["k"] for row in found["rows"]] == [1, 4, 16, 64, 256, "all"]
    assert all(20 < row["accuracy"] <= 100 for row in found["rows"])


@pytest.mark.slow
def test_quick_encoding(copy):
    found = quick(copy, "encoding")
    names = ["speed-builtin-cpu", "memory-cpu", "kill-cpu", "growth-cpu", "profile-cpu"]
    assert list(found) == names
    for name in names:
        committed = json.loads((copy / "encoding" / "results" / f"{name}.json").read_text())
        assert found[name].keys() == committed.keys()
    assert found["kill-cpu"]["largest_difference"] < 1e-5
    shares = found["profile-cpu"]["percent"]
    assert all(shares[part] > 0 for part in ("vision tower", "decoding", "training"))


@pytest.mark.slow
def test_quick_methods(copy):
    before = content(copy)
    ranks, behind = run(copy / "methods" / "run.py", "--quick").split("Points behind")
    for table in (ranks, behind):
        for method in (*ADAPTERS, "logistic_regression", "lda"):
            assert f"| {method} " in table or f"| {method}‡ " in table
        for kind in ("ImageNet", "hard subsets", "without texts", "wrong names", "base to new"):
            assert f"| {kind} |" in re.sub(" +", " ", table)
    assert content(copy) == before


@pytest.mark.slow
def test_quick_distributed(copy):
    found = quick(copy, "distributed")
    assert found["two_processes_equal"]
    assert found["killed_then_two_apart_equal"]
    assert found["shards"] == 4
    assert found["corrupt_images_told_by_one_and_two"] == [2, 2]


@pytest.mark.slow
def test_defaults_are_chosen_on_training_images(copy, features):
    (copy / "defaults" / "validation.json").unlink()
    run(copy / "defaults" / "run.py", features)
    found = json.loads((copy / "defaults" / "validation.json").read_text())["accuracy"]
    committed = json.loads((BENCHMARKS / "defaults" / "validation.json").read_text())["accuracy"]
    assert found.keys() == committed.keys()
    run(copy / "defaults" / "run.py", features, "--report")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["encode", "fit", "compare", "cache gc"])
def test_quick_faults(command, copy):
    found = quick(copy, "faults", "--commands", command)
    assert found["kills"] >= 1
    assert found["lost"] == found["changed"] == 0
    assert {row["command"] for row in found["rows"]} == {command}
    assert len(found["rows"]) >= 9
    for row in found["rows"]:
        assert row["trials"] or row["fault"].startswith("disk full"), row
        assert not row["problems"], row
