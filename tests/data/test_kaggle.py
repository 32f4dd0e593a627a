import pytest

from pyg_graphadapter.data import read_images
from pyg_graphadapter.data.kaggle import is_kaggle, read_kaggle
from pyg_graphadapter.data.reading import Reading, ReadOptions
from tests.data.pictures import save_pictures

NAMES = ["a1.png", "b2.png", "c3.png"]


def written(folder, text, images="train"):
    save_pictures(folder / images, NAMES)
    (folder / "train.csv").write_text(text, encoding="utf-8")
    return folder


def read_rows(folder, **options):
    reading = Reading()
    return read_kaggle(folder, ReadOptions(**options), reading), reading


@pytest.mark.parametrize("images", ["train", "images", "train_images"])
@pytest.mark.parametrize(
    "text",
    [
        "id,breed\na1,cat\nb2,dog\nc3,cat\n",
        "image_id,label\na1.png,cat\nb2.png,dog\nc3.png,cat\n",
        "number,id,label\n7,a1,cat\n8,b2,dog\n9,c3,cat\n",
        "path,class\ntrain/a1.png,cat\ntrain/b2.png,dog\ntrain/c3.png,cat\n",
        "image_id,cat,dog\na1,1,0\nb2,0,1\nc3,1,0\n",
    ],
)
def test_rows(tmp_path, text, images):
    folder = written(tmp_path, text, images)
    assert is_kaggle(folder)
    rows, reading = read_rows(folder)
    assert [(row.label, row.split) for row in rows] == [
        ("cat", "train"), ("dog", "train"), ("cat", "train"),
    ]  # fmt: skip
    assert rows[0].image == str(folder / images / "a1.png")
    assert "Kaggle" in reading.layout
    assert not reading.left_out


def test_the_table_alone(tmp_path):
    folder = written(tmp_path, "id,breed\na1,cat\nb2,dog\nc3,cat\n")
    assert len(read_images(folder / "train.csv").splits["train"]) == 3
    (folder / "train.csv").write_text("path,breed\ntrain/a1.png,cat\ntrain/b2.png,dog\n")
    assert not is_kaggle(folder / "train.csv")


def test_columns_can_be_named(tmp_path):
    folder = written(tmp_path, "id,kind,label\na1,cat,x\nb2,dog,x\nc3,cat,y\n")
    rows, _ = read_rows(folder, label_column="kind", image_column="id")
    assert [row.label for row in rows] == ["cat", "dog", "cat"]
    with pytest.raises(ValueError, match=r"no column 'gone' .*--label-column"):
        read_rows(folder, label_column="gone")


def test_a_test_set_without_labels_is_counted(tmp_path):
    folder = written(tmp_path, "id,label\na1,cat\nb2,dog\n")
    save_pictures(folder / "test", ["x.png", "y.png"])
    (folder / "test.csv").write_text("id\nx\ny\n")
    (folder / "sample_submission.csv").write_text("id,label\nx,cat\ny,cat\n")
    images = read_images(folder)
    assert {split: len(part) for split, part in images.splits.items()} == {"train": 2}
    assert len(images.unlabelled["test"]) == 2
    reading = images.reading
    assert reading.left_out == {"images that are not in the list": ["train/c3.png"]}
    assert any("sample_submission.csv" in note for note in reading.notes)


def test_rows_without_a_label_are_counted(tmp_path):
    rows, reading = read_rows(written(tmp_path, "id,cat,dog\na1,1,0\nb2,0,0\nc3,0,1\n"))
    assert [row.label for row in rows] == ["cat", "dog"]
    assert reading.left_out == {"rows without a label": ["train.csv, line 3"]}


def test_a_column_of_splits_is_used(tmp_path):
    folder = written(tmp_path, "id;Set;label\na1;Training;cat\nb2;Training;dog\nc3;Test;cat\n")
    images = read_images(folder)
    assert {split: len(part) for split, part in images.splits.items()} == {"train": 2, "test": 1}


def test_a_test_set_with_labels_is_read(tmp_path):
    folder = written(tmp_path, "id,label\na1,cat\nb2,dog\nc3,cat\n")
    save_pictures(folder / "test", ["x.png"])
    (folder / "test.csv").write_text("id,label\nx,cat\n")
    rows, reading = read_rows(folder)
    assert [(row.label, row.split) for row in rows][-1] == ("cat", "test")
    assert not reading.left_out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,cat,dog\na1,1,1\nb2,0,1\n", r"several labels for the image in line 2 \(cat and dog"),
        ("id,width,breed\na1,7,cat\n", "no column for the labels .*--label-column"),
        ("id,label\nzz,cat\n", "no column whose values are images.*--image-column"),
        ("id,label\n", "lists no image"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_rows(written(tmp_path, text))


def test_class_folders_are_none(tmp_path):
    save_pictures(tmp_path / "train", ["cat/1.png"])
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n")
    assert not is_kaggle(tmp_path)
