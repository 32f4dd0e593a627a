import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from pyg_graphadapter import FewShotClassifier, TrainConfig, evaluate
from pyg_graphadapter.classifier import calibration
from pyg_graphadapter.classifier.confidence import (
    DIVERGED,
    NO_SHOTS,
    NOTHING_HELD_OUT,
    OLDER,
    SWITCHED_OFF,
    Confidence,
)
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.engine import TrainingDivergedError
from pyg_graphadapter.training.evaluation import Calibration
from pyg_graphadapter.training.folds import even_folds

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


def test_before_and_after_calibration():
    data = fake_features(num_classes=4, shots=8)
    classifier = FewShotClassifier.fit(data, 8, method="linear_probe", progress=False)
    assert abs(classifier.temperature - 1) > 0.05
    evaluation = classifier.evaluate(data.test)
    x, y = data.test.mean_views(), data.test.y.numpy()
    for measured, is_calibrated in ((evaluation, False), (evaluation.calibrated, True)):
        probability = classifier.predict_proba(x, calibrated=is_calibrated).double().numpy()
        expected = Calibration.of(probability, y)
        for name in ("ece", "nll", "brier"):
            assert getattr(measured, name) == pytest.approx(getattr(expected, name))
    assert evaluation.calibrated.nll < evaluation.nll
    assert evaluate(classifier.adapter, data.test).calibrated is None
    assert "calibrated" not in evaluation.measures()
    assert f"({evaluation.ece:.1f} % before calibration)" in str(evaluation)


@pytest.mark.parametrize("method", ["graph_adapter", "zero_shot", "transclip", "gda"])
def test_no_label_changes(method):
    data = fake_features(num_classes=6, shots=8)
    classifier = FewShotClassifier.fit(data, 8, method=method, config=QUICK, progress=False)
    assert classifier.temperature != 1
    assert "fitted to 48 shots, held out in 4 folds" in classifier.confidence.source
    x = data.test.mean_views()
    plain, probability = (classifier.predict_proba(x, calibrated=c) for c in (False, True))
    assert torch.equal(plain.argmax(dim=1), probability.argmax(dim=1))
    assert not torch.allclose(plain, probability, atol=1e-4)
    logits = classifier.adapter(torch.nn.functional.normalize(x, dim=1)).detach()
    expected = (logits / classifier.temperature).softmax(dim=1)
    torch.testing.assert_close(probability, expected, atol=1e-4, rtol=1e-3)
    uncalibrated = FewShotClassifier.fit(
        data, 8, method=method, config=QUICK, calibrate=False, progress=False
    )
    assert (uncalibrated.temperature, uncalibrated.confidence.source) == (1.0, SWITCHED_OFF)
    torch.testing.assert_close(uncalibrated.predict_proba(x), plain)
    assert classifier.predict(x) == uncalibrated.predict(x)


def test_a_cache_is_calibrated_on_even_folds():
    """With 8 shots in 5 folds, a flat cache would miss the classes that are held out the most."""
    data = replace(fake_features(num_classes=20, shots=8, image_noise=0.5), text=None)
    classifier = FewShotClassifier.fit(data, method="tip_adapter", beta=0.1, progress=False)
    assert classifier.confidence.source.endswith("held out in 4 folds")
    accuracy = classifier.evaluate(data).accuracy
    assert 100 * classifier.confidence.is_right.double().mean() > accuracy - 10
    assert even_folds([8, 16, 1, 0], 5) == 4
    assert even_folds([7, 7], 5) == 5
    assert even_folds([14, 14], 5) == 5
    assert even_folds([], 5) == 5


def test_with_one_shot_it_is_that_of_zero_shot():
    classifier = FewShotClassifier.fit(fake_features(), 1, config=QUICK, progress=False)
    assert (classifier.temperature, classifier.confidence.source) == (1.0, NOTHING_HELD_OUT)
    none = FewShotClassifier.fit(fake_features(), 0, progress=False)
    assert (none.temperature, none.confidence.source) == (1.0, NO_SHOTS)


def test_a_part_that_diverges(monkeypatch):
    def diverges(*_, **__):
        raise TrainingDivergedError("The loss is not finite.")

    monkeypatch.setattr("pyg_graphadapter.classifier.calibration.held_out_logits", diverges)
    with pytest.warns(UserWarning, match="could not be calibrated: The loss"):
        classifier = FewShotClassifier.fit(fake_features(), 4, config=QUICK, progress=False)
    assert (classifier.temperature, classifier.confidence.source) == (1.0, DIVERGED)


@pytest.mark.filterwarnings("ignore:There is no shot")
def test_growth():
    data = fake_features(num_classes=4, shots=8)
    few = FewShotClassifier.fit(data, 4, config=QUICK, keep_shots=True, progress=False)
    assert len(few.confidence.probability) == 16
    renamed = few.rename_classes({"class 0": "dog"})
    assert renamed.confidence is few.confidence
    more = few.add_shots(data.test, progress=False)
    assert len(more.confidence.probability) == len(more.shots) > 16
    assert more.temperature != few.temperature
    named = few.add_classes(["cat"], text=data.text[:1] + data.text[1:2])
    assert named.temperature == few.temperature
    assert len(named.confidence.probability) == 0
    assert named.confidence.source.endswith("before 1 class came in by name")
    with pytest.raises(ValueError, match="1 class came in by name"):
        named.threshold(0.1)
    off = FewShotClassifier.fit(
        data, 4, config=QUICK, keep_shots=True, calibrate=False, progress=False
    )
    assert off.add_shots(data.test, progress=False).confidence.source == SWITCHED_OFF
    assert off.add_shots(data.test, calibrate=True, progress=False).temperature != 1


def test_selected_settings_are_those_of_the_folds(monkeypatch):
    settings_of_folds = []
    original = calibration.held_out_logits

    def held_out_logits(method, task, config, settings, **how):
        settings_of_folds.append((settings, how["select"]))
        return original(method, task, config, settings, **how)

    monkeypatch.setattr(calibration, "held_out_logits", held_out_logits)
    data = fake_features(num_classes=6, shots=8)
    fitted = FewShotClassifier.fit(data, 8, method="linear_probe", progress=False)
    strength = fitted.adapter.settings()["strength"]
    assert settings_of_folds == [({"strength": strength}, False)]
