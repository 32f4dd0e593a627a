import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import safetensors.torch
import torch
import transformers
from PIL import Image

from pyg_graphadapter import Encoder, FewShotClassifier
from pyg_graphadapter.encoding.identity import changed_parts
from pyg_graphadapter.encoding.open_clip.images import OpenClipImageProcessor
from pyg_graphadapter.testing import fake_images
from tests.open_clip import HERE, ODD_TEXTS, TEXTS, kinds, model_folder, pictures

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
PIXELS = safetensors.torch.load_file(HERE / "pixels.safetensors")
ODD_TOKENS = json.loads((HERE / "tokens.json").read_text())
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    root = tmp_path_factory.mktemp("open_clip")
    return {kind: Encoder.from_pretrained(model_folder(kind, root / kind)) for kind in kinds()}


@pytest.fixture
def folder(tmp_path):
    return model_folder("quick_gelu", tmp_path / "model")


def expected_of(kind):
    return safetensors.torch.load_file(HERE / "models" / kind / "expected.safetensors")


def change(folder, entry, value, part="model_cfg"):
    """Changes an entry of the configuration of a model, as ``vision_cfg.layers``."""
    content = json.loads((folder / CONFIG).read_text())
    *tables, name = [part, *entry.split(".")]
    table = content
    for key in tables:
        table = table[key]
    table[name] = value
    (folder / CONFIG).write_text(json.dumps(content))


def change_weights(folder, function):
    state = safetensors.torch.load_file(folder / WEIGHTS)
    function(state)
    safetensors.torch.save_file(state, folder / WEIGHTS)


def refused(folder, *messages):
    with pytest.raises(ValueError, match=r"^The model .* cannot be (loaded|used)") as found:
        Encoder.from_pretrained(folder)
    text = str(found.value)
    assert "\n" not in text
    for message in messages:
        assert message in text
    return text


# As open_clip itself ##################################################################


@pytest.mark.parametrize("kind", kinds())
def test_features_of_images_are_those_of_open_clip(kind, encoders):
    x = encoders[kind].encode_images(pictures(), progress=False).x[:, 0]
    torch.testing.assert_close(x, expected_of(kind)["image"], **CLOSE)


@pytest.mark.parametrize("kind", kinds())
def test_features_of_texts_are_those_of_open_clip(kind, encoders):
    encoder, expected = encoders[kind], expected_of(kind)
    torch.testing.assert_close(encoder.encode_prompts(list(TEXTS)), expected["text"], **CLOSE)
    alone = torch.cat([encoder.encode_prompts([text]) for text in TEXTS])
    torch.testing.assert_close(alone, expected["text"], **CLOSE)
    assert encoder.logit_scale == pytest.approx(float(expected["logit_scale"]), rel=1e-6)
    assert encoder.logit_bias == (-10.0 if kind == "biases" else 0.0)


@pytest.mark.parametrize("kind", kinds())
def test_tokens_are_those_of_open_clip(kind, encoders):
    rows = encoders[kind].token_rows(TEXTS)
    for row, expected in zip(rows, expected_of(kind)["tokens"].tolist(), strict=True):
        assert list(row) == expected[: len(row)]
        assert len({*expected[len(row) :]}) <= 1  # padding alone is left


@pytest.mark.parametrize("clean", ODD_TOKENS)
def test_odd_texts_are_cleaned_as_open_clip_does(clean, tmp_path):
    tokenizer, way = clean.split()
    folder = model_folder("quick_gelu" if tokenizer == "clip" else "clipa", tmp_path / "model")
    change(folder, "text_cfg.tokenizer_kwargs", {"clean": way})
    change(folder, "text_cfg.context_length", 99)
    positions = "positional_embedding"
    change_weights(folder, lambda s: s.update({positions: torch.ones(99, 16).half()}))
    rows = Encoder.from_pretrained(folder).token_rows(ODD_TEXTS)
    for text, row, expected in zip(ODD_TEXTS, rows, ODD_TOKENS[clean], strict=True):
        assert list(row) == expected, text


@pytest.mark.parametrize("kind", kinds())
def test_the_expected_features_tell_inputs_apart(kind):
    expected = expected_of(kind)
    for x in (expected["image"], expected["text"]):
        assert (torch.pdist(x) > 1e-3).all()


@pytest.mark.parametrize("settings", PIXELS)
def test_pixels_are_those_of_open_clip(settings):
    mode, interpolation = settings.split()
    zero, one = (0.0,) * 3, (1.0,) * 3
    processor = OpenClipImageProcessor(16, zero, one, interpolation, mode, fill_color=114)
    inputs = processor(pictures(), do_rescale=False, do_normalize=False)
    assert torch.equal(inputs["pixel_values"], PIXELS[settings])
    x = processor(pictures())["pixel_values"]
    torch.testing.assert_close(x, PIXELS[settings] / 255)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_images_that_fit_are_left_as_they_are(mode):
    processor = OpenClipImageProcessor(8, (0.0,) * 3, (1.0,) * 3, resize_mode=mode, fill_color=9)
    image = Image.effect_noise((8, 8), 90).convert("RGB")
    assert processor.square(image).tobytes() == image.tobytes()
    grey = Image.effect_noise((4, 8), 90)
    assert processor.square(grey).size == (8, 8)


@pytest.mark.parametrize("kind", ["clipa", "gelu", "own_vocabulary", "roberta_mean_mlp"])
def test_gradients_reach_token_embeddings(kind, encoders):
    encoder = encoders[kind]
    tokens = encoder.tokenize(["a cat", "a dog"])
    embeddings = encoder.embed_tokens(tokens["input_ids"]).clone().requires_grad_()
    x = encoder.encode_embeddings(embeddings, tokens)
    torch.testing.assert_close(x.detach(), encoder.encode_prompts(["a cat", "a dog"]), **CLOSE)
    x[:, 0].sum().backward()
    assert embeddings.grad.abs().sum() > 0


# Files ################################################################################


def test_the_other_name_of_the_weights_and_what_older_versions_stored(folder, encoders):
    def as_older(state):
        for name in list(state):
            state[f"module.{name}"] = state.pop(name)
        state["module.attn_mask"] = torch.zeros(16, 16)
        state["module.position_ids"] = torch.arange(16)

    change_weights(folder, as_older)
    (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.safetensors")
    encoder = Encoder.from_pretrained(folder)
    assert changed_parts(encoder.identity(), encoders["quick_gelu"].identity()) == []


def test_a_model_that_transformers_knows_is_read_as_such(folder, checkpoint):
    for path in checkpoint("clip").iterdir():
        shutil.copy(path, folder)
    assert type(Encoder.from_pretrained(folder).model) is transformers.CLIPModel
    (folder / "model.safetensors").unlink()
    shutil.copytree(model_folder("quick_gelu", folder / "again"), folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").unlink()
    assert type(Encoder.from_pretrained(folder).model).__name__ == "OpenClipModel"


def test_the_identity_depends_on_every_part(folder, encoders):
    now = encoders["quick_gelu"].identity()

    def parts():
        return changed_parts(now, Encoder.from_pretrained(folder).identity())

    assert parts() == []
    change(folder, "quick_gelu", False)
    assert parts() == ["configuration"]
    change(folder, "quick_gelu", True)
    change(folder, "interpolation", "bilinear", "preprocess_cfg")
    assert parts() == ["preprocessing"]
    change(folder, "text_cfg.tokenizer_kwargs", {"clean": "canonicalize"})
    assert parts() == ["tokenizer", "preprocessing"]
    change_weights(folder, lambda state: state["visual.proj"].mul_(2))
    assert parts() == ["weights", "tokenizer", "preprocessing"]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Makes the folder of a repository on the hub, as it lies in the cache once it was fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("pyg_graphadapter.encoding.pretrained.is_reachable", lambda: False)
    monkeypatch.setattr("pyg_graphadapter.encoding.open_clip.files.is_reachable", lambda: False)

    def folder(name):
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        snapshot = repository / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        return snapshot

    return folder


def test_a_repository_that_was_fetched(fetched, encoders):
    model_folder("gelu", fetched("me/birds"))
    encoder = Encoder.from_pretrained("me/birds")
    assert encoder.revision == COMMIT
    assert changed_parts(encoder.identity(), encoders["gelu"].identity()) == []


def test_a_repository_that_was_not_fetched(fetched):
    model_folder("gelu", fetched("me/birds"))
    refused("me/fish", "hf download me/fish")


def test_a_text_tower_and_a_tokenizer_that_are_named(fetched, encoders):
    folder = model_folder("roberta_mean_mlp", fetched("me/birds"))
    other = fetched("roberta-base")
    for path in [*folder.glob("tokenizer*"), folder / "config.json"]:
        path.rename(other / path.name)
    encoder = Encoder.from_pretrained("me/birds", revision=COMMIT)
    assert changed_parts(encoder.identity(), encoders["roberta_mean_mlp"].identity()) == []
    transformers.T5Config().save_pretrained(other)
    refused("me/birds", "'roberta-base' is of type 't5', and those of type bert, roberta, xlm-rob")


def test_the_vocabulary_of_clip_is_that_of_another_repository(fetched, tmp_path):
    folder = model_folder("quick_gelu", tmp_path / "model")
    change(folder, "text_cfg.vocab_size", 49408)
    tokens = "token_embedding.weight"
    more = torch.randn(49408 - 620, 16).half()
    change_weights(folder, lambda s: s.update({tokens: torch.cat([s[tokens], more])}))
    other = fetched("openai/clip-vit-base-patch32")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    special = [vocabulary.popitem()[0] for _ in range(2)]
    further = [f"<{i}>" for i in range(49406 - len(vocabulary))]
    numbered = {token: i for i, token in enumerate([*vocabulary, *further, *reversed(special)])}
    (other / "vocab.json").write_text(json.dumps(numbered))
    (folder / "merges.txt").rename(other / "merges.txt")
    (folder / "vocab.json").unlink()
    encoder = Encoder.from_pretrained(folder)
    assert encoder.token_rows(["cat"])[0][-1] == 49407


# What is refused ######################################################################


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("vision_cfg.timm_model_name", "vit_base_patch16_224", "is of timm: vit_base_patch16_224"),
        ("vision_cfg.timm_model_name", "convnext_base", "is of timm: convnext_base"),
        ("vision_cfg.timm_model_name", "vit_base_patch16_siglip_224", "of timm: vit_base_patch16"),
        ("multimodal_cfg", {"context_length": 76}, "it is a CoCa model"),
        ("vision_cfg.layers", [3, 4, 6, 3], "is a ModifiedResNet of layers [3, 4, 6, 3]"),
        ("vision_cfg.attentional_pool", True, "vision_cfg.attentional_pool = True"),
        ("vision_cfg.ls_init_value", 1e-4, "vision_cfg.ls_init_value = 0.0001"),
        ("vision_cfg.block_type", "custom", "vision_cfg.block_type = custom"),
        ("vision_cfg.pool_type", "none", "model_cfg.vision_cfg.pool_type must be one of 'tok'"),
        ("vision_cfg.image_size", [24, 32], "[24, 32], and only squares are read"),
        ("vision_cfg.head_width", 5, "width 16 cannot be split into 3 heads"),
        ("vision_cfg.head_width", 64, "width 16 cannot be split into 0 heads"),
        ("vision_cfg.patch_size", 32, "patch_size 32 is above its image_size 24"),
        ("vision_cfg.act_kwargs", {"inplace": True}, "act_kwargs {'inplace': True}"),
        ("vision_cfg.norm_kwargs", {"elementwise_affine": False}, "norm_kwargs"),
        ("text_cfg.heads", 3, "text_cfg.width 16 cannot be split into 3 heads"),
        ("text_cfg.embed_cls", True, "text_cfg.embed_cls = True"),
        ("text_cfg.no_causal_mask", True, "no_causal_mask and no hf_tokenizer_name"),
        ("text_cfg.pool_type", "last", "pool_type 'last' and no hf_tokenizer_name"),
        ("text_cfg.proj_type", "none", "its text features are 16 wide, and its image features 12"),
        ("text_cfg.tokenizer_mode", "clips", "text_cfg.tokenizer_mode must be one of"),
        ("text_cfg.tokenizer_kwargs", {"language": "de"}, "tokenizer_kwargs.language = de"),
        ("text_cfg.tokenizer_kwargs", {"clean": "whitespace"}, "tokenizer_kwargs.clean = whites"),
        ("text_cfg.tokenizer_kwargs", {"strip_sep_token": True}, "strip_sep_token = True has"),
        ("novel", 1, "its model_cfg.novel has no equal in transformers"),
        ("text_cfg.novel", {"a": [1]}, "text_cfg.novel = {'a': [1]}"),
        ("text_cfg.heads", None, "model_cfg.text_cfg.heads must be a whole number (got None)"),
        ("vision_cfg", None, "model_cfg.vision_cfg must be a table (got None)"),
        ("embed_dim", "12", "model_cfg.embed_dim must be a whole number"),
    ],
)
def test_what_has_no_equal_is_named(folder, entry, value, message):
    change(folder, entry, value)
    text = refused(folder, message, f"({CONFIG}); of open_clip's models, those are read")
    assert text.endswith("CLIP's text transformer, BERT or RoBERTa, without further parts.")


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("std", [1.0, 0.0, 1.0], "preprocess_cfg.std must not be zero"),
        ("mean", [0.5], "preprocess_cfg.mean must be"),
        ("mean", float("nan"), "mean must be"),
        ("interpolation", "nearest", "preprocess_cfg.interpolation must be one of 'bicubic'"),
        ("resize_mode", "pad", "preprocess_cfg.resize_mode must be one of 'shortest'"),
        ("fill_color", 300, "preprocess_cfg.fill_color must be between 0 and 255 (got 300)"),
        ("mode", "L", "preprocess_cfg.mode must be one of 'RGB'"),
    ],
)
def test_wrong_preprocessing_is_named(folder, entry, value, message):
    change(folder, entry, value, "preprocess_cfg")
    refused(folder, message)


def test_preprocessing_that_is_not_stated_is_that_of_open_clip(folder):
    content = json.loads((folder / CONFIG).read_text())
    expected = Encoder.from_pretrained(folder).processor.to_json_string()
    nothing = {"mean": [], "std": None, "interpolation": None}
    for preprocessing in (None, nothing):
        (folder / CONFIG).write_text(json.dumps({**content, "preprocess_cfg": preprocessing}))
        assert Encoder.from_pretrained(folder).processor.to_json_string() == expected


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_cfg": 1}', '{"model_cfg": {}}', "\0"])
def test_damaged_configurations(folder, content):
    (folder / CONFIG).write_text(content)
    refused(folder, CONFIG)


def test_weights_that_do_not_fit_are_named(folder):
    whole = (folder / WEIGHTS).read_bytes()
    for function, *messages in (
        (lambda s: s.pop("visual.proj"), "missing, as visual_projection.weight"),
        (lambda s: s.update(novel=torch.ones(2)), "1 of the weights", "is left over, as novel"),
        (lambda s: s.update({"visual.proj": torch.ones(3, 3)}), "visual.proj", "misshaped"),
        (lambda s: s.update({"visual.proj": torch.ones(3)}), "visual.proj", "misshaped"),
        (lambda s: s.update({"ln_final.bias": torch.ones(16).int()}), "ln_final.bias", "I32"),
        (lambda s: s["visual.proj"].fill_(torch.nan), "visual_projection.weight is not finite"),
        (lambda s: s.update({"module.visual.proj": s["visual.proj"] + 1}), "is there twice, also"),
        (lambda s: s.update(logit_scale=torch.ones(2)), "logit_scale"),
    ):
        (folder / WEIGHTS).write_bytes(whole)
        change_weights(folder, function)
        refused(folder, *messages)
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    refused(folder, "(open_clip_model.safetensors cannot be read: ", "must hold open_clip_config")


def test_no_memory_is_taken_for_what_no_file_holds(folder):
    change(folder, "text_cfg.vocab_size", 10_000_000)
    change(folder, "text_cfg.width", 100_000)
    change(folder, "text_cfg.heads", 1)
    refused(folder, "misshaped")
    change(folder, "text_cfg.layers", 90_000)
    refused(folder, "num_hidden_layers 90,000")


def test_pickles_are_never_opened(folder):
    (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.bin")
    refused(folder, "it has no open_clip_model.safetensors", "a pickle, which can run any code")


def test_a_missing_tokenizer_is_named(folder, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.encoding.open_clip.files.is_reachable", lambda: False)
    (folder / "merges.txt").unlink()
    refused(folder, "its tokenizer has a vocab.json and no merges.txt: add that")
    (folder / "vocab.json").unlink()
    refused(folder, "it has no tokenizer", "add its tokenizer.json, or its vocab.json and merges")
    change(folder, "text_cfg.vocab_size", 49408)
    refused(folder, "add the tokenizer.json of 'openai/clip-vit-base-patch32'")
    change(folder, "text_cfg.hf_tokenizer_name", "bert-base-uncased")
    refused(folder, "add the tokenizer.json of 'bert-base-uncased'")
    change(folder, "text_cfg.hf_tokenizer_name", "../elsewhere/..")
    refused(folder, "add the tokenizer.json of '../elsewhere/..'")


def test_the_tokenizer_of_another_model_is_named(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["new"] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    change(folder, "text_cfg.vocab_size", len(vocabulary))
    refused(folder, "its tokenizer is none of CLIP", str(len(vocabulary) - 1))


def test_text_towers_of_transformers_that_are_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.encoding.open_clip.files.is_reachable", lambda: False)
    folder = model_folder("roberta_mean_mlp", tmp_path / "model")
    (folder / "config.json").unlink()
    refused(folder, "put the config.json of 'roberta-base' beside open_clip_config.json")
    change(folder, "text_cfg.hf_model_name", "/etc")
    refused(folder, "'/etc' is not an id on the hub")
    transformers.T5Config().save_pretrained(folder)
    refused(folder, "put the config.json of '/etc'")


def test_text_features_of_another_width_need_a_projection(tmp_path):
    folder = model_folder("roberta_mean_mlp", tmp_path / "model")
    change(folder, "text_cfg.hf_proj_type", None)
    refused(folder, "hf_proj_type is null")


# A whole use ##########################################################################


def test_the_table_of_differences_names_every_model():
    table = (HERE / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\S+) \| (\S+) \|$", table, re.MULTILINE)
    assert [kind for kind, *_ in rows] == kinds()
    assert all(float(difference) <= 1e-5 for _, *differences in rows for difference in differences)


def test_a_classifier_is_fitted_saved_and_used(tmp_path):
    model = model_folder("quick_gelu", tmp_path / "model")
    images = fake_images(tmp_path / "images", splits={"train": 4, "test": 2})

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pyg_graphadapter", *map(str, arguments)],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout

    out = tmp_path / "classifier"
    command("fit", images, "--model", model, "--method", "tip_adapter", "--out", out)
    printed = command("predict", out, images / "test")
    assert printed.count("class_") >= 6
    classifier = FewShotClassifier.load(out)
    assert classifier.encoding["model"] == str(model)
    files = sorted((images / "test").rglob("*.*g"))
    for path, name in zip(files, classifier.predict(files), strict=True):
        [line] = [line for line in printed.splitlines() if str(path) in line]
        assert name in line.replace(str(path), "")
