"""One classifier under load: many predictions, many threads."""

import gc
import os
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.testing import fake_features

THREADS = 32
METHODS = ("graph_adapter", "tip_adapter_f", "zero_shot")
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=5, channels=16, shots=4, tests=8)


@pytest.fixture(scope="module", params=METHODS)
def classifier(data, request):
    return FewShotClassifier.fit(data, 2, method=request.param, select=False, progress=False)


def resident() -> int:
    """The bytes of this process in memory, where the system says so."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def handles() -> int:
    """The number of open files of this process."""
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.exists() else 0


def test_ten_thousand_predictions_take_neither_memory_nor_handles(classifier, data):
    x = data.test.mean_views()[:4]
    expected = classifier.predict_proba(x)
    for _ in range(200):
        classifier.predict(x)
    gc.collect()
    opened, memory, threads = handles(), resident(), threading.active_count()
    for i in range(9_000):
        probability = classifier.predict_proba(x)
        if i % 3_000 == 0:
            assert torch.equal(probability, expected)
    tracemalloc.start()
    try:
        classifier.predict(x)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(800):
            classifier.predict(x)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000  # 25 bytes per call would be 20 kB
    assert resident() - memory < 16 * MEGABYTE  # 2 kB per call would be 18 MB
    assert handles() == opened
    assert threading.active_count() == threads


def in_threads(work, count=THREADS):
    """What ``work(i)`` returns in as many threads, which begin together."""
    gate = threading.Barrier(count)

    def begin(i):
        gate.wait(30)
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_threads_on_one_classifier_are_as_one(classifier, data, tmp_path):
    x = data.test.mean_views()
    expected = classifier.predict_proba(x)
    named = classifier.predict(x)
    classifier.save(tmp_path / "alone")

    def work(i):
        probabilities = [classifier.predict_proba(x) for _ in range(5)]
        classifier.save(tmp_path / str(i))
        return probabilities, classifier.predict(x), classifier.evaluate(data)

    for probabilities, names, metrics in in_threads(work):
        assert all(torch.equal(probability, expected) for probability in probabilities)
        assert names == named
        assert metrics == classifier.evaluate(data)
    for i in range(THREADS):
        assert files(tmp_path / str(i)) == files(tmp_path / "alone")
    loaded = FewShotClassifier.load(tmp_path / "7")
    assert torch.equal(loaded.predict_proba(x), expected)


def test_threads_that_save_to_one_folder_leave_one_whole_classifier(data, tmp_path):
    x = data.test.mean_views()
    classifiers = [
        FewShotClassifier.fit(data, 1 + i % 4, i, "tip_adapter", select=False, progress=False)
        for i in range(8)
    ]
    possible = [classifier.predict_proba(x) for classifier in classifiers]
    classifiers[0].save(tmp_path / "c")
    wrong = []

    def work(i):
        for _ in range(4):
            classifiers[i].save(tmp_path / "c", overwrite=True)
            read = FewShotClassifier.load(tmp_path / "c").predict_proba(x)
            if not any(torch.equal(read, probability) for probability in possible):
                wrong.append(i)

    in_threads(work, len(classifiers))
    assert not wrong
    last = FewShotClassifier.load(tmp_path / "c").predict_proba(x)
    assert any(torch.equal(last, probability) for probability in possible)


def test_of_threads_that_save_to_a_new_folder_one_does(data, tmp_path):
    classifier = FewShotClassifier.fit(data, 1, method="zero_shot", progress=False)

    def work(_):
        try:
            classifier.save(tmp_path / "c")
        except ValueError as error:
            return str(error)
        return None

    refusals = [said for said in in_threads(work, 8) if said is not None]
    assert len(refusals) == 7
    assert all("holds a classifier already" in said for said in refusals)
    assert len(files(tmp_path / "c")) == 2
    FewShotClassifier.load(tmp_path / "c")
