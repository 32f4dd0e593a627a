"""From the arguments of a command to its features."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pyg_graphadapter.cli.arguments import silence_libraries
from pyg_graphadapter.cli.output import echo
from pyg_graphadapter.cli.settings import pop_config
from pyg_graphadapter.cli.variables import is_general, variable_of
from pyg_graphadapter.data.descriptions import descriptions_of
from pyg_graphadapter.data.reading import ReadOptions
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


def pop_reading(options: dict[str, Any]) -> ReadOptions:
    """How to read images, from the options of its fields, which are removed."""
    return pop_config(ReadOptions, options)


def open_data(
    data: str | Path,
    model: "str | EncoderModel | None",
    encoding: EncodingConfig,
    reading: ReadOptions | None = None,
    *,
    is_announced: bool = True,
    **settings: Any,
) -> "FileSource | ImageSource":
    """A feature file, or images with their encoder
    (:func:`~pyg_graphadapter.encoding.sources.open_source`). What was read of images is shown on
    the error stream before they are encoded."""
    from pyg_graphadapter.encoding.sources import open_source
    from pyg_graphadapter.feature_file import is_feature_file

    if not is_feature_file(data):
        silence_libraries()
    announce = partial(echo, err=True) if is_announced else _say_nothing
    return open_source(data, model, encoding, options=reading, announce=announce, **settings)


def model_for(ctx: typer.Context, data: str, model: str | None) -> str | None:
    """The model of a command, but for feature files not that of ``GRAPHADAPTER_MODEL``: whether
    texts by it fit their features, only the command line can say."""
    if not is_general(variable_of(ctx, "model")):
        return model
    from pyg_graphadapter.feature_file import is_feature_file  # loads torch

    return None if is_feature_file(data) else model


def _say_nothing(line: str) -> None:
    """Stands for what shows a line, in a process beside the one that does."""
