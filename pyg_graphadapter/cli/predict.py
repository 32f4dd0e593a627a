"""The command ``predict``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
from pyg_graphadapter.cli.arguments import Device, one_sentence
from pyg_graphadapter.data import list_images
from pyg_graphadapter.encoding.sources import is_feature_file
from pyg_graphadapter.feature_file import read_images


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
    top: Annotated[int, typer.Option(min=1, help="Classes an image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be decoded.")
    ] = False,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Fetch no model.")] = False,
) -> None:
    """Classify images, or features: a line an image, with label, class name and probability.

    Example: graphadapter predict my-classifier holiday/*.jpg --json
    """
    classifier = FewShotClassifier.load(folder)
    y = None
    if is_feature_file(data[0]):
        if len(data) > 1:
            raise ValueError(f"Give one feature file, or images (got {len(data)} paths).")
        x, y = read_images(data[0], split)
        names: list[Any] = list(range(len(x)))
    else:
        classifier.load_encoder(device, offline=offline)
        images = list_images(data)
        found = classifier.encode_images(images, strict=strict)
        for reason in found.skipped.values():
            typer.echo(f"Skipped: {reason}", err=True)
        x, names = found.x[:, 0], [str(images[i]) for i in found.index.tolist()]
    best = classifier.predict_proba(x).topk(min(top, len(classifier.class_names)), dim=1)
    lines = [
        [
            {"label": label, "class_name": classifier.class_names[label], "probability": p}
            for label, p in zip(labels, probabilities, strict=True)
        ]
        for labels, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    if as_json:
        key = "image" if y is None and names and isinstance(names[0], str) else "index"
        printed = [
            {key: name, **line[0], **({"top": line} if top > 1 else {})}
            for name, line in zip(names, lines, strict=True)
        ]
        typer.echo(json.dumps(printed, ensure_ascii=False))
    else:
        for name, line in zip(names, lines, strict=True):
            cells = (f"{c['label']}\t{c['class_name']}\t{c['probability']:.4f}" for c in line)
            typer.echo("\t".join([str(name), *cells]))
    if y is not None and len(y):
        accuracy = 100 * float((best.indices[:, 0] == y).float().mean())
        typer.echo(f"Accuracy {accuracy:.2f} % of {len(y)} labelled images.", err=True)
