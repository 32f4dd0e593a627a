"""The marks of a classifier's shots."""

from dataclasses import replace

import pytest
import torch

from pyg_graphadapter import Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier.shots import are_shots, feature_hashes
from pyg_graphadapter.testing import fake_features


def images(x):
    return Features(x, torch.zeros(len(x), dtype=torch.long))


FORMS = {
    "float16": lambda x: x.half(),
    "float64": lambda x: x.double(),
    "bfloat16": lambda x: x.bfloat16(),
    "unit": lambda x: torch.nn.functional.normalize(x, dim=1),
    "unit and float16": lambda x: torch.nn.functional.normalize(x, dim=1).half(),
    "scaled": lambda x: 13.7 * x,
    "float16 and scaled": lambda x: 0.3 * x.half().float(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [8, 512])
def test_features_are_known_in_any_type_and_length(form, channels):
    x = torch.randn(2000, channels, generator=torch.Generator().manual_seed(0)) + 0.5
    marks, shots = feature_hashes(images(FORMS[form](x))), feature_hashes(images(x[::2]))
    assert are_shots(marks, shots).tolist() == [True, False] * 1000
    assert are_shots(shots, marks).all()


def test_images_that_are_much_alike_are_not_the_same():
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(1, 512, generator=generator), dim=1)
    others = torch.randn(5000, 512, generator=generator) / 512**0.5
    others = x + 0.045 * others  # their cosine with x is 0.999
    assert not are_shots(feature_hashes(images(others)), feature_hashes(images(x))).any()


def test_marks_of_another_kind_or_damaged_are_passed_over():
    marks = feature_hashes(images(torch.eye(3)))
    assert are_shots(marks, ("image:0123456789abcdef",)) is None
    assert are_shots(marks, ("features:0123456789abcdef",)) is None
    assert not are_shots(marks, ("direction:zz", "direction:" + "é" * 32)).any()
    assert are_shots((), marks) is None


def test_a_copy_of_the_shots_in_half_precision_is_warned_about():
    file = fake_features(num_classes=4, channels=32, shots=6, tests=3)
    fitted = FewShotClassifier.fit(
        file, 3, config=TrainConfig(epochs=1), select=False, measure=False, progress=False
    )
    half = replace(file, train=Features(file.train.x.half(), file.train.y))
    with pytest.warns(UserWarning, match="12 of 24 images that the classifier is measured on were"):
        assert fitted.evaluate(half, split="train").num_shots == 12
