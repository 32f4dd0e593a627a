"""How long images take to encode, measured on a few of them."""

import time
from collections.abc import Sequence
from typing import Any

from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.encoding.pipeline import pipeline_of


def seconds_per_image(
    encoder: EncoderModel, images: Sequence[Any], config: EncodingConfig | None = None
) -> float | None:
    """The time that one of the images takes on average; none if no image can be read. The first is
    encoded once before, and nothing is cached.

    Args:
        encoder (EncoderModel): The encoder.
        images (sequence): A few images.
        config (EncodingConfig, optional): How to encode. (default: :obj:`None`)
    """
    config = config or EncodingConfig()
    pipeline = pipeline_of(encoder, config)
    pipeline.encode(images[:1], config.views, config.view_seed, progress=False)
    start = time.perf_counter()
    encoded = pipeline.encode(images, config.views, config.view_seed, progress=False)
    seconds = time.perf_counter() - start
    return seconds / encoded.num_encoded if encoded.num_encoded else None
