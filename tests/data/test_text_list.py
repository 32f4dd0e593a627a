import pytest

from pyg_graphadapter.data.reading import Reading, ReadOptions
from pyg_graphadapter.data.text_list import is_text_list, read_text_list
from tests.data.pictures import save_pictures

NAMES = ["cat/1.png", "my dog/1.png", "cat/2.png"]


def written(folder, text, name="list.txt"):
    save_pictures(folder, NAMES)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def labels(path, **options):
    reading = Reading()
    rows = read_text_list(path, ReadOptions(**options), reading)
    return [row.label for row in rows], reading


@pytest.mark.parametrize(
    "text",
    [
        "cat/1.png cat\nmy dog/1.png dog\ncat/2.png cat\n",
        "cat/1.png\tcat\nmy dog/1.png\tdog\ncat/2.png\tcat\n",
        "\ufeffcat/1.png  cat\r\n\r\nmy dog/1.png  dog\r\n# more\r\ncat/2.png  cat",
        "cat\\1.png cat\nmy dog\\1.png dog\ncat\\2.png cat\n",
        "cat/1.png,cat\nmy dog/1.png,dog\ncat/2.png,cat\n",
    ],
)
def test_blanks_and_tabs(tmp_path, text):
    path = written(tmp_path, text)
    assert is_text_list(path)
    found, reading = labels(path)
    assert found == ["cat", "dog", "cat"]
    assert reading.layout == "text list of images"


def test_names_with_blanks_stay_whole(tmp_path):
    path = written(tmp_path, "cat/1.png polar bear\nmy dog/1.png sea lion\n")
    assert labels(path)[0] == ["polar bear", "sea lion"]


def test_latin_1(tmp_path):
    path = written(tmp_path, "cat/1.png M\u00f6we\nmy dog/1.png dog\n".encode("cp1252"))
    assert labels(path)[0] == ["M\u00f6we", "dog"]


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("classnames.txt", "cat\ndog\n"),
        ("classes.txt", "0 cat\n1 dog\n"),
    ],
)
def test_numbers_count_lines(tmp_path, file, names):
    path = written(tmp_path, "cat/1.png 0\nmy dog/1.png 1\n")
    found, reading = labels(path)
    assert found == ["0", "1"]
    assert any("--class-names" in note for note in reading.notes)
    (tmp_path / file).write_text(names)
    found, reading = labels(path)
    assert found == ["cat", "dog"]
    assert any(file in note for note in reading.notes)
    assert labels(path, class_names={"0": "lynx"})[0] == ["0", "1"]  # which the caller names


def test_names_that_are_numbered_from_one(tmp_path):
    path = written(tmp_path, "cat/1.png 1\nmy dog/1.png 2\n")
    (tmp_path / "classes.txt").write_text("1 cat\n2 dog\n")
    assert labels(path)[0] == ["cat", "dog"]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    read_labels, reading = labels(path)
    assert read_labels == ["cat", "dog"]
    assert "The first name is that of label 1." in reading.notes
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(
        ValueError, match="the label 1, and the names beside it are numbered from 0"
    ):
        labels(path)


def test_one_hot(tmp_path):
    path = written(tmp_path, "cat/1.png 1 0\nmy dog/1.png 0 1\ncat/2.png 1 0\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert labels(path)[0] == ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat/1.png 1 0\nmy dog/1.png 1 1\n", r"several labels in line 2 \(1 1\)"),
        ("cat/1.png 0 0\nmy dog/1.png 0 1\n", "no label in line 1"),
        ("cat/1.png 3\nmy dog/1.png 4 7\n", r"several labels in line 2 \(4 7\)"),
        ("cat/1.png cat\nwords without an image\n", "in line 2, where a path that ends"),
        ("cat/1.png cat/2.png cat\nmy dog/1.png dog\n", "two paths in line 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        labels(written(tmp_path, text))


def test_lines_without_label_and_images_that_are_not_there_are_counted(tmp_path):
    found, reading = labels(written(tmp_path, "cat/1.png cat\nmy dog/1.png\ncat/9.png cat\n"))
    assert found == ["cat"]
    assert reading.left_out == {
        "lines without a label": ["list.txt, line 2"],
        "images that are listed, but not there": [str(tmp_path / "cat/9.png")],
    }


def test_a_folder_of_lists(tmp_path):
    save_pictures(tmp_path / "images", NAMES)
    (tmp_path / "train.txt").write_text("cat/1.png cat\nmy dog/1.png dog\n")
    (tmp_path / "val_list.txt").write_text("cat/2.png cat\n")
    (tmp_path / "readme.txt").write_text("cat/1.png is a cat\n")
    assert is_text_list(tmp_path)
    rows = read_text_list(tmp_path, ReadOptions(), Reading())
    assert [row.split for row in rows] == ["train", "train", "val"]
    assert not is_text_list(tmp_path / "readme.md")


def test_what_is_no_list(tmp_path):
    for text in ("", "a note\n", "path label\ncat/1.png cat\n"):
        assert not is_text_list(written(tmp_path, text))
    assert not is_text_list(tmp_path)
