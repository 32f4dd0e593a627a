"""What is left out of people's own images, or could be read in two ways, is always said."""

from pathlib import Path

import pandas
import pytest
import torch

from pyg_graphadapter.data import decode_image, read_images
from pyg_graphadapter.data.reading import ReadOptions, counted_reason
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


def labels_in(images):
    names = images.class_names
    return [names[label] for label in images.splits["train"]["label"]]


@pytest.mark.parametrize(("labels", "read"), [
    (["0", "1", "-1"], ["0", "1"]),
    (["-1", "1", "1"], ["-1", "1", "1"]),
    (["cat", "-1", "dog"], ["cat", "-1", "dog"]),
    (["['cat']", "['dog']", "['dog']"], ["cat", "dog", "dog"]),
    (["caf\u00e9", "cafe\u0301", "bar"], ["caf\u00e9", "caf\u00e9", "bar"]),
    ([" cat", "cat ", "dog"], ["cat", "cat", "dog"]),
])  # fmt: skip
def test_labels_of_lists_and_data_frames(tmp_path, photos, labels, read):
    table = pandas.DataFrame({"path": map(str, photos[:3]), "label": labels})
    table.to_csv(tmp_path / "l.csv", index=False)
    images = read_images(tmp_path / "l.csv")
    assert labels_in(images) == read
    if "[" not in labels[0]:
        assert labels_in(read_images(table)) == read
    if len(read) < 3:
        assert list(images.reading.left_out) == ["images without a label"]


def test_minus_one_beside_named_numbers(tmp_path, photos):
    rows = [f"{path} {label}" for path, label in zip(photos, "01-", strict=False)]
    (tmp_path / "l.txt").write_text("\n".join(rows) + "1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert labels_in(read_images(tmp_path / "l.txt")) == ["cat", "dog"]


def test_lists_of_labels_are_refused(tmp_path, photos):
    table = pandas.DataFrame({"path": map(str, photos[:2]), "label": ['["a", "b"]', '["a"]']})
    table.to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(ValueError, match="several labels for the image in line 2"):
        read_images(tmp_path / "l.csv")


def test_images_that_are_listed_twice(tmp_path, photos):
    paths, labels = [*map(str, photos[:2]), str(photos[0])], ["a", "b", "a"]
    table = pandas.DataFrame({"path": paths, "label": labels})
    table.to_csv(tmp_path / "l.csv", index=False)
    for source in (tmp_path / "l.csv", table, list(zip(paths, labels, strict=True))):
        images = read_images(source)
        assert sizes(images) == {"train": 2}
        assert images.reading.left_out == {"rows that name an image again": [str(photos[0])]}


def test_two_columns_of_one_name(photos):
    table = pandas.DataFrame([[str(photos[0]), "a", "b"]], columns=["path", "label", "label"])
    with pytest.raises(ValueError, match="two columns 'label'"):
        read_images(table)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, paths, classes):
        self.paths, self.classes = paths, classes

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return self.paths[i], i % len(self.classes)


def test_joined_data_sets_of_torch_keep_the_names_of_each(photos):
    joined = torch.utils.data.ConcatDataset(
        [Pictures(photos[:2], ["cat", "dog"]), Pictures(photos[2:4], ["dog", "owl"])]
    )
    assert labels_in(read_images(joined)) == ["cat", "dog", "dog", "owl"]
    with pytest.raises(ValueError, match="have different classes"):
        read_images(torch.utils.data.Subset(joined, [0, 2]))
    joined = torch.utils.data.ConcatDataset([Pictures(photos[i : i + 2], [*"ab"]) for i in (0, 2)])
    assert labels_in(read_images(torch.utils.data.Subset(joined, [0, 3]))) == ["a", "b"]


NAMES = ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]


@pytest.mark.parametrize(("file", "text"), [
    ("trainlist01.txt", "a/1.png\nb/3.png\n"),
    ("meta/test.txt", "a/1\nb/3\n"),
    ("train_test_split.txt", "1 0\n2 1\n"),
    ("train.csv", "path,label\na/1.png,a\nb/3.png,b\n"),
    ("splits.csv", "path,label,split\na/1.png,a,train\nb/3.png,b,train\na/2.png,a,test\n"),
    ("partition.json", '{"train": ["a/1.png", "b/3.png"], "test": ["a/2.png"]}'),
])  # fmt: skip
def test_class_folders_beside_a_list_of_splits_are_refused(tmp_path, file, text):
    save_pictures(tmp_path / "images", NAMES)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file} tells splits of images in class folders"):
        read_images(tmp_path)
    images = read_images(tmp_path, ReadOptions(layout="domains"))
    assert sizes(images) == {"train": 4}


def test_class_folders_beside_other_texts(tmp_path):
    save_pictures(tmp_path, NAMES)
    (tmp_path / "readme.txt").write_text("a/1.png and a/2.png are for you to train on.")
    (tmp_path / "testimony.txt").write_text("These are images.")
    assert sizes(read_images(tmp_path)) == {"train": 4}


def test_a_list_for_every_split(tmp_path):
    for folder in ("", "images/"):
        save_pictures(tmp_path / f"set{folder}", [f"{folder}{name}" for name in NAMES])
        for split, i in (("train", 0), ("test", 1)):
            rows = f"{NAMES[i]},a\n{NAMES[i + 2]},b\n"
            (tmp_path / f"set{folder}" / f"{split}_labels.csv").write_text(f"path,label\n{rows}")
        images = read_images(tmp_path / f"set{folder}")
        assert sizes(images) == {"train": 2, "test": 2}
        assert not images.reading.left_out


@pytest.mark.parametrize("text", [
    "file_name,label\n1.png,a\n2.png,b\n", "filename, a, b\n1.png, 1, 0\n2.png, 0, 1\n"
])  # fmt: skip
def test_a_list_in_the_folder_of_every_split(tmp_path, text):
    for split in ("train", "valid"):
        save_pictures(tmp_path, [f"{split}/1.png", f"{split}/2.png"])
        (tmp_path / split / "_classes.csv").write_text(text)
    images = read_images(tmp_path)
    assert sizes(images) == {"train": 2, "val": 2}
    paths = [cell["path"] for cell in images.splits["val"]["image"]]
    assert paths == [str(tmp_path / f"valid/{i}.png") for i in (1, 2)]


@pytest.mark.parametrize("sign", ["-", "_"])
def test_splits_inside_the_names_of_archives(tmp_path, photos, sign):
    for i, split in enumerate(("train", "val")):
        name = f"imagenet{sign}{split}{sign}000000.tar"
        write_tar(tmp_path / "set" / name, photos[2 * i : 2 * i + 2], ["x", "y"])
    assert sizes(read_images(tmp_path / "set")) == {"train": 2, "val": 2}


def test_a_copy_of_a_repository_with_parquet_files(tmp_path, photos):
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("A data set.")
    for i, split in enumerate(("train", "test")):
        paths = [f"../../photos/{path.name}" for path in photos[2 * i : 2 * i + 2]]
        table = pandas.DataFrame({"path": paths, "label": ["a", "b"]})
        table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    images = read_images(folder)
    assert sizes(images) == {"train": 2, "test": 2}
    assert decode_image(images.splits["test"][0]["image"]).size == (8, 6)


@pytest.mark.parametrize(("reason", "one"), [
    ("files that are no images by their names", "1 file that is no image by its name"),
    ("hidden files and folders", "1 hidden file or folder"),
    ("images in folders that are no split", "1 image in folders that are no split"),
    ("rows that name an image again", "1 row that names an image again"),
    ("empty boxes", "1 empty box"),
])  # fmt: skip
def test_counts_agree_in_number(reason, one):
    assert counted_reason(1, reason) == one
    assert counted_reason(2, reason) == f"2 {reason}"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_names_of_classes_from_a_spreadsheet(tmp_path, encoding):
    save_pictures(tmp_path / "photos", ["a/1.png", "b/2.png"])
    names = tmp_path / "names.csv"
    names.write_bytes("folder;name\na;K\u00e4tzchen\nb;H\u00fcndin\n".encode(encoding))
    images = read_images(tmp_path / "photos", ReadOptions(class_names=names))
    assert images.class_names == ("K\u00e4tzchen", "H\u00fcndin")


@pytest.mark.parametrize("text", ["name,label\n0.png,a\n1.png,b\n", "a,0.png\nb,1.png\n"])
def test_columns_of_images_of_any_name_and_place(tmp_path, photos, text):
    (tmp_path / "photos" / "l.csv").write_text(text)
    images = read_images(tmp_path / "photos" / "l.csv")
    assert labels_in(images) == ["a", "b"]


class Frame:
    """What is used of a data frame of polars."""

    def __init__(self, table):
        self.table = table
        self.columns = list(table)

    def get_column(self, name):
        return self.table[name]


def test_data_frames_of_polars(photos):
    table = {
        "path": [*map(str, photos)],
        "label": [*"ababab"],
        "split": ["train"] * 4 + ["test"] * 2,
    }
    images = read_images(Frame(table))
    assert sizes(images) == {"train": 4, "test": 2}
    assert images.reading.layout == "data frame"
