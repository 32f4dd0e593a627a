"""What is said of an image is what the method computed, and what its features say."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pyg_graphadapter import (
    FeatureFile,
    Features,
    FewShotClassifier,
    GraphAdapter,
    TrainConfig,
    register_adapter,
)
from pyg_graphadapter.adapters import ADAPTERS, LinearAdapter, ZeroShot, registry
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, TRAINING, WHOLE
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.reasons import LeadPart, Reason, Similar
from pyg_graphadapter.classifier.reference import MEAN
from pyg_graphadapter.testing import fake_features

METHODS = [method for method in ADAPTERS if method != "coop"]
NAMES = ("house", "barn", "<b>", "Müßiggang\n", "犬")


@pytest.fixture(scope="module")
def data():
    features = fake_features(num_classes=5, channels=16, shots=4, text_noise=2.0, image_noise=2.0)
    return replace(features, class_names=NAMES)


def fit(data, method, temperature=2.5, **options):
    config = TrainConfig(epochs=5, lr=0.01, device="cpu")
    classifier = FewShotClassifier.fit(
        data, 4, 1, method, config, select=False, progress=False, **options
    )
    classifier.confidence = Confidence(temperature=temperature)
    return classifier


@pytest.mark.parametrize("method", METHODS)
def test_numbers_are_those_of_the_method(data, method):
    classifier = fit(data, method)
    x = 3 * data.test.mean_views()
    with torch.no_grad():
        logits = classifier.adapter(x)
    probability = (logits / 2.5).softmax(dim=1)
    best = logits.topk(2, dim=1).indices
    cosine = F.normalize(x, dim=1) @ data.text.t()
    reasons = classifier.reasons(x)
    assert len(reasons) == len(x)
    for i, reason in enumerate(reasons):
        a, b = best[i].tolist()
        assert (reason.class_name, reason.rival) == (NAMES[a], NAMES[b])
        assert reason.probability == pytest.approx(float(probability[i, a]), abs=1e-5)
        assert reason.rival_probability == pytest.approx(float(probability[i, b]), abs=1e-5)
        expected = float(logits[i, a] - logits[i, b]) / 2.5
        assert reason.lead == pytest.approx(expected, abs=1e-3)
        assert sum(part.amount for part in reason.parts) == pytest.approx(expected, abs=1e-3)
        assert reason.name == Similar(NAME, NAMES[int(cosine[i].argmax())], reason.name.similarity)
        assert reason.name.similarity == pytest.approx(float(cosine[i].max()), abs=1e-5)
        assert reason.is_transductive == (method == "transclip")
        assert ("given together" in reason.words) == (method == "transclip")
        assert reason.as_dict()["words"] == str(reason)
        assert "\n" not in reason.words


def test_the_name_part_is_the_zero_shot_logit(data):
    x = data.test.mean_views()[:9]
    logits = 100 * F.normalize(x, dim=1) @ data.text.t()
    for reason, row in zip(fit(data, "tip_adapter", 1.0).reasons(x), logits, strict=True):
        a, b = (NAMES.index(name) for name in (reason.class_name, reason.rival))
        [name] = (part.amount for part in reason.parts if part.kind == NAME)
        assert name == pytest.approx(float(row[a] - row[b]), abs=1e-3)


def test_against_a_class(data):
    classifier = fit(data, "graph_adapter")
    x = data.test.mean_views()
    logits = classifier.adapter(x).detach()
    for i, reason in enumerate(classifier.reasons(x, "barn")):
        if reason.class_name == "barn":
            assert reason.rival == NAMES[int(logits[i].topk(2).indices[1])]
        else:
            assert reason.rival == "barn"
            lead = float(logits[i].max() - logits[i, 1]) / 2.5
            assert reason.lead == pytest.approx(lead, abs=1e-3)
    with pytest.raises(ValueError, match="Did you mean 'house'"):
        classifier.reasons(x, "hous")


@pytest.mark.parametrize("method", ["graph_adapter", "tip_adapter", "gda", "proker"])
def test_without_texts_nothing_is_said_of_names(data, method):
    classifier = fit(replace(data, text=None), method)
    x = data.test.mean_views()[:20]
    logits = classifier.adapter(x).detach().topk(2, dim=1).values / 2.5
    for reason, (first, second) in zip(classifier.reasons(x), logits.tolist(), strict=True):
        assert reason.name is None
        assert {part.kind for part in reason.parts} <= {EXAMPLES, TRAINING}
        assert reason.lead == pytest.approx(first - second, abs=1e-3)
        assert " names" not in reason.words
    said = str(classifier.explain(class_name="barn"))
    assert " name" not in said.replace("'", "")


def test_one_and_two_classes():
    for count in (1, 2):
        data = fake_features(num_classes=count, channels=8, shots=1)
        classifier = FewShotClassifier.fit(data, 1, method="zero_shot", progress=False)
        [reason] = classifier.reasons(data.test.mean_views()[0])
        assert (reason.rival is None) == (count == 1)
        assert ("there is no other class" in reason.words) == (count == 1)
        assert classifier.explain(class_name="class 0").words
    assert classifier.reasons(torch.empty(0, 8)) == []


@pytest.mark.parametrize("method", ["zero_shot", "graph_adapter"])
def test_of_equal_classes_the_one_that_is_predicted_is_explained(method):
    text = torch.eye(3)[[0, 1, 1, 1, 1, 1, 1, 1, 1, 2]]
    x = torch.tensor([[0.1, 1.0, 0.2], [0.0, 1.0, 0.0]])
    data = FeatureFile(text, tuple("abcdefghij"), Features(text[:, None], torch.arange(10)))
    classifier = FewShotClassifier.fit(data, method=method, progress=False, calibrate=False)
    names = classifier.predict(x)
    assert names[0] in "bcdefghi"
    assert [reason.class_name for reason in classifier.reasons(x)] == names
    for i, name in enumerate(names):
        assert classifier.explain(x[i]).class_name == name
        assert classifier.reasons(x[i])[0].rival in set("bcdefghi") - {name}


def test_two_classes_of_the_same_text(data):
    text = data.text[[0, 0, 1]]
    classifier = FewShotClassifier(ZeroShot(text), ("a", "b", "c"), "zero_shot")
    [reason] = classifier.reasons(data.text[0])
    assert "nothing tells the two apart" in reason.words


def test_half_precision(data):
    classifier = fit(data, "graph_adapter")
    x = data.test.mean_views()[:4].half()
    for half, full in zip(classifier.reasons(x), classifier.reasons(x.float()), strict=True):
        assert half.words == full.words


# What images are compared with ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["zero_shot", "tip_adapter"])
def test_the_most_similar_example(data, method):
    classifier = fit(data, method, keep_shots=method == "zero_shot")
    shots = classifier.shots or None
    keys = data.train.mean_views() if shots is None else shots.mean_views()
    y = data.train.y if shots is None else shots.y
    if shots is None:
        keys, y = classifier.adapter.keys, classifier.adapter.labels
    x = data.test.mean_views()
    cosine, index = (F.normalize(x, dim=1) @ F.normalize(keys, dim=1).t()).max(dim=1)
    for i, reason in enumerate(classifier.reasons(x)):
        assert reason.example.class_name == NAMES[int(y[index[i]])]
        assert reason.example.similarity == pytest.approx(float(cosine[i]), abs=1e-5)
        assert "It looks most like one of your examples of" in reason.words


def test_texts_that_stand_in_for_shots_are_no_examples(data):
    adapter = GraphAdapter(data.text, data.text.flip(0)).extend(data.text[:2] + 0.5)
    names = tuple(f"class {c}" for c in range(7))
    classifier = FewShotClassifier(adapter, names, "graph_adapter")
    [reason] = classifier.reasons(data.text[0] + 0.5)
    assert reason.example.kind == MEAN
    assert reason.name.class_name == "class 5"
    assert reason.example.class_name not in ("class 5", "class 6")
    # In the middle, the flipped texts are the same texts:
    assert reason.example.class_name != "class 2"


# Words ------------------------------------------------------------------------------------------


def reason_of(*amounts, **fields):
    kinds = (NAME, EXAMPLES, TRAINING)
    parts = tuple(LeadPart(*pair) for pair in zip(kinds, amounts, strict=False))
    defaults = {
        "class_name": "house",
        "probability": 0.83,
        "rival": "barn",
        "rival_probability": 0.09,
        "lead": sum(amounts),
        "parts": tuple(sorted(parts, key=lambda part: -abs(part.amount))),
        "example": None,
        "name": None,
    }
    return Reason(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ((0.1, 2.0), "your examples speak for it; the class names add little"),
        ((1.0, 2.0), "your examples and the class names speak for it"),
        (
            (-1.0, 2.0, 0.01),
            "your examples speak for it, though the class names speak for 'barn'",
        ),
        ((2.0, 1.0, -1.0), "the class names speak for it; your examples add little"),
        ((-1e-7, 0.0), "nothing tells the two apart"),
        ((0.0, 0.0), "nothing tells the two apart"),
    ],
)
def test_words_by_hand(amounts, words):
    reason = reason_of(*amounts)
    assert reason.words == f"'house' (probability 83 %), before 'barn' (9 %): {words}."


def test_further_words_by_hand():
    name, example = Similar(NAME, "barn", 0.3), Similar(MEAN, "house", 0.5)
    said = reason_of(1.0, name=name, example=example, parts=(LeadPart(WHOLE, 1.0),)).words
    assert said.endswith(
        "It looks most like your examples of 'house' (similarity 0.50 to their mean). By names "
        "alone it would be 'barn'; this method does not tell names and examples apart."
    )
    said = reason_of(1.0, name=name, parts=(LeadPart(TRAINING, 1.0),)).words
    assert said.endswith("By names alone it would be 'barn'; this method does not use names.")
    assert "(probability over 99 %)" in reason_of(1.0, probability=0.9999).words
    assert "'barn' (below 1 %)" in reason_of(1.0, rival_probability=0.0001).words


# Explanations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_explained(data, method):
    classifier = fit(data, method)
    x = data.test.mean_views()[3]
    image = classifier.explain(x, "barn")
    assert str(image) == classifier.reasons(x, "barn")[0].words
    assert image.total == pytest.approx(float(classifier.adapter(x[None])[0, 1].detach()), abs=2e-3)
    assert sum(part.amount for part in image.contributions) == pytest.approx(image.total, abs=1e-3)
    predicted = classifier.explain(x)
    assert predicted.class_name == classifier.reasons(x)[0].class_name
    of_class = classifier.explain(class_name="barn")
    assert "The name 'barn' is most similar to the name" in of_class.words
    assert of_class.table()
    total = sum(part.amount for part in of_class.contributions)
    assert total == pytest.approx(of_class.total, abs=1e-5)


@pytest.mark.parametrize("method", ["task_res", "clap", "gda", "lp_pp", "cross_modal"])
def test_how_far_a_class_was_turned_from_its_name(data, method):
    classifier = fit(data, method)
    w = F.normalize(classifier.adapter.class_weights().detach()[1].double(), dim=0)
    t = F.normalize(data.text[1].double(), dim=0)
    sine = float((w - (w @ t) * t).norm())
    assert classifier.explain(class_name="barn").total == pytest.approx(sine, abs=1e-5)


def test_what_a_class_is_most_similar_to(data):
    classifier = fit(data, "graph_adapter")
    said = classifier.explain(class_name="house").words
    for pattern, x in {
        r"name 'house' is most similar to the name '(.*?)' \(similarity (-?[\d.]+)\)": data.text,
        r"mean of your examples of 'house' .*? to that of '(.*?)' \(similarity (-?[\d.]+)\)": (
            classifier.adapter.prototypes
        ),
        r"looks for in one of '(.*?)' \(similarity (-?[\d.]+)\)": (
            classifier.adapter.class_weights().detach()
        ),
    }.items():
        name, similarity = re.search(pattern, said).groups()
        cosine = F.normalize(x, dim=1) @ F.normalize(x[0], dim=0)
        assert name == NAMES[1 + int(cosine[1:].argmax())].replace("\n", r"\n")
        assert float(similarity) == pytest.approx(float(cosine[1:].max()), abs=0.006)


def test_a_method_from_outside(data, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    class Halved(LinearAdapter):
        is_trained = False

        def class_weights(self):
            return self.text / 2

    class Wrong(ZeroShot):
        def weight_parts(self):
            return {NAME: 2 * self.text}

    register_adapter("halved_text", Halved)
    [reason] = fit(data, "halved_text").reasons(data.test.mean_views()[0])
    assert [part.kind for part in reason.parts] == [WHOLE]
    assert "the method as a whole speaks for it" in reason.words
    Wrong.__module__ = "outside"
    register_adapter("wrong_parts", Wrong)
    with pytest.raises(ValueError, match="of Wrong do not add up to its logits"):
        fit(data, "wrong_parts")
