"""Commands about data sets: ``data look`` and ``data draw``."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    READING,
    FollowLinks,
    Images,
    echo,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.import_features import import_features
from pyg_graphadapter.cli.settings import with_options
from pyg_graphadapter.cli.sources import pop_reading
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.display import visible
from pyg_graphadapter.outputs import check_output_file

if TYPE_CHECKING:
    from pyg_graphadapter.data.benchmarks import Check

app = new_app()
app.command("import")(import_features)
SPLITS = ("train", "val", "test")


@app.callback()
def data() -> None:
    """Look at data sets, and draw few shots from them."""


@app.command()
@one_sentence
def look(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images, as in other commands, or the folder that holds the benchmarks' folders.",
        ),
    ],
    follow_links: FollowLinks = False,
) -> None:
    """Show the splits and classes of a data set, or which benchmarks a folder holds.

    For benchmarks, shows what is complete, what is missing, and where the missing files belong.

    Example: graphadapter data look ~/data
    """
    from pyg_graphadapter.data import check_benchmarks, load_images
    from pyg_graphadapter.feature_file import is_feature_file

    if is_feature_file(path):
        raise ValueError(f"{path} is a feature file, which has no images: give images.")
    silence_libraries()
    checks = check_benchmarks(path) if Path(path).is_dir() else []
    is_empty = bool(checks) and not any(Path(path).iterdir())
    if is_empty or any(check.folder.exists() for check in checks):
        _print_checks(checks)
        if not any(check.is_complete for check in checks):
            raise typer.Exit(1)
    else:
        _print_splits(load_images(path, follow_links=follow_links))


def _print_checks(checks: "list[Check]") -> None:
    echo(f"{'benchmark':16} {'classes':>7} {'train':>8} {'val':>7} {'test':>7}  state")
    for check in checks:
        train, val, test = (str(check.images.get(split, "-")) for split in SPLITS)
        state = "complete" if check.is_complete else "see below"
        echo(
            f"{check.name:16} {check.num_classes or '-':>7} {train:>8} {val:>7} {test:>7}  {state}"
        )
    for check in checks:
        if not check.is_complete:
            echo(f"{check.name} (in {check.folder}): {check.problem}")


def _print_splits(images: Any) -> None:
    names = list(map(visible, next(iter(images.values())).features["label"].names))
    counts = {split: Counter(images[split]["label"]) for split in SPLITS if split in images}
    echo(f"{len(names)} classes. " + ", ".join(
        f"{split}: {count.total()} images" for split, count in counts.items()) + ".")  # fmt: skip
    width = max(len("class"), *map(len, names))
    echo(" ".join([f"{'class':{width}}", *(f"{split:>7}" for split in counts)]))
    for label, name in enumerate(names):
        echo(" ".join([f"{name:{width}}", *(f"{c[label]:>7}" for c in counts.values())]))


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
