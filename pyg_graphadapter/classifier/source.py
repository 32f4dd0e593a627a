"""Where the features come from that a classifier is fitted on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import (
    FileSource,
    Source,
    load_encoder,
    refuse_descriptions,
    with_missing_texts,
)
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel


def source_of(
    data: Any,
    model: "str | Path | EncoderModel | None",
    encoding: EncodingConfig | None,
    device: str,
    options: ReadOptions,
    *,
    progress: bool,
    min_classes: int = 2,
) -> Source:
    """The source that data is, or a source of the features or images that it holds."""
    if isinstance(data, Source | FeatureFile) or is_feature_file(data):
        options.refuse("features and sources that are open already")
    if isinstance(data, Source):
        if encoding is not None and data.encoding is None:
            refuse_descriptions(encoding, data.name)
        return data
    if isinstance(data, FeatureFile) or is_feature_file(data):
        name = "the feature file" if isinstance(data, FeatureFile) else Path(data).name
        file = data if isinstance(data, FeatureFile) else FeatureFile.load(data)
        return FileSource(with_missing_texts(file, name, model, encoding, device), name)
    from pyg_graphadapter.data.load import read_images  # loads datasets
    from pyg_graphadapter.encoding.image_source import ImageSource  # loads transformers

    name = Path(data).name if isinstance(data, str | Path) else "images"
    images = read_images(data, options, min_classes=min_classes)  # before the encoder is loaded
    images.reading.tell(name)
    encoder = load_encoder(model, encoding or EncodingConfig(), device)
    return ImageSource(images, encoder, encoding, progress=progress, name=name)
