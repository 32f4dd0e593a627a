import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta

from pyg_graphadapter import FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier.abstaining import (
    DELTA,
    fewest_images,
    fewest_shots,
    starts_of,
    threshold_of,
)
from pyg_graphadapter.classifier.confidence import SWITCHED_OFF, Confidence
from pyg_graphadapter.classifier.prediction_file import write_predictions
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.folds import even_folds, held_out_folds
from pyg_graphadapter.training.held_out import FOLDS
from pyg_graphadapter.training.selection import MANY_SHOTS

QUICK = TrainConfig(epochs=2)


def confidence(is_right, probability=None):
    total = len(is_right)
    probability = torch.linspace(0.99, 0.3, total) if probability is None else probability
    return Confidence(1.0, "made up", probability, torch.tensor(is_right).bool())


def test_the_fewest_images():
    assert fewest_images(0.05, 0.05) == 59
    assert 0.95**59 <= 0.05 < 0.95**58
    with pytest.raises(ValueError, match=r"at least 59 held-out images .* there are 40 .*6 shots"):
        threshold_of(confidence([True] * 40), 0.05, num_classes=10)
    with pytest.raises(ValueError, match=r"there are none .* one shot per class.*: give 59 shots"):
        threshold_of(Confidence(source="of one shot per class"), 0.05, num_classes=1)


@pytest.mark.parametrize(
    ("classes", "needed"), [(3, 59), (100, 598), (100, 995), (100, 2995), (600, 900)]
)
@pytest.mark.parametrize("only_one", [False, True])
def test_so_many_shots_do_hold_out_enough(classes, needed, only_one):
    shots = fewest_shots(needed, classes, only_one=only_one)

    def num_held_out(shots):
        y = torch.arange(classes).repeat_interleave(shots)
        folds = held_out_folds(y, even_folds([shots] * classes, FOLDS), seed=1)
        folds = folds[:1] if only_one or len(y) > MANY_SHOTS else folds
        return sum(len(index) for _, index in folds)

    assert num_held_out(shots) >= needed
    assert shots == 2 or num_held_out(shots - 1) < needed


def test_what_to_do_where_more_shots_do_not_help():
    switched_off, one_fold = Confidence(source=SWITCHED_OFF), confidence([True] * 300)
    with pytest.raises(ValueError, match="fit it again with calibration, and with 6 shots per"):
        threshold_of(switched_off, 0.1, 5)
    one_fold = replace(one_fold, source="fitted to 300 shots, held out in one fold")
    with pytest.raises(ValueError, match=r"give 6 shots per class \(of more than 1,000 shots in"):
        threshold_of(one_fold, 0.005, 100)
    with pytest.raises(ValueError, match="give 24 shots per class, or allow"):
        threshold_of(one_fold, 0.005, 100, only_one=True)


def test_without_errors_all_are_answered():
    threshold = threshold_of(confidence([True] * 59), 0.05, 3)
    assert (threshold.probability, threshold.num_answered, threshold.num_wrong) == (0, 59, 0)
    assert threshold.reason(1e-9) is None


@pytest.mark.parametrize("total", [60, 150, 1000])
@pytest.mark.parametrize("max_error", [0.05, 0.1, 0.3])
def test_the_bound_is_that_of_clopper_and_pearson(total, max_error):
    generator = np.random.default_rng(total)
    p = np.linspace(1, 0.3, total)
    is_right = generator.random(total) < p
    starts = starts_of(total, max_error)
    level = DELTA / len(starts)
    assert starts == [starts[0] * 2**j for j in range(len(starts))]
    assert starts[0] == math.ceil(math.log(level) / math.log(1 - max_error))
    best = 0
    for start in starts:
        for m in range(start, total + 1):
            k = int((~is_right[:m]).sum())
            if k == m or beta.ppf(1 - level, k + 1, m - k) > max_error:
                break
            best = max(best, m)
    if best:
        threshold = threshold_of(confidence(is_right.tolist()), max_error, 5)
        assert threshold.num_answered == best
        assert threshold.num_wrong == int((~is_right[:best]).sum())
    else:
        with pytest.raises(ValueError, match="cannot be promised"):
            threshold_of(confidence(is_right.tolist()), max_error, 5)


def test_the_promise_is_kept_over_draws():
    """Classifiers whose probabilities are right: more of their answers are wrong than was promised
    in at most 5 % of draws, and many images are answered."""
    generator = np.random.default_rng(0)
    above, answered = [], []
    for _ in range(300):
        p = np.sort(generator.beta(3, 1, 400))[::-1]
        is_right = (generator.random(400) < p).tolist()
        known = confidence(is_right, torch.tensor(p.copy()))
        try:
            threshold = threshold_of(known, 0.1, 5)
        except ValueError:
            continue
        at = np.linspace(threshold.probability, 1, 1001)
        density = at**2  # of beta(3, 1), up to a factor
        above.append(((1 - at) * density).sum() / density.sum() > 0.1)
        answered.append(threshold.num_answered / 400)
    assert len(above) > 150
    assert np.sum(above) / 300 < 0.08
    assert np.mean(answered) > 0.2


def test_too_many_errors():
    known = confidence([False] + [True] * 99)
    with pytest.raises(ValueError, match=r"of the 59 surest of 100 .* 1 are .*; \d+ % can be"):
        threshold_of(known, 0.05, 5)
    with pytest.raises(ValueError, match="no error rate can be promised"):
        threshold_of(confidence([False] * 100), 0.05, 5)


@pytest.mark.parametrize("max_error", [0, 1, -0.1, math.nan, "0.1", True])
def test_error_rates_that_cannot_be(max_error):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        threshold_of(confidence([True] * 100), max_error, 5)


def test_equal_probabilities_are_not_divided():
    probability = torch.cat([torch.full((50,), 0.9), torch.full((50,), 0.5)])
    known = confidence([True] * 60 + [False] * 40, probability)
    threshold = threshold_of(known, 0.1, 5)
    assert threshold.probability == 0.5
    assert threshold.num_answered == 50


@pytest.fixture(scope="module")
def classifier():
    data = fake_features(num_classes=4, shots=40, image_noise=2.0)
    return FewShotClassifier.fit(data, 40, config=QUICK, progress=False)


def test_predictions_without_an_answer(classifier, tmp_path):
    x = fake_features(num_classes=4, shots=40, image_noise=2.0).test.mean_views()
    probability = classifier.predict_proba(x)
    threshold = classifier.threshold(0.2)
    expected = [
        classifier.class_names[int(row.argmax())] if row.max() > threshold.probability else None
        for row in probability
    ]
    assert None in expected
    assert len(set(expected)) > 2
    assert classifier.predict(x, abstain=0.2) == expected
    rows = classifier.predict_rows(x, abstain=0.2, top=2)
    assert [row.class_name for row in rows] == expected
    unanswered = next(row for row in rows if not row.is_answered)
    assert unanswered.label is None
    assert f"{unanswered.probability:.3g} is not above" in unanswered.reason
    write_predictions(rows, tmp_path / "p.csv")
    records = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [record["label"] or None for record in records] == expected
    assert all(bool(record["reason"]) == (record["label"] == "") for record in records)
    write_predictions(rows, tmp_path / "p.json")
    assert [r["label"] for r in json.loads((tmp_path / "p.json").read_text())] == expected


def test_it_works_after_loading(classifier, tmp_path):
    classifier.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    assert loaded.shots is None
    assert loaded.threshold(0.2) == classifier.threshold(0.2)


@pytest.mark.filterwarnings("ignore:There is no shot")
def test_nothing_is_promised_of_classes_of_which_nothing_is_held_out():
    """Else the classes with many shots would answer for those with one."""
    data = fake_features(num_classes=5)
    index = torch.cat([torch.arange(32), torch.arange(32, 80, 16)])  # 16, 16, 1, 1 and 1
    unequal = replace(data, train=data.train.select(index))
    how = {"method": "zero_shot", "config": QUICK, "progress": False}
    few = FewShotClassifier.fit(unequal, **how)
    assert few.temperature != 1
    with pytest.raises(ValueError, match=r"none of 3 classes could be\): give 6 shots per class"):
        few.threshold(0.1)
    copies = replace(data, train=data.train.select(torch.cat([index, index[-3:]])))
    with pytest.raises(ValueError, match="none of 3 classes could be"):
        FewShotClassifier.fit(copies, **how).threshold(0.1)
    grown = FewShotClassifier.fit(data, method="gda", keep_shots=True, progress=False)
    assert grown.threshold(0.5)
    grown = grown.add_classes(["new"], text=torch.randn(1, data.text.size(1)), progress=False)
    with pytest.raises(ValueError, match="none of 1 class could be"):
        grown.threshold(0.5)


def test_who_cannot_abstain(classifier):
    data = fake_features(num_classes=3)
    how = {"config": QUICK, "progress": False}
    one = FewShotClassifier.fit(data, 1, **how)
    with pytest.raises(ValueError, match=r"there are none .*: give 20 shots per class"):
        one.predict(data.test.mean_views(), abstain=0.05)
    without = FewShotClassifier.fit(data, 4, calibrate=False, **how)
    with pytest.raises(ValueError, match="calibration was switched off"):
        without.predict_rows(data.test.mean_views(), abstain=0.05)
    together = FewShotClassifier.fit(data, 4, method="transclip", **how)
    with pytest.raises(ValueError, match="transclip is transductive"):
        together.threshold(0.2)
