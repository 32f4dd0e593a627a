"""What all methods have in common, tested for every method."""

import copy
import pickle
from dataclasses import fields, replace
from itertools import product

import pytest
import torch

from pyg_graphadapter import Features, TrainConfig, train
from pyg_graphadapter.adapters import (
    ADAPTERS,
    CLAP,
    GDA,
    Adapter,
    GraphAdapter,
    LinearAdapter,
    LinearProbe,
    ProKeR,
    TipAdapter,
    ZeroShot,
    adapter_class,
)
from pyg_graphadapter.adapters.prediction import PredictionTuned, prediction_settings
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import EvaluationTask
from pyg_graphadapter.testing import fake_features

methods = pytest.mark.parametrize(
    "method", [adapter_class(name) for name in ADAPTERS], ids=ADAPTERS
)


class FakeTextEncoder:
    """The mean of the token embeddings, for prompts of placeholders and one token per name."""

    table = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))

    def token_ids(self, text):
        return torch.zeros(len(text.split()), dtype=torch.long)

    def tokenize_around(self, names, length, position):
        ids = torch.zeros(len(names), length + 1, dtype=torch.long)
        ids[:, -1] = torch.arange(1, len(names) + 1)
        return {"input_ids": ids}, torch.arange(length).repeat(len(names), 1)

    def embed_tokens(self, input_ids):
        return self.table[input_ids]

    def encode_embeddings(self, embeddings, tokens):
        return unit(embeddings.mean(dim=1))


@pytest.fixture
def task():
    file = fake_features(num_classes=5, channels=8)
    task = EvaluationTask.from_file(file, 3, 1).task
    return replace(task, text_encoder=FakeTextEncoder())


def randomized(adapter):
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    return adapter


def test_adapter_class():
    assert adapter_class("graph_adapter") is GraphAdapter
    assert adapter_class("zero_shot") is ZeroShot
    classes = [adapter_class(name) for name in ADAPTERS]
    assert [method.__name__ for method in classes] == list(ADAPTERS.values())
    assert len(set(classes)) == len(ADAPTERS)
    assert all(issubclass(method, Adapter) for method in classes)


def test_unknown_method():
    listed = ", ".join(ADAPTERS)
    with pytest.raises(ValueError, match=f"Unknown method 'dora'. Choose from {listed}"):
        adapter_class("dora")


def test_the_contract_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        Adapter(torch.eye(3))


def test_tensors_of_the_wrong_shape_are_refused():
    text = torch.eye(3)
    with pytest.raises(ValueError, match=r"'trust' must be \[3\] \(got \[2\]\)"):
        CLAP(text, torch.ones(2))
    with pytest.raises(ValueError, match=r"'weight' must be \[3, 3\] \(got \[3, 4\]\)"):
        GDA(text, torch.ones(3, 4), torch.ones(3))
    with pytest.raises(ValueError, match=r"'keys' must be \[5, 3\] \(got \[5, 2\]\)"):
        TipAdapter(text, torch.ones(5, 2), torch.zeros(5).long())
    with pytest.raises(ValueError, match=r"'labels' must be \[5\] \(got \[4\]\)"):
        ProKeR(text, torch.ones(5, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"'bias' must be \[3\] \(got \[3, 1\]\)"):
        LinearProbe(text, torch.ones(3, 3), torch.ones(3, 1))
    with pytest.raises(ValueError, match="'keys' must be a floating-point matrix"):
        TipAdapter(text, torch.ones(5), torch.zeros(5).long())


@methods
def test_features_in_logits_out(method, task):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    logits = adapter(x)
    assert logits.shape == (7, adapter.num_classes)
    assert logits.isfinite().all()
    if isinstance(adapter, LinearAdapter):
        weights, biases = adapter.class_weights(), adapter.class_biases()
        assert weights.shape == (5, 8)
        expected = task.logit_scale * (x / x.norm(dim=1)[:, None]) @ weights.t()
        expected = expected if biases is None else expected + biases
        # A logit is up to `logit_scale`, and one near zero is exact to that number's rounding:
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6 * task.logit_scale)
    torch.testing.assert_close(adapter(10 * x), logits, rtol=1e-4, atol=1e-3)  # of any length
    assert adapter(x[:0]).shape == (0, 5)


@methods
def test_inputs_are_tensors_of_the_same_name(method, task):
    adapter = method.from_task(task)
    tensors = {**dict(adapter.named_buffers()), **dict(adapter.named_parameters())}
    for name in method.inputs:
        if name in method.optional_inputs and name not in tensors:
            continue
        assert name in tensors
        assert name in adapter.state_dict()


@methods
def test_settings_build_it_again(method, task):
    settings = method.from_task(task).settings()
    chosen = method.settings_for(task, {})
    if method.__name__ != "CoOp":  # it chooses settings when it is built
        assert method.Config(**settings) == method.Config(**chosen)
    assert method.settings_for(task, settings) == {}
    assert method.from_task(task, **settings).settings() == settings


@methods
def test_saved_and_built_again_it_gives_the_same_logits(method, task):
    adapter = randomized(method.from_task(task))
    state = copy.deepcopy(adapter.state_dict())
    again = method.from_state(state, task.logit_scale, adapter.settings())
    x = torch.randn(50, 8)
    assert torch.equal(again(x), adapter(x))
    for name, value in adapter.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@methods
@pytest.mark.parametrize("travel", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_it_travels(method, task, travel):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    assert torch.equal(travel(adapter)(x), adapter(x))


@methods
def test_it_moves_and_changes_type_with_its_buffers(method, task):
    adapter = randomized(method.from_task(task))
    x = torch.randn(7, 8)
    expected = adapter(x)
    adapter = adapter.double()
    tensors = [t for t in (*adapter.buffers(), *adapter.parameters()) if t.is_floating_point()]
    assert {t.dtype for t in tensors} == {torch.float64}
    torch.testing.assert_close(adapter(x.double()), expected.double(), rtol=1e-4, atol=1e-4)
    adapter = adapter.to("meta")
    assert {t.device.type for t in (*adapter.buffers(), *adapter.parameters())} == {"meta"}


@methods
def test_inputs_are_not_changed(method, task):
    before = copy.deepcopy(task)
    adapter = method.from_task(task)
    state = {name: value + 1 for name, value in adapter.state_dict().items()}
    adapter.load_state_dict(state)
    assert torch.equal(task.text, before.text)
    assert torch.equal(task.support.x, before.support.x)


@methods
@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("text"),
        lambda state: state.update(surplus=torch.zeros(1)),
        lambda state: state.update(text=torch.zeros(())),
    ],
    ids=["missing", "surplus", "no matrix"],
)
def test_a_state_of_something_else_is_refused(method, task, change):
    state = dict(method.from_task(task).state_dict())
    change(state)
    with pytest.raises(ValueError, match=r"tensors are not those of|must be"):
        method.from_state(state, 100.0, {})


@methods
def test_a_setting_that_is_not_known_is_refused(method, task):
    state = method.from_task(task).state_dict()
    with pytest.raises(ValueError, match=f"not those of {method.__name__} .*'surplus'"):
        method.from_state(state, 100.0, {"surplus": 1})


@methods
def test_every_setting_of_the_grid_is_one(method):
    names = {field.name for field in fields(method.Config)}
    assert method.grid.keys() <= names
    assert set(prediction_settings(method)) <= names
    for name, values in method.grid.items():
        assert getattr(method.Config(), name) in values
        for value in values:
            method.Config(**{name: value})


@methods
def test_prediction_settings_are_tried_on_one_fit(method, task):
    if not prediction_settings(method):
        pytest.skip("it has none")
    adapter = randomized(method.from_task(task))
    x, y = torch.randn(40, 8), torch.randint(5, (40,))
    assert isinstance(adapter, PredictionTuned)
    config = adapter.config
    full_grid = {name: method.grid[name][::3] for name in method.prediction_settings}
    some_name = method.prediction_settings[-1]
    grids = [full_grid, dict(reversed(full_grid.items())), {some_name: full_grid[some_name]}]
    for grid in grids:
        is_right = adapter.right_over(x, y, grid)
        assert adapter.config is config
        for row, values in zip(is_right, product(*grid.values()), strict=True):
            settings = adapter.settings() | dict(zip(grid, values, strict=True))
            variant = method.from_state(adapter.state_dict(), task.logit_scale, settings)
            assert torch.equal(row, variant(x).argmax(dim=1) == y)
        assert is_right.float().std() > 0


def test_only_some_methods_have_prediction_settings():
    names = {name for name in ADAPTERS if prediction_settings(adapter_class(name))}
    assert names == {"tip_adapter", "tip_adapter_f", "gda", "proker", "ape", "ape_t"}
    assert not isinstance(ZeroShot(torch.eye(2)), PredictionTuned)


@methods
@pytest.mark.parametrize(("num_classes", "shots"), [(1, 1), (1, 3), (2, 1), (2, 3), (9, 1)])
def test_few_classes_and_shots(method, num_classes, shots):
    file = fake_features(num_classes=num_classes, channels=8, shots=shots)
    task = EvaluationTask.from_file(file, shots, 1).task
    task = replace(task, text_encoder=FakeTextEncoder())
    adapter = method.from_task(task)
    train(adapter, task, TrainConfig(epochs=2, device="cpu"), progress=False)
    logits = adapter(task.support.mean_views())
    assert logits.shape == (num_classes * shots, num_classes)
    assert not logits.isnan().any()


@methods
def test_classes_with_more_shots_than_others_and_several_views(method, task):
    x = torch.randn(8, 3, 8)
    support = Features(x, torch.tensor([0, 0, 0, 1, 2, 3, 4, 4]))
    uneven = replace(task, support=support)
    adapter = method.from_task(uneven)
    train(adapter, uneven, TrainConfig(epochs=2, device="cpu"), progress=False)
    assert adapter(x[:, 0]).isfinite().all()
    zero = replace(task, support=Features(torch.zeros(5, 8), torch.arange(5)))
    assert not method.from_task(zero)(x[:, 0]).isnan().any()


@methods
def test_what_is_trained_has_parameters(method, task):
    parameters = [p for p in method.from_task(task).parameters() if p.requires_grad]
    assert bool(parameters) == method.is_trained


@methods
def test_new_classes_are_classified_or_refused(method, task):
    adapter = method.from_task(task)
    text = torch.randn(2, 8)
    if method.__name__ in ("ZeroShot", "GraphAdapter", "CLIPAdapter", "CoOp", "TransCLIP"):
        extended = adapter.extend(text, class_names=["new", "newer"])
        assert extended.num_classes == adapter.num_classes + 2
        assert extended(torch.randn(3, 8)).shape == (3, 7)
    else:
        with pytest.raises(ValueError, match=f"{method.__name__} cannot classify new classes"):
            adapter.extend(text)


@methods
def test_lower_precision_is_that_of_the_factors_alone(method, task, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.training.training_step.has_bfloat16", lambda device: True)
    if not method.is_trained:
        pytest.skip("it is not trained")
    histories = []
    for precision in ("float32", "bfloat16"):
        adapter = method.from_task(task)
        config = TrainConfig(epochs=3, precision=precision)
        histories.append(train(adapter, task, config, progress=False))
        assert adapter(task.support.mean_views()).dtype == torch.float32
    assert histories[1].loss == pytest.approx(histories[0].loss, rel=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert adapter.train()(task.support.mean_views()).dtype == torch.float32


@methods
def test_text_of_any_layout(method, task):
    column_major = replace(task, text=task.text.t().contiguous().t())
    logits = []
    for variant in (task, column_major):
        adapter = method.from_task(variant)
        train(adapter, variant, TrainConfig(epochs=3), progress=False)
        logits.append(adapter(task.support.mean_views()))
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-3)
