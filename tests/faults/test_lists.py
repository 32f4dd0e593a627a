"""Lists, tables and annotations that lie, repeat themselves, or lead elsewhere."""

import json
import os
import time
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest

from pyg_graphadapter.classifier.prediction_file import write_predictions
from pyg_graphadapter.classifier.predictions import Prediction
from pyg_graphadapter.data import load_images
from pyg_graphadapter.data.coco import ROBOFLOW
from pyg_graphadapter.data.descriptions import Descriptions
from pyg_graphadapter.testing import fake_images
from tests.faults.command import said_by

pytestmark = pytest.mark.timeout(60)
MANY = 100_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture
def folder(tmp_path):
    """A folder with the images 0.jpg to 3.jpg."""
    (tmp_path / "flat").mkdir()
    for i, path in enumerate(sorted(fake_images(tmp_path / "photos").rglob("*.jpg"))[:4]):
        path.rename(tmp_path / "flat" / f"{i}.jpg")
    return tmp_path / "flat"


def look(path, *words, code=0):
    return said_by("data", "look", path, "--model", "none", *words, code=code)


def write_coco(folder, bbox=(0, 0, 8, 8), names=None, images=None, number=2):
    content = {
        "images": images or [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)],
        "annotations": [{"image_id": i, "category_id": i % 2, "bbox": bbox} for i in range(4)],
        "categories": [{"id": i, "name": (names or "ab")[i % 2]} for i in range(number)],
    }
    (folder / ROBOFLOW).write_text(json.dumps(content))


def write_zhou(folder, rows):
    (folder / "split_zhou_a.json").write_text(json.dumps({"train": rows}))


def write_list(folder, names):
    (folder / "list.txt").write_text("".join(f"{n} {i % 2}\n" for i, n in enumerate(names)))


def write_csv(folder, names):
    lines = [f"{n},{i % 2}\n" for i, n in enumerate(names)]
    (folder / "list.csv").write_text("".join(["path,label\n", *lines]))


@pytest.mark.parametrize(
    ("bbox", "count"),
    [
        ((1e308, 0, 1e308, 8), "Left out: 4 empty boxes"),
        ((-1e308, -1e308, 1e308, 1e308), "Left out: 4 empty boxes"),
        ((2, 2, 1e308, 1e308), "train: 4 images"),
        ((5, 5, -8, -8), "Left out: 4 empty boxes"),
    ],
)
def test_boxes_of_any_size(folder, bbox, count):
    write_coco(folder, bbox)
    assert count in look(folder, "--crops", code=int("empty" in count))


def test_annotations_that_name_a_file_twice(folder):
    images = [{"id": i, "file_name": f"{min(i, 2)}.jpg"} for i in range(4)]
    write_coco(folder, images=images)
    assert "1 of 3 images have several labels" in look(folder, code=1)
    write_coco(folder, images=images[:2] + [{"id": i, "file_name": f"{i - 2}.jpg"} for i in (2, 3)])
    assert "train: 2 images" in look(folder)


@pytest.mark.parametrize("name", ["\ud800.jpg", "a\0.jpg", "a" * 5000 + ".jpg", ""])
def test_names_that_no_file_has(folder, name):
    names = ["0.jpg", "1.jpg", "2.jpg", "3.jpg", name]
    write_coco(folder, images=[{"id": i, "file_name": n} for i, n in enumerate(names)])
    assert "Left out: 1 image" in look(folder)
    (folder / ROBOFLOW).unlink()
    (folder / "list.json").write_text(
        json.dumps([{"path": n, "label": "ab"[i % 2]} for i, n in enumerate(names)])
    )
    assert "Left out: 1 row" in look(folder / "list.json")


def test_pipes_with_the_names_of_lists(folder):
    write_coco(folder)
    for name in ("split_a.json", "train.csv", "train.txt", "classes.txt", "a.parquet"):
        os.mkfifo(folder / name)
    assert "train: 4 images" in look(folder)
    (folder / ROBOFLOW).unlink()
    os.mkfifo(folder / ROBOFLOW)
    assert "has no class folders" in look(folder, code=1)


@pytest.mark.parametrize("write", ["coco", "zhou", "text", "csv"])
@pytest.mark.parametrize("kind", ["file", "folder", "root"])
def test_links_out_of_the_folder_of_a_list(folder, write, kind):
    secret = folder.parent / "secret"
    secret.mkdir()
    names = ["0.jpg", "1.jpg", "2.jpg", "out/3.jpg"]
    (folder / "3.jpg").rename(secret / "3.jpg")
    if kind == "root":
        for name in names[:3]:
            (folder / name).rename(secret / name)
        (folder / "images").symlink_to(secret)
        prefix = "images/" if write == "csv" else ""
        names = [f"{prefix}{i}.jpg" for i in range(4)]
    elif kind == "folder":
        (folder / "out").symlink_to(secret)
    else:
        names[3] = "3.jpg"
        (folder / "3.jpg").symlink_to(secret / "3.jpg")
    if write == "coco":
        write_coco(folder, images=[{"id": i, "file_name": n} for i, n in enumerate(names)])
    elif write == "zhou":
        write_zhou(folder, [[n, i % 2, "ab"[i % 2]] for i, n in enumerate(names)])
    else:
        (write_list if write == "text" else write_csv)(folder, names)
    listing = next(path for path in folder.iterdir() if path.suffix in (".json", ".txt", ".csv"))
    if kind == "root":
        assert "--follow-links" in look(listing, code=1)
    else:
        said = look(listing)
        assert "train: 3 images" in said
        assert "1 link that leads out of the folder" in said
    assert "train: 4 images" in look(listing, "--follow-links")


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret.jpg", "{outside}"])
def test_names_of_images_beside_train_csv_lead_nowhere_else(folder, name):
    outside = next((folder.parent / "photos").rglob("*.jpg")).rename(folder.parent / "secret.jpg")
    (folder.parent / "k").mkdir()
    folder = folder.rename(folder.parent / "k" / "train").parent
    rows = [f"{i},{'ab'[i % 2]}\n" for i in range(4)]
    (folder / "train.csv").write_text("".join(["id,label\n", *rows, name.format(outside=outside)])
                                      + ",a\n")  # fmt: skip
    assert "train.csv has the path" in look(folder, code=1)


@pytest.mark.filterwarnings("ignore")
def test_labels_of_thousands_of_digits_are_names(folder):
    digits = "9" * 5000
    (folder / "list.txt").write_text("".join(f"{i}.jpg {'1' if i % 2 else digits}\n"
                                             for i in range(4)))  # fmt: skip
    (folder / "classes.txt").write_text("x\ny\n")
    assert digits in load_images(folder / "list.txt")["train"].features["label"].names
    (folder / "classes.txt").write_text(f"{digits} x\n1 y\n")
    look(folder / "list.txt")
    (folder / "classes.txt").unlink()
    names = folder / "names.txt"
    names.write_text("x\ny\n")
    look(folder / "list.txt", "--class-names", names)


@pytest.mark.parametrize("write", ["coco", "zhou", "text", "names", "pairs"])
def test_many_names_take_no_time(folder, write):
    many = [f"class {i}" for i in range(MANY)]
    listing, words, code = folder / "list.txt", (), 0
    write_list(folder, [f"{i}.jpg" for i in range(4)])
    if write == "coco":
        write_coco(folder, number=MANY)
        listing = folder / ROBOFLOW
    elif write == "zhou":
        write_zhou(folder, [[f"{i % 4}.jpg", i, name] for i, name in enumerate(many[:20_000])])
        listing = folder / "split_zhou_a.json"
    elif write == "text":
        (folder / "classes.txt").write_text("\n".join(many))
    else:
        pairs = [f"{i} {name}" for i, name in enumerate(many)]
        (folder / "names.txt").write_text("\n".join(pairs if write == "pairs" else many))
        words = ("--class-names", folder / "names.txt")
    begin = time.perf_counter()
    look(listing, *words, code=code)
    assert time.perf_counter() - begin < 30


def test_many_classes_by_names_alone_are_checked_in_no_time(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join([*map(str, range(MANY)), "7"]))
    begin = time.perf_counter()
    said = said_by("fit", tmp_path / "names.txt", "--shots", 0, "--model", "builtin",
                   "--out", tmp_path / "c", code=1)  # fmt: skip
    assert "Two classes have the name '7'" in said
    assert time.perf_counter() - begin < 20


@pytest.mark.filterwarnings("ignore")
def test_long_names_are_compared_in_no_time():
    names = ["a" * 100_000 + "b", "ab" * 50_000]
    table = Descriptions.of({"aab" * 30_000: ["x"], "a" * 100_000: ["y"], "c": ["z"]})
    begin = time.perf_counter()
    table.matched(["c", *names], weight=0.5)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"0": ["n1", "x"], "1": ["n1", "y"]}', "a label is there twice"),
        ("a.txt", "a x\na y\nb z\n", "has 3 names for 2 classes"),
        ("a.csv", "a,x\na,y\nb,z\n", "the label 'a' is there twice"),
    ],
)
def test_labels_with_two_names(folder, name, content, words):
    for i in range(4):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        (folder / f"{i}.jpg").rename(folder / "ab"[i % 2] / f"{i}.jpg")
    Path(folder.parent / name).write_text(content)
    assert words in look(folder, "--class-names", folder.parent / name, code=1)


def test_predictions_of_files_with_names_that_are_not_utf_8(tmp_path):
    rows = [Prediction(0, os.fsdecode(b"a\xff.jpg"), (), "a\udcff is damaged")]
    for suffix in ("csv", "json", "parquet"):
        write_predictions(rows, tmp_path / f"p.{suffix}")
    [row] = pyarrow.parquet.read_table(tmp_path / "p.parquet").to_pylist()
    assert row["file"] == "a\\udcff.jpg"
    assert row["reason"] == "a\\udcff is damaged"
