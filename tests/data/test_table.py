import pytest
from PIL import Image

from pyg_graphadapter.data import load_images
from pyg_graphadapter.data.names_file import told_apart
from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.data.splits import split_choices


def write(folder, content, encoding="utf-8"):
    for i in range(1, 5):
        path = folder / "x" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 3), (50 * i, 0, 0)).save(path)
    (folder / "list.csv").write_bytes(content.encode(encoding))
    return folder / "list.csv"


def names_of(images):
    return images["train"].features["label"].names


@pytest.mark.parametrize(
    "header", ["File Name;Class;Set", "Datei;Klasse;Aufteilung", "fichier;étiquette;jeu",
               "archivo;clase;Partición", "Path;Label;Partition"]
)  # fmt: skip
def test_headers_of_four_languages(tmp_path, header):
    rows = "x/1.png;a;Train\nx/2.png;b;train\nx/3.png;a;TEST\n"
    images = load_images(write(tmp_path, f"\ufeff{header}\n{rows}"))
    assert {split: len(part) for split, part in images.items()} == {"train": 2, "test": 1}


def test_labels_stay_as_they_are_written(tmp_path):
    rows = "x/1.png\t0010\nx/2.png\t001\nx/3.png\t01\nx/4.png\tNone\n"
    assert set(names_of(load_images(write(tmp_path, "path\tlabel\n" + rows)))) == {
        "0010", "001", "01", "None",
    }  # fmt: skip


def test_paths_with_backslashes_and_windows_1252(tmp_path):
    path = write(tmp_path, "path,label\nx\\1.png,Käfer\nx\\2.png,b\n", "cp1252")
    with pytest.warns(UserWarning, match="read as Windows-1252"):
        assert set(names_of(load_images(path))) == {"Käfer", "b"}


def test_unknown_splits_are_refused_with_their_count(tmp_path):
    path = write(tmp_path, "path,label,split\nx/1.png,a,train\nx/2.png,b,later\n")
    with pytest.raises(ValueError, match=r"'later' \(1 rows\)"):
        load_images(path)


def test_several_names_for_a_split():
    assert split_choices({"train": ["a", "b"], "test": "c"}) == {
        "a": "train", "b": "train", "c": "test",
    }  # fmt: skip


def test_names_that_are_told_apart_are_new():
    names = told_apart(["crane", "crane", "crane (1)"], ["1", "2", "3"], Reading())
    assert len(set(names)) == 3
    assert names[2] == "crane (1)"
