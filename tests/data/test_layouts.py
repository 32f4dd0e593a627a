"""One set of real images in many layouts: read alike, and the same classifier from each."""

import csv
import json
import shutil
from io import BytesIO
from pathlib import Path
from tarfile import TarInfo
from tarfile import open as open_tar

import datasets
import pandas
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pyg_graphadapter import Encoder, EncodingConfig, FewShotClassifier
from pyg_graphadapter.cli import app
from pyg_graphadapter.data import read_images
from pyg_graphadapter.data.look import look_at
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.training.config import TrainConfig

IMAGES = Path(__file__).parents[3] / "shared" / "data" / "images" / "dtd10_mini" / "images"
CLASSES = ("banded", "bubbly", "cracked")
SPLITS = {"train": 4, "test": 2}
COUNTS = {"train": 4 * len(CLASSES), "test": 2 * len(CLASSES)}

pytestmark = pytest.mark.skipif(not IMAGES.is_dir(), reason=f"needs the real images in {IMAGES}")


class Photo:
    """A real image, its class and its split."""

    def __init__(self, path, label, split):
        self.path, self.label, self.split = path, label, split
        self.name = path.name  # holds the name of its class


def photos():
    chosen = []
    for split, start, stop in (("train", 0, 4), ("test", 4, 6)):
        for label in sorted(CLASSES):
            paths = sorted((IMAGES / label).iterdir())[start:stop]
            chosen += [Photo(path, label, split) for path in paths]
    return chosen


def of(split):
    return [photo for photo in photos() if photo.split == split]


def copy_to(path, photo):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(photo.path, path)


def write_table(path, header, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


# The layouts ##########################################################################


def split_folders(folder):
    for photo in photos():
        copy_to(folder / photo.split / photo.label / photo.name, photo)
    return folder


def class_folders_with_splits(folder):
    for photo in photos():
        copy_to(folder / photo.label / photo.split / photo.name, photo)
    return folder


def nested_class_folders(folder):
    for photo in photos():
        copy_to(folder / photo.split.upper() / photo.label / photo.name[:3] / photo.name, photo)
    return folder


def flat(folder):
    for photo in photos():
        copy_to(folder / "bilder" / photo.name, photo)
    return folder


def spreadsheet(folder):
    rows = [(f"bilder\\{photo.name}", photo.label, photo.split.title()) for photo in photos()]
    return write_table(flat(folder) / "l.csv", ("Datei", "Klasse", "Aufteilung"), rows, ";")


def tab_separated(folder):
    rows = [(f"bilder/{photo.name}", photo.label, photo.split) for photo in photos()]
    return write_table(flat(folder) / "l.tsv", ("file", "species", "Set"), rows, "\t")


def json_lines(folder):
    rows = [{"path": f"bilder/{p.name}", "label": p.label, "split": p.split} for p in photos()]
    path = flat(folder) / "l.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def text_lists(folder):
    for split in SPLITS:
        lines = [f"{photo.name} {photo.label}\n" for photo in of(split)]
        (flat(folder) / f"{split}.txt").write_text("".join(lines))
    return folder


def split_file(folder):
    numbers = {label: number for number, label in enumerate(sorted(CLASSES))}
    content = {
        split: [[photo.name, numbers[photo.label], photo.label] for photo in of(split)]
        for split in SPLITS
    }
    (flat(folder) / "split_zhou_Mine.json").write_text(json.dumps({**content, "val": []}))
    return folder


def kaggle(folder):
    for photo in photos():
        copy_to(folder / photo.split / photo.name, photo)
    for split in SPLITS:
        rows = [(photo.path.stem, photo.label) for photo in of(split)]
        write_table(folder / f"{split}.csv", ("id", "breed"), rows)
    return folder


def roboflow(folder):
    categories = [{"id": i, "name": name} for i, name in enumerate(["things", *sorted(CLASSES)])]
    numbers = {category["name"]: category["id"] for category in categories}
    for split in SPLITS:
        for photo in of(split):
            copy_to(folder / split / photo.name, photo)
        content = {
            "images": [{"id": i, "file_name": p.name} for i, p in enumerate(of(split))],
            "annotations": [
                {"id": i, "image_id": i, "category_id": numbers[p.label], "bbox": [1, 1, 50, 50]}
                for i, p in enumerate(of(split))
            ],
            "categories": categories,
        }
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def tars(folder):
    folder.mkdir()
    for split in SPLITS:
        with open_tar(folder / f"{split}-000.tar", "w") as archive:
            for i, photo in enumerate(of(split)):
                for suffix, content in (("jpg", photo.path.read_bytes()),
                                        ("cls", photo.label.encode())):  # fmt: skip
                    member = TarInfo(f"{i:04}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
    return folder


def parquet(folder):
    for split, part in data_set(folder).items():
        part.to_parquet(folder / f"{split}-00000.parquet")
    return folder


# In memory:


def data_set(folder):
    folder.mkdir(exist_ok=True)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"bild": [str(p.path) for p in of(split)], "art": [p.label for p in of(split)]}
            ).cast_column("bild", datasets.Image())
            for split in SPLITS
        }
    )


def streamed(folder):
    return datasets.IterableDatasetDict(
        {split: part.to_iterable_dataset() for split, part in data_set(folder).items()}
    )


def frame(folder):
    table = [(str(photo.path), photo.label, photo.split) for photo in photos()]
    return pandas.DataFrame(table, columns=["Path", "Label", "Partition"])


class Pictures(torch.utils.data.Dataset):
    classes = sorted(CLASSES)

    def __init__(self, split):
        self.photos = of(split)

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, i):
        photo = self.photos[i]
        return Image.open(photo.path).convert("RGB"), self.classes.index(photo.label)


def torch_data_sets(folder):
    return {split: Pictures(split) for split in SPLITS}


LAYOUTS = {
    split_folders: "folders of splits with class folders",
    class_folders_with_splits: "class folders with folders of splits",
    nested_class_folders: "folders of splits with class folders",
    spreadsheet: "list of images (images: Datei, labels: Klasse, splits: Aufteilung, separated",
    tab_separated: "list of images (images: file, labels: species, splits: Set, separated by tabs)",
    json_lines: "list of images (images: path, labels: label, splits: split)",
    text_lists: "text list of images",
    split_file: "split file (split_zhou_….json)",
    kaggle: "train.csv and a folder of images (Kaggle)",
    roboflow: "COCO annotations",
    tars: "WebDataset tars",
    parquet: "Parquet files",
    data_set: "data set",
    streamed: "streamed data set",
    frame: "data frame",
    torch_data_sets: "data set of (image, label)",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return Encoder.from_pretrained(checkpoint("clip"))


@pytest.fixture(scope="module")
def expected(encoder, tmp_path_factory):
    return of_source(split_folders(tmp_path_factory.mktemp("expected") / "set"), encoder)


def of_source(source, encoder):
    """The features, and what is fitted to the images."""
    encoding = EncodingConfig(cache=False)
    features = ImageSource(source, encoder, encoding, progress=False).features()
    classifier = FewShotClassifier.fit(
        source, 2, 1, "graph_adapter", TrainConfig(epochs=3, device="cpu"), model=encoder,
        encoding=encoding, select=False, progress=False,
    )  # fmt: skip
    return features, classifier


@pytest.mark.filterwarnings("ignore::UserWarning")  # how each was read
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_same_features_and_classifier(layout, tmp_path, encoder, expected):
    features, classifier = of_source(layout(tmp_path / "set"), encoder)
    for split in SPLITS:
        assert torch.equal(getattr(features, split).x, getattr(expected[0], split).x)
        assert torch.equal(getattr(features, split).y, getattr(expected[0], split).y)
    assert features.class_names == classifier.class_names == tuple(sorted(CLASSES))
    assert torch.equal(features.text, expected[0].text)
    weights, others = classifier.adapter.state_dict(), expected[1].adapter.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_look(layout, tmp_path):
    source = layout(tmp_path / "set")
    if isinstance(source, Path):
        command = ["data", "look", str(source), "--json", "--model", "none"]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        seen = json.loads(result.stdout)
    else:
        look = look_at(read_images(source))
        seen = {"layout": look.layout, "splits": look.splits, "left_out": look.left_out,
                "classes": [vars(c) for c in look.classes], "sizes": vars(look.sizes),
                "in_two_splits": look.in_two_splits}  # fmt: skip
    assert seen["layout"].startswith(LAYOUTS[layout])
    assert seen["splits"] == COUNTS
    assert seen["left_out"] == {}
    assert [c["name"] for c in seen["classes"]] == sorted(CLASSES)
    assert all(c["counts"] == SPLITS for c in seen["classes"])
    assert seen["sizes"]["sampled"] == sum(COUNTS.values())
    assert seen["sizes"]["unreadable"] == {}
    assert seen["in_two_splits"] == []
