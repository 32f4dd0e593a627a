import json
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image
from typer.testing import CliRunner

from pyg_graphadapter import cli
from pyg_graphadapter.data import (
    BENCHMARKS,
    FEW_SHOT_BENCHMARKS,
    SHIFTED_BENCHMARKS,
    Draw,
    benchmark,
    check_benchmarks,
    decode_image,
    fill,
    load_benchmark,
    load_draw,
    load_images,
    make_draw,
    save_draw,
)
from pyg_graphadapter.testing import fake_benchmarks

REAL = {  # images of the splits, classes, the first and the last class
    "caltech101": ((4128, 1649, 2465), 100, "face", "yin_yang"),
    "dtd": ((2820, 1128, 1692), 47, "banded", "zigzagged"),
    "eurosat": ((13500, 5400, 8100), 10, "Annual Crop Land", "Sea or Lake"),
    "oxford_flowers": ((4093, 1633, 2463), 102, "pink primrose", "blackberry lily"),
    "oxford_pets": ((2944, 736, 3669), 37, "abyssinian", "yorkshire_terrier"),
    "stanford_cars": ((6509, 1635, 8041), 196, "2000 AM General Hummer SUV", None),
    "ucf101": ((7639, 1898, 3783), 101, "Apply_Eye_Makeup", "Yo_Yo"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fake_benchmarks(tmp_path_factory.mktemp("benchmarks"))


def test_every_benchmark_has_its_own_folder():
    assert len({layout.folder for layout in BENCHMARKS.values()}) == len(BENCHMARKS)
    assert (*FEW_SHOT_BENCHMARKS, *SHIFTED_BENCHMARKS) == tuple(BENCHMARKS)
    assert SHIFTED_BENCHMARKS == ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")


def test_another_benchmark_needs_one_entry(tmp_path, monkeypatch):
    layout = replace(BENCHMARKS["oxford_pets"], title="Birds", folder="birds", num_classes=4)
    monkeypatch.setitem(BENCHMARKS, "birds", layout)
    fake_benchmarks(tmp_path, ["birds"])
    assert load_benchmark("birds", tmp_path).keys() == {"train", "val", "test"}
    complete = [check.name for check in check_benchmarks(tmp_path) if check.is_complete]
    assert complete == ["birds"]


def test_an_unknown_benchmark():
    with pytest.raises(ValueError, match=r"Unknown benchmark 'mnist'\. Choose from imagenet, "):
        benchmark("mnist")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_layout_is_read(root, name):
    images = load_benchmark(name, root)
    splits = {"imagenet": {"train", "test"}, **{key: {"test"} for key in SHIFTED_BENCHMARKS}}
    assert images.keys() == splits.get(name, {"train", "val", "test"})
    names = images["test"].features["label"].names
    few = name in SHIFTED_BENCHMARKS and BENCHMARKS[name].num_classes < 1000
    assert names == [f"class_{c}" for c in range(1 if few else 0, 4)]
    for part in images.values():
        assert set(Counter(part["label"]).values()) == {3}
        assert part.features["label"].names == names
        assert decode_image(part[0]["image"]).size == (40, 32)


@pytest.mark.parametrize("name", REAL)
def test_real_split_files(shared_data, tmp_path, name):
    counts, num_classes, first, last = REAL[name]
    layout = BENCHMARKS[name]
    folder = tmp_path / layout.folder
    (folder / layout.images).mkdir(parents=True)
    (folder / layout.listing).symlink_to(shared_data / "splits" / layout.listing)
    names, listing = layout.read(folder, folder / layout.images, folder / layout.listing)
    assert tuple(len(listing[split]) for split in ("train", "val", "test")) == counts
    assert len(names) == num_classes == layout.num_classes
    assert names[0] == first
    assert last is None or names[-1] == last
    [check] = [check for check in check_benchmarks(tmp_path) if check.name == name]
    assert check.missing == sum(counts)
    assert check.images == dict(zip(("train", "val", "test"), counts, strict=True))


def test_real_images_are_found_through_the_real_split(shared_data, tmp_path):
    folder = tmp_path / "dtd"
    folder.mkdir()
    (folder / "images").symlink_to(shared_data / "images/dtd10_mini/images")
    listing = "split_zhou_DescribableTextures.json"
    (folder / listing).symlink_to(shared_data / "splits" / listing)
    with pytest.raises(
        FileNotFoundError, match=r"dtd lists 2820 train images, of which 2\d+ do not"
    ):
        load_benchmark("dtd", tmp_path)
    images = load_benchmark("dtd", tmp_path, allow_missing=True)
    assert sum(len(part) for part in images.values()) == 140
    for part in images.values():
        for row in part.select(range(3)):
            name = part.features["label"].names[row["label"]]
            assert f"/{name}/" in row["image"]["path"]
            assert min(decode_image(row["image"]).size) > 100
    [check] = [check for check in check_benchmarks(tmp_path) if check.name == "dtd"]
    assert check.missing == 5640 - 140


def test_real_class_names_of_imagenet(shared_data, tmp_path):
    folder = tmp_path / "imagenet"
    (folder / "images/val/n01440764").mkdir(parents=True)
    (folder / "images/val/n01440764/a.jpg").write_bytes(b"")
    (folder / "classnames.txt").symlink_to(shared_data / "splits/imagenet_classnames.txt")
    names = load_benchmark("imagenet", tmp_path)["test"].features["label"].names
    assert len(set(names)) == 1000
    [second] = [name for name in names if name.startswith("crane (")]
    assert fill("{}", second) == "crane"  # of two classes of one name


def test_numbered_folders_are_not_sorted_as_text(tmp_path):
    fake_benchmarks(tmp_path, ["imagenetv2"], num_classes=12, per_class=1)
    images = load_benchmark("imagenetv2", tmp_path)["test"]
    folders = [row["image"]["path"].split("/")[-2] for row in images]
    assert folders == [str(i) for i in range(12)]
    assert images["label"] == list(range(12))


def test_the_command_shows_what_is_there(root, tmp_path):
    run = CliRunner().invoke(cli.app, ["data", "look", str(root)])
    assert run.exit_code == 1  # four classes are too few
    assert "dtd (in " in run.output
    assert "It has 4 classes instead of 47." in run.output
    (tmp_path / "eurosat").mkdir()
    empty = CliRunner().invoke(cli.app, ["data", "look", str(tmp_path)])
    assert empty.exit_code == 1
    assert str(tmp_path / "eurosat/split_zhou_EuroSAT.json") in empty.output
    none = CliRunner().invoke(cli.app, ["data", "look", str(tmp_path / "none")])
    assert none.exit_code == 1
    assert "There is no folder or list of images" in none.output


def test_a_complete_benchmark_is_a_success(tmp_path):
    fake_benchmarks(tmp_path, ["eurosat"], num_classes=10, per_class=1)
    run = CliRunner().invoke(cli.app, ["data", "look", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert "complete" in run.output


def broken(content):
    return lambda folder: (folder / "eurosat/split_zhou_EuroSAT.json").write_text(content)


def row(path, label, name):
    return broken(
        json.dumps({"train": [[path, label, name]], "val": [["a.jpg", 0, "x"]], "test": []})
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("{"), "cannot be read as a split file"),
        (broken('{"train": []}'), "cannot be read as a split file.*'val'"),
        (row("a.jpg", 0, "y"), "two names for label 0"),
        (row("/etc/passwd", 0, "x"), "leads out of"),
        (row("../a.jpg", 0, "x"), "leads out of"),
        (row("a.jpg", 3, "y"), "do not count from 0 to 1"),
        (row("a.jpg", 1, "x"), "the same class name, 'x'"),
        (row("gone.jpg", 1, "y"), "do not exist, as .*gone.jpg"),
        (lambda folder: (folder / "eurosat/split_zhou_EuroSAT.json").unlink(), "needs .*json"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, change, message):
    fake_benchmarks(tmp_path, ["eurosat"])
    change(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_benchmark("eurosat", tmp_path)


def test_lists_and_trees_that_cannot_be_read(tmp_path):
    fake_benchmarks(tmp_path, ["fgvc_aircraft", "imagenet_a", "imagenet"])
    (tmp_path / "fgvc_aircraft/images_variant_val.txt").write_text("1 Boeing\n")
    with pytest.raises(ValueError, match="line '1 Boeing', whose variant is not in"):
        load_benchmark("fgvc_aircraft", tmp_path)
    (tmp_path / "fgvc_aircraft/images_variant_val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"images_variant_val\.txt"):
        load_benchmark("fgvc_aircraft", tmp_path)
    (tmp_path / "imagenet-adversarial/imagenet-a/n99999999").mkdir()
    with pytest.raises(ValueError, match="folder 'n99999999', which is not in"):
        load_benchmark("imagenet_a", tmp_path)
    (tmp_path / "imagenet/classnames.txt").write_text("n00000000\n")
    with pytest.raises(ValueError, match="expected a WordNet id and a name"):
        load_benchmark("imagenet", tmp_path)
    (tmp_path / "imagenet/classnames.txt").write_text("n77777777 cat\n")
    with pytest.raises(ValueError, match="has no image"):
        load_benchmark("imagenet", tmp_path)


def test_draws_travel_as_json(root, tmp_path):
    images = load_benchmark("dtd", root)
    draw = make_draw(images, root, shots=2, seed=1)
    assert make_draw(images, root, shots=2, seed=1) == draw != make_draw(images, root, 2, seed=2)
    save_draw(draw, tmp_path / "draw.json")
    drawn = load_draw(tmp_path / "draw.json", root)
    assert (
        Counter(drawn["train"]["label"])
        == Counter(drawn["val"]["label"])
        == dict.fromkeys(range(4), 2)
    )
    assert [row["image"]["path"] for row in drawn["train"]] == [
        str(root / p) for p, _ in draw.train
    ]
    with pytest.raises(FileNotFoundError, match="check the root"):
        load_draw(tmp_path / "draw.json", tmp_path)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(ValueError, match="cannot be read as a draw"):
        load_draw(tmp_path / "bad.json", root)
    with pytest.raises(ValueError, match="is not a file below"):
        make_draw(images, tmp_path / "elsewhere", shots=2, seed=1)


def test_a_draw_file_is_accepted_as_images(tmp_path, monkeypatch):
    for i, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(path)
    draw = make_draw(load_images(tmp_path / "photos"), tmp_path / "photos", shots=1, seed=1)
    (tmp_path / "draws").mkdir()
    monkeypatch.chdir(tmp_path)
    save_draw(draw, "draws/draw.json", "photos")
    content = json.loads((tmp_path / "draws/draw.json").read_text())
    assert content["root"] == "../photos"
    images = load_images("draws/draw.json")["train"]
    assert images.features["label"].names == ["cat", "dog"]
    assert [(tmp_path / image["path"]).is_file() for image in images["image"]] == [True, True]


@pytest.mark.parametrize("name", ["/photos/cat/1.png", "../photos/cat/1.png", "cat/../cat/1.png"])
def test_an_image_of_a_draw_file_must_lie_below_the_root(tmp_path, name):
    image = tmp_path / "photos/cat/1.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(image)
    path = f"{tmp_path}{name}" if name.startswith("/") else name
    save_draw(Draw(1, 1, ("cat", "dog"), ((path, 0),), ()), tmp_path / "draw.json")
    assert (tmp_path / "photos" / path).is_file()  # only the rule refuses it
    with pytest.raises(ValueError, match="which leads out of the root"):
        load_draw(tmp_path / "draw.json", tmp_path / "photos")


def test_a_recorded_root_must_not_be_absolute(tmp_path):
    image = tmp_path / "cat/1.png"
    image.parent.mkdir()
    Image.new("RGB", (8, 8)).save(image)
    save_draw(Draw(1, 1, ("cat", "dog"), (("cat/1.png", 0),), ()), tmp_path / "draw.json", tmp_path)
    assert len(load_images(tmp_path / "draw.json")["train"]) == 1
    content = json.loads((tmp_path / "draw.json").read_text())
    (tmp_path / "draw.json").write_text(json.dumps(content | {"root": str(tmp_path)}))
    with pytest.raises(ValueError, match=r"its root .* is absolute"):
        load_images(tmp_path / "draw.json")
