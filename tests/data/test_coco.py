import io
import json

import numpy as np
import pytest
from PIL import Image

from pyg_graphadapter.data.coco import is_coco, is_detection, read_coco, refuse_detection
from pyg_graphadapter.data.reading import Reading, ReadOptions
from tests.data.pictures import save_pictures

NAMES = ["1.png", "2.png", "3.png", "4.png"]
BOXES = [(1, 7, [0, 0, 4, 3]), (1, 7, [2, 1, 3, 3]), (2, 9, [1, 1, 2, 2]),
         (3, 7, [0, 0, 2, 2]), (3, 9, [-2, 3, 20, 20])]  # fmt: skip
ONE_CATEGORY = [box for box in BOXES if box[0] != 3]


def content(boxes=BOXES, names=NAMES, **sizes):
    return {
        "info": {"year": 2026},
        "images": [{"id": i, "file_name": name, **sizes} for i, name in enumerate(names, 1)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
            for i, (image, category, box) in enumerate(boxes)
        ],
        "categories": [
            {"id": 0, "name": "animals"}, {"id": 7, "name": "cat"}, {"id": 9, "name": "dog"},
        ],
    }  # fmt: skip


def written(folder, file, images, annotations=None):
    save_pictures(folder / images, NAMES)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(annotations or content()), encoding="utf-8")
    return folder


def read_rows(source, **options):
    reading = Reading()
    return read_coco(source, ReadOptions(**options), reading), reading


@pytest.mark.parametrize(
    ("file", "images", "split"),
    [
        ("annotations/instances_train2017.json", "train2017", "train"),
        ("annotations/instances_val.json", "images/val", "val"),
        ("annotations/instances_val.json", "images", "val"),
        ("valid/_annotations.coco.json", "valid", "val"),
        ("annotations.json", "photos", None),
    ],
)
def test_images_of_one_category(tmp_path, file, images, split):
    folder = written(tmp_path, file, images)
    assert is_coco(folder)
    with pytest.raises(ValueError, match=r"1 of 4 images have several labels.*cat, dog.*--crops"):
        read_rows(folder)
    (folder / file).write_text(json.dumps(content(ONE_CATEGORY)))
    rows, reading = read_rows(folder)
    assert rows == [
        (str(folder / images / "1.png"), "cat", split),
        (str(folder / images / "2.png"), "dog", split),
    ]
    assert {reason: len(names) for reason, names in reading.left_out.items()} == {
        "images without a box": 2
    }  # fmt: skip
    assert is_coco(folder / file)
    assert read_rows(folder / file)[0][0].label == "cat"


def test_splits(tmp_path):
    for split in ("train", "valid", "test"):
        written(tmp_path, f"{split}/_annotations.coco.json", split, content(ONE_CATEGORY))
    assert {row.split for row in read_rows(tmp_path)[0]} == {"train", "val", "test"}


def test_crops(tmp_path):
    folder = written(tmp_path, "annotations/instances_train.json", "train")
    rows, reading = read_rows(folder, crops=True)
    assert [row.label for row in rows] == ["cat", "cat", "dog", "cat", "dog"]
    whole = np.asarray(Image.open(folder / "train" / "1.png"))
    crop = np.asarray(Image.open(io.BytesIO(rows[1].image["bytes"])))
    np.testing.assert_array_equal(crop, whole[1:4, 2:5])
    assert Image.open(io.BytesIO(rows[4].image["bytes"])).size == (8, 3)  # of 8 x 6, clipped
    assert rows[1].image["path"].endswith("1.png#1")
    assert list(reading.left_out) == ["images without a box"]
    assert read_rows(folder, crops=True)[0] == rows


def test_boxes_without_an_image_in_them_are_counted(tmp_path):
    boxes = [*BOXES, (4, 7, [20, 20, 3, 3]), (4, 7, [1, 1, 0, 2]), (4, 9, None)]
    annotations = content(boxes)
    annotations["annotations"][0]["iscrowd"] = 1
    folder = written(tmp_path, "annotations/instances_train.json", "train", annotations)
    (folder / "train" / "2.png").write_bytes(b"no image")
    rows, reading = read_rows(folder, crops=True)
    assert len(rows) == 3
    assert {reason: len(names) for reason, names in reading.left_out.items()} == {
        "boxes around a crowd": 1, "images that cannot be decoded": 1, "empty boxes": 3,
    }  # fmt: skip


def test_boxes_of_turned_images(tmp_path):
    folder = written(tmp_path, "annotations.json", ".", content(width=8, height=6))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "1.png") as image:
        image.copy().save(folder / "1.png", exif=exif)
    Image.new("RGB", (5, 5)).save(folder / "2.png")
    rows, reading = read_rows(folder, crops=True)
    assert Image.open(io.BytesIO(rows[0].image["bytes"])).size == (4, 3)
    assert list(reading.left_out) == [
        "images of another size than their annotations say", "images without a box",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (content([(77, 7, [0, 0, 1, 1])]), "a box of the image 77 and the category 7"),
        (content([(1, 5, [0, 0, 1, 1])]), "the category 5"),
        (content(names=["../x.png"]), "leads out of its folder"),
        ({"images": [], "annotations": [], "categories": []}, "lists no image"),
        ({**content(), "categories": [{"id": "7"}]}, r"cannot be read as a file of COCO"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, annotations, message):
    folder = written(tmp_path, "annotations/instances_train.json", "train", annotations)
    with pytest.raises(ValueError, match=message):
        read_rows(folder)


@pytest.mark.parametrize(
    ("file", "form"), [("labels/1.txt", "YOLO"), ("train/labels/1.txt", "YOLO"),
                       ("labels/train/1.txt", "YOLO"), ("Annotations/1.xml", "Pascal VOC")],
)  # fmt: skip
def test_other_boxes_are_refused(tmp_path, file, form):
    assert not is_detection(tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("0 0.5 0.5 0.2 0.2")
    for folder in (tmp_path / "images", tmp_path / "train" / "images"):
        save_pictures(folder, ["1.png"])
    assert is_detection(tmp_path)
    with pytest.raises(ValueError, match=f"boxes in the form of {form}, which is not read"):
        refuse_detection(tmp_path, ReadOptions(), Reading())


def test_other_json_is_none(tmp_path):
    (tmp_path / "a.json").write_text('[{"path": "a.png", "label": "cat"}]')
    assert not is_coco(tmp_path)
    assert not is_coco(tmp_path / "a.json")
    assert not is_coco(tmp_path / "gone.json")
