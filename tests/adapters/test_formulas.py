"""Each method against its formula, written out again in plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from pyg_graphadapter import EvaluationTask, Features, FewShotTask, TrainConfig, train
from pyg_graphadapter.adapters import (
    APE,
    APET,
    CLAP,
    GDA,
    CLIPAdapter,
    CrossModal,
    HierarchicalLDA,
    LinearProbe,
    LPPlusPlus,
    ProKeR,
    SSText,
    TaskRes,
    TipAdapter,
    TipAdapterF,
)
from pyg_graphadapter.testing import fake_features

SCALE = 20.0


def rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def task():
    file = replace(fake_features(num_classes=4, channels=6), logit_scale=SCALE)
    return EvaluationTask.from_file(file, shots=3, seed=1).task


@pytest.fixture
def parts(task):
    """Text ``t``, shots ``x`` and labels ``y`` of the task, and queries ``q``."""
    q = np.random.default_rng(0).normal(size=(7, 6))
    t, x = (rows(x.double().numpy()) for x in (task.text, task.support.mean_views()))
    return t, x, task.support.y.numpy(), q


def assert_logits(adapter, q, expected, tolerance=1e-4):
    logits = adapter.double()(torch.from_numpy(q)).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", [TipAdapter, TipAdapterF])
def test_tip_adapter(task, parts, method):
    t, x, y, q = parts
    expected = SCALE * rows(q) @ t.T
    for i, query in enumerate(rows(q)):
        for key, label in zip(x, y, strict=True):
            expected[i, label] += 3.0 * np.exp(-2.0 * (1 - query @ key))
    assert_logits(method.from_task(task, alpha=3.0, beta=2.0), q, expected)


def test_tip_adapter_f_trains_its_keys_alone(task):
    adapter = TipAdapterF.from_task(task)
    assert [name for name, _ in adapter.named_parameters()] == ["keys"]
    assert adapter.num_parameters() == 12 * 6
    before = adapter.keys.detach().clone()
    history = train(adapter, task, TrainConfig(device="cpu"), progress=False)
    assert history.steps == 20
    assert not torch.equal(adapter.keys, before)


def test_task_res(task, parts):
    t, _, _, q = parts
    adapter = TaskRes.from_task(task, scale=0.25)
    assert_logits(adapter, q, SCALE * rows(q) @ t.T)  # it starts at zero-shot
    with torch.no_grad():
        adapter.residual.normal_()
    residual = adapter.residual.detach().numpy()
    assert_logits(adapter, q, SCALE * rows(q) @ rows(t + 0.25 * residual).T)


@pytest.mark.parametrize("side", ["image", "text", "both"])
def test_clip_adapter(task, parts, side):
    t, _, _, q = parts
    adapter = CLIPAdapter.from_task(task, ratio=0.3, side=side).double()
    assert adapter.num_parameters() == (2 if side == "both" else 1) * 2 * 6 * 1

    def adapted(value, name):
        if name not in adapter.bottleneck:
            return value
        first, _, second, _ = adapter.bottleneck[name]
        for layer in (first, second):
            with torch.no_grad():
                layer.weight.abs_()  # else so narrow a bottleneck may be dead
        w1, w2 = (layer.weight.detach().numpy() for layer in (first, second))
        bottleneck = np.maximum(np.maximum(value @ w1.T, 0) @ w2.T, 0)
        return 0.3 * bottleneck + 0.7 * value

    text, images = adapted(t, "text"), adapted(rows(q), "image")
    assert_logits(adapter, q, SCALE * rows(images) @ rows(text).T)


def test_clap(task, parts):
    t, x, y, q = parts
    adapter = CLAP.from_task(task)
    assert_logits(adapter, q, SCALE * rows(q) @ t.T)  # it starts at zero-shot
    probability = softmax(SCALE * x @ t.T, axis=1)[np.arange(len(y)), y]
    trust = [probability[y == c].mean() for c in range(4)]
    np.testing.assert_allclose(adapter.trust, trust, rtol=1e-5)
    with torch.no_grad():
        adapter.weight.normal_()
    weight = adapter.weight.detach().numpy()
    assert_logits(adapter, q, SCALE * rows(q) @ rows(weight).T)
    expected = np.mean([trust[c] * ((weight[c] - t[c]) ** 2).sum() for c in range(4)])
    assert adapter.penalty().item() == pytest.approx(expected, rel=1e-4)
    assert CLAP.from_task(task, constraint="none").penalty() is None


def test_the_constraint_holds_clap_to_the_texts(task):
    config = TrainConfig(epochs=50, device="cpu")
    moved = {}
    for constraint in ("class", "none"):
        adapter = CLAP.from_task(task, constraint=constraint)
        train(adapter, task, config, progress=False)
        moved[constraint] = (adapter.weight - adapter.text).norm().item()
    assert 0 < moved["class"] < moved["none"]


def test_gda(task, parts):
    t, x, y, q = parts
    mean = np.stack([x[y == c].mean(axis=0) for c in range(4)])
    residual = x - mean[y]
    sigma = residual.T @ residual / (len(x) - 1)
    precision = (len(x) - 4) * np.linalg.pinv((len(x) - 1) * sigma + np.trace(sigma) * np.eye(6))
    expected = SCALE * rows(q) @ t.T
    for c in range(4):
        bias = np.log((y == c).mean()) - 0.5 * mean[c] @ precision @ mean[c]
        expected[:, c] += 0.7 * (rows(q) @ precision @ mean[c] + bias)
    assert_logits(GDA.from_task(task, alpha=0.7), q, expected)


def test_lp_pp(task, parts):
    t, x, y, q = parts
    num, one_hot, likeness = len(x), np.eye(4)[y], x @ t.T
    mean = np.stack([rows(x[y == c].mean(axis=0, keepdims=True))[0] for c in range(4)])
    a = np.full(4, np.mean([250 * mean[c] @ t[c] for c in range(4)]))
    w, b, w_speed, b_speed = one_hot.T @ x, np.zeros(4), 0.0, 0.0
    rate = 4 * num / np.linalg.eigvalsh(x.T @ x)[-1]
    a_rate = num / (4 * (likeness**2).sum(axis=0).max())
    for step in range(1, 301):
        error = (softmax(x @ w.T + b + a * likeness, axis=1) - one_hot) / num
        w_speed, b_speed = 0.9 * w_speed + error.T @ x, 0.9 * b_speed + error.sum(axis=0)
        w, b = w - rate * w_speed, b - 4 * b_speed
        if step % 10 == 0:
            a = a - a_rate * (error * likeness).sum(axis=0)
    expected = rows(q) @ w.T + b + a * (rows(q) @ t.T)
    assert_logits(LPPlusPlus.from_task(task), q, expected, tolerance=2e-2)


def test_proker(task, parts):
    t, x, y, q = parts
    kernel = np.exp(-3.0 * (1 - x @ x.T))
    target = np.eye(4)[y] - softmax(SCALE * x @ t.T, axis=1)
    coef = np.linalg.solve(kernel + 0.5 * np.eye(len(x)), target)
    expected = softmax(SCALE * rows(q) @ t.T, axis=1) + np.exp(-3.0 * (1 - rows(q) @ x.T)) @ coef
    assert_logits(ProKeR.from_task(task, beta=3.0, ridge=0.5), q, SCALE * expected, 1e-3)


def test_proker_solves_once_and_again_after_a_change(task, monkeypatch):
    solutions = []
    solve = ProKeR._solve
    monkeypatch.setattr(
        ProKeR, "_solve", lambda self: (solutions.append(solve(self)), solutions[-1])[1]
    )

    def assert_solved(adapter, num_solutions):
        fresh = ProKeR(adapter.text, adapter.keys, adapter.labels, SCALE, **adapter.settings())
        expected = fresh(x.to(adapter.text))
        solutions.clear()
        for _ in range(2):
            torch.testing.assert_close(adapter(x.to(adapter.text)), expected)
        assert len(solutions) == num_solutions

    x = torch.randn(5, 6)
    adapter, other = ProKeR.from_task(task), ProKeR.from_task(task, beta=9.0)
    assert_solved(adapter, 1)
    assert_solved(adapter, 0)
    adapter.config = other.config
    assert_solved(adapter, 1)
    state = {name: value.flip(0) for name, value in adapter.state_dict().items()}
    adapter.load_state_dict(state)
    assert_solved(adapter, 1)
    assert_solved(adapter.double(), 1)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_linear_probe(num_classes):
    file = fake_features(num_classes=num_classes, channels=6)
    task = EvaluationTask.from_file(file, shots=3, seed=1).task
    x, y = rows(task.support.mean_views().double().numpy()), task.support.y.numpy()
    q = np.random.default_rng(0).normal(size=(7, 6))

    def loss(flat):
        w, b = flat[: num_classes * 6].reshape(num_classes, 6), flat[num_classes * 6 :]
        # scikit-learn has one weight vector for two classes, which is the difference of ours:
        norm = ((w[1] - w[0]) ** 2).sum() if num_classes == 2 else (w**2).sum()
        fit = -log_softmax(x @ w.T + b, axis=1)[np.arange(len(y)), y].sum()
        return 5.0 * fit + 0.5 * norm

    optimum = minimize(loss, np.zeros(num_classes * 7), tol=1e-10).x
    w, b = optimum[: num_classes * 6].reshape(num_classes, 6), optimum[num_classes * 6 :]
    expected = softmax(rows(q) @ w.T + b, axis=1)
    adapter = LinearProbe.from_task(task, strength=5.0)
    logits = adapter(torch.from_numpy(q).float()).double().numpy()
    np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=5e-3)


def test_cross_modal(task, parts):
    t, _, _, q = parts
    adapter = CrossModal.from_task(task, text_weight=0.5)
    assert_logits(adapter, q, SCALE * rows(q) @ t.T)  # it starts at zero-shot
    with torch.no_grad():
        adapter.weight.normal_()
    weight = adapter.weight.detach().numpy()
    assert_logits(adapter, q, SCALE * rows(q) @ weight.T)
    texts = -log_softmax(SCALE * t @ weight.T, axis=1).diagonal().mean()
    assert adapter.penalty().item() == pytest.approx(0.5 * texts, rel=1e-4)


def unbalanced(task):
    """The task with 3, 2, 1 and 3 shots of its classes."""
    return task.with_support(torch.tensor([0, 1, 2, 3, 4, 6, 9, 10, 11]))


def shots_of(task):
    return rows(task.support.mean_views().double().numpy()), task.support.y.numpy()


@pytest.mark.parametrize("texts", ["own", "none", "equal"])
def test_hierarchical_lda(task, parts, texts):
    t, _, _, q = parts
    task = unbalanced(task)
    if texts == "none":
        task = replace(task, has_text=False)
    if texts == "equal":
        task = replace(task, text=task.text[:1].repeat(4, 1))
    x, y = shots_of(task)
    kappa, ridge, strength, num = 2.0, 0.5, 0.7, len(x)
    shot_mean = np.stack([x[y == c].mean(axis=0) for c in range(4)])
    centre = shot_mean.mean(axis=0)
    prediction = np.zeros((4, 6))
    if texts == "own":
        centred = t - t.mean(axis=0)
        target = (shot_mean - centre).ravel()
        (a,) = np.linalg.lstsq(centred.ravel()[:, None], target, rcond=None)[0]
        assert a > 0
        # The ridge regression, by its D x D form: a map of texts that is shrunk to a times itself.
        rho = ridge * (centred**2).sum(axis=1).mean()
        gram = centred.T @ centred + rho * np.eye(6)
        shift = np.linalg.solve(gram, centred.T @ (shot_mean - centre - a * centred))
        prediction = centred @ (a * np.eye(6) + shift)
    mean = np.empty((4, 6))
    for c in range(4):
        shots = (y == c).sum()
        mean[c] = centre + (shots * (shot_mean[c] - centre) + kappa * prediction[c]) / (
            shots + kappa
        )
    covariance = sum(np.outer(f - mean[c], f - mean[c]) for f, c in zip(x, y, strict=True)) / num
    share = strength * 6 / (strength * 6 + num)
    covariance = (1 - share) * covariance + share * np.trace(covariance) / 6 * np.eye(6)
    # Log-densities of Gaussians, up to a term that is the same for all classes:
    deviation = rows(q)[:, None] - mean
    expected = -0.5 * (deviation @ np.linalg.inv(covariance) * deviation).sum(axis=2)
    settings = {"prior_shots": kappa, "ridge": ridge, "shrinkage": strength}
    adapter = HierarchicalLDA.from_task(task, **settings).double()
    logits = adapter(torch.from_numpy(q)).numpy()
    np.testing.assert_allclose(
        log_softmax(logits, axis=1), log_softmax(expected, axis=1), rtol=1e-4, atol=1e-4
    )


def test_hierarchical_lda_of_one_shot(parts):
    """There is a scatter around the shrunk means; without shrinkage, that of all shots is taken."""
    file = fake_features(num_classes=4, channels=6, shots=1)
    task = FewShotTask.without_text(file.class_names, file.train)
    x, _ = shots_of(task)
    q = rows(parts[3])
    centre = x.mean(axis=0)
    for kappa in (0.0, 3.0):
        mean = centre + (x - centre) / (1 + kappa)
        residual = x - (mean if kappa else centre)
        covariance = residual.T @ residual / 4
        share = 6 / (6 + 4)
        covariance = (1 - share) * covariance + share * np.trace(covariance) / 6 * np.eye(6)
        deviation = q[:, None] - mean
        expected = -0.5 * (deviation @ np.linalg.inv(covariance) * deviation).sum(axis=2)
        adapter = HierarchicalLDA.from_task(task, prior_shots=kappa).double()
        logits = adapter(torch.from_numpy(q)).numpy()
        np.testing.assert_allclose(
            log_softmax(logits, axis=1), log_softmax(expected, axis=1), rtol=1e-3, atol=1e-3
        )


def test_hierarchical_lda_trusts_its_prior_less_without_texts(task):
    settings = HierarchicalLDA.from_task(replace(task, has_text=False)).settings()
    assert settings["prior_shots"] == 1.0
    assert HierarchicalLDA.from_task(task).settings()["prior_shots"] == 8.0
    bare = HierarchicalLDA.from_task(replace(task, has_text=False), prior_shots=4.0)
    assert bare.settings()["prior_shots"] == 4.0


@pytest.mark.parametrize("repulsion", [False, True])
def test_ss_text(task, parts, repulsion):
    t, _, _, q = parts
    task = unbalanced(task)
    x, y = shots_of(task)

    def loss(w):
        """What the weights are the minimum of."""
        fit = -np.mean([SCALE * f @ w[c] for f, c in zip(x, y, strict=True)])
        return fit + sum(0.5 / (y == c).sum() * ((w[c] - t[c]) ** 2).sum() for c in range(4))

    w = minimize(lambda flat: loss(flat.reshape(4, 6)), t.ravel(), tol=1e-12).x.reshape(4, 6)
    if repulsion:
        for c, direction in enumerate(2 * w - w.mean(axis=0)):
            w[c] = w[c] - direction / np.linalg.norm(direction)
    adapter = SSText.from_task(task, repulsion=repulsion)
    assert_logits(adapter, q, SCALE * rows(q) @ rows(w).T, 1e-3)


def test_ss_text_bounds_the_trust_in_many_shots(task, parts):
    t, x, y, q = parts
    many = 2000
    support = Features(task.support.x[y == 0][:1].repeat(many, 1, 1), torch.zeros(many).long())
    others = task.support.select(torch.tensor([3, 6, 9]))
    both = Features(torch.cat([support.x, others.x]), torch.cat([support.y, others.y]))
    adapter = SSText.from_task(replace(task, support=both))
    w = t + SCALE / (many + 3) * np.array([[many * 1000.0], [1.0], [1.0], [1.0]]) * x[[0, 3, 6, 9]]
    assert_logits(adapter, q, SCALE * rows(q) @ rows(w).T, 1e-3)


def test_ss_text_refuses_a_repulsion_that_turns_its_weights_around(task):
    small = replace(task, logit_scale=0.1)  # short weights, as of many classes
    with pytest.raises(ValueError, match=r"'repulsion' would turn the weights of 4 of 4 classes"):
        SSText.from_task(small, repulsion=True)
    SSText.from_task(small)


def channels_and_weights(t, x, y, number, gamma):
    """The refined channels and the weights of the shots, by loops."""
    criterion = []
    for values in t.T:
        pairs = [a * b for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
        criterion.append(0.7 * sum(pairs) / len(t) ** 2 - 0.3 * np.var(values))
    kept = sorted(sorted(range(len(criterion)), key=criterion.__getitem__)[:number])
    cosine = rows(x[:, kept]) @ rows(t[:, kept]).T
    divergence = -np.log(softmax(cosine, axis=1)[np.arange(len(y)), y])
    weight = np.exp(gamma * divergence)
    return kept, weight / weight.mean()


def test_ape(task, parts):
    t, _, _, q = parts
    task = unbalanced(task)
    x, y = shots_of(task)
    kept, weight = channels_and_weights(t, x, y, number=4, gamma=2.0)
    assert weight.std() > 0.01
    expected = SCALE * rows(q) @ t.T
    for i, query in enumerate(rows(q[:, kept])):
        for key, label, score in zip(rows(x[:, kept]), y, weight, strict=True):
            expected[i, label] += 3.0 * score * np.exp(-2.0 * (1 - query @ key))
    settings = {"alpha": 3.0, "beta": 2.0, "gamma": 2.0, "channels": 0.7}
    assert_logits(APE.from_task(task, **settings), q, expected)
    assert_logits(APET.from_task(task, **settings), q, expected)  # it starts there


def test_ape_t(task, parts):
    t, x, y, q = parts
    kept, weight = channels_and_weights(t, x, y, number=3, gamma=1.0)
    adapter = APET.from_task(task, alpha=3.0, beta=2.0, gamma=1.0, channels=0.5)
    assert {name: list(p.shape) for name, p in adapter.named_parameters()} == {
        "residual": [4, 3],
        "score": [12],
    }
    with torch.no_grad():
        adapter.residual.normal_()
        adapter.score.uniform_(0.5, 2.0)
    residual, score = (p.detach().double().numpy() for p in (adapter.residual, adapter.score))
    text = t.copy()
    text[:, kept] += residual
    expected = SCALE * rows(q) @ rows(text).T
    for i, query in enumerate(rows(q[:, kept])):
        for n, label in enumerate(y):
            key = x[n, kept] + residual[label]
            cosine = query @ key / np.linalg.norm(key)
            expected[i, label] += 3.0 * score[n] * weight[n] * np.exp(-2.0 * (1 - cosine))
    assert_logits(adapter, q, expected, 1e-3)


def test_ape_t_trains_residuals_and_scores(task):
    adapter = APET.from_task(task)
    before = adapter(task.support.mean_views()).detach()
    history = train(adapter, task, TrainConfig(device="cpu"), progress=False)
    assert history.steps == 20
    assert (adapter.residual != 0).all()
    assert (adapter.score != 1).all()
    assert (adapter(task.support.mean_views()) - before).abs().max() > 0.01
    assert history.loss[-1] < history.loss[0]


def test_ape_refines_again_after_a_change(task):
    """It holds what it computed of its tensors, and no more when these change."""
    x = torch.randn(5, 6)
    adapter = APE.from_task(task, gamma=3.0)

    def assert_fresh():
        fresh = APE(adapter.text, adapter.keys, adapter.labels, SCALE, **adapter.settings())
        q = x.to(adapter.text)
        torch.testing.assert_close(adapter(q), fresh(q), rtol=1e-5, atol=1e-5)

    assert_fresh()
    refinement = adapter.refinement()
    adapter.config = replace(adapter.config, gamma=1.0, beta=9.0)
    assert adapter.refinement() is refinement
    assert_fresh()
    adapter.config = replace(adapter.config, channels=0.1)
    assert adapter.refinement().keys.shape == (12, 2)  # in one channel, there are signs alone
    assert_fresh()
    adapter.load_state_dict({name: value.flip(0) for name, value in adapter.state_dict().items()})
    assert_fresh()
    adapter.double()
    assert adapter.refinement().keys.dtype == torch.float64
    assert_fresh()


def test_ape_can_be_trained_after_it_predicted(task):
    adapter = APET.from_task(task)
    with torch.inference_mode():
        adapter(task.support.mean_views())
    train(adapter, task, TrainConfig(epochs=1, device="cpu"), progress=False)
    assert adapter.residual.any()
