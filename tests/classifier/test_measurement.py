from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest

from pyg_graphadapter import Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.adapters import adapter_names
from pyg_graphadapter.classifier.measurement import measured_in_words, wilson_interval
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.task import draw_task, not_drawn
from pyg_graphadapter.testing import fake_features

QUICK = TrainConfig(epochs=2)


def unequal(*counts, channels=16):
    """A feature file with so many training images per class, and no test split."""
    file = fake_features(num_classes=len(counts), channels=channels, shots=max(counts), tests=1)
    keep = [c * max(counts) + i for c, count in enumerate(counts) for i in range(count)]
    return replace(file, train=file.train.select(torch.tensor(keep)), test=None)


@pytest.mark.parametrize(("right", "total"), [(0, 5), (5, 5), (37, 80)])
def test_the_interval_is_that_of_wilson(right, total):
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(right, total)
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)


@pytest.mark.parametrize("method", [m for m in adapter_names() if m != "coop"])
def test_all_methods_take_classes_of_unequal_size(method):
    file = unequal(2, 33, 7)
    fitted = FewShotClassifier.fit(file, method=method, config=QUICK, measure=True, progress=False)
    assert fitted.training["shots"] == 33
    assert fitted.training["fewest_shots"] == 2
    assert fitted.predict_proba(file.train.mean_views()).isfinite().all()
    assert fitted.measured["kind"] == "cross-validated"
    assert fitted.measured["images"] == 42
    at_most = FewShotClassifier.fit(
        file, method=method, config=QUICK, at_most=5, select=False, progress=False
    )
    assert at_most.training["shots"] == 5


def test_at_most_and_shots():
    file = unequal(2, 33, 7)
    counts = torch.bincount(draw_task(file, 5, 1, allow_fewer=True).support.y)
    assert counts.tolist() == [2, 5, 5]
    assert torch.bincount(draw_task(file, "all", 1).support.y).tolist() == [2, 33, 7]
    message = r"'class 0' \(2\)\. Ask for fewer shots, or fit with up to 5 .*--at-most 5"
    with pytest.raises(ValueError, match=message):
        FewShotClassifier.fit(file, 5)
    with pytest.raises(ValueError, match=r"give one of them \(got shots=5, at_most=3\)"):
        FewShotClassifier.fit(file, 5, at_most=3)
    with pytest.raises(ValueError, match="whole number or 'all'"):
        FewShotClassifier.fit(file, "most")
    lacking = replace(file, train=file.train.select(file.train.y != 1))
    for how in ({}, {"at_most": 3}):
        with pytest.raises(ValueError, match=r"'class 1' \(0\)\. Add images"):
            FewShotClassifier.fit(lacking, **how)


def test_a_draw_of_all_starts_with_a_draw_of_few():
    file = unequal(5, 9)
    few = file.train.draw(3, seed=4)
    everything = file.train.draw("all", seed=4)
    assert everything.tolist()[:3] == few.tolist()[:3]
    assert len(everything) == 14


def test_what_was_not_drawn_is_the_test():
    file = unequal(20, 30)
    fitted = FewShotClassifier.fit(file, 4, measure=True, config=QUICK, progress=False)
    rest = not_drawn(file, 4, 1)
    assert len(rest) == 42
    assert fitted.measured["kind"] == "not drawn"
    assert fitted.measured["images"] == 42
    assert fitted.measured["accuracy (%)"] == round(fitted.evaluate(rest).accuracy, 2)
    assert "on 42 images that were not drawn." in measured_in_words(fitted.measured)


def test_copies_of_shots_are_no_test():
    file = unequal(6, 6)
    twice = Features(torch.cat([file.train.x] * 2), torch.cat([file.train.y] * 2))
    drawn = draw_task(replace(file, train=twice), 3, 1).support
    fitted = FewShotClassifier.fit(
        replace(file, train=twice), 3, measure=True, config=QUICK, progress=False
    )
    distinct = len({row.numpy().tobytes() for row in drawn.x})
    copies = sum(any(torch.equal(x, shot) for shot in drawn.x) for x in twice.x)
    assert distinct <= copies
    assert fitted.measured["images"] == len(twice) - copies


def test_one_image_per_class_cannot_be_measured():
    fitted = FewShotClassifier.fit(unequal(1, 1), measure=True, config=QUICK, progress=False)
    assert fitted.measured == {}


def test_with_many_shots_one_fold_is_held_out(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.classifier.measurement.MANY_SHOTS", 20)
    fitted = FewShotClassifier.fit(
        unequal(25, 25), method="zero_shot", measure=True, progress=False
    )
    assert fitted.measured["kind"] == "held out"
    assert fitted.measured["images"] == 10


def test_the_measurement_is_saved_and_shown_with_its_kind(tmp_path):
    fitted = FewShotClassifier.fit(unequal(9, 9), method="zero_shot", measure=True, progress=False)
    fitted.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path)
    assert loaded.measured == fitted.measured
    card = str(loaded.generate_model_card())
    assert "Cross-validated accuracy" in card
    assert "each held out in one of 5 folds" in card
    older = str(model_card(("a", "b"), "gda", {}, {}, {"test accuracy (%)": 81.25}))
    assert "| test accuracy (%) | 81.25 |" in older


def test_the_estimate_is_honest_about_noise():
    """Features that say nothing about labels: fitted on all of them, and right by chance."""
    file = fake_features(num_classes=4, channels=64, shots=15, tests=1)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(60, 1, 64, generator=generator)
    file = replace(file, train=Features(noise, file.train.y), test=None)
    fitted = FewShotClassifier.fit(
        file, method="linear_probe", strength=1000.0, measure=True, progress=False
    )
    predicted = fitted.predict_proba(file.train.mean_views()).argmax(dim=1)
    assert torch.equal(predicted, file.train.y)
    assert fitted.measured["accuracy (%)"] < 45
