"""Builds the small labelled image set of ``pyg_graphadapter/builtin/images``.

The drawings come from Debian's package ``openclipart-png``; ``scripts/builtin_images.json`` pins it
by checksum and lists, per class, the drawings that were looked at and kept::

    apt-get download openclipart-png
    python scripts/build_builtin_images.py openclipart-png_*.deb

Same package, list and library versions give the same bytes.
"""

import argparse
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

ROOT = Path(__file__).resolve().parents[1]
SELECTION = ROOT / "scripts/builtin_images.json"
DATA = ROOT / "pyg_graphadapter/builtin/images"
EVIDENCE = ROOT / "benchmarks/builtin_model/images"
SIZE = 192  # pixels, longest side with its margin
SEED = 1
SHOTS = 16  # images that every class has at least, in either split
MAX_TRAIN, MAX_TEST = 20, 28  # 16 shots and CoOp's 4 validation images; 48 a class in all
THRESHOLD = 6  # of 64 bits: up to 6 the closest pairs look alike, from 8 on they differ


@dataclass(frozen=True)
class Drawing:
    """One drawing with its label and its 64-bit hashes, plain and mirrored."""

    label: int
    source: str
    title: str
    author: str
    image: Pillow.Image
    bits: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]


def read_package(deb: Path, package: dict[str, str], wanted: set[str]) -> dict[str, bytes]:
    """The ``wanted`` files of the Debian package, by their path below its picture folder."""
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    if digest != package["sha256"]:
        raise ValueError(
            f"'{deb.name}' has sha256 {digest}, not {package['sha256']}: get version "
            f"{package['version']} with 'apt-get download {package['name']}'."
        )
    prefix = f"./{package['root']}/"
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as run:
        found = {}
        with tarfile.open(fileobj=run.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix(prefix)
                if member.isfile() and name in wanted and (data := archive.extractfile(member)):
                    found[name] = data.read()
    if missing := wanted - found.keys():
        raise ValueError(f"The package lacks {sorted(missing)}.")
    return found


def crop(image: Pillow.Image) -> Pillow.Image:
    """The drawing on a white square, 3 % margin on either side, :obj:`SIZE` pixels wide."""
    image = image.convert("RGBA")
    image.thumbnail((1600, 1600))
    white = Pillow.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    flat = white.convert("RGB")
    ink = (255 - np.asarray(flat).astype(int)).max(axis=2) > 12
    rows, columns = np.where(ink.any(axis=1))[0], np.where(ink.any(axis=0))[0]
    flat = flat.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    side = round(max(flat.size) * 1.06)
    square = Pillow.new("RGB", (side, side), "white")
    square.paste(flat, ((side - flat.width) // 2, (side - flat.height) // 2))
    return square.resize((SIZE, SIZE), Pillow.Resampling.LANCZOS)


def perceptual_hash(image: Pillow.Image) -> NDArray[np.bool_]:
    """64 bits ``[64]``: the lowest 8 x 8 cosine coefficients in grey above their median."""
    grey = np.asarray(image.convert("L").resize((32, 32), Pillow.Resampling.BOX), dtype=float)
    position, frequency = np.arange(32), np.arange(8)[:, None]
    basis = np.cos(np.pi * (2 * position + 1) * frequency / 64)  # [8, 32]
    coefficients = (basis @ grey @ basis.T).ravel()
    return np.asarray(coefficients > np.median(coefficients[1:]))


def metadata(image: Pillow.Image, key: str) -> str:
    """A text field of the PNG, whose UTF-8 was stored as if it were Latin-1."""
    text = str(image.info.get(key, ""))
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def load(deb: Path, selection: dict[str, Any]) -> list[Drawing]:
    """Every listed drawing, cropped and hashed, in the order of the list."""
    classes = selection["classes"]
    wanted = {source for sources in classes.values() for source in sources}
    files = read_package(deb, selection["package"], wanted)
    drawings = []
    for label, sources in enumerate(classes.values()):
        for source in sources:
            original = Pillow.open(io.BytesIO(files[source]))
            title, author = (metadata(original, key) for key in ("Title", "Author"))
            image = crop(original)
            mirror = image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
            hashes = perceptual_hash(image), perceptual_hash(mirror)
            drawings.append(Drawing(label, source, title, author, image, *hashes))
    return drawings


def distances(left: list[Drawing], right: list[Drawing]) -> NDArray[np.int64]:
    """Hamming distances ``[L, R]``, with either of the two mirrored if that is closer."""
    a, mirrored_a = (np.stack([getattr(d, k) for d in left]) for k in ("bits", "mirrored"))
    b, mirrored_b = (np.stack([getattr(d, k) for d in right]) for k in ("bits", "mirrored"))
    pairs = ((a, b), (a, mirrored_b), (mirrored_a, b))
    return np.asarray(np.min([(x[:, None] != y).sum(axis=2) for x, y in pairs], axis=0))


def deduplicate(drawings: list[Drawing]) -> tuple[list[Drawing], list[dict[str, Any]]]:
    """Keeps the first of any pair within the threshold, and says what fell to what."""
    kept: list[Drawing] = []
    dropped: list[dict[str, Any]] = []
    for drawing in drawings:
        near = distances([drawing], kept)[0] if kept else np.array([64])
        if near.min() > THRESHOLD:
            kept.append(drawing)
        else:
            pair = {"dropped": drawing.source, "for": kept[int(near.argmin())].source}
            dropped.append(pair | {"distance": int(near.min())})
    return kept, dropped


def split(drawings: list[Drawing], names: list[str]) -> tuple[list[Drawing], list[Drawing]]:
    """Draws train and test by class: 16 to 20 for training, 16 to 28 for the test."""
    generator = np.random.default_rng(SEED)
    train: list[Drawing] = []
    test: list[Drawing] = []
    for label, name in enumerate(names):
        members = [drawing for drawing in drawings if drawing.label == label]
        if len(members) < 2 * SHOTS:
            raise ValueError(f"Class {name!r} has {len(members)} drawings, fewer than {2 * SHOTS}.")
        members = [members[i] for i in generator.permutation(len(members))]
        count = min(MAX_TRAIN, len(members) - SHOTS)
        train += members[:count]
        test += members[count : count + MAX_TEST]
    return train, test


def encode(image: Pillow.Image) -> bytes:
    """WebP at quality 85; lossless WebP and PNG-8 are larger on every drawing tried."""
    data = io.BytesIO()
    image.save(data, "WEBP", quality=85, method=6)
    return data.getvalue()


def write(drawings: list[Drawing], names: list[str], path: Path) -> None:
    """Writes one split as a Parquet file that ``Dataset.from_parquet`` reads."""
    text = {key: [getattr(d, key) for d in drawings] for key in ("source", "title", "author")}
    images = [{"bytes": encode(drawing.image), "path": None} for drawing in drawings]
    columns = {"image": images, "label": [drawing.label for drawing in drawings], **text}
    features = {"image": Image(), "label": ClassLabel(names=names)}
    features |= {key: Value("string") for key in text}
    Dataset.from_dict(columns, features=Features(features)).to_parquet(path)


def centroid_accuracy(train: list[Drawing], test: list[Drawing]) -> list[float]:
    """Percent right by the nearest mean of raw 32 x 32 pixels at 16 shots, for seeds 1, 2, 3."""
    x, queries = (
        np.stack([np.asarray(d.image.resize((32, 32))).ravel() / 255 for d in part])
        for part in (train, test)
    )
    y, truth = (np.array([drawing.label for drawing in part]) for part in (train, test))
    accuracies = []
    for seed in (1, 2, 3):
        generator = np.random.default_rng(seed)
        means = np.stack(
            [x[generator.permutation(np.where(y == c)[0])[:SHOTS]].mean(axis=0) for c in set(truth)]
        )
        squared = ((queries[:, None] - means) ** 2).sum(axis=2)  # [test, classes]
        accuracies.append(round(float((squared.argmin(axis=1) == truth).mean() * 100), 1))
    return accuracies


def sheet(drawings: list[Drawing], names: list[str], path: Path, tile: int = 48) -> None:
    """Draws a contact sheet, a row a class, columns numbered."""
    rows = [[d for d in drawings if d.label == label] for label in range(len(names))]
    width = max(len(row) for row in rows)
    page = Pillow.new("RGB", (110 + width * tile, 14 + len(rows) * tile), "white")
    pen = ImageDraw.Draw(page)
    for column in range(width):
        pen.text((110 + column * tile + 18, 2), str(column), fill="grey")
    for y, (name, row) in enumerate(zip(names, rows, strict=True)):
        pen.text((4, 14 + y * tile + tile // 3), f"{name} {len(row)}", fill="black")
        for x, drawing in enumerate(row):
            small = drawing.image.resize((tile - 2, tile - 2))
            page.paste(small, (110 + x * tile, 14 + y * tile))
    page.quantize(96).save(path, optimize=True)


def closest_pairs(drawings: list[Drawing], path: Path, count: int = 20) -> list[dict[str, Any]]:
    """Draws the closest remaining pairs with their distances, and lists them."""
    table = distances(drawings, drawings)
    first, second = np.triu_indices(len(drawings), 1)
    order = np.argsort(table[first, second], kind="stable")[:count]
    page = Pillow.new("RGB", (5 * 150, -(-count // 5) * 88), "white")
    pen = ImageDraw.Draw(page)
    pairs = []
    for place, k in enumerate(order):
        x, y = place % 5 * 150, place // 5 * 88
        left, right = drawings[first[k]], drawings[second[k]]
        distance = int(table[first[k], second[k]])
        page.paste(left.image.resize((70, 70)), (x, y + 14))
        page.paste(right.image.resize((70, 70)), (x + 72, y + 14))
        pen.text((x + 60, y + 2), str(distance), fill="red")
        pairs.append({"first": left.source, "second": right.source, "distance": distance})
    page.quantize(96).save(path, optimize=True)
    return pairs


def main() -> None:
    """Writes both splits, the contact sheets and the figures of the check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deb", type=Path, help="the Debian package openclipart-png")
    selection = json.loads(SELECTION.read_text())
    names = list(selection["classes"])
    drawings, dropped = deduplicate(load(parser.parse_args().deb, selection))
    train, test = split(drawings, names)
    for folder in (DATA, EVIDENCE):
        folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": train, "test": test}
    for key, part in parts.items():
        write(part, names, DATA / f"{key}.parquet")
        sheet(part, names, EVIDENCE / f"{key}.png")
    inside = {k: distances(p, p) + 64 * np.eye(len(p), dtype=int) for k, p in parts.items()}
    check = {
        "seed": SEED,
        "images": {key: len(part) for key, part in parts.items()},
        "bytes": {key: (DATA / f"{key}.parquet").stat().st_size for key in parts},
        "counts": {
            name: {key: sum(d.label == label for d in part) for key, part in parts.items()}
            for label, name in enumerate(names)
        },
        "pixel_centroid_accuracy_16_shots": centroid_accuracy(train, test),
        "hash_threshold": THRESHOLD,
        "smallest_distance": {key: int(table.min()) for key, table in inside.items()}
        | {"between": int(distances(train, test).min())},
        "dropped": dropped,
        "closest": closest_pairs(train + test, EVIDENCE / "closest_pairs.png"),
    }
    (EVIDENCE / "check.json").write_text(json.dumps(check, indent=2) + "\n")


if __name__ == "__main__":
    main()
