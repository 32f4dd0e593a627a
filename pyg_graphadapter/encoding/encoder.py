"""Dual encoders of transformers: features of images and texts."""

import inspect
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pyg_graphadapter.data import TEMPLATES
from pyg_graphadapter.data.descriptions import DESCRIPTIONS_WEIGHT, DescriptionsLike
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.encoding.batch_function import InOtherLibraries
from pyg_graphadapter.encoding.checks import check_model, check_text_features
from pyg_graphadapter.encoding.config import DTYPES, SHARD_IMAGES
from pyg_graphadapter.encoding.model import class_text_features
from pyg_graphadapter.encoding.part_hashes import (
    hash_of_configuration,
    hash_of_preprocessing,
    hash_of_tokenizer,
    hash_of_weights,
)
from pyg_graphadapter.encoding.parts import checked_image_features, encoded_in_parts
from pyg_graphadapter.encoding.pipeline import EncodedImages, ImagePipeline
from pyg_graphadapter.encoding.pretrained import (
    as_trained,
    check_model_type,
    load_pretrained,
)
from pyg_graphadapter.encoding.text_tower import TextTower
from pyg_graphadapter.encoding.views import Views
from pyg_graphadapter.progress import transformers_bars
from pyg_graphadapter.settings import refuse_arguments, unknown

BATCH_SIZE = {"cpu": 8, "cuda": 256, "mps": 64}  # small enough for the caches of a CPU

logger = logging.getLogger(__name__)


class Encoder(InOtherLibraries, TextTower):
    r"""A frozen dual encoder: CLIP, MetaCLIP 2, SigLIP, SigLIP 2, AltCLIP, Chinese-CLIP, or any
    pair of towers as a ``VisionTextDualEncoderModel``.

    It implements :class:`~pyg_graphadapter.encoding.model.EncoderModel`, and encodes lists of
    images with an :class:`~pyg_graphadapter.encoding.pipeline.ImagePipeline`.

    Args:
        model (transformers.PreTrainedModel): The model.
        processor (transformers.BaseImageProcessor): Its image processor.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        name (str, optional): The name that results and caches record. (default: :obj:`"model"`)
        revision (str, optional): Its version on the hub. (default: :obj:`None`)
        device (str, optional): The device to compute on. (default: :obj:`"auto"`)
        dtype (str, optional): ``float32``, ``float16`` or ``bfloat16``. (default: :obj:`"float32"`)
        batch_size (int, optional): The number of views per batch, halved where memory does not
            suffice. If not given, 8 on a CPU and 256 on a GPU. (default: :obj:`None`)
        workers (int, optional): The number of processes that decode images. If not given, one per
            core on a GPU, at most 8, and none on a CPU. (default: :obj:`None`)
        shard_images (int, optional): The number of images per shard of the feature cache; a killed
            process loses at most one shard. (default: :obj:`128`)

    Raises:
        ValueError: If the model is not a supported dual encoder, its parts are damaged or do not
            fit together, or a setting is unknown.

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
        tokenizer = as_trained(model.config, tokenizer)
        words = check_model(name, model, processor, tokenizer)
        # Convolutions are two to three times as fast channels last; other layers do not care:
        model = model.to(
            resolve_device(device), getattr(torch, dtype), memory_format=torch.channels_last
        )
        super().__init__(model.eval().requires_grad_(False), tokenizer, name)
        self.processor, self.revision = processor, revision
        self.batch_size = batch_size or BATCH_SIZE[self.device.type]
        self.pipeline = ImagePipeline(self, workers, shard_images)
        x = self.text_features(words)
        check_text_features(name, words, x)
        self.num_channels = x.size(1)
        logger.info("Loaded the encoder %s on %s (%s).", name, self.device, dtype)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        progress: bool = True,
        **settings: Any,
    ) -> Self:
        """Loads a model: a folder, an id on the Hugging Face hub, or ``builtin``.

        A model in the format of open_clip is read without that package, if its towers are a ViT and
        CLIP's text transformer, BERT or RoBERTa. Weights are read from safetensors only, and code
        that comes with a model is never run.

        Args:
            model (str or Path): The model.
            revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
            token (str or bool, optional): For models that are not public. (default: :obj:`None`)
            local_files_only (bool, optional): Download nothing. (default: :obj:`False`)
            progress (bool, optional): Show the progress bars of transformers and of downloads, on
                a terminal. (default: :obj:`True`)
            **settings (optional): Further arguments of :class:`Encoder`.

        Raises:
            ValueError: If there is no such model, it is not a supported dual encoder, its weights
                do not fit, or a setting is unknown.
        """
        refuse_arguments(settings.keys() & {"trust_remote_code"})
        choices = [
            parameter.name
            for parameter in inspect.signature(cls.__init__).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
            and parameter.name not in ("name", "revision")
        ]
        for setting in settings:
            if setting not in choices:
                raise unknown("argument", setting, choices)
        with transformers_bars(progress):
            pretrained = load_pretrained(
                str(model), revision, token, local_files_only=local_files_only
            )
        return cls(
            pretrained.model,
            pretrained.processor,
            pretrained.tokenizer,
            name=str(model),
            revision=pretrained.revision,
            **settings,
        )

    # As EncoderModel has it ###########################################################

    @property
    def logit_scale(self) -> float:
        """The factor of the cosine, about 100 for CLIP."""
        return float(self.model.logit_scale.detach().float().exp())

    @property
    def logit_bias(self) -> float:
        """What SigLIP adds to the scaled cosine; it does not change which class is likeliest."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach().float())

    @property
    def has_texts(self) -> bool:
        """A dual encoder always has a text tower."""
        return True

    def identity(self) -> dict[str, Any]:
        """Everything that features depend on, save the image. Its four parts
        (:obj:`~pyg_graphadapter.encoding.identity.PARTS`) have a hash each, which is the same
        wherever the model lies and whatever it is called."""
        return {
            "model": self.name,
            "revision": self.revision,
            "weights": self.weights_hash,
            "configuration": hash_of_configuration(self.model),
            "tokenizer": self._tokenizer_hash,
            "preprocessing": hash_of_preprocessing(self.processor),
            "dtype": str(self.dtype),
            "torch": torch.__version__,
        }

    @cached_property
    def weights_hash(self) -> str:
        """The SHA-256 of the weights."""
        return hash_of_weights(self.model)

    @cached_property
    def _tokenizer_hash(self) -> str:
        return hash_of_tokenizer(self.tokenizer)

    def preprocessing(self, views: int, seed: int) -> Views:
        """The model's own preprocessing, and augmented views."""
        return Views(self.processor, views, seed)

    @torch.inference_mode()
    def image_features(self, batch: dict[str, Tensor], preprocessing: Views) -> Tensor:
        """Features of length one ``[B * V, D]``. Where memory does not suffice, half as many views
        go through the tower at a time, from then on."""
        return encoded_in_parts(
            self, batch, lambda inputs: self._tower_features(inputs, preprocessing)
        )

    def _tower_features(self, inputs: dict[str, Tensor], preprocessing: Views) -> Tensor:
        on_device = {
            name: value.to(self.device, non_blocking=True) for name, value in inputs.items()
        }
        output = self.model.get_image_features(**preprocessing.finish(on_device, self.dtype))
        return checked_image_features(output.pooler_output, self.name)

    # Lists of images and class names ##################################################

    def encode_images(
        self,
        images: Any,
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
            images: One image or several, by the rule of
                :mod:`pyg_graphadapter.encoding.image_list`: paths, PIL images, encoded bytes,
                arrays of ``uint8``, or the image column of a ``datasets.Dataset``.
            views (int, optional): The number of views :math:`V`. The first is the image itself, and
                the others are augmented (:class:`~pyg_graphadapter.encoding.views.Views`).
                (default: :obj:`1`)
            seed (int, optional): Seeds the augmented views. (default: :obj:`0`)
            cache (Path, optional): The folder of the feature cache; cached features are not
                computed again. (default: :obj:`None`)
            digests (list of bytes, optional): The SHA-256 of every image, if already computed.
                (default: :obj:`None`)
            strict (bool, optional): Stop at an image that cannot be decoded, instead of skipping
                it. (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If something is no image, one cannot be decoded and :obj:`strict`, or a
                feature is not finite.
            OSError: If the cache cannot be written.
        """
        return self.pipeline.encode(
            images, views, seed, cache=cache, digests=digests, strict=strict, progress=progress
        )

    def fill_cache(
        self,
        images: Any,
        views: int = 1,
        seed: int = 0,
        *,
        cache: Path,
        part: tuple[int, int] = (0, 1),
        digests: list[bytes] | None = None,
        strict: bool = False,
        progress: bool = True,
    ) -> tuple[int, dict[int, str]]:
        """Encodes images, or one process's part of them, into the cache, without keeping the
        features in memory.

        The images are cut into shards by their content, independently of their order, and of
        :math:`n` processes, process :math:`i` encodes shards :math:`i, i + n, i + 2n, \\ldots` The
        bytes of a shard depend neither on the number of processes nor on earlier runs, as long as
        all compute on the same kind of device with the same :obj:`batch_size` and
        :obj:`shard_images`.

        Args:
            images (sequence): As for :meth:`encode_images`; the same for all processes.
            views (int, optional): As for :meth:`encode_images`. (default: :obj:`1`)
            seed (int, optional): As for :meth:`encode_images`. (default: :obj:`0`)
            cache (Path): The folder of the feature cache, which all processes share.
            part (tuple of int, optional): The index of this process, from 0, and the number of
                processes. (default: :obj:`(0, 1)`)
            digests (list of bytes, optional): As for :meth:`encode_images`. (default: :obj:`None`)
            strict (bool, optional): As for :meth:`encode_images`. (default: :obj:`False`)
            progress (bool, optional): As for :meth:`encode_images`. (default: :obj:`True`)

        Returns:
            The number of encoded images, and the skipped images with the reason.

        Raises:
            ValueError: As :meth:`encode_images` does.
            OSError: As :meth:`encode_images` does.
        """
        return self.pipeline.fill_cache(
            images,
            views,
            seed,
            cache=cache,
            part=part,
            digests=digests,
            strict=strict,
            progress=progress,
        )

    def encode_text(
        self,
        class_names: Sequence[str],
        templates: str | Sequence[str] = TEMPLATES,
        descriptions: DescriptionsLike | None = None,
        descriptions_weight: float = DESCRIPTIONS_WEIGHT,
    ) -> Tensor:
        """Class text features ``[C, D]``
        (:func:`~pyg_graphadapter.encoding.model.class_text_features`)."""
        return class_text_features(self, class_names, templates, descriptions, descriptions_weight)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, device={str(self.device)!r})"
