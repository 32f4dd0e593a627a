"""TransCLIP against its equations, in loops, and what a transductive method must keep to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_graphadapter import EvaluationTask, Features, evaluate
from pyg_graphadapter.adapters import TransCLIP, ZeroShot
from pyg_graphadapter.adapters import transclip as module
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.testing import check_adapter, fake_features
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.selection import select

SCALE = 20.0


@pytest.fixture
def task():
    file = replace(fake_features(num_classes=4, channels=6), logit_scale=SCALE)
    return EvaluationTask.from_file(file, shots=3, seed=1).task


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(30, 6)))


def without_shots(task):
    return task.with_support(torch.zeros(len(task.support), dtype=torch.bool))


def rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


def plain(text, shots, labels, x, gamma, power, scale=SCALE):
    """The class probabilities by the equations, one image, class and dimension at a time."""
    t, x, f = rows(text), rows(x), rows(shots) if len(shots) else shots
    num, classes, width = len(x), len(t), t.shape[1]
    first = [softmax(np.array([scale * (image @ row) for row in t])) for image in x]
    neighbours = []
    for i in range(num):
        cosines = sorted(((x[i] @ x[j], j) for j in range(num) if j != i), reverse=True)[:3]
        neighbours.append([(max(0.0, w), j) for w, j in cosines])
    samples = [(x[i], 1 / num) for i in range(num)]
    samples += [(shot, gamma / len(f)) for shot in f]
    labelled = [np.eye(classes)[label] for label in labels]
    z = list(first)
    for _ in range(10):
        whole = [*z, *labelled]
        mu = np.zeros((classes, width))
        for c in range(classes):
            total = sum(a * p[c] for (_, a), p in zip(samples, whole, strict=True))
            for (image, a), p in zip(samples, whole, strict=True):
                mu[c] += a * p[c] * image / total
        variance = np.zeros(width)
        for (image, a), p in zip(samples, whole, strict=True):
            for c in range(classes):
                variance += a * p[c] * (image - mu[c]) ** 2
        variance /= 1 + gamma if len(f) else 1
        new = []
        for i in range(num):
            logits = np.zeros(classes)
            for c in range(classes):
                logits[c] = power * np.log(first[i][c])
                logits[c] -= 0.5 * sum((x[i] - mu[c]) ** 2 / variance)
                logits[c] += sum(w * z[j][c] for w, j in neighbours[i])
            new.append(softmax(logits))
        z = new
    return np.stack(z)


@pytest.mark.parametrize("gamma", [0.02, 0.5])
def test_the_equations_with_shots(task, x, gamma):
    adapter = TransCLIP.from_task(task, gamma=gamma).double()
    shots = task.support.mean_views().double().numpy()
    expected = plain(
        task.text.double().numpy(), shots, task.support.y.tolist(), x.numpy(), gamma, 0.5
    )
    np.testing.assert_allclose(adapter(x).softmax(dim=1), expected, rtol=1e-5, atol=1e-8)
    assert np.abs(expected - plain(
        task.text.double().numpy(), shots, task.support.y.tolist(), x.numpy(), gamma, 1.0
    )).max() > 1e-3  # fmt: skip


def test_the_equations_without_shots(task, x):
    adapter = TransCLIP.from_task(without_shots(task)).double()
    nothing = np.zeros((0, 6))
    expected = plain(task.text.double().numpy(), nothing, [], x.numpy(), 0.02, 1.0)
    np.testing.assert_allclose(adapter(x).softmax(dim=1), expected, rtol=1e-5, atol=1e-8)
    other = TransCLIP.from_task(without_shots(task), gamma=0.5).double()
    assert torch.equal(other(x), adapter(x))  # there is nothing to weigh


@pytest.mark.parametrize("has_shots", [True, False])
def test_the_order_of_the_images_changes_no_label(task, x, has_shots):
    adapter = TransCLIP.from_task(task if has_shots else without_shots(task))
    x = torch.cat([x.float(), x[:5].float()])  # with copies, which are as near as each other
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    expected = adapter(x)
    torch.testing.assert_close(adapter(x[order]), expected[order], rtol=1e-3, atol=1e-2)
    assert torch.equal(adapter(x[order]).argmax(dim=1), expected[order].argmax(dim=1))
    assert torch.equal(expected[-5:].argmax(dim=1), expected[:5].argmax(dim=1))


def test_the_other_images_change_what_is_predicted(task, x):
    adapter = TransCLIP.from_task(task)
    logits, part = adapter(x.float()), adapter(x[:10].float())
    assert not torch.allclose(logits[:10], part, atol=0.1)


def test_it_is_better_than_zero_shot_on_many_images():
    data = fake_features(num_classes=5, channels=32, tests=60, text_noise=2.0, image_noise=0.8)
    for shots in (0, 4):
        task = EvaluationTask.from_file(data, 4, 1).task
        task = task if shots else without_shots(task)
        accuracy = [evaluate(m.from_task(task), data.test).accuracy for m in (ZeroShot, TransCLIP)]
        assert accuracy[1] > accuracy[0] + 3


def test_one_image_alone_is_near_zero_shot(task, x):
    x = x.float()
    zero_shot = ZeroShot.from_task(task)(x).argmax(dim=1)
    alone = TransCLIP.from_task(without_shots(task))
    assert torch.equal(torch.cat([alone(row[None]) for row in x]).argmax(dim=1), zero_shot)
    with_shots = TransCLIP.from_task(task)
    labels = torch.cat([with_shots(row[None]) for row in x]).argmax(dim=1)
    assert (labels == zero_shot).float().mean() > 0.6


@pytest.mark.parametrize("has_shots", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        torch.empty(0, 6),
        torch.ones(1, 6),
        torch.eye(6)[:2],
        torch.eye(6)[:3],
        torch.ones(50, 6),
        torch.zeros(4, 6),
        torch.cat([torch.ones(5, 6), -torch.ones(5, 6)]),
        torch.eye(6).repeat(3, 1) * 1e30,
    ],
    ids=["none", "one", "two", "three", "equal", "zero", "opposite", "long"],
)
def test_hostile_images(task, rows, has_shots):
    adapter = TransCLIP.from_task(task if has_shots else without_shots(task))
    logits = predict_logits(adapter, rows)  # raises if one is not finite
    assert logits.shape == (len(rows), 4)
    for i in range(len(rows)):
        same = (rows == rows[i]).all(dim=1)
        assert len(set(logits[same].argmax(dim=1).tolist())) == 1


def test_equal_images_have_the_label_of_zero_shot(task):
    image = torch.randn(1, 6, generator=torch.Generator().manual_seed(3))
    label = int(ZeroShot.from_task(task)(image).argmax())
    logits = TransCLIP.from_task(without_shots(task))(image.expand(40, -1))
    assert set(logits.argmax(dim=1).tolist()) == {label}


def test_classes_of_which_there_is_neither_image_nor_shot(task):
    text = torch.cat([task.text, -task.text[:1]])
    far = replace(without_shots(task), text=text, class_names=tuple("abcde"), logit_scale=1e4)
    x = task.support.mean_views()
    logits = predict_logits(TransCLIP.from_task(far), x[task.support.y == 0])
    assert logits.isfinite().all()


def test_a_shot_of_weight_two_is_one_that_is_there_twice(task, x):
    weight = torch.ones(len(task.support))
    weight[0] = 2.0
    weighted = TransCLIP.from_task(replace(task, weight=weight), gamma=0.5)
    index = torch.tensor([0, *range(len(task.support))])
    twice = TransCLIP.from_task(task.with_support(index), gamma=0.5)
    torch.testing.assert_close(weighted(x.float()), twice(x.float()), rtol=1e-4, atol=1e-3)
    once = TransCLIP.from_task(task, gamma=0.5)
    assert not torch.allclose(once(x.float()), twice(x.float()), rtol=1e-3, atol=1e-2)


def test_new_classes_have_texts_alone(task, x):
    adapter = TransCLIP.from_task(task)
    new = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    extended = adapter.extend(new).double()
    shots = task.support.mean_views().double().numpy()
    text = torch.cat([task.text, new]).double().numpy()
    expected = plain(text, shots, task.support.y.tolist(), x.numpy(), 0.02, 0.5)
    np.testing.assert_allclose(extended(x).softmax(dim=1), expected, rtol=1e-4, atol=1e-6)


def test_all_images_of_a_test_set_are_given_at_once(task, x, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.evaluation.EVALUATION_BATCH", 3)
    sizes = []

    class Counted(TransCLIP):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    adapter = Counted.from_task(task)
    logits = predict_logits(adapter, x.float())
    assert sizes == [30]
    assert torch.equal(logits, TransCLIP.from_task(task)(x.float()))
    sizes.clear()
    select(Counted, task, {"gamma": (0.02, 0.5)}, progress=False)
    # Two values in three folds of one image per class; others are checks of the contract:
    assert sizes.count(4) == 6
    assert 3 not in sizes
    sizes.clear()
    assert evaluate(adapter, Features(x.float(), torch.arange(30) % 4)).is_transductive
    assert sizes == [30]
    assert [len(part) for part in _parts(ZeroShot.from_task(task), x.float())] == [3] * 10


def _parts(adapter, x):
    parts = []
    adapter.register_forward_pre_hook(lambda _, arguments: parts.append(arguments[0]))
    predict_logits(adapter, x)
    return parts


def test_gamma_is_selected_inside_the_shots(task):
    selection = select(TransCLIP, task, TransCLIP.grid, progress=False)
    assert selection.settings["gamma"] in TransCLIP.grid["gamma"]
    assert len(selection.accuracy) == len(TransCLIP.grid["gamma"])
    none = select(TransCLIP, without_shots(task), TransCLIP.grid, progress=False)
    assert none.settings == {"gamma": 0.02}


def test_blocks_of_the_edges_change_nothing(task, x, monkeypatch):
    adapter = TransCLIP.from_task(task).double()
    expected = adapter(x)
    calls = []

    def small_blocks(rows, columns):
        calls.append(rows)
        return (slice(start, start + 7) for start in range(0, rows, 7))

    monkeypatch.setattr(module, "row_blocks", small_blocks)
    torch.testing.assert_close(adapter(x), expected)
    assert calls


def test_memory_is_that_of_few_matrices_of_images_and_classes():
    num, classes = 6000, 1000  # a matrix of all pairs would have 144 MB, and edges x classes 72 MB
    generator = torch.Generator().manual_seed(0)
    task = FewShotTask(
        tuple(map(str, range(classes))),
        torch.randn(classes, 16, generator=generator),
        Features(torch.randn(classes, 16, generator=generator), torch.arange(classes)),
    )
    x = torch.randn(num, 16, generator=generator)
    adapter = TransCLIP.from_task(task)
    largest = _largest_tensor(lambda: predict_logits(adapter, x))
    assert largest <= num * classes * 4


def _largest_tensor(work):
    """The bytes of the largest tensor that an operation returns."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(
                leaf.untyped_storage().nbytes()
                for leaf in tree_leaves(result)
                if isinstance(leaf, torch.Tensor)
            )
            return result

    with Watch():
        work()
    return max(sizes)


def test_it_needs_texts(task):
    without_text = FewShotTask.without_text(task.class_names, task.support)
    with pytest.raises(ValueError, match="TransCLIP needs class text features"):
        build_adapter(TransCLIP, without_text, {})


def test_it_keeps_the_contract():
    check_adapter(TransCLIP)
