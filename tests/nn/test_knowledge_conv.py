"""All routes of the layer against the published arithmetic, and its manners as a PyG layer."""

import copy
import shutil
import warnings

import numpy as np
import pytest
import torch
import torch_geometric.typing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import HeteroData
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import GCNConv, HeteroConv, summary

from pyg_graphadapter import KnowledgeConv, cosine_edges, knowledge_graph, weighted_degree
from pyg_graphadapter.nn.knowledge_conv import complete_messages
from tests.reference import dense_reference

D, OUT = 6, 4


def draw(rows, dtype=torch.float64):
    return torch.randn(rows, D, dtype=dtype)


def with_zero_rows(x):
    return torch.cat([x[:1], torch.zeros_like(x[:1]), x[1:], torch.zeros_like(x[:1])])


# Nodes and queries; one tensor alone stands in both roles:
INPUTS = {
    "nodes are queries": lambda: draw(7),
    "one node": lambda: draw(1),
    "two nodes": lambda: draw(2),
    "all alike": lambda: draw(7) + 3,  # no similarity is negative, as with CLIP's features
    "duplicates": lambda: draw(3).repeat(2, 1),
    "zero nodes": lambda: with_zero_rows(draw(4)),
    "orthogonal": lambda: torch.eye(D, dtype=torch.float64),
    "bipartite": lambda: (draw(7), draw(7)),
    "one node, one query": lambda: (draw(1), draw(1)),
    "two nodes, two queries": lambda: (draw(2), draw(2)),
    "more nodes": lambda: (draw(9), draw(3)),
    "more queries": lambda: (draw(3), draw(9)),
    "duplicates as queries": lambda: (x := draw(3).repeat(2, 1), x.flip(0).clone()),
    "zero nodes and queries": lambda: (with_zero_rows(draw(4)), with_zero_rows(draw(2))),
    "queries away from nodes": lambda: (x := draw(4) + 3, -x),
    "zero nodes only": lambda: (torch.zeros(3, D, dtype=torch.float64), draw(2)),
}


def both(x):
    return x if isinstance(x, tuple) else (x, x)


def edges_of(x):
    """The complete graph as an edge list, with the degrees that it needs."""
    if not isinstance(x, tuple):
        return *cosine_edges(x), None
    graph = knowledge_graph(x[0])
    return *cosine_edges(*x), weighted_degree(graph.edge_index, graph.edge_weight, len(x[0]))


def sparse(layout, edge_index, edge_weight, size):
    """The adjacency ``[queries, nodes]``; gradients flow to the weights."""
    adj_t = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_weight, size, check_invariants=True
    ).coalesce()
    return {
        "coo": lambda: adj_t,
        "csr": adj_t.to_sparse_csr,
        "csc": adj_t.to_sparse_csc,
    }[layout]()


def edge_list_route(conv, x):
    return conv(x, *edges_of(x))


def sparse_route(layout):
    def route(conv, x):
        nodes, queries = both(x)
        edge_index, edge_weight, deg = edges_of(x)
        adj_t = sparse(layout, edge_index, edge_weight, (len(queries), len(nodes)))
        return conv(x, adj_t, deg=deg)

    return route


def complete_route(block_size):
    def route(conv, x):
        conv.block_size = block_size
        return conv(x)

    return route


ROUTES = {
    "edge list": edge_list_route,
    "csr": sparse_route("csr"),
    "csc": sparse_route("csc"),
    "coo": sparse_route("coo"),
    "complete, one block": complete_route(2048),
    "complete, blocks": complete_route(4),
    "complete, a row a block": complete_route(1),
}
routes = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())


def outputs_and_gradients(conv, x, function, dtype):
    """What comes out, and the gradients of nodes, queries, weight and bias."""
    leaves = [
        features.to(dtype).requires_grad_() for features in (x if isinstance(x, tuple) else (x,))
    ]
    out = function(tuple(leaves) if isinstance(x, tuple) else leaves[0])
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)
    return out, torch.autograd.grad(out, [*leaves, *conv.parameters()], cotangent)


@routes
@pytest.mark.parametrize(
    ("dtype", "self_loop_weight"),
    [(torch.float64, 2.0), (torch.float64, 1.0), (torch.float64, 0.0), (torch.float32, 2.0)],
)
@pytest.mark.parametrize("draw_input", INPUTS.values(), ids=INPUTS.keys())
def test_every_route_equals_the_dense_reference(route, draw_input, dtype, self_loop_weight):
    x = draw_input()
    conv = KnowledgeConv(D, OUT, self_loop_weight).to(dtype)
    torch.nn.init.normal_(conv.bias)

    def reference(x):
        return dense_reference(*both(x), self_loop_weight) @ conv.lin.weight.t() + conv.bias

    out, gradients = outputs_and_gradients(conv, x, lambda x: route(conv, x), dtype)
    expected, expected_gradients = outputs_and_gradients(conv, x, reference, dtype)
    close = (
        {"rtol": 1e-9, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 2e-5}
    )
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, **close)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, **close)


@routes
@pytest.mark.parametrize("bipartite", [True, False])
def test_gradients_equal_finite_differences(route, bipartite):
    conv = KnowledgeConv(3, 2).double()
    # Similarities far from zero, where the positive part has its kink:
    nodes = torch.tensor([[1.0, 0.2, 0.3], [0.1, 1.0, 0.4], [0.3, 0.1, 1.0]], dtype=torch.float64)
    queries = torch.tensor([[0.7, 0.9, 0.2], [0.5, 0.2, 0.6]], dtype=torch.float64)

    def function(nodes, queries, weight, bias):
        x = (nodes, queries) if bipartite else nodes
        parameters = {"conv.lin.weight": weight, "conv.bias": bias}
        return functional_call(Route(conv, route), parameters, (x,))

    inputs = [t.detach().requires_grad_(t is not queries or bipartite) for t in (
        nodes, queries, conv.lin.weight, conv.bias + 1
    )]  # fmt: skip
    assert torch.autograd.gradcheck(function, inputs)


class Route(torch.nn.Module):
    def __init__(self, conv, route):
        super().__init__()
        self.conv, self.route = conv, route

    def forward(self, x):
        return self.route(self.conv, x)


def test_small_numbers_by_hand():
    nodes = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    query = torch.tensor([[0.6, 0.8]])
    # a = (0.6, 0.8, 0), d = 2 + 1.4, and no node is like another, so r = 2
    expected = (
        0.6 / (3.4 * 2.6) ** 0.5 * nodes[0] + 0.8 / (3.4 * 2.8) ** 0.5 * nodes[1] + 2 / 3.4 * query
    )
    torch.testing.assert_close(KnowledgeConv(2, 2).collect_knowledge((nodes, query)), expected)


def test_equals_a_gcn_on_the_graph_of_all_nodes_and_the_query():
    nodes, queries = draw(5), draw(3)
    conv = KnowledgeConv(D, OUT).double()
    gcn = GCNConv(D, OUT, improved=True).double()  # its self-loops weigh 2
    gcn.load_state_dict(conv.state_dict())
    expected = []
    for query in queries:
        graph = knowledge_graph(torch.cat([nodes, query.unsqueeze(0)]))
        expected.append(gcn(graph.x, graph.edge_index, graph.edge_weight)[-1])
    torch.testing.assert_close(conv((nodes, queries)), torch.stack(expected))


def test_real_text_features(shared_data):
    with np.load(shared_data / "clip_vitb32" / "imagenet_fewshot.npz", allow_pickle=False) as file:
        text = torch.from_numpy(file["text_features"][:60]).float()
        prototypes = torch.from_numpy(file["train_features"][:240]).float().view(60, 4, -1).mean(1)
    conv = KnowledgeConv(512, 512)
    expected = dense_reference(prototypes, text)
    for route in (None, 16):
        conv.block_size = route or conv.block_size
        actual = conv.collect_knowledge((prototypes, text))
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@given(order=st.permutations(range(5)), seed=st.integers(0, 9), k=st.sampled_from([None, 2]))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_classes_does_not_matter(order, seed, k):
    x = torch.randn(5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    conv = KnowledgeConv(D, OUT).double()
    for edges in (lambda x: (), lambda x: cosine_edges(x, k=k)):
        torch.testing.assert_close(conv(x[order], *edges(x[order])), conv(x, *edges(x))[order])


# Weights of the edges ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.parametrize("bipartite", [True, False])
@pytest.mark.parametrize("explicit_degree", [True, False])
def test_edge_list_and_sparse_matrix_give_edge_weights_one_gradient(
    layout, bipartite, explicit_degree
):
    x = (draw(5), draw(4)) if bipartite else draw(5)
    nodes, queries = both(x)
    edge_index = torch.tensor([[0, 4, 2, 1, 3, 3, 0], [0, 0, 1, 2, 2, 3, 3]])  # sorted by query
    edge_weight = torch.tensor([0.5, 2.0, 0.3, 1.0, 0.0, -0.4, 0.7], dtype=torch.float64)
    edge_weight.requires_grad_()
    deg = torch.rand(5, dtype=torch.float64) if explicit_degree else None
    conv = KnowledgeConv(D, OUT).double()
    adj_t = sparse(layout, edge_index, edge_weight, (len(queries), len(nodes)))

    out, out_sparse = conv(x, edge_index, edge_weight, deg), conv(x, adj_t, deg=deg)
    gradients = [torch.autograd.grad(o.pow(2).sum(), edge_weight)[0] for o in (out, out_sparse)]
    torch.testing.assert_close(out, out_sparse)
    torch.testing.assert_close(*gradients)
    assert gradients[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 6]  # not the negative one
    torch.testing.assert_close(out, conv(x, edge_index, edge_weight.clamp(min=0), deg))


def test_edges_without_weights_weigh_one():
    x, edge_index = draw(3), torch.tensor([[0, 1, 2], [1, 2, 1]])
    conv = KnowledgeConv(D, OUT).double()
    torch.testing.assert_close(conv(x, edge_index), conv(x, edge_index, torch.ones(3)))


def test_repeated_edges_add_up_and_self_loops_are_edges_to_the_query():
    x = draw(2)
    conv = KnowledgeConv(D, OUT).double()
    edge_index = torch.tensor([[0, 0, 0], [1, 1, 0]])
    weight = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    adj = torch.tensor([[1.0, 0.75], [0.0, 0.0]], dtype=torch.float64)  # [nodes, queries]
    r = torch.tensor([2.0, 2.75], dtype=torch.float64)  # the loop is no degree
    d = 2 + adj.sum(dim=0)
    scale = adj / (r.unsqueeze(1) + adj).sqrt() / d.sqrt()
    expected = scale.t() @ x + (2 / d).unsqueeze(1) * x
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        edges = edge_index[:, order], weight[order]
        torch.testing.assert_close(conv.collect_knowledge(x, *edges), expected)
        adj_t = torch.sparse_coo_tensor(edges[0].flip(0), edges[1], (2, 2), check_invariants=True)
        torch.testing.assert_close(conv.collect_knowledge(x, adj_t), expected)
        torch.testing.assert_close(conv.collect_knowledge(x, adj_t.to_sparse_csr()), expected)


@pytest.mark.parametrize("edges", ["edge list", "csr"])
@pytest.mark.parametrize("num_queries", [3, 0])
def test_a_query_without_edges_keeps_its_feature(edges, num_queries):
    nodes, queries = draw(4), draw(num_queries)
    edge_index = torch.empty(2, 0, dtype=torch.long)
    if edges == "csr":
        edge_index = sparse("csr", edge_index, nodes.new_empty(0), (num_queries, 4))
    conv = KnowledgeConv(D, OUT).double()
    torch.testing.assert_close(conv.collect_knowledge((nodes, queries), edge_index), queries)


@pytest.mark.parametrize(("num_nodes", "num_queries"), [(0, 3), (3, 0), (0, 0)])
def test_the_complete_route_takes_empty_sets(num_nodes, num_queries):
    nodes, queries = draw(num_nodes), draw(num_queries)
    torch.testing.assert_close(complete_messages(nodes, queries), queries)


@pytest.mark.parametrize("self_loop_weight", [0.0, 1e-3])
def test_rounding_of_degrees_does_not_blow_up(self_loop_weight):
    # The node has no other neighbour, and the query is all but orthogonal to it:
    nodes, queries = torch.randn(200, 1, 50), torch.randn(200, 1, 50)
    for node, query in zip(nodes, queries, strict=True):
        query = query - (query @ node.t()) / (node @ node.t()) * node + 1e-7 * node
        out = complete_messages(node, query, self_loop_weight)
        assert out.norm() <= 1.001 * (node.norm() + query.norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x = torch.randn(6, D)
    conv = KnowledgeConv(D, OUT)
    expected = conv(x)
    conv, x = conv.to(dtype), x.to(dtype)
    for edges in ((), cosine_edges(x)):
        out = conv(x, *edges)
        assert out.dtype == dtype
        torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)


def test_half_precision_gives_half_precision_gradients():
    x = torch.randn(6, D, dtype=torch.bfloat16, requires_grad=True)
    KnowledgeConv(D, OUT).bfloat16()(x).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.isfinite().all()


# Memory --------------------------------------------------------------------------------------


class LargestOutput(TorchDispatchMode):
    """The largest tensor that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_the_complete_route_holds_no_more_than_a_block():
    x = torch.randn(200, 3, requires_grad=True)
    conv = KnowledgeConv(3, 3, block_size=40)
    saved = []
    with (
        LargestOutput() as largest,
        torch.autograd.graph.saved_tensors_hooks(
            lambda t: saved.append(t.numel()) or t, lambda t: t
        ),
    ):
        conv(x).sum().backward()
    assert largest.numel <= 40**2  # against 200 ** 2
    conv.block_size = 200
    with LargestOutput() as largest:
        conv(x)
    assert largest.numel == 200**2  # so the count above can fail


def test_blocks_are_not_kept_for_the_backward_pass():
    x = torch.randn(200, 3, requires_grad=True)
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.update({t.data_ptr(): t.numel()}) or t, lambda t: t
    ):
        complete_messages(x, x.clone(), block_size=40)
    assert sum(saved.values()) < 200**2 / 2


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("self_loop_weight", [-1.0, float("nan")])
def test_a_negative_self_loop_weight_is_refused(self_loop_weight):
    with pytest.raises(ValueError, match="'self_loop_weight' must not be negative"):
        KnowledgeConv(2, 2, self_loop_weight)


EDGES = torch.tensor([[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (((torch.ones(3, 2), torch.ones(3, 4)),), ValueError, r"same width \(got 2 and 4\)"),
        ((torch.ones(3, 2), None, torch.ones(2)), ValueError, "computes its own weights"),
        (
            (torch.ones(3, 2), None, None, torch.ones(3)),
            ValueError,
            "computes its own weights",
        ),
        ((torch.ones(3, 2), EDGES, torch.ones(3)), ValueError, r"one weight per edge \(got \[3\]"),
        ((torch.ones(3, 2), EDGES, torch.ones(2, 1)), ValueError, r"\(got \[2, 1\] for 2 edges\)"),
        ((torch.ones(2, 2), EDGES), IndexError, r"query indices .* \[0, 2\) \(got 1 to 2\)"),
        ((torch.ones(3, 2), -EDGES), IndexError, r"node indices .* \[0, 3\) \(got -1 to 0\)"),
        (((torch.ones(1, 2), torch.ones(3, 2)), EDGES), IndexError, r"node indices .* \[0, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(args, error, message):
    with pytest.raises(error, match=message):
        KnowledgeConv(2, 2)(*args)


@pytest.mark.parametrize("shape", [(5, 4), (4, 3)])
def test_a_sparse_matrix_of_another_shape_is_refused(shape):
    adj_t = sparse("csr", torch.tensor([[0], [shape[0] - 1]]), torch.ones(1), shape)
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        KnowledgeConv(2, 2)((torch.ones(4, 2), torch.ones(4, 2)), adj_t)


# A bias a query ------------------------------------------------------------------------------


def test_every_query_has_a_bias_of_its_own():
    conv = KnowledgeConv(D, OUT, num_queries=5).double()
    assert conv.bias.shape == (5, OUT)
    torch.nn.init.normal_(conv.bias)
    x = draw(5)
    shared = KnowledgeConv(D, OUT, bias=False).double()
    shared.lin = conv.lin
    torch.testing.assert_close(conv(x), shared(x) + conv.bias)


@pytest.mark.parametrize(("num_queries", "given"), [(5, 4), (1, 4), (4, 1)])
def test_another_number_of_queries_is_refused(num_queries, given):
    with pytest.raises((ValueError, RuntimeError)):
        KnowledgeConv(D, OUT, num_queries=num_queries).double()(draw(given))


# A PyG layer ---------------------------------------------------------------------------------


def test_repr():
    assert repr(KnowledgeConv(8, 16)) == "KnowledgeConv(8, 16)"


def test_reset_parameters():
    conv = KnowledgeConv(D, OUT)
    initial_weight = conv.lin.weight.clone()
    torch.nn.init.ones_(conv.bias)
    conv.reset_parameters()
    assert (conv.lin.weight != initial_weight).any()
    assert (conv.bias == 0).all()


def test_without_a_bias():
    conv = KnowledgeConv(D, OUT, bias=False)
    assert [name for name, _ in conv.named_parameters()] == ["lin.weight"]
    torch.testing.assert_close(conv.transform(torch.zeros(2, D)), torch.zeros(2, OUT))


@pytest.mark.parametrize("bipartite", [True, False])
def test_the_width_of_the_input_is_found(bipartite):
    conv = KnowledgeConv(-1, OUT)
    x = (torch.randn(5, D), torch.randn(3, D)) if bipartite else torch.randn(5, D)
    conv(x)
    assert conv.lin.weight.shape == (OUT, D)


def test_state_dict_and_copies():
    conv, other = KnowledgeConv(D, OUT), KnowledgeConv(-1, OUT)
    x = torch.randn(5, D)
    other.load_state_dict(conv.state_dict())
    for same in (other, copy.deepcopy(conv)):
        assert torch.equal(same(x), conv(x))
    twin = copy.deepcopy(conv)
    torch.nn.init.zeros_(twin.lin.weight)
    assert (conv.lin.weight != 0).any()


def test_summary():
    x = torch.randn(5, D)
    table = summary(KnowledgeConv(D, OUT), x, *cosine_edges(x))
    row = next(line for line in table.splitlines() if "KnowledgeConv" in line)
    assert f"[5, {D}], [2, " in row
    assert f"[5, {OUT}]" in row
    assert f" {D * OUT + OUT} " in row


def test_inside_a_hetero_conv():
    data = HeteroData()
    data["query"].x = draw(3)
    convs, expected = {}, 0
    for side in ("text", "image"):
        data[side].x = draw(5)
        edge_index, edge_weight = cosine_edges(data[side].x, data["query"].x)
        data[side, "to", "query"].edge_index = edge_index
        data[side, "to", "query"].edge_weight = edge_weight
        conv = convs[side, "to", "query"] = KnowledgeConv(-1, OUT).double()
        expected = expected + conv((data[side].x, data["query"].x), edge_index, edge_weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that texts and images are not updated
        hetero = HeteroConv(convs, aggr="sum")
    out = hetero(data.x_dict, data.edge_index_dict, edge_weight_dict=data.edge_weight_dict)
    torch.testing.assert_close(out, {"query": expected})


def test_explained_by_its_edges():
    graph = knowledge_graph(torch.randn(6, D), k=2)
    conv = KnowledgeConv(D, OUT)
    output = conv(graph.x, graph.edge_index, graph.edge_weight)
    explainer = Explainer(
        conv,
        algorithm=GNNExplainer(epochs=3),
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    explanation = explainer(graph.x, graph.edge_index, index=2, edge_weight=graph.edge_weight)
    assert explanation.validate()
    # What reaches class 2 comes over the edges that end there, and over no other:
    torch.testing.assert_close(explanation.edge_mask > 0, graph.edge_index[1] == 2)
    assert not conv.explain
    assert torch.equal(conv(graph.x, graph.edge_index, graph.edge_weight), output)


def test_an_edge_mask_scales_messages_and_not_the_query():
    x, edge_index = torch.randn(4, D), torch.tensor([[0, 1], [2, 3]])
    conv = KnowledgeConv(D, OUT)
    conv.explain = True
    conv._edge_mask, conv._loop_mask, conv._apply_sigmoid = torch.tensor([1.0, 0.0]), None, False
    out = conv(x, edge_index)
    conv.explain = False
    plain = conv(x, edge_index)
    torch.testing.assert_close(out[:3], plain[:3])
    torch.testing.assert_close(out[3], conv.transform(2 / 3 * x[3]))


# Compilers -----------------------------------------------------------------------------------


def compiled_equals_eager(conv, args, backend):
    torch._dynamo.reset()
    compiled = torch.compile(conv, fullgraph=True, backend=backend)
    results = []
    for function in (compiled, conv):
        conv.zero_grad()
        out = function(*args)
        out.pow(2).sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in conv.parameters())])
    torch.testing.assert_close(*results)


@pytest.fixture
def compilable():
    x, queries = torch.randn(6, D), torch.randn(4, D)
    return {
        "edge list": (x, *cosine_edges(x, k=3)),
        "bipartite edge list": ((x, queries), *cosine_edges(x, queries)),
        "complete": (x,),
        "bipartite complete": ((x, queries),),
    }


@pytest.mark.parametrize(
    "route", ["edge list", "bipartite edge list", "complete", "bipartite complete"]
)
def test_compiles_without_a_graph_break(compilable, route):
    conv = KnowledgeConv(D, OUT, block_size=3)
    compiled_equals_eager(conv, compilable[route], backend="aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)
def test_compiles_to_machine_code(compilable, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    quick = {"compile_threads": 1, "cpp_cache_precompile_headers": False, "cpp.vec_isa_ok": False}
    torch._dynamo.reset()
    conv, args = KnowledgeConv(D, OUT), compilable["edge list"]
    with torch.no_grad(), torch._inductor.config.patch(quick):
        compiled = torch.compile(conv, fullgraph=True)
        torch.testing.assert_close(compiled(*args), conv(*args))


def test_exports_with_any_number_of_edges():
    x = torch.randn(6, D)
    edge_index, edge_weight = cosine_edges(x)
    conv = KnowledgeConv(D, OUT)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        conv,
        (x, edge_index, edge_weight),
        dynamic_shapes={"x": None, "edge_index": {1: dynamic}, "edge_weight": {0: dynamic}},
    )
    fewer = (x, *cosine_edges(x, k=2))
    torch.testing.assert_close(program.module()(*fewer), conv(*fewer))


# Optional packages of PyG --------------------------------------------------------------------


@pytest.mark.skipif(
    not torch_geometric.typing.WITH_TORCH_SCATTER, reason="torch_scatter is not installed"
)
def test_torch_scatter_changes_nothing(monkeypatch):
    conv, x = KnowledgeConv(D, OUT).double(), draw(6)
    edges = cosine_edges(x, k=3)
    with_scatter = conv(x, *edges)
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", False)
    torch.testing.assert_close(with_scatter, conv(x, *edges))


@pytest.mark.skipif(
    not torch_geometric.typing.WITH_TORCH_SPARSE, reason="torch_sparse is not installed"
)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch_sparse itself
@pytest.mark.parametrize("bipartite", [True, False])
def test_sparse_tensor(bipartite):
    from torch_sparse import SparseTensor

    x = (draw(5), draw(4)) if bipartite else draw(5)
    nodes, queries = both(x)
    edge_index, edge_weight, deg = edges_of(x)
    edge_weight = edge_weight.detach().requires_grad_()
    size = (len(queries), len(nodes))
    adj_t = SparseTensor(row=edge_index[1], col=edge_index[0], value=edge_weight, sparse_sizes=size)
    conv = KnowledgeConv(D, OUT).double()
    results = []
    for out in (conv(x, edge_index, edge_weight, deg), conv(x, adj_t, deg=deg)):
        results.append([out, *torch.autograd.grad(out.pow(2).sum(), edge_weight)])
    torch.testing.assert_close(*results)
    without_weights = conv(x, adj_t.set_value(None), deg=deg)
    torch.testing.assert_close(without_weights, conv(x, edge_index, deg=deg))
