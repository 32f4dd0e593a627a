"""Classes that are called by WordNet ids have ImageNet's names."""

from pyg_graphadapter.data import read_images
from pyg_graphadapter.data.names_file import IMAGENET_NAMES, imagenet_names
from pyg_graphadapter.data.reading import ReadOptions
from tests.data.pictures import save_pictures


def test_all_classes_of_imagenet(shared_data):
    names = imagenet_names()
    listed = (shared_data / "splits/imagenet_classnames.txt").read_text().splitlines()
    assert sorted(names) == sorted(line.split(" ", 1)[0] for line in listed)
    assert "\nn02127052 lynx\n" in IMAGENET_NAMES.read_text(encoding="utf-8")
    assert all(name == name.strip() and name for name in names.values())


def test_folders_of_wnids(tmp_path):
    save_pictures(tmp_path, [f"{w}/1.png" for w in ("n02127052", "n04356056", "n04355933")])
    images = read_images(tmp_path)
    assert images.splits["train"].features["label"].names == [
        "lynx", "sunglasses (n04355933)", "sunglasses (n04356056)",
    ]  # fmt: skip
    assert "ImageNet's names stand for them, as 'lynx' for n02127052." in images.reading.notes[0]
    named = read_images(tmp_path, ReadOptions(class_names={"n02127052": "cat"}))
    assert named.splits["train"].features["label"].names[0] == "cat"


def test_wnids_of_other_classes_keep_their_ids_and_are_named(tmp_path):
    save_pictures(tmp_path, ["n02127052/1.png", "n00000001/1.png"])
    images = read_images(tmp_path)
    assert images.splits["train"].features["label"].names == ["n00000001", "lynx"]
    assert "'n00000001' are not of ImageNet's 1000 classes" in images.reading.notes[1]


def test_other_labels_are_left_alone(tmp_path):
    save_pictures(tmp_path, ["n02127052/1.png", "dog/1.png"])
    images = read_images(tmp_path)
    assert images.splits["train"].features["label"].names == ["dog", "n02127052"]
