"""Data sets of torch that go into a classifier, and those that come out of features."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from pyg_graphadapter import Features, FewShotClassifier, TrainConfig, compare
from pyg_graphadapter.data import load_images
from pyg_graphadapter.testing import fake_features, fake_images

FAST = {"config": TrainConfig(epochs=3), "select": False, "progress": False}


class Folder(Dataset):
    """As ``torchvision.datasets.ImageFolder`` has it."""

    def __init__(self, folder, transform=None):
        self.classes = sorted(path.name for path in folder.iterdir())
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples = [
            (path, i) for name, i in self.class_to_idx.items()
            for path in sorted((folder / name).iterdir())
        ]  # fmt: skip
        self.transform = transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        path, label = self.samples[i]
        image = Image.open(path).convert("RGB")
        return image if self.transform is None else self.transform(image), label


def as_bytes(image):
    """As ``torchvision.transforms.PILToTensor``."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def as_floats(image):
    """As ``torchvision.transforms.ToTensor``."""
    return as_bytes(image) / 255


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fake_images(tmp_path_factory.mktemp("photos"), per_class=4)


@pytest.fixture
def model(checkpoint):
    return checkpoint("clip")


@pytest.fixture
def classifier(folder, model):
    return FewShotClassifier.fit(Folder(folder), 2, method="gda", model=model, **FAST)


KNOWN = "ignore:.*among its shots"  # the tests measure on them
POOR = "ignore:The class names tell this model little"  # it has random weights


@pytest.mark.filterwarnings(KNOWN)
@pytest.mark.parametrize("transform", [None, as_bytes])
def test_fit_predict_and_evaluate(folder, model, classifier, transform):
    data = Folder(folder, transform)
    fitted = FewShotClassifier.fit(data, 2, method="gda", model=model, **FAST)
    assert fitted.class_names == tuple(data.classes)
    expected = classifier.predict([path for path, _ in data.samples])
    assert fitted.predict(data) == expected
    assert fitted.predict(Subset(data, [3, 1])) == [expected[3], expected[1]]
    right = [name == data.classes[i] for name, (_, i) in zip(expected, data.samples, strict=True)]
    evaluation = fitted.evaluate(data, progress=False)
    assert evaluation.accuracy == pytest.approx(100 * sum(right) / len(right))
    assert evaluation.num_images == len(data)
    assert fitted.evaluate(Subset(data, [0, 4, 8]), progress=False).num_images == 3


def test_splits_and_compare(folder, model):
    data = Folder(folder)
    parts = {"train": Subset(data, [0, 1, 4, 5, 8, 9]), "test": Subset(data, [2, 3, 6, 7, 10, 11])}
    frame = compare(parts, "gda", 2, 1, model, config=TrainConfig(), select=False, progress=False)
    assert frame["num_images"].tolist() == [6]


@pytest.mark.filterwarnings(KNOWN, POOR)
def test_names_in_a_table_alone(folder, model):
    data = Folder(folder)
    del data.classes
    data.class_to_idx = {"zebra": 0, "ape": 1, "lion": 2}
    for source in (data, Subset(data, range(12))):
        images = load_images(source)["train"]
        names = images.features["label"].names
        expected = ["zebra"] * 4 + ["ape"] * 4 + ["lion"] * 4
        assert [names[label] for label in images["label"]] == expected
    fitted = FewShotClassifier.fit(data, 2, method="linear_probe", model=model, **FAST)
    assert fitted.class_names == ("ape", "lion", "zebra")
    assert fitted.evaluate(data, progress=False).accuracy > 90
    assert fitted.predict(data)[::4] == ["zebra", "ape", "lion"]


def test_images_that_are_read_through(folder, classifier):
    data = Folder(folder)

    class Stream(IterableDataset):
        def __iter__(self):
            return (data[i] for i in range(len(data)))

    assert classifier.predict(Stream()) == classifier.predict(data)


def test_what_is_refused(folder, classifier, model):
    with pytest.raises(ValueError, match="without the transform that scales its images"):
        FewShotClassifier.fit(Folder(folder, as_floats), 2, model=model, **FAST)
    with pytest.raises(ValueError, match="Neither features nor images"):
        classifier.predict(Folder(folder, as_floats))
    loader = DataLoader(Folder(folder, as_bytes), batch_size=4)
    for call in (
        lambda: FewShotClassifier.fit(loader, 2, model=model, **FAST),
        lambda: classifier.predict(loader),
        lambda: classifier.evaluate(loader),
    ):
        with pytest.raises(ValueError, match=r"A DataLoader gives batches .* loader\.dataset"):
            call()
    features = TensorDataset(torch.randn(6, 8), torch.arange(6) % 3)
    with pytest.raises(ValueError, match=r"Row 0 holds features .* Features\(x, y\)"):
        FewShotClassifier.fit(features, 2, model=model, **FAST)


def test_features_come_out_and_go_in_again():
    data = fake_features(num_classes=3, channels=8, views=2)
    train, test = data.as_dataset(), data.as_dataset("test")
    assert isinstance(train, TensorDataset)
    assert torch.equal(train.tensors[0], data.train.mean_views())
    assert torch.equal(train.tensors[1], data.train.y)
    x, y = next(iter(DataLoader(train, batch_size=5)))
    assert x.shape == (5, 8)
    assert y.tolist() == data.train.y[:5].tolist()
    back = Features(*test.tensors)
    assert torch.allclose(back.mean_views(), data.test.mean_views())
    classifier = FewShotClassifier.fit(data, 4, method="gda", **FAST)
    assert classifier.predict(test) == classifier.predict(data.test.mean_views())
    with pytest.raises(ValueError, match=r"Unknown split 'val'. Choose from train, test"):
        data.as_dataset("val")
