"""Batches of decoded images; each batch knows whether it ends a shard of the feature cache."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pyg_graphadapter.data import UnreadableImageError, decode_image, image_bytes, image_name
from pyg_graphadapter.encoding.model import ImagePreprocessing


class Batch(NamedTuple):
    """Images that are decoded and encoded together.

    Args:
        images (list of int): Their indices.
        ends_shard (bool): Whether it is the last batch of its shard.
    """

    images: list[int]
    ends_shard: bool


class DecodedBatch(NamedTuple):
    """A batch after decoding.

    Args:
        images (list of int): The indices of the images that were decoded.
        inputs (any): What :meth:`ImagePreprocessing.collate` made of them; :obj:`None` without any.
        skipped (dict): For every other image of the batch, why it cannot be decoded.
        ends_shard (bool): As in :class:`Batch`.
    """

    images: list[int]
    inputs: Any
    skipped: dict[int, str]
    ends_shard: bool


class EncodedBatch(NamedTuple):
    """A batch, or a whole shard, after encoding.

    Args:
        images (list of int): The indices of the images that were encoded.
        x (torch.Tensor): Their features ``[B, V, D]``.
        skipped (dict): For every other image, why it cannot be decoded.
        ends_shard (bool): As in :class:`Batch`.
    """

    images: list[int]
    x: Tensor
    skipped: dict[int, str]
    ends_shard: bool


class ImageBatches(Dataset[DecodedBatch]):
    """Images, decoded and preprocessed batch by batch.

    Args:
        images (sequence): The images, as :func:`~pyg_graphadapter.data.decode_image` takes them.
        digests (sequence of bytes): The SHA-256 of every image.
        preprocessing (ImagePreprocessing): Makes inputs of decoded images.
    """

    def __init__(
        self, images: Sequence[Any], digests: Sequence[bytes], preprocessing: ImagePreprocessing
    ) -> None:
        self.images, self.digests, self.preprocessing = images, digests, preprocessing

    def __getitem__(self, batch: Batch) -> DecodedBatch:
        inputs: dict[int, Any] = {}
        skipped: dict[int, str] = {}
        for i in batch.images:
            try:
                image = _decoded(self.images[i], self.digests[i])
                inputs[i] = self.preprocessing(image, self.digests[i])
            except UnreadableImageError as error:
                skipped[i] = str(error)
        collated = self.preprocessing.collate(list(inputs.values())) if inputs else None
        return DecodedBatch(list(inputs), collated, skipped, batch.ends_shard)


def _decoded(image: Any, digest: bytes) -> Image.Image:
    """An image, unless its file has changed since the digest was computed."""
    if isinstance(image, str | Path | dict):
        name, content = image_name(image), image_bytes(image)
        if hashlib.sha256(content).digest() != digest:
            raise UnreadableImageError(
                f"The image {name} changed while images were encoded: encode it again."
            )
        image = {"bytes": content, "path": name}
    return decode_image(image)


def in_shards(digests: Sequence[bytes], size: int) -> list[list[int]]:
    """The indices of distinct images, sorted by digest and cut into shards: the same images make
    the same shards, in any order."""
    first: dict[bytes, int] = {}
    for i, digest in enumerate(digests):
        first.setdefault(digest, i)
    order = [i for _, i in sorted(first.items())]
    return [order[start : start + size] for start in range(0, len(order), size)]


def in_batches(shards: Iterable[list[int]], size: int) -> Iterator[Batch]:
    """Cuts shards into batches of at most ``size`` images; no batch has images of two shards."""
    for shard in shards:
        for start in range(0, len(shard), size):
            yield Batch(shard[start : start + size], start + size >= len(shard))


def join_shards(batches: Iterable[EncodedBatch]) -> Iterator[EncodedBatch]:
    """Joins encoded batches, in their order, to whole shards."""
    shard: list[EncodedBatch] = []
    for batch in batches:
        shard.append(batch)
        if batch.ends_shard:
            yield EncodedBatch(
                [i for part in shard for i in part.images],
                torch.cat([part.x for part in shard]),
                {i: reason for part in shard for i, reason in part.skipped.items()},
                ends_shard=True,
            )
            shard = []


def digests_of(images: Sequence[Any], index: Sequence[int]) -> list[bytes]:
    """The digests of the images at an index, read in several threads."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: digest_of(images[i]), index))


def digest_of(image: Any) -> bytes:
    """The SHA-256 of an image, or of the error message if its file cannot be read."""
    try:
        return hashlib.sha256(image_bytes(image)).digest()
    except (UnreadableImageError, OSError) as error:
        return hashlib.sha256(str(error).encode()).digest()
