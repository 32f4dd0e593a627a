"""Where the features come from that a classifier is fitted on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import FileSource, Source, load_encoder, refuse_descriptions
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel


def source_of(
    data: Any,
    model: "str | Path | EncoderModel | None",
    encoding: EncodingConfig | None,
    device: str,
    *,
    progress: bool,
) -> Source:
    """The source that data is, or a source of the features or images that it holds."""
    source: Source | None = data if isinstance(data, Source) else None
    if is_feature_file(data):
        source = FileSource(FeatureFile.load(data), Path(data).name)
    if isinstance(data, FeatureFile):
        source = FileSource(data, "features")
    if source is not None:
        if encoding is not None and source.encoding is None:
            refuse_descriptions(encoding, source.name)
        return source
    from pyg_graphadapter.data.load import check_has_labels  # loads datasets
    from pyg_graphadapter.encoding.image_source import ImageSource  # loads transformers

    check_has_labels(data)  # before the encoder is loaded
    encoder = load_encoder(model, encoding or EncodingConfig(), device)
    return ImageSource(data, encoder, encoding, progress=progress)
