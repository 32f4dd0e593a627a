"""The identity of an encoder: four parts, each of which is the same wherever the model lies."""

import json
import shutil
import subprocess
import sys

import pytest

from pyg_graphadapter import Encoder
from pyg_graphadapter.encoding.identity import PARTS, changed_parts, identity_of_images
from tests.checkpoints import FAMILIES
from tests.faults.test_checkpoints import change_json, change_weights


def parts(encoder):
    return {part: encoder.identity()[part] for part in PARTS}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_elsewhere_is_the_same(family, checkpoint, tmp_path):
    encoder = Encoder.from_pretrained(checkpoint(family))
    first = parts(encoder)
    encoder.encode_text(["cat", "a dog"])  # a call changes the state of a tokenizer
    copy = Encoder.from_pretrained(shutil.copytree(checkpoint(family), tmp_path / "copy"))
    copy.encode_text(["cat", "a very long text about a dog in a tree " * 9])
    assert parts(copy) == first == parts(encoder)
    assert len(set(first.values())) == 4
    assert all(len(value) == 64 for value in first.values())


def test_what_was_loaded_and_saved_again_is_the_same(checkpoint, tmp_path):
    encoder = Encoder.from_pretrained(checkpoint("clip"))
    for part in (encoder.model, encoder.processor, encoder.tokenizer):
        part.save_pretrained(tmp_path)
    assert parts(Encoder.from_pretrained(tmp_path)) == parts(encoder)


@pytest.mark.slow
def test_the_built_in_model_in_another_process():
    program = (
        "import json; from pyg_graphadapter import Encoder\n"
        "print(json.dumps(Encoder.from_pretrained('builtin').identity()))"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    there = json.loads(printed.stdout.splitlines()[-1])
    assert there == Encoder.from_pretrained("builtin").identity()


def other_weights(folder):
    change_weights(folder, lambda s: s["visual_projection.weight"].view(-1)[:1].add_(1e-3))


def other_configuration(folder):
    change_json(folder, "config.json", lambda c: c["vision_config"].update(hidden_act="gelu"))


def other_merges(folder):
    change_json(folder, "tokenizer.json", lambda c: c["model"]["merges"].pop())


def other_words(folder):
    def swap(content):
        vocab = content["model"]["vocab"]
        first, second = list(vocab)[:2]
        vocab[first], vocab[second] = vocab[second], vocab[first]

    change_json(folder, "tokenizer.json", swap)


def other_length(folder):
    change_json(folder, "tokenizer_config.json", lambda c: c.update(model_max_length=12))


def other_mean(folder):
    change_json(folder, "preprocessor_config.json", lambda c: c.update(image_mean=[0.1, 0.2, 0.3]))


def other_interpolation(folder):
    change_json(folder, "preprocessor_config.json", lambda c: c.update(resample=2))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (other_weights, "weights"),
        (other_configuration, "configuration"),
        (other_merges, "tokenizer"),
        (other_words, "tokenizer"),
        (other_length, "tokenizer"),
        (other_mean, "preprocessing"),
        (other_interpolation, "preprocessing"),
    ],
)
def test_each_change_is_told_by_its_part_alone(checkpoint, tmp_path, change, part):
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "changed")
    change(folder)
    saved = Encoder.from_pretrained(checkpoint("clip")).identity()
    assert changed_parts(saved, Encoder.from_pretrained(folder).identity()) == [part]


def test_the_model_of_sentencepiece_counts(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("siglip"), tmp_path / "changed")
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((folder / "spiece.model").read_bytes())
    model.pieces[-1].score -= 1  # the vocabulary is as before
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    saved = Encoder.from_pretrained(checkpoint("siglip")).identity()
    assert changed_parts(saved, Encoder.from_pretrained(folder).identity()) == ["tokenizer"]


def test_parts_that_nobody_states_are_not_compared():
    mine = {"model": "mine", "version": 1}
    assert changed_parts(mine, {"model": "mine", "version": 2}) == []
    assert changed_parts({"weights": "a", "tokenizer": None}, {"weights": "b"}) == ["weights"]
    assert changed_parts({"tokenizer": "a"}, {"tokenizer": None}) == []
    all_changed = changed_parts(dict.fromkeys(PARTS, "a"), dict.fromkeys(PARTS, "b"))
    assert all_changed == list(PARTS)


def test_features_of_images_do_not_depend_on_the_tokenizer(checkpoint):
    identity = Encoder.from_pretrained(checkpoint("clip")).identity()
    assert set(identity) - set(identity_of_images(identity)) == {"tokenizer"}
