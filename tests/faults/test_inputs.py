"""Values that would be silently something else: scales, texts, settings, labels, other features."""

import json
import math
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import FeatureFile, FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier import file
from pyg_graphadapter.classifier.file import write_classifier
from pyg_graphadapter.cli import app
from pyg_graphadapter.features import Features
from pyg_graphadapter.task import draw_task
from pyg_graphadapter.testing import fake_features


@pytest.fixture
def data(tmp_path):
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    file.save(tmp_path / "features.npz")
    return file


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    said = " ".join(result.output.replace("│", " ").split())
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in said
    return result.exit_code, said


def changed(folder, **arrays):
    """The feature file with some arrays in place of its own."""
    with np.load(folder / "features.npz") as file:
        content = {**dict(file), **arrays}
    np.savez(folder / "changed.npz", **content)
    return folder / "changed.npz"


@pytest.mark.parametrize(
    ("scale", "reason"),
    [
        (np.inf, "between 5 and 1000 (got inf)"),
        (np.nan, "between 5 and 1000 (got nan)"),
        (0.0, "between 5 and 1000 (got 0)"),
        (-100.0, "between 5 and 1000 (got -100)"),
        (4.6052, "(got 4.6052): give exp(logit_scale)"),
        (1e9, "between 5 and 1000"),
        ("100", "'logit_scale' must be an array of numbers"),
        ([100.0, 100.0], "must be one number"),
        (np.array(100 + 0j), "'logit_scale' must be an array of numbers"),
    ],
)
def test_logit_scales_in_a_feature_file(data, tmp_path, scale, reason):
    path = changed(tmp_path, logit_scale=np.asarray(scale))
    code, said = run("fit", path, "--shots", 2, "--out", tmp_path / "c")
    assert code == 1
    assert "changed.npz" in said
    assert reason in said
    assert not (tmp_path / "c" / "classifier.json").exists()


@pytest.mark.parametrize("scale", ["inf", "nan", "0", "4.6"])
def test_logit_scales_as_an_option(data, tmp_path, scale):
    code, said = run(
        "fit", tmp_path / "features.npz", "--logit-scale", scale, "--out", tmp_path / "c"
    )
    assert code == 1
    assert "'logit_scale' is the factor of the cosine" in said


@pytest.mark.parametrize("scale", [math.inf, math.nan, 0, "100", 4.6, None, [100], True])
def test_logit_scales_in_a_card(data, tmp_path, scale):
    FewShotClassifier.fit(data, shots=2, method="zero_shot", progress=False).save(tmp_path / "c")
    path = tmp_path / "c" / "classifier.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "logit_scale": scale}))
    code, said = run("predict", tmp_path / "c", tmp_path / "features.npz")
    assert code == 1
    assert "classifier.json" in said
    assert "'logit_scale' must be" in said


def test_a_scale_that_could_not_be_read_is_not_saved(data, tmp_path):
    classifier = FewShotClassifier.fit(data, shots=2, method="zero_shot", progress=False)
    classifier.adapter.logit_scale = 1.0
    with pytest.raises(ValueError, match="'logit_scale' is the factor"):
        classifier.save(tmp_path / "c")
    assert not list((tmp_path / "c").glob("*"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("text_features", 0.0, "must not be zero (got zeros in rows 2)"),
        ("text_features", 1e-30, "must not be zero (got zeros in rows 2)"),
        ("text_features", math.nan, "must be finite (got NaN or infinity in rows 2)"),
        ("text_features", -math.inf, "must be finite (got NaN or infinity in rows 2)"),
        ("text_features", 1e30, "squares overflow (got up to 1e+30 in rows 2)"),
        ("train_features", 0.0, "all zero, in rows 2"),
        ("train_features", math.nan, "must be finite (got NaN or infinity in rows 2)"),
        ("train_features", math.inf, "must be finite (got NaN or infinity in rows 2)"),
        ("train_features", -1e30, "squares overflow (got up to 1e+30 in rows 2)"),
    ],
)
def test_rows_that_have_no_direction(data, tmp_path, key, value, reason):
    x = (data.text if key == "text_features" else data.train.x).clone()
    x[2] = value
    path = changed(tmp_path, **{key: x.numpy()})
    code, said = run("fit", path, "--shots", 2, "--out", tmp_path / "c")
    assert code == 1
    assert key in said
    assert reason in said


def test_probabilities_are_finite(data):
    classifier = FewShotClassifier.fit(data, shots=2, method="zero_shot", progress=False)
    for scale in (1e-20, 1.0, 1e15):
        assert classifier.predict_proba(scale * data.test.mean_views()).isfinite().all()
    for value in (math.nan, math.inf, 1e30):
        with pytest.raises(ValueError, match="Features must"):
            classifier.predict_proba(torch.full((1, 8), value))
    classifier.adapter.logit_scale = math.inf
    with pytest.raises(ValueError, match="finite"):
        classifier.predict_proba(data.test.mean_views())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--set", "k=2.5"), "takes a whole number (got '2.5')"),
        (("--seed", 2**64), "'seed' must be less than 2**63"),
        (("--temperature", "inf"), "'temperature' must be a finite number (got inf)"),
        (("--temperature", "nan"), "'temperature' must be a finite number (got nan)"),
        (("--lr", "-1"), "'lr' must be at least 0"),
        (("--epochs", "1.5"), "--epochs"),
    ],
)
def test_settings_of_a_wrong_type_on_the_command_line(data, tmp_path, words, reason):
    code, said = run("fit", tmp_path / "features.npz", "--out", tmp_path / "c", *words)
    assert code == 2
    assert reason in said
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("seeds", [str(2**64), "1,-99999999999999999999"])
def test_seeds_of_a_comparison(data, tmp_path, seeds):
    code, said = run(
        "compare", tmp_path / "features.npz", "--seeds", seeds, "--out", tmp_path / "r"
    )
    assert code == 2
    assert "'--seeds' must be" in said


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"k": 2.5}, "'k' must be a whole number"),
        ({"k": "2"}, "'k' must be a whole number"),
        ({"alpha": "0.5"}, "'alpha' must be a number"),
        ({"alpha": True}, "'alpha' must be a number"),
        ({"activation": 1}, "Unknown 'activation'"),
    ],
)
def test_settings_of_a_wrong_type_in_python(data, settings, reason):
    with pytest.raises(ValueError, match=reason):
        FewShotClassifier.fit(data, shots=2, progress=False, **settings)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"seed": 2**64}, "'seed' must be less"),
        ({"seed": 1.0}, "'seed' must be a whole number"),
        ({"temperature": math.inf}, "'temperature' must be a finite number"),
        ({"lr": "0.1"}, "'lr' must be a number"),
        ({"device": 0}, "'device' must be text"),
        ({"epochs": "3"}, "'epochs' must be a whole number"),
    ],
)
def test_training_settings_of_a_wrong_type(values, reason):
    with pytest.raises(ValueError, match=reason):
        TrainConfig(**values)


@pytest.mark.parametrize(
    ("shots", "seed"), [(2.5, 1), ("2", 1), (True, 1), (-1, 1), (2, 2**64), (2, None)]
)
def test_draws_of_a_wrong_type(data, shots, seed):
    with pytest.raises(ValueError, match=r"'(shots|seed)' must be"):
        FewShotClassifier.fit(data, shots=shots, seed=seed, config=TrainConfig())


def test_a_feature_file_is_taken_by_its_path(data, tmp_path):
    path = tmp_path / "features.npz"
    for name in (path, str(path)):
        classifier = FewShotClassifier.fit(name, shots=2, progress=False)
        assert classifier.evaluate(name) == classifier.evaluate(data)
        assert classifier.predict(name) == classifier.predict(data.test.mean_views())
    with pytest.raises(FileNotFoundError, match=r"There is no feature file .*gone\.npz"):
        classifier.evaluate(tmp_path / "gone.npz")


def test_labels_are_matched_by_their_names(data, tmp_path):
    """In a file whose classes have another order, the same images have the same accuracy."""
    classifier = FewShotClassifier.fit(data, shots=2, progress=False)
    classifier.save(tmp_path / "c")
    order = [2, 0, 3, 1]
    label = torch.tensor([order.index(c) for c in range(4)])
    names = tuple(data.class_names[c] for c in order)
    other = FeatureFile(
        data.text[order], names, Features(data.train.x, label[data.train.y]),
        test=Features(data.test.x, label[data.test.y]),
    )  # fmt: skip
    other.save(tmp_path / "other.npz")
    assert classifier.evaluate(other).accuracy == classifier.evaluate(data).accuracy
    said = [
        run("predict", tmp_path / "c", tmp_path / name)[1] for name in ("features.npz", "other.npz")
    ]
    assert said[0] == said[1]
    assert "Accuracy" in said[0]
    strange = FeatureFile(data.text, ("a", "b", "c", "d"), data.train)
    with pytest.raises(ValueError, match="does not know the classes 'a', 'b', 'c', 'd'"):
        classifier.evaluate(strange)
    without_names = FeatureFile(data.text, ("0", "1", "2", "3"), data.train, test=data.test)
    assert classifier.evaluate(without_names) == classifier.evaluate(data)
    with pytest.raises(ValueError, match="The label 4 has no class"):
        classifier.own_labels(torch.tensor([4]), None)


@pytest.mark.parametrize("name", ["picture.png", "array.npy", "folder"])
def test_pictures_for_a_classifier_of_features(data, tmp_path, name):
    FewShotClassifier.fit(data, shots=2, method="zero_shot", progress=False).save(tmp_path / "c")
    if name == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    else:
        (tmp_path / name).write_bytes(b"\x93NUMPY")
    code, said = run("predict", tmp_path / "c", tmp_path / name)
    assert code == 1
    assert "was fitted on features" in said
    with pytest.raises(ValueError, match=r"was fitted on features|is an array that says not"):
        FewShotClassifier.load(tmp_path / "c").predict(tmp_path / name)


def test_the_card_holds_the_whole_recipe(data, tmp_path):
    FewShotClassifier.fit(data, shots=2, seed=3, progress=False, alpha=0.5).save(tmp_path / "c")
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert None not in card["training"].values()
    assert card["training"]["shots"] == 2
    assert card["training"]["draw_seed"] == card["training"]["seed"] == 3
    names = {field.name for field in fields(TrainConfig)}
    assert card["training"].keys() == names | {"shots", "draw_seed", "evidence"}
    again = TrainConfig(**{name: card["training"][name] for name in names})
    other = FewShotClassifier.fit(data, 2, 3, config=again, progress=False, **card["settings"])
    saved = FewShotClassifier.load(tmp_path / "c")
    x = data.test.mean_views()
    assert torch.equal(other.predict_proba(x), saved.predict_proba(x))


def test_the_recipe_of_shots_that_were_given_has_no_draw(data):
    classifier = FewShotClassifier.fit(draw_task(data, 3, 1), method="zero_shot", progress=False)
    training = dict(classifier.training)
    assert training.pop("evidence")["total"] == 12
    assert training == {"shots": 3, "draw_seed": None, "seed": 1, "device": "auto"}


def test_result_files_hold_the_epochs(data, tmp_path):
    words = (
        "--methods",
        "graph_adapter,zero_shot",
        "--shots",
        2,
        "--seeds",
        1,
        "--out",
        tmp_path / "r",
    )
    assert run("compare", tmp_path / "features.npz", *words, "--jobs", 1)[0] == 0
    results = [json.loads(path.read_text()) for path in (tmp_path / "r").iterdir()]
    epochs = {result["method"]: result["settings"]["epochs"] for result in results}
    assert epochs["graph_adapter"] >= 30


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("survived_calls", range(8))
def test_a_classifier_is_replaced_as_a_whole(data, tmp_path, monkeypatch, survived_calls):
    """Killed at any rename, link, or removal, there is the old classifier or the new one."""
    x = data.test.mean_views()
    old = FewShotClassifier.fit(data, shots=1, method="zero_shot", progress=False)
    new = FewShotClassifier.fit(data, shots=4, method="gda", progress=False)
    old.save(tmp_path / "c")
    calls = []

    def dying(call):
        def run(*arguments, **options):
            if len(calls) == survived_calls:
                raise Killed
            calls.append(call)
            return call(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        patch.setattr(os, "link", dying(os.link))
        patch.setattr(os, "fsync", dying(os.fsync))
        try:
            new.save(tmp_path / "c", overwrite=True)
        except Killed:
            pass
        else:
            assert len(calls) <= survived_calls
    probability = FewShotClassifier.load(tmp_path / "c").predict_proba(x)
    assert any(torch.equal(probability, each.predict_proba(x)) for each in (old, new))
    new.save(tmp_path / "c", overwrite=True)
    assert torch.equal(
        FewShotClassifier.load(tmp_path / "c").predict_proba(x), new.predict_proba(x)
    )


def test_a_save_does_not_replace_what_another_process_has_just_saved(data, tmp_path, monkeypatch):
    first = FewShotClassifier.fit(data, shots=1, method="zero_shot", progress=False)
    second = FewShotClassifier.fit(data, shots=4, method="gda", progress=False)
    fields = {name: getattr(second, name) for name in file.FIELDS}
    first.save(tmp_path / "c")
    monkeypatch.setattr(file, "check_output", lambda *_, **__: None)  # it was empty just before
    with pytest.raises(ValueError, match="holds a classifier already"):
        write_classifier(tmp_path / "c", second.adapter, fields)
    assert FewShotClassifier.load(tmp_path / "c").method == "zero_shot"
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [file.CARD, file.WEIGHTS]


def test_a_classifier_that_lost_its_tensors_is_replaced(data, tmp_path):
    """The new tensors have another name than the old ones, which are removed by name."""
    first = FewShotClassifier.fit(data, shots=1, method="zero_shot", progress=False)
    second = FewShotClassifier.fit(data, shots=4, method="gda", progress=False)
    first.save(tmp_path / "c")
    (tmp_path / "c" / file.WEIGHTS).unlink()
    for _ in range(2):
        second.save(tmp_path / "c", overwrite=True)
        assert FewShotClassifier.load(tmp_path / "c").method == "gda"
        assert len(list((tmp_path / "c").iterdir())) == 2


def test_tensors_that_no_card_names_are_collected_an_hour_later(data, tmp_path):
    classifier = FewShotClassifier.fit(data, shots=1, method="zero_shot", progress=False)
    classifier.save(tmp_path / "c")
    names = [f"classifier-{i:016x}.safetensors" for i in range(2)]
    for name in names:
        (tmp_path / "c" / name).write_bytes(b"of a writer that was killed")
    os.utime(tmp_path / "c" / names[0], (0, 0))
    classifier.save(tmp_path / "c", overwrite=True)
    left = {path.name for path in (tmp_path / "c").iterdir()}
    assert names[0] not in left
    assert names[1] in left
    assert FewShotClassifier.load(tmp_path / "c").method == "zero_shot"


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "x"}', b"\x00" * 99])
def test_a_damaged_result_file_is_named(data, tmp_path, content):
    words = ("--methods", "zero_shot", "--shots", 2, "--seeds", 1, "--out", tmp_path / "r")
    assert run("compare", tmp_path / "features.npz", *words)[0] == 0
    [path] = (tmp_path / "r").iterdir()
    whole = path.read_bytes()
    path.write_bytes(content)
    code, said = run("compare", tmp_path / "features.npz", *words)
    assert code == 1
    assert f"{path.name} cannot be read as a result file" in said
    assert "Remove it to have the run done again" in said
    assert path.read_bytes() == content
    path.unlink()
    assert run("compare", tmp_path / "features.npz", *words)[0] == 0
    assert json.loads(path.read_text())["accuracy"] == json.loads(whole)["accuracy"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_class_name_that_is_not_utf_8_is_kept(data, tmp_path, suffix):
    names = ("caf\udce9", "caf\xe9", "a\x1b[31m", "d")
    odd = FeatureFile(data.text, names, data.train, test=data.test)
    odd.save(tmp_path / f"odd{suffix}")
    assert FeatureFile.load(tmp_path / f"odd{suffix}").class_names == names
    code, said = run("fit", tmp_path / f"odd{suffix}", "--shots", 2, "--out", tmp_path / "c")
    assert code == 0, said
    classifier = FewShotClassifier.load(tmp_path / "c")
    assert classifier.class_names == names
    classifier.export(tmp_path / "weights.safetensors")
    assert run("predict", tmp_path / "c", tmp_path / f"odd{suffix}")[0] == 0
