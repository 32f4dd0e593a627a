"""``--json``, ``--quiet`` and ``--verbose`` of every command."""

import json

import pytest

from pyg_graphadapter import cli
from pyg_graphadapter.testing import fake_features, fake_images
from tests.cli.test_commands import run

COMMANDS = {
    command: options
    for name in cli.COMMANDS
    for command, options in cli._with_options(name, cli._command(name))
}

POOR_NAMES = pytest.mark.filterwarnings("ignore:The class names tell this model little")


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npz"
    fake_features(num_classes=3, channels=8, shots=4).save(path)
    return path


@pytest.fixture
def classifier(features, tmp_path):
    run("fit", features, "--out", tmp_path / "classifier", "--epochs", 1)
    return tmp_path / "classifier"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_them(command):
    options = {option for parameter in COMMANDS[command] for option in parameter.opts}
    assert options.issuperset({"--json", "--quiet", "--verbose"})


@pytest.fixture
def commands(features, classifier, tmp_path):
    """Each command with arguments that succeed, and the keys of its JSON."""
    images = fake_images(tmp_path / "images", splits={"train": 3, "test": 2})
    run("compare", features, "--shots", 1, "--seeds", "1,2", "--epochs", 1, "--out", tmp_path / "r")
    fit = ("classifier", "method", "classes", "added_classes", "settings", "selected", "training",
           "measured", "is_transductive")  # fmt: skip
    written = {"out", "classes", "images"}
    encoder = ("--model", "builtin")
    return {
        "fit": ((features, "--epochs", 1, "--out", tmp_path / "new"), set(fit)),
        "predict": ((classifier, features), {"index", "label", "class_name", "probability"}),
        "evaluate": (
            (classifier, features),
            {"data", "split", "method", "measures", "intervals", "calibration", "classes",
             "confusions", "errors", "skipped", "files"},
        ),
        "compare": (
            (features, "--shots", 1, "--seeds", 1, "--epochs", 1, "--out", tmp_path / "results"),
            {"out", "rows", "tables", "failed"},
        ),
        "report": (
            (tmp_path / "r", "--out", tmp_path / "report"),
            {"page", "tables", "evaluation_page"},
        ),
        "encode": ((images, *encoder, "--out", tmp_path / "e.npz"), {*written, "skipped"}),
        "methods": ((), {"name", "is_trained", "is_transductive", "about"}),
        "data look": (
            (images, "--model", "none"),
            {"source", "layout", "splits", "unlabelled", "classes", "unbalanced", "tiny", "sizes",
             "in_two_splits", "with_two_labels", "left_out", "notes", "asked_next", "encoding"},
        ),
        "data draw": (
            (images, "--shots", 1, "--out", tmp_path / "draw.json"),
            {*written, "shots", "seed"},
        ),
        "data import": (
            (features, "--out", tmp_path / "imported.npz"),
            {*written, "width", "has_texts", "made_of"},
        ),
        "cache list": ((), {"folder", "features"}),
        "cache gc": ((), {"removed", "would_remove", "bytes"}),
    }  # fmt: skip


ANSWERS = ("predict", "evaluate", "methods", "data look", "cache list")


def test_json_is_one_document_and_nothing_else(commands):
    in_other_tests = {"demo", "explain", "export"}
    assert set(commands) == set(COMMANDS) - in_other_tests
    for command, (arguments, keys) in commands.items():
        document = json.loads(run(*command.split(), *arguments, "--json").stdout)
        entry = document[0] if isinstance(document, list) else document
        assert set(entry) == keys, command


def test_quiet_prints_the_answer_alone(commands):
    for command, (arguments, _) in commands.items():
        result = run(*command.split(), *arguments, "--quiet")
        assert result.stderr == "", command
        assert bool(result.stdout) == (command in ANSWERS), command


def test_json_and_quiet_print_the_document_alone(features, tmp_path):
    result = run("fit", features, "--epochs", 1, "--out", tmp_path / "c", "--json", "--quiet")
    assert json.loads(result.stdout)["classifier"] == str(tmp_path / "c")
    assert result.stderr == ""


def test_lines_for_people_are_on_the_error_stream_under_json(features, tmp_path):
    result = run("fit", features, "--epochs", 1, "--out", tmp_path / "c", "--json")
    assert f"Saved graph_adapter for 3 classes to {tmp_path / 'c'}." in result.stderr


@pytest.mark.parametrize("option", ["--json", "--quiet", "--verbose"])
def test_an_error_is_a_sentence_on_the_error_stream(tmp_path, option):
    result = run("fit", tmp_path / "none.npz", "--out", tmp_path / "c", option, code=1)
    assert result.stdout == ""
    assert "Error: There is no feature file" in result.stderr
    assert "Traceback" not in result.stderr


@POOR_NAMES
def test_quiet_keeps_warnings_and_what_was_skipped(classifier, tmp_path, monkeypatch):
    images = fake_images(tmp_path / "images", splits={"train": 4, "test": 2})
    broken = next((images / "train").rglob("*.png"))
    broken.write_bytes(b"not an image")
    result = run("fit", images, "--model", "builtin", "--quiet", "--out", tmp_path / "c",
                 "--shots", "3")  # fmt: skip
    assert result.stdout == ""
    assert "Skipped" in result.stderr
    assert broken.name in result.stderr


@POOR_NAMES
def test_verbose_says_what_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_CACHE_DIR", str(tmp_path / "own"))
    images = fake_images(tmp_path / "images", splits={"train": 3, "test": 2})
    plain = run("fit", images, "--model", "builtin", "--out", tmp_path / "a")
    verbose = run("fit", images, "--model", "builtin", "--out", tmp_path / "b", "--verbose").stderr
    assert "INFO" not in plain.stderr
    assert "INFO: Done after " in verbose
    assert f"INFO: Features are kept in {tmp_path / 'own'}" in verbose
    assert "INFO: Loaded the encoder builtin on cpu" in verbose
    assert "INFO: Fitted graph_adapter to " in verbose
    assert "INFO" not in run("methods", "gda").stderr  # it ends with the command


def test_names_that_cannot_be_seen_are_escaped_in_json(tmp_path):
    from dataclasses import replace

    file = fake_features(num_classes=3, channels=8, shots=2)
    names = ("a\x1b[31m", "<b>", 'c"')
    replace(file, class_names=names).save(tmp_path / "f.npz")
    stdout = run("fit", tmp_path / "f.npz", "--epochs", 1, "--out", tmp_path / "c", "--json").stdout
    assert "\x1b" not in stdout
    assert tuple(json.loads(stdout)["classes"]) == names
