"""Outputs that cannot be written: one sentence with the path, before the work, and nothing is left
or lost."""

import errno
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import FewShotClassifier, data, draw_knowledge_graph, knowledge_graph
from pyg_graphadapter.cli import app
from pyg_graphadapter.data import Draw, save_draw
from pyg_graphadapter.encoding import (
    image_source,  # noqa: F401  # which imports what is replaced below
    sources,
)
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.experiment import grid
from pyg_graphadapter.outputs import OutputError
from pyg_graphadapter.report import page
from pyg_graphadapter.testing import fake_features, fake_images
from pyg_graphadapter.training import fitting
from tests.results import result

LONG = "n" * 300


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def inputs(tmp_path, checkpoint):
    """A feature file, images, results and a classifier."""
    folder = tmp_path / "in"
    folder.mkdir()
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    file.save(folder / "f.npz")
    fake_images(folder / "images", splits={"train": 2, "test": 1})
    (folder / "results").mkdir()
    (folder / "results" / "a.json").write_text(json.dumps(result()))
    classifier = FewShotClassifier.fit(file, shots=1, method="zero_shot", progress=False)
    return SimpleNamespace(
        folder=folder, file=file, classifier=classifier, model=checkpoint("clip")
    )


def commands(inputs):
    """Every command with an option that names an output, by the option. ``{}`` is its value."""
    features, images = inputs.folder / "f.npz", inputs.folder / "images"
    other = inputs.folder / "other"
    fit = ("fit", features, "--shots", 1, "--no-select", "--method", "zero_shot")
    compare = (
        "compare",
        features,
        "--shots",
        1,
        "--seeds",
        1,
        "--methods",
        "zero_shot",
        "--jobs",
        1,
    )
    return {
        "fit --out": (*fit, "--out", "{}"),
        "fit --save-config": (*fit, "--out", other, "--save-config", "{}.toml"),
        "compare --out": (*compare, "--out", "{}"),
        "compare --save-config": (*compare, "--out", other, "--save-config", "{}.toml"),
        "encode --out": ("encode", images, "--model", inputs.model, "--out", "{}.npz"),
        "encode --out .safetensors": (
            "encode", images, "--model", inputs.model, "--overwrite", "--out", "{}.safetensors"
        ),
        "report --out": ("report", inputs.folder / "results", "--out", "{}"),
        "demo --out": ("demo", "--out", "{}"),
        "data draw --out": ("data", "draw", images, "--shots", 1, "--out", "{}.json"),
    }  # fmt: skip


SHAPES = commands(SimpleNamespace(folder=Path(), model=""))
OPTIONS = list(SHAPES)
OF_FILES = [name for name, words in SHAPES.items() if "." in words[-1]]
OF_FOLDERS = [name for name in OPTIONS if name not in OF_FILES]


def calls(inputs):
    """Every function that writes to a path, by its suffix."""
    classifier = inputs.classifier
    draw = Draw(1, 1, ("a", "b"), (("a.png", 0), ("b.png", 1)), ())
    graph = knowledge_graph(torch.eye(4) + 0.5, k=2)
    return {
        "FewShotClassifier.export": (partial(classifier.export, overwrite=True), ".safetensors"),
        "draw_knowledge_graph": (lambda path: draw_knowledge_graph(graph, path=path), ".png"),
        "save_draw": (lambda path: save_draw(draw, path), ".json"),
        "FeatureFile.save": (inputs.file.save, ".npz"),
        "FeatureFile.save .safetensors": (inputs.file.save, ".safetensors"),
    }


CALLS = [
    "FewShotClassifier.export",
    "draw_knowledge_graph",
    "save_draw",
    "FeatureFile.save",
    "FeatureFile.save .safetensors",
]


@pytest.fixture
def no_work(monkeypatch, inputs):
    """The work must not have begun when an output is refused."""

    def begun(*_, **__):
        pytest.fail("the work began before the output was refused")

    monkeypatch.setattr(sources, "open_source", begun)
    monkeypatch.setattr(sources, "load_encoder", begun)
    monkeypatch.setattr(Encoder, "from_pretrained", begun)
    monkeypatch.setattr(fitting, "train", begun)
    monkeypatch.setattr(grid, "run_all", begun)
    monkeypatch.setattr(page, "read_results", begun)
    monkeypatch.setattr(data, "load_images", begun)


def run(words, value):
    words = [str(word).replace("{}", str(value)) for word in words]
    outcome = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    said = " ".join(outcome.stderr.split())
    assert isinstance(outcome.exception, SystemExit), (outcome.exception, outcome.output)
    assert outcome.exit_code in (1, 2), outcome.output
    assert "Traceback" not in said
    return said


def snapshot(folder):
    """The names, kinds and contents of all that is in a folder."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def is_one_sentence(said, path):
    assert str(path) in said
    assert said.count("Error: ") == 1
    assert said.endswith(".")


# Refused before the work ################################################################


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", OF_FILES)
def test_a_folder_in_place_of_a_file(inputs, tmp_path, option):
    words = commands(inputs)[option]
    path = Path(words[-1].replace("{}", str(tmp_path / "x")))
    path.mkdir()
    (path / "mine").write_text("mine")
    before = snapshot(tmp_path)
    is_one_sentence(run(words, tmp_path / "x"), path)
    if "encode" in option and "--overwrite" not in words:
        said = run((*words, "--overwrite"), tmp_path / "x")
        assert "is a folder: name a file" in said
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", OF_FOLDERS)
def test_a_file_in_place_of_a_folder(inputs, tmp_path, option):
    (tmp_path / "x").write_text("mine")
    before = snapshot(tmp_path)
    said = run(commands(inputs)[option], tmp_path / "x")
    is_one_sentence(said, tmp_path / "x")
    assert "is a file" in said
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "where", ["file/x", "file/deep/x", "link/x", LONG, f"new/{LONG}/x", "pipe"]
)
def test_paths_that_cannot_be(inputs, tmp_path, option, where):
    words = commands(inputs)[option]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    if where == "pipe":
        os.mkfifo(words[-1].replace("{}", str(tmp_path / "pipe")))
    before = snapshot(tmp_path)
    is_one_sentence(run(words, tmp_path / where), tmp_path / where)
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_refuses(inputs, tmp_path, monkeypatch, option, number):
    (tmp_path / "there").mkdir()

    write = tempfile.TemporaryFile

    def refuse(*, dir, **settings):
        if dir == inputs.folder:  # of the other output
            return write(dir=dir, **settings)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    before = snapshot(tmp_path)
    for where in ("there/x", "new/deep/x"):
        said = run(commands(inputs)[option], tmp_path / where)
        is_one_sentence(said, tmp_path / where)
        assert os.strerror(number)[1:] in said
    assert snapshot(tmp_path) == before


# The disk is full at the write ##########################################################


@pytest.fixture
def full_disk(monkeypatch):
    """Fails every write to an output, at the last moment."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def begin(call="fsync"):
        monkeypatch.setattr(os, call, refuse)

    return begin


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "demo --out"])
def test_the_disk_is_full_at_the_write(inputs, tmp_path, full_disk, option):
    words = commands(inputs)[option]
    if "encode" in option:
        words = (*words[:-2], "--no-cache", *words[-2:])
    before = snapshot(tmp_path)
    full_disk()
    said = run(words, tmp_path / "new" / "x")
    assert str(tmp_path / "new" / "x") in said
    assert "o space left on device" in said
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", CALLS)
def test_the_disk_is_full_at_the_write_of_a_call(inputs, tmp_path, full_disk, name):
    call, suffix = calls(inputs)[name]
    path = tmp_path / f"x{suffix}"
    path.write_text("mine")
    before = snapshot(tmp_path)
    full_disk()
    with pytest.raises(OSError, match=r"cannot be written \(no space left on device") as caught:
        call(path)
    assert str(path) in str(caught.value)
    assert snapshot(tmp_path) == before


def test_an_earlier_classifier_is_intact(inputs, tmp_path, full_disk):
    folder = tmp_path / "c"
    inputs.classifier.save(folder)
    before = snapshot(tmp_path)
    full_disk()
    words = (*commands(inputs)["fit --out"], "--overwrite")
    assert "o space left on device" in run(words, folder)
    with pytest.raises(OSError, match="no space left on device"):
        inputs.classifier.save(folder, overwrite=True)
    with pytest.raises(OSError, match="no space left on device"):
        inputs.classifier.save(tmp_path / "new" / "c")
    assert snapshot(tmp_path) == before


def test_an_earlier_classifier_is_intact_when_the_card_cannot_be_written(
    inputs, tmp_path, monkeypatch
):
    folder = tmp_path / "c"
    inputs.classifier.save(folder)
    before = snapshot(tmp_path)
    is_written = []
    fsync = os.fsync

    def full_after_the_tensors(descriptor):
        is_written.append(descriptor)
        if len(is_written) > 2:  # the file of tensors, and its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_the_tensors)
    with pytest.raises(OSError, match=r"classifier\.json cannot be written \(no space left"):
        inputs.classifier.save(folder, overwrite=True)
    assert snapshot(tmp_path) == before


# Functions ##############################################################################


@pytest.mark.parametrize("name", CALLS)
def test_paths_that_a_call_cannot_write(inputs, tmp_path, monkeypatch, name):
    call, suffix = calls(inputs)[name]
    (tmp_path / "file").write_text("mine")
    (tmp_path / f"folder{suffix}").mkdir()
    os.mkfifo(tmp_path / f"pipe{suffix}")
    before = snapshot(tmp_path)
    for where in ("folder", "file/x", LONG, "pipe", "nul\0"):
        path = tmp_path / f"{where}{suffix}"
        with pytest.raises(OutputError) as caught:
            call(path)
        assert str(path) in str(caught.value)
    monkeypatch.setattr(tempfile, "TemporaryFile", _no_permission)
    monkeypatch.setattr(tempfile, "mkstemp", _no_permission)
    with pytest.raises(OutputError, match="permission denied"):
        call(tmp_path / f"x{suffix}")
    assert snapshot(tmp_path) == before


def test_where_a_classifier_cannot_be_saved(inputs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    before = snapshot(tmp_path)
    for where in ("file", "file/x", LONG):
        with pytest.raises((OSError, ValueError)) as caught:
            inputs.classifier.save(tmp_path / where)
        assert str(tmp_path / where) in str(caught.value)
    monkeypatch.setattr(tempfile, "TemporaryFile", _no_permission)
    with pytest.raises(OutputError, match="permission denied"):
        inputs.classifier.save(tmp_path / "x")
    assert snapshot(tmp_path) == before


def _no_permission(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
