"""Commands about data sets: ``data look`` and ``data draw``."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.builtin import BUILTIN
from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import (
    READING,
    Device,
    Images,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.import_features import import_features
from pyg_graphadapter.cli.output import echo, emit
from pyg_graphadapter.cli.settings import with_options
from pyg_graphadapter.cli.sources import pop_reading
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.optional import MissingPackageError
from pyg_graphadapter.outputs import check_output_file

if TYPE_CHECKING:
    from pyg_graphadapter.data.benchmarks import Check
    from pyg_graphadapter.data.look import Look
    from pyg_graphadapter.data.reading import ImageSet

app = new_app()
app.command("import")(import_features)
SPLITS = ("train", "val", "test")
MEASURED = 8  # images


@app.callback()
def data() -> None:
    """Look at data sets, and draw few shots from them."""


@app.command()
@one_sentence
@with_options(*READING, Reading=ReadOptions)
def look(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images, as in other commands, or the folder that holds the benchmarks' folders.",
            autocompletion=completion.data,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Encoder whose time is measured on a few images: a folder, an id on the Hugging "
            "Face hub, or builtin; none measures nothing.",
            autocompletion=completion.models,
        ),
    ] = BUILTIN,
    device: Device = "auto",
    options: dict[str, Any] | None = None,
) -> None:
    """Show how images are read before any work: splits, classes, sizes, duplicates, what is left
    out, what will be asked, and how long encoding takes here. Or show which benchmarks a folder
    holds.

    For benchmarks, shows what is complete, what is missing, and where the missing files belong.

    --json prints the same as "splits", "classes", "left_out", "notes", "encoding" and others; of
    benchmarks, "benchmarks" with "name", "folder", "images", "problem" and "is_complete".

    Example: graphadapter data look photos
    """
    reading = pop_reading(options or {})

    from pyg_graphadapter.data import check_benchmarks, read_images
    from pyg_graphadapter.data.look import look_at
    from pyg_graphadapter.feature_file import is_feature_file

    if is_feature_file(path):
        raise ValueError(f"{path} is a feature file, which has no images: give images.")
    silence_libraries()
    checks = check_benchmarks(path) if Path(path).is_dir() else []
    is_empty = bool(checks) and not any(Path(path).iterdir())
    if is_empty or any(check.folder.exists() for check in checks):
        emit({"benchmarks": [_check_entry(check) for check in checks]}, _check_lines(checks))
        if not any(check.is_complete for check in checks):
            raise typer.Exit(1)
        return
    images = read_images(path, reading)
    seen = look_at(images, path)
    seconds, untimed = _seconds(images, model, device)
    lines = [*_look_lines(seen), *_encoding_lines(seen, model, seconds, untimed)]
    encoding = {"model": model, "seconds": seconds, "reason": untimed}
    emit({**asdict(seen), "encoding": encoding}, lines)


def _seconds(images: "ImageSet", model: str, device: str) -> tuple[float | None, str]:
    """How long it takes to encode all images with a model, or why that was not measured."""
    if model == "none":
        return None, ""
    from pyg_graphadapter.data.look import sample
    from pyg_graphadapter.encoding.estimate import seconds_per_image

    try:
        encoder = EncodingConfig(cache=False).load(model, device)
        seconds = seconds_per_image(encoder, sample(images.splits, MEASURED))
    except (ValueError, OSError, MissingPackageError) as error:
        if model != BUILTIN:
            raise
        return None, str(error)
    if seconds is None:
        return None, "none of a few images can be read."
    return round(seconds * sum(map(len, images.splits.values())), 2), ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _encoding_lines(seen: "Look", model: str, seconds: float | None, reason: str) -> Iterator[str]:
    if seconds is not None:
        takes = f"takes about {_duration(seconds)} here with {model}"
        yield visible(f"Encoding {sum(seen.splits.values())} images {takes}.")
    elif reason:
        yield visible(f"How long encoding takes was not measured: {reason}")


def _check_entry(check: "Check") -> dict[str, Any]:
    return {**asdict(check), "folder": str(check.folder), "is_complete": check.is_complete}


def _check_lines(checks: "list[Check]") -> Iterator[str]:
    yield (f"{'benchmark':16} {'classes':>7} {'train':>8} {'val':>7} {'test':>7}  state")
    for check in checks:
        train, val, test = (str(check.images.get(split, "-")) for split in SPLITS)
        state = "complete" if check.is_complete else "see below"
        yield (
            f"{check.name:16} {check.num_classes or '-':>7} {train:>8} {val:>7} {test:>7}  {state}"
        )
    for check in checks:
        if not check.is_complete:
            yield visible(f"{check.name} (in {check.folder}): {check.problem}")


def _look_lines(seen: "Look") -> Iterator[str]:
    from pyg_graphadapter.data.look import look_lines
    from pyg_graphadapter.features import counted

    names = [visible(c.name) for c in seen.classes]
    splits = [f"{split}: {counted(count, 'image')}" for split, count in seen.splits.items()]
    yield f"{len(names)} classes. {', '.join(splits)}."
    width = max(len("class"), *map(len, names))
    yield " ".join([f"{'class':{width}}", *(f"{split:>7}" for split in seen.splits), " file"])
    for name, c in zip(names, seen.classes, strict=True):
        file = visible(Path(c.example).name)
        yield " ".join([f"{name:{width}}", *(f"{n:>7}" for n in c.counts.values()), f" {file}"])
    yield from map(visible, look_lines(seen))


@app.command()
@one_sentence
@with_options(*READING, Reading=ReadOptions)
def draw(
    path: Images,
    out: Annotated[Path, typer.Option(help="File to write, .json.")],
    shots: Annotated[int, typer.Option(help="Images per class.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 1,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder to which the paths in the file are relative.",
            show_default="IMAGES, or the folder of the list",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Draw a few images per class, and write their paths and labels to a file.

    Other commands accept the file in the place of images.

    --json prints "out", "classes", "images" by split, "shots" and "seed".

    Example: graphadapter data draw photos --shots 4 --out draw.json
    """
    reading = pop_reading(options or {})

    from pyg_graphadapter.data import make_draw, read_images, save_draw, summary_lines

    if out.exists() and not overwrite:
        raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
    check_output_file(out)
    silence_libraries()
    read = read_images(path, reading)
    for line in summary_lines(read, path):
        echo(line, err=True)
    images = read.splits
    if root is None:
        root = Path(path) if Path(path).is_dir() else Path(path).parent
    drawn = make_draw(images, root, shots, seed)
    save_draw(drawn, out, root)
    further = f" and {len(drawn.val)} validation" if drawn.val else ""
    echo(
        f"Wrote {out}: {len(drawn.train)} training{further} images of {len(drawn.class_names)} "
        f"classes."
    )
    emit(
        {
            "out": str(out),
            "classes": list(drawn.class_names),
            "images": {"train": len(drawn.train), "val": len(drawn.val)},
            "shots": shots,
            "seed": seed,
        }
    )
