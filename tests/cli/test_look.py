"""``data look`` shows what is worth knowing before any work."""

import json
import shutil

import pytest
from PIL import Image

from tests.cli.test_images import run
from tests.data.pictures import picture, save_pictures


@pytest.fixture
def photos(tmp_path):
    """Unbalanced classes with equal images, a long one, a grey one, a broken one and a note."""
    folder = tmp_path / "photos"
    names = [f"train/cat/{i}.png" for i in range(10)]
    save_pictures(folder, [*names, "train/dog/a.png", "train/dog/b.png", "test/dog/c.png"])
    shutil.copy(folder / names[0], folder / "test" / "dog" / "same.png")
    picture(50, (40, 8)).save(folder / "train" / "dog" / "long.png")
    picture(51).convert("L").save(folder / "train" / "cat" / "grey.png")
    (folder / "train" / "cat" / "broken.png").write_bytes(b"no image")
    (folder / "train" / "readme.md").write_text("about")
    save_pictures(folder / "docs", ["figure.png"], (9, 9))
    return folder


def look(*arguments):
    return json.loads(run("data", "look", *arguments, "--json", "--model", "none").stdout)


def test_all_that_is_worth_knowing(photos):
    seen = look(photos)
    assert seen["splits"] == {"train": 15, "test": 2}
    assert [(c["name"], c["counts"]) for c in seen["classes"]] == [
        ("cat", {"train": 12, "test": 0}), ("dog", {"train": 3, "test": 2}),
    ]  # fmt: skip
    assert seen["classes"][0]["example"].endswith("train/cat/0.png")
    assert seen["tiny"] == {"dog": 3}
    [in_two] = seen["in_two_splits"]
    assert "cat/0.png of train = " in in_two
    assert in_two.endswith("dog/same.png of test")
    [two_labels] = seen["with_two_labels"]
    assert two_labels.endswith("is 'cat' and 'dog'")
    assert seen["sizes"]["modes"] == {"RGB": 15, "L": 1}
    assert seen["sizes"]["largest"] == [40, 8]
    assert seen["sizes"]["most_cut"] == 0.8
    assert [name.rpartition("/")[2] for name in seen["sizes"]["unreadable"]] == ["broken.png"]
    assert {reason: len(names) for reason, names in seen["left_out"].items()} == {
        "files that are no images by their names": 1, "images in folders that are no split": 1,
    }  # fmt: skip
    assert any("--at-most" in sentence for sentence in seen["asked_next"])


def test_in_words(photos):
    said = run("data", "look", photos, "--model", "none").stdout
    for words in (
        "Few training images: dog (3).",
        "modes: 15 RGB, 1 L.",
        "cuts off",
        "Equal images in two splits: 1 (",
        "Equal images with two labels: 1 (",
        "Cannot be read: 1 of 17 images",
        "Left out: 1 image in folders that are no split (docs/figure.png).",
    ):
        assert words in said
    assert "Encoding" not in said


def test_time_is_measured(tmp_path):
    save_pictures(tmp_path, ["a/1.png", "b/2.png"])
    seen = json.loads(run("data", "look", tmp_path, "--json").stdout)
    assert seen["encoding"]["model"] == "builtin"
    assert seen["encoding"]["seconds"] > 0
    assert "gone" in run("data", "look", tmp_path, "--model", tmp_path / "gone", code=1).stderr


def test_a_split_without_labels(tmp_path):
    save_pictures(tmp_path, ["train/a/1.png", "train/b/2.png", "test/3.png"])
    assert look(tmp_path)["unlabelled"] == {"test": 1}
    said = run("data", "look", tmp_path, "--model", "none").stdout
    assert "Without labels: 1 image (test)." in said


def test_the_options_of_reading(tmp_path):
    save_pictures(tmp_path, ["x/a/1.png", "x/b/2.png", "y/a/3.png", "y/b/4.png"])
    assert look(tmp_path, "--split", "train=x,test=y")["splits"] == {"train": 2, "test": 2}
    assert look(tmp_path, "--layout", "domains")["splits"] == {"train": 4}
    assert "--layout domains" in run("data", "look", tmp_path, code=1).stderr


def test_turned_images(tmp_path):
    save_pictures(tmp_path, ["a/1.png", "b/2.png"])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0, (8, 6)).save(tmp_path / "a" / "1.png", exif=exif)
    sizes = look(tmp_path)["sizes"]
    assert sizes["median"] == [7, 7]  # one of 6 x 8 and one of 8 x 6
