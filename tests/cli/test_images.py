"""The commands that take images, with a tiny encoder."""

import csv
import json
import warnings

import pandas
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from pyg_graphadapter import FeatureFile, cli


def run(*arguments, code=0):
    with warnings.catch_warnings():
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_encode_writes_a_feature_file(images, model, tmp_path):
    out = tmp_path / "f.safetensors"
    result = run(
        "encode", images, "--model", model, "--views", 3, "--out", out,
        "--template", "a {}", "--template", "the {}.",
    )  # fmt: skip
    assert "3 classes, images: 9 train, 6 test" in result.stdout
    assert ": 15 encoded, 0 from the cache" in result.stderr
    file = FeatureFile.load(out)
    assert file.train.x.shape == (9, 3, 24)
    assert file.test.x.shape == (6, 1, 24)
    assert file.class_names == ("class_0", "class_1", "class_2")
    again = run("encode", images, "--model", model, "--views", 3, "--out", tmp_path / "g.npz")
    assert "0 encoded, 15 from the cache" in again.stderr


def test_encode_makes_the_folder_and_counts_what_it_wrote(images, model, tmp_path):
    for split, name in (("train", "class_0"), ("train", "class_1"), ("test", "class_2")):
        (images / split / name / "bad.jpg").write_bytes(b"no image")
    out = tmp_path / "missing" / "folder" / "f.npz"
    result = run("encode", images, "--model", model, "--out", out)
    assert "3 classes, images: 9 train, 6 test." in result.stdout
    assert "3 skipped" in result.stderr
    file = FeatureFile.load(out)
    assert (len(file.train), len(file.test)) == (9, 6)


def test_a_table_of_files_with_line_breaks_in_their_names(images, model, tmp_path):
    names = ["new\nline.png", "carriage\r.png", 'a,"b".png', "=1+1.png", "sep\u2028.png"]
    for name in names:
        Image.new("RGB", (9, 9)).save(images / "test" / "class_0" / name)
    run("fit", images, "--model", model, "--shots", 1, "--no-select", "--out", tmp_path / "c")
    table = tmp_path / "missing" / "found.csv"
    given = [images / "test" / "class_0" / name for name in names]
    run("predict", tmp_path / "c", *given, "--out", table)
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 6
    assert {len(row) for row in rows} == {8}
    shown = [name.encode("unicode_escape").decode().replace("\\\\", "\\") for name in names]
    assert [row[0].rpartition("/")[2] for row in rows[1:]] == shown
    assert pandas.read_csv(table)["file"].tolist() == [row[0] for row in rows[1:]]
    assert len(table.read_text(encoding="utf-8").splitlines()) == 6


def test_a_file_of_names_needs_no_shots(model, tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    options = ("--model", model, "--out", tmp_path / "c")
    said = run("fit", tmp_path / "names.txt", *options, code=1)
    assert "fit a zero-shot classifier of them with --shots 0" in said.stderr
    assert not (tmp_path / "c").exists()
    run("fit", tmp_path / "names.txt", *options, "--shots", 0)


def test_what_encode_refuses(images, model, tmp_path):
    (tmp_path / "f.npz").write_text("mine")
    cases = [
        (["--out", tmp_path / "f.npz", "--model", model], 1, "There is a file"),
        (["--out", tmp_path / "f.pt", "--model", model], 1, "end with .npz or .safetensors"),
        (["--out", tmp_path / "g.npz"], 1, "Images need an encoder"),
        (["--out", tmp_path / "g.npz", "--model", tmp_path / "no"], 1, "cannot be loaded"),
        (["--out", tmp_path / "g.npz", "--model", model, "--views", 0], 2, "'views'"),
        (["--out", tmp_path / "g.npz", "--model", model, "--template", "x"], 2, "one {}"),
    ]
    for options, code, message in cases:
        result = run("encode", images, *options, code=code)
        assert message in " ".join(result.output.split())
    assert (tmp_path / "f.npz").read_text() == "mine"
    run("encode", images, "--out", tmp_path / "f.npz", "--model", model, "--overwrite")
    refused = run("encode", tmp_path / "f.npz", "--out", tmp_path / "h.npz", code=1)
    assert "is a feature file already" in refused.stderr


@pytest.mark.filterwarnings("ignore:The class names tell")
def test_fit_says_how_coop_starts(images, tmp_path):
    def selected(*options):
        fitted = run(
            "fit", images, "--model", "builtin", "--shots", 1, "--method", "coop", "--epochs", 1,
            *options, "--out", tmp_path / "c", "--overwrite",
        )  # fmt: skip
        lines = [line for line in fitted.stdout.splitlines() if line.startswith("Selected")]
        return lines, json.loads((tmp_path / "c" / "classifier.json").read_text())["settings"]

    lines, settings = selected()
    start = "context_words" if settings["context_words"] else "context_length"
    scale = settings["vector_scale"]
    assert scale > 20
    assert lines[0].startswith(f"Selected {start} = {settings[start]}: ")
    assert lines[1].startswith(f"Selected vector_scale = {scale}: ")
    lines, settings = selected("--set", "context_words=a drawing of")
    assert [line.split(":")[0] for line in lines] == [f"Selected vector_scale = {scale}"]
    assert settings["context_words"] == "a drawing of"


def test_fit_then_predict_images(images, model, tmp_path):
    fitted = run("fit", images, "--model", model, "--shots", 2, "--out", tmp_path / "c")
    assert (
        "Alone, the class names get 4 of your 6 pictures right (67 %; guessing gets 33 %)"
        in fitted.stdout
    )
    assert " Class names count for " in fitted.stdout
    assert "Saved graph_adapter for 3 classes" in fitted.stdout
    assert "zero-shot" in fitted.stdout
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["measured"]["images"] == 6

    files = sorted((images / "test").rglob("*.png"))
    plain = run("predict", tmp_path / "c", *files)
    lines = [line.split("\t") for line in plain.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in files]
    assert all(line[2] == f"class_{line[1]}" for line in lines)
    predictions = json.loads(run("predict", tmp_path / "c", images / "test", "--json").stdout)
    assert len(predictions) == 6
    assert predictions[0]["image"].endswith("0.jpg")


def test_images_that_cannot_be_decoded(images, model, tmp_path):
    bad = images / "test" / "class_0" / "bad.jpg"
    bad.write_bytes(b"no image")
    fitted = run("fit", images, "--model", model, "--shots", 1, "--out", tmp_path / "c")
    assert "bad.jpg cannot be decoded" in fitted.stderr
    assert "1 skipped" in fitted.stderr
    assert "6 images" in fitted.stdout
    strict = ("--shots", 1, "--out", tmp_path / "d", "--strict")
    stopped = run("fit", images, "--model", model, *strict, code=1)
    assert "bad.jpg cannot be decoded" in stopped.stderr
    assert not (tmp_path / "d" / "classifier.json").exists()

    seen = run("predict", tmp_path / "c", images / "test", code=1)
    rows = [line.split("\t") for line in seen.stdout.splitlines()]
    assert len(rows) == 7
    [[name, reason]] = [row for row in rows if len(row) == 2]
    assert name == str(bad)
    assert "not classified" in reason
    assert "bad.jpg" in seen.stderr
    found = json.loads(run("predict", tmp_path / "c", images / "test", "--json", code=1).stdout)
    assert [row["image"] for row in found if row["label"] is None] == [str(bad)]
    assert all(("reason" in row) == (row["label"] is None) for row in found)
    table = tmp_path / "found.csv"
    run("predict", tmp_path / "c", images / "test", "--out", table, code=1)
    reasons = [row[-1] for row in csv.reader(table.read_text().splitlines())]
    assert len([reason for reason in reasons if reason]) == 2  # of the header and of bad.jpg
    skipped = run("predict", tmp_path / "c", images / "test", "--on-error", "skip")
    assert len(skipped.stdout.splitlines()) == 6
    run("predict", tmp_path / "c", images / "test", "--strict", code=1)
    run("predict", tmp_path / "c", images / "test", "--on-error", "stop", code=2)
    only = run("predict", tmp_path / "c", bad, "--on-error", "skip", code=1)
    assert only.stdout == ""


def test_compare_on_images(images, model, tmp_path):
    options = ("--model", model, "--shots", "1,2", "--seeds", 1, "--no-select", "--epochs", 2)
    result = run("compare", images, *options, "--out", tmp_path / "out")
    assert result.stdout.startswith("| method")
    files = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(files) == 4
    assert files[0]["backbone"] == str(model)
    again = run("compare", images, *options, "--out", tmp_path / "out")
    assert again.stdout == result.stdout
    Image.new("RGB", (9, 9)).save(images / "train" / "class_0" / "new.png")
    more = run("compare", images, *options, "--out", tmp_path / "out")
    assert "2 encoded, 10 from the cache" in more.stderr
    assert len(list((tmp_path / "out").glob("*.json"))) == 8


def test_without_a_cache_nothing_is_kept(images, model, tmp_path):
    fit = ("fit", images, "--model", model, "--shots", 1, "--overwrite", "--out", tmp_path / "c")
    run(*fit, "--no-cache")
    assert not (tmp_path / "cache").exists()
    run(*fit, "--cache-dir", tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir())


def test_predict_takes_one_feature_file_or_images(images, model, tmp_path):
    run("fit", images, "--model", model, "--shots", 1, "--out", tmp_path / "c")
    refused = run("predict", tmp_path / "c", "a.npz", "b.npz", code=1)
    assert "Give one feature file" in refused.stderr
    gone = run("predict", tmp_path / "c", tmp_path / "gone.jpg", code=1)
    assert "no image or folder" in gone.stderr


def test_the_models_noise_is_kept_from_the_user(images, model, tmp_path):
    result = run("fit", images, "--model", model, "--shots", 1, "--out", tmp_path / "c")
    assert "torchvision" not in result.output
    assert "Loading weights" not in result.output


def test_look_shows_splits_and_classes(images, tmp_path):
    lines = run("data", "look", images).stdout.splitlines()
    assert lines[0] == "3 classes. train: 9 images, test: 6 images."
    assert [line.split() for line in lines[1:5]] == [
        ["class", "train", "test", "file"],
        *([f"class_{c}", "3", "2", "0.jpg"] for c in range(3)),
    ]
    assert lines[5] == "Read as folders of splits with class folders."
    assert lines[-1].startswith("Encoding 15 images takes about")
    assert "is a feature file" in run("data", "look", "f.npz", code=1).stderr
    assert "There is no folder" in run("data", "look", tmp_path / "gone", code=1).stderr


def test_a_draw_is_written_and_fitted_from_anywhere(images, model, tmp_path, monkeypatch):
    draw = tmp_path / "draws" / "draw.json"
    drawn = run("data", "draw", images, "--shots", 2, "--seed", 3, "--out", draw)
    assert "6 training images of 3 classes" in drawn.stdout
    assert "There is a file" in run("data", "draw", images, "--out", draw, code=1).stderr
    run("data", "draw", images, "--shots", 2, "--seed", 3, "--out", draw, "--overwrite")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    options = ("--model", model, "--shots", 2, "--no-select", "--set", "alpha=0.7")
    run("fit", draw, *options, "--out", tmp_path / "a")
    run("fit", images, *options, "--seed", 3, "--out", tmp_path / "b")
    tensors = [load_file(tmp_path / x / "classifier.safetensors") for x in "ab"]
    # The same shots, if in another order:
    torch.testing.assert_close(tensors[0]["prototypes"], tensors[1]["prototypes"])
    assert torch.equal(tensors[0]["text"], tensors[1]["text"])
