"""GraphAdapter's settings of a task: trust in texts, nodes of images, and whitening."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from pyg_graphadapter import (
    EvaluationTask,
    FewShotTask,
    GraphAdapter,
    TrainConfig,
    ZeroShot,
    evaluate,
    train,
)
from pyg_graphadapter.adapters import trust
from pyg_graphadapter.adapters.graph_defaults import graph_settings, metric_of
from pyg_graphadapter.adapters.trust import evidence
from pyg_graphadapter.classifier.explanation import explain_class, explain_image
from pyg_graphadapter.experiment.presets import paper
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.engine import train_together

C, D = 6, 12


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=C, channels=D, shots=8, text_noise=2.0)


@pytest.fixture(scope="module")
def task(data):
    return EvaluationTask.from_file(data, shots=4, seed=1).task


@pytest.fixture(scope="module")
def wrong(task):
    """The task with the texts of other classes."""
    return replace(task, text=-task.text)


def double(task):
    support = Features(task.support.x.double(), task.support.y)
    return replace(task, text=task.text.double(), support=support)


def test_evidence_is_what_loops_count(task):
    x, y = task.support.mean_views().double().numpy(), task.support.y.tolist()
    t = unit(task.text).double().numpy()
    right, ahead, right_by_images, ahead_by_images = 0, [], 0, []
    mean = np.mean([x[[i for i in range(len(y)) if y[i] == c]].mean(0) for c in range(C)], 0)
    for i in range(len(y)):
        scores = t @ x[i]
        right += int(scores.argmax() == y[i])
        ahead.append(np.mean([scores[y[i]] > scores[c] for c in range(C) if c != y[i]]))
        cosines = []
        for c in range(C):
            others = sum(x[j] - mean for j in range(len(y)) if y[j] == c and j != i)
            a, b = x[i] - mean, others
            cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        right_by_images += int(np.argmax(cosines) == y[i])
        ahead_by_images.append(np.mean([cosines[y[i]] > cosines[c] for c in range(C) if c != y[i]]))
    found = evidence(task)
    assert (found.right, found.total, found.num_classes) == (right, len(y), C)
    assert found.right_by_images == right_by_images
    assert found.ahead == pytest.approx(np.mean(ahead), abs=1e-6)
    assert found.ahead_by_images == pytest.approx(np.mean(ahead_by_images), abs=1e-6)
    u, v = ((share * 24 + 0.87) / 25 for share in (np.mean(ahead), np.mean(ahead_by_images)))
    assert found.change == pytest.approx(0.35 * ((1 - u) / u) / ((1 - v) / v) ** 0.5, rel=1e-5)
    assert 0 < right < len(y)


def test_weights_count_like_copies(task):
    index = torch.cat([torch.arange(24), torch.tensor([3, 3, 10])])
    weight = torch.bincount(index).float()
    x, y = task.support.x, task.support.y
    repeated = evidence(replace(task, support=Features(x[index], y[index])))
    weighted = evidence(replace(task, weight=weight))
    assert weighted == pytest.approx(repeated, rel=1e-6)
    # ... and a common factor changes nothing:
    assert evidence(replace(task, weight=weight / 70)) == pytest.approx(repeated, rel=1e-6)
    given = [graph_settings(replace(task, weight=weight * f), {}) for f in (1, 1 / 70)]
    assert given[0] == given[1]


def test_copies_say_nothing_new(data, task):
    """Two copies of each image are not left out in turn, and whiten nothing."""
    one = EvaluationTask.from_file(data, shots=1, seed=1).task
    twice = replace(one, support=one.support.select(torch.arange(C).repeat(2)))
    assert evidence(twice) == pytest.approx(evidence(one))
    assert graph_settings(twice, {}) == graph_settings(one, {})
    assert graph_settings(twice, {})["whitening"] == 0


def test_every_class_has_the_same_part_in_the_loss(task):
    few = task.with_support(torch.tensor([0, 1, 2, 3, 4, 8, 12, 16, 20]))
    factors = torch.tensor([0.25, 0.25, 0.25, 0.25, 1, 1, 1, 1, 1]) * 9 / 6
    whole = train(one := GraphAdapter.from_task(few, alpha=0.5), few, TrainConfig(epochs=3),
                  progress=False)  # fmt: skip
    x, y = one.prepare(few.support.x[:, 0]), few.support.y
    one.reset_parameters()
    one.backward(x, y, 2.0, weight=factors)
    assert whole.loss[0] == pytest.approx(float(one.backward(x, y, 2.0, weight=factors)), rel=1e-5)
    # A copy of an image is one of the images of its class, with half of the weight in sum:
    copied = task.with_support(torch.tensor([0, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21]))
    weight = torch.tensor([2.0, *[1.0] * 11])
    weighted = task.with_support(torch.tensor([0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21]))
    weighted = replace(weighted, weight=weight)
    for each in (copied, weighted):
        train(adapter := GraphAdapter.from_task(each), each, TrainConfig(epochs=3), progress=False)
        x = adapter.class_weights() if each is copied else x
    torch.testing.assert_close(adapter.class_weights(), x, rtol=1e-3, atol=1e-4)


def test_every_class_counts_the_same(task):
    """Of a frequent class with a wrong name, and of one with a right name."""
    rare = torch.tensor([0, 1, 2, 3, 4, 8, 12, 16, 20])
    few = evidence(task.with_support(rare))
    by_class = [evidence(task.with_support(torch.arange(4))).ahead]
    for c in range(1, C):
        by_class.append(evidence(task.with_support(torch.tensor([4 * c]))).ahead)
    assert task.support.y[rare].bincount().tolist() == [4, 1, 1, 1, 1, 1]
    assert few.ahead == pytest.approx(sum(by_class) / C)


def test_texts_that_are_equal_are_at_chance(task):
    found = evidence(replace(task, text=torch.ones(C, D)))
    assert found.ahead == pytest.approx(0.5)
    assert found.says_little


def test_one_shot_measures_no_images(data):
    found = evidence(EvaluationTask.from_file(data, shots=1, seed=1).task)
    assert found.ahead_by_images is None
    assert found.right_by_images is None
    assert found.change > 0
    with pytest.raises(ValueError, match="no shot"):
        evidence(EvaluationTask.from_file(data, 1, 1).task.with_support(torch.arange(0)))


def test_alpha_follows_from_the_texts(task, wrong):
    good = replace(task, text=unit(task.prototypes()))
    alphas = []
    for share in (0.0, 0.3, 0.6, 1.0):
        text = torch.lerp(good.text, task.text.roll(1, 0), share)
        settings = graph_settings(replace(task, text=text), {})
        alphas.append(settings["alpha"] if settings["nodes"] == "texts" else 0)
    assert alphas == sorted(alphas, reverse=True)
    assert alphas[0] == 0.9
    assert graph_settings(wrong, {}) == {
        "alpha": 0.7, "nodes": "images", "whitening": round(18 / (18 + D), 4)
    }  # fmt: skip
    without = FewShotTask.without_text(task.class_names, task.support)
    assert graph_settings(without, {}) == graph_settings(wrong, {})


def test_what_is_given_is_kept(task, wrong):
    assert graph_settings(wrong, {"alpha": 0.5})["nodes"] == "texts"
    assert graph_settings(task, {"nodes": "images"})["alpha"] == 0.7
    assert graph_settings(task, paper("graph_adapter", "", 4)[0]) == {}
    assert graph_settings(task.with_support(torch.arange(0)), {}) == {}
    whitening = graph_settings(task, {"alpha": 0.5})["whitening"]
    assert whitening == pytest.approx((1 - 0.3) * 18 / (18 + D), abs=1e-4)
    with pytest.raises(ValueError, match="'alpha' must be between 0 and 1"):
        GraphAdapter.from_task(task, alpha=2.0)


def test_the_papers_setting_is_the_plain_adapter(task):
    settings = paper("graph_adapter", "", 4)[0]
    adapter = GraphAdapter.from_task(task, **settings)
    plain = GraphAdapter(task.text, task.prototypes(), task.logit_scale, alpha=0.6)
    assert adapter.metric is None
    assert adapter.center is None
    assert adapter.class_biases() is None
    for one in (adapter, plain):
        train(one, task, TrainConfig(epochs=5), progress=False)
    assert torch.equal(adapter.class_weights(), plain.class_weights())


def test_one_shot_with_texts_is_not_whitened(data):
    task = EvaluationTask.from_file(data, shots=1, seed=1).task
    adapter = GraphAdapter.from_task(task, nodes="texts")
    assert adapter.metric is None
    assert adapter.config.whitening == 0


@pytest.mark.parametrize("whitening", [0.3, 0.9])
def test_the_metric_whitens(task, whitening):
    x, y = task.support.mean_views().double().numpy(), task.support.y.numpy()
    residual = np.concatenate([x[y == c] - x[y == c].mean(0) for c in range(C)])
    covariance = residual.T @ residual
    covariance = (1 - whitening) * np.eye(D) + whitening * covariance * D / np.trace(covariance)
    metric = metric_of(task, whitening, None).numpy()
    scaled = metric @ covariance @ metric
    np.testing.assert_allclose(scaled / scaled[0, 0], np.eye(D), atol=1e-9)
    np.testing.assert_allclose(metric, metric.T, atol=1e-12)
    assert np.linalg.norm(x @ metric, axis=1).mean() == pytest.approx(1)


def test_training_starts_at_zero_shot_in_the_metric(task):
    adapter = GraphAdapter.from_task(double(task), whitening=0.6, nodes="texts")
    x = torch.randn(20, D).double()
    torch.testing.assert_close(adapter(x), ZeroShot.from_task(double(task))(x))
    assert adapter.class_biases() is None


def test_images_decide_as_if_there_were_no_texts(task, wrong, data):
    without = FewShotTask.without_text(task.class_names, task.support)
    adapters = [GraphAdapter.from_task(each) for each in (wrong, without)]
    for adapter, each in zip(adapters, (wrong, without), strict=True):
        train(adapter, each, TrainConfig(epochs=5), progress=False)
    assert torch.equal(adapters[0].class_weights(), adapters[1].class_weights())
    assert torch.equal(adapters[0].class_biases(), adapters[1].class_biases())
    assert torch.equal(adapters[0].text, unit(wrong.text))  # they stay, to be measured beside
    accuracy = evaluate(adapters[0], data.test).accuracy
    assert accuracy > evaluate(ZeroShot.from_task(wrong), data.test).accuracy + 30


def test_before_training_images_are_compared_with_centred_means(wrong):
    adapter = GraphAdapter.from_task(double(wrong))
    x = unit(torch.randn(9, D).double())
    center = wrong.prototypes().double().mean(dim=0)
    metric = metric_of(double(wrong), adapter.config.whitening, center)
    means = unit((wrong.prototypes().double() - center) @ metric)
    torch.testing.assert_close(adapter(x), 15 * ((x - center) @ metric) @ means.t(), rtol=1e-5,
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("nodes", ["texts", "images"])
@pytest.mark.parametrize("settings", [{}, {"activation": "gelu"}, {"groups": 2}, {"k": 2},
                                      {"conv": "GCNConv"}])  # fmt: skip
def test_steps_follow_the_gradient_of_the_logits(task, nodes, settings):
    task = double(task)
    adapter = GraphAdapter.from_task(task, nodes=nodes, whitening=0.5, **settings)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, y = unit(task.support.x[:, 0]), task.support.y
    for weight in (None, torch.rand(len(y)).double()):
        losses = torch.nn.functional.cross_entropy(adapter(x) / 2, y, reduction="none",
                                                   label_smoothing=0.1)  # fmt: skip
        loss = losses.mean() if weight is None else (weight * losses).mean()
        expected = torch.autograd.grad(loss, list(adapter.parameters()))
        stored = adapter.backward(adapter.prepare(x), y, 2.0, 0.1, weight=weight)
        torch.testing.assert_close(stored, loss)
        for parameter, gradient in zip(adapter.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9)


def test_adapters_of_different_alpha_and_metric_are_trained_as_a_batch(data):
    tasks = [EvaluationTask.from_file(data, shots=4, seed=seed).task for seed in (1, 2, 3)]
    alone, together = ([GraphAdapter.from_task(task) for task in tasks] for _ in range(2))
    assert len({adapter.config.alpha for adapter in alone}) > 1
    assert GraphAdapter.stack(together) is not None
    for adapter, task in zip(alone, tasks, strict=True):
        train(adapter, task, TrainConfig(epochs=5), progress=False)
    train_together(together, tasks, TrainConfig(epochs=5), [1, 1, 1], progress=False)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.class_weights(), other.class_weights(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nodes", ["texts", "images"])
def test_saved_and_built_again(task, nodes):
    adapter = GraphAdapter.from_task(task, nodes=nodes, whitening=0.5)
    train(adapter, task, TrainConfig(epochs=3), progress=False)
    again = GraphAdapter.from_state(adapter.state_dict(), adapter.logit_scale, adapter.settings())
    x = torch.randn(5, D)
    assert torch.equal(adapter(x), again(x))


def test_tensors_and_settings_belong_together(task):
    text, prototypes = task.text, task.prototypes()
    with pytest.raises(ValueError, match="needs a 'metric'"):
        GraphAdapter(text, prototypes, whitening=0.5)
    with pytest.raises(ValueError, match="'center' belongs to nodes='images'"):
        GraphAdapter(text, prototypes, nodes="images")
    with pytest.raises(ValueError, match="'center' belongs to nodes='images'"):
        GraphAdapter(text, prototypes, center=torch.zeros(D))
    with pytest.raises(ValueError, match="'center' needs a 'metric'"):
        GraphAdapter(text, prototypes, center=torch.zeros(D), nodes="images")
    with pytest.raises(ValueError, match="'metric' must be"):
        GraphAdapter(text, prototypes, metric=torch.eye(D + 1))


def test_new_classes_come_from_texts_or_images(task, wrong):
    train(adapter := GraphAdapter.from_task(task, nodes="texts", whitening=0.5), task,
          TrainConfig(epochs=3), progress=False)  # fmt: skip
    extended = adapter.extend(torch.randn(2, D))
    assert extended(torch.randn(3, D)).shape == (3, C + 2)
    of_images = GraphAdapter.from_task(wrong)
    with pytest.raises(ValueError, match="a new class needs images"):
        of_images.extend(torch.randn(2, D))
    prototypes = torch.randn(2, D)
    extended = of_images.extend(prototypes, prototypes)
    torch.testing.assert_close(extended.center, of_images.center)
    assert extended(prototypes).argmax(dim=1).tolist() == [C, C + 1]


@pytest.mark.parametrize("nodes", ["texts", "images"])
def test_explanations_add_up(task, nodes):
    adapter = GraphAdapter.from_task(task, nodes=nodes, whitening=0.5)
    train(adapter, task, TrainConfig(epochs=10), progress=False)
    x = torch.randn(D)
    image = explain_image(adapter, task.class_names, x, 2)
    # Of a metric with a center, what it adds to every class is in the product:
    assert image.total == pytest.approx(adapter(x[None])[0, 2].item(), abs=1e-3)
    assert sum(part.amount for part in image.contributions) == pytest.approx(image.total, abs=1e-3)
    turned = explain_class(adapter, task.class_names, 2)
    assert sum(part.amount for part in turned.contributions) == pytest.approx(
        turned.total, abs=1e-4
    )
    assert 0 < turned.total < 1


@pytest.mark.parametrize("shots", [1, 2])
def test_shots_without_scatter(shots):
    """Equal images of a class, one class, one channel."""
    for num_classes, channels in ((3, 4), (1, 4), (3, 1)):
        x = torch.randn(num_classes, channels).repeat_interleave(shots, 0)
        y = torch.arange(num_classes).repeat_interleave(shots)
        names = tuple(map(str, range(num_classes)))
        for task in (
            FewShotTask(names, torch.randn(num_classes, channels), Features(x[:, None], y)),
            FewShotTask.without_text(names, Features(x[:, None], y)),
        ):
            adapter = GraphAdapter.from_task(task)
            train(adapter, task, TrainConfig(epochs=3), progress=False)
            assert adapter(x).isfinite().all()


def test_classifiers_of_format_2_are_read(data, tmp_path):
    """They have no nodes and no whitening."""
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    settings = {"alpha": 0.7, "nodes": "texts", "whitening": 0.0}
    saved = FewShotClassifier.fit(data, shots=2, progress=False, **settings)
    saved.save(tmp_path)
    weights = tmp_path / "classifier.safetensors"
    tensors = safetensors.torch.load_file(weights)
    newer = ("confidence.", "familiarity.")
    older = {name: x for name, x in tensors.items() if not name.startswith(newer)}
    safetensors.torch.save_file(older, weights)
    card = json.loads((tmp_path / "classifier.json").read_text())
    card["format"] = "pyg_graphadapter/classifier/2"
    card["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    del card["confidence"]
    del card["settings"]["nodes"], card["settings"]["whitening"], card["training"]["evidence"]
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    x = data.test.mean_views()
    loaded = FewShotClassifier.load(tmp_path)
    assert torch.equal(loaded.predict_proba(x), saved.predict_proba(x, calibrated=False))


def test_fit_says_that_names_say_nothing(data):
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    file = replace(data, text=-data.text)
    with pytest.warns(UserWarning, match=r"tell this model little.*Your pictures alone decide"):
        classifier = FewShotClassifier.fit(file, shots=4, progress=False)
    evaluation = classifier.evaluate(file)
    assert evaluation.zero_shot < 20 < evaluation.accuracy
    assert f"zero-shot accuracy {evaluation.zero_shot:.2f} %" in str(evaluation)
    with pytest.raises(ValueError, match="a new class needs images"):
        classifier.add_classes(["one more"], text=torch.randn(1, D))


def test_one_shot_cannot_be_whitened(data, task):
    with pytest.warns(UserWarning, match=r"whitening=0\.5 changes nothing: no class has two"):
        GraphAdapter.from_task(EvaluationTask.from_file(data, 1, 1).task, whitening=0.5)
    for metric in (torch.randn(D, D), torch.zeros(D, D)):
        with pytest.raises(ValueError, match="must be symmetric, with a positive diagonal"):
            GraphAdapter(task.text, task.prototypes(), metric=metric)


def test_evidence_in_blocks_of_shots(task, monkeypatch):
    whole = evidence(task)
    blocks = trust.row_blocks
    monkeypatch.setattr(trust, "row_blocks", lambda rows, cols: blocks(rows, cols, 5))
    assert evidence(task) == pytest.approx(whole)
