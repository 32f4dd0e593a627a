import copy

import pytest
import torch
import torch.nn.functional as F

from pyg_graphadapter import EvaluationTask, GraphAdapter, TrainConfig, ZeroShot, train
from pyg_graphadapter.features import Features
from pyg_graphadapter.nn import DualKnowledgeConv, KnowledgeConv
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.testing import fake_features
from tests.reference import class_weights_reference, graph_adapter_reference

D, SCALE = 6, 20.0
ACTS = {"tanh": torch.tanh, "gelu": F.gelu, "none": lambda x: x}


def build(num_classes=7, **settings):
    """An adapter that is no longer at its start, in double precision."""
    text, prototypes = torch.randn(2, num_classes, D, dtype=torch.float64)
    adapter = GraphAdapter(3 * text, prototypes, SCALE, **settings)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return adapter


def trained_tensors(adapter):
    """``W`` and ``b`` of both sides as the reference takes them; zero where there are none."""
    tensors = []
    for side in ("text", "image"):
        conv = adapter.conv.sides().get(side, (None,))[0]
        if conv is None:
            tensors += [torch.zeros(D, D).double(), torch.zeros(D).double()]
        else:
            bias = torch.zeros(D).double() if conv.bias is None else conv.bias
            tensors += [conv.lin.weight.t(), bias]
    return tensors


# The arithmetic ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [1, 2, 3, 8, 10])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("bias", ["class", "shared", "none"])
def test_class_weights_equal_the_published_arithmetic(num_classes, groups, bias):
    adapter = build(num_classes, groups=groups, bias=bias, alpha=0.6)
    expected = class_weights_reference(
        adapter.text, adapter.prototypes, *trained_tensors(adapter), 0.6, 0.7, groups
    )
    torch.testing.assert_close(adapter.class_weights(), expected)


@pytest.mark.parametrize("activation", ACTS)
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_settings_of_the_fusion(activation, alpha, beta):
    adapter = build(activation=activation, alpha=alpha, beta=beta)
    expected = class_weights_reference(
        adapter.text,
        adapter.prototypes,
        *trained_tensors(adapter),
        alpha,
        beta,
        1,
        ACTS[activation],
    )
    torch.testing.assert_close(adapter.class_weights(), expected)


def test_the_self_loop_weight_reaches_the_convolutions():
    adapter = build(self_loop_weight=0.5)
    convs = [module for module in adapter.modules() if isinstance(module, KnowledgeConv)]
    assert [conv.self_loop_weight for conv in convs] == [0.5, 0.5]
    other = GraphAdapter(adapter.text, adapter.prototypes, SCALE)
    assert (adapter.text_messages != other.text_messages).any()


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("num_classes", [8, 10])
def test_training_equals_that_of_the_published_arithmetic(groups, num_classes):
    adapter = build(num_classes, groups=groups)
    names = ("text_conv.lin.weight", "text_conv.bias", "image_conv.lin.weight", "image_conv.bias")
    trained = [adapter.conv.get_parameter(name) for name in names]
    reference = [
        (p.t() if name.endswith("weight") else p).detach().clone().requires_grad_()
        for name, p in zip(names, trained, strict=True)
    ]
    x = torch.randn(30, D, dtype=torch.float64)
    y = torch.arange(30) % num_classes

    def reference_logits():
        return graph_adapter_reference(
            adapter.text, adapter.prototypes, *reference, 0.9, 0.7, groups, SCALE, x
        )

    torch.testing.assert_close(adapter(x), reference_logits())
    start = [p.detach().clone() for p in trained]
    for logits, parameters in ((lambda: adapter(x), trained), (reference_logits, reference)):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(logits(), y).backward()
            optimizer.step()
    for name, p, before, expected in zip(names, trained, start, reference, strict=True):
        assert (p != before).any(), name
        torch.testing.assert_close(p, expected.t() if name.endswith("weight") else expected)
    torch.testing.assert_close(adapter(x), reference_logits())


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("num_classes", [1, 2, 7])
@pytest.mark.parametrize("surplus", [0, 10])
def test_as_many_neighbours_as_classes_are_the_complete_graph(num_classes, groups, surplus):
    complete = build(num_classes, groups=groups, bias="shared")
    settings = {**complete.settings(), "k": num_classes + surplus}
    sparse = GraphAdapter(complete.text, complete.prototypes, SCALE, **settings)
    sparse.load_state_dict(complete.state_dict())
    torch.testing.assert_close(sparse.class_weights(), complete.class_weights())


@pytest.mark.parametrize("groups", [1, 3])
def test_few_neighbours_are_those_of_the_graph(groups):
    adapter = build(9, k=2, groups=groups)
    for g in range(groups):
        for side, nodes in (("text", adapter.text), ("image", adapter.prototypes)):
            nodes = nodes[g::groups]
            a = F.normalize(adapter.text, dim=1) @ F.normalize(nodes, dim=1).t()
            among = F.normalize(nodes, dim=1) @ F.normalize(nodes, dim=1).t()
            among = among.fill_diagonal_(-1)
            for matrix in (a, among):
                for row in matrix:
                    row[row.argsort(descending=True)[2:]] = 0
                matrix.clamp_(min=0)
            r, d = 2 + among.sum(dim=1), 2 + a.sum(dim=1, keepdim=True)
            m = (a / (d * (r + a)).sqrt()) @ nodes + 2 / d * adapter.text
            messages = adapter.get_buffer(f"{side}_messages")
            torch.testing.assert_close(messages if groups == 1 else messages[g], m)


def test_the_order_of_the_classes_matters_in_groups_alone():
    order = torch.tensor([3, 0, 5, 1, 6, 2, 4])
    for groups, same in ((1, True), (2, False)):
        adapter = build(bias="shared", groups=groups)
        permuted = GraphAdapter(
            adapter.text[order], adapter.prototypes[order], SCALE, **adapter.settings()
        )
        permuted.conv.load_state_dict(adapter.conv.state_dict())
        close = torch.allclose(permuted.class_weights(), adapter.class_weights()[order])
        assert close == same


# Parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 2 * (D**2 + 7 * D)),
        ({"groups": 4}, 2 * (D**2 + 7 * D)),
        ({"bias": "shared"}, 2 * (D**2 + D)),
        ({"bias": "none"}, 2 * D**2),
        ({"beta": 0.0}, D**2 + 7 * D),
        ({"beta": 1.0}, D**2 + 7 * D),
    ],
)
def test_number_of_parameters(settings, expected):
    assert build(**settings).num_parameters() == expected


def test_the_published_number_of_parameters():
    with torch.device("meta"):
        conv = DualKnowledgeConv(1024, 1024, num_queries=1000)
    assert sum(p.numel() for p in conv.parameters()) == 4_145_152


@pytest.mark.parametrize("bias", ["class", "shared", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.7, 1.0])
def test_gradients_reach_all_parameters_and_nothing_else(bias, beta):
    adapter = build(bias=bias, beta=beta)
    F.cross_entropy(adapter(torch.randn(9, D).double()), torch.arange(9) % 7).backward()
    for name, parameter in adapter.named_parameters():
        assert (parameter.grad != 0).any(), name
    for name, buffer in adapter.named_buffers():
        assert not buffer.requires_grad, name
    names = {name for name, _ in adapter.named_buffers()}
    sides = {"text"} if beta == 1 else {"image"} if beta == 0 else {"text", "image"}
    assert names == {"text", "prototypes", *(f"{side}_messages" for side in sides)}
    assert set(adapter.state_dict()) == {
        "text",
        "prototypes",
        *(name for name, _ in adapter.named_parameters()),
    }


@pytest.mark.parametrize(
    "settings", [{}, {"groups": 4}, {"activation": "gelu"}, {"alpha": 0.2}, {"k": 2}]
)
def test_starts_at_zero_shot_and_returns_there(settings):
    text, prototypes, x = torch.randn(7, D), torch.randn(7, D), torch.randn(20, D)
    adapter = GraphAdapter(text, prototypes, **settings)
    expected = ZeroShot(text)(x)
    torch.testing.assert_close(adapter(x), expected)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    assert not torch.allclose(adapter(x), expected)
    adapter.reset_parameters()
    torch.testing.assert_close(adapter(x), expected)


@pytest.mark.parametrize("activation", ACTS)
def test_every_activation_can_leave_the_start(activation):
    adapter = GraphAdapter(torch.randn(7, D), torch.randn(7, D), activation=activation)
    F.cross_entropy(adapter(torch.randn(7, D)), torch.arange(7)).backward()
    for name, parameter in adapter.named_parameters():
        assert (parameter.grad != 0).any(), name


# Constants -----------------------------------------------------------------------------------


def test_constants_are_computed_once(monkeypatch):
    adapter = build()
    x = torch.randn(9, D).double()
    expected = adapter(x)

    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr(KnowledgeConv, "collect_knowledge", refuse)
    adapter(x).sum().backward()
    torch.testing.assert_close(adapter.train()(x), expected)
    torch.testing.assert_close(adapter.eval()(x), expected)
    with pytest.raises(AssertionError, match="computed again"):
        build()


def test_what_is_loaded_brings_its_own_constants():
    adapter, other = build(), build()
    other.load_state_dict(adapter.state_dict())
    x = torch.randn(9, D).double()
    assert torch.equal(other(x), adapter(x))


@pytest.mark.parametrize("settings", [{}, {"groups": 4}, {"k": 3}, {"beta": 0.0}])
def test_saved_and_built_again_in_single_precision(settings):
    adapter = build(40, **settings).float()
    x = torch.randn(50, D)
    again = GraphAdapter.from_state(adapter.state_dict(), SCALE, adapter.settings())
    once_more = GraphAdapter.from_state(again.state_dict(), SCALE, again.settings())
    assert torch.equal(once_more(x), again(x))
    torch.testing.assert_close(again(x), adapter(x), rtol=1e-4, atol=1e-4)


def test_the_inputs_are_not_the_buffers():
    text, prototypes = torch.randn(2, 7, D)
    before = copy.deepcopy((text, prototypes))
    adapter = GraphAdapter(text, prototypes)
    adapter.load_state_dict({name: torch.zeros_like(v) for name, v in adapter.state_dict().items()})
    assert torch.equal(text, before[0])
    assert torch.equal(prototypes, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_single_precision(dtype):
    text, prototypes = torch.randn(2, 7, D).to(dtype)
    adapter = GraphAdapter(text, prototypes)
    assert {t.dtype for t in (*adapter.buffers(), *adapter.parameters())} == {torch.float32}
    expected = GraphAdapter(text.float(), prototypes.float())
    torch.testing.assert_close(adapter.text_messages, expected.text_messages)
    assert adapter(torch.randn(3, D).to(dtype)).dtype == torch.float32


# A task --------------------------------------------------------------------------------------


def test_from_task_and_train():
    task = EvaluationTask.from_file(fake_features(5, D), shots=4, seed=1).task
    adapter = GraphAdapter.from_task(task, alpha=0.5)
    torch.testing.assert_close(adapter.prototypes, task.prototypes())
    assert adapter.logit_scale == task.logit_scale
    assert adapter.config.alpha == 0.5
    constants = {name: value.clone() for name, value in adapter.named_buffers()}
    history = train(adapter, task, TrainConfig(epochs=5, device="cpu"), progress=False)
    assert history.loss[-1] < history.loss[0]
    for name, value in adapter.named_buffers():
        assert torch.equal(value, constants[name])
    for name, parameter in adapter.named_parameters():
        assert (parameter != 0).any(), name


def test_a_class_without_a_shot_is_named():
    support = Features(torch.eye(3), torch.tensor([0, 2, 2]))
    task = FewShotTask(("cat", "dog", "fox"), torch.eye(3), support)
    with pytest.raises(ValueError, match="1 of 3 classes have no image: 'dog'"):
        GraphAdapter.from_task(task)


# New classes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["shared", "none"])
@pytest.mark.parametrize("with_images", [True, False])
@pytest.mark.parametrize("settings", [{}, {"groups": 4}, {"k": 3}, {"beta": 1.0}])
def test_extended_equals_built_of_all_classes(bias, with_images, settings):
    adapter = build(bias=bias, **settings)
    text, prototypes = 5 * torch.randn(2, 3, D, dtype=torch.float64)
    before = copy.deepcopy(adapter.state_dict())
    extended = adapter.extend(text, prototypes if with_images else None)
    fresh = GraphAdapter(
        torch.cat([adapter.text, text]),
        torch.cat([adapter.prototypes, prototypes if with_images else F.normalize(text, dim=1)]),
        SCALE,
        **adapter.settings(),
    )
    fresh.conv.load_state_dict(adapter.conv.state_dict())
    x = torch.randn(9, D).double()
    torch.testing.assert_close(extended(x), fresh(x))
    assert extended.num_classes == 10
    assert extended.settings() == adapter.settings()
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.nn.init.zeros_(next(extended.conv.parameters()))
    assert (next(adapter.conv.parameters()) != 0).any()  # a copy


def test_with_per_class_biases_new_classes_get_the_mean_bias():
    adapter = build(bias="class")
    text = torch.randn(2, D, dtype=torch.float64)
    extended = adapter.extend(text)
    for old, new in zip(adapter.conv.parameters(), extended.conv.parameters(), strict=True):
        assert torch.equal(new[: len(old)], old)
        torch.testing.assert_close(new[len(old) :], old.mean(dim=0).expand(len(new) - len(old), D))
    assert extended.num_classes == adapter.num_classes + 2
    assert extended.conv.text_conv.bias.shape == (9, D)


@pytest.mark.parametrize(
    ("text", "prototypes", "message"),
    [
        (torch.ones(1, D), torch.ones(2, D), r"'prototypes' must be \[8, 6\] \(got \[9, 6\]\)"),
        (torch.full((1, D), torch.nan), None, r"'text' must be finite .* rows \[7\]"),
        (torch.ones(1, D), torch.full((1, D), torch.inf), r"'prototypes' must be finite .* \[7\]"),
    ],
)
def test_new_classes_that_do_not_fit_are_refused(text, prototypes, message):
    with pytest.raises(ValueError, match=message):
        build(bias="none").extend(text, prototypes)


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.1}, "'alpha' must be between 0 and 1"),
        ({"alpha": None}, "'alpha' must be a number"),
        ({"beta": -0.1}, "'beta' must be between 0 and 1"),
        ({"beta": float("nan")}, "'beta' must be a finite number"),
        ({"bias": "each"}, "'bias': 'each'. Choose from class, shared, none"),
        ({"groups": 0}, "'groups' must be at least 1"),
        ({"k": 0}, "'k' must be at least 1"),
        ({"activation": "relu"}, "'activation': 'relu'. Choose from tanh, gelu, none"),
        ({"self_loop_weight": -1.0}, "'self_loop_weight' must be at least 0"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GraphAdapter(torch.eye(3), torch.eye(3), **settings)


@pytest.mark.parametrize(
    ("text", "prototypes", "message"),
    [
        (torch.ones(3, D), torch.ones(2, D), r"'prototypes' must be \[3, 6\] \(got \[2, 6\]\)"),
        (torch.ones(D), torch.ones(D), r"'text' must be a floating-point matrix"),
        (torch.ones(3, D).long(), torch.ones(3, D), r"'text' must be a floating-point matrix"),
        (torch.ones(3, D), torch.ones(3, D).long(), r"'prototypes' must be a floating-point"),
        (torch.full((3, D), torch.nan), torch.ones(3, D), r"'text' must be finite .*\[0, 1, 2\]"),
        (torch.ones(3, D), torch.full((3, D), torch.nan), r"'prototypes' must be finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(text, prototypes, message):
    with pytest.raises(ValueError, match=message):
        GraphAdapter(text, prototypes)


@pytest.mark.parametrize("name", ["text", "prototypes", "conv.text_conv.lin.weight"])
def test_a_state_of_another_shape_is_refused(name):
    adapter = build()
    state = {**adapter.state_dict(), name: torch.zeros(3, D)}
    with pytest.raises(ValueError, match=r"'prototypes' must be|not those of GraphAdapter"):
        GraphAdapter.from_state(state, SCALE, adapter.settings())


def test_zero_features_stay_finite():
    text, prototypes = torch.randn(2, 4, D)
    text[1], prototypes[2] = 0, 0
    adapter = GraphAdapter(text, prototypes)
    logits = adapter(torch.cat([torch.randn(2, D), torch.zeros(1, D)]))
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in adapter.parameters())


@pytest.mark.parametrize("settings", [{"groups": 2}, {"activation": "gelu"}])
def test_lower_precision_by_automatic_differentiation(settings):
    torch.manual_seed(0)
    adapter = GraphAdapter(*torch.randn(2, 6, 8), bias="none", **settings)
    x, y = torch.randn(4, 8), torch.arange(4)
    exact = adapter.backward(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = adapter.backward(x, y)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)
