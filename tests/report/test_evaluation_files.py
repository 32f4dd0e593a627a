"""What is written of an evaluation, and printed: CSV, the figure, and lines."""

import csv
import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from pyg_graphadapter.optional import MissingPackageError
from pyg_graphadapter.report.confusion_figure import MOST_CLASSES, OTHERS, _drawn, draw_confusion
from pyg_graphadapter.report.evaluation_csv import (
    confused_pairs_csv,
    confusion_csv,
    images_csv,
    per_class_csv,
    write_tables,
)
from pyg_graphadapter.report.evaluation_file import Skipped
from pyg_graphadapter.report.evaluation_text import evaluation_lines
from pyg_graphadapter.report.per_image import class_rows, confusion_matrix, errors, shown_errors
from tests.evaluations import evaluation_of, random_evaluation

ODD = ('=HYPERLINK("x")', "<script>", "a\nb", 'quo"te, comma', "-1", "@x", "\x1b[31mred")


def rows_of(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def measured():
    return random_evaluation(class_names=ODD)


# CSV ###################################################################################


def test_tables_hold_the_numbers_of_the_evaluation(measured):
    e, _, _ = measured
    header, *rows = rows_of(per_class_csv(e))
    assert header == ["class", "images", "right", "predicted", "accuracy", "precision"]
    for row, expected in zip(rows, class_rows(e), strict=True):
        assert row[1:4] == [str(expected.images), str(expected.right), str(expected.predicted)]
    assert rows[6][4] == ""  # no image shows the last class
    assert float(rows[0][4]) == pytest.approx(class_rows(e)[0].recall, rel=1e-5)
    matrix = [[int(cell) for cell in row[1:]] for row in rows_of(confusion_csv(e))[1:]]
    np.testing.assert_array_equal(matrix, confusion_matrix(e))
    pairs = rows_of(confused_pairs_csv(e))[1:]
    assert sum(int(row[2]) for row in pairs) == len(errors(e))


def test_no_cell_is_a_formula_or_breaks_a_row(measured):
    e, _, _ = measured
    for text in (per_class_csv(e), confusion_csv(e), confused_pairs_csv(e), images_csv(e)):
        rows = rows_of(text)
        assert len({len(row) for row in rows}) == 1
        assert len(text.splitlines()) == len(rows)
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
        assert "\x1b" not in text


def test_every_image_has_a_row_and_so_has_every_skipped_one(measured):
    e = replace(random_evaluation(20, copies={3: 1})[0], skipped=(Skipped("=x.jpg", "broken"),))
    header, *rows = rows_of(images_csv(e))
    assert len(rows) == 21
    first = dict(zip(header, rows[0], strict=True))
    image = e.images[0]
    assert first["file"] == "images/0.jpg"
    assert first["class"] == e.class_names[image.label]
    assert first["predicted"] == e.class_names[image.top[0].label]
    assert first["second"] == e.class_names[image.top[1].label]
    assert float(first["probability"]) == pytest.approx(image.top[0].probability, rel=1e-5)
    assert dict(zip(header, rows[3], strict=True))["same_as"] == "images/1.jpg"
    assert (rows[-1][0], rows[-1][-1]) == ("'=x.jpg", "broken")


def test_images_of_features_are_counted_from_zero():
    e = random_evaluation(3)[0]
    e = replace(e, images=tuple(replace(image, file=None) for image in e.images))
    assert [row[0] for row in rows_of(images_csv(e))[1:]] == ["0", "1", "2"]


def test_of_very_many_classes_pairs_are_written(tmp_path):
    e = random_evaluation(50, 1001)[0]
    names = [path.name for path in write_tables(e, tmp_path)]
    assert names == ["per_class.csv", "confused_pairs.csv", "images.csv"]
    assert all((tmp_path / name).stat().st_size < 100_000 for name in names)
    few = write_tables(random_evaluation(50, 1000)[0], tmp_path)
    assert "confusion.csv" in [path.name for path in few]


# Figure ################################################################################


@pytest.mark.parametrize("num_classes", [2, 15, 41, 1000])
def test_the_figure_is_bounded(tmp_path, num_classes):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    y = np.arange(90) % num_classes
    logits = np.random.default_rng(0).normal(size=(90, num_classes))
    e = evaluation_of(logits, y, class_names=[f"{ODD[c % 7]} $x_{c}$" for c in range(num_classes)])
    draw_confusion(e, tmp_path / "confusion.png")
    with image.open(tmp_path / "confusion.png") as picture:
        assert picture.width == picture.height
        assert 300 < picture.width < 2000
    assert (tmp_path / "confusion.png").stat().st_size < 1_000_000


def test_of_many_classes_those_with_the_most_errors_are_drawn():
    e = random_evaluation(2000, 60, skill=3)[0]
    names, drawn = _drawn(e)
    assert names[-1] == OTHERS
    assert drawn.shape == (MOST_CLASSES + 1, MOST_CLASSES + 1)
    matrix = confusion_matrix(e)
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    chosen = [e.class_names.index(name) for name in names[:-1]]
    assert chosen == sorted(chosen)
    assert min(wrong[chosen]) >= max(np.delete(wrong, chosen))
    np.testing.assert_array_equal(drawn[:-1, :-1], matrix[np.ix_(chosen, chosen)])
    np.testing.assert_array_equal(drawn.sum(axis=1)[:-1], matrix[chosen].sum(axis=1))
    assert drawn.sum() == 2000


def test_without_matplotlib_one_sentence_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"pyg-graphadapter\[plot\]"):
        draw_confusion(random_evaluation(5)[0], tmp_path / "confusion.png")


# Lines #################################################################################


def test_lines_say_what_was_measured(measured):
    e, _, _ = measured
    text = "\n".join(evaluation_lines(e))
    first = e.images[errors(e)[0]]
    assert f"{first.top[0].probability:6.3f}  {first.file}: " in text
    assert "300 images, 6 of 7 classes" in text
    assert "Confusion matrix" in text
    assert "before calibration" not in text
    assert "\x1b" not in text
    assert r"a\nb" in text
    calibrated = "\n".join(evaluation_lines(random_evaluation(temperature=2.5)[0]))
    assert "with temperature 2.5" in calibrated
    assert calibrated.count("before calibration") == 3


def test_lines_of_images_that_are_all_right_and_of_one_class_name_no_error():
    e = evaluation_of(np.array([[9.0, 0.0], [9.0, 0.0]]), [0, 0])
    text = "\n".join(evaluation_lines(e))
    assert "All images are classified right." in text
    assert "Classes with the lowest" not in text
    assert "2 images, 1 of 2 classes" in text


def test_of_many_classes_no_matrix_is_printed():
    assert "Confusion matrix" not in "\n".join(evaluation_lines(random_evaluation(50, 16)[0]))


def test_errors_that_are_shown_are_bounded_and_have_examples_of_confusions():
    e = random_evaluation(3000, 4, skill=0)[0]
    shown = shown_errors(e)
    assert shown[:60] == errors(e)[:60]
    assert 60 <= len(shown) <= 150
    assert shown == [i for i in errors(e) if i in set(shown)]
    pairs = {(e.images[i].label, e.images[i].top[0].label) for i in errors(e)}
    assert {(e.images[i].label, e.images[i].top[0].label) for i in shown} == pairs
