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


def count_of(colour, path):
    with Image.open(path) as picture:
        return {c: n for n, c in picture.convert("RGB").getcolors(1_000_000)}.get(colour, 0)


def test_a_panel_a_data_set_and_their_average(tmp_path):
    methods = [f"m{i}" for i in range(12)]
    rows = [
        Row(m, k, 3, 50.0 + i + k, 1.0, 0.1, 10, dataset)
        for dataset in ("a", "b", "c", "d", "e") for i, m in enumerate(methods) for k in (1, 4)
    ]  # fmt: skip
    accuracy_curve(rows, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 800  # 6 panels in two lines


def test_published_numbers_are_dashed_lines_in_the_colour_of_the_method(tmp_path):
    rows = [Row("gda", k, 3, 50.0 + k, 0.0, 0.1, 10, "dtd") for k in (1, 4)]
    published = Published("x", {"dtd": {"lp": {0: 1.0, 1: 60.0, 4: 61.0}, "gda": {4: 70.0}}}, {})
    accuracy_curve(rows, tmp_path / "without.png")
    accuracy_curve(rows, tmp_path / "with.png", published=published)
    grey = (128, 128, 128)
    assert count_of(grey, tmp_path / "with.png") > count_of(grey, tmp_path / "without.png") + 100


def test_pictures_with_names_that_look_like_formulas(tmp_path):
    images = [Image.new("RGB", (20, 20), "red")] * 7
    picture_grid(images, ["$x_$ ${", "<b>", "", "a\nb", "$", "%", "c"], tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.height > 300
