import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Batch, Data

from pyg_graphadapter import (
    KnowledgeConv,
    class_prototypes,
    cosine_edges,
    dual_knowledge_graph,
    knowledge_graph,
    weighted_degree,
)
from pyg_graphadapter.graph import as_edge_list, row_blocks, unit
from tests.reference import positive_cosine

# Cosines: 0-1 0.6, 1-2 0.8, 0-2 0; 3 points away from 0:
CORNERS = torch.tensor([[2.0, 0.0], [0.6, 0.8], [0.0, 5.0], [-1.0, 0.0]])


def dense(graph):
    """The adjacency ``[from, to]`` of a graph without repeated edges."""
    adj = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=graph.edge_weight.dtype)
    assert graph.is_coalesced() or len(graph.edge_index.unique(dim=1)[0]) == graph.num_edges
    adj[graph.edge_index[0], graph.edge_index[1]] = graph.edge_weight
    return adj


def nearest(x, k, loop=False, threshold=0.0):
    """The graph of nearest neighbours, one node at a time: adjacency ``[from, to]``."""
    cosine = positive_cosine(x)
    adj = torch.zeros_like(cosine)
    for c in range(len(x)):
        others = [j for j in range(len(x)) if (loop or j != c) and cosine[c, j] > threshold]
        for j in sorted(others, key=lambda j: -cosine[c, j].item())[:k]:
            adj[j, c] = cosine[c, j]
    return adj


# Edges ---------------------------------------------------------------------------------------


def test_small_numbers_by_hand():
    graph = knowledge_graph(CORNERS)
    assert graph.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    torch.testing.assert_close(graph.edge_weight, torch.tensor([0.6, 0.6, 0.8, 0.8]))
    assert graph.x is CORNERS
    graph = knowledge_graph(CORNERS, k=1)
    assert graph.edge_index.tolist() == [[1, 2, 1], [0, 1, 2]]  # 3 has no positive neighbour
    torch.testing.assert_close(graph.edge_weight, torch.tensor([0.6, 0.8, 0.8]))
    graph = knowledge_graph(CORNERS, k=1, symmetric=True)
    assert graph.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]


def test_edges_to_queries_by_hand():
    query = torch.tensor([[0.0, 1.0], [-2.0, 0.0]])
    edge_index, edge_weight = cosine_edges(CORNERS, query)
    assert edge_index.tolist() == [[1, 2, 3], [0, 0, 1]]
    torch.testing.assert_close(edge_weight, torch.tensor([0.8, 1.0, 1.0]))
    edge_index, _ = cosine_edges(CORNERS, query, k=2)
    assert edge_index.tolist() == [[2, 1, 3], [0, 0, 1]]  # the most similar first


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("block_size", [2048, 5, 1])
def test_without_k_all_positive_cosines_are_edges(loop, block_size):
    x = torch.randn(11, 6, dtype=torch.float64)
    expected = positive_cosine(x)
    expected = expected if loop else expected.fill_diagonal_(0)
    graph = knowledge_graph(x, loop=loop, block_size=block_size)
    torch.testing.assert_close(dense(graph), expected)
    assert graph.has_self_loops() == loop
    assert graph.is_undirected()
    assert (graph.edge_weight > 0).all()


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("block_size", [2048, 7, 1])
def test_nearest_neighbours_equal_brute_force(k, loop, block_size):
    x = torch.randn(11, 6, dtype=torch.float64) + 0.3
    graph = knowledge_graph(x, k, loop=loop, block_size=block_size)
    torch.testing.assert_close(dense(graph), nearest(x, k, loop))


@pytest.mark.parametrize("k", [2, 3])
def test_neighbours_come_by_similarity(k):
    x = torch.randn(9, 6) + 1
    graph = knowledge_graph(x, k)
    weight = graph.edge_weight.view(9, k)
    assert (weight[:, :-1] >= weight[:, 1:]).all()


@pytest.mark.parametrize(
    "settings",
    [{}, {"k": 3}, {"k": 3, "symmetric": True}, {"symmetric": True}, {"threshold": 0.4}],
)
def test_edges_are_sorted_by_the_receiving_node(settings):
    graph = knowledge_graph(torch.randn(12, 6), block_size=5, **settings)
    assert (graph.edge_index[1].diff() >= 0).all()
    assert graph.validate()


@pytest.mark.parametrize("loop", [True, False])
def test_symmetric_keeps_an_edge_that_holds_in_one_direction(loop):
    x = torch.randn(11, 6, dtype=torch.float64) + 0.3
    expected = nearest(x, 2, loop)
    assert (expected != expected.t()).any()
    graph = knowledge_graph(x, 2, symmetric=True, loop=loop)
    torch.testing.assert_close(dense(graph), torch.maximum(expected, expected.t()))
    assert graph.is_undirected()


@pytest.mark.parametrize("k", [None, 2])
def test_threshold(k):
    x = torch.randn(11, 6, dtype=torch.float64) + 0.3
    graph = knowledge_graph(x, k, threshold=0.5)
    torch.testing.assert_close(dense(graph), nearest(x, k, threshold=0.5))
    assert (graph.edge_weight > 0.5).all()
    assert graph.num_edges > 0


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("block_size", [2048, 3])
@pytest.mark.parametrize("groups", [3, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])])
def test_groups_connect_their_own_nodes_alone(k, groups, block_size):
    x = torch.randn(11, 6, dtype=torch.float64) + 0.3
    graph = knowledge_graph(x, k, groups=groups, block_size=block_size)
    expected = torch.zeros(11, 11, dtype=torch.float64)
    for g in range(3):
        member = torch.arange(g, 11, 3)
        expected[member.unsqueeze(1), member] = nearest(x[member], k)
    torch.testing.assert_close(dense(graph), expected)


def test_a_node_that_is_alone_in_its_group_has_no_edge():
    x = torch.rand(4, 3)
    graph = knowledge_graph(x, k=2, groups=torch.tensor([7, 0, 7, 5]))
    assert graph.edge_index.tolist() == [[2, 0], [0, 2]]
    none = knowledge_graph(x, groups=torch.arange(4))
    assert none.edge_index.shape == (2, 0)
    assert none.edge_weight.shape == (0,)


def test_gradients_flow_through_grouped_graphs():
    x = (torch.randn(6, 4, dtype=torch.float64) + 1).requires_grad_()
    weights = lambda x: cosine_edges(x, groups=2)[1]  # noqa: E731
    assert torch.autograd.gradcheck(weights, (x,))


@pytest.mark.parametrize("k", [None, 2, 4])
def test_duplicates_and_zero_rows(k):
    x = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [3.0, 3.0], [1.0, 1.0]])
    graph = knowledge_graph(x, k, block_size=3)
    assert graph.edge_weight.tolist() == pytest.approx([1.0] * graph.num_edges)
    degree = torch.bincount(graph.edge_index[1], minlength=5).tolist()
    expected = min(3, k or 3)
    assert degree == [expected, 0, expected, expected, expected]
    assert not graph.has_self_loops()


@pytest.mark.parametrize(("k", "loop", "used"), [(5, False, 4), (99, True, 5)])
def test_too_many_neighbours_are_clamped_with_a_warning(k, loop, used):
    x = torch.rand(5, 3)
    with pytest.warns(UserWarning, match=f"5 nodes has no {k} neighbours per node: using {used}"):
        graph = knowledge_graph(x, k, loop=loop)
    torch.testing.assert_close(dense(graph), dense(knowledge_graph(x, loop=loop)))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-15, 1e-10, 1e16, 1e19, 1e30, 1e38])
@pytest.mark.parametrize("k", [None, 2])
def test_the_length_of_rows_has_no_effect(scale, k):
    x = torch.rand(6, 4)
    graph = knowledge_graph(x, k)
    lengths = torch.ones(6, 1)
    lengths[1::2] = scale  # long and short rows beside usual ones
    for scaled in (x * scale, x * lengths):
        other = knowledge_graph(scaled, k)
        assert torch.equal(other.edge_index, graph.edge_index)
        torch.testing.assert_close(other.edge_weight, graph.edge_weight)
    conv = KnowledgeConv(4, 4, bias=False)
    torch.testing.assert_close(conv.collect_knowledge(x * scale) / scale, conv.collect_knowledge(x))


def test_usual_rows_keep_every_digit():
    x = torch.randn(50, 7)
    assert torch.equal(unit(x), F.normalize(x, dim=1))
    mixed = torch.cat([x, x[:1] * 1e30])
    assert torch.equal(unit(mixed)[:50], F.normalize(x, dim=1))


def test_gradients_through_rows_of_any_length():
    for scale in (1.0, 1e-20, 1e20):
        x = (torch.rand(4, 3) * scale).requires_grad_()
        (gradient,) = torch.autograd.grad(unit(x)[:, 0].sum(), x)
        expected = torch.autograd.grad(F.normalize(x / scale, dim=1)[:, 0].sum(), x)[0]
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("k", [2.5, "3", [1], torch.tensor([1, 2])])
def test_neighbours_that_are_no_whole_number_are_refused(k):
    with pytest.raises(ValueError, match="'k' must be a whole number or None"):
        knowledge_graph(torch.rand(5, 3), k)


@pytest.mark.parametrize("k", [np.int64(2), torch.tensor(2)])
def test_whole_numbers_of_other_libraries(k):
    assert knowledge_graph(torch.rand(5, 3), k).num_edges == 10


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.filterwarnings("ignore:A graph of 0 nodes")
def test_a_graph_without_nodes(loop):
    graph = knowledge_graph(torch.empty(0, 4), k=3, loop=loop)
    assert (graph.num_nodes, graph.num_edges) == (0, 0)


def test_a_node_counts_among_its_own_neighbours_with_loops():
    x = torch.rand(6, 4)
    graph = knowledge_graph(x, k=3, loop=True)
    assert torch.bincount(graph.edge_index[1]).tolist() == [3] * 6
    assert graph.has_self_loops()


@pytest.mark.parametrize(
    "build",
    [
        lambda x: cosine_edges(x, k=9),
        lambda x: knowledge_graph(x, k=9),
        lambda x: dual_knowledge_graph(x, x, k=9),
        lambda x: knowledge_graph(x, k=9, groups=torch.zeros(5, dtype=torch.long)),
    ],
)
def test_warnings_point_at_the_callers_line(build):
    with pytest.warns(UserWarning, match="has no 9 neighbours") as record:
        build(torch.rand(5, 3))
    assert {warning.filename for warning in record} == {__file__}


def test_one_class():
    assert knowledge_graph(torch.ones(1, 3)).num_edges == 0
    assert knowledge_graph(torch.ones(1, 3), loop=True).edge_index.tolist() == [[0], [0]]
    with pytest.warns(UserWarning, match="1 nodes has no 2 neighbours"):
        assert knowledge_graph(torch.ones(1, 3), k=2).num_edges == 0


@pytest.mark.parametrize("k", [None, 1])
@pytest.mark.parametrize(("nodes", "queries"), [(3, 0), (0, 0)])
@pytest.mark.filterwarnings("ignore:A graph of 0 nodes")
def test_no_class_and_no_query(nodes, queries, k):
    edge_index, edge_weight = cosine_edges(torch.rand(nodes, 3), torch.rand(queries, 3), k=k)
    assert edge_index.shape == (2, 0)
    assert edge_index.dtype == torch.long
    assert edge_weight.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"k": 3}, {"k": 3, "symmetric": True}])
def test_weights_have_the_type_of_the_features(dtype, settings):
    x = (torch.randn(8, 6) + 0.3).to(dtype)
    original = x.clone()
    graph = knowledge_graph(x, **settings)
    assert graph.edge_weight.dtype == dtype
    assert torch.equal(x, original)
    # Half precision is computed in single precision, and rounded at the end:
    expected = knowledge_graph(x.float(), **settings)
    assert torch.equal(graph.edge_index, expected.edge_index)
    if dtype != torch.float64:
        assert torch.equal(graph.edge_weight, expected.edge_weight.to(dtype))


def test_gradients_flow_from_weights_to_both_inputs():
    node = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    for k in (None, 1):
        (weight,) = cosine_edges(node, query, k=k)[1]
        # d cos / d node = (query / |query| - cos * node / |node|) / |node|, with cos = 0.6
        gradients = torch.autograd.grad(weight, (node, query))
        torch.testing.assert_close(gradients[0], torch.tensor([[0.128, -0.096]]).double())
        torch.testing.assert_close(gradients[1], torch.tensor([[0.0, 0.8]]).double())


def test_row_blocks_hold_at_most_a_square():
    blocks = list(row_blocks(10, 4, block_size=3))
    assert [(b.start, b.stop) for b in blocks] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert [b.stop - b.start for b in row_blocks(3, 100, block_size=2)] == [1, 1, 1]
    assert list(row_blocks(0, 5)) == []


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (torch.ones(3), {}, r"'x' must be a floating-point matrix .*float32 \[3\]"),
        (torch.ones(2, 3, 4), {}, r"'x' must be a floating-point matrix .* \[2, 3, 4\]"),
        (torch.ones(2, 3, dtype=torch.long), {}, r"'x' must be a floating-point .*int64"),
        (torch.tensor([[1.0], [torch.nan], [torch.inf]]), {}, r"'x' must be finite .* \[1, 2\]"),
        (torch.ones(2, 3), {"threshold": 1.0}, r"'threshold' .* \[0, 1\) \(got 1.0\)"),
        (torch.ones(2, 3), {"threshold": -0.1}, r"'threshold' .* \(got -0.1\)"),
        (torch.ones(2, 3), {"threshold": float("nan")}, r"'threshold' .* \(got nan\)"),
        (torch.ones(2, 3), {"k": 0}, r"'k' must be at least 1 \(got 0\)"),
        (torch.ones(2, 3), {"k": -2}, r"'k' must be at least 1 \(got -2\)"),
        (torch.ones(2, 3), {"groups": 0}, r"'groups' must be at least 1 \(got 0\)"),
        (
            torch.ones(2, 3),
            {"groups": torch.zeros(3)},
            r"'groups' needs one entry per node.* \[3\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(x, settings, message):
    with pytest.raises(ValueError, match=message):
        knowledge_graph(x, **settings)


@pytest.mark.parametrize(
    ("query", "settings", "message"),
    [
        (torch.ones(2, 4), {}, r"same width \(got 3 and 4\)"),
        (torch.ones(3), {}, r"'query' must be a floating-point matrix"),
        (torch.full((1, 3), torch.nan), {}, r"'query' must be finite \(.* rows \[0\]\)"),
        (torch.ones(4, 3), {"groups": 2}, r"2 nodes and 4 queries"),
    ],
)
def test_queries_that_do_not_fit_are_refused(query, settings, message):
    with pytest.raises(ValueError, match=message):
        cosine_edges(torch.ones(2, 3), query, **settings)


# The graph as data ---------------------------------------------------------------------------


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_graph_travels(travel):
    graph = knowledge_graph(torch.randn(6, 4), k=2)
    again = travel(graph)
    assert isinstance(again, Data)
    assert again.to_dict().keys() == {"x", "edge_index", "edge_weight"}
    for key, value in graph:
        assert torch.equal(again[key], value)


def test_a_graph_moves():
    graph = knowledge_graph(torch.randn(6, 4), k=2).to("meta")
    assert {value.device.type for _, value in graph} == {"meta"}


def test_graphs_batch():
    graphs = [knowledge_graph(torch.randn(n, 4), k=2) for n in (3, 5)]
    batch = Batch.from_data_list(graphs)
    assert batch.edge_index[:, graphs[0].num_edges :].min() >= 3
    for graph, again in zip(graphs, batch.to_data_list(), strict=True):
        for key, value in graph:
            assert torch.equal(again[key], value)


def test_dual_graph_holds_both_graphs_and_their_queries():
    text, image, query = torch.randn(6, 4), torch.randn(6, 4), torch.randn(3, 4)
    settings = {"k": 2, "threshold": 0.1}
    data = dual_knowledge_graph(text, image, query, symmetric=True, **settings)
    assert data.validate()
    assert set(data.node_types) == {"text", "image", "query"}
    for side, x in (("text", text), ("image", image)):
        node_graph = knowledge_graph(x, symmetric=True, **settings)
        query_edges = cosine_edges(x, query, **settings)
        for target, expected in (
            (side, (node_graph.edge_index, node_graph.edge_weight)),
            ("query", query_edges),
        ):
            store = data[side, "to", target]
            assert torch.equal(store.edge_index, expected[0])
            assert torch.equal(store.edge_weight, expected[1])
    assert data["query"].x is query
    assert dual_knowledge_graph(text, image)["query"].x is text


# Degrees -------------------------------------------------------------------------------------

EDGE_INDEX = torch.tensor([[0, 1, 2, 2, 1, 0], [1, 1, 1, 0, 0, 3]])
EDGE_WEIGHT = torch.tensor([0.5, 9.0, 0.25, 1.0, -3.0, 2.0])


def test_weighted_degree_by_hand():
    # 1 -> 1 is a loop, 1 -> 0 is negative:
    assert weighted_degree(EDGE_INDEX, EDGE_WEIGHT).tolist() == [1.0, 0.75, 0.0, 2.0]
    assert weighted_degree(EDGE_INDEX, EDGE_WEIGHT, 6).tolist() == [1.0, 0.75, 0, 2.0, 0, 0]
    assert weighted_degree(EDGE_INDEX).tolist() == [2.0, 2.0, 0.0, 1.0]


def test_nodes_that_only_send_have_a_degree_too():
    assert weighted_degree(torch.tensor([[4], [0]])).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert weighted_degree(torch.empty(2, 0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
@pytest.mark.parametrize("num_nodes", [None, 5])
def test_weighted_degree_of_a_sparse_matrix(layout, num_nodes):
    adj_t = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), EDGE_WEIGHT, (5, 5), check_invariants=True)
    adj_t = adj_t.coalesce()
    adj_t = adj_t if layout == "coo" else getattr(adj_t, f"to_sparse_{layout}")()
    assert weighted_degree(adj_t, num_nodes=num_nodes).tolist() == [1.0, 0.75, 0.0, 2.0, 0.0]


def test_edges_of_a_sparse_matrix_come_source_first():
    adj_t = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse_coo()  # from node 1 to query 0
    edge_index, edge_weight = as_edge_list(adj_t)
    assert edge_index.tolist() == [[1], [0]]
    assert edge_weight.tolist() == [2.0]


def test_a_weight_too_many_is_refused():
    with pytest.raises(ValueError, match=r"one weight per edge \(got \[7\] for 6 edges\)"):
        weighted_degree(EDGE_INDEX, torch.ones(7))


# Prototypes ----------------------------------------------------------------------------------


def test_prototypes_of_unbalanced_classes():
    x = torch.tensor([[1.0, 0.0], [4.0, 4.0], [3.0, 2.0], [2.0, 4.0]])
    y = torch.tensor([2, 0, 2, 2])
    prototypes = class_prototypes(x, y, fallback=torch.full((3, 2), 7.0))
    assert prototypes.tolist() == [[4.0, 4.0], [7.0, 7.0], [2.0, 2.0]]


def test_prototypes_average_views():
    x, y = torch.randn(6, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 1])
    expected = torch.stack([x[y == c].reshape(-1, 4).mean(dim=0) for c in (0, 1)])
    torch.testing.assert_close(class_prototypes(x, y), expected)
    torch.testing.assert_close(class_prototypes(x, y, 2), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(dtype):
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    assert torch.equal(class_prototypes(x, y.to(dtype)), class_prototypes(x, y))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_beyond_its_whole_numbers(dtype):
    x = torch.cat([torch.zeros(3000, 1), torch.ones(3000, 1)]).to(dtype)
    prototypes = class_prototypes(x, torch.zeros(6000, dtype=torch.long))
    assert prototypes.dtype == dtype
    assert prototypes.item() == 0.5


def test_no_image_at_all():
    empty = torch.empty(0, 2), torch.empty(0, dtype=torch.long)
    assert class_prototypes(*empty).shape == (0, 2)
    fallback = torch.eye(2)
    assert torch.equal(class_prototypes(*empty, num_classes=2, fallback=fallback), fallback)


@pytest.mark.parametrize(
    ("y", "settings", "message"),
    [
        ([0, 0, 2], {}, r"^1 of 3 classes have no image: '1'\. Add images"),
        ([0, 0, 1], {"num_classes": 3, "class_names": ["a", "b", "cat"]}, r"no image: 'cat'\."),
        ([0, 0, 7], {}, r"6 of 8 classes .*: '1', '2', '3', '4', '5', …\."),
        ([0, 0, -1], {}, r"\[0, 1\) \(got -1 to 0\)"),
        ([0, 0, 3], {"num_classes": 3}, r"\[0, 3\) \(got 0 to 3\)"),
        ([0, 0], {}, r"one label per image \(got \[2\] for 3\)"),
        ([[0], [0], [0]], {}, r"one label per image \(got \[3, 1\] for 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, settings, message):
    with pytest.raises(ValueError, match=message):
        class_prototypes(torch.ones(3, 2), torch.tensor(y), **settings)


# Numbers -------------------------------------------------------------------------------------


def test_unit_leaves_zero_rows_and_widens_half_precision():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(unit(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert unit(x.half()).dtype == unit(x.bfloat16()).dtype == torch.float32
    assert unit(x.double()).dtype == torch.float64


@pytest.mark.slow
def test_thousands_of_classes_take_the_memory_of_a_block():
    program = """
        import resource
        import torch
        from pyg_graphadapter import KnowledgeConv, knowledge_graph

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        torch.rand(100, 100) @ torch.rand(100, 100)
        before = peak()
        KnowledgeConv(16, 16).collect_knowledge(torch.randn(20_000, 16))
        print(peak() - before)
        graph = knowledge_graph(torch.randn(20_000, 512), k=16)
        assert graph.num_edges == 16 * 20_000
        print(peak() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    unit_of_maxrss = 1 if sys.platform == "darwin" else 1024
    collected, searched = (int(line) * unit_of_maxrss for line in run.stdout.split())
    assert collected < 2**29  # all similarities at once would be 1.6 GB, in several copies
    assert searched < 2**30  # likewise
