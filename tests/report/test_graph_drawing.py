from itertools import combinations

import pytest

from pyg_graphadapter.report.graph_drawing import KnowledgeGraphs, text_width

EDGES = [("cat", "dog", 0.9), ("dog", "cat", 0.8), ("dog", "a very long name of a thing", 0.5)]


def test_each_pair_is_there_once_with_its_strongest_cosine():
    graphs = KnowledgeGraphs.of({"text": EDGES, "image": [("cat", "cat", 1.0)]}, 7)
    assert graphs.class_names == ("a very long name of a thing", "cat", "dog")
    assert graphs.neighbours == {"text": [(1, 2, 0.9), (0, 2, 0.5)], "image": []}
    text, image = graphs.drawings
    assert (text.title, image.title) == ("Alike by their names", "Alike by their pictures")
    assert text.note.startswith("3 of 7 classes")
    assert image.note == "There are no edges."
    assert [line.opacity for line in text.lines] == [0.4, 1.0]  # the strongest on top
    assert [(line.source, line.target) for line in text.lines] == [(0, 2), (1, 2)]


def test_no_edges_at_all():
    assert KnowledgeGraphs.of({"text": []}) is None


@pytest.mark.parametrize("num_classes", [2, 20, 100])
def test_boxes_do_not_overlap_and_lie_inside(num_classes):
    names = [f"class {i} " + "long " * (i % 4) + "名前" * (i % 3) for i in range(num_classes)]
    edges = [
        (names[i], names[(i + k) % num_classes], 0.9 - 0.001 * i)
        for i in range(num_classes) for k in (1, 3)
    ]  # fmt: skip
    [drawing] = KnowledgeGraphs.of({"text": edges}).drawings
    assert len(drawing.boxes) == min(num_classes, 60)
    for box in drawing.boxes:
        assert 0 <= box.x <= box.x + box.width <= drawing.width
        assert 0 <= box.y <= box.y + box.height <= drawing.height
        assert all(box.y < y < box.y + box.height for y, _ in box.lines)
        assert all(text_width(line) * 9 <= box.width for _, line in box.lines)
    for a, b in combinations(drawing.boxes, 2):
        apart_x = a.x + a.width <= b.x + 0.1 or b.x + b.width <= a.x + 0.1
        assert apart_x or a.y + a.height <= b.y + 0.1 or b.y + b.height <= a.y + 0.1


def test_text_is_not_wider_than_in_a_wide_font():
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.textpath import TextPath

    assert matplotlib
    for name in ("savory food", "illustration", "WINDOW", "<b>house</b>", "mummy", "A1 = 3.5 %"):
        assert TextPath((0, 0), name, size=1).get_extents().width <= text_width(name)
