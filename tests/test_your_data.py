"""Every line of the README's section "Your data" runs, in its order, on data of its form."""

import io
import json
import re
import shlex
import tarfile
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas
import pyarrow
import pytest
import torch
from pyarrow import parquet
from typer.testing import CliRunner

from pyg_graphadapter import FeatureFile, FewShotClassifier, ImageEncoder, cli
from tests.data.pictures import picture, save_pictures

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
[SECTION] = re.findall(r"^## Your data\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
LINES = re.findall(r"^\|.*\| `(.+)` \|$", SECTION, flags=re.MULTILINE)
COMMANDS = [line for line in LINES if line.startswith("graphadapter ")]
CODE = [line for line in LINES if not line.startswith("graphadapter ")]
CLASSES = ("cat", "dog", "owl")
NAMES = [f"{name}/{i}.png" for name in CLASSES for i in range(4)]
LABELS = [c for c in range(3) for _ in range(4)]


def write_images(root):
    """The forms of images in the section's first table."""
    save_pictures(root / "photos", NAMES, (32, 32))
    for split in ("train", "val", "test"):
        save_pictures(root / "splits" / split, NAMES, (32, 32))
    save_pictures(root / "halves/first", NAMES, (32, 32))
    save_pictures(root / "halves/second", [n.replace("png", "jpg") for n in NAMES], (32, 30))
    save_pictures(root / "holiday", ["1.png", "2.png"], (32, 32))
    save_pictures(root / "codes", [n.replace("cat", "n1").replace("dog", "n2").replace("owl", "n3")
                                   for n in NAMES], (32, 32))  # fmt: skip
    (root / "names.csv").write_text("code;name\nn1;cat\nn2;dog\nn3;owl\n", encoding="utf-8")
    rows = [(f"photos/{name}", name[:3]) for name in NAMES]
    table = "".join(f"{path};{label}\n" for path, label in rows)
    (root / "photos.csv").write_text(f"\ufeffDatei;Art\n{table}", encoding="utf-8")
    (root / "plants.csv").write_text(f"scan;kind\n{table}", encoding="utf-8")
    (root / "photos.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))
    save_pictures(root / "kaggle/train", [name.replace("/", "_") for name in NAMES], (32, 32))
    listed = "".join(f"{name[:3]}_{name[4:-4]},{name[:3]}\n" for name in NAMES)
    (root / "kaggle/train.csv").write_text(f"id,breed\n{listed}")
    zhou = [[path, CLASSES.index(label), label] for path, label in rows]
    splits = {"train": zhou[::2], "val": zhou[1::4], "test": zhou[3::4]}
    (root / "split_zhou_photos.json").write_text(json.dumps(splits))
    write_boxes(root / "coco")
    write_tar(root / "shards")


def write_boxes(folder):
    save_pictures(folder / "train", ["1.png", "2.png"], (64, 64))
    boxes = [(image, c, [x, 20 * c, 24, 18])
             for image in (1, 2) for c in range(3) for x in (0, 30)]  # fmt: skip
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": c, "bbox": box}
            for i, (image, c, box) in enumerate(boxes)
        ],
        "categories": [{"id": c, "name": name} for c, name in enumerate(CLASSES)],
    }
    (folder / "train/_annotations.coco.json").write_text(json.dumps(content))


def write_tar(folder):
    folder.mkdir()
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for i, name in enumerate(NAMES):
            image = io.BytesIO()
            label = json.dumps({"label": name[:3]}).encode()
            picture(i, (32, 32)).save(image, "PNG")
            for suffix, content in (("png", image.getvalue()), ("json", label)):
                member = tarfile.TarInfo(f"{i:03}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def write_features(root):
    """The forms of classes and features in the section's tables."""
    (root / "names.txt").write_text("\n".join(CLASSES))
    sentences = {name: [f"A photo of a {name} outdoors."] for name in CLASSES}
    (root / "sentences.json").write_text(json.dumps(sentences))
    save_pictures(root / "more", ["fox/1.png", "fox/2.png", "cat/9.png", "cat/8.png"], (30, 32))
    x = np.random.default_rng(0).normal(size=(12, 384)).astype(np.float32)
    y, names = np.array(LABELS), np.array(CLASSES)[LABELS]
    np.save(root / "features.npy", x)
    np.save(root / "labels.npy", y)
    np.savez(root / "own.npz", emb=x, target=names)
    np.savez(root / "cifar_train.npz", features=x, labels=y)
    np.savez(root / "cifar_test.npz", features=x + 1, labels=y)
    torch.save(torch.tensor(x), root / "train_features.pt")
    torch.save(torch.tensor(y), root / "train_labels.pt")
    np.save(root / "img_emb_0.npy", x)
    parquet.write_table(pyarrow.table({"label": names}), root / "metadata_0.parquet")
    parquet.write_table(pyarrow.table({"features": list(x), "label": names}),
                        root / "features.parquet")  # fmt: skip
    with h5py.File(root / "features.h5", "w") as file:
        file["features"], file["labels"] = x, y


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_images(tmp_path)
    write_features(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.timeout(300)
def test_every_command_reads_what_is_there(root):
    assert len(COMMANDS) > 20
    for command in COMMANDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are left out, and of few shots
            result = CliRunner().invoke(cli.app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
        words = shlex.split(command)
        out = Path(words[words.index("--out") + 1])
        if words[1] == "fit":
            names = FewShotClassifier.load(out).class_names
            assert names == (("cat", "dog", "owl", "fox") if out.name == "o" else CLASSES), command
        elif words[1:3] == ["data", "import"]:
            file = FeatureFile.load(out)
            assert len(file.train) == 12, command
            assert file.train.y.tolist() == LABELS, command
            assert (file.text is not None) == (out.name == "x.npz")
            assert (file.test is not None) == (out.name == "s.npz")
        elif words[1] == "compare":
            assert list(out.glob("*.json")), command
    assert len((root / "holiday.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.filterwarnings("ignore:The class names tell")  # which are of no picture
@pytest.mark.parametrize("code", CODE)
def test_data_in_memory(root, code):
    rows = [(str(root / "photos" / name), name[:3]) for name in NAMES]
    values = {
        "frame": pandas.DataFrame(rows, columns=["path", "label"]),
        "pairs": [(picture(i, (32, 32)), name[:3]) for i, name in enumerate(NAMES)],
        "dataset": dataset_of(rows),
        "module": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 16)),
        "transform": transform,
    }
    classes = {"FewShotClassifier": FewShotClassifier, "ImageEncoder": ImageEncoder}
    classifier = eval(code, {**values, **classes})
    assert classifier.class_names == CLASSES
    assert classifier.training["shots"] in (4, "all")


def dataset_of(rows):
    import datasets

    return datasets.Dataset.from_dict({"file": [p for p, _ in rows], "kind": [k for _, k in rows]})


def transform(image):
    return torch.tensor(np.asarray(image.resize((8, 8)))).permute(2, 0, 1) / 255
