import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, models, trainers

from pyg_graphadapter import Encoder
from pyg_graphadapter.encoding.pretrained import MODEL_TYPES, as_trained
from tests import checkpoints
from tests.checkpoints import CORPUS, FAMILIES


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("clip"), tmp_path / "clip")


def refused(model, *messages, **settings):
    with pytest.raises(ValueError, match=r"The model .* cannot be loaded|is of type") as found:
        Encoder.from_pretrained(model, **settings)
    text = str(found.value)
    assert "\n" not in text
    for message in messages:
        assert message in text


def test_models_of_other_kinds_are_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    refused(tmp_path, "of type 'bert'", *MODEL_TYPES)
    transformers.CLIPSegConfig().save_pretrained(tmp_path)
    refused(tmp_path, "of type 'clipseg'", *MODEL_TYPES)
    transformers.ResNetConfig().save_pretrained(tmp_path)
    refused(tmp_path, "of type 'resnet'", *MODEL_TYPES)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_type_that_is_listed_is_tested(family, checkpoint):
    config = json.loads((checkpoint(family) / "config.json").read_text())
    assert config["model_type"] == family
    assert set(FAMILIES) == set(MODEL_TYPES)


def test_folders_that_hold_no_whole_model(folder, tmp_path):
    refused(tmp_path, "its folder must hold config.json")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(folder)
    (folder / "model.safetensors").unlink()
    refused(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config[:100])
    refused(folder)


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def test_pickled_weights_are_not_read(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    flag = tmp_path / "flag"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(flag)))
    refused(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    refused(folder)
    assert not flag.exists()


def test_weights_that_are_missing_or_misshaped_are_named(folder):
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    del state["visual_projection.weight"]
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    refused(folder, "visual_projection.weight")
    state["visual_projection.weight"] = torch.zeros(3, 3)
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    refused(folder, "visual_projection")


def test_a_model_that_is_not_here_is_told_how_to_fetch(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.encoding.pretrained.is_reachable", lambda: False)
    refused("no/such-model", "hf download no/such-model")


def test_offline_a_wrong_name_is_told_at_once():
    program = (
        "import time; from pyg_graphadapter import Encoder\n"
        "begin = time.monotonic()\n"
        "try: Encoder.from_pretrained('opnai/clip-vit-base-patch16')\n"
        "except ValueError as error: print(time.monotonic() - begin, error)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    seconds, text = printed.strip().split(" ", 1)
    assert float(seconds) < 2
    assert "\n" not in text
    assert text.endswith("hf download opnai/clip-vit-base-patch16.")


def test_code_that_comes_with_a_model_is_never_run(folder):
    with pytest.raises(ValueError, match="'trust_remote_code' is not supported"):
        Encoder.from_pretrained(folder, trust_remote_code=True)


EVIL = """
from pathlib import Path
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTokenizer
Path({flag!r}).write_text("run")
class Config(CLIPConfig):
    model_type = "evil"
class Processor(CLIPImageProcessor): ...
class Tokenizer(CLIPTokenizer): ...
"""


@pytest.mark.parametrize(
    ("file", "entries", "is_refused"),
    [
        ("config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}, True),
        ("config.json", {"auto_map": {"AutoConfig": "evil.Config"}}, False),
        (
            "preprocessor_config.json",
            {
                "image_processor_type": "Processor",
                "auto_map": {"AutoImageProcessor": "evil.Processor"},
            },
            True,
        ),
        (
            "tokenizer_config.json",
            {
                "tokenizer_class": "Tokenizer",
                "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]},
            },
            False,
        ),
    ],
)
def test_nobody_is_asked_to_run_code(folder, tmp_path, monkeypatch, file, entries, is_refused):
    flag = tmp_path / "flag"
    (folder / "evil.py").write_text(EVIL.format(flag=str(flag)))
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, **entries}))
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    if is_refused:
        refused(folder, "no code that comes with a model is run")
    else:  # transformers' own class is taken
        Encoder.from_pretrained(folder)
    assert not asked
    assert not flag.exists()


def test_revision_token_and_offline_mode_pass_through(folder, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.encoding.pretrained.is_reachable", lambda: True)
    asked = []
    for kind in ("AutoConfig", "AutoModel", "AutoImageProcessor", "AutoTokenizer"):
        original = getattr(transformers, kind).from_pretrained

        def load(name, *, _original=original, **settings):
            where = [settings.pop(key, None) for key in ("revision", "token", "local_files_only")]
            if name == "me/model":
                asked.append(tuple(where))
                name = folder
            return _original(name, **settings)

        monkeypatch.setattr(f"pyg_graphadapter.encoding.pretrained.{kind}.from_pretrained", load)
    Encoder.from_pretrained("me/model", revision="abc", token="t", local_files_only=True)
    assert asked == [("abc", "t", True)] * 4


def test_a_hub_models_commit_is_its_revision(folder, monkeypatch):
    original = transformers.AutoConfig.from_pretrained

    def load(*arguments, **settings):
        config = original(*arguments, **settings)
        config._commit_hash = "abc123"
        return config

    monkeypatch.setattr("pyg_graphadapter.encoding.pretrained.AutoConfig.from_pretrained", load)
    assert Encoder.from_pretrained(folder).revision == "abc123"


def test_an_unknown_key_in_the_configuration_does_no_harm(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "unknown_key": 1}))
    assert Encoder.from_pretrained(folder).num_channels == 24


def gemma_tokenizer(folder):
    """The tokenizer of SigLIP 2 at fixed resolution, as it is published: it keeps capitals."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    lines = [line.replace(" ", "▁") for line in CORPUS]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special)
    tokenizer.train_from_iterator(lines, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    built = transformers.GemmaTokenizer(
        vocab=state["vocab"], merges=[tuple(pair) for pair in state["merges"]], model_max_length=16,
        padding_side="right", add_bos_token=False, add_eos_token=True,
    )  # fmt: skip
    built.save_pretrained(folder)
    return built


def test_siglip_2_at_fixed_resolution_reads_lower_case(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "siglip_tokenizer", gemma_tokenizer)
    encoder = Encoder.from_pretrained(checkpoints.save_checkpoint("siglip", tmp_path))
    assert encoder.model.config.model_type == "siglip"
    x = encoder.encode_prompts(["Green House", "green house", "a tree"])
    torch.testing.assert_close(x[0], x[1])
    assert not torch.allclose(x[0], x[2])
    keeps = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert keeps.tokenize("Green") != keeps.tokenize("green")
    given = Encoder(encoder.model, encoder.processor, keeps)
    torch.testing.assert_close(given.encode_prompts(["Green House"])[0], x[1])
    assert keeps.tokenize("Green") != keeps.tokenize("green")  # it is not changed in place
    assert given.identity()["tokenizer"] == encoder.identity()["tokenizer"]


@pytest.mark.parametrize("family", ["siglip", "siglip2", "clip"])
def test_tokenizers_that_are_as_trained_stay_as_they_are(family, checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint(family))
    config = transformers.AutoConfig.from_pretrained(checkpoint(family))
    assert as_trained(config, tokenizer) is tokenizer
