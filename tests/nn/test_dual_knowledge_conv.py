import copy
import pickle

import pytest
import torch
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import summary

from pyg_graphadapter import DualKnowledgeConv, dual_knowledge_graph
from tests.reference import dense_reference

D, OUT, C = 6, 4, 5
SIDES = ("text", "image")


def features(queries=None, dtype=torch.float64):
    text, image = torch.randn(C, D, dtype=dtype), torch.randn(C, D, dtype=dtype)
    query = text if queries is None else torch.randn(queries, D, dtype=dtype)
    return {"text": text, "image": image, "query": query}


def randomized(conv):
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter)
    return conv


@pytest.mark.parametrize("queries", [None, 3])
@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize(
    ("beta", "act", "function"),
    [
        (0.7, "tanh", torch.tanh),
        (0.5, "relu", torch.relu),
        (0.2, None, lambda x: x),
        (1.0, "tanh", torch.tanh),
        (0.0, "gelu", torch.nn.functional.gelu),
    ],
)
def test_equals_the_fused_dense_references(queries, edges, beta, act, function):
    x = features(queries)
    conv = randomized(DualKnowledgeConv(D, OUT, beta=beta, act=act).double())
    expected = 0
    for side, (side_conv, weight) in conv.sides().items():
        m = dense_reference(x[side], x["query"])
        expected = expected + weight * function(m @ side_conv.lin.weight.t() + side_conv.bias)
    args = ()
    if edges:
        data = dual_knowledge_graph(**x)
        args = (data.edge_index_dict, data.edge_weight_dict)
    torch.testing.assert_close(conv(x, *args), expected)


@pytest.mark.parametrize(("beta", "sides"), [(1.0, ["text"]), (0.0, ["image"]), (0.4, [*SIDES])])
def test_a_side_that_is_switched_off_is_not_there(beta, sides):
    conv = DualKnowledgeConv(D, OUT, beta=beta)
    assert list(conv.sides()) == sides
    assert sum(p.numel() for p in conv.parameters()) == len(sides) * (D * OUT + OUT)
    x = {name: value for name, value in features(3, torch.float32).items()}
    needed = {name: x[name] for name in (*sides, "query")}
    torch.testing.assert_close(conv(needed), conv(x))


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_beta_out_of_bounds_is_refused(beta):
    with pytest.raises(ValueError, match=r"'beta' must lie in \[0, 1\]"):
        DualKnowledgeConv(D, OUT, beta=beta)


def test_settings_reach_both_convolutions():
    conv = DualKnowledgeConv(D, OUT, self_loop_weight=1.0, bias=False, block_size=7)
    for side, _ in conv.sides().values():
        assert (side.self_loop_weight, side.bias, side.block_size) == (1.0, None, 7)


def test_edges_on_one_side_only():
    x = features(3)
    conv = randomized(DualKnowledgeConv(D, OUT).double())
    data = dual_knowledge_graph(**x)
    text_only = {key: value for key, value in data.edge_index_dict.items() if key[0] == "text"}
    torch.testing.assert_close(conv(x, text_only, data.edge_weight_dict), conv(x))


def test_nodes_without_edges_among_them_have_no_degree():
    x = features(3)
    conv = DualKnowledgeConv(D, OUT, beta=1.0, act=None).double()
    data = dual_knowledge_graph(**x)
    joined = ("text", "to", "query")
    out = conv(x, {joined: data[joined].edge_index}, {joined: data[joined].edge_weight})
    a = torch.zeros(3, C, dtype=torch.float64)
    a[data[joined].edge_index[1], data[joined].edge_index[0]] = data[joined].edge_weight
    d = 2 + a.sum(dim=1, keepdim=True)
    m = (a / (d * (2 + a)).sqrt()) @ x["text"] + 2 / d * x["query"]
    torch.testing.assert_close(out, m @ conv.text_conv.lin.weight.t())


def test_collected_once_and_transformed_often():
    x = features(3)
    conv = randomized(DualKnowledgeConv(D, OUT).double())
    collected = conv.collect_knowledge(x)
    assert set(collected) == set(SIDES)
    torch.testing.assert_close(conv.fuse(collected), conv(x))


def test_activations_of_separate_sub_graphs_are_averaged():
    conv = randomized(DualKnowledgeConv(D, OUT).double())
    parts = [conv.collect_knowledge(features(3)) for _ in range(4)]
    stacked = {side: torch.stack([part[side] for part in parts]) for side in SIDES}
    expected = torch.stack([conv.fuse(part) for part in parts]).mean(dim=0)
    torch.testing.assert_close(conv.fuse(stacked), expected)


def test_gradients_reach_all_parameters_and_inputs():
    x = features(3)
    leaves = {name: value.requires_grad_() for name, value in x.items()}
    conv = randomized(DualKnowledgeConv(D, OUT).double())
    conv(leaves).pow(2).sum().backward()
    for name, leaf in (*leaves.items(), *conv.named_parameters()):
        assert (leaf.grad != 0).any(), name


# A PyG layer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [None, 2])
def test_hetero_data_round_trip(k):
    data = dual_knowledge_graph(**features(3), k=k)
    again = pickle.loads(pickle.dumps(data)).to("cpu")
    assert again.validate()
    conv = DualKnowledgeConv(D, OUT).double()
    out = conv(again.x_dict, again.edge_index_dict, again.edge_weight_dict)
    assert out.shape == (3, OUT)
    assert torch.equal(out, conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict))


def test_sparse_matrices_equal_edge_lists():
    data = dual_knowledge_graph(**features(3), k=3)
    adj_t_dict = {}
    for (source, _, target), edge_index in data.edge_index_dict.items():
        adj_t_dict[source, "to", target] = (
            torch.sparse_coo_tensor(
                edge_index.flip(0),
                data[source, "to", target].edge_weight,
                (data[target].num_nodes, data[source].num_nodes),
                check_invariants=True,
            )
            .coalesce()
            .to_sparse_csr()
        )
    conv = randomized(DualKnowledgeConv(D, OUT).double())
    expected = conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    torch.testing.assert_close(conv(data.x_dict, adj_t_dict), expected)


def test_repr():
    assert repr(DualKnowledgeConv(8, 16, beta=0.3)) == "DualKnowledgeConv(8, 16, beta=0.3)"


def test_summary():
    x = features(3, torch.float32)
    table = summary(DualKnowledgeConv(D, OUT), x)
    assert table.count("KnowledgeConv") == 3  # itself and both sides
    assert f" {2 * (D * OUT + OUT)} " in table


def test_reset_parameters():
    conv = DualKnowledgeConv(D, OUT)
    initial_state = copy.deepcopy(conv.state_dict())
    for side, _ in conv.sides().values():
        torch.nn.init.ones_(side.bias)
    conv.reset_parameters()
    for name, value in conv.state_dict().items():
        same = (value == 0).all() if name.endswith("bias") else (value == initial_state[name]).all()
        assert same == name.endswith("bias"), name


def test_state_dict_copies_and_the_width_of_the_input():
    x = features(3, torch.float32)
    conv, other = DualKnowledgeConv(D, OUT), DualKnowledgeConv(-1, OUT)
    other(x)
    other.load_state_dict(conv.state_dict())
    for same in (other, copy.deepcopy(conv)):
        assert torch.equal(same(x), conv(x))


@pytest.mark.parametrize("edges", [True, False])
def test_compiles_without_a_graph_break(edges):
    torch._dynamo.reset()
    data = dual_knowledge_graph(**features(3, torch.float32), k=3)
    args = (data.x_dict, data.edge_index_dict, data.edge_weight_dict) if edges else (data.x_dict,)
    conv = DualKnowledgeConv(D, OUT)
    compiled = torch.compile(conv, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*args), conv(*args))


class Side(torch.nn.Module):
    """The layer as a function of one side's nodes and of their edges to the queries."""

    def __init__(self, conv, data, side):
        super().__init__()
        self.conv, self.data, self.side = conv, data, side

    def forward(self, x, edge_index):
        joined = (self.side, "to", "query")
        return self.conv(
            {**self.data.x_dict, self.side: x},
            {**self.data.edge_index_dict, joined: edge_index},
            self.data.edge_weight_dict,
        )


@pytest.mark.parametrize("as_many_edges", [True, False])
@pytest.mark.parametrize(("side", "other"), [SIDES, SIDES[::-1]])
def test_explained_one_side_at_a_time(side, other, as_many_edges):
    x = {name: value.abs() for name, value in features(dtype=torch.float32).items()}
    data = dual_knowledge_graph(x["text"], x["image"] if as_many_edges else x["image"][:3])
    counts = [data[name, "to", "query"].num_edges for name in SIDES]
    assert counts == [C * C, C * C if as_many_edges else C * 3]
    conv = DualKnowledgeConv(D, OUT)
    output = conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    explained, unexplained = (getattr(conv, f"{name}_conv") for name in (side, other))
    for module in conv.convs.values():
        if module is not explained:
            module.explain = False
    explainer = Explainer(
        Side(conv, data, side),
        algorithm=GNNExplainer(epochs=3),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    edge_index = data[side, "to", "query"].edge_index
    explanation = explainer(data[side].x, edge_index, index=2)
    torch.testing.assert_close(explanation.edge_mask > 0, edge_index[1] == 2)
    assert unexplained.explain is False
    assert not explained.explain
    after = conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    assert torch.equal(after, output)


@pytest.mark.parametrize("side", SIDES)
def test_an_edge_mask_reaches_one_side_alone(side):
    data = dual_knowledge_graph(**features(dtype=torch.float32))
    conv = DualKnowledgeConv(D, OUT, act=None)
    explained = conv.get_submodule(f"{side}_conv")
    joined = (side, "to", "query")
    mask = torch.zeros(data[joined].num_edges)
    explained.explain = True
    explained._edge_mask, explained._loop_mask, explained._apply_sigmoid = mask, None, False
    out = conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    explained.explain = False
    collected = conv.collect_knowledge(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    # All messages of that side are masked away; what remains is the query's own share:
    d = 2 + torch.zeros(C).index_add(0, data[joined].edge_index[1], data[joined].edge_weight)
    collected[side] = 2 / d.unsqueeze(1) * data["query"].x
    torch.testing.assert_close(out, conv.fuse(collected))
