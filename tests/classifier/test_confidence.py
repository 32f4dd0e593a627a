import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from pyg_graphadapter import FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier.confidence import OLDER, Confidence
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.testing import fake_features

QUICK = TrainConfig(epochs=2)


@pytest.fixture
def saved(tmp_path):
    classifier = FewShotClassifier.fit(fake_features(), 4, config=QUICK, progress=False)
    classifier.confidence = Confidence(
        1.7, "made up", torch.tensor([0.9, 0.9, 0.4]), torch.tensor([True, False, True])
    )
    classifier.save(tmp_path / "c")
    return tmp_path / "c"


def change(folder, of_card=None, of_tensors=None):
    """Changes the card and the tensors of a saved classifier, whose hash stays right."""
    card = json.loads((folder / "classifier.json").read_text())
    tensors = safetensors.torch.load_file(folder / card["weights"])
    if of_tensors is not None:
        of_tensors(tensors)
    content = safetensors.torch.save(tensors)
    (folder / card["weights"]).write_bytes(content)
    card["sha256"] = sha256(content)
    if of_card is not None:
        of_card(card)
    (folder / "classifier.json").write_text(json.dumps(card))


def test_it_is_saved_and_loaded(saved):
    loaded = FewShotClassifier.load(saved)
    assert loaded.temperature == 1.7
    assert loaded.confidence.source == "made up"
    assert loaded.confidence.probability.tolist() == pytest.approx([0.9, 0.9, 0.4])
    assert loaded.confidence.is_right.tolist() == [True, False, True]
    assert json.loads((saved / "classifier.json").read_text())["format"].endswith("/4")


@pytest.mark.parametrize("version", [2, 3])
def test_files_of_earlier_formats_have_temperature_one(saved, version):
    def older(card):
        card["format"] = f"pyg_graphadapter/classifier/{version}"
        del card["confidence"]

    def without(tensors):
        for name in [name for name in tensors if name.startswith(("confidence.", "familiarity."))]:
            del tensors[name]

    change(saved, older, without)
    loaded = FewShotClassifier.load(saved)
    assert (loaded.temperature, loaded.confidence.source) == (1.0, OLDER)
    assert len(loaded.confidence.probability) == 0


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"probability": torch.tensor([0.4, 0.9, 0.9])}, "largest first"),
        ({"probability": torch.tensor([1.9, 0.9, 0.4])}, "between 0 and 1"),
        ({"probability": torch.tensor([0.9])}, r"must be \[M\]"),
        ({"is_right": torch.tensor([1, 0, 1])}, "true or false"),
        ({"other": torch.tensor([1])}, "must be is_right, probability"),
    ],
)
def test_damaged_tensors_are_refused(saved, tensors, message):
    changed = {f"confidence.{name}": value for name, value in tensors.items()}
    change(saved, of_tensors=lambda state: state.update(changed))
    with pytest.raises(ValueError, match=message):
        FewShotClassifier.load(saved)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e9, "warm"])
def test_temperatures_that_cannot_be_are_refused(saved, temperature):
    change(saved, lambda card: card["confidence"].update(temperature=temperature))
    with pytest.raises(ValueError, match=r"'confidence'.temperature must be"):
        FewShotClassifier.load(saved)


def test_tensors_that_do_not_fit():
    with pytest.raises(ValueError, match="largest first"):
        replace(Confidence(), probability=torch.tensor([0.1, 0.2]), is_right=torch.ones(2).bool())
