from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_graphadapter import Features, FewShotTask, TrainConfig, train
from pyg_graphadapter.adapters import CoOp
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import draw_task, not_drawn
from pyg_graphadapter.training.fitting import fit_method

pytest.importorskip("transformers", reason="its prompts need a text encoder")
from datasets import DatasetDict

from pyg_graphadapter import Encoder, EncodingConfig
from pyg_graphadapter.data import load_images
from pyg_graphadapter.encoding.image_source import ImageSource
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


class Tower:
    """A text tower of one token per word. Its prompts are right where its context is (or is not)
    that of "a photo of a": there, the feature of a class is its token embedding, else the opposite.
    """

    def __init__(self, deviation, knows_words=True):
        self.table = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
        self.table *= deviation / self.table[:4].square().mean().sqrt()  # 0 to 3: a photo of a
        self.knows_words = knows_words

    def token_ids(self, text):
        return torch.arange(len(text.split()))

    def tokenize_around(self, names, length, position):
        ids = torch.zeros(len(names), length + 1, dtype=torch.long)
        ids[:, -1] = torch.arange(10, 10 + len(names))
        return {"input_ids": ids}, torch.arange(length).repeat(len(names), 1)

    def embed_tokens(self, input_ids):
        return self.table[input_ids]

    def encode_embeddings(self, embeddings, tokens):
        words = self.table[:4].mean(dim=0)
        along = embeddings[:, :-1].mean(dim=1) @ words / words.square().sum()  # 1 for the words
        sign = torch.where((along > 0.5) == self.knows_words, 1.0, -1.0)
        return unit(sign.unsqueeze(1) * embeddings[:, -1] + 0.01 * along.unsqueeze(1))

    def task(self, logit_scale=100.0, shots=2):
        text = unit(self.table[10:13])
        y = torch.arange(3).repeat_interleave(shots)
        return FewShotTask(NAMES, text, Features(text[y], y), None, logit_scale, self)


def test_the_start_is_what_is_right_on_the_shots():
    words = CoOp.from_task(Tower(0.02).task())
    assert words.settings()["context_words"] == "a photo of a"
    assert words.settings()["context_length"] is None
    np.testing.assert_allclose(words.vectors.detach(), Tower(0.02).table[:4], rtol=1e-6)
    random = CoOp.from_task(Tower(0.02, knows_words=False).task())
    assert (random.settings()["context_words"], random.settings()["context_length"]) == ("", 16)
    assert random.vectors.shape == (16, 8)
    assert 0.015 < random.vectors.std() < 0.025
    for adapter, knows_words in ((words, True), (random, False)):
        task = Tower(0.02, knows_words).task()
        assert torch.equal(adapter(task.support.mean_views()).argmax(dim=1), task.support.y)


def test_words_are_the_start_where_the_shots_say_nothing():
    task = Tower(0.02, knows_words=False).task(shots=0)
    assert CoOp.from_task(task).settings()["context_words"] == "a photo of a"


def test_a_start_that_is_given_is_kept():
    right, wrong = Tower(0.02).task(), Tower(0.02, knows_words=False).task()
    assert CoOp.from_task(right, context_length=2).settings()["context_words"] == ""
    assert len(CoOp.from_task(right, context_length=2).vectors) == 2
    assert CoOp.from_task(wrong, context_words="a photo").settings()["context_words"] == "a photo"
    assert len(CoOp.from_task(wrong, context_words="a photo").vectors) == 2


@pytest.mark.parametrize(
    ("deviation", "logit_scale", "scale"),
    [(0.02, 100.0, 1.0), (0.01, 100.0, 1.0), (0.1, 100.0, 5.0), (0.1, 20.0, 25.0)],
)
def test_the_scale_is_that_of_the_tower(deviation, logit_scale, scale):
    task = Tower(deviation).task(logit_scale)
    for settings in ({}, {"context_words": "a photo"}, {"context_length": 5}):
        adapter = CoOp.from_task(task, **settings)
        assert adapter.settings()["vector_scale"] == pytest.approx(scale, abs=0.01)
    assert CoOp.from_task(task, vector_scale=3.0).settings()["vector_scale"] == 3.0
    assert (
        CoOp.from_task(task, vector_scale=3.0, context_words="a")
        .class_weights()
        .equal(CoOp.from_task(task, vector_scale=1.0, context_words="a").class_weights())
    )  # before training


def test_steps_are_longer_by_the_square_of_the_scale(encoder):
    task = task_of(encoder)
    learned, starts = [], []
    for scale, lr in ((4.0, 0.001), (1.0, 0.016)):
        adapter = CoOp.from_task(task, context_length=3, vector_scale=scale)
        starts.append(adapter.class_weights().clone())
        config = TrainConfig(epochs=8, lr=lr, weight_decay=0.0, warmup_epochs=0, device="cpu")
        train(adapter, task, config, progress=False)
        learned.append(adapter.class_weights())
    torch.testing.assert_close(starts[0], starts[1])
    torch.testing.assert_close(learned[0], learned[1], atol=1e-5, rtol=0)
    assert (learned[0] - starts[0]).abs().max() > 1e-3


def test_the_papers_start_and_steps_are_plain(encoder):
    task = task_of(encoder)
    settings = {"context_length": 4, "vector_scale": 1.0}
    adapter = CoOp.from_task(task, **settings)
    generator = torch.Generator().manual_seed(0)
    expected = 0.02 * torch.randn(4, adapter.vectors.size(1), generator=generator)
    assert torch.equal(adapter.vectors, expected)
    config = TrainConfig(epochs=1, lr=0.1, weight_decay=0.0, warmup_epochs=0, device="cpu")
    adapter.train().backward(unit(task.support.x[:, 0]), task.support.y)
    stepped = expected - 0.1 * adapter.vectors.grad
    train(adapter, task, config, progress=False)
    torch.testing.assert_close(adapter.vectors.detach(), stepped, atol=1e-6, rtol=0)


def test_a_fit_says_what_it_chose(encoder):
    config = TrainConfig(epochs=1, device="cpu")
    fitted = fit_method("coop", Tower(0.1).task(), config, {"class_position": "end"})
    assert fitted.selected == {"context_words": "a photo of a", "vector_scale": 5.0}
    assert {**fitted.selected, "context_length": None}.items() <= fitted.adapter.settings().items()
    again = fit_method("coop", Tower(0.1).task(), config, {"context_words": ""})  # as when it grows
    assert again.selected == fitted.selected
    given = {"context_length": 2, "vector_scale": 2.0}
    assert fit_method("coop", Tower(0.1).task(), config, given).selected == {}


@pytest.mark.slow
def test_on_the_builtin_model_it_is_above_zero_shot(tmp_path):
    builtin = Encoder.from_pretrained("builtin", device="cpu")
    images = DatasetDict(train=load_images("builtin")["train"])
    config = EncodingConfig(cache_dir=str(tmp_path))
    file = ImageSource(images, builtin, config, progress=False).features()
    for shots in (1, 4):
        task = replace(draw_task(file, shots, 100), text_encoder=builtin)
        rest = not_drawn(file, shots, 100)
        right = {}
        for method in ("zero_shot", "coop"):
            adapter = fit_method(
                method, task, TrainConfig(device="cpu"), {}, progress=False
            ).adapter
            right[method] = (adapter(rest.mean_views()).argmax(dim=1) == rest.y).float().mean()
        assert right["coop"] > right["zero_shot"] + 0.02


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
        settings = {"context_length": 3, "context": context, "vector_scale": 1.0}
        adapter = CoOp.from_task(task, **settings).train()
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
