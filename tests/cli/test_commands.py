import json
import subprocess
import sys
import tomllib
import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import __version__, cli
from pyg_graphadapter.adapters import ADAPTERS, adapter_class
from pyg_graphadapter.testing import fake_features


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "features.npz"
    fake_features(num_classes=4, channels=8, shots=4).save(path)
    return str(path)


def run(*arguments, code=0):
    with warnings.catch_warnings():
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_compare_prints_a_table_and_writes_one_file_per_run(features, tmp_path):
    out = tmp_path / "out"
    result = run("compare", features, "--shots", "1,4", "--seeds", "1,2,3", "--out", out)
    lines = result.stdout.strip().splitlines()
    assert len(lines) == 2 + 4
    assert lines[2].startswith("| graph_adapter |     1 |     3 | ")
    assert "±" in lines[2]
    files = sorted(out.glob("*.json"))
    assert len(files) == 12
    expected = [
        "method",
        "shots",
        "seed",
        "accuracy",
        "fit_seconds",
        "parameters",
        "settings",
        "versions",
    ]
    for path in files:
        content = json.loads(path.read_text())
        assert set(expected) <= content.keys()
        assert isinstance(content["accuracy"], float)
    again = run("compare", features, "--shots", "1,4", "--seeds", "1,2,3", "--out", out)
    assert again.stdout == result.stdout


def test_every_setting_can_be_given(features, tmp_path):
    training = {
        "epochs": 2,
        "lr": 0.01,
        "batch-size": 3,
        "optimizer": "sgd",
        "eps": 1e-6,
        "warmup-epochs": 1,
        "temperature": 1.5,
        "weight-decay": 0.1,
        "label-smoothing": 0.2,
        "precision": "bfloat16",
        "device": "cpu",
    }
    settings = {
        "alpha": 0.5,
        "beta": 0.25,
        "bias": "shared",
        "groups": 2,
        "k": 2,
        "activation": "gelu",
        "self_loop_weight": 1.0,
        "conv": "KnowledgeConv",
        "nodes": "texts",
        "whitening": 0.5,
    }
    options = [part for name, value in training.items() for part in (f"--{name}", value)]
    options += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    run("compare", features, "--shots", 2, "--seeds", 7, "--out", tmp_path / "out", *options)
    [path] = (tmp_path / "out").glob("graph_adapter*")
    expected = {name.replace("-", "_"): value for name, value in training.items()}
    assert json.loads(path.read_text())["settings"] == {**expected, **settings, "seed": 7}


@pytest.mark.parametrize("command", ["compare", "fit", "predict"])
def test_help_shows_defaults_and_an_example(command):
    text = run(command, "--help").stdout
    assert f"Example: graphadapter {command}" in text
    if command != "predict":
        for option in ("--set NAME=VALUE", "--epochs", "--config", "graph_adapter"):
            assert option in text


@pytest.mark.parametrize("command", ["fit", "compare", "encode", "predict", "demo", "report"])
def test_help_fits_on_two_screens(command):
    with warnings.catch_warnings():
        result = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "80"})
    assert len(result.output.splitlines()) <= 80
    assert max(map(len, result.output.splitlines())) <= 80


def test_fit_then_predict(features, tmp_path):
    folder = tmp_path / "classifier"
    fitted = run("fit", features, "--shots", 4, "--out", folder, "--logit-scale", 50)
    assert "Saved graph_adapter for 4 classes" in fitted.stdout
    assert "Test accuracy" in fitted.stdout
    assert json.loads((folder / "classifier.json").read_text())["logit_scale"] == 50

    plain = run("predict", folder, features)
    lines = [line.split("\t") for line in plain.stdout.splitlines()]
    assert len(lines) == 80
    assert lines[3][0] == "3"
    assert lines[3][2] == f"class {lines[3][1]}"
    assert "of 80 labelled images" in plain.stderr

    predictions = json.loads(run("predict", folder, features, "--json", "--top", 9).stdout)
    assert [str(line["label"]) for line in predictions] == [line[1] for line in lines]
    assert len(predictions[0]["top"]) == 4
    assert predictions[0]["top"][0]["class_name"] == predictions[0]["class_name"]
    assert sum(c["probability"] for c in predictions[0]["top"]) == pytest.approx(1, abs=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        train = run("predict", folder, features, "--split", "train")
    assert "were among its shots" in train.stderr
    assert len(train.stdout.splitlines()) == 16


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_predictions_are_written_to_a_file(features, tmp_path, suffix):
    import pandas

    run("fit", features, "--shots", 2, "--out", tmp_path / "c")
    path = tmp_path / f"found{suffix}"
    said = run("predict", tmp_path / "c", features, "--out", path)
    assert "80 of 80 images classified" in said.stdout
    kind = suffix[1:]
    table = getattr(pandas, f"read_{kind}")(path)
    assert list(table) == [
        "file", "label", "label_probability", "second", "second_probability",
        "third", "third_probability", "reason",
    ]  # fmt: skip
    lines = [
        line.split("\t") for line in run("predict", tmp_path / "c", features).stdout.splitlines()
    ]
    assert list(table["label"]) == [line[2] for line in lines]
    assert (table["label_probability"] >= table["second_probability"]).all()
    again = run("predict", tmp_path / "c", features, "--out", path, code=1)
    assert "--overwrite" in again.stderr
    assert (
        "(got x.txt)" in run("predict", tmp_path / "c", features, "--out", "x.txt", code=1).stderr
    )


def test_fit_without_a_test_split(features, tmp_path):
    arrays = dict(np.load(features))
    path = tmp_path / "train.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if not k.startswith("test")})
    result = run("fit", path, "--shots", 1, "--method", "zero_shot", "--out", tmp_path / "c")
    assert "Test accuracy" not in result.stdout


def test_predict_without_labels(features, tmp_path):
    run("fit", features, "--shots", 1, "--out", tmp_path / "c")
    np.savez(tmp_path / "x.npz", features=np.ones((2, 8), dtype=np.float16))
    result = run("predict", tmp_path / "c", tmp_path / "x.npz", "--json")
    assert len(json.loads(result.stdout)) == 2
    assert result.stderr == ""


def test_select(features, tmp_path):
    result = run(
        "fit", features, "--method", "tip_adapter", "--shots", 4, "--select", "--set", "beta=0.5",
        "--out", tmp_path / "c",
    )  # fmt: skip
    assert "Selected alpha = " in result.stdout
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["settings"]["beta"] == 0.5
    run("compare", features, "--methods", "clip_adapter", "--shots", 2, "--seeds", 1, "--select",
        "--epochs", 2, "--out", tmp_path / "r")  # fmt: skip
    [path] = (tmp_path / "r").glob("clip_adapter*")
    assert json.loads(path.read_text())["selected_on"] == "support"


def test_one_setting_of_two_methods_has_two_values(features, tmp_path):
    """Also 3, a usual value of Tip-Adapter's alpha, which GraphAdapter's cannot have."""
    run(
        "compare", features, "--methods", "graph_adapter,tip_adapter", "--shots", 1, "--seeds", 1,
        "--epochs", 2, "--set", "tip_adapter.alpha=3", "--set", "graph_adapter.alpha=0.5",
        "--set", "k=2", "--out", tmp_path / "r",
    )  # fmt: skip
    results = [json.loads(path.read_text()) for path in (tmp_path / "r").iterdir()]
    settings = {result["method"]: result["settings"] for result in results}
    assert settings["tip_adapter"]["alpha"] == 3
    assert settings["graph_adapter"]["alpha"] == 0.5
    assert settings["graph_adapter"]["k"] == 2


def test_another_convolution_by_name(features, tmp_path):
    arguments = ("compare", features, "--shots", 2, "--seeds", 1, "--epochs", 2)
    result = run(*arguments, "--set", "graph_adapter.conv=SAGEConv", "--set", "k=2", "--no-select",
                 "--out", tmp_path / "r")  # fmt: skip
    assert "graph_adapter (conv = SAGEConv, k = 2" in result.stdout
    [path] = (tmp_path / "r").glob("graph_adapter*")
    assert json.loads(path.read_text())["settings"]["conv"] == "SAGEConv"
    refused = run(*arguments, "--set", "graph_adapter.conv=GNN", "--out", tmp_path / "r", code=2)
    assert "Unknown 'conv': 'GNN'. Choose from KnowledgeConv, GCNConv" in refused.output
    assert "SAGEConv, " in run("methods", "graph_adapter").stdout
    run("fit", features, "--shots", 2, "--epochs", 2, "--set", "conv=SAGEConv", "--out",
        tmp_path / "c")  # fmt: skip
    assert len(run("predict", tmp_path / "c", features).stdout.splitlines()) > 0


@pytest.mark.filterwarnings("ignore:.*on which this has no effect")
def test_a_saved_configuration_gives_the_same_run(features, tmp_path):
    config = tmp_path / "run.toml"
    options = ("--shots", 2, "--seed", 3, "--epochs", 4, "--no-select", "--set", "alpha=0.6")
    run("fit", features, *options, "--template", 'a "{}"', "--template", "\\ {} \x7f\n",
        "--out", tmp_path / "a", "--save-config", config)  # fmt: skip
    content = tomllib.loads(config.read_text())
    assert content == {
        "shots": 2,
        "seed": 3,
        "select": False,
        "template": ['a "{}"', "\\ {} \x7f\n"],
        "epochs": 4,
        "graph_adapter": {"alpha": 0.6},
    }
    run("fit", features, "--config", config, "--out", tmp_path / "b")
    cards = [json.loads((tmp_path / x / "classifier.json").read_text()) for x in "ab"]
    assert cards[0] == cards[1]
    run("fit", features, "--config", config, "--seed", 5, "--set", "alpha=0.7", "--out",
        tmp_path / "c")  # fmt: skip
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["training"]["seed"] == 5
    assert card["settings"]["alpha"] == 0.7


def test_a_configuration_of_compare(features, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        'methods = ["zero_shot", "gda"]\nshots = [1, 2]\nseeds = 7\n[gda]\nalpha = 1\n'
    )
    run("compare", features, "--config", config, "--out", tmp_path / "r")
    results = [json.loads(path.read_text()) for path in (tmp_path / "r").iterdir()]
    runs = {(result["method"], result["shots"], result["seed"]) for result in results}
    assert runs == {(method, shots, 7) for method in ("zero_shot", "gda") for shots in (1, 2)}
    assert {r["settings"]["alpha"] for r in results if r["method"] == "gda"} == {1.0}


@pytest.mark.filterwarnings("ignore:.*on which this has no effect")
def test_a_configuration_is_read_as_the_command_line_is(features, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('shots = "1"\nbatch-size = 2\nlr = 1\nselect = false\ntemplate = "a {}"\n')
    run("fit", features, "--config", config, "--epochs", 1, "--out", tmp_path / "c",
        "--save-config", config)  # fmt: skip
    assert tomllib.loads(config.read_text()) == {
        "shots": 1,
        "select": False,
        "template": ["a {}"],
        "epochs": 1,
        "lr": 1.0,
        "batch_size": 2,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("shots = ", "cannot be read as a TOML file"),
        ("shotz = 3", "Unknown option 'shotz'. Choose from"),
        ("[gdb]\nalpha = 1", "Unknown table 'gdb'. Choose from graph_adapter"),
        ("[graph_adapter]\nalfa = 1", "no setting 'alfa'"),
        ('[graph_adapter]\nk = "2"', "graph_adapter.k takes a whole number (got '2')"),
        ('shots = "x"', "'x' is neither a whole number"),
        ("shots = true", "Invalid value for '--shots'"),
        ("shots = 2.5", "Invalid value for '--shots'"),
        ("[gda]\nalfa = 1", "The method gda has no setting 'alfa'"),
        ("[gda]\nalpha = 1", "--config has settings of gda, which is not run"),
    ],
)
def test_what_a_configuration_cannot_hold(features, tmp_path, content, message):
    config = tmp_path / "run.toml"
    config.write_text(content)
    result = run("fit", features, "--config", config, "--out", tmp_path / "c", code=2)
    assert message in " ".join(result.stderr.split())


def test_methods_are_listed_and_shown(features):
    lines = run("methods").stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(ADAPTERS)]] == list(ADAPTERS)
    assert "Tip-Adapter" in run("methods").stdout
    for method in ADAPTERS:
        text = run("methods", method).stdout
        assert "https://arxiv.org" in text
        assert ":math:" not in text
        assert "\\" not in text
        for field in fields(adapter_class(method).Config):
            assert f"\n  {field.name} " in text
    assert "\N{GREEK SMALL LETTER ALPHA}" in run("methods", "gda").stdout
    assert "Unknown method 'x'. Choose from graph" in run("methods", "x", code=2).stderr


def test_overwrite(features, tmp_path):
    run("fit", features, "--shots", 1, "--out", tmp_path / "c")
    message = run("fit", features, "--shots", 1, "--out", tmp_path / "c", code=1).stderr
    assert "holds a classifier already" in message
    run("fit", features, "--shots", 1, "--out", tmp_path / "c", "--overwrite")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("fit", "none.npz"), 1, "There is no feature file none.npz"),
        (("fit", "F", "--shots", 5), 1, "4 of 4 classes have fewer than 5 images: 'class 0' (4)"),
        (("fit", "F", "--shots", -1), 2, "'-1' is neither a whole number from 0 on nor 'all'"),
        (("fit", "F", "--shots", 0, "--method", "gda"), 1, "Without shots, there is only the zero"),
        (("fit", "F", "--shots", 2, "--at-most", 3), 1, "give one of them (got shots=2, "),
        (("fit", "F", "--method", "x"), 2, "Unknown method 'x'. Choose from graph_adapter, zero"),
        (("fit", "F", "--method", "zero_shot", "--set", "alpha=1"), 2, "It has none"),
        (("fit", "F", "--set", "alfa=1"), 2, "no setting 'alfa'. Choose from alpha, beta"),
        (("fit", "F", "--set", "alpha"), 2, "--set takes NAME=VALUE, as in alpha=0.7 (got 'alpha"),
        (("fit", "F", "--set", "alpha=x"), 2, "graph_adapter.alpha takes a number (got 'x')"),
        (("fit", "F", "--set", "k=2.5"), 2, "graph_adapter.k takes a whole number (got '2.5')"),
        (("fit", "F", "--set", "task_res.scale=1"), 2, "task_res, which is not run"),
        (("fit", "F", "--set", "alpha=2"), 2, "'alpha' must be between 0 and 1 (got 2.0)"),
        (("compare", "F", "--methods", "gda,tip_adapter", "--set", "alpha=2"), 2, "several m"),
        (("fit", "F", "--lr", -1), 2, "'lr' must be at least 0 (got -1.0)"),
        (("fit", "F", "--lr", 1e38, "--set", "activation=none"), 1, "Training diverged"),
        (("fit", "F", "--set", "bias=x"), 2, "Choose from class, shared, none"),
        (("fit", "F", "--shots", 1, "--device", "x"), 1, "no device 'x'"),
        (("compare", "F", "--shots", "1,x"), 2, "whole numbers"),
        (("compare", "F", "--methods", "x"), 2, "Choose from graph_adapter, zero_shot"),
        (("compare", "F", "--shots", 5), 1, "fewer than 5 images"),
        (("compare", "F", "--logit-scale", 0), 1, "'logit_scale' is the factor of the cosine"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_sentence_and_leave_nothing(
    features, tmp_path, arguments, code, message
):
    arguments = [features if a == "F" else a for a in arguments]
    if "--shots" not in arguments:
        arguments += ["--shots", 4]
    out = tmp_path / "out"
    result = run(*arguments, "--out", out, code=code)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not out.exists() or not any(out.iterdir())


def test_an_output_folder_that_holds_something_else(features, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    for command in ("fit", "compare"):
        result = run(command, features, "--shots", 1, "--out", tmp_path, code=1)
        assert "holds something else (thesis.tex)" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_predict_with_other_features(features, tmp_path):
    run("fit", features, "--shots", 1, "--out", tmp_path / "c")
    other = tmp_path / "other.npz"
    fake_features(num_classes=2, channels=9).save(other)
    result = run("predict", tmp_path / "c", other, code=1)
    assert "fitted with features 8 wide (got [40, 9])" in result.stderr
    assert "There is no classifier" in run("predict", tmp_path, features, code=1).stderr


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(cli.app, ["--debug", "fit", "none.npz", "--out", "x"])
    assert isinstance(result.exception, FileNotFoundError)


def test_a_closed_pipe_is_not_a_mistake(features, tmp_path, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError

    run("fit", features, "--shots", 1, "--out", tmp_path / "c")
    monkeypatch.setattr(json, "dumps", closed)
    result = CliRunner().invoke(cli.app, ["predict", str(tmp_path / "c"), features, "--json"])
    assert "Error:" not in result.output


def test_version_and_warnings(features, tmp_path, capsys):
    assert run("--version").stdout == f"graphadapter {__version__}\n"
    cli._show_warning("look out")
    assert capsys.readouterr().err == "Warning: look out\n"


def test_the_command_itself():
    """In a process of its own, whose signals it takes over."""
    command = [sys.executable, "-m", "pyg_graphadapter", "--version"]
    assert __version__ in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_figures_of_the_readme(shared_data, tmp_path):
    """Real ImageNet features of CLIP ViT-B/32, 1000 classes."""
    torch.set_num_threads(2)
    path = shared_data / "clip_vitb32" / "imagenet_fewshot.npz"
    run("compare", path, "--shots", 4, "--seeds", 1, "--out", tmp_path)
    accuracy = {
        (content := json.loads(result.read_text()))["method"]: content["accuracy"]
        for result in tmp_path.iterdir()
    }
    torch.set_num_threads(1)
    assert accuracy["zero_shot"] == pytest.approx(61.07, abs=0.01)
    assert accuracy["graph_adapter"] > 66.5
