import os
import tracemalloc
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from pyg_graphadapter.storage import FileKind, Within, parsed, read, read_content
from pyg_graphadapter.storage.read import parse_json_lines


@dataclass(frozen=True)
class Content:
    count: Annotated[int, Within(0)]


KIND = FileKind("test file", Content, "Write it again", ("test/1", "test/2"), (".json",))
ANY = FileKind("table", Any, "Write it again", max_bytes=1000)


def written(folder, content, name="f.json"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_every_released_format_is_read(tmp_path, version):
    path = written(tmp_path, f'{{"format": "test/{version}", "count": 3}}')
    assert read(path, KIND) == Content(3)
    assert read(str(path), KIND) == Content(3)
    assert parsed(read_content(path, KIND), path, KIND) == Content(3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "it has no entry 'format', which says 'test/2'"),
        ('{"count": 3}', "it has no entry 'format'"),
        ('{"format": "test/3", "count": 3}', "its format is 'test/3', and this version knows"),
        ('{"format": ["test/1"], "count": 3}', "its format is"),
        ('{"format": "test/1"}', "the entry 'count'"),
        ('{"format": "test/1", "count": -1}', "'count' must be at least 0"),
        ('{"format": "test/1", "count": 1, "count": 2}', "the entry 'count' is there twice"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"count": ' + "1" * 5000 + "}", "digits"),
        (b"\x80\x04\x95", "not UTF-8"),  # a pickle
    ],
)
def test_whatever_is_wrong_is_one_sentence(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        read(path, KIND)
    said = str(error.value)
    assert said.startswith(f"{path} cannot be read as a test file: ")
    assert said.endswith(". Write it again.")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["gone.json", "f.json/x.json"])
def test_missing_files(tmp_path, name):
    written(tmp_path, "{}")
    with pytest.raises(FileNotFoundError, match="There is no test file"):
        read(tmp_path / name, KIND)


def test_folders_pipes_and_devices_are_not_opened(tmp_path):
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")  # which nobody writes to
    (tmp_path / "device.json").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "device"):
        with pytest.raises(ValueError, match=rf"{name}\.json cannot be read.*and no file"):
            read(tmp_path / f"{name}.json", KIND)


def test_names_that_are_no_paths():
    for name in ("a\0.json", f"{'x' * 300}.json"):
        with pytest.raises(ValueError, match="cannot be read"):
            read(name, KIND)


def test_other_suffixes_and_pickles(tmp_path):
    with pytest.raises(ValueError, match=r"is no test file, whose name ends with \.json"):
        read(written(tmp_path, "", "f.txt"), KIND)
    with pytest.raises(ValueError, match=r"is a pickle, .* save its content as \.json"):
        read(written(tmp_path, "", "f.pkl"), KIND)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "f.json"
    with path.open("wb") as file:
        file.truncate(2**33)  # of which nothing is stored
    tracemalloc.start()
    with pytest.raises(ValueError, match="8,589,934,592 bytes, and at most 1,000 are read"):
        read(path, ANY)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("f.json", "\ufeff[1]", [1]),
        ("f.JSON", "[1]", [1]),
        ("f.jsonl", '{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("f.toml", "a = 1", {"a": 1}),
        ("f.txt", " a b \r\n\nc", ["a b", "c"]),
        ("f.csv", 'a,b\r\n001,"x,y"\n\nNA,\n', [{"a": "001", "b": "x,y"}, {"a": "NA", "b": ""}]),
    ],
)
def test_text_formats(tmp_path, name, content, expected):
    assert read(written(tmp_path, content, name), ANY) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        ("a,a\n1,2\n", "two of its columns have the same name"),
        ("a,b\n1,2\n1\n", "line 3 has 1 cells, and the header has 2"),
        ('a,b\n1,"2\n', "unexpected end"),
    ],
)
def test_tables_that_are_damaged(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, content, "f.csv"), ANY)


def test_only_a_newline_ends_a_line_of_json(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": "x\u2028y\x85z"}\r\n\n{"a": "b"}\n', encoding="utf-8")
    with path.open("rb") as stream:
        assert parse_json_lines(stream, path) == [{"a": "x\u2028y\x85z"}, {"a": "b"}]
