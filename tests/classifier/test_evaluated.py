"""The file of an evaluation, from classifiers of every kind."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_graphadapter import Features, FewShotClassifier
from pyg_graphadapter.classifier.evaluated import _likeliest
from pyg_graphadapter.report.calibration import calibration
from pyg_graphadapter.report.per_image import errors, predicted_labels, true_labels
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.evaluation import predict_logits


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=6)


def fit(data, method="graph_adapter", **settings):
    return FewShotClassifier.fit(data, 4, method=method, progress=False, **settings)


@pytest.fixture(scope="module")
def classifier(data):
    return fit(data)


@pytest.mark.parametrize("method", ["graph_adapter", "tip_adapter", "transclip", "zero_shot"])
def test_images_are_what_the_classifier_says(data, method):
    classifier = fit(data, method)
    temperature = classifier.temperature
    e = classifier.evaluate_images(data)
    logits = predict_logits(classifier.adapter, data.test.mean_views()).double()
    after, before = (logits / temperature).softmax(dim=1), logits.softmax(dim=1)
    for i, image in enumerate(e.images):
        assert image.label == int(data.test.y[i])
        assert [c.label for c in image.top] == after[i].argsort(descending=True)[:5].tolist()
        assert image.top[0].probability == pytest.approx(float(after[i].max()))
        assert image.uncalibrated == pytest.approx(float(before[i].max()))
        target = torch.eye(6, dtype=torch.double)[image.label]
        assert image.squared_error == pytest.approx(float((after[i] - target).square().sum()))
        assert image.log_loss == pytest.approx(-float(after[i, image.label].log()), abs=1e-9)
        assert image.log_loss_uncalibrated == pytest.approx(
            -float(before[i, image.label].log()), abs=1e-9
        )
    evaluation = classifier.evaluate(data)
    accuracy = 100 * (true_labels(e) == predicted_labels(e)).mean()
    assert accuracy == pytest.approx(evaluation.accuracy)
    assert e.measures["balanced_accuracy"] == evaluation.balanced_accuracy
    assert e.measures["is_transductive"] == (method == "transclip")
    assert (e.temperature, e.split, e.classifier["method"]) == (temperature, "test", method)


def test_a_temperature_changes_probabilities_and_no_label(data, classifier):
    softer = replace(classifier, confidence=replace(classifier.confidence, temperature=4.0))
    e, of_softer = classifier.evaluate_images(data), softer.evaluate_images(data)
    assert predicted_labels(e).tolist() == predicted_labels(of_softer).tolist()
    assert [i.uncalibrated for i in e.images] == [i.uncalibrated for i in of_softer.images]
    assert calibration(e, calibrated=False) == calibration(of_softer, calibrated=False)
    for image in of_softer.images:
        assert image.top[0].probability < image.uncalibrated
    assert of_softer.temperature == 4


def test_of_equal_logits_the_first_class_is_the_likeliest():
    logits = torch.zeros(3, 9)
    logits[1, 4:] = 1
    logits[2, 7] = 1
    top = _likeliest(logits)
    assert top[:, 0].tolist() == [0, 4, 7]
    assert top[0].tolist() == [0, 1, 2, 3, 4]


def test_errors_that_are_shown_are_explained(data, classifier):
    e = classifier.evaluate_images(data)
    wrong = errors(e)
    assert wrong
    for i in wrong:
        image = e.images[i]
        assert image.explanation.startswith(f"'{e.class_names[image.top[0].label]}'")
        assert image.thumbnail is None  # of features
    assert all(e.images[i].explanation is None for i in range(len(e.images)) if i not in wrong)


def test_a_transductive_method_is_explained_as_it_classified(data):
    e = fit(data, "transclip").evaluate_images(data)
    for i in errors(e):
        assert f"'{e.class_names[e.images[i].top[0].label]}' (prob" in e.images[i].explanation


def test_graphs_have_the_strongest_edges_of_every_class(data, classifier):
    e = classifier.evaluate_images(data)
    adapter = classifier.adapter
    for edges, x in ((e.text_edges, adapter.class_nodes), (e.image_edges, adapter.image_nodes)):
        cosine = (x @ x.t() / x.norm(dim=1) / x.norm(dim=1, keepdim=True)).fill_diagonal_(-2)
        pairs = {(edge.source, edge.target): edge.cosine for edge in edges}
        expected = {
            (min(a, b), max(a, b))
            for a in range(6) for b in cosine[a].topk(5).indices.tolist() if cosine[a, b] > 0
        }  # fmt: skip
        assert set(pairs) == expected
        for (a, b), weight in pairs.items():
            assert weight == pytest.approx(float(cosine[a, b]), abs=1e-5)
    assert fit(data, "tip_adapter").evaluate_images(data).text_edges == ()


def test_without_texts_there_are_neither_zero_shot_nor_text_edges(data):
    bare = replace(data, text=None)
    e = fit(bare, "graph_adapter").evaluate_images(bare)
    assert e.measures["zero_shot"] is None
    assert e.text_edges == ()
    assert e.image_edges
    assert e.classifier["has_text"] is False


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(data, classifier, dtype):
    features = Features(data.test.x.to(dtype), data.test.y)
    e = classifier.evaluate_images(features)
    assert len(e.images) == len(features)
    assert e.measures["accuracy"] == pytest.approx(classifier.evaluate(data).accuracy, abs=5)


def test_two_classes_and_one_shot():
    data = fake_features(num_classes=2, shots=1)
    e = FewShotClassifier.fit(data, 1, progress=False).evaluate_images(data)
    assert {len(image.top) for image in e.images} == {2}
    assert e.measures["top5"] is None


def test_images_that_are_the_same_name_the_first_one(data, classifier):
    x = data.test.x[[0, 1, 0, 2, 1, 0]]
    e = classifier.evaluate_images(Features(x, data.test.y[[0, 1, 0, 2, 1, 0]]))
    assert [image.copy_of for image in e.images] == [None, None, 0, None, 1, 0]


def test_names_and_command(data, classifier, tmp_path):
    e = classifier.evaluate_images(data.test.mean_views(), data.test.y)
    assert (e.data, e.command) == ("Tensor", "classifier.evaluate_images(…)")
    data.save(tmp_path / "f.npz")
    assert classifier.evaluate_images(tmp_path / "f.npz").data == str(tmp_path / "f.npz")
    assert classifier.evaluate_images(data, name="mine", command="x").data == "mine"


# Data that do not fit ##################################################################


def test_classes_without_images_need_not_be_known(data, classifier):
    wider = replace(data, class_names=(*data.class_names, "emu"), text=None)
    assert classifier.evaluate(wider).num_images == len(data.test)
    y = data.test.y.clone()
    y[:3] = 6
    with pytest.raises(ValueError, match=r"know the class 'emu' \(3 images\): it was fitted on 6"):
        classifier.evaluate(replace(wider, test=Features(data.test.x, y)))


def test_unknown_classes_are_listed_by_their_images(data, classifier):
    names = [f"new {c}" for c in range(6)]
    message = r"the classes 'new 0', 'new 1', 'new 2', 'new 3', 'new 4' and 1 more \(120 images\)"
    with pytest.raises(ValueError, match=message):
        classifier.evaluate(replace(data, class_names=tuple(names)))


def test_a_feature_file_may_hold_a_test_split_alone(data, classifier, tmp_path):
    x, y = data.test.x.squeeze(1).numpy(), data.test.y.numpy()
    np.savez(tmp_path / "test.npz", test_features=x, test_labels=y)
    np.savez(tmp_path / "features.npz", features=x)
    expected = classifier.evaluate(data).accuracy
    assert classifier.evaluate(tmp_path / "test.npz").accuracy == expected
    with pytest.raises(ValueError, match="no labels, so nothing can be measured on them: classify"):
        classifier.evaluate(tmp_path / "features.npz")


# Images ################################################################################


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    pytest.importorskip("transformers")
    from pyg_graphadapter import EncodingConfig
    from pyg_graphadapter.testing import fake_images
    from tests.checkpoints import save_checkpoint

    images = fake_images(
        tmp_path_factory.mktemp("images"), splits={"train": 4, "test": 4}, size=(400, 200)
    )
    model = save_checkpoint("clip", tmp_path_factory.mktemp("clip"))
    encoding = EncodingConfig(cache=False)
    classifier = FewShotClassifier.fit(
        images, 2, model=model, encoding=encoding, progress=False, method="zero_shot"
    )
    return classifier, images, encoding


def test_images_have_files_and_errors_have_pictures(of_images):
    from PIL import Image

    classifier, images, encoding = of_images
    (images / "test" / "class_0" / "bad.jpg").write_bytes(b"none")
    e = classifier.evaluate_images(images, encoding=encoding, progress=False)
    (images / "test" / "class_0" / "bad.jpg").unlink()
    assert len(e.images) == 12
    for image in e.images:
        assert f"/test/{e.class_names[image.label]}/" in image.file
    wrong = errors(e)
    assert wrong
    for i, image in enumerate(e.images):
        assert (image.thumbnail is not None) == (i in wrong)
    picture = Image.open(io.BytesIO(base64.b64decode(e.images[wrong[0]].thumbnail)))
    assert (picture.format, picture.size) == ("JPEG", (128, 64))
    [skipped] = e.skipped
    assert skipped.file.endswith("bad.jpg")
    assert "cannot be decoded" in skipped.reason
    assert e.measures["num_skipped"] == 1


def test_pictures_show_what_was_classified(of_images):
    from PIL import Image

    classifier, images, _ = of_images
    files = sorted((images / "test" / "class_1").iterdir())
    right = classifier.predict(files)
    wrong = ["class_0" if name != "class_0" else "class_1" for name in right]
    e = classifier.evaluate_images([files[2], files[0]], [wrong[2], wrong[0]], progress=False)
    assert [image.file for image in e.images] == [str(files[2]), str(files[0])]
    for image, file in zip(e.images, (files[2], files[0]), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.thumbnail))), dtype=float)
        original = np.asarray(Image.open(file).convert("RGB").resize((128, 64)), dtype=float)
        assert abs(shown - original).mean() < 12


def test_a_picture_is_turned_as_it_says(tmp_path):
    from PIL import Image

    from pyg_graphadapter.classifier.thumbnail import thumbnail

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100), "red").save(tmp_path / "a.jpg", exif=exif)
    picture = Image.open(io.BytesIO(base64.b64decode(thumbnail(tmp_path / "a.jpg"))))
    assert picture.size == (43, 128)
    small = Image.open(io.BytesIO(base64.b64decode(thumbnail(Image.new("RGB", (9, 9))))))
    assert small.size == (9, 9)
    assert thumbnail(b"no image") is None


@pytest.mark.filterwarnings("ignore:.*images in folders that are no split")
def test_splits_are_chosen_by_name(of_images):
    classifier, images, encoding = of_images
    how = {"encoding": encoding, "progress": False}
    with pytest.warns(UserWarning, match="6 of 12 images .* were among its shots"):
        by_name = classifier.evaluate_images(images, split="training", **how)
    assert (by_name.split, by_name.measures["num_shots"]) == ("train", 6)
    with pytest.warns(UserWarning, match="6 of 12 images .* were among its shots"):
        swapped = classifier.evaluate_images(images, split="test=train", **how)
    assert swapped.split == "test"
    assert all("/train/" in image.file for image in swapped.images)
    with pytest.raises(ValueError, match="no split 'val' among the images: choose from train"):
        classifier.evaluate_images(images, split="val", **how)
    with pytest.raises(ValueError, match="Images without labels are classified with predict"):
        classifier.evaluate_images(images / "test" / "class_0", **how)


@pytest.mark.filterwarnings("ignore:The data set. The split 'test' has no labels")
@pytest.mark.filterwarnings("ignore:.*among its shots")
def test_a_split_without_labels_is_referred_to_predict(of_images):
    import datasets

    classifier, images, encoding = of_images
    files = sorted(str(path) for path in images.rglob("*.jpg"))
    label = datasets.ClassLabel(names=["class_0", "class_1", "class_2"])
    kinds = datasets.Features({"image": datasets.Image(), "label": label})

    def rows(labels):
        content = {"image": files[:6], "label": labels}
        return datasets.Dataset.from_dict(content, features=kinds)

    data = datasets.DatasetDict(train=rows([0, 1, 2, 0, 1, 2]), test=rows([-1] * 6))
    with pytest.warns(UserWarning, match="The test split has no labels, so the train split is"):
        e = classifier.evaluate_images(data, encoding=encoding, progress=False)
    assert e.split == "train"
    with pytest.raises(ValueError, match=r"no labels, so nothing .* with predict"):
        classifier.evaluate_images(data, split="test", encoding=encoding, progress=False)
