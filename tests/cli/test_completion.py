"""What shells complete."""

import os
import shutil
import subprocess
import sys

import pytest

from pyg_graphadapter.adapters import ADAPTERS
from tests.test_imports import HEAVY, loaded_by, packages

PROGRAM = """import sys
sys.argv[0] = "graphadapter"
from pyg_graphadapter.__main__ import main
main()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, without files of other tests, and with one model of the hub."""
    (tmp_path / "hub" / "models--openai--clip-vit-base-patch32").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def completed(line, shell="bash"):
    """The completions at the end of a line."""
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **variables, "_GRAPHADAPTER_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert run.stderr == ""
    return run.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("graphadapter pre", ["predict"]),
        ("graphadapter data lo", ["look"]),
        ("graphadapter fit --devi", ["--device"]),
        ("graphadapter fit --encode-b", ["--encode-batch-size"]),  # one that --help does not show
        ("graphadapter fit --verb", ["--verbose"]),
        ("graphadapter fit --method tip", ["tip_adapter", "tip_adapter_f"]),
        ("graphadapter compare x --methods gda,cl", ["gda,clip_adapter", "gda,clap"]),
        ("graphadapter methods coo", ["coop"]),
        ("graphadapter fit --device c", ["cpu", "cuda"]),
        ("graphadapter fit --dtype b", ["bfloat16"]),
        ("graphadapter data look --layout class-", ["class-splits"]),
        ("graphadapter fit x --model op", ["openai/clip-vit-base-patch32"]),
        ("graphadapter fit bui", ["builtin"]),
        ("graphadapter fit ", [""]),  # files, by the shell
        ("graphadapter fit --method tip_adapter --set b", ["beta="]),
        ("graphadapter compare x --methods gda,tip_adapter --set tip_adapter.b",
         ["tip_adapter.beta="]),
    ],
)  # fmt: skip
def test_bash(folder, line, expected):
    assert completed(line) == expected


def test_a_file_of_a_similar_name_is_left_to_the_shell(folder):
    (folder / "buildings").mkdir()
    assert completed("graphadapter fit bui") == [""]


def test_all_methods_are_completed(folder):
    assert completed("graphadapter fit --method ") == list(ADAPTERS)


def test_zsh_and_fish(folder):
    assert completed("graphadapter fit --method tip", "fish") == ["tip_adapter", "tip_adapter_f"]
    text = "\n".join(completed("graphadapter pre", "zsh"))
    assert text.startswith('_arguments \'*: :(("predict":')


@pytest.mark.parametrize("line", ["fit --de", "fit --method ti", "fit x --model ", "cache ", "fi"])
def test_completion_loads_nothing_heavy(folder, monkeypatch, line):
    monkeypatch.setenv("_GRAPHADAPTER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"graphadapter {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
    assert packages(loaded_by(PROGRAM)).isdisjoint(HEAVY)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_that_bash_is_given_works_in_bash(folder, tmp_path):
    command = tmp_path / "bin" / "graphadapter"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{PROGRAM}")
    command.chmod(0o755)
    script = """
    eval "$(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 graphadapter --show-completion bash)"
    COMP_WORDS=(graphadapter fit --method tip); COMP_CWORD=3
    _graphadapter_completion graphadapter
    echo "${COMPREPLY[@]}"
    """
    run = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert run.stdout == "tip_adapter tip_adapter_f\n", run.stderr
