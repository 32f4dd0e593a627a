"""What the shots say of class names and pictures, for readers who know no graph."""

import pytest

from pyg_graphadapter.adapters import GraphAdapter, TipAdapter
from pyg_graphadapter.adapters.trust import Evidence
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.testing import fake_features
from pyg_graphadapter.training.evidence import evidence_in_words, without_texts_in_words


@pytest.fixture
def task():
    file = fake_features(num_classes=5, channels=8, shots=2)
    return FewShotTask(file.class_names, file.text, file.train)


def evidence(right, by_images=20, says_little=False):
    found = Evidence(right, 0.9, 40, 5, by_images, 0.5)
    assert found.says_little == says_little
    return found


def test_shares_of_names_and_pictures(task):
    adapter = GraphAdapter.from_task(task, alpha=0.9, whitening=0.0)
    assert evidence_in_words(evidence(30), adapter, "graph_adapter") == (
        "Alone, the class names get 30 of your 40 pictures right (75 %; guessing gets 20 %); "
        "pictures alone, each left out in turn, get 20. "
        "Class names count for 90 %, your pictures for 10 %."
    )


def test_whitening(task):
    adapter = GraphAdapter.from_task(task, alpha=0.5, whitening=0.07)
    words = evidence_in_words(evidence(30, None), adapter, "graph_adapter")
    assert words.endswith(
        "Class names count for 50 %, your pictures for 50 %. Directions in which pictures of one "
        "class vary count less (whitening 7 %)."
    )
    assert "left out" not in words


def test_where_pictures_alone_decide(task):
    adapter = GraphAdapter.from_task(task, nodes="images", whitening=0.0)
    poor = Evidence(0, 0.0, 40, 5, 30, 0.9)
    assert poor.says_little
    words = evidence_in_words(poor, adapter, "graph_adapter")
    assert words.startswith("The class names tell this model little: alone, they get 0 ")
    assert words.endswith(" Your pictures alone decide.")
    assert without_texts_in_words(adapter) == "There are no texts: your pictures alone decide."


def test_of_other_methods(task):
    adapter = TipAdapter.from_task(task)
    assert "count for" not in evidence_in_words(evidence(30), adapter, "tip_adapter")
    poor = evidence_in_words(Evidence(0, 0.0, 40, 5, 30, 0.9), adapter, "tip_adapter")
    assert poor.endswith(" The method graph_adapter would let your pictures alone decide.")
    assert without_texts_in_words(adapter) == ""
