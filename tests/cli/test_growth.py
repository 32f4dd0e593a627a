"""``fit`` that measures what it fits, and classifiers that grow, on the command line."""

import json
import warnings

from typer.testing import CliRunner

from pyg_graphadapter import FewShotClassifier, cli
from pyg_graphadapter.testing import fake_features, fake_images


def run(*arguments, code=0):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def unequal_images(folder):
    images = fake_images(folder, num_classes=3, per_class=6)
    for path in sorted((images / "class_1").iterdir())[2:]:
        path.unlink()
    return images


def test_every_image_is_used_and_the_accuracy_is_estimated(model, tmp_path):
    images = unequal_images(tmp_path / "images")
    fit = ("fit", images, "--model", model, "--no-cache", "--epochs", 2)
    said = run(*fit, "--out", tmp_path / "c").stdout
    assert "Pictures per class: 2 to 6." in said
    assert "on 14 images, each held out in one of 5 folds." in said
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["measured"]["kind"] == "cross-validated"
    assert card["measured"]["images"] == 14
    assert card["training"]["shots"] == 6
    assert not card["keeps_shots"]
    said = run(*fit, "--shots", 2, "--out", tmp_path / "d").stdout
    assert "on 8 images that were not drawn." in said
    said = run(*fit, "--at-most", 4, "--no-measure", "--out", tmp_path / "e").stdout
    assert "Pictures per class: 2 to 4." in said
    assert "ccuracy" not in said
    error = run(*fit, "--shots", 4, "--out", tmp_path / "f", code=1).stderr
    assert "'class_1' (2). Ask for fewer shots, or fit with up to 4 per class (--at-most 4" in error


def test_images_that_were_not_drawn_and_cannot_be_read_are_counted(model, tmp_path):
    images = fake_images(tmp_path / "images", num_classes=2, per_class=5)
    for i in (1, 2):
        (images / "class_0" / f"broken_{i}.jpg").write_bytes(b"no image")
    said = run(
        "fit", images, "--model", model, "--no-cache", "--shots", 1, "--out", tmp_path / "c"
    ).stdout  # fmt: skip
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    measured = card["measured"]
    assert measured["images"] == 8
    if measured["skipped images"]:
        assert f"({measured['skipped images']} image" in said


def test_from_names_to_images(model, tmp_path):
    (tmp_path / "names.json").write_text(json.dumps(["class_0", "a bird"]))
    names = ("fit", tmp_path / "names.json", "--shots", 0)
    said = run(*names, "--model", model, "--out", tmp_path / "z").stdout
    assert "Saved zero_shot for 2 classes" in said
    assert "name one (--model)" in run(*names, "--out", tmp_path / "y", code=1).stderr
    images = fake_images(tmp_path / "images", num_classes=2, per_class=3)
    grow = ("fit", images, "--from", tmp_path / "z", "--no-cache", "--epochs", 2)
    result = run(*grow, "--keep-shots", "--out", tmp_path / "c")
    assert "Added 1 class: class_1." in result.stdout
    assert "Saved graph_adapter for 3 classes" in result.stdout
    assert "It holds the features of 6 pictures, for --from." in result.stdout
    assert "no shot of 'a bird': their text features stand in" in " ".join(result.stderr.split())
    loaded = FewShotClassifier.load(tmp_path / "c")
    assert loaded.class_names == ("class_0", "a bird", "class_1")
    assert loaded.training["epochs"] == 2
    more = fake_images(tmp_path / "more", num_classes=1, per_class=2, seed=3)
    (more / "class_0").rename(more / "a bird")
    fake_images(more, num_classes=1, per_class=2, seed=5)
    run("fit", more, "--from", tmp_path / "c", "--no-cache", "--out", tmp_path / "d")
    grown = FewShotClassifier.load(tmp_path / "d")
    assert len(grown.shots) == 10
    assert "classes_without_shots" not in grown.training
    assert grown.training["epochs"] == 2


def test_images_of_one_class(model, tmp_path):
    images = fake_images(tmp_path / "images", num_classes=2, per_class=3)
    fit = ("fit", images, "--model", model, "--no-cache", "--epochs", 1, "--no-measure")
    run(*fit, "--keep-shots", "--out", tmp_path / "a")
    one = fake_images(tmp_path / "one", num_classes=1, per_class=2, seed=3)
    grow = ("fit", one, "--no-cache", "--no-measure", "--from", tmp_path / "a")
    assert "1 class (class_0)" in run(*grow, "--out", tmp_path / "b").stderr
    assert len(FewShotClassifier.load(tmp_path / "b").shots) == 8
    (one / "class_0").rename(one / "a bird")
    assert "Added 1 class: a bird." in run(*grow, "--out", tmp_path / "c").stdout
    said = run("evaluate", tmp_path / "c", one, "--no-cache").stdout
    assert f"graph_adapter on {one}: 2 images, 1 of 3 classes" in said  # no train split
    grown = FewShotClassifier.load(tmp_path / "a").add_classes(one, progress=False)
    assert grown.class_names == ("class_0", "class_1", "a bird")
    assert (
        "has one class, 'a bird': at least two"
        in run("fit", one, "--model", model, "--out", tmp_path / "d", code=1).stderr
    )


def test_what_from_refuses(model, tmp_path):
    features = fake_features(num_classes=3, channels=8, shots=4)
    features.save(tmp_path / "f.npz")
    plain = ("fit", tmp_path / "f.npz", "--shots", 2, "--epochs", 1, "--no-measure")
    run(*plain, "--out", tmp_path / "plain")
    grow = ("fit", tmp_path / "f.npz", "--from", tmp_path / "plain", "--out", tmp_path / "new")
    assert "holds no shots" in run(*grow, code=1).stderr
    assert "--model is decided by" in run(*grow, "--model", model, code=2).stderr
    assert not (tmp_path / "new").exists()
    run(*plain, "--keep-shots", "--out", tmp_path / "kept")
    grow = ("fit", tmp_path / "f.npz", "--from", tmp_path / "kept", "--out", tmp_path / "new")
    result = run(*grow, "--method", "gda", "--set", "alpha=0.05")
    assert "6 of 12 images are among the classifier's shots already" in result.stderr
    assert "Saved gda for 3 classes" in result.stdout
    grown = FewShotClassifier.load(tmp_path / "new")
    assert grown.adapter.settings() == {"alpha": 0.05}
    assert len(grown.shots) == 12
