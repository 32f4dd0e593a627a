"""Both layers take what the layers of PyTorch Geometric take, or say in one sentence why not."""

import warnings

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from pyg_graphadapter import (
    DualKnowledgeConv,
    KnowledgeConv,
    cosine_edges,
    dual_knowledge_graph,
    knowledge_graph,
    weighted_degree,
)

K, C, D, OUT = 7, 5, 6, 4


@pytest.fixture
def conv():
    return KnowledgeConv(D, OUT).double()


@pytest.fixture
def bipartite():
    """Nodes, queries, and the edges between them."""
    nodes, queries = (torch.randn(n, D, dtype=torch.float64) for n in (K, C))
    return nodes, queries, *cosine_edges(nodes, queries, k=3)


@pytest.fixture
def dual():
    return dual_knowledge_graph(*(torch.randn(n, D, dtype=torch.float64) for n in (K, K, C)), k=3)


def arguments(data):
    return data.x_dict, data.edge_index_dict, data.edge_weight_dict


def sorted_edge_index(edge_index, size):
    return EdgeIndex(edge_index, sparse_size=size, sort_order="col").validate()


# Forms of the edges ###################################################################


def test_edge_index(conv, bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    edges = sorted_edge_index(edge_index, (K, C))
    expected = conv((nodes, queries), edge_index, edge_weight)
    torch.testing.assert_close(conv((nodes, queries), edges, edge_weight), expected)


def test_edge_index_compiled(conv, bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    edges = sorted_edge_index(edge_index, (K, C))
    expected = conv((nodes, queries), edge_index, edge_weight)
    compiled = torch.compile(conv, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled((nodes, queries), edges, edge_weight), expected)


def test_edge_index_in_the_dual_layer_compiled(dual):
    conv = DualKnowledgeConv(D, OUT).double()
    x_dict, edges, weights = arguments(dual)
    sizes = {"text": K, "image": K, "query": C}
    indices = {t: sorted_edge_index(e, (sizes[t[0]], sizes[t[2]])) for t, e in edges.items()}
    compiled = torch.compile(conv, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x_dict, indices, weights), conv(x_dict, edges, weights))


@pytest.mark.parametrize("has_image_side", [True, False])
def test_edge_index_in_the_dual_layer(dual, has_image_side):
    conv = DualKnowledgeConv(D, OUT, beta=0.7 if has_image_side else 1.0).double()
    x_dict, edges, weights = arguments(dual)
    sizes = {"text": K, "image": K, "query": C}
    indices = {t: sorted_edge_index(e, (sizes[t[0]], sizes[t[2]])) for t, e in edges.items()}
    torch.testing.assert_close(conv(x_dict, indices, weights), conv(x_dict, edges, weights))


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
def test_sparse_layouts_of_a_matrix_with_a_wrong_size_are_refused(conv, layout):
    x = torch.randn(K, D, dtype=torch.float64)
    for shape, what in (((K, K + 1), "8 nodes"), ((K + 1, K), "8 queries")):
        adj_t = torch.rand(*shape, dtype=torch.float64).to_sparse(layout=layout)
        with pytest.raises(ValueError, match=f"Expected {what} \\(got 7\\)"):
            conv(x, adj_t)


def test_int32_indices(conv, bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    expected = conv((nodes, queries), edge_index, edge_weight)
    torch.testing.assert_close(conv((nodes, queries), edge_index.int(), edge_weight), expected)


@pytest.mark.parametrize(
    ("edge_index", "message"),
    [
        (np.zeros((2, 3), dtype=np.int64), "must be a tensor \\(got ndarray\\)"),
        (torch.rand(K, K), "convert a dense matrix .* with .to_sparse_csr"),
        (torch.zeros(2, 3, dtype=torch.bool), "integer indices"),
        (torch.zeros(3, 2, dtype=torch.long), "edge list \\[2, E\\] \\(got \\[3, 2\\]\\)"),
        (torch.zeros(2, dtype=torch.long), "edge list"),
    ],
)
def test_other_edges_are_refused(conv, edge_index, message):
    with pytest.raises(ValueError, match=message):
        conv(torch.randn(K, D, dtype=torch.float64), edge_index)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_weights_that_are_not_finite_are_refused(conv, bad, is_sparse):
    x, edge_index = torch.randn(2, D, dtype=torch.float64), torch.tensor([[0, 1], [1, 0]])
    edges = (edge_index, torch.tensor([1.0, bad], dtype=torch.float64))
    if is_sparse:
        edges = (torch.sparse_coo_tensor(*edges, (2, 2), check_invariants=True).to_sparse_csr(),)
    with pytest.raises(ValueError, match="'edge_weight' must be finite"):
        conv(x, *edges)


@pytest.mark.parametrize("length", [K - 1, K + 1, 0])
def test_degrees_of_another_length_are_refused(conv, bipartite, length):
    nodes, queries, edge_index, edge_weight = bipartite
    with pytest.raises(ValueError, match=f"one degree per node, \\[7\\] \\(got \\[{length}\\]\\)"):
        conv((nodes, queries), edge_index, edge_weight, torch.zeros(length))


# Arguments of MessagePassing ##########################################################


def test_flow(bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    conv = KnowledgeConv(D, OUT).double()
    reverse = KnowledgeConv(D, OUT, flow="target_to_source").double()
    reverse.load_state_dict(conv.state_dict())
    expected = conv((nodes, queries), edge_index, edge_weight)
    torch.testing.assert_close(reverse((nodes, queries), edge_index.flip(0), edge_weight), expected)
    graph = knowledge_graph(nodes, k=2)
    torch.testing.assert_close(
        reverse(graph.x, graph.edge_index.flip(0), graph.edge_weight),
        conv(graph.x, graph.edge_index, graph.edge_weight),
    )
    torch.testing.assert_close(reverse(nodes), conv(nodes))
    adj_t = torch.rand(C, K, dtype=torch.float64).to_sparse_csr()
    with pytest.raises(ValueError, match="transposed"):
        reverse((nodes, queries), adj_t)


@pytest.mark.parametrize("aggr", ["mean", "max", "min"])
def test_other_aggregations(bipartite, aggr):
    nodes, queries, edge_index, edge_weight = bipartite
    conv = KnowledgeConv(D, OUT, self_loop_weight=1.0, aggr=aggr, bias=False).double()
    out = conv.collect_knowledge((nodes, queries), edge_index, edge_weight)
    for c in range(C):
        mine = edge_index[1] == c
        a = edge_weight[mine]
        d = 1 + a.sum()
        messages = (a / (d * (1 + a)).sqrt()).unsqueeze(1) * nodes[edge_index[0, mine]]
        reduced = getattr(messages, aggr)(dim=0)
        reduced = reduced if aggr == "mean" else reduced.values
        torch.testing.assert_close(out[c], reduced + queries[c] / d)
    with pytest.raises(ValueError, match="computed as a sum"):
        conv((nodes, queries))


def test_arguments_of_message_passing_in_the_dual_layer(dual):
    arguments_of_dual = arguments(dual)
    conv = DualKnowledgeConv(D, OUT).double()
    decomposed = DualKnowledgeConv(D, OUT, decomposed_layers=2).double()
    decomposed.load_state_dict(conv.state_dict())
    torch.testing.assert_close(decomposed(*arguments_of_dual), conv(*arguments_of_dual))
    largest = DualKnowledgeConv(D, OUT, aggr="max").double()
    largest.load_state_dict(conv.state_dict())
    assert not torch.allclose(largest(*arguments_of_dual), conv(*arguments_of_dual))
    for name in ("KnowledgeConv", "SAGEConv"):
        with pytest.raises(ValueError, match="go from nodes to queries"):
            DualKnowledgeConv(D, OUT, conv=name, flow="target_to_source")


@pytest.mark.parametrize("layers", [2, 3])
def test_decomposed_layers(bipartite, layers):
    nodes, queries, edge_index, edge_weight = bipartite
    conv = KnowledgeConv(D, OUT).double()
    decomposed = KnowledgeConv(D, OUT, decomposed_layers=layers).double()
    decomposed.load_state_dict(conv.state_dict())
    torch.testing.assert_close(
        decomposed((nodes, queries), edge_index, edge_weight),
        conv((nodes, queries), edge_index, edge_weight),
    )
    torch.testing.assert_close(decomposed(nodes), conv(nodes))


def test_node_dim(bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    conv = KnowledgeConv(D, OUT, node_dim=0).double()
    assert conv((nodes, queries), edge_index, edge_weight).shape == (C, OUT)
    with pytest.raises(ValueError, match="node_dim=-2"):
        KnowledgeConv(D, OUT, node_dim=-1).double()((nodes, queries), edge_index, edge_weight)


def test_a_tuple_of_equal_widths(bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    for in_channels in ((D, D), (-1, -1)):
        conv = KnowledgeConv(in_channels, OUT).double()
        assert conv((nodes, queries), edge_index, edge_weight).shape == (C, OUT)
        dual = DualKnowledgeConv(in_channels, OUT).double()
        assert dual({"text": nodes, "image": nodes, "query": queries}).shape == (C, OUT)
    with pytest.raises(ValueError, match="need the same width"):
        KnowledgeConv((D, D + 1), OUT)


# Sizes, and queries without features ##################################################


def test_size_is_checked(conv, bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    expected = conv((nodes, queries), edge_index, edge_weight)
    for size in ((K, C), (None, C), (K, None)):
        out = conv((nodes, queries), edge_index, edge_weight, size=size)
        torch.testing.assert_close(out, expected)
    for edges in ((edge_index, edge_weight), ()):
        with pytest.raises(ValueError, match="Expected 6 queries \\(got 5\\)"):
            conv((nodes, queries), *edges, size=(K, C + 1))
        with pytest.raises(ValueError, match="Expected 8 nodes \\(got 7\\)"):
            conv((nodes, queries), *edges, size=(K + 1, C))


def test_queries_without_features_collect_from_nodes_alone(conv, bipartite):
    nodes, queries, edge_index, edge_weight = bipartite
    expected = conv((nodes, torch.zeros_like(queries)), edge_index, edge_weight)
    out = conv((nodes, None), edge_index, edge_weight, size=(K, C))
    torch.testing.assert_close(out, expected)
    adj_t = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_weight, (C, K), check_invariants=True
    ).to_sparse_csr()
    torch.testing.assert_close(conv((nodes, None), adj_t), expected)
    # As in PyG, the number of queries is else one more than the last that has an edge:
    inside = edge_index[1] < 3
    out = conv((nodes, None), edge_index[:, inside], edge_weight[inside])
    torch.testing.assert_close(out, expected[:3])
    with pytest.raises(ValueError, match="Queries without features"):
        conv((nodes, None))


# Many graphs ##########################################################################


def test_static_graphs(conv, bipartite):
    _, _, edge_index, edge_weight = bipartite
    nodes, queries = (torch.randn(3, n, D, dtype=torch.float64) for n in (K, C))
    adj_t = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_weight, (C, K), check_invariants=True
    ).to_sparse_csr()
    for edges in ((edge_index, edge_weight), (adj_t,), ()):
        expected = torch.stack([conv(pair, *edges) for pair in zip(nodes, queries, strict=True)])
        torch.testing.assert_close(conv((nodes, queries), *edges), expected)
    torch.testing.assert_close(conv(nodes), torch.stack([conv(x) for x in nodes]))


@pytest.mark.parametrize("has_edges", [True, False])
def test_static_graphs_in_the_dual_layer_are_not_averaged(dual, has_edges):
    conv = DualKnowledgeConv(D, OUT).double()
    x_dict = {kind: torch.randn(3, *x.shape, dtype=x.dtype) for kind, x in dual.x_dict.items()}
    edges = arguments(dual)[1:] if has_edges else ()
    expected = [conv({kind: x[i] for kind, x in x_dict.items()}, *edges) for i in range(3)]
    torch.testing.assert_close(conv(x_dict, *edges), torch.stack(expected))


def test_a_batch_of_complete_graphs(conv):
    graphs = [knowledge_graph(torch.randn(n, D, dtype=torch.float64), loop=True) for n in (5, 1, 7)]
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    expected = torch.cat([conv(graph.x) for graph in graphs])
    torch.testing.assert_close(conv(batch.x, batch=batch.batch), expected)
    torch.testing.assert_close(conv(batch.x, batch.edge_index, batch.edge_weight), expected)
    out = conv(batch.x, batch.edge_index, batch.edge_weight, batch=batch.batch)
    torch.testing.assert_close(out, expected)
    assert not torch.allclose(conv(batch.x), expected)


def test_a_batch_of_nodes_and_queries(conv):
    sizes = ((4, 2), (3, 0), (0, 2))
    pairs = [[torch.randn(n, D, dtype=torch.float64) for n in pair] for pair in sizes]
    nodes, queries = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    batch = tuple(
        torch.tensor([i for i, pair in enumerate(pairs) for _ in pair[side]]) for side in (0, 1)
    )
    expected = torch.cat([conv(tuple(pair)) for pair in pairs])
    torch.testing.assert_close(conv((nodes, queries), batch=batch), expected)


def test_batches_that_do_not_fit_are_refused(conv):
    x = torch.randn(3, D, dtype=torch.float64)
    with pytest.raises(ValueError, match="ascending order"):
        conv(x, batch=torch.tensor([0, 1, 0]))
    with pytest.raises(ValueError, match=r"graph of every node \[3\] \(got \[2\]\)"):
        conv(x, batch=torch.tensor([0, 1]))


def test_a_batch_of_dual_graphs():
    conv = DualKnowledgeConv(D, OUT).double()
    graphs = [
        dual_knowledge_graph(*(torch.randn(n, D, dtype=torch.float64) for _ in range(3)))
        for n in (4, 6)
    ]
    batch = Batch.from_data_list(graphs)
    expected = torch.cat([conv(graph.x_dict) for graph in graphs])
    torch.testing.assert_close(conv(batch.x_dict, batch_dict=batch.batch_dict), expected)
    torch.testing.assert_close(conv(*arguments(batch)), expected)


def test_edges_among_nodes_and_none_to_the_queries_are_refused(dual):
    x_dict, edges, weights = arguments(dual)
    del edges["image", "to", "query"], weights["image", "to", "query"]
    for conv in ("KnowledgeConv", "SAGEConv"):
        with pytest.raises(ValueError, match="image side has edges among its nodes and none to"):
            DualKnowledgeConv(D, OUT, conv=conv).double()(x_dict, edges, weights)


# One meaning of "complete" ############################################################


def test_without_edges_a_query_collects_from_its_own_node_as_well(conv):
    x = torch.randn(K, D, dtype=torch.float64)
    looped, plain = knowledge_graph(x, loop=True), knowledge_graph(x)
    torch.testing.assert_close(conv(x), conv(x, looped.edge_index, looped.edge_weight))
    assert not torch.allclose(conv(x), conv(x, plain.edge_index, plain.edge_weight))


# Half precision, tracing, export ######################################################


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("route", ["edge list", "csr", "csc", "coo", "complete", "static"])
def test_half_precision(bipartite, dtype, route):
    nodes, queries, edge_index, edge_weight = bipartite
    if route == "complete":
        edges = half_edges = ()
    elif route in ("edge list", "static"):
        edges, half_edges = (edge_index, edge_weight), (edge_index, edge_weight.to(dtype))
    else:
        adj_t = torch.sparse_coo_tensor(
            edge_index.flip(0), edge_weight, (C, K), check_invariants=True
        ).coalesce()
        layout = getattr(torch, f"sparse_{route}")
        edges, half_edges = (
            (a if route == "coo" else a.to_sparse(layout=layout),) for a in (adj_t, adj_t.to(dtype))
        )
    conv = KnowledgeConv(D, OUT).double()
    expected = conv((nodes, queries), *edges)
    x = (nodes.to(dtype).requires_grad_(), queries.to(dtype))
    if route == "static":
        x = tuple(features.unsqueeze(0) for features in x)
    out = conv.to(dtype)(x, *half_edges)
    assert out.dtype == dtype
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())
    out = out[0] if route == "static" else out
    torch.testing.assert_close(out.double(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("route", ["edge list", "csr", "complete"])
def test_jit_trace(bipartite, route):
    nodes, queries, edge_index, edge_weight = bipartite
    conv = KnowledgeConv(D, OUT).double()
    inputs = {"edge list": (edge_index, edge_weight), "complete": ()}
    if route == "csr":
        adj_t = torch.sparse_coo_tensor(
            edge_index.flip(0), edge_weight, (C, K), check_invariants=True
        ).to_sparse_csr()
        inputs["csr"] = (adj_t,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(conv, ((nodes, queries), *inputs[route]), check_trace=False)
    other = (torch.randn_like(nodes), torch.randn_like(queries))
    torch.testing.assert_close(traced(other, *inputs[route]), conv(other, *inputs[route]))


def test_jit_trace_of_the_dual_layer(dual):
    conv = DualKnowledgeConv(D, OUT).double()
    inputs = {**dual.x_dict}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(conv, (inputs,), check_trace=False)
    torch.testing.assert_close(traced(inputs), conv(inputs))


@pytest.mark.parametrize("has_edges", [True, False])
def test_export_of_the_dual_layer(dual, has_edges):
    conv = DualKnowledgeConv(D, OUT).double()
    inputs = arguments(dual) if has_edges else (dual.x_dict,)
    if has_edges:  # names of edge types are no valid keys of an exported program
        x_dict, edges, weights = inputs

        class Layer(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv

            def forward(self, x, edges, weights):
                kinds = list(dual.edge_types)
                return self.conv(x, dict(zip(kinds, edges)), dict(zip(kinds, weights)))  # noqa: B905

        module = Layer()
        inputs = (x_dict, list(edges.values()), list(weights.values()))
    else:
        module = conv
    program = torch.export.export(module, inputs)
    torch.testing.assert_close(program.module()(*inputs), module(*inputs))


# What would be ignored ################################################################


def test_edges_of_another_type_are_refused(dual):
    x_dict, edges, weights = arguments(dual)
    for name in ("KnowledgeConv", "SAGEConv"):
        conv = DualKnowledgeConv(D, OUT, conv=name).double()
        with pytest.raises(ValueError, match=r"Unknown edge type \('text', 'knows', 'query'\)"):
            conv(x_dict, {("text", "knows", "query"): edges["text", "to", "query"]})
        with pytest.raises(ValueError, match="weights and no edges"):
            conv(x_dict, None, weights)
        with pytest.raises(ValueError, match="'x_dict' must have the features of image"):
            conv({kind: x for kind, x in x_dict.items() if kind != "image"}, edges, weights)
        other = {("author", "writes", "paper"): edges["text", "to", "text"]}  # not of this layer
        conv(x_dict, {**edges, **other}, weights)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(D), r"nodes must be a tensor \[N, F\]"),
        ((None, torch.randn(K, D)), "nodes must be a tensor"),
        ((torch.randn(2, K, D), torch.randn(3, K, D)), "same number of static graphs"),
        ((torch.randn(2, K, D), torch.randn(K, D)), "same number of static graphs"),
    ],
)
def test_features_of_other_shapes_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        KnowledgeConv(D, OUT)(x, torch.zeros(2, 1, dtype=torch.long))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_degrees_that_are_not_finite_or_negative_are_refused(conv, bipartite, bad):
    nodes, queries, edge_index, edge_weight = bipartite
    with pytest.raises(ValueError, match="'deg' must be finite and not negative"):
        conv((nodes, queries), edge_index, edge_weight, torch.full((K,), bad))
    with pytest.raises(ValueError, match="'self_loop_weight' must not be negative or infinite"):
        KnowledgeConv(D, OUT, self_loop_weight=float("inf"))


def test_weights_beside_a_sparse_matrix_are_refused(conv):
    adj_t = torch.rand(K, K, dtype=torch.float64).to_sparse_csr()
    with pytest.raises(ValueError, match="holds its own weights"):
        conv(torch.randn(K, D, dtype=torch.float64), adj_t, torch.ones(K * K))


@pytest.mark.parametrize("aggr", ["add", "mean", "max"])
def test_repeated_edges_count_once_on_all_routes(aggr):
    x = torch.randn(3, D, dtype=torch.float64)
    conv = KnowledgeConv(D, OUT, aggr=aggr).double()
    edge_index = torch.tensor([[0, 1, 0, 2, 1], [1, 0, 1, 0, 2]])
    weight = torch.tensor([0.5, 0.4, -0.2, 0.3, 0.7], dtype=torch.float64)
    merged = torch.sparse_coo_tensor(
        edge_index.flip(0), weight, (3, 3), check_invariants=True
    ).coalesce()
    expected = conv(x, merged.indices().flip(0), merged.values())
    torch.testing.assert_close(conv(x, edge_index, weight), expected)
    for adj_t in (merged, merged.to_sparse_csr(), merged.to_sparse_csc()):
        torch.testing.assert_close(conv(x, adj_t), expected)
    repeated = torch.sparse_csr_tensor(
        torch.tensor([0, 2, 4, 5]), torch.tensor([1, 2, 0, 0, 1]), weight[[1, 3, 0, 2, 4]], (3, 3),
        check_invariants=False,
    )  # fmt: skip
    torch.testing.assert_close(conv(x, repeated), expected)
    torch.testing.assert_close(
        weighted_degree(edge_index, weight),
        weighted_degree(merged.indices().flip(0), merged.values()),
    )
