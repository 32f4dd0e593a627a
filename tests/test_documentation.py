"""Every code block of the README and of the documentation runs, in its order, word for word.

The cells of the tutorials are run when the documentation is built, which `.ci/run` does. A block
that cannot run has the marker ``<!-- not run: REASON -->`` before it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

import pyg_graphadapter
from pyg_graphadapter import cli
from pyg_graphadapter.adapters import ADAPTERS, adapter_class
from tests.data.pictures import save_pictures
from tests.open_clip import model_folder
from tests.own_data import CLASSES, write_features, write_images

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"_build", "_notebooks"} & {*page.parts})
FENCE = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = "not run: "
# What a block that is not run needs, and tests do not have:
NEEDS = (
    "#SBATCH", "srun", "torchrun", "~/data", "pip install", "hf download", "push_to_hub",
    "dask",
    "--install-completion",
)  # fmt: skip
RUN = ("bash", "python")
CHECKED = ("json", "")  # and output, which has no language


class Block(NamedTuple):
    """A block with the comment before it."""

    comment: str
    language: str
    code: str

    @property
    def is_run(self):
        return self.language in RUN and not self.comment.startswith((NOT_RUN, "ci:"))


def blocks(page):
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(*block) for block in found if not block[1].startswith("{")]


def is_needed_elsewhere(block):
    return any(word in block.code for word in NEEDS)


def test_the_reader_of_blocks_reads():
    found = blocks(DOCS / "howto" / "cluster.md")
    assert [block.language for block in found[:3]] == ["bash", "bash", "bash"]
    assert [block.is_run for block in found[:3]] == [True, False, True]
    assert len(re.findall("^```$", (DOCS / "howto" / "cluster.md").read_text(), re.M)) == len(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_only_what_cannot_run_is_not_run(page):
    for block in blocks(page):
        assert block.language in (*RUN, *CHECKED), block
        if block.comment.startswith(NOT_RUN):
            assert is_needed_elsewhere(block), block.code
        elif block.is_run:
            assert not is_needed_elsewhere(block), block.code
        if block.language == "json":
            assert json.loads(block.code)


def test_every_benchmark_has_a_page():
    for readme in ROOT.glob("benchmarks/*/README.md"):
        page = DOCS / "benchmarks" / f"{readme.parent.name}.md"
        assert page.exists(), f"add {page} that includes {readme}, as the others do"


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("api/*.md"))
    for name in pyg_graphadapter.__all__:
        assert re.search(rf":: pyg_graphadapter(\.\w+)?\.{name}$", text, re.MULTILINE), name


def test_every_method_is_in_the_reference():
    text = (DOCS / "api" / "adapters.md").read_text(encoding="utf-8")
    for name in ADAPTERS:
        class_name = adapter_class(name).__name__
        assert f":: pyg_graphadapter.adapters.{class_name}\n" in text, class_name


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Features of the built-in images, which several pages use."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path, monkeypatch, checkpoint, cache):
    """A folder with all that the pages name; the models are tiny ones."""
    write_images(tmp_path)
    write_features(tmp_path)
    shutil.rmtree(tmp_path / "photos")
    for split, number in (("train", 16), ("test", 4)):
        names = [f"photos/{split}/{name}/{i}.png" for name in CLASSES for i in range(number)]
        save_pictures(tmp_path, names, (32, 32))
    save_pictures(tmp_path / "holiday", ["3.jpg", "4.jpg"], (32, 30))
    shutil.copytree(tmp_path / "more", tmp_path / "more-photos")
    for name in ("clip", "openai/clip-vit-base-patch16"):
        shutil.copytree(checkpoint("clip"), tmp_path / name)
    model_folder("quick_gelu", tmp_path / "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def run_python(code, page, names, capsys):
    """Runs a block; the values in comments behind ``print`` are those that it prints."""
    capsys.readouterr()
    exec(compile(code, str(page), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    expected = re.findall(r"^print\(.*\)  # ([\d.]+)$", code, re.MULTILINE)
    values = [float(line) for line in printed if re.fullmatch(r"[\d.]+", line)]
    assert values == pytest.approx([float(value) for value in expected], abs=1.5)


def run_bash(code, folder):
    """Runs a block of commands; those of this package alone run in this process."""
    lines = code.replace("\\\n", " ").splitlines()
    if not all(re.fullmatch("graphadapter [^>|]*", line) for line in lines):
        run_script(code, folder)
        return
    for line in lines:
        words = [
            str(path)
            for word in shlex.split(line, comments=True)[1:]
            for path in (sorted(Path().glob(word)) if "*" in word else [word])
        ]
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"


def run_script(code, folder):
    """Runs a script with the command of this package in its path."""
    command = folder / "bin" / "graphadapter"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyg_graphadapter "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-euc", code],
        env={**os.environ, "PATH": path, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.is_run for block in blocks(page))],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_its_blocks_run(page, folder, capsys):
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few shots, and names that say nothing about the images
        for block in blocks(page):
            if block.is_run and block.language == "bash":
                run_bash(block.code, folder)
            elif block.is_run:
                run_python(block.code, page, names, capsys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_run(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks(README):  # its Python is run by test_readme.py
            if block.is_run and block.language == "bash" and not is_needed_elsewhere(block):
                run_bash(block.code, folder)


def test_notebooks_can_be_read_alone(monkeypatch):
    pytest.importorskip("jupytext")
    pytest.importorskip("myst_nb")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    from notebooks import without_pages

    for page in (DOCS / "tutorials").glob("*.md"):
        text = without_pages(page.read_text(encoding="utf-8"), page.parent)
        assert ".md)" not in text
        assert "{download}" not in text
    text = "See [](../mathematics.md), [the layer](../api/nn.md#x) and [PyG](https://pyg.org)."
    expected = "See The mathematics, the layer and [PyG](https://pyg.org)."
    assert without_pages(text, DOCS / "tutorials") == expected
