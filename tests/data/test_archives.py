import gzip
import io
import json
import shutil
import tarfile

import datasets
import pytest
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from pyg_graphadapter.data import decode_image, load_images
from pyg_graphadapter.testing import fake_images


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture
def photos(tmp_path):
    return sorted(fake_images(tmp_path / "photos", num_classes=4).rglob("*.jpg"))


def write_tar(path, photos, labels=None, about=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for i, photo in enumerate(photos):
            parts = {"jpg": photo.read_bytes()}
            if labels is not None:
                parts["cls"] = str(labels[i]).encode()
            if about is not None:
                parts["json"] = json.dumps(about[i]).encode()
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{i:04}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def test_tars_with_numbers_and_names(tmp_path, photos):
    folder = tmp_path / "tars"
    write_tar(folder / "train" / "0.tar", photos[:3], [0, 1, 0])
    write_tar(folder / "train" / "1.tar", photos[3:5], [1, 1])
    write_tar(folder / "test" / "0.tar", photos[5:7], [1, 0])
    (folder / "classnames.txt").write_text("cat\napple pie\n")
    loaded = load_images(folder)
    assert loaded["train"]["label"] == [0, 1, 0, 1, 1]
    assert loaded["test"]["label"] == [1, 0]
    assert loaded["train"].features["label"].names == ["cat", "apple pie"]
    assert loaded["train"][3]["image"]["bytes"] == photos[3].read_bytes()


def test_splits_in_the_names_of_tars(tmp_path, photos):
    folder = tmp_path / "tars"
    for i, name in enumerate(("train-000", "train-001", "validation-000", "other")):
        write_tar(folder / f"{name}.tar", photos[2 * i : 2 * i + 2], [5, 7])
    with pytest.warns(UserWarning, match=r"other\.tar is named as no split, and is read as train"):
        loaded = load_images(folder)
    assert {split: len(part) for split, part in loaded.items()} == {"train": 6, "val": 2}
    assert loaded["train"].features["label"].names == ["5", "7"]


def test_one_tar_with_labels_in_json(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos[:2], about=[{"label": "cat"}, {"label": "dog"}])
    loaded = load_images(tmp_path / "a.tar")
    assert loaded["train"].features["label"].names == ["cat", "dog"]
    assert loaded["train"]["label"] == [0, 1]


def test_a_column_that_is_named(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos[:3], [1, 1, 2], [{"label": "x"}] * 3)
    assert load_images(tmp_path / "a.tar", label_column="cls")["train"]["label"] == [0, 0, 1]


def test_parquet_files_of_a_data_set(tmp_path):
    images = load_images(fake_images(tmp_path / "photos", splits={"train": 3, "test": 2}))
    for split, part in images.items():
        part.cast_column("image", datasets.Image()).to_parquet(tmp_path / f"p/{split}-0.parquet")
    loaded = load_images(tmp_path / "p")
    assert {split: len(part) for split, part in loaded.items()} == {"train": 9, "test": 6}
    assert loaded["train"].features["label"].names == images["train"].features["label"].names
    assert (
        decode_image(loaded["train"][0]["image"]).size
        == decode_image(images["train"][0]["image"]).size
    )
    one = load_images(tmp_path / "p" / "train-0.parquet")
    assert len(one["train"]) == 9


def test_both_kinds(tmp_path, photos):
    write_tar(tmp_path / "both" / "a.tar", photos[:2], [0, 1])
    (tmp_path / "both" / "b.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds both \.parquet and \.tar files: keep only one"):
        load_images(tmp_path / "both")


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_files_that_are_none(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=rf"{name}, … cannot be read \("):
        load_images(tmp_path / name)


def test_labels_without_a_name(tmp_path, photos):
    write_tar(tmp_path / "t" / "a.tar", photos[:2], [0, 2])
    (tmp_path / "t" / "classnames.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=r"2 names in classnames\.txt and the label 2"):
        load_images(tmp_path / "t")


def test_an_archive_among_class_folders_is_none_of_theirs(tmp_path, photos):
    folder = photos[0].parents[1]
    shutil.copy(photos[0], folder / photos[0].parent.name / "extra.tar")
    with pytest.warns(UserWarning, match=r"1 file that is no image by its name .*extra\.tar"):
        images = load_images(folder)
    assert len(images["train"].features["label"].names) == 4


def write_members(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def forbidden(monkeypatch):
    """Fails where an array or a tensor in a tar is read."""

    def decode(content):
        raise AssertionError("a member that is neither image nor label was decoded")

    suffixes = ("pth", "npy", "npz", "ten", "pyd", "pickle", "cbor", "mp")
    decoders = {suffix: decode for suffix in suffixes}
    monkeypatch.setattr(WebDataset, "DECODERS", {**WebDataset.DECODERS, **decoders})
    return suffixes


def test_other_members_of_a_tar_are_not_decoded(tmp_path, photos, forbidden, caplog):
    members = {f"{i}.{suffix}": b"no" for i in range(2) for suffix in forbidden}
    images = {f"{i}.jpg": photos[i].read_bytes() for i in range(2)}
    labels = {f"{i}.cls": str(i).encode() for i in range(2)}
    loaded = load_images(write_members(tmp_path / "a.tar", {**members, **images, **labels}))
    assert loaded["train"]["label"] == [0, 1]
    assert ".pth: 2" in caplog.text


def test_other_members_of_a_tar_on_the_hub_are_not_decoded(
    tmp_path, photos, forbidden, monkeypatch
):
    members = {}
    for i in range(2):
        members |= {f"{i}.jpg": photos[i].read_bytes(), f"{i}.cls": str(i).encode()}
        members |= {f"{i}.{suffix}": b"no" for suffix in forbidden}
    path = write_members(tmp_path / "a.tar", members)
    load_dataset = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: load_dataset("webdataset", data_files=str(path))
    )
    monkeypatch.setattr("pyg_graphadapter.data.load.is_reachable", lambda: True)
    decoders = WebDataset.DECODERS
    loaded = load_images("me/tars", image_column="jpg", label_column="cls")
    assert loaded["train"]["label"] == [0, 1]
    assert WebDataset.DECODERS is decoders


def test_a_compressed_tar(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos[:2], [0, 1])
    (tmp_path / "b.tar").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    with pytest.raises(ValueError, match=r"b\.tar.* compressed: decompress it"):
        load_images(tmp_path / "b.tar")


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("true", "a class name or a whole number, not True"),
        ("1.5", "a class name or a whole number, not 1.5"),
        ("9" * 400, "is no number of 64 bits"),
        ("[" * 100_000, "is not a JSON object"),
    ],
)
def test_labels_in_json_that_are_none(tmp_path, photos, label, reason):
    members = {"0.jpg": photos[0].read_bytes(), "0.json": f'{{"label": {label}}}'.encode()}
    with pytest.raises(ValueError, match=reason):
        load_images(write_members(tmp_path / "a.tar", members))


@pytest.mark.parametrize("part", ["size", "checksum", "end"])
def test_a_damaged_tar(tmp_path, photos, part):
    write_tar(tmp_path / "a.tar", photos[:3], [0, 1, 0])
    content = bytearray((tmp_path / "a.tar").read_bytes())
    header = content.index(b"0002.jpg")
    if part == "size":  # negative
        content[header + 124 : header + 136] = tarfile.itn(-1024, 12, tarfile.GNU_FORMAT)
        content[header + 148 : header + 156] = b" " * 8
        total = sum(content[header : header + 512])
        content[header + 148 : header + 156] = b"%06o\0 " % total
    elif part == "checksum":
        content[header + 100] ^= 1
    else:
        del content[header + 600 :]
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.tar, … cannot be read \("):
        load_images(tmp_path / "b.tar")


def test_a_long_header_is_not_read(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos[:2], [0, 1])
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**21
    content = header.tobuf() + bytes(2**21) + (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(ValueError, match="a header is too long"):
        load_images(tmp_path / "b.tar")


def test_a_tar_that_was_replaced_is_read_again(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos[:2], [0, 1])
    assert load_images(tmp_path / "a.tar")["train"]["label"] == [0, 1]
    write_tar(tmp_path / "a.tar", photos[:2], [1, 0])
    assert load_images(tmp_path / "a.tar")["train"]["label"] == [1, 0]


def test_a_tar_without_its_end(tmp_path, photos):
    write_tar(tmp_path / "a.tar", photos, labels=[i % 2 for i in range(len(photos))])
    content = (tmp_path / "a.tar").read_bytes().rstrip(b"\0")
    (tmp_path / "a.tar").write_bytes(content + b"\0" * (-len(content) % tarfile.BLOCKSIZE))
    with pytest.warns(UserWarning, match=r"a\.tar has no end mark"):
        load_images(tmp_path / "a.tar")
