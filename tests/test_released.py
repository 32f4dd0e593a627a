"""Files that released versions wrote are read by this one."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from pyg_graphadapter import FeatureFile, FewShotClassifier
from pyg_graphadapter.report.results import read_results, summarize

RELEASED = Path(__file__).parent / "released"
# What the version that wrote the classifier said about its test images:
CLASS_OF = {"0.1": [0, 2, 2, 2, 2, 2]}


@pytest.mark.parametrize("version", CLASS_OF)
def test_feature_files_and_classifiers(version, tmp_path):
    folder = RELEASED / version
    first, second = (FeatureFile.load(folder / f"features{s}") for s in (".npz", ".safetensors"))
    assert torch.equal(first.train.x, second.train.x)
    classifier = FewShotClassifier.load(folder / "classifier")
    labels = [
        classifier.class_names.index(name) for name in classifier.predict(first.test.mean_views())
    ]
    assert labels == CLASS_OF[version]
    shutil.copytree(folder / "classifier", tmp_path / "c")
    classifier.save(tmp_path / "c", overwrite=True)  # in the format of this version
    assert torch.equal(
        FewShotClassifier.load(tmp_path / "c").predict_proba(first.test.mean_views()),
        classifier.predict_proba(first.test.mean_views()),
    )


@pytest.mark.parametrize("version", CLASS_OF)
def test_result_files(version):
    results = [
        {**result, "dataset": version} for result in read_results(RELEASED / version / "results")
    ]
    assert [(row.method, row.accuracy) for row in summarize(results)] == [
        ("zero_shot", 50.0),
        ("gda", 50.0),
    ]


def test_there_is_one_folder_per_version():
    assert {path.name for path in RELEASED.iterdir()} == set(CLASS_OF)
    for path in RELEASED.glob("*/classifier/classifier.json"):
        assert json.loads(path.read_text())["format"].startswith("pyg_graphadapter/classifier/")


@pytest.mark.parametrize(("version", "accuracy"), [("0.1", 39.27)])
def test_classifiers_of_images_find_their_encoder(version, accuracy, tmp_path):
    classifier = FewShotClassifier.load(RELEASED / version / "classifier_of_images")
    assert classifier.evaluate("builtin", progress=False).accuracy == pytest.approx(
        accuracy, abs=0.1
    )
    classifier.encoding["weights_and_configuration"] = "0" * 64
    classifier.save(tmp_path)
    with pytest.raises(ValueError, match="its weights or configuration changed"):
        FewShotClassifier.load(tmp_path).load_encoder()
