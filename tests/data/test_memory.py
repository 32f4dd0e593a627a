import io
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from pyg_graphadapter.data import decode_image
from pyg_graphadapter.data.memory import rows_of
from pyg_graphadapter.data.reading import Reading, ReadOptions
from tests.data.pictures import picture, save_pictures

NAMES = ["cat/1.png", "dog/1.png", "cat/2.png"]


class Pictures(torch.utils.data.Dataset):
    """A data set of torch as torchvision has them."""

    classes = ("cat", "dog")

    def __init__(self, form):
        self.form = form

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return self.form(picture(i)), i % 2


@pytest.fixture
def paths(tmp_path):
    save_pictures(tmp_path, NAMES)
    return [str(tmp_path / name) for name in NAMES]


def read_rows(source, **options):
    reading = Reading()
    return rows_of(source, ReadOptions(**options), reading), reading


def labels(source, **options):
    return [row.label for row in read_rows(source, **options)[0]]


FORMS = {
    "PIL": lambda image: image,
    "array": np.asarray,
    "tensor": lambda image: torch.from_numpy(np.array(image)),
    "channels first": lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1),
    "bytes": lambda image: image_bytes(image),
}


def image_bytes(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_a_data_set_of_torch(form):
    rows, reading = read_rows(Pictures(FORMS[form]))
    assert [row.label for row in rows] == ["cat", "dog", "cat"]
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(np.asarray(decode_image(row.image)), np.asarray(picture(i)))
    assert reading.layout == "data set of (image, label)"


def test_parts_of_a_data_set_have_its_names():
    part = torch.utils.data.Subset(torch.utils.data.Subset(Pictures(FORMS["PIL"]), [0, 1]), [1])
    assert labels(part) == ["dog"]


def test_an_iterable_data_set_is_read_through():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield picture(0), "cat"
            yield picture(1), torch.tensor(4)

    assert labels(Stream()) == ["cat", "4"]


def test_grey_images():
    for image in (np.zeros((5, 4), np.uint8), np.zeros((1, 5, 4), np.uint8),
                  np.zeros((5, 4, 1), np.uint8)):  # fmt: skip
        [row] = read_rows([(image, "cat")])[0]
        assert decode_image(row.image).size == (4, 5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.zeros(3, 6, 8),
            r"row 0 must be .* uint8 \(got Tensor of float32\).*without the tra",
        ),
        (np.zeros((3, 6, 3), np.uint8), "of which the first or the last number can be"),
        (np.zeros((6, 8, 4), np.uint8), r"must have the shape \[H, W, 3\]"),
        (object(), "must be a path, bytes, a PIL image or pixels"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        read_rows([(image, "cat")])


def test_pairs_of_paths(paths):
    rows, reading = read_rows([(path, Path(path).parent.name) for path in [*paths, "x/gone.png"]])
    assert [row.label for row in rows] == ["cat", "dog", "cat"]
    assert reading.left_out == {"images that are listed, but not there": ["x/gone.png"]}
    assert read_rows({"train": [(paths[0], 1)], "test": [(paths[1], 0)]})[0] == [
        (paths[0], "1", "train"), (paths[1], "0", "test"),
    ]  # fmt: skip


def test_what_is_broken_is_counted(tmp_path):
    image = Image.open(io.BytesIO(image_bytes(picture(0, (64, 64)))[:3000]))
    _, reading = read_rows([(image, "cat"), (picture(1), None), (picture(1), -1)])
    assert {reason: len(names) for reason, names in reading.left_out.items()} == {
        "images that cannot be decoded": 1, "images without a label": 2,
    }  # fmt: skip


def test_one_hot_labels():
    pairs = [
        (picture(0), [0, 1, 0]),
        (picture(1), np.array([1, 0, 0])),
        (picture(2), [True, False]),
    ]
    assert labels(pairs) == ["1", "0", "0"]
    for label, message in (
        ([0, 1, 1], "Row 0 has several labels"),
        ([0, 0], "Row 0 has no label"),
        ([0.5, 0.5], "zeros with one 1"),
        (0.5, "a name or a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            labels([(picture(0), label)])


def test_what_is_no_source_is_refused():
    for source in ("text", 7):
        with pytest.raises(ValueError, match="a data frame or pairs"):
            rows_of(source, ReadOptions(), Reading())
    with pytest.raises(ValueError, match=r"pairs .*tuple of 3 in row 0"):
        labels([(picture(0), "cat", 1)])
    third = type("Third", (Pictures,), {"__getitem__": lambda self, i: (picture(i), 2)})
    with pytest.raises(ValueError, match="is 2, and there are 2 names"):
        labels(third(None))


# Data frames ##########################################################################


@pytest.mark.parametrize(("image", "label"), [("path", "label"), ("x", "y"), ("Image", "Category")])
def test_columns_of_a_frame(paths, image, label):
    frame = pandas.DataFrame({"n": [1.5, 2.5, 3.5], image: paths, label: ["cat", "dog", "None"]})
    if image == "x":
        frame = frame.drop(columns="n")
    assert labels(frame) == ["cat", "dog", "None"]
    assert labels(frame, image_column=image, label_column=label) == ["cat", "dog", "None"]


def test_images_in_a_frame(paths):
    frame = pandas.DataFrame({"picture": [picture(0), picture(1)], "kind": [0, 1]})
    assert labels(frame) == ["0", "1"]
    frame = pandas.DataFrame({"picture": [{"bytes": b"x", "path": None}], "kind": ["a"]})
    assert read_rows(frame)[0] == [({"bytes": b"x", "path": None}, "a", None)]


def test_empty_cells_of_a_frame_are_counted(paths):
    frame = pandas.DataFrame(
        {"path": [*paths, None, paths[0]], "label": [1, None, 2, 1, 1],
         "split": ["train", "train", "test", "train", None]}
    )  # fmt: skip
    rows, reading = read_rows(frame)
    assert rows == [(paths[0], "1", "train"), (paths[2], "2", "test")]
    assert {reason: len(names) for reason, names in reading.left_out.items()} == {
        "images without a label": 1, "rows without an image": 1, "rows without a split": 1,
    }  # fmt: skip


def test_one_hot_columns_of_a_frame(paths):
    frame = pandas.DataFrame({"path": paths, "cat": [1, 0, 1], "dog": [0, 1, 0]})
    assert labels(frame) == ["cat", "dog", "cat"]
    with pytest.raises(ValueError, match="Row 1 has several labels"):
        labels(pandas.DataFrame({"path": paths, "cat": [1, 1, 1], "dog": [0, 1, 0]}))


def test_columns_that_cannot_be_told(paths):
    frame = pandas.DataFrame({"path": paths, "a": ["x"] * 3, "b": ["y"] * 3})
    with pytest.raises(ValueError, match=r"no column for the labels .*label_column"):
        labels(frame)
    with pytest.raises(ValueError, match=r"no column 'gone' .*image_column"):
        labels(frame, image_column="gone")
    with pytest.raises(ValueError, match="no column for the images"):
        labels(pandas.DataFrame({"a": [1], "label": [2]}))
