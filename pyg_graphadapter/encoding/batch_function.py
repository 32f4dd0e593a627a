"""The features of images in a data set of ``datasets``, batch by batch."""

import json
import os
from collections.abc import Mapping
from typing import Any, Self, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.encoding.pipeline import EncodedImages, pipeline_of

NO_IMAGE = "there is no image"

_pid = os.getpid()  # of the process that imported this module; a forked one has another
_encoders: WeakValueDictionary[str, Any] = WeakValueDictionary()  # by identity
_loaded: dict[str, EncoderModel] = {}  # in a process that has none of them


class EncodeBatch:
    """Adds the columns ``features`` and ``reason`` to batches of images.

    It is a function for ``dataset.map(…, batched=True)``, in one or several processes. It is
    pickled as the identity of the encoder, so that ``datasets`` recognises it and takes its results
    from the cache, and a forked process does not load the encoder again.

    Args:
        encoder (EncoderModel): The encoder.
        image_column (str, optional): The column of images. (default: :obj:`"image"`)

    Raises:
        ValueError: When it is called, if there is no such column, or there are the columns that it
            adds.
    """

    def __init__(self, encoder: EncoderModel, image_column: str = "image") -> None:
        self.encoder, self.image_column = encoder, image_column
        self.identity = json.dumps(encoder.identity(), sort_keys=True)
        _encoders[self.identity] = encoder

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The new columns of a batch: the features ``[D]`` of each image, not a number where it
        cannot be decoded, with the reason, which is empty otherwise."""
        images = images_in(batch, self.image_column, ("features", "reason"))
        check_process(self.encoder)
        encoded = encoded_column(self.encoder, images)
        return {
            "features": in_rows(encoded.x[:, 0], encoded.index, len(images)).numpy(),
            "reason": [encoded.skipped.get(i, "") for i in range(len(images))],
        }

    def __reduce__(self) -> Any:
        """Its encoder's identity, and how it is loaded."""
        encoder, how = self.encoder, None
        if hasattr(encoder, "from_pretrained"):
            how = {
                "model": encoder.name,
                "revision": getattr(encoder, "revision", None),
                "dtype": str(getattr(encoder, "dtype", "float32")).removeprefix("torch."),
                "device": str(encoder.device),
            }
        return _encode_batch, (self.identity, how, self.image_column)


class InOtherLibraries:
    """An encoder as ``datasets`` and scikit-learn use it."""

    def batch_function(self, image_column: str = "image") -> EncodeBatch:
        """A function for ``dataset.map(…, batched=True)`` of ``datasets``, which adds the columns
        ``features`` and ``reason``
        (:class:`~pyg_graphadapter.encoding.batch_function.EncodeBatch`). An image that cannot be
        decoded gets a reason if its column was cast to ``datasets.Image(decode=False)``.

        Args:
            image_column (str, optional): The column of images. (default: :obj:`"image"`)
        """
        return EncodeBatch(cast(EncoderModel, self), image_column)

    def __sklearn_clone__(self) -> Self:
        """As a parameter of an estimator it is not copied, since it never changes."""
        return self


def _encode_batch(identity: str, how: dict[str, Any] | None, image_column: str) -> EncodeBatch:
    encoder = _encoders.get(identity) or _loaded.get(identity)
    if encoder is None:
        encoder = _loaded[identity] = _load(identity, how)
    return EncodeBatch(encoder, image_column)


def _load(identity: str, how: dict[str, Any] | None) -> EncoderModel:
    """The encoder of an identity, in a process that was not forked.

    Raises:
        ValueError: If its name does not lead to it.
    """
    name = json.loads(identity).get("model")
    if how is not None:
        from pyg_graphadapter.encoding.encoder import Encoder  # loads transformers

        encoder = Encoder.from_pretrained(**how)
        if json.dumps(encoder.identity(), sort_keys=True) == identity:
            return encoder
    raise ValueError(
        f"The encoder {name!r} cannot be loaded by its name in another process: leave 'num_proc' "
        f"out."
    )


def images_in(batch: Mapping[str, Any], column: str, new: tuple[str, ...]) -> list[Any]:
    """The images of a batch.

    Raises:
        ValueError: If there is no such column, or there are columns that are to be added.
    """
    names = list(batch.keys())
    if column not in names:
        raise ValueError(
            f"The data set has no column {column!r} (it has {', '.join(names)}): name the column "
            f"of images as 'image_column'."
        )
    twice = [name for name in new if name in names]
    if twice:
        raise ValueError(
            f"The data set has a column {twice[0]!r} already, which would be lost: rename or "
            f"remove it, or give another prefix where there is one."
        )
    return list(batch[column])


def check_process(encoder: EncoderModel) -> None:
    """Makes a forked process compute with one thread: it has none of the others.

    Raises:
        ValueError: If the encoder is on a GPU, which a forked process cannot use.
    """
    if os.getpid() == _pid:
        return
    if encoder.device.type == "cuda":
        raise ValueError("A GPU cannot be used by several forked processes: leave 'num_proc' out.")
    torch.set_num_threads(1)


def encoded_column(encoder: EncoderModel, images: list[Any]) -> EncodedImages:
    """The features of the images of a column, which may lack some."""
    decodable = torch.tensor([i for i, image in enumerate(images) if image is not None]).long()
    pipeline = pipeline_of(encoder, EncodingConfig())
    encoded = pipeline.encode([images[i] for i in decodable.tolist()], progress=False)
    skipped = {i: NO_IMAGE for i, image in enumerate(images) if image is None}
    skipped |= {int(decodable[i]): reason for i, reason in encoded.skipped.items()}
    return EncodedImages(encoded.x, decodable[encoded.index], skipped, encoded.num_encoded)


def in_rows(x: Tensor, index: Tensor, count: int) -> Tensor:
    """Rows ``[M, …]`` at their places among ``[N, …]``; the others are not a number."""
    rows = x.new_full((count, *x.shape[1:]), float("nan"))
    rows[index] = x
    return rows
