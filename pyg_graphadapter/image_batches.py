"""Images decoded by worker processes, in batches, and what was encoded of them, in shards."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from pyg_graphadapter.data import UnreadableImageError, decode_image, image_bytes, image_name
from pyg_graphadapter.views import Views

SHARD_IMAGES = 1024  # a shard is full after so many images,
SHARD_SECONDS = 10.0  # or after this time

# Indices of images, their features [M, V, D], and of those that were skipped the reason:
Encoded = tuple[list[int], Tensor, dict[int, str]]


class ImageInputs(Dataset[tuple[int, dict[str, Tensor] | str]]):
    """Images as inputs of the vision tower, or why they cannot be decoded."""

    def __init__(
        self, images: Sequence[Any], digests: Sequence[bytes], todo: Sequence[int], transform: Views
    ) -> None:
        self.images, self.digests, self.todo = images, digests, todo
        self.transform = transform

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, position: int) -> tuple[int, dict[str, Tensor] | str]:
        i = self.todo[position]
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


def in_shards(batches: Iterable[Encoded], bar: "tqdm[Any]") -> Iterator[Encoded]:
    """Joins batches to shards of so many images, or of so many seconds."""
    parts: list[Encoded] = []
    begin = monotonic()
    for done, x, skipped in batches:
        parts.append((done, x, skipped))
        bar.update(len(done) + len(skipped))
        full = sum(len(each[0]) for each in parts) >= SHARD_IMAGES
        if full or monotonic() - begin >= SHARD_SECONDS:
            yield _joined(parts)
            parts, begin = [], monotonic()
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[Encoded]) -> Encoded:
    done = [i for each in parts for i in each[0]]
    skipped = {i: reason for each in parts for i, reason in each[2].items()}
    return done, torch.cat([each[1] for each in parts]), skipped


def digest_of(image: Any) -> bytes:
    """The SHA-256 of an image; of a file that cannot be read, of its name."""
    try:
        return hashlib.sha256(image_bytes(image)).digest()
    except (UnreadableImageError, OSError) as error:
        return hashlib.sha256(str(error).encode()).digest()
