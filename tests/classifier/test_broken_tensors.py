"""Tensors and settings of a saved classifier that would give other answers are refused."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.testing import fake_features


def saved(folder, method, *, texts=True):
    data = fake_features(num_classes=3, channels=8)
    data = data if texts else replace(data, text=None)
    FewShotClassifier.fit(data, shots=2, method=method, progress=False).save(folder)
    return folder


def changed(folder, name, change):
    """Changes a tensor, and the card with it."""
    path = folder / "classifier.safetensors"
    state = safetensors.torch.load_file(path)
    state[name] = change(state[name]).contiguous()
    path.write_bytes(safetensors.torch.save(state))
    card = json.loads((folder / "classifier.json").read_text())
    card["sha256"] = sha256(path.read_bytes())
    (folder / "classifier.json").write_text(json.dumps(card))


def first_row_zero(x):
    return torch.cat([torch.zeros_like(x[:1]), x[1:]])


@pytest.mark.parametrize(
    ("method", "name", "change"),
    [
        ("zero_shot", "text", torch.zeros_like),
        ("zero_shot", "text", lambda x: torch.full_like(x, 1e30)),
        ("zero_shot", "text", first_row_zero),
        ("graph_adapter", "prototypes", first_row_zero),
        ("graph_adapter", "prototypes", lambda x: x * 1e30),
        ("graph_adapter", "conv.convs.text__to__query.lin.weight", lambda x: x.int()),
        ("gda", "bias", lambda x: torch.full_like(x, 3e38)),
        ("gda", "weight", lambda x: torch.full_like(x, 3e38)),
        ("linear_probe", "bias", lambda x: torch.full_like(x, 3e38)),
        ("tip_adapter", "labels", lambda x: torch.full_like(x, 10**6)),
        ("tip_adapter", "labels", lambda x: x - 1),
        ("proker", "labels", lambda x: torch.full_like(x, 10**6)),
        ("proker", "keys", lambda x: torch.full_like(x, 3e38)),
        ("task_res", "residual", lambda x: torch.full_like(x, 3e38)),
        ("hierarchical_lda", "bias", lambda x: torch.full_like(x, 3e38)),
        ("ss_text", "weight", lambda x: torch.full_like(x, 3e38)),
        ("ape", "labels", lambda x: x - 1),
        ("ape", "keys", first_row_zero),
        ("ape_t", "residual", lambda x: torch.full_like(x, 3e38)),
        ("ape_t", "score", lambda x: torch.full_like(x, 3e38)),
    ],
)
def test_tensors_that_would_answer_otherwise(tmp_path, method, name, change):
    folder = saved(tmp_path / "c", method)
    changed(folder, name, change)
    with pytest.raises(ValueError, match=r"classifier .* cannot be read|its tensor"):
        FewShotClassifier.load(folder)


@pytest.mark.parametrize(
    ("method", "name", "change"),
    [
        ("gda", "weight", lambda x: torch.full_like(x, 3e38)),
        ("tip_adapter", "keys", torch.zeros_like),
        ("proker", "text", lambda x: x + torch.eye(*x.shape)[:, :1]),
        ("graph_adapter", "text", first_row_zero),
    ],
)
def test_tensors_of_classifiers_without_texts(tmp_path, method, name, change):
    folder = saved(tmp_path / "c", method, texts=False)
    changed(folder, name, change)
    with pytest.raises(ValueError, match=r"classifier .* cannot be read|its tensor"):
        FewShotClassifier.load(folder)


@pytest.mark.parametrize("method", ["gda", "tip_adapter"])
def test_zero_texts_are_refused_where_there_were_texts(tmp_path, method):
    folder = saved(tmp_path / "c", method)
    changed(folder, "text", torch.zeros_like)
    with pytest.raises(ValueError, match="'text' must not be zero"):
        FewShotClassifier.load(folder)


@pytest.mark.parametrize("method", ["graph_adapter", "tip_adapter"])
def test_a_setting_that_is_missing(tmp_path, method):
    folder = saved(tmp_path / "c", method)
    card = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({**card, "settings": {}}))
    with pytest.raises(ValueError, match=r"settings lack .*alpha"):
        FewShotClassifier.load(folder)
