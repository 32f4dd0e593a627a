import subprocess
import sys
from itertools import combinations

import pytest
import torch
from matplotlib.collections import LineCollection
from PIL import Image
from torch_geometric.data import Data

from pyg_graphadapter import draw_knowledge_graph, dual_knowledge_graph, knowledge_graph
from pyg_graphadapter.report.knowledge_graph import (
    NUM_CLASSES,
    NUM_EDGES,
    strongest_edges,
)

PATH = [("a", "b", 0.9), ("b", "c", 0.8), ("c", "d", 0.3), ("a", "c", 0.7), ("a", "d", 0.2)]

ALL = "the strongest edges of each class, up to two:"
SOME = "classes, with their strongest edges:"


def names(count):
    return [f"class {c}" for c in range(count)]


def shown(edges):
    return {name for a, b, _ in edges for name in (a, b)}


# The edges -----------------------------------------------------------------------------------


def test_two_edges_per_class_by_hand():
    # c-d is the strongest edge of d, a-d its second; all others are among the two of a class.
    assert strongest_edges(PATH) == [
        ("a", "b", 0.9), ("b", "c", 0.8), ("a", "c", 0.7), ("c", "d", 0.3), ("a", "d", 0.2),
    ]  # fmt: skip
    more = [*PATH, ("b", "d", 0.1), ("b", "a", 0.9), ("c", "c", 1.0)]
    assert strongest_edges(more) == strongest_edges(PATH)  # no third ones, twins or loops
    assert strongest_edges(PATH, num_edges=2) == [("a", "b", 0.9), ("b", "c", 0.8)]
    assert strongest_edges(PATH, classes=["a", "c", "d"])[0] == ("a", "c", 0.7)
    assert strongest_edges([]) == []


@pytest.mark.parametrize("k", [None, 2, 5])
@pytest.mark.parametrize("num_classes", [2, 3, 12])
def test_edges_of_a_graph_are_those_of_brute_force(num_classes, k):
    x = torch.randn(num_classes, 5, dtype=torch.float64)
    graph = knowledge_graph(x, None if k is None else min(k, num_classes - 1))
    cosine = torch.nn.functional.normalize(x, dim=1)
    cosine = (cosine @ cosine.t()).fill_diagonal_(-1)
    expected = {
        (min(i, j), max(i, j))
        for i in range(num_classes)
        for j in cosine[i].argsort(descending=True)[:2].tolist()
        if cosine[i, j] > 0
    }
    edges = strongest_edges(graph, names(num_classes))
    assert {tuple(sorted(int(n.split()[1]) for n in (a, b))) for a, b, _ in edges} == expected
    for a, b, weight in edges:
        i, j = (int(name.split()[1]) for name in (a, b))
        assert weight == pytest.approx(float(cosine[i, j]))
    assert [edge[2] for edge in edges] == sorted((edge[2] for edge in edges), reverse=True)
    numbered = strongest_edges(graph)
    assert [(f"class {a}", f"class {b}", w) for a, b, w in numbered] == edges


def test_of_many_classes_those_with_the_strongest_edges():
    graph = knowledge_graph(torch.randn(300, 16, generator=torch.Generator().manual_seed(1)))
    edges = strongest_edges(graph, names(300))
    assert NUM_CLASSES - 1 <= len(shown(edges)) <= NUM_CLASSES
    assert len(edges) <= NUM_EDGES
    assert edges[0][2] == pytest.approx(float(graph.edge_weight.max()))
    again = strongest_edges(edges)  # as a report reads them
    assert again == edges


def test_a_sub_set_has_its_own_strongest_edges():
    x = torch.rand(100, 8)
    chosen = [f"class {c}" for c in range(0, 100, 10)]
    edges = strongest_edges(knowledge_graph(x), names(100), classes=chosen)
    assert [w for _, _, w in edges] == pytest.approx(
        [w for _, _, w in strongest_edges(knowledge_graph(x[::10]), chosen)]
    )
    assert shown(edges) == set(chosen)


def test_classes_of_the_same_name_are_told_apart():
    edges = strongest_edges(knowledge_graph(torch.ones(3, 2)), ["crane", "crane", "cat"])
    assert shown(edges) == {"crane (0)", "crane (1)", "cat"}


def test_names_that_do_not_fit():
    graph = knowledge_graph(torch.ones(3, 2))
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        draw_knowledge_graph(graph, ["a", "b"])
    with pytest.raises(ValueError, match="Unknown class 'x'"):
        draw_knowledge_graph(graph, ["a", "b", "c"], classes=["x"])
    with pytest.raises(ValueError, match="Unknown class 'x'"):
        draw_knowledge_graph(PATH, classes=["a", "x"])


# The figure ----------------------------------------------------------------------------------


def boxes(axes, figure):
    """The rectangles of the names in an axes, by name."""
    figure.canvas.draw()
    return {
        text.get_text().replace("\n", " "): text.get_bbox_patch().get_window_extent()
        for text in axes.texts
        if text.get_bbox_patch() is not None
    }


def lines(axes):
    [collection] = [each for each in axes.collections if isinstance(each, LineCollection)]
    return collection


@pytest.mark.parametrize("num_classes", [2, 10, 30, 60, 200])
def test_names_do_not_overlap_and_lie_inside(num_classes):
    long = [f"a rather long name of class {c}" if c % 3 else f"c{c}" for c in range(num_classes)]
    x = torch.randn(num_classes, 12, generator=torch.Generator().manual_seed(3)).abs()
    figure = draw_knowledge_graph(knowledge_graph(x), long)
    [axes] = figure.axes
    rectangles = list(boxes(axes, figure).values())
    assert len(rectangles) == min(num_classes, NUM_CLASSES)
    assert not any(a.overlaps(b) for a, b in combinations(rectangles, 2))
    for box in rectangles:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    assert max(figure.get_size_inches()) < 16


def test_stronger_edges_are_wider_and_darker():
    [axes] = draw_knowledge_graph(PATH).axes
    collection = lines(axes)
    widths = list(collection.get_linewidths())
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    lightness = collection.get_colors()[:, :3].sum(axis=1)
    assert (lightness[:-1] > lightness[1:]).all()
    assert len(collection.get_segments()) == len(PATH)


def test_lines_end_at_their_names():
    figure = draw_knowledge_graph(PATH)
    [axes] = figure.axes
    rectangles = boxes(axes, figure)
    for segment, (a, b, _) in zip(
        lines(axes).get_segments(), reversed(strongest_edges(PATH)), strict=True
    ):
        for point, name in zip(axes.transData.transform(segment), (a, b), strict=True):
            assert rectangles[name].contains(*point)


def test_both_sub_graphs_are_panels():
    data = dual_knowledge_graph(torch.rand(8, 4), torch.rand(8, 4), torch.rand(2, 4))
    figure = draw_knowledge_graph(data, names(8), title="drawings")
    assert [axes.get_title() for axes in figure.axes] == ["text", "image"]
    assert figure.get_suptitle() == "drawings"
    left, right = figure.axes
    assert left.get_position().x1 <= right.get_position().x0 + 1e-9
    colours = [tuple(lines(axes).get_colors()[-1]) for axes in figure.axes]
    assert colours[0] != colours[1]


def test_many_classes_stand_in_a_column():
    graph = knowledge_graph(torch.rand(40, 4))
    upper, lower = draw_knowledge_graph({"a": strongest_edges(graph), "b": PATH}).axes
    assert lower.get_position().y1 < upper.get_position().y0


@pytest.mark.parametrize(
    ("graph", "options", "note"),
    [
        (PATH, {}, f"{ALL} cosine 0.20 (pale) to 0.90 (dark)"),
        (PATH, {"num_classes": 1000}, f"4 of 1,000 {SOME} cosine 0.20 (pale) to 0.90 (dark)"),
        (PATH, {"num_edges": 2}, f"3 of 4 {SOME} cosine 0.80 (pale) to 0.90 (dark)"),
        (PATH, {"classes": ["a", "b"]}, f"{ALL} cosine 0.90 (pale) to 0.90 (dark)"),
        ([], {}, "There are no edges."),
    ],
)
def test_the_note_says_what_is_shown(graph, options, note):
    [axes] = draw_knowledge_graph(graph, **options).axes
    assert axes.texts[-1].get_text() == note


def test_the_same_picture_every_time(tmp_path):
    x = torch.rand(12, 4)
    for name in ("a.png", "b.png"):
        draw_knowledge_graph(knowledge_graph(x), names(12), path=tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 400


def test_names_that_look_like_formulas_or_have_no_glyph(tmp_path):
    odd = ["$x_$ ${", "<b>", "", "a\nb", "猫", "a" * 200]
    graph = knowledge_graph(torch.rand(6, 3))
    draw_knowledge_graph(graph, odd, path=tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_gradients_and_equal_weights_do_not_matter():
    graph = knowledge_graph(torch.ones(3, 2, requires_grad=True))
    [axes] = draw_knowledge_graph(graph).axes
    assert len(set(lines(axes).get_linewidths())) == 1


def test_edges_are_drawn_without_torch_and_scipy(tmp_path):
    program = f"""
import sys
from pyg_graphadapter.report.knowledge_graph import draw_knowledge_graph
assert not {{"numpy", "matplotlib", "networkx"}} & sys.modules.keys()
draw_knowledge_graph({PATH!r}, path={str(tmp_path / "a.png")!r})
print(*{{"torch", "scipy", "pandas"}} & sys.modules.keys())
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert process.stdout.split() == []


def test_a_graph_without_edges_is_refused():
    with pytest.raises(ValueError, match="has no edges with weights: make it with knowledge_graph"):
        draw_knowledge_graph(Data(x=torch.rand(3, 2)))
