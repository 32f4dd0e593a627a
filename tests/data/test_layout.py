from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageColumn
from PIL import Image

from pyg_graphadapter.data import load_images, read_images
from pyg_graphadapter.data.reading import ReadOptions


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
    with pytest.warns(UserWarning, match="split 'test' has no labels .* 1 image "):
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


@pytest.mark.parametrize(("train", "test"), [
    ("seg_train", "seg_test"), ("asl_alphabet_train", "asl_alphabet_test"), ("01_train", "02_test"),
    ("TrainPhotos", "TestPhotos"), ("train_224", "test_224"), ("train1", "test1"),
    ("Trainingsdaten", "Testdaten"), ("treino", "teste"), ("训练集", "测试集"),
])  # fmt: skip
@pytest.mark.parametrize("inner", ["", "images/", None])
def test_folders_that_differ_in_a_word_for_a_split(tmp_path, train, test, inner):
    names = [f"{s}/{f'{s}/' if inner is None else inner}{c}/{s}.png"
             for s in (train, test) for c in ("a", "b")]  # fmt: skip
    make(tmp_path, *names, "seg_pred/seg_pred/1.png")
    images = read_images(tmp_path)
    assert sizes(images.splits) == {"train": 2, "test": 2}
    assert images.class_names == ("a", "b")
    assert images.reading.left_out == {
        "images in folders that are no split": ["seg_pred/seg_pred/1.png"]
    }


def test_classes_with_a_word_for_a_split_in_their_names(tmp_path):
    make(tmp_path, "train_station/1.png", "bus_station/2.png", "test_tube/3.png")
    assert read_images(tmp_path).class_names == ("bus_station", "test_tube", "train_station")


def test_two_groups_of_folders_with_words_for_splits_are_refused(tmp_path):
    make(tmp_path, *(f"{s}{d}/{s}{d}.png" for s in ("train", "test") for d in "AB"))
    with pytest.raises(ValueError, match=r"'trainA', .* words for splits .* --split train=NAME"):
        read_images(tmp_path)
    assert len(load_images(tmp_path, layout="classes")["train"].features["label"].names) == 4


def test_data_sets_side_by_side_are_no_classes(tmp_path):
    make(tmp_path, *(f"{d}/{s}/{c}/{d}{s}{c}.png" for d in ("amazon", "dslr")
                     for s in ("train", "test") for c in "ab"))  # fmt: skip
    with pytest.raises(ValueError, match=r"data sets of their own: give one of them, as .*amazon"):
        read_images(tmp_path)
    assert sizes(read_images(tmp_path / "amazon").splits) == {"train": 2, "test": 2}


def test_classes_in_classes_are_told(tmp_path):
    make(tmp_path, *(f"{name}/{name}.png" for name in
                     ("animals/cat", "animals/dog", "plants/oak", "plants/elm")))  # fmt: skip
    images = read_images(tmp_path)
    assert images.class_names == ("animals", "plants")
    [note] = images.reading.notes
    assert note.startswith("'animals' holds 'cat', 'dog'")
    assert "--layout domains" in note
    assert len(read_images(tmp_path, ReadOptions(layout="domains")).class_names) == 4


def test_equal_images_are_named(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png")
    (tmp_path / "test/a/3.png").write_bytes((tmp_path / "train/b/2.png").read_bytes())
    with pytest.warns(UserWarning, match=r"two labels: 1 .* two splits: 1"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        ("labeled/cat", "labeled/dog", "unlabeled"),
        ("Unlabelled", "cat", "dog"),
        ("images", "masks"),
    ],
)
def test_states_and_parts_are_no_classes(tmp_path, folders):
    make(tmp_path, *(f"{folder}/{i}.png" for folder in folders for i in range(2)))
    with pytest.raises(ValueError, match=r"are no names of classes.*--layout classes"):
        read_images(tmp_path)
    images = read_images(tmp_path, ReadOptions(layout="classes"))
    assert len(images.splits["train"]) == 2 * len(folders)
