import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from pyg_graphadapter.report.figures import accuracy_curve, picture_grid
from pyg_graphadapter.report.published import Published
from pyg_graphadapter.report.results import Row


def test_the_curve_is_a_picture(tmp_path):
    rows = [Row(m, k, 3, 50.0 + k, 1.0, 0.1, 10) for m in ("zero_shot", "a_$b$") for k in (1, 4)]
    accuracy_curve(rows, tmp_path / "a.png", "title")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 400
        assert len(picture.getcolors(100_000)) > 10


def test_one_panel_per_data_set_and_their_average(tmp_path):
    methods = [f"m{i}" for i in range(12)]
    rows = [
        Row(m, k, 3, 50.0 + i + k, 1.0, 0.1, 10, dataset)
        for dataset in ("a", "b", "c", "d", "e") for i, m in enumerate(methods) for k in (1, 4)
    ]  # fmt: skip
    accuracy_curve(rows, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 800  # 6 panels in two lines


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a curve, and returns its axes."""

    def draw(rows, published=None):
        figures = []
        save = Figure.savefig
        monkeypatch.setattr(
            Figure,
            "savefig",
            lambda self, path, **how: figures.append(self) or save(self, path, **how),
        )
        accuracy_curve(rows, tmp_path / "a.png", published=published)
        return figures[0].axes[0]

    return draw


def rows_of(*methods):
    return [
        Row(method, k, 3, 50.0 + i + k, 1.0 + i + k, 0.1, 10, "dtd")
        for i, method in enumerate(methods)
        for k in (1, 4)
    ]


def lines_of(axes):
    """The lines with their labels, those of error bars included."""
    handles, labels = axes.get_legend_handles_labels()
    return {
        label: handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
        for handle, label in zip(handles, labels, strict=True)
    }


def test_published_numbers_are_dashed_lines_in_the_colour_of_the_method(drawn):
    accuracy = {"dtd": {"lp": {0: 1.0, 1: 60.0, 4: 61.0}, "gda": {1: 69.0, 4: 70.0}}}
    lines = lines_of(drawn(rows_of("gda"), Published("x", accuracy, {})))
    assert lines.keys() == {"gda", "gda, published", "lp, published"}
    assert lines["gda"].get_linestyle() == "-"
    assert lines["gda, published"].get_linestyle() == "--"
    assert lines["lp, published"].get_linestyle() == "--"
    assert lines["gda, published"].get_color() == lines["gda"].get_color()
    assert lines["lp, published"].get_color() == "grey"
    assert list(lines["lp, published"].get_xdata()) == [1, 4]  # zero shots have no place


def test_methods_have_colours_of_their_own(drawn):
    methods = ["zero_shot", *(f"m{i}" for i in range(12))]
    lines = lines_of(drawn(rows_of(*methods)))
    colours = {label: to_rgb(line.get_color()) for label, line in lines.items()}
    assert len(set(colours.values())) == 13
    assert colours.pop("zero shot") == (0.0, 0.0, 0.0)
    assert lines["zero shot"].get_linestyle() == ":"
    strong = [colour for label, colour in colours.items() if label not in ("m7", "m10", "m11")]
    assert all(max(colour) - min(colour) > 0.2 for colour in strong)  # no greys but tab20's own


def test_error_bars_are_the_deviations(drawn):
    axes = drawn(rows_of("gda", "lp"))
    for container, deviations in zip(axes.containers, ([2.0, 5.0], [3.0, 6.0]), strict=True):
        [bars] = container.lines[2]
        lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
        assert lengths == pytest.approx([2 * deviation for deviation in deviations])


def test_pictures_with_names_that_look_like_formulas(tmp_path):
    images = [Image.new("RGB", (20, 20), "red")] * 7
    picture_grid(images, ["$x_$ ${", "<b>", "", "a\nb", "$", "%", "c"], tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.height > 300
