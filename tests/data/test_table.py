import datasets
import pandas
import pytest
from PIL import Image

from pyg_graphadapter.data import load_images, read_images
from pyg_graphadapter.data.names_file import told_apart
from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.data.splits import split_choices
from tests.data.pictures import save_pictures


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
    with pytest.raises(ValueError, match=r"'later' \(1 row\)"):
        load_images(path)


COLUMNS_OF_YES_AND_NO = {"train": "10", "is_train": "10", "Test": "01", "is_test_set": "01"}


@pytest.mark.parametrize("header", COLUMNS_OF_YES_AND_NO)
@pytest.mark.parametrize("words", [("0", "1"), ("False", "True"), ("no", "yes")])
def test_columns_of_yes_and_no(tmp_path, header, words):
    save_pictures(tmp_path, [f"{i}.png" for i in range(4)])
    in_test = [words[int(COLUMNS_OF_YES_AND_NO[header][i // 2])] for i in range(4)]
    paths = [f"{i}.png" for i in range(4)]
    table = {"path": paths, "label": [*"abab"], header: in_test}
    frame = pandas.DataFrame(table)
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame["path"] = [str(tmp_path / path) for path in paths]
    values = {"0": 0, "1": 1, "False": False, "True": True}
    frame[header] = [values.get(word, word) for word in in_test]
    dataset = datasets.Dataset.from_pandas(frame).cast_column("path", datasets.Image())
    for source in (tmp_path / "l.csv", frame, dataset):
        images = read_images(source)
        assert {split: len(part) for split, part in images.splits.items()} == {
            "train": 2, "test": 2,
        }  # fmt: skip


def test_a_class_that_is_called_train(tmp_path):
    save_pictures(tmp_path, ["1.png", "2.png"])
    (tmp_path / "l.csv").write_text("path,car,train\n1.png,1,0\n2.png,0,1\n")
    assert read_images(tmp_path / "l.csv").class_names == ("car", "train")
    frame = pandas.DataFrame(
        {"path": [str(tmp_path / f"{i}.png") for i in (1, 2)], "car": [1, 0], "train": [0, 1]}
    )
    assert read_images(frame).class_names == ("car", "train")


def test_a_column_that_may_tell_splits_is_named(tmp_path):
    save_pictures(tmp_path, ["1.png", "2.png"])
    (tmp_path / "l.csv").write_text("path,label,Partition\n1.png,a,tr\n2.png,b,te\n")
    [note] = read_images(tmp_path / "l.csv").reading.notes
    assert note.startswith("The column 'Partition' (te, tr) is not used: if it tells splits")


def test_several_names_for_a_split():
    assert split_choices({"train": ["a", "b"], "test": "c"}) == {
        "a": "train", "b": "train", "c": "test",
    }  # fmt: skip


def test_names_that_are_told_apart_are_new():
    names = told_apart(["crane", "crane", "crane (1)"], ["1", "2", "3"], Reading())
    assert len(set(names)) == 3
    assert names[2] == "crane (1)"
