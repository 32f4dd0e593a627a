from pathlib import Path

import datasets
import numpy as np
import pandas
import pytest
import torch

from pyg_graphadapter.data import ReadOptions, decode_image, load_images, read_images
from tests.data.pictures import picture, save_pictures

NAMES = [f"{i}.png" for i in range(4)]
LABELS = ["cat", "dog", "cat", "dog"]


@pytest.fixture
def paths(tmp_path):
    save_pictures(tmp_path, NAMES)
    return [str(tmp_path / name) for name in NAMES]


def labels_of(images, split="train"):
    names = images.splits[split].features["label"].names
    return [names[y] for y in images.splits[split]["label"]]


def pixels_of(images, split="train"):
    return [np.asarray(decode_image(row["image"])) for row in images.splits[split]]


EXPECTED = [np.asarray(picture(i)) for i in range(4)]


def check(images):
    assert labels_of(images) == LABELS
    for pixels, expected in zip(pixels_of(images), EXPECTED, strict=True):
        np.testing.assert_array_equal(pixels, expected)


def rows(paths):
    return [{"image": path, "label": label} for path, label in zip(paths, LABELS, strict=True)]


def test_any_columns(paths):
    for images in (
        paths,
        [{"bytes": Path(path).read_bytes(), "path": None} for path in paths],
        [Path(path).read_bytes() for path in paths],
        EXPECTED,
    ):
        data = datasets.Dataset.from_dict({"foo": images, "bar": LABELS})
        check(read_images(data))


def test_columns_that_are_named(paths):
    data = datasets.Dataset.from_dict({"a": paths, "b": LABELS, "c": ["x"] * 4})
    with pytest.raises(ValueError, match="--label-column"):
        load_images(data)
    check(read_images(data, ReadOptions("a", "b")))


def test_one_hot_labels(paths):
    data = datasets.Dataset.from_dict({"image": paths, "label": [[1, 0], [0, 1], [1, 0], [0, 1]]})
    assert labels_of(read_images(data)) == ["0", "1", "0", "1"]
    data = datasets.Dataset.from_dict({"image": paths, "label": [[1], [0], [1], [0]]})
    assert labels_of(read_images(data)) == ["1", "0", "1", "0"]
    data = datasets.Dataset.from_dict({"image": paths, "label": [[1, 0], [1, 1], [1, 0], [0, 1]]})
    with pytest.raises(ValueError, match="several labels"):
        load_images(data)


def test_streamed_data_sets(paths):
    plain = datasets.Dataset.from_dict({"image": paths, "label": LABELS})
    typed = plain.cast_column("image", datasets.Image())
    generated = datasets.IterableDataset.from_generator(
        lambda: iter([{"image": picture(i), "label": LABELS[i]} for i in range(4)])
    )
    for data in (plain.to_iterable_dataset(), typed.to_iterable_dataset(), generated):
        images = read_images(data)
        check(images)
        assert images.reading.layout == "streamed data set (images: image, labels: label)"
    splits = datasets.IterableDatasetDict(
        {"train": typed.to_iterable_dataset(), "validation": typed.to_iterable_dataset()}
    )
    assert set(read_images(splits).splits) == {"train", "val"}


def test_a_streamed_data_set_with_a_column_of_splits(paths):
    table = {"image": paths, "label": LABELS, "split": ["train", "train", "test", "test"]}
    images = read_images(datasets.Dataset.from_dict(table).to_iterable_dataset())
    assert labels_of(images) == ["cat", "dog"]
    assert labels_of(images, "test") == ["cat", "dog"]


def test_data_in_memory(paths):
    check(read_images(list(zip(paths, LABELS, strict=True))))
    check(read_images([(picture(i), LABELS[i]) for i in range(4)]))
    check(read_images(pandas.DataFrame({"path": paths, "class": LABELS})))

    class Pictures(torch.utils.data.Dataset):
        classes = ("cat", "dog")

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return picture(i), i % 2

    check(read_images(Pictures()))
    check(read_images(torch.utils.data.Subset(Pictures(), [0, 1, 2, 3])))


def test_a_frame_with_a_column_of_splits(paths):
    frame = pandas.DataFrame({"path": paths, "species": LABELS, "is_test": [0, 0, 1, 1]})
    images = read_images(frame)
    assert labels_of(images, "test") == ["cat", "dog"]
