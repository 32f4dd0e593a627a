"""Features of images and texts under a frozen dual encoder of Hugging Face."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pyg_graphadapter.data import UnreadableImageError
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.config import DTYPES, SHARD_IMAGES
from pyg_graphadapter.encoding.image_batches import (
    Batches,
    Encoded,
    ImageInputs,
    collate,
    digests_of,
    in_shards,
)
from pyg_graphadapter.encoding.pretrained import check_model_type, load_pretrained
from pyg_graphadapter.encoding.text_tower import TextTower
from pyg_graphadapter.encoding.views import Views

logger = logging.getLogger(__name__)

BATCH_SIZE = {"cpu": 8, "cuda": 256, "mps": 64}  # small enough for the caches of a CPU


@dataclass(frozen=True)
class EncodedImages:
    r"""What :meth:`Encoder.encode_images` returns.

    Args:
        x (torch.Tensor): Features of length one, a row an image that could be decoded.
        index (torch.Tensor): Which of the given images the rows are.
        skipped (dict): The index of every image that could not be decoded, with the reason.
        num_encoded (int): How many images went through the encoder; the others were cached.

    Shapes:
        - **x:** :math:`(M, V, D)`
        - **index:** :math:`(M)`
    """

    x: Tensor
    index: Tensor
    skipped: dict[int, str]
    num_encoded: int


class Encoder(TextTower):
    r"""A frozen dual encoder: CLIP, MetaCLIP 2, SigLIP, SigLIP 2, AltCLIP, Chinese-CLIP, or any
    pair of towers as a ``VisionTextDualEncoderModel``.

    Args:
        model (transformers.PreTrainedModel): The model.
        processor (transformers.BaseImageProcessor): Its image processor.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        name (str, optional): What it is called. (default: :obj:`"model"`)
        revision (str, optional): Its version on the hub. (default: :obj:`None`)
        device (str, optional): Where to compute. (default: :obj:`"auto"`)
        dtype (str, optional): ``float32``, ``float16`` or ``bfloat16``. (default: :obj:`"float32"`)
        batch_size (int, optional): The number of views at once, halved where memory does not
            suffice; 8 on a CPU and 256 on a GPU if not given. (default: :obj:`None`)
        workers (int, optional): The number of processes that decode images; as many as there are
            cores on a GPU, at most 8, and none on a CPU if not given. (default: :obj:`None`)
        shard_images (int, optional): The number of images of a shard of the feature cache; what is
            killed loses no more. (default: :obj:`128`)

    Raises:
        ValueError: If the model is of another kind, or a setting is unknown.

    Example:
        >>> from pyg_graphadapter import Encoder
        >>> encoder = Encoder.from_pretrained("builtin")
        >>> encoder.encode_text(["dog", "apple pie"]).shape
        torch.Size([2, 384])
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        tokenizer: Any,
        *,
        name: str = "model",
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int | None = None,
        workers: int | None = None,
        shard_images: int = SHARD_IMAGES,
    ) -> None:
        check_model_type(name, model.config)
        if dtype not in DTYPES:
            raise ValueError(f"Unknown 'dtype' {dtype!r}. Choose from {', '.join(DTYPES)}.")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"'batch_size' must be at least 1 (got {batch_size}).")
        if workers is not None and workers < 0:
            raise ValueError(f"'workers' must be at least 0 (got {workers}).")
        if shard_images < 1:
            raise ValueError(f"'shard_images' must be at least 1 (got {shard_images}).")
        self.device = resolve_device(device)
        self.shard_images = shard_images
        self.dtype: torch.dtype = getattr(torch, dtype)
        # Convolutions are two to three times as fast channels last; other layers do not care:
        self.model = model.to(self.device, self.dtype, memory_format=torch.channels_last)
        self.model.eval().requires_grad_(False)
        self.device = self.model.device  # with its number, as threads do not share the current GPU
        self.processor, self.tokenizer = processor, tokenizer
        self.name, self.revision = name, revision
        self.batch_size = batch_size or BATCH_SIZE[self.device.type]
        if workers is None:
            workers = 0 if self.device.type == "cpu" else _cores_of_this_process()
        self.workers = workers

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        **settings: Any,
    ) -> Self:
        """Loads a model: a folder, an id on the Hugging Face hub, or ``builtin``.

        Weights are read from safetensors alone, and no code that comes with a model is run.

        Args:
            model (str or Path): The model.
            revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
            token (str or bool, optional): For models that are not public. (default: :obj:`None`)
            local_files_only (bool, optional): Fetch nothing. (default: :obj:`False`)
            **settings (optional): Further arguments of :class:`Encoder`.

        Raises:
            ValueError: If there is no such model, it is of another kind, its weights do not fit, or
                a setting is unknown.
        """
        if "trust_remote_code" in settings:
            raise ValueError(
                "'trust_remote_code' is not supported: no code that comes with a model is run. Use "
                "a model that transformers itself knows."
            )
        found = load_pretrained(str(model), revision, token, local_files_only=local_files_only)
        return cls(
            found.model,
            found.processor,
            found.tokenizer,
            name=str(model),
            revision=found.revision,
            **settings,
        )

    @property
    def logit_scale(self) -> float:
        """The factor of the cosine, about 100 for CLIP."""
        return float(self.model.logit_scale.detach().float().exp())

    @property
    def logit_bias(self) -> float:
        """What SigLIP adds to the scaled cosine; it does not change which class is likeliest."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach().float())

    def encode_images(
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
        """Features of images.

        Args:
            images (sequence): Paths, PIL images, encoded bytes, or the image column of a
                ``datasets.Dataset``.
            views (int, optional): The number of views :math:`V`, of which the first is the image as
                it is and the others are augmented; see
                :class:`~pyg_graphadapter.encoding.views.Views`. (default: :obj:`1`)
            seed (int, optional): Seeds the augmented views. (default: :obj:`0`)
            cache (Path, optional): The folder of the feature cache; features that are in it are
                not computed again. (default: :obj:`None`)
            digests (list of bytes, optional): The SHA-256 of every image, where they are known.
                (default: :obj:`None`)
            strict (bool, optional): Stop at an image that cannot be decoded, instead of skipping
                it. (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If an image cannot be decoded and :obj:`strict`, or a feature is not finite.
            OSError: If the cache cannot be written.
        """
        inputs = self._inputs(images, views, seed, digests)
        store = self._store(cache, inputs)
        x = torch.zeros(len(images), views, self.num_channels)
        found = torch.zeros(len(images), dtype=torch.bool)
        if store is not None:
            found = store.read(inputs.digests, x)
        first: dict[bytes, int] = {}  # of images that are equal, one is encoded
        for i, digest in enumerate(inputs.digests):
            first.setdefault(digest, i)
        shards = in_shards(inputs.digests, self.shard_images)
        skipped: dict[int, str] = {}
        num_encoded = 0
        while shards := [
            left
            for shard in shards
            if (left := [i for i in shard if not found[i] and i not in skipped])
        ]:
            for done, part, unreadable in self._encode(
                inputs, shards, store, strict=strict, progress=progress
            ):
                x[done], found[done] = part, True
                skipped |= unreadable
                num_encoded += len(done)
            # Another process has encoded them meanwhile; what is damaged is encoded after all:
            missing = [i for i in first.values() if not found[i] and i not in skipped]
            if missing and store is not None:
                rows = torch.zeros(len(missing), *x.shape[1:])
                found[missing] = store.read([inputs.digests[i] for i in missing], rows)
                x[missing] = rows
        for i, digest in enumerate(inputs.digests):
            x[i], found[i] = x[first[digest]], found[first[digest]]
            if first[digest] in skipped:
                skipped[i] = skipped[first[digest]]
        return EncodedImages(x[found], found.nonzero().flatten(), skipped, num_encoded)

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
        """Encodes images, or one process's part of them, into the cache and keeps none in memory.

        The images are cut into shards by their content, in whatever order they come, and each part
        has every so-manieth shard. Which parts there are, and what was done before, changes nothing
        in the bytes of the shards, as long as they compute on the same kind of device with the same
        :obj:`batch_size` and :obj:`shard_images`.

        Args:
            images (sequence): As for :meth:`encode_images`; the same for all parts.
            views (int, optional): As for :meth:`encode_images`. (default: :obj:`1`)
            seed (int, optional): Likewise. (default: :obj:`0`)
            cache (Path): The folder of the feature cache, which all parts share.
            part (tuple of int, optional): Which part, from 0, and of how many.
                (default: :obj:`(0, 1)`)
            digests (list of bytes, optional): As for :meth:`encode_images`. (default: :obj:`None`)
            strict (bool, optional): As for :meth:`encode_images`. (default: :obj:`False`)
            progress (bool, optional): Likewise. (default: :obj:`True`)

        Returns:
            How many images were encoded, and those that cannot be, with the reason.

        Raises:
            ValueError: As :meth:`encode_images` does.
            OSError: Likewise.
        """
        inputs = self._inputs(images, views, seed, digests)
        store = self._store(cache, inputs)
        index, count = part
        shards = in_shards(inputs.digests, self.shard_images)[index::count]
        num_encoded = 0
        skipped: dict[int, str] = {}
        for done, _, unreadable in self._encode(
            inputs, shards, store, strict=strict, progress=progress
        ):
            num_encoded += len(done)
            skipped |= unreadable
        return num_encoded, skipped

    def _inputs(
        self, images: Sequence[Any], views: int, seed: int, digests: list[bytes] | None
    ) -> ImageInputs:
        transform = Views(self.processor, views, seed)
        if digests is None:
            digests = digests_of(images, range(len(images)))
        return ImageInputs(images, digests, transform)

    def _store(self, cache: Path | None, inputs: ImageInputs) -> FeatureCache | None:
        return None if cache is None else FeatureCache(cache, self._describe(inputs.transform))

    def _encode(
        self,
        inputs: ImageInputs,
        shards: Sequence[list[int]],
        store: FeatureCache | None,
        *,
        strict: bool,
        progress: bool,
    ) -> Iterator[Encoded]:
        """Shards of images, less what is in the cache when their turn comes: their indices,
        features ``[B, V, D]``, which are in the cache then, and what was skipped."""
        digests = inputs.digests
        total = sum(map(len, shards))
        with tqdm(total=total, unit="image", disable=None if progress else True) as bar:

            def unfinished() -> Iterator[list[int]]:
                for shard in shards:
                    left = shard
                    if store is not None:
                        known = store.has([digests[i] for i in shard])
                        left = [i for i, is_known in zip(shard, known, strict=True) if not is_known]
                    bar.update(len(shard) - len(left))
                    if left:
                        yield left

            batches = Batches(unfinished(), max(1, self.batch_size // inputs.transform.views))
            results = self._results(inputs, batches, total, bar, strict=strict)
            for done, x, skipped in batches.joined(results):
                if store is not None and done:
                    x = store.write([digests[i] for i in done], x)
                yield done, x, skipped

    def _results(
        self,
        inputs: ImageInputs,
        batches: Iterable[list[int]],
        total: int,
        bar: "tqdm[Any]",
        *,
        strict: bool,
    ) -> Iterator[Encoded]:
        """The features of batches, in their order."""
        views, channels = inputs.transform.views, self.num_channels

        def encoded(batch: tuple[list[int], dict[str, Tensor], dict[int, str]]) -> Encoded:
            done, pixels, skipped = batch
            if not done:
                return done, torch.zeros(0, views, channels), skipped
            features = self._image_features(pixels, inputs.transform)
            return done, features.view(len(done), views, channels), skipped

        def decoded_and_encoded(batch: list[int]) -> Encoded:
            return encoded(collate([inputs[i] for i in batch]))

        if self.workers and total:
            loader = DataLoader(
                inputs,
                batch_sampler=batches,
                num_workers=min(self.workers, total),
                collate_fn=collate,
                pin_memory=self.device.type == "cuda",
            )
            results = self._map(encoded, loader)
        else:
            results = self._map(decoded_and_encoded, batches)
        for result in results:
            done, _, skipped = result
            if strict and skipped:
                raise UnreadableImageError(skipped[min(skipped)])
            bar.update(len(done) + len(skipped))
            yield result

    @torch.inference_mode()
    def _image_features(self, inputs: dict[str, Tensor], transform: Views) -> Tensor:
        """Features of length one ``[B, D]``; where memory does not suffice, and ever after, of
        half as many views at once."""
        size = len(next(iter(inputs.values())))
        parts: list[Tensor] = []
        begin = 0
        while begin < size:
            end = min(begin + self.batch_size, size)
            part = {key: value[begin:end] for key, value in inputs.items()}
            try:
                parts.append(self._features_of(part, transform))
                begin = end
            except torch.OutOfMemoryError:
                if end - begin == 1:
                    raise
                self.batch_size = (end - begin + 1) // 2
                logger.warning("Out of memory with %d views at once: going on with %d.",
                               end - begin, self.batch_size)  # fmt: skip
        return torch.cat(parts)

    def _features_of(self, inputs: dict[str, Tensor], transform: Views) -> Tensor:
        moved = {key: value.to(self.device, non_blocking=True) for key, value in inputs.items()}
        found = self.model.get_image_features(**transform.finish(moved, self.dtype))
        return self._checked(found.pooler_output)

    @cached_property
    def weights_hash(self) -> str:
        """The SHA-256 of the weights and of the configuration."""
        state = sorted(self.model.state_dict().items())
        with ThreadPoolExecutor() as pool:
            parts = list(pool.map(lambda item: _hash_of(*item), state))
        config = json.dumps(_plain(self.model.config.to_dict()), sort_keys=True, default=str)
        return hashlib.sha256("".join([*parts, config]).encode()).hexdigest()

    def _describe(self, transform: Views) -> dict[str, Any]:
        """Everything that image features depend on, save the image."""
        return {
            "kind": "images",
            "model": self.name,
            "revision": self.revision,
            "weights": self.weights_hash,
            "dtype": str(self.dtype),
            "torch": torch.__version__,
            **transform.describe(),
        }

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, device={str(self.device)!r})"


def _cores_of_this_process() -> int:
    """Its share of the machine's cores, at most eight."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # said by torchrun
    return max(1, min(8, (os.cpu_count() or 1) // processes))


def _hash_of(name: str, value: Tensor) -> str:
    content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    what = f"{name} {value.dtype} {list(value.shape)} {hashlib.sha256(content).hexdigest()}"
    return hashlib.sha256(what.encode()).hexdigest()


def _plain(config: Any) -> Any:
    """A configuration without what says where it came from."""
    if not isinstance(config, dict):
        return config
    dropped = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
    return {key: _plain(value) for key, value in config.items() if key not in dropped}
