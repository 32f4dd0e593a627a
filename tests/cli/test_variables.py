"""Options that variables of the environment set."""

import json

import pytest

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.cli.variables import GENERAL, PREFIX
from pyg_graphadapter.testing import fake_features
from tests.cli.test_commands import run


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npz"
    fake_features(num_classes=3, channels=8, shots=4).save(path)
    return path


def fitted(*arguments):
    return json.loads(run("fit", *arguments, "--epochs", 1, "--json").stdout)


def test_the_command_line_wins_over_variables_these_over_config_and_that_over_defaults(
    features, tmp_path, monkeypatch
):
    def shots(name, *options):
        return fitted(features, "--out", tmp_path / name, *options)["training"]["shots"]

    config = tmp_path / "config.toml"
    config.write_text("shots = 3\n")
    assert shots("default") == 4
    assert shots("config", "--config", config) == 3
    monkeypatch.setenv("GRAPHADAPTER_FIT_SHOTS", "2")
    assert shots("variable", "--config", config) == 2
    assert shots("command", "--config", config, "--shots", 1) == 1
    monkeypatch.setenv("GRAPHADAPTER_FIT_SHOTS", "")  # as if it were not set
    assert shots("empty", "--config", config) == 3


def test_the_variable_of_one_command_wins_over_that_of_all(features, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_DEVICE", "cuda:99")
    monkeypatch.setenv("GRAPHADAPTER_FIT_DEVICE", "cpu")
    assert fitted(features, "--out", tmp_path / "c")["training"]["device"] == "cpu"


def test_a_config_file_can_be_named_by_a_variable(features, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text("shots = 3\n")
    monkeypatch.setenv("GRAPHADAPTER_FIT_CONFIG", str(config))
    assert fitted(features, "--out", tmp_path / "c")["training"]["shots"] == 3


def test_what_variables_set_is_saved(features, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_FIT_SHOTS", "2")
    monkeypatch.setenv("GRAPHADAPTER_QUIET", "1")
    run("fit", features, "--out", tmp_path / "c", "--save-config", tmp_path / "saved.toml")
    assert (tmp_path / "saved.toml").read_text() == "shots = 2\n"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("GRAPHADAPTER_FIT_SHOTS", "many", "Invalid value for GRAPHADAPTER_FIT_SHOTS: 'many'"),
        ("GRAPHADAPTER_OFFLINE", "perhaps", "Invalid value for GRAPHADAPTER_OFFLINE"),
        ("GRAPHADAPTER_FIT_LR", "-1", "Set by the environment: GRAPHADAPTER_FIT_LR=-1."),
        ("GRAPHADAPTER_FIT_METHOD", "gad", "Set by the environment: GRAPHADAPTER_FIT_METHOD=gad."),
    ],
)
def test_a_bad_value_names_its_variable(features, tmp_path, monkeypatch, variable, value, sentence):
    monkeypatch.setenv(variable, value)
    assert sentence in run("fit", features, "--out", tmp_path / "c", code=2).stderr


def test_an_error_names_the_variables_that_set_options(features, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_DEVICE", "cuda:99")
    stderr = run("fit", features, "--out", tmp_path / "c", code=1).stderr
    assert "Set by the environment: GRAPHADAPTER_DEVICE=cuda:99." in stderr
    stderr = run("fit", features, "--out", tmp_path / "c", "--device", "cuda:98", code=1).stderr
    assert "Set by the environment" not in stderr


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("GRAPHADAPTER_DEVCE", " Did you mean GRAPHADAPTER_DEVICE?"),
        ("GRAPHADAPTER_REJECT", " Did you mean GRAPHADAPTER_PREDICT_REJECT?"),
        ("GRAPHADAPTER_FIT_SHOT", " Did you mean GRAPHADAPTER_FIT_SHOTS?"),
        ("GRAPHADAPTER_CACHE_GC_UNUSED_DAY", " Did you mean GRAPHADAPTER_CACHE_GC_UNUSED_DAYS?"),
        ("GRAPHADAPTER_QQQQQQQQQQ", ""),
    ],
)
def test_a_mistyped_variable_gets_a_warning(monkeypatch, variable, meant):
    monkeypatch.setenv(variable, "1")
    stderr = run("methods", "gda").stderr
    assert f"Warning: The variable {variable} sets no option.{meant}\n" in stderr


@pytest.mark.parametrize(
    "variable",
    ["GRAPHADAPTER_COMPARE_SHOTS", "GRAPHADAPTER_DATA_LOOK_MODEL", "GRAPHADAPTER_DEVICE"],
)
def test_variables_of_other_commands_get_none(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert run("methods", "gda").stderr == ""


@pytest.mark.parametrize("variable", ["GRAPHADAPTER_OUT", "GRAPHADAPTER_FIT_OVERWRITE"])
def test_what_is_written_and_replaced_is_said_on_the_command_line(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert "sets no option" in run("methods", "gda").stderr


def test_the_model_of_all_commands_makes_no_texts_of_features(tmp_path, monkeypatch):
    """Features of equal width may be of another model."""
    monkeypatch.setenv("GRAPHADAPTER_MODEL", "builtin")
    file = fake_features(num_classes=3, channels=256, shots=2)
    from dataclasses import replace

    replace(file, text=None).save(tmp_path / "f.npz")
    run("fit", tmp_path / "f.npz", "--out", tmp_path / "c", "--method", "linear_probe", "--json")
    config = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert "builtin" not in json.dumps(config)


def test_the_model_of_all_commands_is_not_that_of_which_features_are_removed(monkeypatch, tmp_path):
    (tmp_path / "caches").mkdir()
    monkeypatch.setenv("GRAPHADAPTER_CACHE_DIR", str(tmp_path / "caches"))
    monkeypatch.setenv("GRAPHADAPTER_MODEL", "builtin")
    run("data", "look", "builtin")
    assert json.loads(run("cache", "gc", "--json").stdout)["removed"] == []
    assert json.loads(run("cache", "list", "--json").stdout)["folder"] == str(tmp_path / "caches")


@pytest.mark.parametrize(
    ("value", "is_saved"), [("1", True), ("yes", True), ("0", False), ("off", False)]
)
def test_flags(features, tmp_path, monkeypatch, value, is_saved):
    monkeypatch.setenv("GRAPHADAPTER_FIT_KEEP_SHOTS", value)
    run("fit", features, "--out", tmp_path / "c", "--epochs", 1)
    assert (FewShotClassifier.load(tmp_path / "c").shots is not None) == is_saved
    run("fit", features, "--out", tmp_path / "d", "--epochs", 1, "--no-keep-shots")
    assert FewShotClassifier.load(tmp_path / "d").shots is None


def test_the_command_line_decides_between_quiet_and_verbose(monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_QUIET", "1")
    assert "INFO: Done after" in run("methods", "gda", "--verbose").stderr
    monkeypatch.setenv("GRAPHADAPTER_VERBOSE", "1")
    monkeypatch.setenv("GRAPHADAPTER_QUIET", "")
    assert run("methods", "gda", "--quiet").stderr == ""
    assert "exclude each other" in run("methods", "--quiet", "--verbose", code=2).stderr


def test_help_shows_the_variables():
    text = run("data", "look", "--help").stdout
    assert "GRAPHADAPTER_DATA_LOOK_OPTION" in text
    assert "GRAPHADAPTER_DEVICE" in text


def test_the_list_of_general_options_has_no_other():
    from pyg_graphadapter import cli

    options = {
        option.name
        for name in cli.COMMANDS
        for _, options in cli._with_options(name, cli._command(name))
        for option in options
    }
    assert options.issuperset(GENERAL)
    assert PREFIX == "GRAPHADAPTER_"
