"""Encodes whole data sets, or the few shots that are drawn from them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import torch
from torch import Tensor

from pyg_graphadapter.data import image_name
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.distributed import Process
from pyg_graphadapter.encoding.image_batches import digests_of
from pyg_graphadapter.encoding.model import EncoderModel, text_features_of
from pyg_graphadapter.encoding.pipeline import EncodedImages, pipeline_of
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features, Shots, counted, draw_shots
from pyg_graphadapter.task import FewShotTask, TextEncoder, validation_shots

logger = logging.getLogger(__name__)
SHOWN = 5  # skipped images that an error names


@dataclass
class Summary:
    """Which images were used and skipped. However often an image is asked for, it counts once.

    Args:
        num_encoded (int): How many went through the encoder; the others were cached, or equal to
            one that did.
        skipped (dict): The name of every image that was skipped, with the reason.
        used (dict): The places of the images that were decoded or cached, by the fingerprint of
            their split.
        unreadable (dict): The places of those that could not be decoded, likewise.
    """

    num_encoded: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    used: dict[str, set[int]] = field(default_factory=dict)
    unreadable: dict[str, set[int]] = field(default_factory=dict)

    def add(
        self, split: datasets.Dataset, index: Tensor, images: Sequence[Any], encoded: EncodedImages
    ) -> None:
        """Counts images that were encoded.

        Args:
            split (datasets.Dataset): The split that they are of.
            index (torch.Tensor): Their places in it.
            images (sequence): The images.
            encoded (EncodedImages): What became of them.
        """
        self.num_encoded += encoded.num_encoded
        self.skipped |= {image_name(images[i]): reason for i, reason in encoded.skipped.items()}
        unreadable = {int(index[i]) for i in encoded.skipped}
        self.unreadable.setdefault(split._fingerprint, set()).update(unreadable)
        self.used.setdefault(split._fingerprint, set()).update(index[encoded.index].tolist())

    @property
    def num_used(self) -> int:
        """The number of images that were used."""
        return sum(map(len, self.used.values()))

    def skipped_in_words(self) -> str:
        """A sentence on the images that were skipped, or nothing."""
        if not self.skipped:
            return ""
        images = counted(len(self.skipped), "image")
        listing = ", ".join(map(visible, list(self.skipped)[:SHOWN]))
        more = ", …" if len(self.skipped) > SHOWN else ""
        return f" {images} could not be decoded: {listing}{more}."

    @property
    def num_skipped(self) -> int:
        """The number of images that could not be decoded."""
        return sum(map(len, self.unreadable.values()))

    def used_of(self, split: datasets.Dataset) -> int:
        """The number of images of a split that were used."""
        return len(self.used.get(split._fingerprint, ()))

    def __str__(self) -> str:
        encoded = min(self.num_encoded, self.num_used)  # without a cache, some more than once
        text = f"{encoded} encoded, {self.num_used - encoded} from the cache"
        return text + (f", {self.num_skipped} skipped" if self.num_skipped else "")


@dataclass(frozen=True)
class EncodedSplit:
    """The images of a split that can be decoded, and those that cannot.

    Args:
        features (Features): The features of the images that can be decoded.
        index (torch.Tensor): The places of these images in the split ``[M]``.
        hashes (tuple of str): Their SHA-256, in hexadecimal digits.
        skipped (dict): The name of every other image, by its place, with the reason.
    """

    features: Features
    index: Tensor
    hashes: tuple[str, ...]
    skipped: dict[int, tuple[str, str]]


class DatasetEncoder:
    """Encodes image data sets with one encoder and one configuration.

    Args:
        encoder (EncoderModel): The encoder.
        config (EncodingConfig, optional): How to encode. (default: :obj:`None`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
    """

    def __init__(
        self, encoder: EncoderModel, config: EncodingConfig | None = None, *, progress: bool = True
    ) -> None:
        self.encoder, self.config = encoder, config or EncodingConfig()
        self.pipeline = pipeline_of(encoder, self.config)
        self.progress = progress
        self.summary = Summary()
        folder = self.config.cache_folder()
        logger.info("Features are kept in %s.", "no cache" if folder is None else folder)
        self._text: dict[tuple[str, ...], Tensor] = {}
        self._digests: dict[str, list[bytes]] = {}  # of splits, by their fingerprints

    def encode(self, data: datasets.DatasetDict) -> FeatureFile:
        """The features of all images of a data set; training images have
        :obj:`EncodingConfig.views` views, others one.

        Raises:
            ValueError: If there is no training split, or an image cannot be decoded and
                :obj:`EncodingConfig.strict`.
            OSError: If the cache cannot be written.
        """
        names = class_names_of(training_split(data))
        splits = {
            split: self.encode_split(data[split], self.config.views if split == "train" else 1)
            for split in data
        }
        return FeatureFile(
            text=self.encode_text(names) if self.encoder.has_texts else None,
            class_names=names,
            logit_scale=self.encoder.logit_scale,
            **splits,  # type: ignore[arg-type]
        )

    def fill_cache(self, data: datasets.DatasetDict, process: Process) -> None:
        """Encodes one process's part of all images into the cache (:meth:`Encoder.fill_cache`);
        of their hashes each process makes a part, too.

        Raises:
            ValueError: If there is no cache, or as :meth:`encode` does.
            OSError: If the cache cannot be written.
        """
        cache = self.config.cache_folder()
        if cache is None:
            raise ValueError("Several processes meet in the feature cache: leave --no-cache out.")
        for split, rows in data.items():
            images = rows["image"]
            digests = process.shared(digests_of(images, process.own(len(rows))), len(rows))
            self._digests[rows._fingerprint] = digests
            num_encoded, _ = self.pipeline.fill_cache(
                images,
                self.config.views if split == "train" else 1,
                self.config.view_seed,
                cache=cache,
                part=process.part,
                digests=digests,
                strict=self.config.strict,
                progress=self.progress and process.index == 0,
            )
            self.summary.num_encoded += num_encoded

    def encode_text(self, class_names: tuple[str, ...]) -> Tensor:
        """The text features of classes ``[C, D]``, computed once per set of names."""
        if class_names not in self._text:
            self._text[class_names] = text_features_of(self.encoder, class_names, self.config)
        return self._text[class_names]

    def encode_split(self, split: datasets.Dataset, views: int = 1) -> Features:
        """The features of the images of a split that can be decoded."""
        return self.encode_hashed(split, views).features

    def encode_hashed(self, split: datasets.Dataset, views: int = 1) -> EncodedSplit:
        """The features and the hashes of the images of a split."""
        index, x, hashes, skipped = self._encode(split, torch.arange(len(split)), views)
        return EncodedSplit(Features(x, _labels_of(split)[index]), index, hashes, skipped)

    def draw_task(
        self, data: datasets.DatasetDict, shots: Shots, seed: int, *, allow_fewer: bool = False
    ) -> FewShotTask:
        r"""Draws :math:`K` training images per class, or all, and, where there is a validation
        split, :math:`\min(K, 4)` validation images, and encodes those alone. The draw is that of
        :func:`pyg_graphadapter.task.draw_task` on the features of all images; an image that
        cannot be decoded is replaced by the next one of its class. If the encoder has no text
        tower, the task has no texts.

        Raises:
            ValueError: If there is no training split, a class has no image, or fewer than
                :obj:`shots` and not :obj:`allow_fewer`, or an image cannot be decoded and
                :obj:`EncodingConfig.strict`.
            OSError: If the cache cannot be written.
        """
        if shots == 0:
            names = class_names_of(next(iter(data.values())))
            text, validation = self.encode_text(names), None  # says where there is no text tower
            support = Features(text[:0].float(), torch.empty(0, dtype=torch.long))
            hashes: tuple[str, ...] = ()
        else:
            train = training_split(data)
            names = class_names_of(train)
            views = self.config.views
            support, hashes = self._draw(train, shots, seed, views, allow_fewer=allow_fewer)
            validation = None
            if "val" in data:
                shots = validation_shots(shots)
                validation, _ = self._draw(data["val"], shots, seed, may_lack=True)
        return self.task(names, support, hashes, validation)

    def task(
        self,
        class_names: tuple[str, ...],
        support: Features,
        image_hashes: tuple[str, ...] = (),
        validation: Features | None = None,
    ) -> FewShotTask:
        """The task of features that this encoder made, with the texts of the classes if it has a
        text tower."""
        scale = self.encoder.logit_scale
        if not self.encoder.has_texts and len(support):
            task = FewShotTask.without_text(class_names, support, validation, scale)
            return replace(task, image_hashes=image_hashes)
        text = self.encode_text(class_names)
        text_encoder = self.encoder if isinstance(self.encoder, TextEncoder) else None
        return FewShotTask(
            class_names, text, support, validation, scale, text_encoder, image_hashes=image_hashes
        )

    def encode_not_drawn(
        self,
        data: datasets.DatasetDict,
        shots: Shots,
        seed: int,
        *,
        allow_fewer: bool = False,
        limit: int,
    ) -> Features:
        """The features of training images that :meth:`draw_task` does not draw: all that can be
        decoded, or a random selection of at most :obj:`limit`."""
        train = training_split(data)
        rest = torch.ones(len(train), dtype=torch.bool)
        if shots != 0:
            rest[self._drawn(train, shots, seed, allow_fewer=allow_fewer)] = False
        index = rest.nonzero().flatten()
        generator = torch.Generator().manual_seed(seed)
        index = index[torch.randperm(len(index), generator=generator)[:limit]].sort().values
        index, x, *_ = self._encode(train, index, 1)
        return Features(x, _labels_of(train)[index])

    def _draw(
        self,
        split: datasets.Dataset,
        shots: Shots,
        seed: int,
        views: int = 1,
        *,
        allow_fewer: bool = False,
        may_lack: bool = False,
    ) -> tuple[Features, tuple[str, ...]]:
        """Features and hashes of the drawn images; one that cannot be decoded is replaced. If
        classes may lack, those without images are no error."""
        while True:
            drawn = self._drawn(split, shots, seed, allow_fewer=allow_fewer, may_lack=may_lack)
            index, x, hashes, _ = self._encode(split, drawn, views)
            if len(index) == len(drawn):
                return Features(x, _labels_of(split)[index]), hashes

    def _drawn(
        self,
        split: datasets.Dataset,
        shots: Shots,
        seed: int,
        *,
        allow_fewer: bool = False,
        may_lack: bool = False,
    ) -> Tensor:
        """The indices of the drawn images, without those that are known to be unreadable."""
        y, names = _labels_of(split), class_names_of(split)
        # All images by class, and within a class in the order in which more shots are drawn:
        order = draw_shots(y, max(1, len(y)), seed, len(names), names, allow_fewer=True)
        unreadable = torch.tensor(sorted(self.summary.unreadable.get(split._fingerprint, ())))
        left = order[~torch.isin(order, unreadable.long())]
        # Raises an error that says which class has too few images:
        if not may_lack:
            needed: Shots = 1 if allow_fewer else shots
            try:
                draw_shots(y[left], needed, seed, len(names), names)
            except ValueError as error:
                raise ValueError(f"{error}{self.summary.skipped_in_words()}") from error
        count = torch.bincount(y[left], minlength=len(names))
        first = count.cumsum(0) - count  # [C], where each class begins
        most = len(y) if isinstance(shots, str) else shots
        return left[torch.arange(len(left)) - first[y[left]] < most]

    def _encode(
        self, split: datasets.Dataset, index: Tensor, views: int
    ) -> tuple[Tensor, Tensor, tuple[str, ...], dict[int, tuple[str, str]]]:
        """The indices of the images that can be decoded, their features ``[M, V, D]`` and their
        hashes; and the names of the others by their indices, with the reason."""
        images = split.select(index.tolist())["image"]
        digests = self._digests.get(split._fingerprint)
        if digests is None:
            digests = digests_of(images, range(len(images)))
        else:
            digests = [digests[i] for i in index.tolist()]
        encoded = self.pipeline.encode(
            images,
            views,
            self.config.view_seed,
            cache=self.config.cache_folder(),
            digests=digests,
            strict=self.config.strict,
            progress=self.progress,
        )
        self.summary.add(split, index, images, encoded)
        skipped = {
            int(index[i]): (image_name(images[i]), reason) for i, reason in encoded.skipped.items()
        }
        hashes = tuple(digests[i].hex() for i in encoded.index.tolist())
        return index[encoded.index], encoded.x, hashes, skipped


def class_names_of(split: datasets.Dataset) -> tuple[str, ...]:
    """The names of the classes of a split."""
    return tuple(split.features["label"].names)


def training_split(data: datasets.DatasetDict) -> datasets.Dataset:
    """The split that few shots are drawn from.

    Raises:
        ValueError: If there is none.
    """
    if "train" not in data:
        raise ValueError(
            f"There is no training split (got {', '.join(data)}): put class folders into train/."
        )
    return data["train"]


def _labels_of(split: datasets.Dataset) -> Tensor:
    return torch.tensor(split["label"], dtype=torch.long)
