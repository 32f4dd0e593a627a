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
    echo,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.outputs import check_output_file

Key = Annotated[str | None, typer.Option(metavar="KEY", help="Array, by its key or file name.")]


@one_sentence
def import_features(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Files: .npy, .npz, .safetensors, .pt, .parquet, .arrow, .feather."),
    ],
    out: Annotated[Path, typer.Option(help="Feature file to write, .npz or .safetensors.")],
    train_features: Key = None,
    train_labels: Key = None,
    val_features: Key = None,
    val_labels: Key = None,
    test_features: Key = None,
    test_labels: Key = None,
    text_features: Key = None,
    class_names: Key = None,
    model: Model = None,
    template: Templates = None,
    logit_scale: LogitScale = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Make a feature file of features that you have.

    Arrays are known by their usual names or given by key. A .pt file is a pickle, and is read by
    this command alone: torch's weights_only unpickles tensors and runs nothing (torch 2.10 or
    later; earlier versions had holes).

    Example: graphadapter data import train.npz test.npz --train-labels y --out f.npz
    """
    from pyg_graphadapter import importing
    from pyg_graphadapter.feature_file import check_feature_path

    check_feature_path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
    check_output_file(out)
    keys: dict[str, Any] = {
        "train_features": train_features, "train_labels": train_labels,
        "val_features": val_features, "val_labels": val_labels,
        "test_features": test_features, "test_labels": test_labels,
        "text_features": text_features, "class_names": class_names,
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
            raise ValueError("The sources have text features already: leave out --model.")
        silence_libraries()
        config = EncodingConfig(templates=tuple(template)) if template else EncodingConfig()
        file = with_texts_of(file, model, config, device)
    file.save(out)
    for line in imported.lines:
        echo(line)
    echo("texts: none" if file.text is None else f"texts: {len(file.text)} classes")
    echo(f"Wrote {out}: {file}.")
