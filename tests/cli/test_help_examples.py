"""Every example in a help text runs as it stands, with a tiny encoder for the one that it names."""

import importlib
import re
import shlex
import shutil

import numpy as np
import pytest
import typer

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.cli import COMMANDS
from pyg_graphadapter.testing import fake_features, fake_images
from tests.checkpoints import save_checkpoint
from tests.faults.command import said_by

EXAMPLE = re.compile(r"^ *Example: graphadapter (.*)$", re.MULTILINE)
ENCODER = "openai/clip-vit-base-patch16"
# The commands in an order in which each has what it needs, with what it says:
ORDER = {
    "methods": "alpha",
    "data import": "test: 6 images",
    "data look": "train: 15 images, test: 6 images",
    "data draw": "12 training images of 3 classes",
    "encode": "3 classes, images: 15 train, 6 test",
    "fit": "Saved graph_adapter for 3 classes",
    "predict": "2 of 2 images classified",
    "explain": "probability",
    "export": "classifier.safetensors",
    "evaluate": "Balanced accuracy",
    "compare": "| graph_adapter",
    "report": "report.html",
    "cache list": "images",
    "cache gc": "",
}
SLOW = {"demo"}  # run by tests/test_demo.py


def commands_of(command, name):
    if not hasattr(command, "commands"):
        return {name: command}
    return {
        key: value
        for part, inner in command.commands.items()
        for key, value in commands_of(inner, f"{name} {part}").items()
    }


def examples():
    modules = {name: importlib.import_module(f"pyg_graphadapter.cli.{name}") for name in COMMANDS}
    return {
        name: EXAMPLE.findall(command.help)
        for group, module in modules.items()
        for name, command in commands_of(typer.main.get_command(module.app), group).items()
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    fake_images(tmp_path / "photos", splits={"train": 5, "test": 2})
    fake_images(tmp_path / "data", splits={"train": 5, "test": 2})
    (tmp_path / "holiday").mkdir()
    for i, image in enumerate(sorted((tmp_path / "photos" / "test").rglob("*.*"))[:2]):
        shutil.copy(image, tmp_path / "holiday" / f"{i}.jpg")
    save_checkpoint("clip", tmp_path / "clip")
    fake_features(num_classes=3, channels=8, shots=6, tests=2).save("features.npz")
    x = np.random.default_rng(0).random((9, 8))
    np.savez("train.npz", x=x, y=np.arange(9) % 3)
    np.savez("test.npz", x=x[:6], y=np.arange(6) % 3)
    (tmp_path / "names.txt").write_text("zebra\nant\ncat\n")
    return tmp_path


def test_every_command_has_an_example():
    assert set(examples()) == set(ORDER) | SLOW
    assert all(len(lines) == 1 for lines in examples().values())


def test_examples_run(folder):
    for name, words in ORDER.items():
        [line] = examples()[name]
        line = line.replace(ENCODER, "clip").replace("~", str(folder))
        arguments = [
            argument
            for word in shlex.split(line)
            for argument in (sorted(folder.glob(word)) if "*" in word else [word])
        ]
        assert words in said_by(*arguments), name


def test_the_example_of_data_import(folder):
    [line] = examples()["data import"]
    said_by(*shlex.split(line))
    file = FeatureFile.load("f.npz")
    assert file.class_names == ("zebra", "ant", "cat")
    assert (len(file.train), len(file.test)) == (9, 6)
    assert file.train.y.tolist() == [0, 1, 2] * 3
