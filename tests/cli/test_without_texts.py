"""Commands on feature files that have no texts."""

import json
from dataclasses import replace

import pytest

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.testing import fake_features
from tests.faults.command import said_by

NEED_NONE = (
    "graph_adapter", "linear_probe", "tip_adapter", "tip_adapter_f", "gda", "proker",
    "hierarchical_lda",
)  # fmt: skip


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "f.npz"
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    replace(file, text=None).save(path)
    return path


def test_all_methods_that_need_no_texts_run(features, tmp_path):
    grid = ("--shots", 2, "--seeds", 1, "--epochs", 2, "--jobs", 1, "--out", tmp_path / "r")
    said = said_by("compare", features, "--methods", "all", *grid)
    results = [json.loads(path.read_text()) for path in (tmp_path / "r").iterdir()]
    assert {result["method"] for result in results} == set(NEED_NONE)
    assert all(result["variant"].startswith("without texts") for result in results)
    assert said.count("Left out zero_shot, coop,") == 1
    assert "which need texts: f.npz has none" in said
    graphs = [result["knowledge_graphs"] for result in results if "knowledge_graphs" in result]
    assert [list(sides) for sides in graphs] == [["image"]]


def test_zero_shot_is_refused_by_name_and_left_out_of_the_defaults(features, tmp_path):
    grid = ("--shots", 1, "--seeds", 1, "--epochs", 2, "--jobs", 1, "--out", tmp_path / "r")
    said = said_by("compare", features, "--methods", "gda,zero_shot", *grid, code=1)
    assert "f.npz has no texts, which zero_shot needs" in said
    assert "Left out zero_shot" in said_by("compare", features, *grid)


def test_fit_shows_no_zero_shot_and_says_so_in_the_card(features, tmp_path):
    said = said_by("fit", features, "--shots", 2, "--epochs", 2, "--out", tmp_path / "c")
    assert "; without texts)" in said
    assert "There are no texts: your pictures alone decide." in said
    assert "zero-shot" not in said
    card = json.loads((tmp_path / "c" / "classifier.json").read_text())
    assert card["training"]["texts"] == "none"
    assert "zero-shot accuracy (%)" not in card["measured"]
    classifier = FewShotClassifier.load(tmp_path / "c")
    explained = classifier.explain(classifier.adapter.prototypes[0]).table()
    assert "zero-shot" not in explained
    assert "own text" not in explained


@pytest.mark.parametrize(
    "method",
    ["zero_shot", "clip_adapter", "task_res", "lp_pp", "clap", "cross_modal", "coop", "ss_text",
     "ape", "ape_t"],
)  # fmt: skip
def test_methods_that_need_texts_say_so(features, tmp_path, method):
    said = said_by(
        "fit", features, "--shots", 2, "--method", method, "--out", tmp_path / "c", code=1
    )
    assert "needs class text features, and there are none" in said
    assert not (tmp_path / "c").exists()


def test_coop_is_left_out_of_all_once_without_a_text_encoder(tmp_path):
    fake_features(num_classes=3, channels=8, shots=2, tests=2).save(tmp_path / "f.npz")
    grid = ("--shots", "1,2", "--seeds", 1, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "r")
    said = said_by("compare", tmp_path / "f.npz", "--methods", "all", *grid)
    assert said.count("Left out coop, which needs a text encoder") == 1
