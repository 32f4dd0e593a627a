import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from pyg_graphadapter import Features, FewShotClassifier, TrainConfig
from pyg_graphadapter.classifier.prediction_file import write_predictions
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.testing import fake_features

QUICK = TrainConfig(epochs=2)
METHODS = ("graph_adapter", "zero_shot", "tip_adapter", "transclip", "gda", "linear_probe")


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=5, channels=16, shots=8)


@pytest.fixture(scope="module")
def others():
    return torch.randn(20, 16, generator=torch.Generator().manual_seed(3))


def fit(data, shots="all", method="graph_adapter", **how):
    return FewShotClassifier.fit(
        data, shots, method=method, config=QUICK, select=False, progress=False, **how
    )


@pytest.mark.parametrize("method", METHODS)
def test_images_of_no_class_get_the_name_whatever_the_method(data, others, method):
    classifier = fit(data, method=method)
    x = torch.cat([data.test.mean_views(), others])
    names = classifier.predict(x, reject="none of these")
    scores = classifier.unknown_score(x)
    limit = classifier.rejection("none of these").limit
    assert [name == "none of these" for name in names] == (scores > limit).tolist()
    is_known = torch.arange(len(x)) < len(data.test)
    assert (scores[is_known] > limit).float().mean() < 0.2
    assert (scores[~is_known] > limit).float().mean() > 0.5
    torch.testing.assert_close(scores, fit(data, method="zero_shot").unknown_score(x))
    plain = classifier.predict(x)  # the names of the others are not changed
    assert all(a in (b, "none of these") for a, b in zip(names, plain, strict=True))


def test_rows_of_rejected_images(data, others):
    classifier = fit(data)
    x = torch.cat([data.test.mean_views()[:3], others])
    rows = classifier.predict_rows(x, top=2, reject="unknown")
    rejected = [row for row in rows if row.rejected_as is not None]
    accepted = [row for row in rows if row.rejected_as is None]
    assert rejected
    assert accepted
    for row in rejected:
        assert (row.label, row.class_name, row.probability) == (None, "unknown", None)
        assert len(row.top) == 2
    for row in accepted:
        assert row.class_name == data.class_names[row.label] == row.top[0].class_name
    assert torch.tensor([row.unknown_score for row in rows]).equal(classifier.unknown_score(x))
    plain = classifier.predict_rows(x)
    assert {(row.unknown_score, row.rejected_as) for row in plain} == {(None, None)}


def test_a_larger_share_rejects_fewer(data, others):
    classifier = fit(data)
    x = torch.cat([data.test.mean_views(), others])
    counts = [
        classifier.predict(x, reject="unknown", accept=accept).count("unknown")
        for accept in (0.5, 0.95, 0.9999)
    ]
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("method", ["linear_probe", "gda", "tip_adapter", "graph_adapter"])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_without_texts(method, num_classes):
    data = replace(fake_features(num_classes=num_classes, channels=16, shots=8), text=None)
    classifier = fit(data, method=method)
    names = classifier.predict(data.test.mean_views(), reject="unknown")
    assert names.count("unknown") <= 0.3 * len(names)
    with pytest.raises(ValueError, match="give two images or more of two classes"):
        fit(data, 1, method).predict(data.test.mean_views(), reject="unknown")
    assert fit(data, 1, method).unknown_score(data.test.mean_views()).isfinite().all()


def test_without_shots_there_is_a_score_and_no_limit(data):
    classifier = fit(data, 0)
    x = data.test.mean_views()
    cosine = torch.nn.functional.normalize(x, dim=1) @ classifier.adapter.text.t()
    torch.testing.assert_close(classifier.unknown_score(x), -cosine.amax(dim=1))
    with pytest.raises(ValueError, match=r"was fitted without shots.*add_shots"):
        classifier.predict(x, reject="unknown")
    grown = classifier.add_shots(data, progress=False)
    assert grown.predict(x, reject="unknown").count("unknown") < len(x) / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reject": "class 1"}, "'class 1' is one of the classes"),
        ({"reject": " "}, "'reject' is the name"),
        ({"reject": 7}, "'reject' is the name"),
        ({"reject": "unknown", "accept": 95}, "'accept' is the share .* between 0 and 1"),
    ],
)
def test_what_is_refused(data, arguments, message):
    classifier = fit(data, method="zero_shot")
    for predict in (classifier.predict, classifier.predict_rows):
        with pytest.raises(ValueError, match=message):
            predict(data.test.mean_views(), **arguments)


@pytest.mark.parametrize("shots", [0, 1, 4])
def test_it_is_saved_and_loaded(data, tmp_path, shots):
    classifier = fit(data, shots)
    classifier.save(tmp_path / "c")
    loaded = FewShotClassifier.load(tmp_path / "c")
    x = data.test.mean_views()
    assert loaded.unknown_score(x).equal(classifier.unknown_score(x))
    assert loaded.familiarity.source == classifier.familiarity.source
    if shots == 4:
        assert loaded.rejection("unknown") == classifier.rejection("unknown")


def test_a_limit_from_few_images_is_called_a_guess(data):
    with pytest.warns(UserWarning, match="was learned from 5 images that were left out"):
        fit(data, 1).rejection("unknown")


def change(folder, of_card, of_tensors):
    """Changes the card and the tensors of a saved classifier, whose hash stays right."""
    card = json.loads((folder / "classifier.json").read_text())
    tensors = safetensors.torch.load_file(folder / card["weights"])
    of_tensors(tensors)
    content = safetensors.torch.save(tensors)
    (folder / card["weights"]).write_bytes(content)
    card["sha256"] = sha256(content)
    of_card(card)
    (folder / "classifier.json").write_text(json.dumps(card))


def older(card):
    card["format"] = "pyg_graphadapter/classifier/3"
    del card["confidence"], card["familiarity"]


def without(tensors):
    for name in [name for name in tensors if name.startswith(("confidence.", "familiarity."))]:
        del tensors[name]


@pytest.mark.parametrize("has_text", [True, False])
def test_files_of_earlier_formats(data, tmp_path, has_text):
    data = data if has_text else replace(data, text=None)
    x = data.test.mean_views()
    for keep_shots in (True, False):
        classifier = fit(data, method="gda", keep_shots=keep_shots)
        classifier.save(tmp_path / "c", overwrite=keep_shots is False)
        change(tmp_path / "c", older, without)
        loaded = FewShotClassifier.load(tmp_path / "c")
        if keep_shots:  # it is computed of them
            torch.testing.assert_close(loaded.unknown_score(x), classifier.unknown_score(x))
            assert loaded.predict(x, reject="u") == classifier.predict(x, reject="u")
            continue
        assert loaded.predict(x) == classifier.predict(x)
        with pytest.raises(ValueError, match="earlier version without its shots: fit it again"):
            loaded.predict(x, reject="unknown")
        with pytest.raises(ValueError, match="earlier version without its shots: fit it again"):
            loaded.unknown_score(x)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("means", torch.zeros(3, 16)),
        ("means", torch.zeros(5, 8)),
        ("scales", torch.zeros(2, 2)),
        ("left_out", None),
    ],
)
def test_damaged_tensors_are_refused(data, tmp_path, name, value):
    fit(data).save(tmp_path / "c")

    def damage(tensors):
        del tensors[f"familiarity.{name}"]
        if value is not None:
            tensors[f"familiarity.{name}"] = value

    change(tmp_path / "c", lambda card: None, damage)
    with pytest.raises(ValueError, match=rf"cannot be read as a classifier.*{name}"):
        FewShotClassifier.load(tmp_path / "c")


def test_shots_and_classes_that_are_added_are_known(data):
    first = data.train.y < 3
    part = replace(
        data,
        text=data.text[:3],
        class_names=data.class_names[:3],
        train=data.train.select(first),
        test=None,
    )
    classifier = fit(part, keep_shots=True)
    new = data.test.mean_views()[data.test.y >= 3]
    rejected = classifier.predict(new, reject="unknown").count("unknown")
    assert rejected > len(new) / 2
    with pytest.warns(UserWarning, match="There is no shot of"):
        named = classifier.add_classes(data.class_names[3:], text=data.text[3:])
    assert named.predict(new, reject="unknown").count("unknown") < rejected
    rest = replace(
        data,
        text=data.text[3:],
        class_names=data.class_names[3:],
        train=Features(data.train.x[~first], data.train.y[~first] - 3),
        test=None,
    )
    grown = classifier.add_classes(rest, progress=False)
    torch.testing.assert_close(grown.unknown_score(new), fit(data).unknown_score(new))
    renamed = grown.rename_classes({"class 1": "unknown"})
    assert renamed.unknown_score(new).equal(grown.unknown_score(new))
    with pytest.raises(ValueError, match="'unknown' is one of the classes"):
        renamed.predict(new, reject="unknown")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_files_of_predictions(data, others, tmp_path, suffix):
    pandas = pytest.importorskip("pandas")
    rows = fit(data).predict_rows(others, top=3, reject="<unknown>")
    path = tmp_path / f"rows{suffix}"
    write_predictions(rows, path)
    read = {".csv": pandas.read_csv, ".json": pandas.read_json, ".parquet": pandas.read_parquet}
    table = read[suffix](path)
    assert list(table.columns)[-2:] == ["reason", "unknown_score"]
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        assert line["unknown_score"] == pytest.approx(row.unknown_score, rel=1e-4)
        if row.rejected_as is None:
            assert line["label"] == row.class_name
            continue
        assert (line["label"], line["second"]) == ("<unknown>", row.top[0].class_name)
        assert np.isnan(line["label_probability"])


def test_a_file_without_rejection_has_no_further_column(data, tmp_path):
    write_predictions(fit(data).predict_rows(data.test.mean_views()), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert next(csv.reader(stream))[-1] == "reason"


def test_a_white_square_is_no_drawing():
    classifier = FewShotClassifier.fit("builtin", model="builtin", progress=False)
    size = (224, 224)
    random = np.random.RandomState(0)
    images = [Image.new("RGB", size, colour) for colour in ("white", "black", "grey", "red")]
    images.append(Image.fromarray(random.randint(0, 256, (*size, 3), dtype=np.uint8)))
    stripes = np.indices(size).sum(axis=0) // 7 % 2 * 200
    images.append(Image.fromarray(stripes.astype(np.uint8)).convert("RGB"))
    assert classifier.predict(images, reject="unknown") == ["unknown"] * len(images)
    assert "unknown" not in classifier.predict(images)
