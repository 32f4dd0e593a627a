"""PyG's explainers on both sides of the layer at once, for ``dual_knowledge_graph``."""

import pytest
import torch
from torch_geometric.explain import CaptumExplainer, Explainer, GNNExplainer

from pyg_graphadapter import DualKnowledgeConv, dual_knowledge_graph
from pyg_graphadapter.graph import weighted_degree

D, OUT, C = 6, 4, 5
SIDES = ("text", "image")
EDGE_TYPES = {(side, "to", target) for side in SIDES for target in (side, "query")}


def graph(k=None):
    # positive features, so that all cosines are positive and the graphs complete
    return dual_knowledge_graph(torch.rand(C, D), torch.rand(C, D), torch.rand(3, D), k=k)


def explainer(conv, algorithm, node_mask_type="attributes", mode="regression"):
    return Explainer(
        conv,
        algorithm=algorithm,
        explanation_type="model",
        node_mask_type=node_mask_type,
        edge_mask_type="object",
        model_config={"mode": mode, "task_level": "node", "return_type": "raw"},
    )


def explain(explainer, data, edge_types=EDGE_TYPES, **more):
    edge_index = {key: data.edge_index_dict[key] for key in sorted(edge_types)}
    edge_weight = {key: data.edge_weight_dict[key] for key in sorted(edge_types)}
    return explainer(data.x_dict, edge_index, edge_weight_dict=edge_weight, **more)


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("mode", ["regression", "multiclass_classification"])
def test_gnn_explainer_masks_all_edges_of_both_sides(k, mode):
    data = graph(k)
    conv = DualKnowledgeConv(D, OUT)
    args = (data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    before = conv(*args)
    explanation = explain(explainer(conv, GNNExplainer(epochs=3), mode=mode), data, index=2)
    assert explanation.validate_masks()
    assert set(explanation.edge_mask_dict) == EDGE_TYPES
    assert set(explanation.node_mask_dict) == {*SIDES, "query"}
    for side in SIDES:
        to_query = data[side, "to", "query"].edge_index
        of_the_query = to_query[1] == 2
        torch.testing.assert_close(explanation[side, "to", "query"].edge_mask > 0, of_the_query)
        # Edges among nodes count through the degrees of the query's neighbours:
        among = data[side, "to", side].edge_index
        of_neighbours = torch.isin(among[1], to_query[0, of_the_query])
        torch.testing.assert_close(explanation[side, "to", side].edge_mask > 0, of_neighbours)
    assert torch.equal(conv(*args), before)  # no mask is left behind
    assert explanation.get_explanation_subgraph().num_edges < data.num_edges


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_side_that_is_switched_off_is_left_out(beta):
    data, side = graph(), "text" if beta else "image"
    edge_types = {key for key in EDGE_TYPES if key[0] == side}
    x = {name: data[name].x for name in (side, "query")}
    edge_index = {key: data.edge_index_dict[key] for key in edge_types}
    explanation = explainer(DualKnowledgeConv(D, OUT, beta=beta), GNNExplainer(epochs=2))(
        x, edge_index, edge_weight_dict=data.edge_weight_dict, index=0
    )
    assert set(explanation.edge_mask_dict) == edge_types


@pytest.mark.parametrize("side", SIDES)
def test_masked_edges_among_nodes_are_missing_from_the_degrees(side):
    data = graph()
    conv = DualKnowledgeConv(D, OUT)
    among = (side, "to", side)
    kept = data[among].edge_index[0] != 1
    masks = {among: kept.float()}
    masked = explainer(conv, GNNExplainer(epochs=1)).get_masked_prediction(
        data.x_dict, data.edge_index_dict, edge_mask=masks, edge_weight_dict=data.edge_weight_dict
    )
    data[among].edge_index = data[among].edge_index[:, kept]
    data[among].edge_weight = data[among].edge_weight[kept]
    expected = conv(data.x_dict, data.edge_index_dict, data.edge_weight_dict)
    torch.testing.assert_close(masked, expected)


def test_the_degrees_of_the_layer_are_those_of_the_function():
    data = graph(3)
    conv = DualKnowledgeConv(D, OUT)
    edges = data["text", "to", "text"]
    deg = conv.convs["text__to__text"](edges.edge_index, edges.edge_weight, C)
    assert torch.equal(deg, weighted_degree(edges.edge_index, edges.edge_weight, C))


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("prefix", ["", "layers.0."])
def test_earlier_states_are_read(beta, prefix):
    conv, other = (DualKnowledgeConv(D, OUT, beta=beta) for _ in range(2))
    earlier = {
        prefix + name.removeprefix("convs.").replace("__to__query.", "_conv."): value
        for name, value in conv.state_dict().items()
    }
    for side in conv.sides():
        assert f"{prefix}{side}_conv.lin.weight" in earlier
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([other])
    (model if prefix else other).load_state_dict(earlier)
    for name, value in conv.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


@pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients")
def test_captum_explains_both_sides():
    pytest.importorskip("captum")
    data = graph(2)
    conv = DualKnowledgeConv(D, OUT)
    method = explainer(conv, CaptumExplainer("Saliency"), mode="multiclass_classification")
    explanation = explain(method, data, index=2)
    assert set(explanation.edge_mask_dict) == EDGE_TYPES
    for side in SIDES:
        of_the_query = data[side, "to", "query"].edge_index[1] == 2
        torch.testing.assert_close(explanation[side, "to", "query"].edge_mask != 0, of_the_query)
