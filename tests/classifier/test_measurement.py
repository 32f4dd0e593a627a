from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest

from pyg_graphadapter import Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.adapters import adapter_names
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.measurement import measured_in_words
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.copies import are_copies
from pyg_graphadapter.report.intervals import wilson_interval
from pyg_graphadapter.task import draw_task, not_drawn
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.selection import _validation_splits

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
        with pytest.raises(ValueError, match=r"has no image: 'class 1'\. Add images"):
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


def in_other_batches(x):
    """Features of the same images, of other lengths and with a little noise."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    return 2.5 * (x + 1e-5 * noise)


@pytest.mark.filterwarnings("ignore:The class names tell")
def test_copies_of_noise_are_not_right_beyond_chance():
    """Labels at random: only who has seen an image knows its label."""
    x = torch.randn(40, 1, 32, generator=torch.Generator().manual_seed(3))
    y = torch.arange(2).repeat(20)
    file = fake_features(num_classes=2, channels=32)
    twice = Features(torch.cat([x, in_other_batches(x)]), torch.cat([y, y]))
    file = replace(file, train=twice, test=None)
    how = {"method": "linear_probe", "strength": 1000.0, "progress": False, "measure": True}
    assert FewShotClassifier.fit(file, **how).measured["accuracy (%)"] < 70
    few = FewShotClassifier.fit(file, 10, **how).measured
    assert few["kind"] == "not drawn"
    drawn = draw_task(file, 10, 1).support
    cosine = torch.cosine_similarity(twice.x, drawn.x.transpose(0, 1), dim=2)  # [N, M]
    assert few["images"] == int((cosine.amax(dim=1) < 0.999).sum())
    assert few["accuracy (%)"] < 80


def test_copies_are_held_out_together_in_selection():
    file = unequal(6, 6)
    twice = torch.cat([file.train.x, in_other_batches(file.train.x)])
    task = draw_task(replace(file, train=Features(twice, file.train.y.repeat(2))), "all", 1)
    splits = _validation_splits(task, 4, seed=1)
    assert len(splits) == 4
    for part, held_out in splits:
        cosine = torch.cosine_similarity(held_out.x, part.support.x.transpose(0, 1), dim=2)
        assert cosine.max() < 0.999


def test_one_image_per_class_cannot_be_measured():
    fitted = FewShotClassifier.fit(unequal(1, 1), measure=True, config=QUICK, progress=False)
    assert fitted.measured == {}


def test_with_many_shots_one_fold_is_held_out(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.held_out.MANY_SHOTS", 20)
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
    older = str(model_card(("a", "b"), "gda", {}, {}, {"test accuracy (%)": 81.25}, Confidence()))
    assert "| test accuracy (%) | 81.25 |" in older


def test_the_estimate_is_honest_about_noise():
    """Features that say nothing about labels: fitted on all of them, and right by chance."""
    file = fake_features(num_classes=4, channels=64, shots=15, tests=1)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(60, 1, 64, generator=generator)
    file = replace(file, train=Features(noise, file.train.y), test=None)
    fitted = FewShotClassifier.fit(  # which uses no names, and says nothing of them
        file, method="linear_probe", strength=1000.0, measure=True, progress=False
    )
    predicted = fitted.predict_proba(file.train.mean_views()).argmax(dim=1)
    assert torch.equal(predicted, file.train.y)
    assert fitted.measured["accuracy (%)"] < 45


@pytest.mark.parametrize("shots", [4, "all"])
def test_copies_make_no_interval_narrower(shots):
    data = fake_features(num_classes=4, shots=8, text_noise=0.9)
    x, y = data.train.x, data.train.y
    repeated = replace(data, test=None, train=Features(x.repeat(4, 1, 1), y.repeat(4)))
    how = {"shots": shots, "measure": True, "select": False, "progress": False}
    measured = FewShotClassifier.fit(repeated, **how).measured
    copies_per_image = measured["images"] / len(x)
    assert copies_per_image > 1.5
    share, total = measured["accuracy (%)"] / 100, len(x)
    if shots != "all":  # the shots and their copies are not measured
        drawn = FewShotClassifier.fit(repeated, shots=shots, keep_shots=True, progress=False).shots
        total -= int(are_copies(x[:, 0], drawn.x[:, 0]).sum())
    low, high = wilson_interval(share * total, total)
    assert measured["interval from (%)"] == pytest.approx(low, abs=0.02)
    assert measured["interval to (%)"] == pytest.approx(high, abs=0.02)


def test_a_setting_that_a_method_does_not_have():
    with pytest.raises(
        ValueError, match=r"graph_adapter has no setting 'alpah'. Choose from alpha"
    ):
        FewShotClassifier.fit(fake_features(), shots=2, alpah=0.5, progress=False)
