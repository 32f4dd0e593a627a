import pytest
import torch

from pyg_graphadapter import Features, FewShotTask, TrainConfig, train
from pyg_graphadapter.adapters import CoOp
from pyg_graphadapter.graph import unit

pytest.importorskip("transformers", reason="its prompts need a text encoder")
from pyg_graphadapter import Encoder
from tests.checkpoints import FAMILIES

NAMES = ("cat", "a_tree", "dog")


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"), device="cpu")


def task_of(encoder, names=NAMES, shots=2):
    text = encoder.encode_text(names)
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(len(names)).repeat_interleave(shots)
    x = text[y] + 0.5 * torch.randn(len(y), text.size(1), generator=generator)
    return FewShotTask(tuple(names), text, Features(x, y), None, 20.0, encoder)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_give_the_features_of_the_plain_prompt(checkpoint, family):
    encoder = Encoder.from_pretrained(checkpoint(family), device="cpu")
    adapter = CoOp.from_task(task_of(encoder), context_words="the")
    expected = encoder.encode_prompts([f"the {name}." for name in ("cat", "a tree", "dog")])
    torch.testing.assert_close(adapter.class_weights(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("context", ["unified", "class"])
def test_gradients_reach_the_context_alone(encoder, position, context):
    task = task_of(encoder)
    adapter = CoOp.from_task(task, context_length=3, class_position=position, context=context)
    assert adapter.num_parameters() == 3 * 16 * (3 if context == "class" else 1)
    adapter.train()
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    adapter(task.support.x[:, 0]).square().sum().backward()
    gradient = adapter.vectors.grad
    assert (gradient.flatten(0, -2).norm(dim=1) > 0).all()  # every vector of every class
    assert all(p.grad is None for p in encoder.model.parameters())
    train(adapter, task, TrainConfig(epochs=2, device="cpu"), progress=False)
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not encoder.model.training


def test_where_the_name_stands(encoder):
    ids = {
        position: encoder.tokenize_around(["dog"], 4, position)
        for position in ("end", "middle", "front")
    }
    name = encoder.token_ids("dog").tolist()
    for position, start in (("end", 5), ("middle", 3), ("front", 1)):
        tokens, where = ids[position]
        row = tokens["input_ids"][0].tolist()
        assert row[start : start + len(name)] == name
        assert where.shape == (1, 4)
        assert {row[i] for i in where[0].tolist()} == set(encoder.token_ids("a").tolist())


def test_learning_pays_and_is_kept(encoder):
    task = task_of(encoder, shots=4)
    adapter = CoOp.from_task(task, context_length=4)
    start = adapter.class_weights().clone()
    history = train(adapter, task, TrainConfig(epochs=60, lr=0.02, device="cpu"), progress=False)
    assert history.loss[-1] < history.loss[0]
    assert not torch.equal(adapter.class_weights(), start)
    x = torch.randn(5, 24)
    logits = adapter(x)
    torch.testing.assert_close(logits, 20.0 * unit(x) @ adapter.class_weights().t())
    again = CoOp.from_state(adapter.state_dict(), 20.0, adapter.settings())
    torch.testing.assert_close(again(x), logits)  # without an encoder


def test_new_classes(encoder):
    task = task_of(encoder)
    adapter = CoOp.from_task(task, context_words="the")
    extended = adapter.extend(encoder.encode_text(["bird"]), class_names=["bird"])
    expected = encoder.encode_prompts(["the bird."])
    torch.testing.assert_close(extended.class_weights()[3:], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(extended.class_weights()[:3], adapter.class_weights())
    per_class = CoOp.from_task(task, context_length=2, context="class")
    with pytest.raises(ValueError, match="unified"):
        per_class.extend(task.text[:1], class_names=["bird"])


def test_what_cannot_be_done(encoder):
    task = task_of(encoder)
    without = FewShotTask(task.class_names, task.text, task.support)
    with pytest.raises(ValueError, match="give images and a model, not features alone"):
        CoOp.from_task(without)
    with pytest.raises(ValueError, match="use a shorter context"):
        CoOp.from_task(task)  # the tiny tower takes 16 tokens
    with pytest.raises(ValueError, match="class_position"):
        CoOp.from_task(task, class_position="behind")


@pytest.mark.parametrize("context", ["unified", "class"])
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_prompts_in_parts_have_the_same_gradient(checkpoint, family, context, monkeypatch):
    encoder = Encoder.from_pretrained(checkpoint(family), device="cpu")
    gradients, calls = [], []
    for tokens_at_once in (10**6, 1):
        monkeypatch.setattr("pyg_graphadapter.adapters.coop.TOKENS_AT_ONCE", tokens_at_once)
        task = task_of(encoder)
        adapter = CoOp.from_task(task, context_length=3, context=context).train()
        encode = encoder.encode_embeddings
        with monkeypatch.context() as patch:
            patch.setattr(
                encoder,
                "encode_embeddings",
                lambda embeddings, tokens, encode=encode: (
                    calls.append(len(embeddings)),
                    encode(embeddings, tokens),
                )[1],
            )
            loss = adapter.backward(unit(task.support.x[:, 0]), task.support.y)
        gradients.append((loss, adapter.vectors.grad))
    assert calls == [3, *[1] * 3, *[1] * 3]  # each part once forward, once again backward
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
