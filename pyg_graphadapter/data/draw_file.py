"""Few-shot draws as JSON files that can be shared."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, TypeAlias

import datasets

from pyg_graphadapter.data.draw import few_shot
from pyg_graphadapter.data.folder import Links
from pyg_graphadapter.data.image_dataset import image_dataset
from pyg_graphadapter.display import json_text
from pyg_graphadapter.features import MAX_VALIDATION_SHOTS
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.storage import FileKind, Length, Within, read, write_output
from pyg_graphadapter.storage.read import parse_json

DRAW_FORMAT = "pyg_graphadapter/draw/1"
DrawRow: TypeAlias = tuple[Annotated[str, Length(1, 4096)], Annotated[int, Within(0)]]


@dataclass(frozen=True)
class Draw:
    """The images of a few-shot draw.

    Args:
        shots (int): Images per class.
        seed (int): The seed of the draw.
        class_names (tuple of str): The classes.
        train (tuple): Path, relative to the root, and label of every training image.
        val (tuple): Path and label of every validation image, at most four per class.
    """

    shots: Annotated[int, Within(1)]
    seed: int
    class_names: Annotated[tuple[str, ...], Length(2)]
    train: Annotated[tuple[DrawRow, ...], Length(1)]
    val: tuple[DrawRow, ...]


@dataclass(frozen=True)
class DrawContent(Draw):
    """What a file of :func:`save_draw` holds: a draw, and the root of its images."""

    root: str = "."


@dataclass(frozen=True)
class AnyDraw:
    """What a draw of any version holds."""

    format: str


DRAW_FILE: FileKind[DrawContent] = FileKind(
    "draw of images",
    DrawContent,
    "Write it again with 'graphadapter data draw'",
    formats=(DRAW_FORMAT,),
    parse=parse_json,
)
ANY_DRAW: FileKind[AnyDraw] = FileKind("draw of images", AnyDraw, "", parse=parse_json)


def make_draw(images: datasets.DatasetDict, root: str | Path, shots: int, seed: int) -> Draw:
    """Draws a few images per class from files below a root.

    Raises:
        ValueError: If a class has too few images, or an image is not a file below the root.
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
        path = image["path"]
        if not path or image["bytes"] is not None or not Path(path).is_relative_to(root):
            raise ValueError(
                f"The image {path!r} is not a file below {root} (with a name that is UTF-8): a "
                f"draw lists such files alone."
            )
        rows.append((Path(image["path"]).relative_to(root).as_posix(), int(label)))
    return tuple(rows)


def save_draw(draw: Draw, path: str | Path, root: str | Path | None = None) -> None:
    """Writes a draw.

    Args:
        draw (Draw): The draw.
        path (str or Path): The file to write.
        root (str or Path, optional): The root of the images. If given, the file records it relative
            to its own folder. (default: :obj:`None`)
    """
    check_output_file(path)
    content = {"format": DRAW_FORMAT, **asdict(draw)}
    if root is not None:
        folder = Path(path).resolve().parent
        content["root"] = Path(os.path.relpath(Path(root).resolve(), folder)).as_posix()
    text = json_text(content, indent=1)
    write_output(path, (text + "\n").encode())


def is_draw(path: Path) -> bool:
    """Whether a JSON file is a draw of :func:`save_draw`, of this version or another."""
    try:
        return read(path, ANY_DRAW).format.startswith(DRAW_FORMAT.rpartition("/")[0])
    except (OSError, ValueError):
        return False


def load_draw(
    path: str | Path, root: str | Path | None = None, *, follow_links: bool = False
) -> datasets.DatasetDict:
    """Loads the drawn images as :func:`load_images` does.

    Args:
        path (str or Path): A file of :func:`save_draw`.
        root (str or Path, optional): The root of the images. If not given, the root that the file
            records, or the folder of the file. (default: :obj:`None`)
        follow_links (bool, optional): Follow links that lead out of the root.
            (default: :obj:`False`)

    Raises:
        FileNotFoundError: If an image does not exist below the root.
        ValueError: If the file was not written by :func:`save_draw`, or a path leads out of the
            root.
    """
    draw = read(path, DRAW_FILE)
    if _is_absolute(draw.root):
        raise DRAW_FILE.error(Path(path), f"its root {draw.root!r} is absolute")
    largest = max(label for _, label in (*draw.train, *draw.val))
    if largest >= len(draw.class_names):
        raise DRAW_FILE.error(
            Path(path), f"it has the label {largest} and {len(draw.class_names)} class names"
        )
    folder = Path(path).parent / draw.root if root is None else Path(root)
    return datasets.DatasetDict(
        {
            split: _load_rows(rows, draw.class_names, folder, str(path), follow_links=follow_links)
            for split, rows in (("train", draw.train), ("val", draw.val))
            if rows
        }
    )


def _load_rows(
    rows: Sequence[tuple[str, int]],
    names: Sequence[str],
    root: Path,
    file: str,
    *,
    follow_links: bool,
) -> datasets.Dataset:
    links = Links(root, follow=follow_links)
    for name, _ in rows:
        path = root / name
        if _is_absolute(name) or _leads_up(name) or not (follow_links or links.is_inside(path)):
            raise ValueError(
                f"{file} has the path {name!r}, which leads out of the root {root}: a draw has "
                f"paths below its root alone."
            )
        if not path.is_file():
            raise FileNotFoundError(f"There is no image {path}: check the root of the images.")
    return image_dataset([root / path for path, _ in rows], [label for _, label in rows], names)


def _is_absolute(path: str) -> bool:
    """Whether a path is absolute here or on Windows, or begins with a drive."""
    windows = PureWindowsPath(path)
    return PurePosixPath(path).is_absolute() or bool(windows.drive or windows.root) or "\0" in path


def _leads_up(path: str) -> bool:
    return ".." in PurePosixPath(path).parts or ".." in PureWindowsPath(path).parts
