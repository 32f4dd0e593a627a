"""The command ``encode``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    READING,
    Data,
    Descriptions,
    Device,
    Model,
    Templates,
    new_app,
    one_sentence,
    show_skipped,
)
from pyg_graphadapter.cli.output import echo, emit
from pyg_graphadapter.cli.settings import with_options
from pyg_graphadapter.cli.sources import open_data, pop_encoding, pop_reading
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.outputs import check_output_file

app = new_app()
OPTIONS = (
    "revision", "dtype", "views", "view_seed", "encode_batch_size", "workers", "shard_images",
    "cache", "cache_dir", "strict", "offline", "descriptions_weight",
)  # fmt: skip


@app.command()
@one_sentence
@with_options(*OPTIONS, *READING, Reading=ReadOptions, Images=EncodingConfig)
def encode(
    data: Data,
    out: Annotated[Path, typer.Option(help="Feature file to write, .npz or .safetensors.")],
    model: Model = None,
    template: Templates = None,
    descriptions: Descriptions = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Encode images and class names to a feature file.

    A stopped run continues where it stopped, since features are kept in the cache. Several
    processes can share the work, on one machine or on several with a common cache folder:
    torchrun --nproc-per-node 8 -m pyg_graphadapter encode …

    --json prints "out", "classes", "images" by split, and "skipped": the reason by file.

    Example: graphadapter encode photos --model openai/clip-vit-base-patch16 --out photos.npz
    """
    options = options or {}
    reading = pop_reading(options)
    config = pop_encoding(options, template, descriptions)

    from pyg_graphadapter.encoding.distributed import this_process
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.feature_file import SPLITS, check_feature_path

    check_feature_path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
    check_output_file(out)
    with this_process(device) as process:
        source = open_data(
            data, model, config, reading, is_announced=process.index == 0, device=device
        )
        if not isinstance(source, ImageSource):
            raise ValueError(f"{data} is a feature file already: give images.")
        if process.count > 1:
            source.dataset_encoder.fill_cache(source.labelled, process)
            process.wait()
        if process.index > 0:
            return
        features = source.features()
    features.save(out)
    show_skipped(source)
    written = {split: getattr(features, split) for split in SPLITS}
    counts = {split: len(images) for split, images in written.items() if images}
    listed = ", ".join(f"{count} {split}" for split, count in counts.items())
    echo(f"Wrote {out}: {len(features.class_names)} classes, images: {listed}.")
    emit(
        {
            "out": str(out),
            "classes": list(features.class_names),
            "images": counts,
            "skipped": source.dataset_encoder.summary.skipped,
        }
    )
