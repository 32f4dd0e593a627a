"""Images as a source of features: encoded when their features are asked for."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
from torch import Tensor

from pyg_graphadapter.data import base_and_new as halves_of_images
from pyg_graphadapter.data import read_images
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder, class_names_of
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features, Shots, counted
from pyg_graphadapter.task import FewShotTask, Origin

SPLIT_NAMES = {"train": "training", "val": "validation"}


class ImageSource:
    """Images, encoded when they are asked for.

    Args:
        data: Images as :func:`pyg_graphadapter.data.load_images` takes them, or an ``ImageSet`` of
            :func:`pyg_graphadapter.data.read_images`.
        encoder (EncoderModel): The encoder.
        config (EncodingConfig, optional): How to encode. (default: :obj:`None`)
        logit_scale (float, optional): Overrides the encoder's. (default: :obj:`None`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
        name (str, optional): What results call them. (default: the path)
        options (ReadOptions, optional): How the images are read. What is left out is said in one
            warning, unless they are an ``ImageSet``. (default: :obj:`None`)

    Raises:
        ValueError: If there are no such images, or descriptions are not of their classes.
    """

    def __init__(
        self,
        data: Any,
        encoder: EncoderModel,
        config: EncodingConfig | None = None,
        *,
        logit_scale: float | None = None,
        progress: bool = True,
        name: str = "",
        options: ReadOptions | None = None,
    ) -> None:
        self.name = name or (Path(data).name if isinstance(data, str | Path) else "images")
        images = read_images(data, options)
        if images is not data:
            images.reading.tell(self.name)
        self.labelled, self.reading = images.splits, images.reading
        self.unlabelled = dict(images.unlabelled)
        config = config or EncodingConfig()
        if config.descriptions is not None and not encoder.has_texts:
            raise ValueError(
                f"{encoder.name} is an encoder of images alone, so descriptions of the classes "
                f"cannot be used: leave them out."
            )
        config = config.matched(self.class_names)
        self.dataset_encoder = DatasetEncoder(encoder, config, progress=progress)
        self.logit_scale = logit_scale

    @property
    def splits(self) -> datasets.DatasetDict:
        """The images of all splits; the label of an image of a split without labels is -1."""
        label = self.labelled[next(iter(self.labelled))].features["label"]
        unlabelled = {
            split: images.add_column("label", [-1] * len(images), feature=label)
            for split, images in self.unlabelled.items()
        }
        return datasets.DatasetDict({**self.labelled, **unlabelled})

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return class_names_of(next(iter(self.labelled.values())))

    @property
    def text_encoder(self) -> EncoderModel:
        """The encoder of its class names."""
        return self.dataset_encoder.encoder

    @property
    def encoding(self) -> EncodingConfig:
        """How its images are encoded."""
        return self.dataset_encoder.config

    @property
    def has_text(self) -> bool:
        """Whether its encoder has a text tower."""
        return self.text_encoder.has_texts

    @property
    def has_test(self) -> bool:
        """Whether there is a test split."""
        return "test" in self.labelled

    def text(self) -> Tensor:
        """The text features of the classes ``[C, D]``.

        Raises:
            ValueError: If its encoder has no text tower.
        """
        return self.dataset_encoder.encode_text(self.class_names)

    def features(self) -> FeatureFile:
        """The features of all images with labels."""
        file = self.dataset_encoder.encode(self.labelled)
        return file if self.logit_scale is None else replace(file, logit_scale=self.logit_scale)

    def task(self, shots: Shots, seed: int, *, allow_fewer: bool = False) -> FewShotTask:
        """A few shots of every class, or all; no other image is encoded."""
        task = self.dataset_encoder.draw_task(self.labelled, shots, seed, allow_fewer=allow_fewer)
        return task if self.logit_scale is None else replace(task, logit_scale=self.logit_scale)

    def not_drawn(
        self, shots: Shots, seed: int, *, allow_fewer: bool = False, limit: int
    ) -> Features | None:
        """The features of training images that :meth:`task` does not draw, at most so many."""
        if "train" not in self.labelled:
            return None
        return self.dataset_encoder.encode_not_drawn(
            self.labelled, shots, seed, allow_fewer=allow_fewer, limit=limit
        )

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""
        return self.dataset_encoder.encode_split(self.labelled["test"]) if self.has_test else None

    def test_or_all(self) -> Features:
        """The features of the test split, or of all images where there is none."""
        if self.has_test:
            return self.dataset_encoder.encode_split(self.labelled["test"])
        return self.dataset_encoder.encode_split(
            datasets.concatenate_datasets(list(self.labelled.values()))
        )

    def used_in_words(self) -> str:
        """How many images of each split were used, and how they were encoded."""
        summary = self.dataset_encoder.summary
        counts = [
            f"{used:,} of {counted(len(images), SPLIT_NAMES.get(split, split) + ' image')}"
            for split, images in self.labelled.items()
            if (used := summary.used_of(images))
        ]
        return f"Used {' and '.join(counts) or 'no image'}: {summary}."

    def base_and_new(self) -> tuple["ImageSource", "ImageSource"]:
        """The first half of the classes, and the rest."""
        base, new = copy.copy(self), copy.copy(self)
        halves = {split: halves_of_images(images) for split, images in self.labelled.items()}
        base.labelled = datasets.DatasetDict({split: half for split, (half, _) in halves.items()})
        new.labelled = datasets.DatasetDict({split: half for split, (_, half) in halves.items()})
        return base, new

    def without_descriptions(self) -> "ImageSource | None":
        """The same images with the texts of the templates alone; :obj:`None` if theirs are."""
        config = self.encoding
        if config.descriptions is None or config.descriptions_weight == 0:
            return None
        plain = copy.copy(self)
        plain.dataset_encoder = DatasetEncoder(
            self.text_encoder,
            replace(config, descriptions=None),
            progress=self.dataset_encoder.progress,
        )
        return plain

    def origin(self) -> Origin:
        """What results say of it."""
        encoder, skipped = self.text_encoder, self.dataset_encoder.summary.num_skipped
        weights = encoder.identity().get("weights")
        return Origin(self.name, encoder.name, skipped, weights, self.encoding.describe())
