r"""Names that move the cursor, hide, turn text around or begin a formula: they are shown as escapes
in every place where names are shown."""

import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings

import datasets
import pytest
from typer.testing import CliRunner

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.adapters import contract, registry
from pyg_graphadapter.cli import app
from pyg_graphadapter.data import load_images
from pyg_graphadapter.display import (
    VisibleFormatter,
    csv_cell,
    in_encoding_of,
    json_text,
    latex,
    markdown,
    markdown_code,
    visible,
    visible_lines,
)
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.testing import fake_features, fake_images
from tests.results import result

HIDDEN = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "two\nlines": r"two\nlines",
    "a\tcell": r"a\tcell",
    "over\rwritten": r"over\rwritten",
    "a\x08b": r"a\x08b",
    "nul\x00": r"nul\x00",
    "\x7fdel": r"\x7fdel",
    "\x9b31m": r"\x9b31m",
    "next\x85line": r"next\x85line",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066isolate\u2069": r"\u2066isolate\u2069",
    "\u200fmark": r"\u200fmark",
    "zero\u200bwidth": r"zero\u200bwidth",
    "cat\u200d": r"cat\u200d",
    "c\u200cat": r"c\u200cat",
    "word\u2060joiner": r"word\u2060joiner",
    "\ufeffmark": r"\ufeffmark",
    "soft\xadhyphen": r"soft\xadhyphen",
    "line\u2028para\u2029": r"line\u2028para\u2029",
    "tag\U000e0041": r"tag\U000e0041",
    "a\ufe0f": r"a\ufe0f",
    "\u3164filler": r"\u3164filler",
    "no\uffffchar": r"no\uffffchar",
    os.fsdecode(b"caf\xe9\xff.jpg"): r"caf\udce9\udcff.jpg",
    "\ud83d lone": r"\ud83d lone",
}
SEEN = [
    "cat",
    "a photo of a dog, 3 %",
    "naïve café",
    "cafe\u0301",  # a combining accent
    "Ελληνικά",
    "русский",
    "日本語",
    "한국어",
    "\u1112\u1161\u11ab",  # conjoining letters of Korean
    "العربية",
    "עברית",
    "می\u200cخواهم",  # noqa: RUF001  # Persian, whose letters the non-joiner keeps apart
    "क्\u200dष",  # Hindi, with a joiner behind the virama
    "ภาษาไทย",
    "தமிழ்",
    "👩\u200d👩\u200d👧",
    "👩🏽\u200d🔬",
    "🏳\ufe0f\u200d🌈",
    "❤\ufe0f",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
    "🇩🇪",
    "葛\U000e0100",  # a variant of a Chinese character
    "no\u00a0break",
    "ﷺ ½ ™ →",
]
NAMES = ["\x1b[31mred\nline", "tab\t\u202eabc", "=HYPERLINK(1)", "caf\u00e9 \u200bx"]
SHOWN = [r"\x1b[31mred\nline", r"tab\t\u202eabc", "=HYPERLINK(1)", "caf\u00e9 \\u200bx"]
RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def run(*words, code=0, env=None):
    outcome = CliRunner().invoke(app, [str(word) for word in words], env=env or {"COLUMNS": "200"})
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    assert outcome.exit_code == code, outcome.output
    assert RAW.search(outcome.output) is None, ascii(outcome.output)
    return outcome


def hostile_file(path, names=NAMES):
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    FeatureFile(file.text, tuple(names), file.train, None, file.test).save(path)
    return path


# Functions #############################################################################


@pytest.mark.parametrize(("name", "shown"), HIDDEN.items(), ids=ascii)
def test_what_is_hidden_is_shown(name, shown):
    assert visible(name) == shown
    assert "\n" not in markdown(name)
    assert RAW.search(latex(name) + csv_cell(name) + markdown_code(name)) is None
    assert json.loads(json_text(name)) == name
    assert RAW.search(json_text(name)) is None


@pytest.mark.parametrize("name", SEEN, ids=ascii)
def test_what_is_seen_stays(name):
    assert visible(name) == name
    assert markdown(name) == name
    assert csv_cell(name) == name
    assert json_text(name) == f'"{name}"'
    assert visible_lines(f"{name}\t{name}\n{name}") == f"{name}\t{name}\n{name}"


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "\uff0d1", '=cmd|"/C calc"!A0'],
)
def test_no_cell_is_a_formula(name):
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(name), "1"])
    [[cell, _]] = csv.reader(io.StringIO(stream.getvalue()))
    assert cell.startswith("'")
    assert cell[1:] == visible(name)


def test_text_in_the_encoding_of_a_stream():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream.write(in_encoding_of(stream, "café 日本 \udcff"))
    stream.flush()
    assert stream.buffer.getvalue() == rb"caf\xe9 \u65e5\u672c \udcff"
    assert json.loads(json_text(["café", "\udcff"], encoding="ascii")) == ["café", "\udcff"]
    assert json_text("café", encoding="ascii").isascii()


def test_log_lines_are_one_line():
    record = logging.LogRecord(
        "a", logging.WARNING, "a.py", 1, "the file %s", ("\x1b[2J\nERROR: x",), None
    )
    assert VisibleFormatter("%(levelname)s: %(message)s").format(record) == (
        r"WARNING: the file \x1b[2J\nERROR: x"
    )


# Commands on feature files ##############################################################


def test_class_names_of_a_feature_file(tmp_path):
    path = hostile_file(tmp_path / "f.npz")
    run("fit", path, "--shots", 2, "--out", tmp_path / "c", "--no-select")
    assert FewShotClassifier.load(tmp_path / "c").class_names == tuple(NAMES)
    lines = run("predict", tmp_path / "c", path, "--top", 4).stdout.splitlines()
    assert len(lines) == 20
    for i, line in enumerate(lines):
        cells = line.split("\t")
        assert cells[0] == str(i)
        assert len(cells) == 1 + 4 * 3
        assert set(cells[2::3]) == set(SHOWN)
    predictions = json.loads(run("predict", tmp_path / "c", path, "--json").stdout)
    assert {p["class_name"] for p in predictions} <= set(NAMES)
    ascii_lines = CliRunner(charset="ascii").invoke(
        app, ["predict", str(tmp_path / "c"), str(path)]
    )
    assert ascii_lines.exit_code == 0, ascii_lines.exception
    assert ascii_lines.stdout_bytes.isascii()
    as_json = CliRunner(charset="ascii").invoke(
        app, ["predict", str(tmp_path / "c"), str(path), "--json"]
    )
    assert json.loads(as_json.stdout_bytes.decode("ascii")) == predictions


def test_names_of_data_sets_in_a_table(tmp_path):
    names = ["\x1b[1m|a\n|b.npz", "\u202ecod.npz"]
    for name in names:
        path = hostile_file(tmp_path / name)
        out = tmp_path / f"out{names.index(name)}"
        options = ("--shots", 1, "--seeds", 1, "--methods", "zero_shot", "--out", out)
        table = run("compare", path, *options, "--shifted", path).stdout
        assert visible(name).replace("[", r"\[").replace("|", r"\|") in table
        assert len({line.count(" | ") for line in table.split("\n\n")[0].splitlines()}) == 1


def test_a_report_of_hostile_names(tmp_path):
    names = [
        "=1+1",
        "@x",
        "\x1b[31m\n| b |",
        "<script>alert(1)</script>",
        "\\input{x} & $y$",
        "a\u202eb",
    ]
    folder = tmp_path / "results"
    folder.mkdir()
    for i, name in enumerate(names):
        content = result(dataset=name, method=name, backbone=name, settings={})
        failed = {key: content[key] for key in ("format", "method", "shots", "seed", "dataset")}
        (folder / f"{i}.json").write_text(json.dumps(content))
        (folder / f"{i}f.json").write_text(json.dumps({**failed, "seed": 2, "error": f"no {name}"}))
    run("report", folder, "--out", tmp_path / "r")
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in (tmp_path / "r").iterdir()
        if path.suffix != ".png"
    }
    assert set(texts) == {"report.html", "tables.md", "tables.tex", "accuracy.csv"}
    for name, text in texts.items():
        assert RAW.search(text) is None, name
    assert "<script>" not in texts["tables.md"].replace(r"\<script\>", "")
    scripts = re.findall(r"<script([^>]*)>", texts["report.html"])
    assert scripts.count("") == 1  # the page's own, which its policy names by its hash
    assert set(scripts) <= {"", ' type="application/json"'}
    assert "&lt;script&gt;" in texts["report.html"]
    assert r"\input" not in texts["tables.tex"]
    assert r"\textbackslash{}input\{x\} \& \$y\$" in texts["tables.tex"]
    assert r"\x1b\[31m\n\| b \|" in texts["tables.md"]
    cells = [cell for row in csv.reader(io.StringIO(texts["accuracy.csv"])) for cell in row]
    assert "'=1+1" in cells
    assert "'@x" in cells
    assert not [cell for cell in cells if cell[:1] in "=@+" and cell]
    assert [cell for cell in cells if r"a\u202eb" in cell]


def test_errors_show_names(tmp_path):
    for name in ("\x1b[2J.npz", "a\nError: b.npz", "\u202eznp.npz", os.fsdecode(b"\xff.npz")):
        path = tmp_path / name
        said = run("fit", path, "--out", tmp_path / "c", code=1).stderr
        assert said.count("\n") == 1
        assert visible(name) in said
        path.write_bytes(b"none")
        said = run("predict", path, path, code=1).stderr
        assert said.count("\n") == 1
        assert visible(name) in said
    for words in (["\x1b[31m"], ["fit", "x.npz", "--out", "c", "--method", "a\x1b[31m"],
                  ["fit", "x.npz", "--out", "c", "--\x1b[31m", "1"],
                  ["compare", "x.npz", "--out", "c", "--shots", "\x1b[31m"],
                  ["fit", "x.npz", "--out", "c", "--set", "\x1b[31m"],
                  ["fit", "x.npz", "--out", "c", "--config", "\x1b[31m"],
                  ["fit", "x.npz", "--out", "c", "--import", "\x1b[31m"],
                  ["data", "\x1b[31m"], ["cache", "list", "--\x1b[31m"]):  # fmt: skip
        said = run(*words, code=2).output
        assert r"\x1b[31m" in said


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """A module with a method that warns, logs and fails with escape sequences."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(contract, "_checked", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_hidden", raising=False)
    module = tmp_path / "mine_hidden.py"
    module.write_text(
        "import warnings\n"
        "from pyg_graphadapter import register_adapter\n"
        "from pyg_graphadapter.adapters import ZeroShot\n"
        "class Mine(ZeroShot):\n"
        "    'Mine \\x1b[31m.'\n"
        "    @classmethod\n"
        "    def from_task(cls, task, **settings):\n"
        "        warnings.warn('look \\x1b[2J\\nError: no')\n"
        "        return super().from_task(task, **settings)\n"
        "class Failing(Mine):\n"
        "    @classmethod\n"
        "    def from_task(cls, task, **settings):\n"
        "        raise KeyError('a \\x1b[2J\\rb')\n"
        "register_adapter('mine', Mine)\n"
        "register_adapter('failing', Failing)\n"
    )
    return module


def test_warnings_and_errors_of_a_method(own_method, tmp_path):
    path = hostile_file(tmp_path / "f.npz")
    for words in (["methods"], ["methods", "mine"]):
        assert r"Mine \x1b[31m." in run(*words, "--import", own_method).stdout
    options = ("--import", own_method, "--shots", 1, "--no-select")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        said = run("fit", path, "--method", "mine", *options, "--out", tmp_path / "c").stderr
    assert r"Warning: look \x1b[2J\nError: no" in said.splitlines()
    said = run("fit", path, "--method", "failing", *options, "--out", tmp_path / "d", code=1).stderr
    assert said.count("\n") == 1
    assert r"\x1b[2J\rb" in said
    failed = ("--methods", "failing,zero_shot", "--seeds", 1, "--jobs", 1, "--out", tmp_path / "r")
    said = run("compare", path, *failed, *options, code=1).stderr
    [line] = [line for line in said.splitlines() if line.startswith("Failed: ")]
    assert r"\x1b[2J" in line


# Commands on images #####################################################################


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of images with classes and files of hostile names, one of them not UTF-8."""
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = fake_images(tmp_path / "images", num_classes=4, splits={"train": 2, "test": 2})
    classes = ["\x1b[31mred\nline", "tab\t\u202eabc", os.fsdecode(b"caf\xe9"), "👩\u200d🔬"]
    files = ["\x1b[2J\n1.png", os.fsdecode(b"\xff.png")]
    for split in ("train", "test"):
        for old, new in zip(sorted((folder / split).iterdir()), classes, strict=True):
            for image, name in zip(sorted(old.iterdir()), files, strict=True):
                image.rename(image.with_name(name))
            old.rename(old.with_name(new))
    return folder


FOLDERS = [r"\x1b[31mred\nline", r"tab\t\u202eabc", r"caf\udce9", "👩\u200d🔬"]
FILES = [r"\x1b[2J\n1.png", r"\udcff.png"]


def test_a_look_at_images(images):
    lines = run("data", "look", images).stdout.splitlines()
    assert {line.split("  ")[0].strip() for line in lines[2:6]} == set(FOLDERS)
    assert {line.rpartition("  ")[2] for line in lines[2:6]} <= set(FILES)
    assert lines[6].startswith("Read as")


def test_images_of_hostile_names_run_through(images, checkpoint, tmp_path):
    bad = next((images / "test").iterdir()) / os.fsdecode(b"bad\x1b\xff.png")
    bad.write_bytes(b"none")
    model = ("--model", checkpoint("clip"))
    said = run("encode", images, *model, "--out", tmp_path / "f.npz")
    assert "Wrote" in said.stdout
    [skipped] = [line for line in said.stderr.splitlines() if line.startswith("Skipped")]
    assert r"bad\x1b\udcff.png" in skipped
    assert set(map(visible, FeatureFile.load(tmp_path / "f.npz").class_names)) == set(FOLDERS)
    run("fit", images, *model, "--shots", 1, "--no-select", "--out", tmp_path / "c")
    skip = ("--on-error", "skip")
    said = run("predict", tmp_path / "c", images / "test", *skip)
    lines = [line.split("\t") for line in said.stdout.splitlines()]
    assert len(lines) == 8
    assert {len(line) for line in lines} == {4}
    assert {line[0] for line in lines} == {
        f"{images}/test/{folder}/{file}" for folder in FOLDERS for file in FILES
    }
    assert {line[2] for line in lines} <= set(FOLDERS)
    assert r"bad\x1b\udcff.png" in said.stderr
    predictions = json.loads(
        run("predict", tmp_path / "c", images / "test", "--json", *skip).stdout
    )
    assert {p["image"] for p in predictions} == {
        str(path) for path in (images / "test").rglob("*.png") if path != bad
    }
    options = ("--shots", 1, "--seeds", 1, "--methods", "zero_shot", "--out", tmp_path / "r")
    run("compare", images, *model, *options)
    run("report", tmp_path / "r", "--out", tmp_path / "p")


def test_a_draw_of_hostile_names(images, tmp_path):
    said = run("data", "draw", images, "--shots", 2, "--out", tmp_path / "d.json", code=1).stderr
    assert r"\udc" in said  # a draw lists names that are UTF-8
    for path in sorted(images.rglob("*"), reverse=True):  # what is in a folder comes before it
        if r"\udc" in visible(path.name):
            path.rename(path.with_name(f"plain{path.suffix}"))
    run("data", "draw", images, "--shots", 2, "--out", tmp_path / "d.json")
    assert RAW.search((tmp_path / "d.json").read_text(encoding="utf-8")) is None
    drawn = load_images(tmp_path / "d.json")["train"]
    assert drawn.features["label"].names == load_images(images)["train"].features["label"].names
    assert len(drawn) == 8


# Streams ################################################################################


def start(*words, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "pyg_graphadapter", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )


def test_a_closed_pipe_ends_quietly(tmp_path):
    with start("methods", "graph_adapter") as process:
        process.stdout.close()  # as `| head` does
        assert process.stderr.read() == b""


def test_a_terminal_that_knows_ascii_alone(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    with start("fit", "日本.npz", "--out", tmp_path / "c", env=env) as process:
        out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == b""
    assert said.startswith(rb"Error: There is no")
    assert rb"\u65e5\u672c.npz" in said or rb"\udce6" in said
    assert said.count(b"\n") == 1
