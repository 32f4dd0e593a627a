from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageColumn
from PIL import Image

from pyg_graphadapter.data import load_images, read_images


def make(folder, *paths):
    for i, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (20 * i, 0, 0)).save(folder / path)
    return folder


def sizes(images):
    return {split: len(part) for split, part in images.items()}


def test_splits_in_any_case_beside_another_folder(tmp_path):
    make(tmp_path, "TRAIN/a/1.png", "TRAIN/b/2.png", "Testing/a/3.png", "docs/4.png")
    with pytest.warns(UserWarning, match=r"folders that are no split \(docs/4\.png"):
        images = load_images(tmp_path)
    assert sizes(images) == {"train": 2, "test": 1}
    assert images["train"].features["label"].names == ["a", "b"]


def test_a_flat_test_folder_has_no_labels(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png")
    with pytest.warns(UserWarning, match="split 'test' has no labels .* 1 images"):
        assert sizes(load_images(tmp_path)) == {"train": 2}
    images = read_images(tmp_path)
    assert [Path(row["path"]).name for row in images.unlabelled["test"]["image"]] == ["3.png"]
    assert not images.reading.left_out


@pytest.mark.parametrize("labels", [[-1, -1], [None, None]])
def test_a_split_of_a_data_set_without_labels(labels, tmp_path):
    make(tmp_path, "1.png", "2.png")
    features = Features({"image": ImageColumn(), "label": ClassLabel(names=["a", "b"])})
    rows = {"image": [str(tmp_path / "1.png"), str(tmp_path / "2.png")]}
    data = DatasetDict(
        {
            "train": Dataset.from_dict({**rows, "label": [0, 1]}, features=features),
            "test": Dataset.from_dict({**rows, "label": labels}, features=features),
        }
    )
    images = read_images(data)
    assert sizes(images.splits) == {"train": 2}
    assert sizes(images.unlabelled) == {"test": 2}
    assert any("'test' has no labels" in note for note in images.reading.notes)


def test_folders_of_domains_are_refused_with_the_option(tmp_path):
    make(tmp_path, *(f"{d}/{c}/{d}{c}.png" for d in ("art", "photo") for c in ("a", "b")))
    with pytest.raises(ValueError, match="--layout"):
        load_images(tmp_path)
    images = load_images(tmp_path, layout="domains")
    assert images["train"].features["label"].names == ["a", "b"]


def test_splits_in_class_folders(tmp_path):
    make(tmp_path, *(f"{c}/{s}/{c}{s}.png" for c in ("a", "b") for s in ("train", "test")))
    assert sizes(load_images(tmp_path)) == {"train": 2, "test": 2}


def test_equal_images_are_named(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png")
    (tmp_path / "test/a/3.png").write_bytes((tmp_path / "train/b/2.png").read_bytes())
    with pytest.warns(UserWarning, match=r"two labels: 1 .* two splits: 1"):
        load_images(tmp_path)
