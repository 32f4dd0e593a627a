"""The images of scikit-learn's X, and the encoders of estimators, which are loaded once."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from pyg_graphadapter.data.columns import usual_columns
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder
from pyg_graphadapter.encoding.image_list import IMAGES, image_list, is_column, is_image
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.encoding.pipeline import pipeline_of
from pyg_graphadapter.encoding.sources import load_encoder

Model: TypeAlias = "str | Path | EncoderModel"

KEPT = 2  # encoders of the last fits

_encoders: OrderedDict[Hashable, DatasetEncoder] = OrderedDict()


def encoder_of(model: Model, encoding: EncodingConfig | None, device: str) -> DatasetEncoder:
    """The encoder of images and class names. That of the same model and configuration is the same
    in all fits of a process, so that a search loads it once and encodes the class names once.

    Raises:
        ValueError: If it cannot be loaded, or images are to have several views.
    """
    encoding = encoding or EncodingConfig()
    if encoding.views != 1:
        raise ValueError(
            f"Images have one view in scikit-learn (got views={encoding.views}): leave 'views' out "
            f"of the encoding, or use FewShotClassifier."
        )
    key = _key(model, encoding, device)
    if key not in _encoders:
        _encoders[key] = DatasetEncoder(load_encoder(model, encoding, device), encoding)
    _encoders.move_to_end(key)
    while len(_encoders) > KEPT:
        _encoders.popitem(last=False)
    return _encoders[key]


def _key(model: Model, encoding: EncodingConfig, device: str) -> Hashable:
    names = [field.name for field in fields(encoding) if field.name != "descriptions"]
    values = [str(getattr(encoding, name)) for name in names]
    described = encoding.describe().get("descriptions")
    if not isinstance(model, str | Path):
        return model, device, described, *values
    # A folder may be written anew in the meantime:
    stamps = [path.stat().st_mtime_ns for path in sorted(Path(model).rglob("*"))]
    return str(model), device, described, *values, *stamps


def encoded(
    images: Sequence[Any], encoder: DatasetEncoder, digests: list[bytes] | None = None
) -> torch.Tensor:
    """Features of length one ``[N, D]``; those in the cache are not computed again.

    Raises:
        ValueError: If an image cannot be decoded, naming its place.
    """
    config = encoder.config
    result = pipeline_of(encoder.encoder, config).encode(
        images, cache=config.cache_folder(), digests=digests, progress=False
    )
    if result.skipped:
        first = min(result.skipped)
        raise ValueError(
            f"{len(result.skipped)} of the {len(images)} images in X cannot be decoded, the first "
            f"of them at index {first} ({visible(result.skipped[first])}): leave them out, with "
            f"their labels."
        )
    return result.x[:, 0]


def images_of(X: Any) -> Sequence[Any]:  # noqa: N803
    """The images of an X: a list or column of paths, PIL images, encoded bytes or arrays.

    Raises:
        ValueError: If it is something else, or a data frame with several columns and no usual one.
    """
    if hasattr(X, "columns"):
        names = list(map(str, X.columns))
        usual = names if len(names) == 1 else usual_columns(names, "image")
        if len(usual) != 1:
            raise ValueError(
                f"X must have one column of images (got the columns {', '.join(names)}): choose "
                f"it, as X['path']."
            )
        X = X.iloc[:, names.index(usual[0])]  # noqa: N806
    if hasattr(X, "iloc") or (isinstance(X, np.ndarray) and X.dtype.kind in "OUT"):
        X = np.asarray(X, dtype=object).reshape(-1).tolist()  # noqa: N806
    if isinstance(X, str | Path | bytes) or (is_image(X) and not isinstance(X, np.ndarray)):
        raise ValueError("X must be a list of images (got one image): give [image].")
    if isinstance(X, np.ndarray) and X.dtype == np.uint8 and X.ndim == 4:
        return list(image_list(X))
    if not is_column(X) and (isinstance(X, np.ndarray) or not isinstance(X, Iterable)):
        raise ValueError(
            f"X must be a list of images: {IMAGES} (got {type(X).__name__}). For features use "
            f"GraphAdapterClassifier."
        )
    return image_list(X)
