"""The command ``predict``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    Device,
    FollowLinks,
    Import,
    as_fault_of,
    echo,
    echo_lines,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.display import encoding_of, json_text, visible

if TYPE_CHECKING:
    from torch import Tensor

    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

app = new_app()


@app.command()
@one_sentence
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved classifier.")],
    data: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES…", help="Images and folders of images, or a feature file."),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of a feature file to classify.",
            show_default="'features', else test, val, train",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be decoded.")
    ] = False,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Do not download a model.")] = False,
    follow_links: FollowLinks = False,
    import_: Import = None,
) -> None:
    """Classify images or features, and print one line per image: label, class name, probability.

    Example: graphadapter predict my-classifier holiday/*.jpg --json
    """
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.feature_file import is_feature_file, read_images

    classifier = FewShotClassifier.load(folder)
    y = None
    if is_feature_file(data[0]):
        if len(data) > 1:
            raise ValueError(f"Give one feature file, or images (got {len(data)} paths).")
        x, y, class_names = read_images(data[0], split)
        if y is not None:
            y = classifier.own_labels(y, class_names)
        names: list[Any] = list(range(len(x)))
    else:
        silence_libraries()
        classifier.load_encoder(device, offline=offline)
        x, names = _encode(classifier, data, strict=strict, follow_links=follow_links)
    with as_fault_of(classifier.method):
        probabilities = classifier.predict_proba(x)
    best = probabilities.topk(min(top, len(classifier.class_names)), dim=1)
    predictions = [
        [
            {"label": label, "class_name": classifier.class_names[label], "probability": p}
            for label, p in zip(labels, values, strict=True)
        ]
        for labels, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    if as_json:
        _print_json(names, predictions, with_top=top > 1)
    else:
        _print_lines(names, predictions)
    if y is not None and len(y):
        accuracy = 100 * float((best.indices[:, 0] == y).float().mean())
        echo(f"Accuracy {accuracy:.2f} % of {len(y)} labelled images.", err=True)


def _encode(
    classifier: "FewShotClassifier", paths: list[Path], *, strict: bool, follow_links: bool
) -> "tuple[Tensor, list[str]]":
    """The features of the images that can be decoded, and their paths."""
    from pyg_graphadapter.data import list_images

    images = list_images(paths, follow_links=follow_links)
    encoded = classifier.encode_images(images, strict=strict)
    for reason in encoded.skipped.values():
        echo(f"Skipped: {reason}", err=True)
    return encoded.x[:, 0], [str(images[i]) for i in encoded.index.tolist()]


def _print_json(
    names: list[Any], predictions: list[list[dict[str, Any]]], *, with_top: bool
) -> None:
    key = "image" if names and isinstance(names[0], str) else "index"
    content = [
        {key: name, **classes[0], **({"top": classes} if with_top else {})}
        for name, classes in zip(names, predictions, strict=True)
    ]
    typer.echo(json_text(content, encoding=encoding_of(sys.stdout)))


def _print_lines(names: list[Any], predictions: list[list[dict[str, Any]]]) -> None:
    for name, classes in zip(names, predictions, strict=True):
        cells = (
            f"{c['label']}\t{visible(c['class_name'])}\t{c['probability']:.4f}" for c in classes
        )
        echo_lines("\t".join([visible(name), *cells]))
