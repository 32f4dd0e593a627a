"""Every explanation adds up to what the adapter computes, and is the published arithmetic's."""

import dataclasses
import itertools
import json

import pytest
import torch
import torch.nn.functional as F

from pyg_graphadapter import EvaluationTask, GraphAdapter, TrainConfig, ZeroShot, train
from pyg_graphadapter.classifier.explanation import (
    Contribution,
    Explanation,
    explain_class,
    explain_image,
)
from pyg_graphadapter.testing import fake_features

D, SCALE = 6, 20.0
OWN = {"text": "own text", "image": "own prototype"}
ACTS = {"tanh": torch.tanh, "gelu": F.gelu, "none": lambda x: x}
CASES = [
    {"num_classes": n, "groups": groups, "k": k, "bias": bias, "activation": activation}
    for n, groups, k, bias, activation in itertools.product(
        (1, 7), (1, 4), (None, 2), ("class", "shared", "none"), ACTS
    )
]
SETTINGS = [
    {},
    {"alpha": 0.0},
    {"alpha": 1.0},
    {"beta": 0.0},
    {"beta": 1.0},
    {"self_loop_weight": 0.0},
    {"self_loop_weight": 0.5, "k": 3},
    {"k": 7},
    {"k": 100, "groups": 2},
    {"groups": 100},
]


def names(num_classes=7):
    return [f"class {c}" for c in range(num_classes)]


def build(num_classes=7, dtype=torch.float64, **settings):
    """An adapter that is no longer at its start."""
    text, prototypes = torch.randn(2, num_classes, D, dtype=dtype)
    adapter = GraphAdapter(3 * text, prototypes, SCALE, **{"alpha": 0.6, **settings})
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return adapter


def total_of(explanation):
    return sum(each.amount for each in explanation.contributions)


def only(explanation, **wanted):
    """The one contribution of this kind."""
    (found,) = (
        each
        for each in explanation.contributions
        if all(getattr(each, name) == value for name, value in wanted.items())
    )
    return found.amount


def check_sums(adapter, x):
    class_names = names(adapter.num_classes)
    logits, weights = adapter(x.unsqueeze(0))[0].detach(), adapter.adapted_nodes().detach()
    for c in {0, adapter.num_classes // 2}:
        image = explain_image(adapter, class_names, x, c)
        assert image.total == pytest.approx(float(logits[c]), abs=1e-4)
        assert total_of(image) == pytest.approx(image.total, abs=1e-4)
        moved = explain_class(adapter, class_names, c)
        cosine = float(weights[c] @ adapter.class_nodes[c])
        sine = float((weights[c] - cosine * adapter.class_nodes[c]).norm())
        assert moved.total == pytest.approx(sine, abs=1e-5)
        assert total_of(moved) == pytest.approx(moved.total, abs=1e-5)


# The sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_contributions_add_up(case):
    check_sums(build(**case), torch.randn(D, dtype=torch.float64))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contributions_add_up_at_every_setting(settings, dtype):
    check_sums(build(**settings, dtype=dtype), 5 * torch.randn(D, dtype=dtype))


def test_a_trained_adapter():
    data = fake_features(9, 16, shots=4)
    task = EvaluationTask.from_file(data, shots=4, seed=1).task
    adapter = GraphAdapter.from_task(task)
    train(adapter, task, TrainConfig(epochs=20, device="cpu"), progress=False)
    check_sums(adapter, data.test.mean_views()[0])


def test_alpha_of_the_moment_counts():
    adapter = build()
    x = torch.randn(D, dtype=torch.float64)
    before = explain_image(adapter, names(), x, 0)
    adapter.config = dataclasses.replace(adapter.config, alpha=0.2)
    check_sums(adapter, x)
    assert explain_image(adapter, names(), x, 0).total != before.total


def test_further_classes():
    check_sums(build(bias="shared", groups=2).extend(torch.randn(2, D)), torch.randn(D).double())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_do_not_matter(guard):
    adapter = build(k=2)
    with guard():
        check_sums(adapter, torch.randn(D, dtype=torch.float64))
    assert all(parameter.grad is None for parameter in adapter.parameters())


# The parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("activation", ACTS)
def test_each_part_by_hand(groups, k, activation):
    adapter = build(groups=groups, k=k, activation=activation, alpha=0.3, beta=0.6)
    x, c = torch.randn(D, dtype=torch.float64), 4
    text, t, act = adapter.text, adapter.text[c], ACTS[activation]
    expected, adapted = {("text", "zero-shot", c): 0.3 * t}, 0.3 * t
    for side, nodes, beta in (("text", text, 0.6), ("image", adapter.prototypes, 0.4)):
        conv = adapter.conv.sides()[side][0]
        W, b = conv.lin.weight.detach().t(), conv.bias[c].detach()
        expected[side, "self-loop", c] = expected[side, "bias", c] = 0
        for g in range(groups):
            index = torch.arange(7)[g::groups]
            p = F.normalize(nodes[index], dim=1)
            a, among = text @ p.t(), (p @ p.t()).fill_diagonal_(-1)
            for row in (*a, *among) if k is not None else ():
                row[row.argsort(descending=True)[k:]] = 0
            a, r = a[c].relu(), 2 + among.relu().sum(dim=1)
            d = 2 + a.sum()
            h = (a / (d * (r + a)).sqrt()) @ nodes[index] @ W + 2 / d * t @ W + b
            slope = 0.7 * beta / groups * act(h) / h
            adapted = adapted + slope * h
            expected[side, "self-loop", c] += slope * (2 / d * t @ W)
            expected[side, "bias", c] += slope * b
            for i, node in enumerate(index.tolist()):
                if a[i] > 0:
                    term = a[i] / (d * (r[i] + a[i])).sqrt() * nodes[node] @ W
                    kind = "neighbour" if node != c else OWN[side]
                    expected[side, kind, node] = slope * term

    torch.testing.assert_close(F.normalize(adapted, dim=0), adapter.class_weights()[c].detach())
    along = SCALE * F.normalize(x, dim=0) / adapted.norm()
    explanation = explain_image(adapter, names(), x, c)
    found = {
        (each.source, each.kind, int(each.class_name.split()[1])): each.amount
        for each in explanation.contributions
    }
    assert found.keys() == expected.keys()
    for part, vector in expected.items():
        assert found[part] == pytest.approx(float(vector @ along), abs=1e-9), part


def test_a_turn_by_hand():
    """Two classes at right angles, W a turn by 90 degrees: t moves along the other axis alone."""
    adapter = GraphAdapter(
        torch.eye(2), torch.eye(2), alpha=0.5, beta=1.0, bias="none", activation="none"
    )
    with torch.no_grad():
        adapter.conv.text_conv.lin.weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    # d = 2 + 1, r = 2: the weight of the own node is 1 / sqrt(3 (2 + 1)), the self-loop's 2 / 3.
    # t* = 0.5 t + 0.5 (1/3 + 2/3) u, at 45 degrees:
    explanation = explain_class(adapter, ["cat", "dog"], 0)
    assert explanation.unit == "sine of the angle turned"
    assert explanation.total == pytest.approx(0.5**0.5)
    assert only(explanation, kind="own text") == pytest.approx(0.5**0.5 / 3)
    assert only(explanation, kind="self-loop") == pytest.approx(0.5**0.5 * 2 / 3)


def test_what_lies_along_the_text_feature_turns_nothing():
    adapter = GraphAdapter(torch.eye(2), torch.eye(2), alpha=0.5, activation="none", bias="none")
    for conv, _ in adapter.conv.sides().values():
        torch.nn.init.eye_(conv.lin.weight)
    explanation = explain_class(adapter, ["cat", "dog"], 1)
    assert explanation.total == pytest.approx(0, abs=1e-7)
    assert all(abs(each.amount) < 1e-7 for each in explanation.contributions)


@pytest.mark.parametrize("activation", ACTS)
def test_parts_that_cancel_have_the_slope_at_zero(activation):
    """Where the bias takes away what was collected, the activation is zero, but not its parts."""
    adapter = build(activation=activation, beta=1.0, alpha=0.5, dtype=torch.float32)
    conv = adapter.conv.text_conv
    with torch.no_grad():
        conv.bias.zero_()
        conv.bias.sub_(conv.transform(adapter.text_messages))
    x = torch.randn(D)
    explanation = explain_image(adapter, names(), x, 2)
    assert explanation.total == pytest.approx(only(explanation, kind="zero-shot"), abs=1e-4)
    slope = 0.5 if activation == "gelu" else 1.0
    expected = (
        SCALE * slope * (conv.bias[2].detach() @ F.normalize(x, dim=0))
    )  # |t*| is alpha = 1 - alpha
    assert only(explanation, kind="bias") == pytest.approx(float(expected), abs=1e-3)
    check_sums(adapter, x)


@pytest.mark.parametrize("start", [True, False])
def test_nothing_moved_nothing(start):
    adapter = build(alpha=0.9 if start else 1.0)
    if start:
        adapter.reset_parameters()
    moved = explain_class(adapter, names(), 0)
    assert {each.amount for each in moved.contributions} == {0.0}
    assert moved.total == pytest.approx(0, abs=1e-7)
    image = explain_image(adapter, names(), torch.randn(D).double(), 0)
    assert image.contributions[0].kind == "zero-shot"
    assert image.contributions[0].amount == pytest.approx(image.total)


def test_a_small_turn_keeps_its_digits():
    adapter = build(dtype=torch.float32)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.mul_(1e-4)
    moved = explain_class(adapter, names(), 0)
    assert 0 < moved.total < 1e-3
    assert total_of(moved) == pytest.approx(moved.total, abs=1e-6)


def test_classes_without_a_prototype_of_any_length_and_twins():
    text, prototypes = torch.randn(2, 7, D).double()
    text[3] = text[1]
    prototypes[0] = 0
    adapter = GraphAdapter(text, prototypes, SCALE, k=2)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    check_sums(adapter, torch.randn(D).double())


def test_only_neighbours_are_named():
    explanation = explain_class(build(9, k=2), names(9), 0)
    for side in OWN:
        kinds = [each.kind for each in explanation.contributions if each.source == side]
        assert kinds.count("neighbour") + kinds.count(OWN[side]) == 2
    without = explain_class(build(beta=1.0, bias="none"), names(), 0)
    assert {(each.source, each.kind) for each in without.contributions} == {
        ("text", "neighbour"),
        ("text", "own text"),
        ("text", "self-loop"),
    }


@pytest.mark.parametrize("groups", [1, 3])
def test_no_class_is_a_neighbour_of_its_own(groups):
    adapter = GraphAdapter(torch.rand(7, D), torch.rand(7, D), SCALE, groups=groups)
    for explanation in (
        explain_class(adapter, names(), 4),
        explain_image(adapter, names(), torch.randn(D), 4),
    ):
        for side, own in OWN.items():
            others = [
                each.class_name
                for each in explanation.contributions
                if (each.source, each.kind) == (side, "neighbour")
            ]
            assert sorted(others) == [name for name in names() if name != "class 4"]
            assert only(explanation, source=side, kind=own, class_name="class 4") is not None


@pytest.mark.parametrize("k", [None, 3])
def test_degrees_in_blocks(monkeypatch, k):
    adapter, x = build(30, k=k), torch.randn(D).double()
    expected = explain_image(adapter, names(30), x)

    def in_threes(num_rows, num_cols):
        return (slice(i, min(i + 3, num_rows)) for i in range(0, num_rows, 3))

    monkeypatch.setattr("pyg_graphadapter.classifier.explanation.row_blocks", in_threes)
    found = explain_image(adapter, names(30), x)
    assert [each.amount for each in found.contributions] == pytest.approx(
        [each.amount for each in expected.contributions]
    )


# What users see ------------------------------------------------------------------------------


def test_the_predicted_class_is_explained_if_none_is_named():
    adapter = build()
    x = torch.randn(D, dtype=torch.float64)
    predicted = int(adapter(x.unsqueeze(0)).argmax())
    explanation = explain_image(adapter, names(), x)
    assert explanation.class_name == f"class {predicted}"
    assert explanation == explain_image(adapter, names(), x, predicted)


def test_largest_first_and_as_json():
    explanation = explain_image(build(), names(), torch.randn(D).double())
    sizes = [abs(each.amount) for each in explanation.contributions]
    assert sizes == sorted(sizes, reverse=True)
    again = json.loads(json.dumps(explanation.as_dict()))
    contributions = tuple(Contribution(**each) for each in again.pop("contributions"))
    assert Explanation(**again, contributions=contributions) == explanation


def test_the_table():
    parts = (
        Contribution("text", "zero-shot", "cat", 12.5),
        Contribution("image", "neighbour", "a\ndog", -0.5),
        Contribution("text", "bias", "cat", 0.25),
    )
    explanation = Explanation("cat", parts, 12.25, "logit")
    assert explanation.table(n=2).splitlines() == [
        "class 'cat'",
        "+12.5000  text   zero-shot 'cat'",
        " -0.5000  image  neighbour 'a\\ndog'",
        " +0.2500  text   1 others",
        "+12.2500         total: logit",
    ]
    assert "others" not in str(explanation)


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((names(6), 0), "6 class names for 7 classes"),
        ((names(), 7), r"'c' must lie in \[0, 7\) \(got 7\)"),
        ((names(), -1), r"'c' must lie in \[0, 7\) \(got -1\)"),
    ],
)
def test_classes_that_there_are_not(arguments, message):
    class_names, c = arguments
    with pytest.raises(ValueError, match=message):
        explain_class(build(), class_names, c)
    with pytest.raises(ValueError, match=message):
        explain_image(build(), class_names, torch.randn(D), c)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (torch.ones(D + 1), r"\[7\]\)"),
        (torch.ones(1, D), r"\[1, 6\]\)"),
        (torch.full((D,), torch.nan), r"\[6\] with NaN or infinity\)"),
    ],
)
def test_features_that_do_not_fit(x, got):
    with pytest.raises(ValueError, match=r"features of one image, \[6\] \(got " + got):
        explain_image(build(), names(), x)


def test_other_methods_have_no_graphs():
    adapter = ZeroShot(torch.eye(7, D))
    with pytest.raises(ValueError, match=r"Only graph_adapter can be explained .* ZeroShot"):
        explain_class(adapter, names(), 0)
    with pytest.raises(ValueError, match=r"Only graph_adapter can be explained"):
        explain_image(adapter, names(), torch.ones(D))
