"""The command ``data import``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    Device,
    LogitScale,
    Model,
    Templates,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.output import echo, emit
from pyg_graphadapter.outputs import check_output_file

Key = Annotated[str | None, typer.Option(metavar="KEY", help="Array, by its key or file name.")]
KeyOrFile = Annotated[
    str | None,
    typer.Option(metavar="KEY|FILE", help="Texts of the classes: a key, or a file of them."),
]
Names = Annotated[
    str | None,
    typer.Option(
        metavar="KEY|FILE",
        help="Class names in the order of the labels: a key, or a file, one name per line (.txt) "
        "or a list (.json).",
    ),
]
Column = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Column that says train, val or test in each row."),
]


@one_sentence
def import_features(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Files: .npy, .npz, .safetensors, .pt, .parquet, .arrow, .feather, .h5."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Feature file to write, .npz or .safetensors.")],
    train_features: Key = None,
    train_labels: Key = None,
    val_features: Key = None,
    val_labels: Key = None,
    test_features: Key = None,
    test_labels: Key = None,
    split_column: Column = None,
    text_features: KeyOrFile = None,
    class_names: Names = None,
    model: Model = None,
    template: Templates = None,
    logit_scale: LogitScale = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Make a feature file of features that you have.

    Arrays are known by their usual names or given by key. The split is in the name of an array, of
    its file (cifar_train.npz) or of a folder, or in a column 'split'. Features and labels of
    different files are paired by folder, name and number (x_2.npy with y_2.npy). Texts of the
    classes are taken from the sources or from a file, or made of the class names by --model, or
    left out.

    A .pt file is a pickle, and is read by this command alone: torch's weights_only unpickles
    tensors and runs nothing (torch 2.10 or later; earlier versions had holes).

    --json prints "out", "classes", "images" by split, "width", "has_texts" and "made_of".

    Example: graphadapter data import train.npz test.npz --class-names names.txt --out f.npz
    """
    from pyg_graphadapter import importing
    from pyg_graphadapter.feature_file import SPLITS, check_feature_path

    check_feature_path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
    check_output_file(out)
    keys: dict[str, Any] = {
        "train_features": train_features, "train_labels": train_labels,
        "val_features": val_features, "val_labels": val_labels,
        "test_features": test_features, "test_labels": test_labels,
        "split": split_column, "text_features": text_features, "class_names": class_names,
    }  # fmt: skip
    names = {key: name for key, name in keys.items() if name is not None}
    imported = importing.import_features(sources, names)
    file = imported.file
    if logit_scale is not None:
        file = replace(file, logit_scale=logit_scale)
    if model is not None:
        from pyg_graphadapter.encoding.config import EncodingConfig
        from pyg_graphadapter.encoding.sources import with_texts_of

        if file.text is not None:
            raise ValueError("There are text features already: leave out --model.")
        silence_libraries()
        config = EncodingConfig(templates=tuple(template)) if template else EncodingConfig()
        file = with_texts_of(file, model, config, device)
    file.save(out)
    for line in imported.lines:
        echo(line)
    echo("texts: none" if file.text is None else f"texts: {len(file.text)} classes")
    echo(f"Wrote {out}: {file}.")
    emit(
        {
            "out": str(out),
            "classes": list(file.class_names),
            "images": {
                split: len(features)
                for split in SPLITS
                if (features := getattr(file, split)) is not None
            },
            "width": file.num_channels,
            "has_texts": file.text is not None,
            "made_of": list(imported.lines),
        }
    )
