"""What is left out of people's own images, or could be read in two ways, is always said."""

from pathlib import Path

import pandas
import pytest

from pyg_graphadapter.data import read_images
from tests.data.pictures import save_pictures
from tests.data.test_archives import write_tar


def sizes(images):
    return {split: len(part) for split, part in images.splits.items()}


@pytest.fixture
def photos(tmp_path):
    names = [f"{i}.png" for i in range(6)]
    save_pictures(tmp_path / "photos", names)
    return [tmp_path / "photos" / name for name in names]


def test_archives_beside_class_folders_are_refused(tmp_path, photos):
    folder = tmp_path / "set"
    save_pictures(folder, ["a/1.png", "b/2.png"])
    write_tar(folder / "backup.tar", photos[:2], ["x", "y"])
    with pytest.raises(ValueError, match=r"holds archives \(backup\.tar\) and folders of images"):
        read_images(folder)


def test_archives_of_other_names_are_named(tmp_path, photos):
    folder = tmp_path / "set"
    write_tar(folder / "train-0.tar", photos[:2], ["x", "y"])
    write_tar(folder / "holdout.tar", photos[2:4], ["x", "y"])
    write_tar(folder / "extra" / "0.tar", photos[4:], ["x", "y"])
    save_pictures(folder, ["loose.png"])
    images = read_images(folder)
    assert sizes(images) == {"train": 4}
    assert list(images.reading.left_out) == [
        "images beside the archives", "archives in folders that are no split",
    ]  # fmt: skip
    assert images.reading.notes == ["holdout.tar is named as no split, and is read as train."]


def test_folders_of_archives_have_the_usual_names_of_splits(tmp_path, photos):
    write_tar(tmp_path / "set" / "Training" / "0.tar", photos[:2], ["x", "y"])
    write_tar(tmp_path / "set" / "testing" / "0.tar", photos[2:4], ["x", "y"])
    assert sizes(read_images(tmp_path / "set")) == {"train": 2, "test": 2}


@pytest.mark.parametrize("label", ["", None])
def test_a_split_of_a_list_without_labels(tmp_path, photos, label):
    table = pandas.DataFrame(
        {"path": map(str, photos), "label": [*"abab", label, label],
         "split": [*["train"] * 4, "test", "test"]}
    )  # fmt: skip
    table.to_csv(tmp_path / "l.csv", index=False)
    for source in (tmp_path / "l.csv", table):
        images = read_images(source)
        assert sizes(images) == {"train": 4}
        assert len(images.unlabelled["test"]) == 2
        assert not images.reading.left_out
        assert any("'test' has no labels" in note for note in images.reading.notes)


def test_columns_with_names_of_splits_that_are_not_used_are_named(tmp_path, photos):
    table = pandas.DataFrame(
        {"path": map(str, photos), "label": [*"ababab"], "group": ["train"] * 5 + ["holdout"]}
    )
    table.to_csv(tmp_path / "l.csv", index=False)
    for source in (tmp_path / "l.csv", table):
        notes = " ".join(read_images(source).reading.notes)
        assert "'group' has names of splits (train), but is not used" in notes


def test_a_folder_around_all(tmp_path):
    save_pictures(tmp_path / "a", ["images/x/1.png", "images/y/2.png"])
    save_pictures(tmp_path / "b", ["set/train/x/1.png", "set/train/y/2.png", "set/test/x/3.png"])
    images = read_images(tmp_path / "a")
    assert images.class_names == ("x", "y")
    assert images.reading.notes == [f"The classes lie in {tmp_path / 'a' / 'images'}."]
    assert sizes(read_images(tmp_path / "b")) == {"train": 2, "test": 1}
    save_pictures(tmp_path / "c", ["x/1.png", "x/2.png"])
    with pytest.raises(ValueError, match=r"one class, 'x': .* If the classes lie in it, give"):
        read_images(tmp_path / "c")


def test_a_flat_folder_with_one_list(tmp_path):
    save_pictures(tmp_path, ["1.png", "2.png", "3.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    images = read_images(tmp_path)
    assert sizes(images) == {"train": 2}
    assert images.reading.left_out == {"images that are not in the list": ["3.png"]}
    (tmp_path / "other.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    with pytest.raises(ValueError, match=r"Or give the list of images, if .*metadata\.csv is one"):
        read_images(tmp_path)


@pytest.mark.parametrize(("file", "text"), [
    ("train.txt", "1.png a\n2.png b\n"), ("train.csv", "file,label\n1.png,a\n2.png,b\n"),
    ("split_x.json", '{"train": [["1.png", 0, "a"], ["2.png", 1, "b"]]}'),
    ("labels.txt", "1.png a\n2.png b\n"), ("labels.csv", "file,label\n1.png,a\n2.png,b\n"),
])  # fmt: skip
def test_images_of_one_name_in_several_folders(tmp_path, file, text):
    save_pictures(tmp_path, [f"{split}/{i}.png" for split in ("test", "train") for i in (1, 2)])
    (tmp_path / file).write_text(text)
    if file.startswith("train"):
        images = read_images(tmp_path / file)
        folders = {Path(cell["path"]).parent.name for cell in images.splits["train"]["image"]}
        assert folders == {"train"}
    else:
        with pytest.raises(ValueError, match=r"in \S*/test and in \S*/train: write the folder"):
            read_images(tmp_path / file)


def test_a_folder_of_images_is_preferred(tmp_path):
    save_pictures(tmp_path, [f"{top}/{i}.png" for top in ("depth", "images") for i in (1, 2)])
    (tmp_path / "labels.csv").write_text("file,label\n1.png,a\n2.png,b\n")
    images = read_images(tmp_path / "labels.csv")
    assert images.reading.notes == [f"The paths are relative to {tmp_path / 'images'}."]
