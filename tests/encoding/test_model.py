"""Models of other libraries: plain classes that implement the protocol, without transformers."""

import hashlib
import json

import numpy as np
import pytest
import torch

from pyg_graphadapter import EncodingConfig, FewShotClassifier
from pyg_graphadapter.adapters import ADAPTERS as METHODS
from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.model import EncoderModel, class_text_features
from pyg_graphadapter.encoding.pipeline import ImagePipeline
from pyg_graphadapter.graph import unit
from pyg_graphadapter.testing import fake_images


class AsPictures:
    """Keeps images as they are: of any size, so that a batch is a list."""

    views = 1

    def __call__(self, image, digest):
        return image

    def collate(self, inputs):
        return list(inputs)

    def describe(self):
        return {"pixels": "as they are"}


class ColourModel:
    """The mean colour of an image, and the three digits of a class name, in one space."""

    def __init__(self, has_texts=True):
        self.name, self.has_texts = "colours", has_texts
        self.device, self.batch_size = torch.device("cpu"), 2
        self.num_channels, self.logit_scale = 3, 20.0
        self.num_batches = 0

    def identity(self):
        return {"model": self.name, "version": 1}

    def preprocessing(self, views, seed):
        return AsPictures()

    def image_features(self, batch, preprocessing):
        self.num_batches += 1
        means = [np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in batch]
        return unit(torch.tensor(np.stack(means)) - 128)

    def text_features(self, texts):
        digests = [hashlib.sha256(text.encode()).digest()[:3] for text in texts]
        return unit(torch.tensor([list(digest) for digest in digests]).float() - 128)


@pytest.fixture
def folder(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 4, "test": 3})


def test_any_class_with_these_members_is_a_model(checkpoint):
    from pyg_graphadapter import Encoder

    assert isinstance(ColourModel(), EncoderModel)
    assert isinstance(Encoder.from_pretrained(checkpoint("clip")), EncoderModel)
    assert not isinstance(object(), EncoderModel)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_pipeline_caches_its_features(folder, tmp_path, workers):
    images, model = sorted((folder / "train").rglob("*.*g")), ColourModel()
    pipeline = ImagePipeline(model, workers, shard_images=5)
    encoded = pipeline.encode(images, cache=tmp_path / "cache", progress=False)
    assert encoded.x.shape == (12, 1, 3)
    assert encoded.num_encoded == 12
    assert model.num_batches == 3 + 3 + 1  # shards of 5, 5 and 2 images, in batches of at most 2
    again = pipeline.encode(images, cache=tmp_path / "cache", progress=False)
    assert again.num_encoded == 0
    assert torch.equal(again.x, encoded.x)
    [manifest] = (tmp_path / "cache").rglob("manifest.json")
    content = json.loads(manifest.read_text())
    assert content.items() >= {"model": "colours", "version": 1, "pixels": "as they are"}.items()


@pytest.mark.filterwarnings("ignore:The class names tell")
def test_a_classifier_is_fitted_with_it(folder, tmp_path):
    model = ColourModel()
    encoding = EncodingConfig(cache_dir=str(tmp_path / "cache"), templates=("{}",))
    classifier = FewShotClassifier.fit(
        folder, 4, method="linear_probe", model=model, encoding=encoding, progress=False
    )
    assert classifier.encoding["model"] == "colours"
    assert classifier.evaluate(folder, encoding=encoding, progress=False).accuracy == 100
    images = sorted((folder / "test" / "class_1").iterdir())
    assert classifier.predict(images) == ["class_1"] * 3
    with pytest.raises(ValueError, match="'colours' cannot be exported to ONNX"):
        classifier.export(tmp_path / "c.onnx")
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    loaded.use_encoder(model, encoding)
    assert loaded.predict(images) == ["class_1"] * 3


def test_an_image_tower_alone_gives_no_texts(folder):
    model = ColourModel(has_texts=False)
    encoder = DatasetEncoder(model, EncodingConfig(cache=False), progress=False)
    source = ImageSource(folder, model, EncodingConfig(cache=False), progress=False)
    assert encoder.encode_split(source.splits["train"]).x.shape == (12, 1, 3)
    assert encoder.encode(source.splits).text is None
    assert not source.has_text
    for ask in (
        lambda: class_text_features(model, ["cat"]),
        source.text,
        lambda: FewShotClassifier.fit(folder, shots=0, model=model, progress=False),
        lambda: FewShotClassifier.from_names(["cat", "dog"], model=model),
    ):
        with pytest.raises(ValueError, match="'colours' has no text tower"):
            ask()


@pytest.mark.parametrize("method", METHODS)
def test_methods_run_without_texts_or_say_that_they_need_them(method, folder, tmp_path):
    model = ColourModel(has_texts=False)
    encoding = EncodingConfig(cache_dir=str(tmp_path / "cache"))
    settings = {"model": model, "encoding": encoding, "select": False, "progress": False}
    if adapter_class(method).needs_text:
        with pytest.raises(ValueError, match="needs class text features, and there are none"):
            FewShotClassifier.fit(folder, 2, method=method, **settings)
        return
    classifier = FewShotClassifier.fit(folder, 2, method=method, **settings)
    assert not classifier.has_text
    assert classifier.encoding["model"] == "colours"
    assert len(classifier.shot_hashes) == 6
    assert classifier.evaluate(folder, encoding=encoding, progress=False).accuracy > 60


def test_shots_and_classes_are_added_without_texts(folder, tmp_path):
    model = ColourModel(has_texts=False)
    encoding = EncodingConfig(cache=False)
    classifier = FewShotClassifier.fit(
        folder, 2, method="linear_probe", model=model, encoding=encoding, measure=True,
        keep_shots=True, progress=False,
    )  # fmt: skip
    assert classifier.measured["accuracy (%)"] > 60
    more = fake_images(tmp_path / "more", num_classes=5, seed=3)
    with pytest.warns(UserWarning, match="2 of 20 images are among the classifier's shots already"):
        grown = classifier.add_classes(more, encoding=encoding, progress=False)
    assert grown.class_names == tuple(f"class_{c}" for c in range(5))
    with pytest.raises(ValueError, match="fitted without texts, so names say nothing to it"):
        classifier.add_classes(["cat"])
