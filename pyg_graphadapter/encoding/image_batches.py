"""Images decoded by worker processes, in batches, and what was encoded of them, in shards."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pyg_graphadapter.data import UnreadableImageError, decode_image, image_bytes, image_name
from pyg_graphadapter.encoding.views import Views

# Indices of images, their features [M, V, D], and of those that were skipped the reason:
Encoded = tuple[list[int], Tensor, dict[int, str]]


class ImageInputs(Dataset[tuple[int, dict[str, Tensor] | str]]):
    """Images as inputs of the vision tower, or why they cannot be decoded."""

    def __init__(self, images: Sequence[Any], digests: Sequence[bytes], transform: Views) -> None:
        self.images, self.digests, self.transform = images, digests, transform

    def __len__(self) -> int:
        return len(self.digests)

    def __getitem__(self, i: int) -> tuple[int, dict[str, Tensor] | str]:
        try:
            return i, self.transform(_decoded(self.images[i], self.digests[i]), self.digests[i])
        except UnreadableImageError as error:
            return i, str(error)


def _decoded(image: Any, digest: bytes) -> Image.Image:
    """An image, unless its file is another one than that which the digest is of."""
    if isinstance(image, str | Path | dict):
        name, content = image_name(image), image_bytes(image)
        if hashlib.sha256(content).digest() != digest:
            raise UnreadableImageError(
                f"The image {name} changed while images were encoded: encode it again."
            )
        image = {"bytes": content, "path": name}
    return decode_image(image)


def collate(
    items: list[tuple[int, dict[str, Tensor] | str]],
) -> tuple[list[int], dict[str, Tensor], dict[int, str]]:
    """A batch: indices of the images, inputs with a row a view, and what was skipped."""
    skipped = {i: found for i, found in items if isinstance(found, str)}
    decoded = [(i, found) for i, found in items if not isinstance(found, str)]
    names = decoded[0][1] if decoded else {}
    inputs = {name: torch.cat([found[name] for _, found in decoded]) for name in names}
    return [i for i, _ in decoded], inputs, skipped


def in_shards(digests: Sequence[bytes], size: int) -> list[list[int]]:
    """The indices of distinct images, sorted by digest and cut: the same images make the same
    shards, in whatever order they come."""
    first: dict[bytes, int] = {}
    for i, digest in enumerate(digests):
        first.setdefault(digest, i)
    order = [i for _, i in sorted(first.items())]
    return [order[start : start + size] for start in range(0, len(order), size)]


class Batches:
    """The batches of shards, none of which has images of two, and the way back.

    Args:
        shards (iterable): Indices of images, a list a shard; taken as batches are.
        size (int): The number of images of a batch.
    """

    def __init__(self, shards: Iterable[list[int]], size: int) -> None:
        self.shards, self.size = shards, size
        self._lengths: deque[int] = deque()  # in batches, of the shards that were begun

    def __iter__(self) -> Iterator[list[int]]:
        for shard in self.shards:
            starts = range(0, len(shard), self.size)
            self._lengths.append(len(starts))
            for start in starts:
                yield shard[start : start + self.size]

    def joined(self, results: Iterable[Encoded]) -> Iterator[Encoded]:
        """Of the results of all batches, in their order, those of whole shards."""
        parts: list[Encoded] = []
        for part in results:
            parts.append(part)
            if len(parts) == self._lengths[0]:
                self._lengths.popleft()
                yield (
                    [i for each in parts for i in each[0]],
                    torch.cat([each[1] for each in parts]),
                    {i: reason for each in parts for i, reason in each[2].items()},
                )
                parts = []


def digests_of(images: Sequence[Any], index: Sequence[int]) -> list[bytes]:
    """The digests of the images at an index, read side by side."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: digest_of(images[i]), index))


def digest_of(image: Any) -> bytes:
    """The SHA-256 of an image; of a file that cannot be read, of its name."""
    try:
        return hashlib.sha256(image_bytes(image)).digest()
    except (UnreadableImageError, OSError) as error:
        return hashlib.sha256(str(error).encode()).digest()
