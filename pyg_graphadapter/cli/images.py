"""Commands that begin with images: ``demo`` and ``encode``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    Data,
    Device,
    Model,
    Templates,
    one_sentence,
    show_skipped,
    take,
    take_encoding,
)
from pyg_graphadapter.cli.settings import with_settings
from pyg_graphadapter.demo import run_demo
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.distributed import this_process
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import open_source
from pyg_graphadapter.feature_file import check_feature_path
from pyg_graphadapter.report.tables import markdown_table
from pyg_graphadapter.training.config import TrainConfig


@one_sentence
def demo(
    out: Annotated[Path, typer.Option(help="Folder for result files and pictures.")] = Path(
        "graphadapter-demo"
    ),
    device: Device = "auto",
) -> None:
    """Show what a few labelled images bring, on the model and the images that are built in.

    Measures zero-shot and GraphAdapter at 1 to 16 images a class, three draws each; prints a table
    and draws the curve and some pictures with their predictions. Nothing is downloaded.

    Example: graphadapter demo
    """
    found = run_demo(out, config=take(TrainConfig, {"device": device}))
    typer.echo(f"{len(found.class_names)} classes, {found.num_images} test images.\n")
    typer.echo(markdown_table(found.rows))
    typer.echo(f"\nCurve: {found.curve}\nPictures with their predictions: {found.examples}")


@one_sentence
@with_settings("templates", Images=EncodingConfig)
def encode(
    data: Data,
    out: Annotated[Path, typer.Option(help="Feature file to write, .npz or .safetensors.")],
    model: Model = None,
    template: Templates = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Encode images and class names once, to a feature file.

    Goes on where it was stopped: features are kept in the cache. Several processes, on one machine
    or on many that share the cache's folder, each do a part:
    torchrun --nproc-per-node 8 -m pyg_graphadapter encode …

    Example: graphadapter encode photos --model openai/clip-vit-base-patch16 --views 10 --out f.npz
    """
    config = take_encoding(settings or {}, template)
    check_feature_path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
    with this_process(device) as process:
        source = open_source(data, model, config, device=device)
        if not isinstance(source, ImageSource):
            raise ValueError(f"{data} is a feature file already: give images.")
        if process.count > 1:
            source.dataset_encoder.fill_cache(source.splits, process)
            process.wait()
        if process.index > 0:
            return
        features = source.features()
    features.save(out)
    show_skipped(source)
    splits = ", ".join(f"{len(source.splits[split])} {split}" for split in source.splits)
    typer.echo(f"Wrote {out}: {len(features.class_names)} classes, images: {splits}.")
