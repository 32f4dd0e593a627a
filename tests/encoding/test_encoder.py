import logging
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyg_graphadapter import Encoder
from pyg_graphadapter.builtin import MODEL_FOLDER
from pyg_graphadapter.data import decode_image, load_images
from pyg_graphadapter.encoding import pipeline, views
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_images
from tests.checkpoints import FAMILIES


@pytest.fixture(scope="module")
def encoders(checkpoint):
    return {family: Encoder.from_pretrained(checkpoint(family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def clip(encoders):
    return encoders["clip"]


@pytest.fixture
def files(tmp_path):
    return sorted(fake_images(tmp_path / "images").rglob("*.*g"))


def encode(encoder, files, *arguments, **settings):
    return encoder.encode_images(files, *arguments, progress=False, **settings)


# Families #############################################################################


@pytest.mark.parametrize("family", FAMILIES)
def test_image_features_are_those_of_transformers(family, encoders, files):
    encoder = encoders[family]
    inputs = encoder.processor(images=[decode_image(f) for f in files], return_tensors="pt")
    with torch.no_grad():
        expected = unit(encoder.model.get_image_features(**inputs).pooler_output)
    found = encode(encoder, files)
    torch.testing.assert_close(found.x[:, 0], expected, atol=1e-5, rtol=0)
    assert found.x.size(2) == encoder.num_channels
    assert found.index.tolist() == list(range(12))
    assert found.num_encoded == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_text_features_are_those_of_transformers(family, encoders):
    encoder = encoders[family]
    padding = {"siglip": "max_length", "siglip2": "max_length"}.get(family, True)
    texts = ["a photo of a cat.", "a dog"]
    inputs = encoder.tokenizer(
        texts, padding=padding, truncation=True, max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        expected = unit(encoder.model.get_text_features(**inputs).pooler_output)
    torch.testing.assert_close(encoder.encode_prompts(texts), expected, atol=1e-5, rtol=0)
    assert encoder.logit_scale == pytest.approx(np.exp(3.0), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_siglip_alone_has_a_bias(family, checkpoint):
    encoder = Encoder.from_pretrained(checkpoint(family))
    has_bias = family in ("siglip", "siglip2")
    assert hasattr(encoder.model, "logit_bias") == has_bias
    if has_bias:
        encoder.model.logit_bias.data.fill_(-12.5)
    assert encoder.logit_bias == (-12.5 if has_bias else 0.0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 2), (2, 3)])
def test_odd_sizes_give_finite_features_and_take_no_memory(family, size, encoders, tmp_path):
    Image.effect_noise(size, 90).save(tmp_path / "odd.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = encode(encoders[family], [tmp_path / "odd.png"], 3).x
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in kB
    assert found.shape == (1, 3, encoders[family].num_channels)
    assert found.isfinite().all()
    torch.testing.assert_close(found.norm(dim=2), torch.ones(1, 3))
    assert grown < 50_000


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_token_embeddings_and_nothing_else(family, encoders):
    encoder = encoders[family]
    texts = ["a photo of a cat", "a dog"]
    tokens = encoder.tokenize(texts)
    embeddings = encoder.embed_tokens(tokens["input_ids"]).clone().requires_grad_()
    x = encoder.encode_embeddings(embeddings, tokens)
    torch.testing.assert_close(x.detach(), encoder.encode_prompts(texts), atol=1e-5, rtol=0)
    x[:, 0].sum().backward()
    assert embeddings.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    torch.testing.assert_close(encoder.encode_prompts(texts), x.detach(), atol=1e-5, rtol=0)


def test_what_an_image_is(clip):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3), dtype=np.uint8)
    x = clip.encode_images(pixels, progress=False).x
    assert len(x) == 2
    for one in (pixels[0], Image.fromarray(pixels[0])):
        torch.testing.assert_close(clip.encode_images(one, progress=False).x, x[:1])
    for none in (np.zeros((3, 32)), pixels / 255, pixels[0, :, :, 0], [pixels[0] / 255], 5):
        with pytest.raises(ValueError, match=r"Images are uint8 arrays .*PIL images, or paths"):
            clip.encode_images(none, progress=False)


def test_class_texts_are_means_over_templates(clip):
    templates = ("a photo of a {}.", "{}")
    found = clip.encode_text(["red_panda", "dog"], templates)
    each = clip.encode_prompts(["a photo of a red panda.", "red panda"])
    torch.testing.assert_close(found[0], unit(each.mean(dim=0, keepdim=True))[0])
    assert torch.equal(clip.encode_text(["dog"], "{}"), clip.encode_text(["dog"], ["{}"]))
    assert clip.encode_prompts([]).shape == (0, 24)


def test_texts_can_be_trained_on(clip):
    text = clip.encode_text(["dog"])
    weight = torch.ones(24, requires_grad=True)
    (text * weight).sum().backward()
    assert weight.grad is not None


def test_long_texts_are_cut_with_a_warning(clip, caplog):
    with caplog.at_level(logging.WARNING):
        assert clip.encode_prompts(["cat " * 500]).isfinite().all()
    assert "is cut after 16" in caplog.text


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_floating_point_types(checkpoint, clip, files, dtype):
    encoder = Encoder.from_pretrained(checkpoint("clip"), dtype=dtype)
    found = encode(encoder, files).x
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, encode(clip, files).x, atol=0.05, rtol=0)
    text = encoder.encode_text(["cat", "dog"])
    assert text.dtype == torch.float32
    torch.testing.assert_close(text, clip.encode_text(["cat", "dog"]), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "int8"}, "Unknown 'dtype' 'int8'. Choose from float32, float16, bfloat16."),
        ({"batch_size": 0}, "'batch_size' must be at least 1 (got 0)."),
        ({"workers": -1}, "'workers' must be at least 0 (got -1)."),
        ({"shard_images": 0}, "'shard_images' must be at least 1 (got 0)."),
        ({"device": "tpu"}, "There is no device 'tpu' here. Choose from auto, cpu"),
    ],
)
def test_what_an_encoder_cannot_be_given(checkpoint, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Encoder.from_pretrained(checkpoint("clip"), **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode_images([], 0), "'views' must be at least 1"),
        (lambda e: e.encode_text(["dog"], "a photo"), r"\{\}"),
        (lambda e: e.encode_text(["dog", " "]), "name"),
    ],
)
def test_what_cannot_be_encoded(clip, call, message):
    with pytest.raises(ValueError, match=message):
        call(clip)


def test_an_encoder_tells_its_name(checkpoint):
    assert "clip" in repr(Encoder.from_pretrained(checkpoint("clip")))


def test_the_model_that_is_built_in():
    encoder = Encoder.from_pretrained("builtin")
    images = load_images("builtin")["test"]
    index = [i for i, y in enumerate(images["label"]) if i % 40 == 0]
    names = images.features["label"].names
    found = encode(encoder, images.select(index)["image"])
    assert found.x.shape == (len(index), 1, encoder.num_channels)
    x, text = found.x[:, 0], encoder.encode_text(names)
    right = [names[c] for c in (x @ text.t()).argmax(dim=1)]
    assert sum(a == names[images[i]["label"]] for a, i in zip(right, index, strict=True)) >= 2
    size = sum(path.stat().st_size for path in MODEL_FOLDER.iterdir())
    assert size <= 16_000_000


# The cache ############################################################################


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_a_second_time_nothing_is_encoded_and_one_new_image_is_one(clip, files, cache):
    first = encode(clip, files, 2, cache=cache)
    assert first.num_encoded == 12
    again = encode(clip, files[::-1], 2, cache=cache)
    assert again.num_encoded == 0
    assert torch.equal(again.x.flip(0), first.x)
    renamed = files[3].rename(files[3].with_name("renamed.png"))
    stat = renamed.stat()
    content = bytearray(renamed.read_bytes())
    Image.fromarray(np.full((32, 40, 3), 77, np.uint8)).save(files[0])
    assert encode(clip, [renamed, files[1]], 2, cache=cache).num_encoded == 0
    # One byte of the pixels of a bitmap; name, size and time stay:
    bitmap = renamed.with_name("a.bmp")
    Image.open(renamed).save(bitmap)
    encode(clip, [bitmap], cache=cache)
    content = bytearray(bitmap.read_bytes())
    content[-1] ^= 1
    bitmap.write_bytes(content)
    os.utime(bitmap, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert encode(clip, [bitmap], cache=cache).num_encoded == 1
    assert encode(clip, [*files[:3], renamed, *files[4:]], 2, cache=cache).num_encoded == 1


def changed_weights(encoder, monkeypatch):
    weight = encoder.model.visual_projection.weight.data
    weight.view(torch.int32)[0, 0] ^= 1  # one bit


def changed_configuration(encoder, monkeypatch):
    encoder.model.config.vision_config.hidden_act = "gelu"


def changed_preprocessing(encoder, monkeypatch):
    encoder.processor.image_mean = [0.1, 0.2, 0.3]


def changed_interpolation(encoder, monkeypatch):
    encoder.processor.resample = 2


def changed_pillow(encoder, monkeypatch):
    monkeypatch.setitem(views.LIBRARIES, "pillow", "99")


def changed_transformers(encoder, monkeypatch):
    monkeypatch.setitem(views.LIBRARIES, "transformers", "99")


def changed_torch(encoder, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "99")


def changed_revision(encoder, monkeypatch):
    encoder.revision = "another"


def changed_name(encoder, monkeypatch):
    encoder.name = "another"


def changed_type(encoder, monkeypatch):
    encoder.dtype = torch.bfloat16
    encoder.model.to(torch.bfloat16)


@pytest.mark.parametrize(
    "change",
    [
        changed_weights,
        changed_configuration,
        changed_preprocessing,
        changed_interpolation,
        changed_pillow,
        changed_transformers,
        changed_torch,
        changed_revision,
        changed_name,
        changed_type,
    ],
)
def test_each_part_of_the_key_makes_other_features(checkpoint, files, cache, change, monkeypatch):
    settings = {"name": "clip"}
    encode(loaded(checkpoint, **settings), files, cache=cache)
    assert encode(loaded(checkpoint, **settings), files, cache=cache).num_encoded == 0
    other = loaded(checkpoint, **settings)
    change(other, monkeypatch)
    assert encode(other, files, cache=cache).num_encoded == 12


def loaded(checkpoint, name):
    found = Encoder.from_pretrained(checkpoint("clip"))
    found.name = name
    return found


def test_views_and_their_seed_are_parts_of_the_key(clip, files, cache):
    encode(clip, files, 2, 0, cache=cache)
    assert encode(clip, files, 3, 0, cache=cache).num_encoded == 12
    assert encode(clip, files, 2, 1, cache=cache).num_encoded == 12
    assert encode(clip, files, 1, 0, cache=cache).num_encoded == 12
    assert encode(clip, files, 1, 1, cache=cache).num_encoded == 0  # of one view nothing is drawn


PROGRAM = textwrap.dedent("""
    import sys, torch
    from pathlib import Path
    torch.set_num_threads(1)
    from pyg_graphadapter import Encoder
    from pyg_graphadapter.encoding import views
    model, images, cache = map(Path, sys.argv[1:])
    encoder = Encoder.from_pretrained(model, batch_size=4, shard_images=4)
    print("ready", flush=True)
    found = encoder.encode_images(sorted(images.rglob("*.*g")), 2, cache=cache, progress=False)
    print("encoded", found.num_encoded, flush=True)
""")


@pytest.fixture
def many_images(tmp_path):
    return fake_images(tmp_path / "many", per_class=40, size=(300, 300))


def start(*arguments):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def encoded_by(process):
    return int(re.search(r"encoded (\d+)", process.communicate(timeout=100)[0]).group(1))


@pytest.mark.slow
def test_killed_runs_go_on_where_they_stopped(checkpoint, many_images, tmp_path):
    model, images = checkpoint("clip"), sorted(many_images.rglob("*.*g"))
    for delay in (0.05, 0.3, 0.15, 0.2):
        with start(model, many_images, tmp_path / "cache") as process:
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
    shards = len(list((tmp_path / "cache").rglob("*.safetensors")))
    assert shards > 0
    with start(model, many_images, tmp_path / "cache") as process:
        assert encoded_by(process) == len(images) - 4 * shards
    encoder = Encoder.from_pretrained(model, batch_size=4)
    whole = encoder.encode_images(images, 2, progress=False)
    resumed = encoder.encode_images(images, 2, cache=tmp_path / "cache", progress=False)
    assert resumed.num_encoded == 0
    assert torch.equal(resumed.x, whole.x)


@pytest.mark.slow
def test_two_processes_at_once_give_one_result(checkpoint, many_images, tmp_path):
    model, images = checkpoint("clip"), sorted(many_images.rglob("*.*g"))
    with (
        start(model, many_images, tmp_path / "cache") as first,
        start(model, many_images, tmp_path / "cache") as second,
    ):
        counts = [encoded_by(first), encoded_by(second)]
    assert sum(counts) >= len(images)
    encoder = Encoder.from_pretrained(model, batch_size=4)
    found = encoder.encode_images(images, 2, cache=tmp_path / "cache", progress=False)
    assert found.num_encoded == 0
    keys = [path for path in Path(tmp_path / "cache").rglob("*.safetensors")]
    assert len(keys) >= len(images) // 4


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert pipeline.cores_of_this_process() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert pipeline.cores_of_this_process() == 3
