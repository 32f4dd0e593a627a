"""Few-shot draws as JSON files, to be shared."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets

from pyg_graphadapter.data.draw import few_shot
from pyg_graphadapter.storage import write_atomic

DRAW_FORMAT = "pyg_graphadapter/draw/1"
MAX_VALIDATION_SHOTS = 4


@dataclass(frozen=True)
class Draw:
    """Which images were drawn.

    Args:
        shots (int): Images a class.
        seed (int): The seed of the draw.
        class_names (tuple of str): The classes.
        train (tuple): Path, relative to the root, and label of every training image.
        val (tuple): Those of validation, at most four a class.
    """

    shots: int
    seed: int
    class_names: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    val: tuple[tuple[str, int], ...]


def make_draw(images: datasets.DatasetDict, root: str | Path, shots: int, seed: int) -> Draw:
    """Draws few shots of images that lie in files below a root.

    Raises:
        ValueError: If a class has too few images, or an image is no file below the root.
    """
    val = few_shot(images["val"], min(shots, MAX_VALIDATION_SHOTS), seed, allow_fewer=True) if (
        "val" in images
    ) else None  # fmt: skip
    return Draw(
        shots,
        seed,
        tuple(images["train"].features["label"].names),
        _rows(few_shot(images["train"], shots, seed), Path(root)),
        () if val is None else _rows(val, Path(root)),
    )


def _rows(part: datasets.Dataset, root: Path) -> tuple[tuple[str, int], ...]:
    rows = []
    for image, label in zip(part["image"], part["label"], strict=True):
        if not image["path"] or not Path(image["path"]).is_relative_to(root):
            raise ValueError(f"The image {image['path']!r} is no file below {root}.")
        rows.append((Path(image["path"]).relative_to(root).as_posix(), int(label)))
    return tuple(rows)


def save_draw(draw: Draw, path: str | Path) -> None:
    """Writes a draw."""
    content = json.dumps({"format": DRAW_FORMAT, **asdict(draw)}, indent=1, ensure_ascii=False)
    write_atomic(Path(path), (content + "\n").encode())


def load_draw(path: str | Path, root: str | Path) -> datasets.DatasetDict:
    """The drawn images, as :func:`load_images` gives them.

    Raises:
        FileNotFoundError: If an image is not there.
        ValueError: If the file is none of :func:`save_draw`.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != DRAW_FORMAT:
            raise ValueError(content["format"])
        names = list(content["class_names"])
        parts = {split: [(str(p), int(y)) for p, y in content[split]] for split in ("train", "val")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no draw of images ({type(error).__name__}: {error})."
        ) from error
    return datasets.DatasetDict(
        {split: _images(rows, names, Path(root)) for split, rows in parts.items() if rows}
    )


def _images(rows: Sequence[tuple[str, int]], names: list[str], root: Path) -> datasets.Dataset:
    paths = [root / path for path, _ in rows]
    for path in paths:
        if ".." in path.parts or not path.is_file():
            raise FileNotFoundError(f"There is no image {path}: check the root of the images.")
    return datasets.Dataset.from_dict(
        {
            "image": [{"bytes": None, "path": str(path)} for path in paths],
            "label": [label for _, label in rows],
        },
        features=datasets.Features(
            {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=names)}
        ),
    )
