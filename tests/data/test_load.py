import hashlib
import json
import os

import datasets
import pytest
from PIL import Image

from pyg_graphadapter.data import decode_image, list_images, load_images
from pyg_graphadapter.testing import fake_images


def labels_of(split):
    names = split.features["label"].names
    return [names[y] for y in split["label"]]


def add_image(path, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).digest()
    Image.new("RGB", size, tuple(digest[:3])).save(path)
    return path


def check(images, **counts):
    assert {split: len(part) for split, part in images.items()} == counts
    for part in images.values():
        assert part.column_names == ["image", "label"]
        assert not part.features["image"].decode
        assert decode_image(part[0]["image"]).mode == "RGB"


def test_a_folder_of_class_folders(tmp_path):
    images = load_images(fake_images(tmp_path, num_classes=3, per_class=2))
    check(images, train=6)
    assert images["train"].features["label"].names == ["class_0", "class_1", "class_2"]
    assert labels_of(images["train"]) == ["class_0"] * 2 + ["class_1"] * 2 + ["class_2"] * 2


def test_a_folder_of_splits(tmp_path):
    fake_images(tmp_path, splits={"train": 3, "validation": 1, "Test": 2})
    check(load_images(str(tmp_path)), train=9, val=3, test=6)


def test_classes_that_are_named_as_splits_are_classes_if_asked_for(tmp_path):
    for name in ("train", "bus"):
        add_image(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=r"'train' is named as a split.*--layout classes"):
        load_images(tmp_path)
    images = load_images(tmp_path, layout="classes")
    assert images["train"].features["label"].names == ["bus", "train"]


def test_images_lie_at_any_depth_and_other_files_are_named(tmp_path):
    add_image(tmp_path / "a" / "deep" / "1.PNG")
    add_image(tmp_path / "b" / "2.png")
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "._1.png"):
        (tmp_path / "a" / name).write_text("")
    add_image(tmp_path / "__MACOSX" / "3.png")
    add_image(tmp_path / ".hidden" / "4.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    with pytest.warns(UserWarning, match=r"1 file that is no image .*a/notes\.txt"):
        images = load_images(tmp_path)
    check(images, train=2)


def test_file_names_of_any_bytes(tmp_path):
    add_image(tmp_path / "b" / "1.png")
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / os.fsdecode(b"\xff\xfe.png")
    path.write_bytes(add_image(tmp_path / "2.png").read_bytes())
    (tmp_path / "2.png").unlink()
    add_image(tmp_path / "a" / ("ü" * 60 + ".png"))
    check(load_images(tmp_path), train=3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class folders: put the images"),
        (["cat"], "one class, 'cat': at least two"),
    ],
)
def test_classes_that_cannot_be(tmp_path, names, message):
    for name in names:
        add_image(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)


@pytest.mark.parametrize("names", [["Golden_Retriever", "golden retriever"], ["a-b", "a_b"]])
def test_classes_whose_names_are_alike_are_kept_apart(tmp_path, names):
    for name in names:
        add_image(tmp_path / name / "1.png")
    with pytest.warns(UserWarning, match="are classes of their own"):
        images = load_images(tmp_path)
    assert images["train"].features["label"].names == names


def test_a_class_without_images(tmp_path):
    add_image(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.fits").write_text("")
    with pytest.raises(ValueError, match="b holds no image"):
        load_images(tmp_path)


def test_a_class_of_the_test_split_alone(tmp_path):
    fake_images(tmp_path, splits={"train": 2, "test": 1})
    add_image(tmp_path / "test" / "stranger" / "1.png")
    with pytest.raises(ValueError, match=r"The class 'stranger' of .* is not in"):
        load_images(tmp_path)


def test_a_class_that_has_no_test_image_is_fine(tmp_path):
    fake_images(tmp_path, splits={"train": 2, "test": 1})
    for path in (tmp_path / "test" / "class_1").iterdir():
        path.unlink()
    (tmp_path / "test" / "class_1").rmdir()
    images = load_images(tmp_path)
    assert labels_of(images["test"]) == ["class_0", "class_2"]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_lists(tmp_path, suffix):
    rows = [
        {"file_name": "x/1.png", "class_name": "übel", "split": "train"},
        {"file_name": "2.png", "class_name": "cat", "split": "train"},
        {"file_name": "3.png", "class_name": "cat", "split": "test"},
    ]
    for row in rows:
        add_image(tmp_path / row["file_name"])
    path = tmp_path / f"list.{suffix}"
    if suffix == "csv":
        lines = ["file_name,class_name,split", *(",".join(row.values()) for row in rows)]
        path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    elif suffix == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    images = load_images(path)
    check(images, train=2, test=1)
    assert images["test"].features["label"].names == ["cat", "übel"]
    assert labels_of(images["train"]) == ["übel", "cat"]


def write_list(folder, text):
    for name in ("1.png", "2.png"):
        add_image(folder / name)
    (folder / "list.csv").write_text(text)
    return folder / "list.csv"


def test_whole_numbers_as_labels_are_sorted_as_numbers(tmp_path):
    images = load_images(write_list(tmp_path, "path,label\n1.png,10\n2.png,9\n"))
    assert images["train"].features["label"].names == ["9", "10"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("path,label\n1.png,a\ngone.png,b\n", FileNotFoundError, r"lists the image .*gone\.png"),
        ("path,kind\n1.png,a\n", ValueError, r"no column for the labels \(it has path, kind\)"),
        ("name,label\nfirst,a\n", ValueError, "no column for the images"),
        ("path,label\n1.png,a\n2.png\n", ValueError, "line 3 has 1 cells"),
        ("path,label,label\n1.png,a,b\n", ValueError, "columns have the same name"),
        ("path,label\n1.png,a\n2.png,a\n", ValueError, "one class"),
        ("path,label,split\n1.png,a,x\n2.png,b,x\n", ValueError, "no split train, val or test"),
        ("", ValueError, "cannot be read as a list"),
    ],
)
def test_lists_that_cannot_be(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        load_images(write_list(tmp_path, text))


def test_empty_cells_are_counted_by_the_lines_of_a_spreadsheet(tmp_path):
    path = write_list(tmp_path, "path,label\n1.png,a\n2.png,\n2.png,b\n,b\n")
    with pytest.warns(UserWarning, match=r"row without label \(line 3\).*image \(line 5\)"):
        check(load_images(path), train=2)


def test_columns_can_be_named(tmp_path):
    path = write_list(tmp_path, "where,what\n1.png,a\n2.png,b\n")
    check(load_images(path, image_column="where", label_column="what"), train=2)
    with pytest.raises(ValueError, match="no column 'which'"):
        load_images(path, image_column="where", label_column="which")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match="cannot be read as a list of images: it is empty"):
        load_images(tmp_path / "a.txt")
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(ValueError, match="not a list of images"):
        load_images(tmp_path / "a.docx")


def in_memory(names=("a", "b"), shade=0, **columns):
    pictures = [Image.new("RGB", (3, 3), (shade, 50 * i, 0)) for i in range(4)]
    content = {"image": pictures, "label": [0, 1, 1, 0], **columns}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    )
    return datasets.Dataset.from_dict(content, features=features)


def test_data_sets_in_memory():
    check(load_images(in_memory()), train=4)
    both = datasets.DatasetDict(
        train=in_memory(), valid=in_memory(shade=9), unsupervised=in_memory(shade=99)
    )
    with pytest.warns(UserWarning, match="unsupervised"):
        check(load_images(both), train=4, val=4)


def test_columns_are_found_by_their_type():
    odd = in_memory().rename_columns({"image": "pixels", "label": "what"})
    odd = odd.add_column("note", ["x"] * 4)
    check(load_images(odd), train=4)


def test_splits_with_different_classes():
    parts = datasets.DatasetDict(train=in_memory(), test=in_memory(("a", "c")))
    with pytest.raises(ValueError, match=r"'c' of the test split .* is not in the training split"):
        load_images(parts)


def test_text_labels_of_a_data_set_in_memory():
    part = in_memory().remove_columns("label").add_column("class", ["x", "y", "y", "x"])
    assert load_images(part)["train"].features["label"].names == ["x", "y"]


def test_the_hub_is_asked_for_what_is_not_here(monkeypatch):
    arguments = {}

    def load_dataset(name, **settings):
        arguments.update(name=name, **settings)
        return datasets.DatasetDict(train=in_memory(), test=in_memory(shade=9))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("pyg_graphadapter.data.load.is_reachable", lambda: True)
    check(load_images("me/pets", revision="abc"), train=4, test=4)
    assert arguments == {"name": "me/pets", "revision": "abc", "token": None}


def test_what_is_neither_here_nor_there_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.data.load.is_reachable", lambda: False)
    with pytest.raises(ValueError, match="no folder, list or data set 'no/such'") as error:
        load_images("no/such")
    assert "\n" not in str(error.value)


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder or list of images"):
        load_images(tmp_path / "gone")


def test_the_built_in_images():
    images = load_images("builtin")
    names = images["train"].features["label"].names
    assert len(names) == 15
    for split, fewest in (("train", 16), ("test", 16)):
        counts = [images[split]["label"].count(c) for c in range(15)]
        assert min(counts) >= fewest
    assert decode_image(images["test"][0]["image"]).size == (192, 192)


def test_listing_images(tmp_path):
    fake_images(tmp_path / "a", num_classes=2, per_class=2)
    single = add_image(tmp_path / "b.png")
    paths = list_images([single, str(tmp_path / "a")])
    assert paths[0] == single
    assert len(paths) == 5
    assert paths[1:] == sorted(paths[1:])
    with pytest.raises(FileNotFoundError, match="no image or folder"):
        list_images([tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="There is no image in"):
        list_images([tmp_path / "empty"])
