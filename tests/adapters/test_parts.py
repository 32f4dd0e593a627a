"""What logits and class weights are said to add up from adds up to them."""

import pytest
import torch
import torch.nn.functional as F

from pyg_graphadapter import EvaluationTask, GraphAdapter, TrainConfig, train
from pyg_graphadapter.adapters import (
    ADAPTERS,
    CLIPAdapter,
    LinearAdapter,
    TaskRes,
    TipAdapter,
    adapter_class,
)
from pyg_graphadapter.adapters.parts import (
    EXAMPLES,
    NAME,
    NAMES,
    OTHERS_AND_EXAMPLES,
    TRAINING,
    WHOLE,
)
from pyg_graphadapter.testing import fake_features

SETTINGS = {
    "clip_adapter": [{"side": side} for side in ("image", "text", "both")],
    "graph_adapter": [
        {"alpha": 0.5},
        {"k": 3, "groups": 2},
        {"bias": "shared", "activation": "gelu"},
        {"nodes": "images"},
        {"whitening": 0.5, "bias": "none"},
        {"conv": "GCNConv", "k": 3},
    ],
}
CASES = [
    (method, settings)
    for method in ADAPTERS
    if method != "coop"  # needs the encoder of the texts
    for settings in SETTINGS.get(method, [{}])
]
KINDS = {
    "zero_shot": {NAME},
    "graph_adapter": {NAME, NAMES, EXAMPLES, TRAINING},
    "linear_probe": {TRAINING},
    "gda": {NAME, TRAINING},
    "lp_pp": {NAME, TRAINING},
    "task_res": {NAME, TRAINING},
    "clap": {NAME, TRAINING},
    "cross_modal": {NAME, TRAINING},
    "clip_adapter": {NAME, TRAINING},
    "tip_adapter": {NAME, EXAMPLES},
    "tip_adapter_f": {NAME, EXAMPLES},
    "ape": {NAME, EXAMPLES},
    "ape_t": {NAME, TRAINING, EXAMPLES},
    "proker": {NAME, EXAMPLES},
    "hierarchical_lda": {WHOLE},
    "ss_text": {WHOLE},
    "transclip": {NAME, OTHERS_AND_EXAMPLES},
}


def fitted(method, data=None, **settings):
    """A fitted adapter, and images of other lengths than one."""
    data = data or fake_features(num_classes=7, channels=16, shots=4)
    task = EvaluationTask.from_file(data, shots=4, seed=1).task
    adapter = adapter_class(method).from_task(task, **settings)
    if adapter.is_trained:
        train(adapter, task, TrainConfig(epochs=5, lr=0.01, device="cpu"), progress=False)
    return adapter.eval().double(), 3 * data.test.mean_views()[::7].double()


@pytest.mark.parametrize(("method", "settings"), CASES, ids=str)
def test_parts_add_up(method, settings):
    adapter, x = fitted(method, **settings)
    with torch.no_grad():
        logits, parts = adapter(x), adapter.logit_parts(x)
    assert all(part.shape == logits.shape for part in parts.values())
    torch.testing.assert_close(sum(parts.values()), logits, rtol=1e-5, atol=1e-5)
    if isinstance(adapter, LinearAdapter):
        weights = sum(adapter.weight_parts().values())
        torch.testing.assert_close(weights, adapter.class_weights(), rtol=1e-5, atol=1e-6)
    if not settings:
        assert parts.keys() == KINDS[method]


def test_every_method_has_an_expectation():
    assert {method for method, _ in CASES} == KINDS.keys()


def test_a_method_from_outside_has_one_part():
    class Own(LinearAdapter):
        is_trained = False

        def class_weights(self):
            return 2 * self.text

    adapter = Own(torch.eye(3), 10.0)
    (part,) = adapter.logit_parts(torch.eye(3)).items()
    assert part[0] == WHOLE
    assert torch.equal(part[1], 20 * torch.eye(3))


# By hand ---------------------------------------------------------------------------------------


def test_the_parts_of_a_residual():
    adapter = TaskRes(torch.eye(2), 10.0, scale=1.0)
    with torch.no_grad():
        adapter.residual[0, 1] = 0.75
    parts = adapter.logit_parts(torch.tensor([[0.6, 0.8]]))
    # The weight of class 0 is (1, 0.75) / 1.25:
    torch.testing.assert_close(parts[NAME], torch.tensor([[4.8, 8.0]]))
    torch.testing.assert_close(parts[TRAINING], torch.tensor([[4.8, 0.0]]))


def test_the_parts_of_a_cache():
    adapter = TipAdapter(torch.eye(2), torch.eye(2), torch.tensor([1, 0]), 10.0, alpha=2.0)
    parts = adapter.logit_parts(torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(parts[NAME], torch.tensor([[10.0, 0.0]]))
    expected = 2 * torch.tensor([[-1.0, 0.0]]).exp()
    torch.testing.assert_close(parts[EXAMPLES], expected)


def test_the_name_alone_before_a_bottleneck_is_trained():
    adapter = CLIPAdapter(torch.eye(4), 10.0, ratio=0.0)
    x = F.normalize(torch.randn(3, 4), dim=1)
    parts = adapter.logit_parts(x)
    torch.testing.assert_close(parts[NAME], 10 * x)
    torch.testing.assert_close(parts[TRAINING], torch.zeros(3, 4), atol=1e-5, rtol=0)


def test_the_parts_of_a_graph_adapter_are_those_of_its_formula():
    text, prototypes = F.normalize(torch.randn(2, 5, 6, dtype=torch.float64), dim=2)
    adapter = GraphAdapter(text, prototypes, 20.0, alpha=0.6, beta=0.3, activation="none")
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    loops, nodes = {}, {}
    for side, p in {"text": text, "image": prototypes}.items():
        a = (text @ p.t()).clamp(min=0)
        own = (p @ p.t()).clamp(min=0).fill_diagonal_(0).sum(dim=1)
        d, r = 2 + a.sum(dim=1, keepdim=True), 2 + own
        weight = adapter.conv.sides()[side][0].lin.weight
        nodes[side] = (a / (d.sqrt() * (r + a).sqrt())) @ p @ weight.t()
        loops[side] = 2 / d * text @ weight.t()
    biases = {side: conv.bias for side, (conv, _) in adapter.conv.sides().items()}
    names = 0.4 * (0.3 * (nodes["text"] + loops["text"]) + 0.7 * loops["image"])
    examples = 0.4 * 0.7 * nodes["image"]
    training = 0.4 * (0.3 * biases["text"] + 0.7 * biases["image"])
    length = (0.6 * text + names + examples + training).norm(dim=1, keepdim=True)
    parts = adapter.weight_parts()
    expected = {NAME: 0.6 * text, NAMES: names, EXAMPLES: examples, TRAINING: training}
    for kind, part in expected.items():
        torch.testing.assert_close(parts[kind], part / length, rtol=1e-6, atol=1e-7)
