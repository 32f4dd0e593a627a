import copy
import pickle

import pytest
import torch
import torch_geometric.transforms as T
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.datapipes import DatasetAdapter
from torch_geometric.loader import DataLoader

from pyg_graphadapter import (
    DualKnowledgeConv,
    DualKnowledgeGraph,
    KnowledgeGraph,
    dual_knowledge_graph,
    knowledge_graph,
)

OPTIONS = [
    {},
    {"k": 3},
    {"k": 3, "symmetric": True},
    {"k": 3, "loop": True},
    {"threshold": 0.3},
    {"k": 4, "groups": 2},
    {"groups": 3, "block_size": 2},
]


def dense(data, num_nodes=None):
    size = (data.num_nodes if num_nodes is None else num_nodes,) * 2
    weight = torch.zeros(size)
    weight[data.edge_index[1], data.edge_index[0]] = data.edge_weight
    return weight


def graphs(sizes=(5, 1, 7, 3)):
    return [Data(x=torch.randn(n, 4) + 0.5, y=torch.arange(n), name=f"of {n}") for n in sizes]


# One graph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_function(options):
    data = Data(x=torch.randn(9, 4) + 0.5)
    transformed, expected = KnowledgeGraph(**options)(data), knowledge_graph(data.x, **options)
    assert torch.equal(transformed.edge_index, expected.edge_index)
    assert torch.equal(transformed.edge_weight, expected.edge_weight)


def test_other_attributes_are_kept_and_other_edges_replaced():
    data = Data(
        x=torch.randn(6, 4),
        y=torch.arange(6),
        pos=torch.randn(6, 3),
        names=["a"] * 6,
        edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]),
        edge_weight=torch.ones(3),
        edge_attr=torch.ones(3, 2),
    )
    before = copy.deepcopy(data)
    transformed = KnowledgeGraph(k=2)(data)
    assert set(transformed.keys()) == {"x", "y", "pos", "names", "edge_index", "edge_weight"}
    assert all(transformed[key] is data[key] for key in ("x", "y", "pos", "names"))
    assert transformed.validate()
    assert torch.equal(data.edge_index, before.edge_index)  # the argument is not changed
    assert "edge_attr" in data


@pytest.mark.parametrize("num_nodes", [1, 2, 3])
def test_graphs_that_have_fewer_than_k_neighbours_are_complete(num_nodes):
    x = torch.rand(num_nodes, 4)
    data = KnowledgeGraph(k=5)(Data(x=x))
    assert data.num_edges == num_nodes * (num_nodes - 1)
    assert KnowledgeGraph(k=5, loop=True)(Data(x=x)).num_edges == num_nodes**2


def test_gradients_reach_the_features():
    x = torch.randn(5, 4, requires_grad=True)
    KnowledgeGraph(k=2)(Data(x=x)).edge_weight.sum().backward()
    assert (x.grad != 0).any()


# As a transform of PyG -----------------------------------------------------------------------


def test_composed():
    transform = T.Compose([T.NormalizeFeatures(), KnowledgeGraph(k=2), T.AddSelfLoops()])
    data = transform(Data(x=torch.rand(6, 4)))
    assert data.num_edges == 6 * 2 + 6
    assert data.has_self_loops()


def test_a_transform_of_batches_equals_batches_of_transformed():
    data_list = graphs()
    transform = KnowledgeGraph(k=3)
    [batch] = DataLoader([transform(data) for data in data_list], batch_size=4)
    together = transform(Batch.from_data_list(data_list))
    assert torch.equal(dense(together), dense(batch))
    assert torch.equal(together.batch, batch.batch)
    assert together.name == batch.name


@pytest.mark.parametrize("groups", [2, "y"])
def test_groups_are_those_of_each_graph(groups):
    data_list = [Data(x=torch.rand(n, 4), y=torch.arange(n) % 2) for n in (5, 1, 7)]
    transform = KnowledgeGraph(k=2, groups=groups)
    batch = Batch.from_data_list([transform(data) for data in data_list])
    together = transform(Batch.from_data_list(data_list))
    assert torch.equal(dense(together), dense(batch))
    node, query = together.edge_index
    assert torch.equal(together.y[node], together.y[query])
    shuffled = torch.randperm(together.num_nodes)
    data = Data(x=together.x[shuffled], y=together.y[shuffled], batch=together.batch[shuffled])
    again = transform(data)
    if groups == "y":
        assert torch.equal(dense(again), dense(together)[shuffled][:, shuffled])
    node, query = again.edge_index
    assert torch.equal(data.batch[node], data.batch[query])


def test_as_a_data_pipe():
    pipe = DatasetAdapter(graphs()).knowledge_graph(k=2)
    assert [data.num_nodes for data in pipe] == [5, 1, 7, 3]
    assert all("edge_weight" in data for data in pipe)
    names = DatasetAdapter([Data(text=torch.rand(3, 2), image=torch.rand(3, 2))])
    assert [data.node_types for data in names.dual_knowledge_graph()] == [
        ["query", "text", "image"]
    ]


def test_every_node_type_with_features():
    data = HeteroData()
    data["author"].x, data["paper"].x = torch.rand(4, 3), torch.rand(6, 5)
    data["venue"].num_nodes = 2  # has no features
    data["paper"].batch = torch.tensor([0, 0, 0, 1, 1, 1])
    data["author", "writes", "paper"].edge_index = torch.tensor([[0], [1]])
    transformed = KnowledgeGraph()(data)
    among = [(name, "to", name) for name in ("author", "paper")]
    assert set(transformed.edge_types) == {("author", "writes", "paper"), *among}
    assert [transformed[kind].num_edges for kind in among] == [12, 12]
    expected = knowledge_graph(data["author"].x)
    assert torch.equal(transformed["author", "author"].edge_weight, expected.edge_weight)
    assert data.edge_types == [("author", "writes", "paper")]


@pytest.mark.parametrize("transform", [KnowledgeGraph(k=3, groups="y"), DualKnowledgeGraph(k=3)])
def test_repr_and_pickle(transform):
    assert repr(transform) == f"{type(transform).__name__}(k=3)"
    assert vars(pickle.loads(pickle.dumps(transform))) == vars(transform)


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [KnowledgeGraph, DualKnowledgeGraph])
def test_options_out_of_range(transform):
    with pytest.raises(ValueError, match=r"'k' must be at least 1 \(got 0\)"):
        transform(k=0)
    with pytest.raises(ValueError, match=r"'threshold' is a cosine in \[0, 1\) \(got 1.0\)"):
        transform(threshold=1.0)


def test_groups_that_are_not_there():
    with pytest.raises(ValueError, match=r"'groups' must be at least 1 \(got 0\)"):
        KnowledgeGraph(groups=0)
    with pytest.raises(ValueError, match=r"no 'side' with the group of every node: it has x, y"):
        KnowledgeGraph(groups="side")(graphs()[0])


@pytest.mark.parametrize("data", [Data(y=torch.arange(3)), Data(), HeteroData(), Data(x=None)])
def test_no_features(data):
    with pytest.raises(ValueError, match=r"KnowledgeGraph needs node features \[C, D\]: set 'x'"):
        KnowledgeGraph()(data)


def test_features_that_do_not_fit():
    with pytest.raises(ValueError, match="finite"):
        KnowledgeGraph()(Data(x=torch.tensor([[torch.nan]])))


# Both sides ----------------------------------------------------------------------------------


def same(a, b):
    assert set(a.edge_types) == set(b.edge_types)
    for kind in (*b.node_types, *b.edge_types):
        assert b[kind].keys()
        for key, value in b[kind].items():
            assert torch.equal(a[kind][key], value), (kind, key)


@pytest.mark.parametrize("kind", [Data, HeteroData, "node types"])
@pytest.mark.parametrize("query", [None, torch.randn(2, 4)])
@pytest.mark.parametrize("options", [{}, {"k": 2}, {"k": 2, "symmetric": True}, {"threshold": 0.2}])
def test_dual_equals_the_function(kind, query, options):
    text, image = torch.randn(2, 6, 4)
    parts = {"text": text, "image": image} | ({} if query is None else {"query": query})
    if kind == "node types":
        data = HeteroData({part: {"x": x} for part, x in parts.items()})
    else:
        data = kind(**parts) if kind is Data else HeteroData()
        for part, x in parts.items():
            setattr(data, part, x)
    transformed = DualKnowledgeGraph(**options)(data)
    same(transformed, dual_knowledge_graph(text, image, query, **options))
    assert transformed.validate()
    assert not data.edge_types if kind is not Data else "edge_index" not in data
    assert set(transformed.node_types) == {"text", "image", "query"}


def test_dual_keeps_other_attributes():
    data = Data(text=torch.randn(3, 4), image=torch.randn(3, 4), y=torch.arange(3), name="a")
    transformed = DualKnowledgeGraph()(data)
    assert torch.equal(transformed.y, data.y)
    assert transformed.name == "a"
    hetero = HeteroData(name="b")
    hetero["text"].x, hetero["image"].x = data.text, data.image
    hetero["text"].names = ["x", "y", "z"]
    hetero["other"].x = torch.ones(2, 1)
    transformed = DualKnowledgeGraph()(hetero)
    assert transformed.name == "b"
    assert transformed["text"].names == ["x", "y", "z"]
    assert set(transformed.node_types) == {"text", "image", "query", "other"}


def test_dual_graphs_of_fewer_classes_than_k():
    data = Data(text=torch.rand(2, 4), image=torch.rand(2, 4))
    assert DualKnowledgeGraph(k=9)(data).num_edges == 2 * (2 + 4)


def test_dual_graphs_are_batched():
    data_list = [Data(text=torch.randn(n, 4), image=torch.randn(n, 4)) for n in (3, 5)]
    transformed = [DualKnowledgeGraph(k=2)(data) for data in data_list]
    [batch] = DataLoader(transformed, batch_size=2)
    conv = DualKnowledgeConv(4, 4)
    outputs = [
        conv(each.x_dict, each.edge_index_dict, each.edge_weight_dict)
        for each in (batch, *transformed)
    ]
    torch.testing.assert_close(outputs[0], torch.cat(outputs[1:]))
    with pytest.raises(ValueError, match="single graphs: apply it before batching"):
        DualKnowledgeGraph()(Batch.from_data_list(data_list))
    with pytest.raises(ValueError, match="single graphs: apply it before batching"):
        DualKnowledgeGraph()(batch)


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (Data(text=torch.ones(2, 2)), "has no 'image'"),
        (Data(x=torch.ones(2, 2)), "has no 'text' and no 'image'"),
        (HeteroData(image={"x": torch.ones(2, 2)}), "has no 'text'"),
        (HeteroData(image={"x": torch.ones(2, 2)}, text={"y": torch.ones(2)}), "has no 'text'"),
    ],
    ids=str,
)
def test_a_side_is_missing(data, missing):
    with pytest.raises(ValueError, match=rf"'text' and 'image' \[C, D\]: the data {missing}"):
        DualKnowledgeGraph()(data)


@pytest.mark.parametrize("k", ["3", 2.5, True])
def test_neighbours_that_are_no_whole_number_are_refused(k):
    for transform in (KnowledgeGraph, DualKnowledgeGraph):
        with pytest.raises(ValueError, match="'k' must be a whole number or None"):
            transform(k=k)
