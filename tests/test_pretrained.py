import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from pyg_graphadapter import Encoder
from pyg_graphadapter.pretrained import MODEL_TYPES
from tests.checkpoints import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    return save_checkpoint("clip", tmp_path / "clip")


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
    refused(tmp_path, "of type 'clipseg'")


def test_folders_that_hold_no_whole_model(checkpoint, tmp_path):
    refused(tmp_path, "its folder must hold config.json")
    weights = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    refused(checkpoint)
    config = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(config[:100])
    refused(checkpoint)


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def test_pickled_weights_are_not_read(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").unlink()
    flag = tmp_path / "flag"
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(flag)))
    refused(checkpoint)
    assert not flag.exists()


def test_weights_that_are_missing_or_misshaped_are_named(checkpoint):
    path = checkpoint / "model.safetensors"
    state = safetensors.torch.load_file(path)
    del state["visual_projection.weight"]
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    refused(checkpoint, "visual_projection.weight")
    state["visual_projection.weight"] = torch.zeros(3, 3)
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    refused(checkpoint, "visual_projection")


def test_a_model_that_is_not_here_is_told_how_to_fetch(monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.pretrained.is_reachable", lambda: False)
    refused("no/such-model", "hf download no/such-model")


def test_code_that_comes_with_a_model_is_never_run(checkpoint):
    with pytest.raises(ValueError, match="'trust_remote_code' is not supported"):
        Encoder.from_pretrained(checkpoint, trust_remote_code=True)


def test_revision_token_and_offline_mode_pass_through(checkpoint, monkeypatch):
    monkeypatch.setattr("pyg_graphadapter.pretrained.is_reachable", lambda: True)
    asked = []
    for kind in ("AutoConfig", "AutoModel", "AutoImageProcessor", "AutoTokenizer"):
        original = getattr(transformers, kind).from_pretrained

        def load(name, *, _original=original, **settings):
            where = [settings.pop(key, None) for key in ("revision", "token", "local_files_only")]
            if name == "me/model":
                asked.append(tuple(where))
                name = checkpoint
            return _original(name, **settings)

        monkeypatch.setattr(f"pyg_graphadapter.pretrained.{kind}.from_pretrained", load)
    Encoder.from_pretrained("me/model", revision="abc", token="t", local_files_only=True)
    assert asked == [("abc", "t", True)] * 4


def test_a_hub_models_commit_is_its_revision(checkpoint, monkeypatch):
    original = transformers.AutoConfig.from_pretrained

    def load(*arguments, **settings):
        config = original(*arguments, **settings)
        config._commit_hash = "abc123"
        return config

    monkeypatch.setattr("pyg_graphadapter.pretrained.AutoConfig.from_pretrained", load)
    assert Encoder.from_pretrained(checkpoint).revision == "abc123"


def test_an_unknown_key_in_the_configuration_does_no_harm(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "unknown_key": 1}))
    assert Encoder.from_pretrained(checkpoint).num_channels == 24
