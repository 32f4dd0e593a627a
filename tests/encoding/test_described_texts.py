"""Text features of classes with descriptions."""

import logging
from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import Encoder, EncodingConfig, FeatureFile, FewShotClassifier, GraphAdapter
from pyg_graphadapter.data import Descriptions
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.model import class_text_features
from pyg_graphadapter.encoding.sources import open_source
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_features, fake_images
from tests.encoding.test_model import ColourModel

TABLE = {"class_0": ["A {} is round.", "It is red."], "class 1": ["It is blue."]}
ALL = {**TABLE, "class_2": ["It is green."]}


class TableModel(ColourModel):
    """Gives texts the features of a table."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.asked = rows, []

    def text_features(self, texts):
        self.asked += texts
        return unit(torch.tensor([self.rows[text] for text in texts]).float())


ROWS = {
    "a cat": [1, 0, 0], "a dog": [0, 0, 1], "cat": [1, 0, 0], "dog": [0, 0, 1],
    "It purrs.": [0, 1, 0], "A cat has fur.": [0, 0, 1], "It barks.": [0, 1, 0],
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 4, "test": 2})


# By hand ##############################################################################


def test_the_mean_of_means():
    """The sentences of the cat have the mean (0, ½, ½), which is (0, √½, √½) of length one. Half
    of it and half of (1, 0, 0) is (½, √½/2, √½/2), and of length one (√½, ½, ½)."""
    table = {"cat": ["It purrs.", "A {} has fur."]}
    with pytest.warns(UserWarning, match=r"1 of 2 classes has no descriptions .*\('dog'\)"):
        x = class_text_features(TableModel(ROWS), ["cat", "dog"], "a {}", table)
    torch.testing.assert_close(x, torch.tensor([[0.5**0.5, 0.5, 0.5], [0.0, 0.0, 1.0]]))


def test_weights():
    table = {"cat": "It purrs.", "dog": "It barks."}
    model = TableModel(ROWS | {"It barks.": [1, 1, 0]})
    names = ["cat", "dog"]
    x = class_text_features(model, names, ("a {}", "{}"), table, 0.25)
    expected = unit(torch.tensor([[0.75, 0.25, 0], [0.25 * 0.5**0.5, 0.25 * 0.5**0.5, 0.75]]))
    torch.testing.assert_close(x, expected)
    model.asked.clear()
    x = class_text_features(model, names, "a {}", table, 1)
    torch.testing.assert_close(x, torch.tensor([[0, 1.0, 0], [0.5**0.5, 0.5**0.5, 0]]))
    assert model.asked == ["It purrs.", "It barks."]  # in place of the templates
    model.asked.clear()
    x = class_text_features(model, names, "a {}", table, 0)
    assert torch.equal(x, class_text_features(model, names, "a {}"))
    assert set(model.asked) == {"a cat", "a dog"}


def test_a_sentence_of_two_classes_is_encoded_once():
    model = TableModel(ROWS)
    table = {"cat": ["It purrs.", "A {} has fur."], "dog": ["It purrs.", "It barks."]}
    class_text_features(model, ["cat", "dog"], "a {}", table)
    assert model.asked.count("It purrs.") == 1


def test_what_is_refused():
    model = TableModel(ROWS | {"zero": [0, 0, 0]})
    for table, weight, message in (
        ({"cat": ["It purrs."]}, 1, "1 of 2 classes has no descriptions"),
        ({"cat": ["It purrs."]}, 1.5, "'descriptions_weight' must be between 0 and 1"),
        ({"cat": ["It purrs."]}, float("nan"), "'descriptions_weight' must be between 0 and 1"),
        (
            {"cat": ["zero"], "dog": ["It barks."]},
            0.5,
            "features that are zero, of the class 'cat'",
        ),
        ({"cat": ["It purrs."], "dog": ["It barks."]}, 1, "'cat' and 'dog' the same text features"),
    ):
        with pytest.raises(ValueError, match=message):
            class_text_features(model, ["cat", "dog"], "a {}", table, weight)
    with pytest.raises(ValueError, match="no text tower"):
        class_text_features(ColourModel(has_texts=False), ["cat"], "a {}", {"cat": "It purrs."})


# With an encoder ######################################################################


def test_the_encoder_takes_them(encoder, tmp_path):
    path = tmp_path / "d.json"
    path.write_text('{"Cat": ["A {} has fur.", "It purrs."], "dog": "It barks."}')
    text = encoder.encode_text(["cat", "dog"], "a {}", path, 1)
    rows = encoder.encode_prompts(["A cat has fur.", "It purrs."])
    torch.testing.assert_close(text[0], unit(rows.mean(dim=0, keepdim=True))[0])
    half = encoder.encode_text(["cat", "dog"], "a {}", path)
    torch.testing.assert_close(half, unit(text + encoder.encode_text(["cat", "dog"], "a {}")))
    weight = torch.ones(24, requires_grad=True)
    (text * weight).sum().backward()  # no tensors of inference mode
    assert weight.grad is not None


def test_cut_sentences_are_counted(encoder, caplog):
    with caplog.at_level(logging.WARNING):
        encoder.encode_text(["cat"], "a {}", {"cat": ["x " * 50, "y " * 60, "It purrs."]}, 1)
    [record] = caplog.records
    assert "is cut after 16, as 1 more of 3 texts are: 'x x" in record.getMessage()


def test_they_are_the_nodes_of_the_text_sub_graph(encoder, folder):
    encoding = EncodingConfig(cache=False, descriptions=ALL, descriptions_weight=0.3)
    source = ImageSource(folder, encoder, encoding, progress=False)
    text = encoder.encode_text(source.class_names, encoding.templates, ALL, 0.3)
    task = source.task(2, 1)
    torch.testing.assert_close(task.text, text)
    torch.testing.assert_close(GraphAdapter.from_task(task).text, unit(text))
    torch.testing.assert_close(source.features().text, text)


def test_halves_of_the_classes_have_theirs(encoder, folder):
    encoding = EncodingConfig(cache=False, descriptions=ALL, descriptions_weight=1)
    base, new = ImageSource(folder, encoder, encoding, progress=False).base_and_new()
    text = encoder.encode_text(["class_0", "class_1", "class_2"], descriptions=ALL,
                               descriptions_weight=1)  # fmt: skip
    torch.testing.assert_close(torch.cat([base.text(), new.text()]), text)


def test_they_are_matched_before_any_image_is_encoded(encoder, folder):
    with pytest.raises(ValueError, match="1 of 3 classes has no descriptions"):
        ImageSource(folder, encoder, EncodingConfig(descriptions=TABLE, descriptions_weight=1))


def test_images_are_cached_whatever_the_descriptions(encoder, folder, tmp_path):
    plain = EncodingConfig(cache_dir=str(tmp_path / "cache"))
    for config, num_encoded in (
        (plain, 18),
        (replace(plain, descriptions=ALL), 0),
        (replace(plain, descriptions=ALL, descriptions_weight=1), 0),
    ):
        source = ImageSource(folder, encoder, config, progress=False)
        source.features()
        assert source.dataset_encoder.summary.num_encoded == num_encoded


def test_a_sentence_is_encoded_once_for_all_runs(tmp_path):
    names, cache = ["cat", "dog"], tmp_path / "cache"
    table = {"cat": ["It purrs.", "A {} has fur."], "dog": "It barks."}
    model = TableModel(ROWS)
    x = class_text_features(model, names, "a {}", table, cache=cache)
    assert model.asked == ["It purrs.", "A cat has fur.", "It barks.", "a cat", "a dog"]
    model.asked.clear()
    assert torch.equal(class_text_features(model, names, "a {}", table, cache=cache), x)
    assert model.asked == ["a cat", "a dog"]  # few, and not kept
    model = TableModel(ROWS | {"It barks.": [1, 0, 1], "It runs.": [1, 1, 0]})
    table["dog"] = ["It barks.", "It runs."]
    class_text_features(model, names, "a {}", table, 1, cache=cache)
    assert model.asked == ["It runs."]
    model.asked.clear()
    model.identity = lambda: {"model": "table", "version": 2}
    class_text_features(model, names, "a {}", table, 1, cache=cache)
    assert len(model.asked) == 4  # another encoder
    assert len(list(cache.glob("*/manifest.json"))) == 2


def test_they_are_part_of_what_features_depend_on():
    plain, table = EncodingConfig(), Descriptions.of(ALL)
    described = EncodingConfig(descriptions=ALL)
    assert described.descriptions == table
    assert described.describe() == {
        **plain.describe(), "descriptions": table.digest, "descriptions_weight": 0.5
    }  # fmt: skip
    assert replace(described, descriptions_weight=0.0).describe() == plain.describe()
    others = [
        EncodingConfig(descriptions=TABLE),
        EncodingConfig(descriptions=ALL, descriptions_weight=1),
    ]
    assert all(other.describe() != described.describe() for other in others)
    with pytest.raises(ValueError, match="'descriptions_weight' must be between 0 and 1"):
        EncodingConfig(descriptions=ALL, descriptions_weight=2)
    with pytest.raises(ValueError, match="must be a table"):
        EncodingConfig(descriptions=["a"])


# In a classifier ######################################################################


def fit(data, **more):
    how = {"shots": 2, "method": "tip_adapter", "select": False, "progress": False}
    return FewShotClassifier.fit(data, **how, **more)


def test_a_classifier_records_them(encoder, folder, tmp_path):
    encoding = EncodingConfig(cache=False, templates=("a {}",))
    classifier = fit(
        folder, model=encoder, encoding=encoding, descriptions=ALL, descriptions_weight=0.7
    )
    text = encoder.encode_text(["class_0", "class_1", "class_2"], "a {}", ALL, 0.7)
    torch.testing.assert_close(classifier.adapter.text, text)
    names = {"class_0": ALL["class_0"], "class_1": ALL["class 1"], "class_2": ALL["class_2"]}
    assert classifier.encoding["descriptions"] == Descriptions.of(names).digest
    assert classifier.encoding["descriptions_weight"] == 0.7
    classifier.save(tmp_path / "saved")
    assert FewShotClassifier.load(tmp_path / "saved").encoding == {
        **classifier.encoding, "templates": ["a {}"]
    }  # fmt: skip
    card = str(classifier.generate_model_card())
    assert Descriptions.of(names).digest in card
    assert "| descriptions\\_weight | 0.7 |" in card or "| descriptions_weight | 0.7 |" in card


def test_a_zero_shot_classifier_of_names(encoder):
    encoding = EncodingConfig(descriptions={"cat": "It purrs.", "dog": "It barks."})
    classifier = FewShotClassifier.from_names(["Cat", "dog"], model=encoder, encoding=encoding)
    text = encoder.encode_text(["Cat", "dog"], descriptions=encoding.descriptions)
    torch.testing.assert_close(classifier.adapter.text, text)
    assert classifier.encoding["descriptions_weight"] == 0.5


@pytest.mark.filterwarnings("ignore:2 of 8 images are among:UserWarning")
def test_classes_that_are_added_have_none(encoder, folder, tmp_path):
    encoding = EncodingConfig(cache=False)
    classifier = fit(
        folder, model=encoder, encoding=encoding, descriptions=ALL, descriptions_weight=1.0,
        keep_shots=True,
    )  # fmt: skip
    with (
        pytest.warns(UserWarning, match="There is no shot of 'dog'"),
        pytest.warns(UserWarning, match="has none of 'dog': the templates alone stand for them"),
    ):
        more = classifier.add_classes(["dog"], progress=False)
    torch.testing.assert_close(more.adapter.text[:3], classifier.adapter.text)
    torch.testing.assert_close(more.adapter.text[3:], encoder.encode_text(["dog"]))
    others = fake_images(tmp_path / "more", num_classes=4, splits={"train": 2})
    with pytest.warns(UserWarning, match="has none of 'class_3': the templates alone"):
        more = classifier.add_classes(others, encoding=encoding, progress=False)
    assert more.class_names == ("class_0", "class_1", "class_2", "class_3")
    torch.testing.assert_close(more.adapter.text[:3], classifier.adapter.text)
    with pytest.raises(ValueError, match="described by the argument 'descriptions'"):
        classifier.add_shots(others, encoding=EncodingConfig(descriptions=ALL))


@pytest.mark.filterwarnings("ignore:There is no shot of|2 of 8 images are among:UserWarning")
def test_classes_that_are_added_are_described(encoder, folder, tmp_path):
    encoding = EncodingConfig(cache=False)
    classifier = fit(
        folder, model=encoder, encoding=encoding, descriptions=ALL, descriptions_weight=0.7,
        keep_shots=True,
    )  # fmt: skip
    table = {**ALL, "Class 3": ["It is round and grey."]}  # also of the old classes
    text = encoder.encode_text(["class_3"], descriptions={"class_3": table["Class 3"]},
                               descriptions_weight=0.7)  # fmt: skip
    images = fake_images(tmp_path / "more", num_classes=4, splits={"train": 2})
    for more in (
        classifier.add_classes(["class_3"], descriptions=table, progress=False),
        classifier.add_classes(images, descriptions=table, encoding=encoding, progress=False),
    ):
        torch.testing.assert_close(more.adapter.text[3:], text)
        torch.testing.assert_close(more.adapter.text[:3], classifier.adapter.text)
        assert more.encoding["descriptions"] != classifier.encoding["descriptions"]
        assert more.encoding["descriptions_weight"] == 0.7
        more.save(tmp_path / f"saved-{len(more.shots)}")
    renamed = classifier.rename_classes({"class_2": "class_3"}, encode=True, descriptions=table,
                                        progress=False)  # fmt: skip
    torch.testing.assert_close(renamed.adapter.text[2:], text)
    for refused, message in (
        (lambda: classifier.add_shots(folder, descriptions=ALL), "no new class to describe"),
        (lambda: classifier.add_classes(["x"], descriptions=ALL), "describes none of the 1 class"),
        (lambda: classifier.add_classes(["x"], text=text, descriptions=ALL), "not both"),
        (lambda: classifier.rename_classes({"class_2": "x"}, descriptions=ALL), "encode=True"),
    ):
        with pytest.raises(ValueError, match=message):
            refused()


def test_a_classifier_without_descriptions_gets_described_classes(encoder, folder):
    classifier = FewShotClassifier.from_names(["cat", "dog"], model=encoder)
    table = {"bird": ["It flies."]}
    more = classifier.add_classes(["bird"], descriptions=table)
    torch.testing.assert_close(
        more.adapter.text[2:], encoder.encode_text(["bird"], descriptions=table)
    )
    assert more.encoding["descriptions"] == Descriptions.of(table).digest
    assert more.encoding["descriptions_weight"] == 0.5


# Of features ##########################################################################


def test_features_without_texts_get_described_ones(encoder, tmp_path):
    file = replace(fake_features(num_classes=3, channels=24), text=None,
                   class_names=("class_0", "class_1", "class_2"))  # fmt: skip
    file.save(tmp_path / "f.npz")
    source = open_source(tmp_path / "f.npz", encoder, EncodingConfig(descriptions=ALL))
    expected = encoder.encode_text(file.class_names, descriptions=ALL)
    torch.testing.assert_close(source.text(), expected)


def test_they_are_refused_where_no_text_is_encoded(encoder, tmp_path):
    file = fake_features(num_classes=3, channels=24)
    file.save(tmp_path / "f.npz")
    described = EncodingConfig(descriptions=ALL)
    for refused in (
        lambda: open_source(tmp_path / "f.npz", encoder, described),
        lambda: open_source(tmp_path / "f.npz", None, described),
        lambda: fit(file, descriptions=ALL),
        lambda: fit(tmp_path / "f.npz", encoding=described),
        lambda: fit(FeatureFile.load(tmp_path / "f.npz"), encoding=described),
    ):
        with pytest.raises(ValueError, match="no text of its classes is encoded, so descriptions"):
            refused()
    with pytest.raises(ValueError, match="'descriptions_weight' is the weight of descriptions"):
        fit(file, descriptions_weight=0.5)
