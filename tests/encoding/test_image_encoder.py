import re

import numpy as np
import pytest
import torch
from torch import nn

from pyg_graphadapter import EncodingConfig, FewShotClassifier, ImageEncoder
from pyg_graphadapter.encoding.identity import changed_parts
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_images


def as_tensor(image):
    array = np.asarray(image.resize((8, 8)), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 255


def colours(pixels):
    return pixels.mean(dim=(2, 3)) - 0.5


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels):
        return self.dropout(self.linear(pixels.flatten(1)))


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 4, "test": 3})


def encoder_of(model=colours, transform=as_tensor, **settings):
    return ImageEncoder(model, transform, **{"name": "mine", "version": "1", **settings})


def test_functions_and_modules_are_encoder_models():
    for encoder in (encoder_of(), encoder_of(Tower(), version="")):
        assert isinstance(encoder, EncoderModel)
        assert not encoder.has_texts
        with pytest.raises(ValueError, match="'mine' has no text tower"):
            encoder.text_features(["a"])
    assert encoder.num_channels == 5
    assert repr(encoder_of(device="cpu")) == "ImageEncoder('mine', device='cpu')"


def test_a_module_is_frozen_and_evaluated():
    tower = Tower().train()
    encoder = encoder_of(tower)
    assert not tower.training
    assert not any(weight.requires_grad for weight in tower.parameters())
    preprocessing = encoder.preprocessing(1, 0)
    image = torch.rand(3, 8, 8)
    batch = {"pixel_values": torch.stack([image, image])}
    x = encoder.image_features(batch, preprocessing)
    assert torch.equal(x[0], x[1])
    torch.testing.assert_close(x, unit(tower(batch["pixel_values"])))


@pytest.mark.parametrize("views", [1, 3])
def test_a_classifier_is_fitted_saved_and_used(folder, tmp_path, views):
    encoding = EncodingConfig(cache_dir=str(tmp_path / "cache"), views=views)
    classifier = FewShotClassifier.fit(
        folder, 4, model=encoder_of(batch_size=2), encoding=encoding, progress=False
    )
    assert classifier.method == "graph_adapter"
    assert classifier.evaluate(folder, encoding=encoding, progress=False).accuracy > 60
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    images = sorted((folder / "test").rglob("*.*g"))
    with pytest.raises(ValueError, match="an encoder of images alone, 'mine', which is not saved"):
        loaded.predict(images)
    loaded.use_encoder(encoder_of(), encoding)
    assert loaded.predict(images) == classifier.predict(images)
    with pytest.raises(ValueError, match="'mine' cannot be exported to ONNX"):
        classifier.export(tmp_path / "c.onnx")


def test_the_cache_knows_what_changed(folder, tmp_path):
    encoding = EncodingConfig(cache_dir=str(tmp_path / "cache"))
    images = sorted((folder / "train").rglob("*.*g"))

    def num_encoded(encoder):
        from pyg_graphadapter.encoding.pipeline import pipeline_of

        pipeline = pipeline_of(encoder, encoding)
        return pipeline.encode(images, cache=tmp_path / "cache", progress=False).num_encoded

    tower = Tower()
    assert num_encoded(encoder_of(tower)) == 12
    assert num_encoded(encoder_of(tower)) == 0
    assert num_encoded(encoder_of(Tower())) == 12
    assert num_encoded(encoder_of(tower, transform=lambda image: as_tensor(image) * 2)) == 12
    assert num_encoded(encoder_of(tower, version="2")) == 12
    assert num_encoded(encoder_of(tower)) == 0


def test_the_identity_names_the_part_that_changed():
    tower = Tower()
    now = encoder_of(tower).identity()
    other = encoder_of(tower, transform=lambda image: as_tensor(image) * 2).identity()
    assert changed_parts(now, other) == ["preprocessing"]
    with torch.no_grad():
        tower.linear.bias += 1
    assert changed_parts(now, encoder_of(tower).identity()) == ["weights"]
    assert changed_parts(encoder_of().identity(), encoder_of(version="2").identity()) == []


def with_several_sizes(image):
    return torch.ones(3, *image.size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": ""}, "The function 'mine' needs a 'version'"),
        ({"batch_size": 0}, "'batch_size' must be at least 1 (got 0)."),
        ({"transform": np.asarray}, "must make finite pixels [3, H, W] of an image (got ndarray)"),
        ({"transform": lambda _: torch.ones(8, 8)}, "of an image (got [8, 8])"),
        ({"transform": lambda _: torch.full((3, 8, 8), torch.nan)}, "must make finite pixels"),
        ({"transform": lambda _: torch.rand(3, 8, 8)}, "gives the same image other pixels each"),
        ({"transform": with_several_sizes}, "pixels of one shape of all images (got [3, 64, 48]"),
        ({"model": lambda x: (x,)}, "must give features [1, D] of pixels [1, 3, 8, 8] (got tuple)"),
        ({"model": lambda x: x}, "(got [1, 3, 8, 8]): wrap it in a function that does."),
        ({"model": lambda _: torch.ones(2, 4)}, "(got [2, 4])"),
        ({"model": lambda x: colours(x) * 0}, "its features of an image are zero"),
        ({"model": lambda x: colours(x) / 0}, "not finite"),
    ],
)
def test_what_is_not_as_it_must_be_is_named(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        encoder_of(**settings)


def test_descriptions_need_an_encoder_of_texts(folder):
    with pytest.raises(ValueError, match="mine is an encoder of images alone, so descriptions"):
        FewShotClassifier.fit(
            folder, method="gda", model=encoder_of(), descriptions={"cat": ["It purrs."]}
        )
