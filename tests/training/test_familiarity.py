from dataclasses import replace

import pytest
import torch
from scipy.stats import t
from torch.nn.functional import normalize

from pyg_graphadapter import Features, FewShotTask
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training import familiarity as module
from pyg_graphadapter.training.familiarity import (
    ASSUMED,
    LEFT_OUT,
    NO_SHOTS,
    TOO_FEW,
    Familiarity,
)


def task_of(num_classes=4, shots=5, channels=12, *, has_text=True, seed=0):
    file = fake_features(num_classes=num_classes, channels=channels, shots=shots, seed=seed)
    if has_text:
        return FewShotTask(file.class_names, file.text, file.train)
    return FewShotTask.without_text(file.class_names, file.train)


def text_of(task):
    return task.text if task.has_text else None


def numbers_by_hand(x, means, scatter, ridge, text):
    """Both numbers of one image: with the text and the mean of a class, and Mahalanobis."""
    precision = torch.linalg.inv(scatter / ridge + torch.eye(len(x), dtype=x.dtype))
    joint = normalize(means, dim=1) @ x
    if text is not None:
        joint = joint + 4 * normalize(text.double(), dim=1) @ x
    differences = x - means
    distance = (differences @ precision * differences).sum(dim=1)
    return [float(joint.max()), float((-distance.log()).max())]


def moments_by_hand(x, y, weight, num_classes):
    means, scatter = [], torch.zeros(x.size(1), x.size(1), dtype=x.dtype)
    for c in range(num_classes):
        w = weight[y == c].unsqueeze(1)
        means.append((w * x[y == c]).sum(dim=0) / w.sum())
        residual = x[y == c] - means[-1]
        scatter += residual.t() @ (w * residual)
    return torch.stack(means), scatter


@pytest.mark.parametrize("has_text", [True, False])
@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("shots", [2, 5])
def test_each_shot_is_left_out_as_if_it_had_never_been_there(has_text, is_weighted, shots):
    task = task_of(shots=shots, has_text=has_text)
    if is_weighted:
        weight = torch.linspace(0.5, 2, len(task.support))
        task = replace(task, weight=weight)
    known = Familiarity.from_task(task)
    x = normalize(task.support.x[:, 0].double(), dim=1)
    y, weight = task.support.y, task.weights().double()
    means, scatter = moments_by_hand(x, y, weight, 4)
    ridge = scatter.trace() / (weight.sum() - 4)
    numbers = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        means, scatter = moments_by_hand(x[others], y[others], weight[others], 4)
        numbers.append(numbers_by_hand(x[i], means, scatter, ridge, text_of(task)))
    numbers = torch.tensor(numbers, dtype=torch.double)
    mean, deviation = numbers.mean(dim=0), numbers.std(dim=0)
    expected = ((numbers - mean) / deviation).min(dim=1).values.sort().values
    assert known.source == LEFT_OUT
    torch.testing.assert_close(known.scales, torch.stack([mean, deviation], dim=1).float())
    torch.testing.assert_close(known.left_out, expected.float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("has_text", [True, False])
@pytest.mark.parametrize("shots", [2, 9])
def test_further_images_by_the_formula(has_text, shots):
    task = task_of(shots=shots, has_text=has_text)
    known = Familiarity.from_task(task)
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    shots = normalize(task.support.x[:, 0].double(), dim=1)
    means, scatter = moments_by_hand(shots, task.support.y, task.weights().double(), 4)
    ridge = scatter.trace() / (len(shots) - 4)
    numbers = torch.tensor(
        [
            numbers_by_hand(row, means, scatter, ridge, text_of(task))
            for row in normalize(x.double(), dim=1)
        ]
    )
    expected = ((numbers - known.scales[:, 0]) / known.scales[:, 1]).min(dim=1).values
    torch.testing.assert_close(known.of(x, text_of(task)), expected.float(), atol=1e-4, rtol=1e-4)


def test_one_shot_is_assumed_to_be_as_near_as_the_nearest_of_another_class():
    task = task_of(num_classes=5, shots=1)
    known = Familiarity.from_task(task)
    x, text = normalize(task.support.x[:, 0].double(), dim=1), task.text.double()
    cosine = x @ x.t() - 2 * torch.eye(5)
    joint = 4 * x @ text.t() + cosine
    own = 4 * (x * text).sum(dim=1) + cosine.amax(dim=1)
    joint = torch.maximum(joint.amax(dim=1), own)
    distance = (torch.cdist(x, x).square() + 9 * torch.eye(5)).amin(dim=1)
    numbers = torch.stack([joint, -distance.log()], dim=1)
    assert known.source == ASSUMED
    torch.testing.assert_close(known.scales[:, 0], numbers.mean(dim=0).float())
    torch.testing.assert_close(known.scales[:, 1], numbers.std(dim=0).float())
    assert known.limit(0.95) < 0


@pytest.mark.parametrize(
    ("task", "source", "message"),
    [
        (task_of(shots=1, has_text=False), TOO_FEW, "give two images or more of two classes"),
        (task_of(num_classes=2, shots=1), TOO_FEW, "give two images or more of two classes"),
        (task_of().with_support(torch.arange(0)), NO_SHOTS, "was fitted without shots"),
    ],
)
def test_what_cannot_be_said(task, source, message):
    known = Familiarity.from_task(task)
    assert known.source == source
    assert known.of(task.text, text_of(task)).isfinite().all()
    with pytest.raises(ValueError, match=message):
        known.limit(0.95)


def test_without_shots_it_is_the_largest_cosine_to_the_texts():
    task = task_of()
    known = Familiarity.from_task(task.with_support(torch.arange(0)))
    x = torch.randn(3, 12)
    expected = (normalize(x, dim=1) @ task.text.t()).amax(dim=1)
    torch.testing.assert_close(known.of(x, task.text), expected)


@pytest.mark.parametrize("num_classes", [2, 6])
@pytest.mark.parametrize("has_text", [True, False])
def test_neither_the_length_of_features_nor_the_order_of_classes_matters(num_classes, has_text):
    task = task_of(num_classes, 4, has_text=has_text)
    x = torch.randn(9, 12)
    known = Familiarity.from_task(task)
    order = torch.randperm(num_classes)
    names = tuple(task.class_names[c] for c in order.tolist())
    support = Features(task.support.x * torch.rand(len(task.support), 1, 1), task.support.y)
    moved = Features(support.x, order.argsort()[support.y])
    other = (
        FewShotTask(names, task.text[order] * 7, moved)
        if has_text
        else FewShotTask.without_text(names, moved)
    )
    of_other = Familiarity.from_task(other)
    torch.testing.assert_close(
        of_other.of(x * 1000, text_of(other)), known.of(x, text_of(task)), atol=1e-4, rtol=1e-4
    )
    assert of_other.limit(0.9) == pytest.approx(known.limit(0.9), abs=1e-4)


def test_copies_of_a_shot_do_not_vouch_for_each_other():
    task = task_of(shots=4)
    support = task.support
    twice = Features(torch.cat([support.x, support.x]), torch.cat([support.y, support.y]))
    copied = Familiarity.from_task(replace(task, support=twice))
    assert len(copied.left_out) == len(support)
    single = task_of(shots=1)
    x, y = single.support.x.repeat(3, 1, 1), single.support.y.repeat(3)
    known = Familiarity.from_task(replace(single, support=Features(x, y)))
    assert known.source == ASSUMED


def test_half_precision_gives_about_the_same():
    task = task_of(shots=6)
    half = replace(task, support=Features(task.support.x.half(), task.support.y))
    x = torch.randn(5, 12)
    torch.testing.assert_close(
        Familiarity.from_task(half).of(x.half(), task.text),
        Familiarity.from_task(task).of(x, task.text),
        atol=0.02, rtol=0.02,
    )  # fmt: skip


def test_the_limit_is_that_of_a_prediction_interval():
    known = Familiarity.from_task(task_of(shots=5))
    count = len(known.left_out)
    width = t.ppf(0.9, count - 1) * (1 + 1 / count) ** 0.5
    expected = float(known.left_out.mean()) - width * float(known.left_out.std())
    assert known.limit(0.9) == pytest.approx(expected)
    assert known.limit(0.99) < known.limit(0.9) < known.limit(0.5)


@pytest.mark.parametrize("accept", [0, 1, -0.5, 95, True, "0.9", float("nan")])
def test_shares_that_are_none(accept):
    with pytest.raises(ValueError, match="'accept' is the share"):
        Familiarity.from_task(task_of()).limit(accept)


@pytest.mark.parametrize("channels", [16, 128])
def test_as_many_images_are_accepted_as_was_asked_for(channels):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, channels, generator=generator)

    def images(count):
        y = torch.arange(20).repeat_interleave(count)
        noise = torch.randn(len(y), channels, generator=generator)
        return Features(centres[y] + 0.7 * noise, y)

    task = FewShotTask.without_text(tuple(map(str, range(20))), images(16))
    known = Familiarity.from_task(task)
    x = images(50).mean_views()
    for share in (0.8, 0.95):
        accepted = (known.of(x, None) >= known.limit(share)).float().mean()
        assert accepted == pytest.approx(share, abs=0.04)
    others = torch.randn(500, channels, generator=generator)
    assert (known.of(others, None) >= known.limit(0.95)).float().mean() < 0.4


def test_of_very_many_shots_some_are_left_out(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    known = Familiarity.from_task(task_of(num_classes=5, shots=5))
    assert len(known.left_out) == 9  # every third of 25


def test_classes_of_names_alone_have_images_where_their_texts_lead():
    task = task_of(num_classes=6, shots=5)
    is_first = task.support.y < 4
    lacking = task.with_support(is_first)
    four = FewShotTask(task.class_names[:4], task.text[:4], task.support.select(is_first))
    fitted = Familiarity.from_task(lacking)
    extended = Familiarity.from_task(four).extended(task.text[:4], task.text[4:])
    torch.testing.assert_close(extended.means, fitted.means)
    x = task.support.x[~is_first][:, 0]
    without = Familiarity.from_task(four).of(x, task.text[:4])
    assert (extended.of(x, task.text) >= without).all()
    assert extended.of(x, task.text).mean() > without.mean() + 1


def test_equal_shots_have_no_directions():
    x = torch.eye(3).repeat_interleave(2, dim=0)
    task = FewShotTask.without_text(
        ("a", "b", "c"), Features(x, torch.arange(3).repeat(2).sort().values)
    )
    assert Familiarity.from_task(task).source == TOO_FEW


@pytest.mark.parametrize(
    "change",
    [
        {"means": torch.zeros(4, 3)},
        {"means": torch.zeros(4)},
        {"directions": torch.zeros(2, 12, dtype=torch.long)},
        {"scales": torch.ones(3, 2)},
        {"scales": torch.zeros(2, 2)},
        {"left_out": torch.zeros(2, 2)},
    ],
)
def test_tensors_that_do_not_fit(change):
    with pytest.raises(ValueError, match="do not fit together"):
        replace(Familiarity.from_task(task_of()), **change)
