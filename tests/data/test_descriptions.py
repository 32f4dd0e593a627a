import json
import warnings

import pytest

from pyg_graphadapter.data import Descriptions
from pyg_graphadapter.data.descriptions import descriptions_of

NAMES = ("red_panda", "dog", "Apple Pie")


def test_a_file_is_a_table_of_sentences(tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"dog": ["It  barks.", "A {} has fur."], "cat": "It purrs."}))
    table = Descriptions.read(path)
    assert table.sentences == {"dog": ("It barks.", "A {} has fur."), "cat": ("It purrs.",)}
    assert table.origin == str(path)
    assert table == descriptions_of(path) == Descriptions.of(table.sentences)
    assert descriptions_of(None) is None
    assert descriptions_of(table) is table


@pytest.mark.parametrize("entry", ["red_panda", "Red Panda", "red-panda", "RedPanda", " red panda"])
def test_names_are_matched_whatever_their_case_and_spaces(entry):
    table = Descriptions.of({entry: ["A {} is red."]}).matched(["red_panda"], weight=1)
    assert table.prompts(["red_panda"]) == [["A red panda is red."]]


def test_an_equal_name_comes_before_one_that_is_alike():
    table = Descriptions.of({"dog": ["a"], "Dog": ["b"]}).matched(["dog", "Dog"])
    assert table.prompts(["Dog", "dog"]) == [["b"], ["a"]]


def test_sentences_may_have_the_name():
    table = Descriptions.of({"red_panda": ["{}s eat; a {} sleeps.", "It has {braces}."]})
    assert table.prompts(["red_panda"]) == [
        ["red pandas eat; a red panda sleeps.", "It has {braces}."]
    ]


def test_the_digest_is_of_the_content(tmp_path):
    table = Descriptions.of({"a": ["x", "y"], "b": "z"})
    assert table.digest == Descriptions.of({"b": ["z"], "a": ("x", "y")}, "other").digest
    assert table.digest != Descriptions.of({"a": ["x", "y"], "b": "Z"}).digest
    assert table.digest != Descriptions.of({"a": ["x"], "b": ["y", "z"]}).digest
    more = Descriptions.of({"a": ["x", "y"], "b": "z", "c": "w"})
    with pytest.warns(UserWarning, match="describes 1 class that is not there: 'c'"):
        assert more.matched(["a", "b"]).digest == table.digest


@pytest.mark.parametrize(
    ("table", "weight", "message"),
    [
        ({}, 0.5, "has no sentences"),
        ({"dog": []}, 0.5, "has no sentences"),
        ({"dogg": ["a"], "q": ["a"]}, 0.5, r"none of the 3 classes .*'dogg' \(meant as 'dog'\?\)"),
        ({"Dog": ["a"], "DOG": ["b"]}, 0.5, "describes the class 'dog' twice, as 'Dog' and as 'DO"),
        ({"dog": ["a"], "Dog": ["b"]}, 0.5, "describes the class 'dog' twice, as 'dog' and as 'Do"),
        ({"dog": ["a"]}, 1, "2 of 3 classes have no descriptions .*'red_panda', 'Apple Pie'"),
        ({"dog": ["a"], "apple pie": "b", "red panda": []}, 1, "1 of 3 classes has no .*'red_pan"),
    ],
)
def test_what_is_refused(table, weight, message):
    with pytest.raises(ValueError, match=message) as caught:
        Descriptions.of(table).matched(NAMES, weight)
    assert "\n" not in str(caught.value)


def test_a_name_of_two_classes_is_refused():
    with pytest.raises(ValueError, match="'DOG', which may be 'dog' or 'Dog'"):
        Descriptions.of({"DOG": ["a"]}).matched(["dog", "Dog"])


def test_what_is_said():
    table = Descriptions.of({"dog": ["a"], "red pandas": ["b"], "q": ["c"]}, "d.json")
    with pytest.warns(UserWarning, match=r"d\.json") as caught:
        matched = table.matched(NAMES)
    unknown, lacking = (str(warning.message) for warning in caught)
    assert unknown == (
        "d.json describes 2 classes that are not there: 'red pandas' (meant as 'red_panda'?), 'q'."
    )
    assert lacking == (
        "2 of 3 classes have no descriptions in d.json ('red_panda', 'Apple Pie'): the templates "
        "alone stand for them."
    )
    assert matched.prompts(NAMES) == [[], ["a"], []]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a part of the classes is no news
        assert matched.matched(NAMES[:2]).prompts(NAMES[:2]) == [[], ["a"]]
        assert matched.matched(NAMES[2:]).prompts(NAMES[2:]) == [[]]


def test_a_sentence_twice_in_a_class_counts_once():
    with pytest.warns(UserWarning, match="repeats 2 of its sentences within a class"):
        table = Descriptions.of({"a": ["x", "x", " x "], "b": ["x"]})
    assert table.sentences == {"a": ("x",), "b": ("x",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "must be a table"),
        ('{"a": [1]}', "'a' must be"),
        ('{"a": [""]}', "'a' must be|at least 1"),
        ('{"a": {"b": "c"}}', "'a' must be"),
        ('{"a": ["x"], "a": ["y"]}', "the entry 'a' is there twice"),
        ('{"": ["x"]}', "has a class without a name"),
        ('{"a"', "cannot be read as a file of descriptions"),
        ('{"a": ["\\ud800 x"]}', "a sentence about 'a' that is not Unicode"),
        ('{"a": ["x", " "]}', "has a blank sentence about 'a'"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        Descriptions.read(path)
    assert "d.json" in str(caught.value)


@pytest.mark.parametrize("table", [["a"], {"a": 1}, {"a": [1]}, {1: ["a"]}, {"a": [None]}])
def test_tables_that_are_refused(table):
    with pytest.raises(ValueError, match=r"the table of descriptions"):
        Descriptions.of(table)


def test_real_files(shared_data):
    with pytest.warns(UserWarning, match="repeats 70 of its sentences"):
        table = Descriptions.read(shared_data / "prompts" / "dtd_prompt.json")
    assert len(table.sentences) == 47
    split = json.loads((shared_data / "splits" / "split_zhou_DescribableTextures.json").read_text())
    names = sorted({name for _, _, name in split["test"]})
    assert table.matched(names, weight=1).is_matched
