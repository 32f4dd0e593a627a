"""Checkpoints that would silently be another model: each is refused by name."""

import json
import shutil

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from pyg_graphadapter import Encoder, cli
from pyg_graphadapter.testing import fake_images
from tests.checkpoints import FAMILIES


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("clip"), tmp_path / "model")


def refused(folder, *words, **settings):
    with pytest.raises(ValueError, match=r"^The model .*model' cannot be (loaded|used)") as caught:
        Encoder.from_pretrained(folder, **settings)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    return sentence


def change_weights(folder, change):
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    change(state)
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})


def change_json(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


# The vocabulary #######################################################################


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_without_its_vocabulary(family, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint(family), tmp_path / "model")
    for name in ("tokenizer.json", "spiece.model", "spiece.vocab"):
        (folder / name).unlink(missing_ok=True)
    refused(folder)


def test_the_vocabulary_is_what_the_sentence_names(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, "vocabulary is missing or damaged", "tokenizer.json")


@pytest.mark.parametrize("content", ["", "{", "{}", "null", "[]", '{"model": {}}'])
def test_an_empty_or_truncated_tokenizer(folder, content):
    (folder / "tokenizer.json").write_text(content)
    refused(folder)


def test_a_tokenizer_that_knows_no_word(folder, checkpoint):
    """As long as the tower's, so that its size gives nothing away."""

    def forget(content):
        entries = enumerate(content["model"]["vocab"])
        content["model"]["vocab"] = {
            token if token.startswith("<|") else f"unused{i}": i for i, token in entries
        }
        content["model"]["merges"] = []
        content["model"]["unk_token"] = "<|endoftext|>"

    change_json(folder, "tokenizer.json", forget)
    refused(folder, "'cat'", "vocabulary is missing or damaged")


def as_two_files(folder):
    """The older layout of CLIP's tokenizer: vocab.json and merges.txt."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    merges = [" ".join(pair) for pair in model["merges"]]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def test_the_older_layout_of_a_tokenizer_is_whole(folder, checkpoint):
    as_two_files(folder)
    encoder, other = map(Encoder.from_pretrained, (folder, checkpoint("clip")))
    assert torch.equal(encoder.encode_text(["cat", "dog"]), other.encode_text(["cat", "dog"]))
    assert encoder.identity()["tokenizer"] == other.identity()["tokenizer"]


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
@pytest.mark.parametrize("content", [None, "", "{}", "half"])
def test_the_older_layout_with_a_file_missing_or_damaged(folder, name, content):
    as_two_files(folder)
    whole = (folder / name).read_text()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(whole[: len(whole) // 2] if content == "half" else content)
    refused(folder)


def test_merges_cut_at_the_end_of_a_line(folder):
    as_two_files(folder)
    lines = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join(lines[:30]))
    refused(folder, "merges for", "merges are missing or damaged")


def test_a_tokenizer_of_a_larger_vocabulary(folder):
    change_json(folder, "tokenizer.json", add_tokens)
    refused(folder, "its tokenizer has 402 tokens, and its text tower knows 400")


def add_tokens(content):
    content["added_tokens"] += [
        {**content["added_tokens"][0], "id": 400 + i, "content": f"<new{i}>"} for i in range(2)
    ]


def test_the_end_of_a_text_that_the_tokenizer_never_gives(folder):
    change_json(folder, "config.json", lambda c: c["text_config"].update(eos_token_id=17))
    refused(folder, "the same features", "eos_token_id")


# The weights ##########################################################################


def test_left_over_weights_are_refused(folder):
    change_weights(folder, lambda s: s.update({"text_model.encoder.extra.weight": torch.ones(2)}))
    refused(folder, "1 of its weights is left over, as text_model.encoder.extra.weight")


def test_a_layer_more_than_the_configuration_says(folder):
    change_json(folder, "config.json", lambda c: c["vision_config"].update(num_hidden_layers=1))
    refused(folder, "are left over, as vision_model.encoder.layers.1.")


def test_a_layer_fewer_than_the_configuration_says(folder):
    change_json(folder, "config.json", lambda c: c["vision_config"].update(num_hidden_layers=3))
    refused(folder, "are missing, as vision_model.encoder.layers.2.")


def test_positions_of_older_checkpoints_are_permitted(folder):
    def add(state):
        state["text_model.embeddings.position_ids"] = torch.arange(16)[None]
        state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    change_weights(folder, add)
    assert Encoder.from_pretrained(folder).num_channels == 24


def test_misshaped_weights_are_told_with_both_shapes(folder):
    name = "visual_projection.weight"
    change_weights(folder, lambda s: s.update({name: torch.zeros(3, 3)}))
    refused(folder, name, "[3, 3]", "[24, 16]")


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_weights_that_are_no_floating_point_numbers(folder, dtype):
    name = "visual_projection.weight"
    change_weights(folder, lambda s: s.update({name: torch.ones(24, 16).to(dtype)}))
    refused(folder, name, "not as floating-point numbers")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["text_projection.weight", "vision_model.embeddings."])
def test_weights_that_are_not_finite(folder, name, value):
    def spoil(state):
        key = min(key for key in state if key.startswith(name))
        state[key].view(-1)[3] = value

    change_weights(folder, spoil)
    refused(folder, name, "not finite")


def test_an_image_tower_of_zeros(folder, tmp_path):
    change_weights(folder, lambda weights: weights["visual_projection.weight"].zero_())
    images = fake_images(tmp_path / "images")
    encoder = Encoder.from_pretrained(folder)
    with pytest.raises(ValueError, match="image tower is damaged"):
        encoder.encode_images(sorted(images.rglob("*.jpg")))
    fit = ("fit", images, "--model", folder, "--shots", 1, "--out", tmp_path / "c", "--no-cache")
    result = CliRunner().invoke(cli.app, [str(word) for word in fit])
    assert result.exit_code == 1
    assert "image tower is damaged" in result.output
    assert not (tmp_path / "c" / "classifier.json").exists()


def test_a_text_tower_of_zeros(folder):
    change_weights(folder, lambda s: s["text_projection.weight"].zero_())
    refused(folder, "'cat'", "zero")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (100.0, "(got 100); this looks like the factor itself, where its logarithm is meant"),
        (14.3, "(got 14.3); this looks like the factor itself"),
        (float("inf"), "(got inf)"),
        (-float("inf"), "(got -inf)"),
        (float("nan"), "(got nan)"),
        (0.0, "(got 0)"),
        (-5.0, "(got -5)"),
        (1e30, "(got 1e+30)"),
    ],
)
def test_the_factor_of_the_cosine(folder, value, shown):
    change_weights(folder, lambda s: s["logit_scale"].fill_(value))
    refused(folder, "logit_scale", shown)


@pytest.mark.parametrize("value", [0.7, 2.6592, 4.6052, 4.77])
def test_factors_of_real_models_are_permitted(folder, value):
    change_weights(folder, lambda s: s["logit_scale"].fill_(value))
    assert Encoder.from_pretrained(folder).logit_scale == pytest.approx(2.718281828**value)


def test_a_factor_for_each_of_several_things(folder):
    change_weights(folder, lambda s: s.update(logit_scale=torch.ones(3)))
    refused(folder, "logit_scale", "[3]")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_bias_of_siglip(checkpoint, tmp_path, value):
    folder = shutil.copytree(checkpoint("siglip"), tmp_path / "model")
    change_weights(folder, lambda s: s["logit_bias"].fill_(value))
    refused(folder, "logit_bias", f"(got {value:g})")


# The configuration ####################################################################


@pytest.mark.parametrize(
    ("tower", "key", "value"),
    [
        ("vision_config", "hidden_size", "16"),
        ("vision_config", "hidden_size", -16),
        ("vision_config", "hidden_size", None),
        ("vision_config", "num_attention_heads", 0),
        ("vision_config", "num_attention_heads", 3),
        ("vision_config", "hidden_act", "nothing"),
        ("vision_config", "image_size", [1]),
        ("vision_config", "image_size", 64),
        ("vision_config", "patch_size", 0),
        ("vision_config", "num_channels", 4),
        ("text_config", "hidden_size", 32),
        ("text_config", "vocab_size", 10**9),
        ("text_config", "vocab_size", "many"),
        ("text_config", "vocab_size", 10**30),
        ("text_config", "num_hidden_layers", 10**9),
        ("text_config", "max_position_embeddings", 10**9),
    ],
)
def test_sizes_that_do_not_fit(folder, tower, key, value):
    change_json(folder, "config.json", lambda c: c[tower].update({key: value}))
    refused(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '{"model_type": 3}', "\x00"])
def test_a_configuration_that_is_none(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"^The model .*model'.*(cannot be loaded|is of type)"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_half_a_file(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    refused(folder)


def test_features_of_different_widths(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("siglip"), tmp_path / "model")
    change_json(folder, "config.json", lambda c: c["text_config"].update(projection_size=8))

    def narrow(state):
        for name in ("text_model.head.weight", "text_model.head.bias"):
            state[name] = state[name][:8].clone()

    change_weights(folder, narrow)
    refused(folder, "16 wide", "text features 8")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("crop_size", {"height": 24, "width": 24}, "24 x 24"),
        ("do_center_crop", False, "takes 32 x 32"),
        ("image_std", [0.0, 0.0, 0.0], "image_std"),
        ("image_mean", [float("nan")] * 3, "image_mean"),
        ("image_mean", [0.5], "image processor"),
        ("size", {"shortest_edge": -1}, "image processor"),
        ("rescale_factor", "half", "image processor"),
    ],
)
def test_an_image_processor_that_does_not_fit(folder, key, value, words):
    change_json(folder, "preprocessor_config.json", lambda c: c.update({key: value}))
    refused(folder, words)


def test_patches_of_another_size(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("siglip2"), tmp_path / "model")
    change_json(folder, "preprocessor_config.json", lambda c: c.update(patch_size=4))
    refused(folder, "48 values per patch", "takes 192")


def test_the_command_line_ends_with_one_sentence(folder, tmp_path):
    (folder / "tokenizer.json").unlink()
    images = fake_images(tmp_path / "images")
    out = tmp_path / "features.npz"
    arguments = ["encode", images, "--model", folder, "--no-cache", "--out", out]
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == 1
    assert "vocabulary is missing or damaged" in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


@pytest.mark.parametrize("name", ["no_such", "name", "trust_remote_code", "tokenizer"])
def test_unknown_arguments_are_refused(folder, name):
    with pytest.raises(ValueError, match=rf"'{name}'"):
        Encoder.from_pretrained(folder, **{name: True})


# Class names ##########################################################################


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture(scope="module")
def word_pieces(checkpoint):
    return Encoder.from_pretrained(checkpoint("chinese_clip"))


def test_names_that_differ_behind_the_cut_are_named(encoder):
    long = "a photo of a cat and a dog in the tree beside the river "
    with pytest.raises(ValueError, match=r"cuts texts after 16 tokens") as caught:
        encoder.encode_text(["apple", f"{long} one", f"{long} two"])
    assert "river  one'" in str(caught.value)
    assert "river  two'" in str(caught.value)


def test_names_of_unknown_letters_are_named(word_pieces):
    with pytest.raises(ValueError, match=r"'猫' and '狗' are the same tokens.*does not know"):
        word_pieces.encode_text(["cat", "猫", "狗"], "{}")


def test_one_name_of_unknown_letters_is_another_text(word_pieces):
    assert word_pieces.encode_text(["cat", "猫"], "{}").isfinite().all()


@pytest.mark.parametrize("names", [("red_cat", "red cat"), ("Cat", "cat"), ("cat", "cat")])
def test_names_that_are_equal_up_to_their_writing_are_told(word_pieces, caplog, names):
    text = word_pieces.encode_text(names, "{}")
    assert torch.equal(text[0], text[1])
    assert "Two classes have the same text features" in caplog.text


class TextModel:
    """A model of another library, whose features are what a test needs."""

    name, has_texts, logit_scale, num_channels = "mine", True, 10.0, 2

    def __init__(self, rows):
        self.rows = rows

    def text_features(self, texts):
        return torch.tensor(self.rows, dtype=torch.float32)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 0], [0, 0], [0, 1]], "zero, of the class 'dog'"),
        ([[1, 0], [float("nan"), 0], [0, 1]], "not finite, of the class 'dog'"),
        ([[1, 0], [float("inf"), 0], [float("nan"), 1]], "'dog' and 1 others"),
        ([[1, 0], [0, 1], [1, 0]], "the classes 'cat' and 'tree' the same text features"),
    ],
)
def test_text_features_of_any_model_are_checked(rows, words):
    from pyg_graphadapter.encoding.model import class_text_features

    with pytest.raises(ValueError, match=words):
        class_text_features(TextModel(rows), ["cat", "dog", "tree"], "{}")
