"""From the arguments of a command to its features."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pyg_graphadapter.cli.arguments import silence_libraries
from pyg_graphadapter.cli.settings import pop_config
from pyg_graphadapter.data.descriptions import descriptions_of
from pyg_graphadapter.encoding.config import EncodingConfig

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.encoding.model import EncoderModel
    from pyg_graphadapter.encoding.sources import FileSource


def pop_encoding(
    options: dict[str, Any], templates: list[str] | None, descriptions: Path | None = None
) -> EncodingConfig:
    """How to encode images, from the options of its fields, which are removed."""
    if descriptions is None and "descriptions_weight" in options:
        raise typer.BadParameter(
            "--descriptions-weight is the weight of descriptions: give --descriptions, too."
        )
    filled: dict[str, Any] = {"templates": tuple(templates)} if templates else {}
    filled["descriptions"] = descriptions_of(descriptions)
    return pop_config(EncodingConfig, options, **filled)


def open_data(
    data: str | Path,
    model: "str | EncoderModel | None",
    encoding: EncodingConfig,
    *,
    follow_links: bool = False,
    **settings: Any,
) -> "FileSource | ImageSource":
    """A feature file, or images with their encoder
    (:func:`~pyg_graphadapter.encoding.sources.open_source`)."""
    from pyg_graphadapter.encoding.sources import open_source
    from pyg_graphadapter.feature_file import is_feature_file

    if is_feature_file(data):
        return open_source(data, model, encoding, **settings)
    silence_libraries()
    if not follow_links:
        return open_source(data, model, encoding, **settings)
    return _open_linked(data, model, encoding, **settings)


def _open_linked(
    data: str | Path,
    model: "str | EncoderModel | None",
    encoding: EncodingConfig,
    *,
    device: str = "auto",
    logit_scale: float | None = None,
) -> "ImageSource":
    """Images, also those that links lead to."""
    from pyg_graphadapter.data import load_images
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.encoding.sources import load_encoder

    images = load_images(data, follow_links=True)
    encoder = load_encoder(model, encoding, device)
    return ImageSource(images, encoder, encoding, logit_scale=logit_scale, name=Path(data).name)
