from PIL import Image

from pyg_graphadapter.figures import accuracy_curve, picture_grid
from pyg_graphadapter.results import Row


def test_the_curve_is_a_picture(tmp_path):
    rows = [Row(m, k, 3, 50.0 + k, 1.0, 0.1, 10) for m in ("zero_shot", "a_$b$") for k in (1, 4)]
    accuracy_curve(rows, tmp_path / "a.png", "title")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 400
        assert len(picture.getcolors(100_000)) > 10


def test_pictures_with_names_that_look_like_formulas(tmp_path):
    images = [Image.new("RGB", (20, 20), "red")] * 7
    picture_grid(images, ["$x_$ ${", "<b>", "", "a\nb", "$", "%", "c"], tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.height > 300
