"""Other convolutions of PyTorch Geometric in the layer, against the same convolutions by hand."""

import copy

import pytest
import torch
from torch_geometric import nn as pyg
from torch_geometric.data import Batch
from torch_geometric.utils import to_dense_adj

from pyg_graphadapter import (
    DualKnowledgeConv,
    KnowledgeConv,
    cosine_edges,
    dual_knowledge_graph,
    knowledge_graph,
)
from pyg_graphadapter.nn import CONVS
from pyg_graphadapter.nn.sub_graph_conv import SPARSE_CONVS

C, D, OUT = 6, 8, 5
convs = pytest.mark.parametrize("name", CONVS)


@pytest.fixture
def data():
    return dual_knowledge_graph(torch.randn(C, D) + 0.5, torch.randn(C, D) + 0.5, k=3)


def build(name, **kwargs):
    conv = DualKnowledgeConv(D, OUT, conv=name, **kwargs)
    for side, _ in conv.sides().values():
        torch.nn.init.normal_(side.bias)
    return conv


def run(conv, data):
    return conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)


def by_hand(side, x, edge_index, edge_weight):
    """The convolution over an edge list, with weights where it takes any."""
    args = (edge_weight,) if side.takes_weights else ()
    return side.conv(x, edge_index, *args)[-C:] + side.bias


@convs
def test_each_side_is_the_convolution_over_one_graph(data, name):
    conv = build(name, num_queries=C)
    text, image = data["text"], data["image"]
    among_text = data["text", "to", "text"]
    h_text = by_hand(conv.text_conv, text.x, among_text.edge_index, among_text.edge_weight)
    among, to_texts = data["image", "to", "image"], data["image", "to", "query"]
    edge_index = torch.cat(
        [among.edge_index, to_texts.edge_index + torch.tensor([[0], [C]])], dim=1
    )
    edge_weight = torch.cat([among.edge_weight, to_texts.edge_weight])
    h_image = by_hand(conv.image_conv, torch.cat([image.x, text.x]), edge_index, edge_weight)
    expected = 0.7 * h_text.tanh() + 0.3 * h_image.tanh()
    torch.testing.assert_close(run(conv, data), expected)


@convs
def test_a_sparse_matrix_gives_what_an_edge_list_gives(data, name):
    conv = build(name)
    listed = copy.deepcopy(conv)
    for side, _ in listed.sides().values():
        assert side.takes_sparse == (type(side.conv) in SPARSE_CONVS)
        side.takes_sparse = False
    torch.testing.assert_close(run(conv, data), run(listed, data))


@convs
def test_weights_reach_the_convolutions_that_take_them(data, name):
    conv = build(name)
    before = run(conv, data)
    for kind in data.edge_types:
        data[kind].edge_weight = data[kind].edge_weight.square()
    takes_weights = conv.text_conv.takes_weights
    assert torch.allclose(run(conv, data), before) is not takes_weights


@convs
def test_gradients_reach_all_parameters(data, name):
    conv = build(name)
    run(conv, data).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in conv.parameters())


@convs
def test_without_edges_graphs_are_complete(data, name):
    conv = build(name)
    complete = dual_knowledge_graph(data["text"].x, data["image"].x)
    torch.testing.assert_close(conv(data.x_dict), run(conv, complete))


def test_no_graph_is_a_linear_layer(data):
    conv = build("NoGraph")
    sides = [side.conv.lin(data["text"].x) + side.bias for side, _ in conv.sides().values()]
    torch.testing.assert_close(run(conv, data), 0.7 * sides[0].tanh() + 0.3 * sides[1].tanh())


def test_queries_that_are_not_the_texts_are_joined_on_both_sides():
    text, image, query = (torch.randn(n, D) for n in (C, C, 2))
    conv = build("SAGEConv")
    data = dual_knowledge_graph(text, image, query, k=3)
    joined = torch.cat([text, query])
    among, to_queries = data["text", "to", "text"], data["text", "to", "query"]
    edges = torch.cat([among.edge_index, to_queries.edge_index + torch.tensor([[0], [C]])], dim=1)
    expected = (conv.text_conv.conv(joined, edges)[-2:] + conv.text_conv.bias).tanh()
    graphs = conv.sub_graphs(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    torch.testing.assert_close(conv.text_conv(graphs["text"]).tanh(), expected)
    assert run(conv, data).shape == (2, OUT)


def test_equal_texts_are_the_queries_whatever_tensor_holds_them(data):
    conv = build("GCNConv")
    expected = run(conv, data)
    data["query"].x = data["query"].x.clone()
    torch.testing.assert_close(run(conv, data), expected)


def test_edges_among_the_texts_alone_are_enough_where_the_queries_are_texts(data):
    conv = build("GCNConv", beta=1.0)
    expected = run(conv, data)
    del data["text", "to", "query"]
    torch.testing.assert_close(run(conv, data), expected)


def test_arguments_reach_the_convolution():
    conv = DualKnowledgeConv(D, OUT, conv="GATv2Conv", heads=2, concat=False)
    assert conv.text_conv.conv.heads == 2
    assert DualKnowledgeConv(D, OUT, conv="ChebConv", K=3).image_conv.conv.lins[2] is not None


def test_a_factory_makes_the_convolution(data):
    widths = []

    def make(in_channels, out_channels):
        widths.append((in_channels, out_channels))
        return pyg.GCN(in_channels, 7, num_layers=2, out_channels=out_channels)

    conv = build(make)
    assert widths == [(D, OUT), (D, OUT)]
    assert conv.text_conv.takes_weights
    assert not conv.text_conv.takes_sparse
    assert run(conv, data).shape == (C, OUT)


def test_knowledge_conv_itself_may_be_named_or_given(data):
    assert DualKnowledgeConv(D, OUT, conv=KnowledgeConv).collects
    conv = build(lambda i, o: KnowledgeConv(i, o, bias=False))  # over one graph, as any other
    assert not conv.collects
    graph = knowledge_graph(data["text"].x, k=min(3, C - 1))
    h = conv.text_conv.conv(graph.x, graph.edge_index, graph.edge_weight) + conv.text_conv.bias
    graphs = conv.sub_graphs(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    torch.testing.assert_close(conv.text_conv(graphs["text"]), h)


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        ("GNNConv", "Unknown convolution 'GNNConv'. Choose from KnowledgeConv, GCNConv, SAGEConv"),
        (lambda i, o: pyg.GATConv(i, o, heads=2), "must return one row of 5 features per node"),
        (lambda i, o: None, "must make a torch.nn.Module"),
        (3, "must be a name or a function"),
    ],
)
def test_convolutions_that_do_not_fit_are_refused(data, conv, message):
    with pytest.raises(ValueError, match=message):
        run(DualKnowledgeConv(D, OUT, conv=conv), data)


def test_static_graphs_are_refused(data):
    x = {kind: x.unsqueeze(0) for kind, x in data.x_dict.items()}
    with pytest.raises(ValueError, match=r"must be \[K, F\]"):
        build("SAGEConv")(x, data.edge_index_dict, data.edge_weight_dict)


def test_repr_and_reset():
    conv = DualKnowledgeConv(D, OUT, conv="SAGEConv")
    assert repr(conv) == "DualKnowledgeConv(8, 5, beta=0.7, conv=SAGEConv)"
    before = conv.text_conv.conv.lin_l.weight.clone()
    conv.reset_parameters()
    assert (conv.text_conv.conv.lin_l.weight != before).any()
    assert (conv.text_conv.bias == 0).all()


def test_the_published_layer_as_a_convolution_over_one_graph():
    """GCNConv over the joined graph of all queries is not the paper's layer, which joins one query
    at a time; of one query, it is."""
    text, image, query = torch.randn(C, D) + 1, torch.randn(C, D) + 1, torch.randn(1, D) + 1
    ours = DualKnowledgeConv(D, OUT, beta=0.0, act=None, self_loop_weight=1.0, bias=False)
    other = DualKnowledgeConv(D, OUT, beta=0.0, act=None, conv="GCNConv", bias=False)
    other.image_conv.conv.lin.weight.data = ours.image_conv.lin.weight.data
    data = dual_knowledge_graph(text, image, query)
    edge_index, edge_weight = cosine_edges(image, query)
    back = (torch.tensor([[0]]) + edge_index.flip(0) + torch.tensor([[C], [0]]), edge_weight)
    graph = other.sub_graphs(data.x_dict, data.edge_index_dict, data.edge_weight_dict)["image"]
    adj = graph.adj_t().to_dense().t() + to_dense_adj(back[0], edge_attr=back[1])[0]
    both_ways = adj.nonzero().t()
    out = other.image_conv.conv(graph.x, both_ways, adj[both_ways[0], both_ways[1]])[-1:]
    torch.testing.assert_close(out, run(ours, data))


def test_edges_that_do_not_fit_are_refused(data):
    conv = build("SAGEConv")
    data["image", "to", "query"].edge_index[0, 0] = C
    with pytest.raises(IndexError, match="node indices in 'edge_index' must lie in"):
        run(conv, data)
    data["image", "to", "query"].edge_index[0, 0] = 0
    data["image", "to", "query"].edge_weight[0] = float("nan")
    with pytest.raises(ValueError, match="'edge_weight' must be finite"):
        run(conv, data)


def test_a_batch_of_complete_graphs_is_refused_and_one_with_edges_is_not():
    graphs = [dual_knowledge_graph(torch.randn(n, D), torch.randn(n, D)) for n in (3, 4)]
    batch = Batch.from_data_list(graphs)
    conv = build("GCNConv")
    with pytest.raises(ValueError, match="kept apart by KnowledgeConv alone"):
        conv(batch.x_dict, batch_dict=batch.batch_dict)
    expected = torch.cat([run(conv, graph) for graph in graphs])
    torch.testing.assert_close(run(conv, batch), expected)


@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv", "GATv2Conv"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(data, name, dtype):
    conv = build(name)
    expected = run(conv, data)
    torch.testing.assert_close(
        run(
            conv.to(dtype), data.apply(lambda x: x.to(dtype) if x.is_floating_point() else x)
        ).float(),
        expected,
        atol=0.05,
        rtol=0.05,
    )


@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv"])
def test_autocast(data, name):
    conv = build(name)
    expected = run(conv, data)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(conv, data)
    torch.testing.assert_close(out.float(), expected, atol=0.05, rtol=0.05)
