import hashlib
import importlib.metadata
import random

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from pyg_graphadapter.encoding.views import Views, _crop_box, _middle

DIGEST = hashlib.sha256(b"image").digest()


@pytest.fixture
def image():
    pixels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def processor(name="CLIPImageProcessorPil", **settings):
    sizes = {
        "CLIPImageProcessorPil": {
            "size": {"shortest_edge": 32},
            "crop_size": {"height": 32, "width": 32},
        },
        "ChineseCLIPImageProcessorPil": {
            "size": {"shortest_edge": 32},
            "crop_size": {"height": 32, "width": 32},
        },
        "SiglipImageProcessorPil": {"size": {"height": 32, "width": 32}},
        "ViTImageProcessorPil": {"size": {"height": 32, "width": 32}},
        "EfficientNetImageProcessorPil": {
            "size": {"height": 32, "width": 32},
            "crop_size": {"height": 32, "width": 32},
        },
        "Siglip2ImageProcessorPil": {"patch_size": 8, "max_num_patches": 16},
    }
    return getattr(transformers, name)(**{**sizes[name], **settings})


@pytest.mark.parametrize(
    ("name", "settings", "are_bytes"),
    [
        ("CLIPImageProcessorPil", {}, True),
        ("CLIPImageProcessorPil", {"image_mean": [0.1, 0.2, 0.3], "resample": 2}, True),
        ("CLIPImageProcessorPil", {"rescale_factor": 1 / 127.5}, True),
        ("CLIPImageProcessorPil", {"do_normalize": False}, False),
        ("CLIPImageProcessorPil", {"do_rescale": False}, False),
        ("ChineseCLIPImageProcessorPil", {}, True),
        ("SiglipImageProcessorPil", {}, True),
        ("ViTImageProcessorPil", {}, True),
        ("EfficientNetImageProcessorPil", {}, False),  # normalises twice
        ("Siglip2ImageProcessorPil", {}, False),  # patches of any shape
    ],
)
def test_the_first_view_is_the_processors(name, settings, are_bytes, image):
    views = Views(processor(name, **settings), views=3)
    inputs = views(image, DIGEST)
    assert (views.rescale is not None) == are_bytes
    assert (inputs["pixel_values"].dtype == torch.uint8) >= are_bytes
    finished = views.finish(inputs, torch.float32)
    plain = processor(name, **settings)(images=[image], return_tensors="pt")
    for key, value in plain.items():
        assert len(finished[key]) == 3
        torch.testing.assert_close(finished[key][:1], value, atol=1e-5, rtol=0)


def test_views_depend_on_seed_and_content_alone(image):
    def drawn(seed, digest, views=3):
        return Views(processor(), views, seed)(image, digest)["pixel_values"]

    assert torch.equal(drawn(1, DIGEST), drawn(1, DIGEST))
    assert torch.equal(drawn(1, DIGEST), drawn(1, DIGEST, views=5)[:3])
    for other in (drawn(2, DIGEST), drawn(1, DIGEST[::-1])):
        assert torch.equal(other[0], drawn(1, DIGEST)[0])
        assert not torch.equal(other[1], drawn(1, DIGEST)[1])
    assert not torch.equal(*drawn(1, DIGEST)[1:])


@pytest.mark.parametrize("name", ["CLIPImageProcessorPil", "Siglip2ImageProcessorPil"])
@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1), (3, 2)])
def test_odd_sizes_give_finite_pixels(name, size):
    views = Views(processor(name), views=4)
    finished = views.finish(views(Image.new("RGB", size, "red"), DIGEST), torch.float32)
    assert finished["pixel_values"].isfinite().all()


@pytest.mark.parametrize(
    ("size", "cut"),
    [
        ((1, 1), (1, 1)),
        ((16, 1), (16, 1)),
        ((10000, 1), (16, 1)),
        ((20, 1000), (20, 320)),
        ((640, 480), (640, 480)),
    ],
)
def test_of_very_long_images_the_middle_is_taken(size, cut):
    assert _middle(Image.new("RGB", size)).size == cut
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, size[1] // 2, size[0] // 2 + 1, size[1] // 2 + 1))
    assert (0, 0, 255) in [colour for _, colour in _middle(image).getcolors()]


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (500, 7), (64, 48)])
def test_crops_lie_within_the_image(size):
    width, height = size
    for seed in range(200):
        left, top, right, bottom = _crop_box(*size, random.Random(seed))
        assert 0 <= left <= right - 1 + 1e-9
        assert 0 <= top <= bottom - 1 + 1e-9
        assert right <= width + 1e-9
        assert bottom <= height + 1e-9
        assert (right - left) * (bottom - top) <= width * height + 1e-6
        if size == (64, 48):
            assert (right - left) * (bottom - top) >= 0.5 * width * height * 0.8


def test_patches_of_any_shape_keep_the_images_own(image):
    views = Views(processor("Siglip2ImageProcessorPil"), views=4)
    inputs = views(image, DIGEST)
    assert views.size is None
    assert inputs["pixel_values"].shape == (4, 16, 192)
    assert inputs["spatial_shapes"].shape == (4, 2)
    finished = views.finish(inputs, torch.bfloat16)
    assert finished["pixel_values"].dtype == torch.bfloat16
    assert not finished["spatial_shapes"].is_floating_point()
    again = Views(processor("Siglip2ImageProcessorPil"), views=4)(image, DIGEST)
    assert all(torch.equal(again[key], inputs[key]) for key in inputs)


def test_floating_point_types(image):
    views = Views(processor())
    assert views.finish(views(image, DIGEST), torch.float16)["pixel_values"].dtype == torch.float16


def test_what_pixels_depend_on_is_described():
    def described(views=1, seed=0, **settings):
        return Views(processor(**settings), views, seed).describe()

    assert described() == described(seed=5)  # of one view nothing is drawn
    assert described(2, seed=0) != described(2, seed=1)
    assert described() != described(2)
    assert described() != described(image_mean=[0.1, 0.2, 0.3])
    assert described() != described(resample=2)
    assert described() != described(do_center_crop=False)
    assert {"pillow", "transformers", "processor"} <= described().keys()


def test_where_torchvision_makes_the_pixels_its_version_counts(monkeypatch):
    assert "torchvision" not in Views(processor()).describe()
    monkeypatch.setattr(transformers.CLIPImageProcessorPil, "backend", "torchvision")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"1.0 of {name}")
    assert Views(processor()).describe()["torchvision"] == "1.0 of torchvision"


def test_there_must_be_a_view():
    with pytest.raises(ValueError, match="'views' must be at least 1"):
        Views(processor(), 0)
