"""The command ``export``."""

from pathlib import Path
from typing import Annotated

import typer

from pyg_graphadapter.cli.arguments import (
    Device,
    Import,
    as_fault_of,
    as_usage_error,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.output import echo, emit

app = new_app()


@app.command()
@one_sentence
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved classifier.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, or folder.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="onnx, onnx-head, safetensors, transformers (a folder), open_clip, torch, numpy.",
            show_default="by the suffix: .onnx, .safetensors, .pt (open_clip), .pt2 (torch), .npz",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Do not download a model.")] = False,
    import_: Import = None,
) -> None:
    """Write a classifier for other libraries, which need nothing of this package.

    onnx holds the image tower with the classifier, or of a classifier of features the latter
    alone, as onnx-head. safetensors and numpy hold class weights, biases, scale, temperature and
    names. transformers is a folder with a script. open_clip is the matrix of its zero-shot
    classifier. torch is a program for torch.export.load.

    --json prints "path", "format" and "classes".

    Example: graphadapter export my-classifier classifier.safetensors
    """
    from pyg_graphadapter.classifier.export_formats import FORMATS, check_target, format_of
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

    with as_usage_error():
        name = format_of(out, format)
    check_target(out, name, overwrite=overwrite)
    classifier = FewShotClassifier.load(folder)
    if classifier.encoding and FORMATS[name].takes_encoder:
        silence_libraries()
        if name != "safetensors":
            classifier.load_encoder(device, offline=offline)
    with as_fault_of(classifier.method):
        classifier.export(out, name, overwrite=overwrite)
    echo(f"Wrote {out}: {len(classifier.class_names)} classes by {classifier.method}, as {name}.")
    emit({"path": str(out), "format": name, "classes": list(classifier.class_names)})
