import json

import pytest

from pyg_graphadapter.data.reading import Reading, ReadOptions
from pyg_graphadapter.data.zhou import is_zhou, read_zhou
from tests.data.pictures import save_pictures

SPLITS = {
    "train": [["cat/1.png", 0, "cat"], ["dog/1.png", 1, "dog"]],
    "val": [],
    "test": [["cat/2.png", 0, "cat"]],
}
NAMES = ["cat/1.png", "dog/1.png", "cat/2.png"]


def written(folder, content, images="photos"):
    save_pictures(folder / images, NAMES)
    path = folder / "split_zhou_Mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("images", ["photos", ".", "../photos"])
def test_rows(tmp_path, images):
    (tmp_path / "set").mkdir()
    path = written(tmp_path / "set", SPLITS, images)
    for source in (path, path.parent):
        assert is_zhou(source)
        reading = Reading()
        rows = read_zhou(source, ReadOptions(), reading)
        assert [(row.label, row.split) for row in rows] == [
            ("cat", "train"), ("dog", "train"), ("cat", "test"),
        ]  # fmt: skip
        assert rows[0].image.endswith("cat/1.png")
        assert reading.layout.startswith("split file")
        assert not reading.left_out


def test_what_is_not_there_is_counted(tmp_path):
    content = {**SPLITS, "val": [["cat/9.png", 0, "cat"]]}
    reading = Reading()
    assert len(read_zhou(written(tmp_path, content), ReadOptions(), reading)) == 3
    assert [len(names) for names in reading.left_out.values()] == [1]


def test_paths_of_windows(tmp_path):
    path = written(tmp_path, {"train": [["cat\\1.png", 0, "cat"], ["dog\\1.png", 1, "dog"]]})
    rows = read_zhou(path, ReadOptions(), Reading())
    assert rows[0].image == str(tmp_path / "photos/cat/1.png")


def test_splits_may_be_missing(tmp_path):
    path = written(tmp_path, {"train": SPLITS["train"]})
    assert len(read_zhou(path, ReadOptions(), Reading())) == 2


def test_labels_of_one_name_stay_apart(tmp_path):
    content = {"train": [["cat/1.png", 0, "crane"], ["dog/1.png", 1, "crane"]]}
    reading = Reading()
    rows = read_zhou(written(tmp_path, content), ReadOptions(), reading)
    assert [row.label for row in rows] == ["crane (0)", "crane (1)"]
    assert "crane" in " ".join(reading.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [["cat/1.png", 0, "cat"], ["dog/1.png", 0, "dog"]]}, "two names for label 0"),
        ({"train": [["../cat/1.png", 0, "cat"]]}, "leads out of its folder"),
        ({"train": [["cat/1.png", 0]]}, r"'train'\[0\] must be a list of 3"),
        ({"train": []}, "lists no image"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_zhou(written(tmp_path, content), ReadOptions(), Reading())


def test_no_image_is_there(tmp_path):
    path = written(tmp_path, {"train": [["a/b.png", 0, "cat"]]})
    with pytest.raises(FileNotFoundError, match=r"lists 1 images, as 'a/b\.png', of which none"):
        read_zhou(path, ReadOptions(), Reading())


def test_other_json_is_none(tmp_path):
    for i, content in enumerate([[], {"train": {}}, {"images": []}, [["a.png", 0, "cat"]]]):
        path = tmp_path / f"{i}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        assert not is_zhou(path)
    assert not is_zhou(tmp_path)
