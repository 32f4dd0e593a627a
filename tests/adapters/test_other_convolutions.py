"""GraphAdapter with another convolution in the place of the paper's."""

import copy

import pytest
import torch
from torch_geometric import nn as pyg

from pyg_graphadapter import (
    EvaluationTask,
    GraphAdapter,
    TrainConfig,
    evaluate,
    train,
)
from pyg_graphadapter.adapters import graph_adapter
from pyg_graphadapter.classifier.explanation import explain_class
from pyg_graphadapter.nn import CONVS
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.selection import select
from pyg_graphadapter.training.training_step import can_record

C, D = 6, 16
convs = pytest.mark.parametrize("name", CONVS)


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=C, channels=D, shots=4)


@pytest.fixture(scope="module")
def evaluation(data):
    return EvaluationTask.from_file(data, shots=4, seed=1)


def build(evaluation, name, **settings):
    return GraphAdapter.from_task(evaluation.task, conv=name, **settings)


@convs
def test_the_start_is_the_same_everywhere_and_changes_no_later_draw(evaluation, name):
    torch.manual_seed(1)
    first = build(evaluation, name)
    after = torch.rand(1)
    torch.manual_seed(1)
    torch.rand(3)
    second = build(evaluation, name)
    second.conv.reset_parameters()
    second.reset_parameters()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)


@convs
@pytest.mark.parametrize("k", [2, None])
def test_trains_saves_and_loads(evaluation, name, k, tmp_path):
    adapter = build(evaluation, name, k=k)
    x, y = evaluation.task.support.mean_views(), evaluation.task.support.y
    before = float(adapter.backward(x, y))
    train(adapter, evaluation.task, TrainConfig(epochs=60), progress=False)
    assert float(adapter.backward(x, y)) < before
    loaded = GraphAdapter.from_state(adapter.state_dict(), adapter.logit_scale, adapter.settings())
    torch.testing.assert_close(loaded(x), adapter(x))
    assert loaded.settings()["conv"] == name
    torch.testing.assert_close(copy.deepcopy(adapter)(x), adapter(x))


@convs
def test_new_classes_are_further_nodes(evaluation, name):
    adapter = build(evaluation, name)
    for side, _ in adapter.conv.sides().values():
        torch.nn.init.normal_(side.bias)
    extended = adapter.extend(torch.randn(2, D))
    assert extended.num_classes == C + 2
    bias = extended.conv.text_conv.bias
    torch.testing.assert_close(bias[:C], adapter.conv.text_conv.bias)
    torch.testing.assert_close(bias[C:], adapter.conv.text_conv.bias.mean(0).expand(2, -1))
    assert extended(torch.randn(3, D)).shape == (3, C + 2)


@pytest.mark.parametrize("bias", ["class", "shared", "none"])
def test_the_bias_is_that_of_the_adapter(evaluation, bias):
    adapter = build(evaluation, "GCNConv", bias=bias)
    shapes = {"class": (C, D), "shared": (D,)}
    for side, _ in adapter.conv.sides().values():
        assert side.bias is None if bias == "none" else side.bias.shape == shapes[bias]


def test_other_texts_bring_other_edges(evaluation):
    adapter = build(evaluation, "GCNConv", k=2)
    other = GraphAdapter(
        adapter.prototypes, adapter.text, metric=torch.eye(D), **adapter.settings()
    )
    other.load_state_dict(adapter.state_dict())
    x = torch.randn(3, D)
    torch.testing.assert_close(other(x), adapter(x))


@pytest.mark.parametrize("kind", [pyg.GCNConv, pyg.SGConv])
def test_edges_that_a_convolution_caches_do_not_outlive_their_texts(evaluation, kind):
    task = evaluation.task

    def cached(i, o):
        return kind(i, o, cached=True)

    adapter = GraphAdapter(task.text, task.prototypes(), conv=cached, k=2)
    x = torch.randn(3, D)
    adapter(x)  # fills the cache
    state = adapter.state_dict()
    state["text"], state["prototypes"] = state["prototypes"], state["text"]
    adapter.load_state_dict(state)
    fresh = GraphAdapter(state["text"], state["prototypes"], conv=cached, k=2)
    fresh.load_state_dict(state)
    torch.testing.assert_close(adapter(x), fresh(x))


def test_selection_and_evaluation(evaluation):
    grid = {"alpha": (0.9, 0.5)}
    selected = select(
        GraphAdapter, evaluation.task, grid, TrainConfig(epochs=5), conv="SAGEConv", progress=False
    ).settings
    assert selected.keys() == {"alpha"}
    adapter = build(evaluation, "SAGEConv", **selected)
    assert evaluate(adapter, evaluation).num_images == len(evaluation.test)


def test_a_classifier_is_saved_by_the_convolutions_name(data, tmp_path):
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    classifier = FewShotClassifier.fit(data, 4, conv="SAGEConv", k=3, select=False, progress=False)
    classifier.save(tmp_path)
    x = data.test.mean_views()
    loaded = FewShotClassifier.load(tmp_path)
    torch.testing.assert_close(loaded.predict_proba(x), classifier.predict_proba(x))
    assert "SAGEConv" in (tmp_path / "classifier.json").read_text()
    assert loaded.export().shape == (C, D)


def test_a_function_cannot_be_saved(data, tmp_path):
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    classifier = FewShotClassifier.fit(
        data, 4, conv=lambda i, o: pyg.SAGEConv(i, o), select=False, progress=False
    )
    with pytest.raises(ValueError, match="'conv' is a Python function, which cannot be saved"):
        classifier.save(tmp_path / "classifier")


def test_what_belongs_to_the_papers_convolution(evaluation, data):
    with pytest.raises(ValueError, match="'groups' is a part of KnowledgeConv"):
        build(evaluation, "SAGEConv", groups=4)
    with pytest.raises(ValueError, match="'self_loop_weight' is a part of KnowledgeConv"):
        build(evaluation, "SAGEConv", self_loop_weight=1.0)
    with pytest.raises(ValueError, match=r"Unknown 'conv': 'GNN'. Choose from KnowledgeConv, GCN"):
        build(evaluation, "GNN")
    with pytest.raises(ValueError, match="'alpha' must be between 0 and 1"):
        build(evaluation, pyg.SAGEConv, alpha=2)
    adapter = build(evaluation, "SAGEConv")
    with pytest.raises(ValueError, match=r"Only KnowledgeConv can be taken apart .*SAGEConv"):
        explain_class(adapter, data.class_names, 0)
    with pytest.raises(ValueError, match="collects its messages once"):
        adapter.conv.collect_knowledge({})
    assert not can_record(adapter, torch.device("cuda"), 10_000)


def test_messages_that_would_fill_the_memory_are_refused(evaluation, monkeypatch):
    monkeypatch.setattr(graph_adapter, "LARGEST_MESSAGES", 2 * C * C * D - 1)
    with pytest.raises(ValueError, match="72 edges, which takes too much memory: set k"):
        build(evaluation, "GATv2Conv")
    build(evaluation, "GATv2Conv", k=2)
    build(evaluation, "SAGEConv")  # one product with a sparse matrix
