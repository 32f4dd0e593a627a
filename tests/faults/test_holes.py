"""The twelve holes of this field (README.md): each is closed, and says so in one sentence."""

import io
import json
import pickle
import re
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pyg_graphadapter
from pyg_graphadapter import Encoder, FewShotClassifier
from pyg_graphadapter.data import UnreadableImageError, decode_image
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.testing import fake_features, fake_images
from tests.faults.command import content, run
from tests.results import result


class Payload:
    """Raises a flag when it is unpickled."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return (Path.write_text, (self.flag, "run"))


@pytest.fixture
def flag(tmp_path):
    """The file that a payload writes; none may be there at the end."""
    path = tmp_path / "flag"
    yield path
    assert not path.exists()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def classifier(tmp_path):
    """A saved classifier, and its features beside it."""
    data = fake_features(num_classes=3, channels=8, shots=2, tests=2)
    data.save(tmp_path / "features.npz")
    FewShotClassifier.fit(data, 1, method="zero_shot", progress=False).save(tmp_path / "c")
    return tmp_path / "c"


def fit(data, tmp_path, *more):
    return run("fit", data, "--shots", 1, "--out", tmp_path / "out", *more, code=1)[1]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".ckpt", ".joblib"])
def test_hole_01_pickles_are_refused_with_the_reason(suffix, classifier, tmp_path, flag):
    path = tmp_path / f"features{suffix}"
    path.write_bytes(pickle.dumps(Payload(flag)))
    before = content(classifier)
    assert "is a pickle, which can run any code when it is read" in fit(path, tmp_path)
    said = run("predict", classifier, path, code=1)[1]
    assert "is a pickle" in said
    assert content(classifier) == before


@pytest.mark.filterwarnings("default:.*keys that are not read")
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_hole_02_nothing_is_given_to_torch_load(suffix, tmp_path, flag, monkeypatch):
    """Neither with ``weights_only`` nor without; a file of ``torch.save`` is a zip, as ``.npz``."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: flag.write_text("loaded"))
    path = tmp_path / f"features{suffix}"
    with path.open("wb") as file:
        torch.save({"train_features": torch.ones(2, 2), "more": Payload(flag)}, file)
    assert path.name in fit(path, tmp_path)
    source = Path(pyg_graphadapter.__file__).parent
    load = re.compile(r"(?<!safetensors\.)torch\.load\(")
    # The one that an explicit command asks for, with weights_only=True:
    loading = [p.name for p in source.rglob("*.py") if load.search(p.read_text(encoding="utf-8"))]
    assert loading == ["torch_file.py"]


def test_hole_03_no_fallback_to_unsafe_weights(checkpoint, tmp_path, flag):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in checkpoint("clip").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(flag)))
    images = fake_images(tmp_path / "images")
    for _ in range(2):
        said = run("encode", images, "--model", folder, "--out", tmp_path / "f.npz", code=1)[1]
        assert f"The model {str(folder)!r} cannot be loaded" in said
        (folder / "model.safetensors").unlink(missing_ok=True)
    assert not (tmp_path / "f.npz").exists()


def test_hole_04_code_of_a_model_is_never_trusted(checkpoint, classifier):
    with pytest.raises(ValueError, match="'trust_remote_code' is not supported"):
        Encoder.from_pretrained(checkpoint("clip"), trust_remote_code=True)
    with pytest.raises((ValueError, TypeError), match="trust_remote_code"):
        FewShotClassifier.from_pretrained(classifier, trust_remote_code=True)
    said = run("predict", classifier, "x.npz", "--trust-remote-code", code=2)[1]
    assert "No such option: --trust-remote-code" in said


@pytest.mark.parametrize("name", ["settings.yaml", "settings.toml", "list.yaml", "list.json"])
def test_hole_05_yaml_is_never_read(name, classifier, tmp_path, flag):
    path = tmp_path / name
    path.write_text(f"!!python/object/apply:pathlib.Path.write_text ['{flag}', 'run']\n")
    if name.startswith("settings"):
        code, said = run(
            "fit", tmp_path / "features.npz", "--config", path, "--out", tmp_path / "o"
        )
    else:
        code, said = run("encode", path, "--model", "builtin", "--out", tmp_path / "f.npz")
    assert code in (1, 2)
    assert name in said


@pytest.mark.parametrize("key", ["train_features", "class_names", "logit_scale"])
def test_hole_06_arrays_of_objects_are_refused(key, classifier, tmp_path, flag):
    with np.load(tmp_path / "features.npz") as file:
        arrays = dict(file) | {key: np.array([Payload(flag)], dtype=object)}
    np.savez(tmp_path / "objects.npz", **arrays)
    said = fit(tmp_path / "objects.npz", tmp_path)
    assert "objects.npz is not as a feature file must be: it" in said
    assert "pickled objects" in said


@pytest.mark.filterwarnings("default:.*keys that are not read")
@pytest.mark.parametrize("kind", ["upward", "absolute", "link", "hard link"])
def test_hole_07_members_of_archives_leave_them_never(kind, tmp_path, monkeypatch, flag):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = tmp_path / "t"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for i, photo in enumerate(sorted(fake_images(tmp_path / "photos").rglob("*.jpg"))):
            for suffix, member in (("jpg", photo.read_bytes()), ("cls", str(i % 2).encode())):
                info = tarfile.TarInfo(f"{i:04}.{suffix}")
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
        names = {"upward": "../flag", "absolute": str(flag), "link": "0009.jpg", "hard link": "x"}
        info = tarfile.TarInfo(names[kind])
        if "link" in kind:
            info.type = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE
            info.linkname = "/etc/passwd"
            archive.addfile(info)
        else:
            info.size = 3
            archive.addfile(info, io.BytesIO(b"run"))
    with zipfile.ZipFile(tmp_path / "slip.npz", "w") as archive:
        archive.writestr("../flag.npy", b"run")
    before = content(folder)
    code, said = run("encode", folder, "--model", "builtin", "--out", tmp_path / "f.npz")
    assert code == 0 or "Error: " in said
    assert "root:" not in said
    assert content(folder) == before
    assert "slip.npz" in fit(tmp_path / "slip.npz", tmp_path)
    assert not (tmp_path.parent / "flag.npy").exists()


def test_hole_08_names_never_become_paths(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    names = ("../../x", "/etc/x", "a/b", "con", "..")
    data = fake_features(num_classes=5, channels=8, shots=2, tests=2)
    FeatureFile(data.text, names, data.train, test=data.test).save(inner / "f.npz")
    before = set(tmp_path.iterdir())
    run("fit", inner / "f.npz", "--shots", 1, "--out", inner / "c", code=0)
    run("compare", inner / "f.npz", "--shots", 1, "--seeds", 1, "--out", inner / "r", "--jobs", 1,
        code=0)  # fmt: skip
    run("report", inner / "r", "--out", inner / "report", code=0)
    assert FewShotClassifier.load(inner / "c").class_names == names
    assert set(tmp_path.iterdir()) == before
    assert {path.name for path in inner.iterdir()} == {"f.npz", "c", "r", "report"}
    assert all(path.parent == inner / "r" for path in (inner / "r").rglob("*"))


@pytest.mark.parametrize(
    "magic",
    [
        b"8BPS\x00\x01" + b"\x00" * 200,  # PSD
        b"SIMPLE  =                    T" + b" " * 2850,  # FITS
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # EPS
        b"BLP2" + b"\x00" * 200,
        b"\x89HDF\r\n\x1a\n" + b"\x00" * 200,
    ],
)
def test_hole_09_decoders_of_other_formats_are_never_reached(magic, tmp_path):
    (tmp_path / "a.jpg").write_bytes(magic)
    with pytest.raises(
        UnreadableImageError, match=r"a\.jpg cannot be decoded \(not an image of a "
    ):
        decode_image(tmp_path / "a.jpg")


def bomb(side):
    """The header of a PNG of so many pixels a side, and nothing else."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 65_500])
def test_hole_10_bombs_are_refused_before_they_are_decoded(side, tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(side))
    begin = time.perf_counter()
    with pytest.raises(UnreadableImageError, match=r"bomb\.png .*pixels.*100,000,000 are allowed"):
        decode_image(tmp_path / "bomb.png")
    assert time.perf_counter() - begin < 1
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    assert decode_image(tmp_path / "small.png").size == (4, 4)


def test_hole_11_nothing_is_fetched_past_tls_or_a_checksum():
    """The package fetches models and data sets through huggingface_hub and datasets alone."""
    source = Path(pyg_graphadapter.__file__).parent
    forbidden = re.compile(
        r"download_url|urlopen|urlretrieve|verify\s*=\s*False|_create_unverified|CERT_NONE"
        r"|requests\.|httpx|http\.client|wget|curl |http://"
    )
    texts = {path: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    assert texts
    for path, text in texts.items():
        assert not forbidden.search(text), path


def test_hole_12_names_are_escaped_in_cards_and_pages(tmp_path):
    attack = '<script>alert("x")</script>'
    data = fake_features(num_classes=2, channels=8, shots=2, tests=2)

    file = FeatureFile(data.text, (attack, "[x](javascript:alert(1))"), data.train, test=data.test)
    classifier = FewShotClassifier.fit(file, 1, progress=False)
    assert "<script>" not in str(classifier.generate_model_card())
    file.save(tmp_path / "f.npz")
    words = ("--shots", 1, "--seeds", 1, "--epochs", 1, "--no-select", "--jobs", 1)
    run("compare", tmp_path / "f.npz", *words, "--out", tmp_path / "r", code=0)
    (tmp_path / "r" / "1.json").write_text(
        json.dumps(result(dataset=attack, backbone=attack, variant=attack))
    )
    run("report", tmp_path / "r", "--out", tmp_path / "report", code=0)
    pages = list((tmp_path / "report").glob("*.html"))
    assert pages
    for page in pages:
        assert attack not in page.read_text(encoding="utf-8")
