"""People's own data in all the forms that the documentation names, made small."""

import io
import json
import tarfile

import h5py
import numpy as np
import pyarrow
import torch
from pyarrow import parquet

from tests.data.pictures import picture, save_pictures

CLASSES = ("cat", "dog", "owl")
NAMES = [f"{name}/{i}.png" for name in CLASSES for i in range(4)]
LABELS = [c for c in range(3) for _ in range(4)]


def write_images(root):
    """The forms of images."""
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
    """The forms of classes and features."""
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
