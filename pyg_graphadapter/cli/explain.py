"""The command ``explain``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    Device,
    FollowLinks,
    Import,
    as_fault_of,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.output import emit
from pyg_graphadapter.display import visible

if TYPE_CHECKING:
    from torch import Tensor

    from pyg_graphadapter.classifier.explanation import Explanation
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.reasons import Reason

app = new_app()


@app.command()
@one_sentence
def explain(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved classifier.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGES…", help="Images and folders of images, or a feature file."),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Explain this class; of images, compare the likeliest class with it.",
        ),
    ] = None,
    row: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Row of a feature file, counted from 0. May be repeated.",
            show_default="all rows",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of a feature file.", show_default="'features', else test, val, train"
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also show the numbers that the words stand on.")
    ] = False,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Do not download a model.")] = False,
    follow_links: FollowLinks = False,
    import_: Import = None,
) -> None:
    """Say in words why images are classified as they are, or what the classifier makes of a class.

    What speaks for the likeliest class, and what against the next one: the class names, the
    examples, and what was learned from them. With --details, the numbers that add up to it.

    --json prints a list with "image" (or "index"), "words", "class_name", "probability", "rival",
    "rival_probability", "lead", "parts" (which add up to the lead), "example" and "name" per image;
    of a class, "class_name", "words", "contributions", "total" and "unit". --details adds
    "contributions" to images.

    Example: graphadapter explain my-classifier holiday/*.jpg --details
    """
    if not data and class_name is None:
        raise typer.BadParameter(
            "There is nothing to explain: give images, a feature file, or --class."
        )
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

    classifier = FewShotClassifier.load(folder)
    classifier.check_class(class_name)
    with as_fault_of(classifier.method):
        if not data:
            explanation = classifier.explain(class_name=class_name)
            emit(explanation.as_dict(), _class_lines(explanation, details=details))
            return
        places, x = _features(
            classifier, data, row, split, device, offline=offline, follow_links=follow_links
        )
        reasons = classifier.reasons(x, class_name)
        tables = _tables(classifier, x, reasons, class_name) if details else [None] * len(reasons)
    entries = [
        {**_place(place), **reason.as_dict(), **({} if table is None else _numbers(table))}
        for place, reason, table in zip(places, reasons, tables, strict=True)
    ]
    emit(entries, _image_lines(places, reasons, tables))


def _features(
    classifier: "FewShotClassifier",
    data: Sequence[Path],
    rows: Sequence[int] | None,
    split: str | None,
    device: str,
    *,
    offline: bool,
    follow_links: bool,
) -> "tuple[list[str | int], Tensor]":
    """The features of images ``[N, D]``, and where each of them comes from."""
    from pyg_graphadapter.feature_file import is_feature_file, read_images

    if is_feature_file(data[0]):
        if len(data) > 1:
            raise ValueError(f"Give one feature file, or images (got {len(data)} paths).")
        x, _, _ = read_images(data[0], split)
        index = list(range(len(x))) if rows is None else list(rows)
        if index and max(index) >= len(x):
            raise ValueError(
                f"There is no row {max(index)} in {data[0]}: it has {len(x)} rows, counted from 0."
            )
        return list(index), x[index]
    if rows is not None or split is not None:
        raise ValueError("--row and --split belong to a feature file: leave them out for images.")
    for path in data:
        if not path.exists():
            raise FileNotFoundError(f"There is no image or folder {path}: check the path.")
    from pyg_graphadapter.data import list_images  # loads datasets

    silence_libraries()
    files = list(list_images(data, follow_links=follow_links))
    classifier.load_encoder(device, offline=offline)
    return [str(file) for file in files], classifier.encode(files)


def _tables(
    classifier: "FewShotClassifier",
    x: "Tensor",
    reasons: "Sequence[Reason]",
    class_name: str | None,
) -> "list[Explanation | None]":
    """What the logit of every image adds up from; of images that are classified together, none."""
    if classifier.adapter.is_transductive:
        return [None] * len(reasons)
    return [classifier.explain(image, class_name) for image in x]


def _place(place: str | int) -> dict[str, Any]:
    return {"index": place} if isinstance(place, int) else {"image": place}


def _numbers(table: "Explanation") -> dict[str, Any]:
    content = table.as_dict()
    return {name: content[name] for name in ("contributions", "total", "unit")}


def _image_lines(
    places: "Sequence[str | int]",
    reasons: "Sequence[Reason]",
    tables: "Sequence[Explanation | None]",
) -> Iterator[str]:
    for place, reason, table in zip(places, reasons, tables, strict=True):
        yield f"{visible(place)}\t{reason.words}"
        if table is not None:
            yield from _indented(reason.table())
            yield from _indented(visible_table(table))


def _class_lines(explanation: "Explanation", *, details: bool) -> Iterator[str]:
    yield explanation.words
    if details:
        yield from _indented(visible_table(explanation))


def visible_table(explanation: "Explanation") -> str:
    """The table of an explanation, in which names are visible."""
    return "\n".join(visible(line) for line in explanation.table().splitlines())


def _indented(table: str) -> Iterator[str]:
    yield from (f"    {line}" for line in table.splitlines())
