"""The model card, in all cases in which something is not known."""

import re
from dataclasses import replace

import pytest

from pyg_graphadapter import EncodingConfig, FewShotClassifier
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.testing import fake_features, fake_images

DATA = fake_features(num_classes=3, channels=8, shots=4)


def fitted(data=DATA, **options):
    return FewShotClassifier.fit(data, progress=False, **options)


def on_images(tmp_path, **options):
    images = fake_images(tmp_path / "images", splits={"train": 3, "test": 2})
    return fitted(str(images), model="builtin", encoding=EncodingConfig(cache=False), **options)


CASES = {
    "features": lambda _: fitted(measure=True),
    "nothing measured": lambda _: fitted(),
    "one shot": lambda _: fitted(shots=1, measure=True),
    "without texts": lambda _: fitted(replace(DATA, text=None), measure=True),
    "another method": lambda _: fitted(method="tip_adapter", measure=True),
    "transductive": lambda _: fitted(method="transclip", measure=True),
    "zero-shot": lambda _: fitted(shots=0, method="zero_shot"),
    "names": lambda _: FewShotClassifier.from_names(("cat", "dog"), model="builtin"),
    "images": lambda path: on_images(path, measure=True),
    "odd names": lambda _: fitted(replace(DATA, class_names=("a|b", "<i>", "`c`"))),
}


@pytest.mark.filterwarnings("ignore:The class names tell", "ignore:transclip is transductive")
@pytest.mark.parametrize("case", CASES)
def test_the_model_card_has_no_none(case, tmp_path):
    classifier = CASES[case](tmp_path)
    classifier.save(tmp_path / "saved")
    for card in (
        classifier.generate_model_card(),
        FewShotClassifier.load(tmp_path / "saved").generate_model_card(),
    ):
        text = str(card)
        assert not re.search(r"\bNone\b|\bnull\b|\bnan\b", text), text
        assert "('" not in text  # no tuple of Python
        assert "## Training" in text


def test_the_model_card_of_old_formats_has_no_none():
    recorded = {"model": "x", "revision": None, "templates": ("a {}", "{}"), "width": 8}
    training, measured = {"shots": None, "seed": 1}, {"accuracy": None}
    old = model_card(("a", "b"), "gda", training, recorded, measured, Confidence())
    assert not re.search(r"\bNone\b", str(old))
    assert "a {}, {}" in str(old)
    bare = str(model_card(("a", "b"), "gda", {}, {}, {}, Confidence()))
    assert "an encoder that it does not name" in bare
    assert "Nothing was measured." in bare
    unnamed = model_card(("a", "b"), "gda", {}, {"model": None}, {}, Confidence())
    assert not re.search(r"\bNone\b", str(unnamed))


def test_the_model_card_says_how_probabilities_are_calibrated():
    classifier = fitted()
    text = str(classifier.generate_model_card())
    assert f"divided by {classifier.temperature:.4g}, the temperature" in text
    assert "always one of the classes" in text


def test_the_example_is_one_that_runs(tmp_path):
    of_features, of_images = fitted(), FewShotClassifier.from_names(("a", "b"), model="builtin")
    assert "classifier.predict(features)" in str(of_features.generate_model_card())
    assert 'classifier.predict(["image.jpg"])' in str(of_images.generate_model_card())
    of_images.encoding["has_texts"] = False
    assert "classifier.use_encoder(encoder)" in str(of_images.generate_model_card())
