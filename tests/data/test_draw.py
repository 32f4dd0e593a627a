import datasets
import pytest
import torch

from pyg_graphadapter import Features
from pyg_graphadapter.data import base_and_new, few_shot, load_images
from pyg_graphadapter.testing import fake_images


@pytest.fixture
def images(tmp_path):
    return load_images(fake_images(tmp_path, num_classes=5, per_class=4))["train"]


def test_the_draw_is_that_of_the_features(images):
    drawn = few_shot(images, 2, seed=3)
    y = torch.tensor(images["label"])
    index = Features(torch.ones(len(y), 1), y).draw(2, seed=3)
    assert drawn["image"][:] == images.select(index.tolist())["image"][:]
    assert drawn["label"] == y[index].tolist()
    assert few_shot(images, 2, seed=4)["image"][:] != drawn["image"][:]


def test_classes_with_too_few_images(images):
    fewer = images.select(range(len(images) - 3))
    with pytest.raises(ValueError, match=r"fewer than 2 images: 'class_4' \(1\)"):
        few_shot(fewer, 2, seed=1)
    assert len(few_shot(fewer, 2, seed=1, allow_fewer=True)) == 9


def test_base_and_new_classes(images):
    base, new = base_and_new(images)
    assert base.features["label"] == datasets.ClassLabel(names=["class_0", "class_1", "class_2"])
    assert new.features["label"] == datasets.ClassLabel(names=["class_3", "class_4"])
    assert set(new["label"]) == {0, 1}
    assert len(base) == 12
    assert new["image"][0] == images["image"][12]


def test_one_class_has_no_halves(images):
    one = images.cast_column("label", datasets.ClassLabel(names=list("abcde"))).filter(
        lambda row: row["label"] == 0
    )
    one = one.remove_columns("label").add_column(
        "label", [0] * len(one), feature=datasets.ClassLabel(names=["a"])
    )
    with pytest.raises(ValueError, match="at least two classes"):
        base_and_new(one)
