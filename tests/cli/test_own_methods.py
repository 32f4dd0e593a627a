"""Methods of one's own on the command line, and the guide to them."""

import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyg_graphadapter import cli
from pyg_graphadapter.adapters import contract, registry
from pyg_graphadapter.testing import fake_features

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

METHOD = """
from pyg_graphadapter import register_adapter
from pyg_graphadapter.adapters import ZeroShot

class Mine(ZeroShot):
    def class_weights(self):
        return {body}

register_adapter("mine", Mine)
"""


def block(name):
    """The block of the guide behind a marker."""
    pattern = rf"<!-- test:{name} -->\n```\w+\n(.*?)```"
    return re.search(pattern, GUIDE, re.DOTALL)[1]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, with a feature file."""
    monkeypatch.chdir(tmp_path)
    fake_features(num_classes=4, channels=16, shots=4).save(tmp_path / "features.npz")
    return tmp_path


def write_method(folder, body="super().class_weights()"):
    (folder / "mine.py").write_text(METHOD.format(body=body))


def run(command):
    """A command that starts without the modules and methods of an earlier one."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(registry, "_registered", {})
        patch.setattr(contract, "_checked", set())
        for name in ("mine", "my_method"):
            sys.modules.pop(name, None)
        result = CliRunner().invoke(cli.app, command.split(), env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result


def compare(arguments="", methods="mine,zero_shot"):
    return run(
        f"compare features.npz --import mine --methods {methods} --shots 2 --seeds 1,2 "
        f"--out results {arguments}",
    )


def results(folder, method="mine"):
    paths = sorted((folder / "results").glob(f"{method}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_guide_word_by_word(tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my_method.py").write_text(block("method"))
    outputs = []
    for line in block("commands").splitlines():
        done = run(line.removeprefix("graphadapter "))
        assert done.exit_code == 0, f"{line}\n{done.stderr}"
        outputs.append(done.stdout)
    assert "alpha                   0.5  weight of the class text feature" in outputs[0]
    assert "| mean " in outputs[1]
    assert "mean" in outputs[2]
    card = json.loads((tmp_path / "my-classifier" / "classifier.json").read_text())
    assert (card["method"], card["settings"]) == ("mean", {"alpha": 0.3})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    sys.modules.pop("my_method")
    exec(block("check"), {})


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_of_other_code_are_not_taken(folder, jobs):
    write_method(folder)
    first = compare(f"--jobs {jobs}")
    assert first.exit_code == 0, first.stderr
    assert "taken from" not in first.stderr
    again = compare()
    assert "4 of 4 runs taken from results; --overwrite runs all again." in again.stderr
    write_method(folder, "-super().class_weights()")
    changed = compare(f"--jobs {jobs}")
    assert "2 of 4 runs taken from results" in changed.stderr
    accuracies = [result["accuracy"] for result in results(folder)]
    assert len(set(accuracies)) > 1
    overwritten = compare("--overwrite")
    assert "taken" not in overwritten.stderr
    assert len(results(folder)) == 4  # two seeds, two codes


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_method_that_raises_stops_no_other(folder, jobs):
    write_method(folder, "1 / [][0]")
    done = compare(f"--jobs {jobs}")
    assert done.exit_code == 1
    reason = "IndexError: list index out of range (mine.py, line 7)"
    assert f"Failed: features.npz, mine, 2 shots, seed 1: {reason}" in done.stderr
    assert [result["error"] for result in results(folder)] == [reason, reason]
    assert all("accuracy" in result for result in results(folder, "zero_shot"))


def test_a_method_that_breaks_the_contract_is_recorded_as_failed(folder):
    write_method(folder, "super().class_weights()[:2]")
    done = compare()
    assert done.exit_code == 1
    assert "Mine must return one logit per class, [8, 4] (got [8, 2])" in done.stderr
    assert all("accuracy" in result for result in results(folder, "zero_shot"))


def test_fit_and_predict(folder):
    write_method(folder)
    fit = run("fit features.npz --import mine.py --method mine --shots 2 --out classifier")
    assert fit.exit_code == 0, fit.stderr
    predict = run("predict classifier features.npz --import mine")
    assert predict.exit_code == 0, predict.stderr
    unknown = run("predict classifier features.npz")
    assert unknown.exit_code == 1
    assert "was made by the method 'mine', which is not registered" in unknown.stderr
    assert "--import MODULE" in unknown.stderr


def test_a_changed_helper_of_a_method_is_other_code(folder):
    write_method(folder, "SIGN * super().class_weights()")
    path = folder / "mine.py"
    path.write_text("from mine_helper import SIGN\n" + path.read_text())
    accuracies = []
    for sign in ("1", "-1"):
        (folder / "mine_helper.py").write_text(f"SIGN = {sign}\n")
        sys.modules.pop("mine_helper", None)
        done = compare(methods="mine", arguments="--jobs 1")
        assert "taken" not in done.stderr
        accuracies.append(done.stdout)
    assert accuracies[0] != accuracies[1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_method_that_changes_the_task_harms_no_other(folder, jobs):
    write_method(folder)
    compare(methods="zero_shot", arguments="--jobs 1")
    [expected] = {result["accuracy"] for result in results(folder, "zero_shot")}
    source = (folder / "mine.py").read_text()
    change = "    @classmethod\n    def from_task(cls, task, **s):\n        task.text.mul_(-1)\n"
    source = source.replace(
        "    def class_weights", f"{change}        return cls(task.text)\n    def class_weights"
    )
    (folder / "mine.py").write_text(source)
    done = compare(f"--jobs {jobs} --overwrite")
    assert "from_task of Mine changes the features in place" in done.stderr
    assert {result["accuracy"] for result in results(folder, "zero_shot")} == {expected}


def test_the_file_that_is_named_is_imported(folder, monkeypatch):
    for name, sign in (("a", ""), ("b", "-")):
        (folder / name).mkdir()
        write_method(folder / name, f"{sign}super().class_weights()")
    monkeypatch.syspath_prepend(folder / "b")
    monkeypatch.syspath_prepend(folder / "a")
    outputs = [
        run(f"compare features.npz --import {name}/mine.py --methods mine --shots 2 --seeds 1 "
            f"--out r{name}").stdout
        for name in ("a", "b")
    ]  # fmt: skip
    assert outputs[0] != outputs[1]
    both = run("methods --import a/mine.py --import b/mine.py")
    assert both.exit_code == 2
    assert "another module 'mine' is loaded already" in both.stderr
    (folder / "random.py").write_text((folder / "a" / "mine.py").read_text())
    assert "another module 'random' is loaded already" in run("methods --import random.py").stderr


def test_an_unknown_method_is_told_of_import(folder):
    assert "--import MODULE" in run("methods mine").stderr


@pytest.mark.parametrize("command", ["fit features.npz --out c --method mine --shots 2",
                                     "predict c features.npz"])  # fmt: skip
def test_a_fault_of_the_method_is_one_sentence(folder, command):
    write_method(folder)
    run("fit features.npz --import mine --method mine --shots 2 --out c")
    write_method(folder, "1 / [][0]")
    done = run(f"{command} --import mine --overwrite" if command[0] == "f" else
               f"{command} --import mine")  # fmt: skip
    assert done.exit_code == 1
    assert "IndexError: list index out of range (mine.py, line 7)" in done.stderr


def test_the_list_and_a_page_of_methods(folder):
    write_method(folder)
    listed = run("methods --import mine")
    assert re.search(r"^mine +not trained", listed.stdout, re.MULTILINE)
    assert run("methods mine --import mine").exit_code == 0
    unknown = run("methods mine")
    assert unknown.exit_code == 2
    assert "Unknown method 'mine'" in unknown.stderr


def test_a_module_that_cannot_be_imported_is_one_sentence(folder):
    done = run("methods --import nothing_here")
    assert done.exit_code == 2
    assert "There is no module 'nothing_here'" in done.stderr


def test_a_configuration_never_names_a_module(folder):
    write_method(folder)
    saved = compare("--save-config run.toml")
    assert saved.exit_code == 0, saved.stderr
    assert "import" not in (folder / "run.toml").read_text()
    (folder / "run.toml").write_text('import_ = "mine"\n')
    done = run("compare features.npz --config run.toml --out results")
    assert done.exit_code == 2
    assert "import_" in done.stderr


def test_settings_of_a_registered_method_come_from_a_configuration(folder):
    (folder / "my_method.py").write_text(block("method"))
    (folder / "run.toml").write_text(
        'methods = "mean"\nshots = "2"\nseeds = "1"\n[mean]\nalpha = 0.2\n'
    )
    done = run("compare features.npz --config run.toml --import my_method --out results")
    assert done.exit_code == 0, done.stderr
    assert results(folder, "mean")[0]["settings"]["alpha"] == 0.2
