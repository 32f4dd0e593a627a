"""Lists of images to features: decoded batches, encoded by a model, kept in cached shards."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pyg_graphadapter.data import UnreadableImageError
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.config import SHARD_IMAGES, EncodingConfig
from pyg_graphadapter.encoding.identity import identity_of_images
from pyg_graphadapter.encoding.image_batches import (
    Batch,
    DecodedBatch,
    EncodedBatch,
    ImageBatches,
    digests_of,
    in_batches,
    in_shards,
    join_shards,
)
from pyg_graphadapter.encoding.image_list import image_list
from pyg_graphadapter.encoding.model import EncoderModel, map_batches
from pyg_graphadapter.parallel import WorkerKilledError, output_of_workers, start_worker
from pyg_graphadapter.progress import progress_bar


@dataclass(frozen=True)
class EncodedImages:
    r"""What :meth:`ImagePipeline.encode` returns.

    Args:
        x (torch.Tensor): Features of length one, one row per image that could be decoded.
        index (torch.Tensor): The indices of these images in the given list.
        skipped (dict): The index of every image that could not be decoded, with the reason.
        num_encoded (int): How many images went through the model; the others were cached.

    Shapes:
        - **x:** :math:`(M, V, D)`
        - **index:** :math:`(M)`
    """

    x: Tensor
    index: Tensor
    skipped: dict[int, str]
    num_encoded: int


class ImagePipeline:
    """Encodes lists of images with any :class:`~pyg_graphadapter.encoding.model.EncoderModel`.

    Args:
        model (EncoderModel): The model.
        workers (int, optional): The number of processes that decode images. If not given, one per
            core on a GPU, at most 8, and none on a CPU. (default: :obj:`None`)
        shard_images (int, optional): The number of images per shard of the feature cache; a killed
            process loses at most one shard. (default: :obj:`128`)

    Raises:
        ValueError: If a number is too small.
    """

    def __init__(
        self, model: EncoderModel, workers: int | None = None, shard_images: int = SHARD_IMAGES
    ) -> None:
        if workers is not None and workers < 0:
            raise ValueError(f"'workers' must be at least 0 (got {workers}).")
        if shard_images < 1:
            raise ValueError(f"'shard_images' must be at least 1 (got {shard_images}).")
        if workers is None:
            workers = 0 if model.device.type == "cpu" else cores_of_this_process()
        self.model, self.workers, self.shard_images = model, workers, shard_images

    def encode(
        self,
        images: Sequence[Any],
        views: int = 1,
        seed: int = 0,
        *,
        cache: Path | None = None,
        digests: list[bytes] | None = None,
        strict: bool = False,
        progress: bool = True,
    ) -> EncodedImages:
        """The features of images; see :meth:`pyg_graphadapter.Encoder.encode_images`."""
        images = image_list(images)
        batches = self._batches(images, views, seed, digests)
        store = self._store(cache, batches)
        x = torch.zeros(len(images), views, self.model.num_channels)
        is_encoded = torch.zeros(len(images), dtype=torch.bool)
        if store is not None:
            is_encoded = store.read(batches.digests, x)
        first: dict[bytes, int] = {}  # of equal images, the first is encoded
        for i, digest in enumerate(batches.digests):
            first.setdefault(digest, i)
        shards = in_shards(batches.digests, self.shard_images)
        skipped: dict[int, str] = {}
        num_encoded = 0
        while shards := [
            pending
            for shard in shards
            if (pending := [i for i in shard if not is_encoded[i] and i not in skipped])
        ]:
            for encoded in self._encode(batches, shards, store, strict=strict, progress=progress):
                x[encoded.images], is_encoded[encoded.images] = encoded.x, True
                skipped |= encoded.skipped
                num_encoded += len(encoded.images)
            # Another process may have encoded the missing ones; damaged ones are encoded again:
            missing = [i for i in first.values() if not is_encoded[i] and i not in skipped]
            if missing and store is not None:
                rows = torch.zeros(len(missing), *x.shape[1:])
                is_encoded[missing] = store.read([batches.digests[i] for i in missing], rows)
                x[missing] = rows
        for i, digest in enumerate(batches.digests):
            x[i], is_encoded[i] = x[first[digest]], is_encoded[first[digest]]
            if first[digest] in skipped:
                skipped[i] = skipped[first[digest]]
        return EncodedImages(x[is_encoded], is_encoded.nonzero().flatten(), skipped, num_encoded)

    def fill_cache(
        self,
        images: Sequence[Any],
        views: int = 1,
        seed: int = 0,
        *,
        cache: Path,
        part: tuple[int, int] = (0, 1),
        digests: list[bytes] | None = None,
        strict: bool = False,
        progress: bool = True,
    ) -> tuple[int, dict[int, str]]:
        """Encodes images into the cache; see :meth:`pyg_graphadapter.Encoder.fill_cache`."""
        batches = self._batches(image_list(images), views, seed, digests)
        store = self._store(cache, batches)
        index, count = part
        shards = in_shards(batches.digests, self.shard_images)[index::count]
        num_encoded = 0
        skipped: dict[int, str] = {}
        for encoded in self._encode(batches, shards, store, strict=strict, progress=progress):
            num_encoded += len(encoded.images)
            skipped |= encoded.skipped
        return num_encoded, skipped

    def _batches(
        self, images: Sequence[Any], views: int, seed: int, digests: list[bytes] | None
    ) -> ImageBatches:
        preprocessing = self.model.preprocessing(views, seed)
        if digests is None:
            digests = digests_of(images, range(len(images)))
        return ImageBatches(images, digests, preprocessing)

    def _store(self, cache: Path | None, batches: ImageBatches) -> FeatureCache | None:
        if cache is None:
            return None
        identity = identity_of_images(self.model.identity())
        depends_on = {"kind": "images", **identity, **batches.preprocessing.describe()}
        return FeatureCache(cache, depends_on)

    def _encode(
        self,
        batches: ImageBatches,
        shards: Sequence[list[int]],
        store: FeatureCache | None,
        *,
        strict: bool,
        progress: bool,
    ) -> Iterator[EncodedBatch]:
        """Encodes shards, without the images that are in the cache by then, and writes them to the
        cache."""
        digests = batches.digests
        total = sum(map(len, shards))
        with progress_bar(total=total, unit="image", progress=progress) as bar:

            def pending_shards() -> Iterator[list[int]]:
                for shard in shards:
                    pending = shard
                    if store is not None:
                        cached = store.has([digests[i] for i in shard])
                        pending = [i for i, has in zip(shard, cached, strict=True) if not has]
                    bar.update(len(shard) - len(pending))
                    if pending:
                        yield pending

            size = max(1, self.model.batch_size // batches.preprocessing.views)
            encoded = self._encode_batches(
                batches, in_batches(pending_shards(), size), bar, strict=strict
            )
            for shard in join_shards(encoded):
                x = shard.x
                if store is not None and shard.images:
                    x = store.write([digests[i] for i in shard.images], x)
                yield shard._replace(x=x)

    def _encode_batches(
        self, batches: ImageBatches, order: Iterable[Batch], bar: "tqdm[Any]", *, strict: bool
    ) -> Iterator[EncodedBatch]:
        """Decodes and encodes batches, in their order."""
        preprocessing, channels = batches.preprocessing, self.model.num_channels

        def encode(batch: DecodedBatch) -> EncodedBatch:
            count = len(batch.images)
            x = torch.zeros(0, channels)
            if count:
                x = self.model.image_features(batch.inputs, preprocessing)
            x = x.view(count, preprocessing.views, channels)
            return EncodedBatch(batch.images, x, batch.skipped, batch.ends_shard)

        def decode_and_encode(batch: Batch) -> EncodedBatch:
            return encode(batches[batch])

        if self.workers and bar.total:
            decoded = self._decoded(batches, order, bar.total)
            encoded = map_batches(self.model.device, encode, decoded)
        else:
            encoded = map_batches(self.model.device, decode_and_encode, order)
        for batch in encoded:
            if strict and batch.skipped:
                raise UnreadableImageError(batch.skipped[min(batch.skipped)])
            bar.update(len(batch.images) + len(batch.skipped))
            yield batch

    def _decoded(
        self, batches: ImageBatches, order: Iterable[Batch], total: int
    ) -> Iterator[DecodedBatch]:
        """Decodes batches in worker processes, in their order. When one of these is killed, the
        batches that they had are done again once, by fresh workers."""
        order = iter(order)
        todo: deque[Batch] = deque()  # done again, before the others
        suspects: set[int] = set()  # the first images of these batches
        while True:
            sent: deque[Batch] = deque()
            loader = self._loader(batches, _recorded(todo, order, sent), total)
            try:
                for decoded in output_of_workers(loader):
                    sent.popleft()
                    yield decoded
                return
            except WorkerKilledError:
                firsts = {batch.images[0] for batch in sent}
                if firsts & suspects:
                    raise
                suspects |= firsts
                todo.extendleft(reversed(sent))

    def _loader(
        self, batches: ImageBatches, order: Iterable[Batch], total: int
    ) -> "DataLoader[DecodedBatch]":
        """Decodes batches in worker processes, in their order."""
        return DataLoader(
            batches,
            sampler=order,
            batch_size=None,  # the order has batches already
            collate_fn=_unchanged,
            num_workers=min(self.workers, total),
            pin_memory=self.model.device.type == "cuda",
            worker_init_fn=partial(_start_worker, os.getpid()),
        )


def _recorded(todo: deque[Batch], order: Iterator[Batch], sent: deque[Batch]) -> Iterator[Batch]:
    """The batches to do again, then the others; keeps what is sent to workers."""
    for batch in chain(iter(lambda: todo.popleft() if todo else None, None), order):
        sent.append(batch)
        yield batch


def _start_worker(parent: int, _: int) -> None:
    start_worker(parent)


def pipeline_of(model: EncoderModel, config: EncodingConfig) -> ImagePipeline:
    """The pipeline that a model brings, or one with the settings of a configuration."""
    pipeline = getattr(model, "pipeline", None)
    if isinstance(pipeline, ImagePipeline):
        return pipeline
    return ImagePipeline(model, config.workers, config.shard_images)


def cores_of_this_process() -> int:
    """This process's share of the machine's cores, at most eight."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
    return max(1, min(8, (os.cpu_count() or 1) // processes))


def _unchanged(batch: Any) -> Any:
    return batch
