"""Labelled images of any form, as features with the labels of a classifier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.classifier.shots import (
    are_shots,
    feature_hashes,
    image_hashes,
    tell_of_shots,
)
from pyg_graphadapter.encoding.image_list import as_array, as_images, described
from pyg_graphadapter.feature_file import SPLITS, FeatureFile
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.config import EncodingConfig
    from pyg_graphadapter.encoding.model import EncoderModel


@dataclass(frozen=True)
class Labelled:
    """Images to measure a classifier on.

    Args:
        features (Features): Their features, and the labels as the data count them.
        class_names (tuple of str, optional): The classes that the labels count; those of the
            classifier, if not given. (default: :obj:`None`)
        hashes (tuple of str, optional): Their hashes. (default: those of the features)
        num_skipped (int, optional): How many more could not be decoded. (default: :obj:`0`)
    """

    features: Features
    class_names: tuple[str, ...] | None = None
    hashes: tuple[str, ...] | None = None
    num_skipped: int = 0

    def measure(self, adapter: Adapter, shots: Sequence[str]) -> Evaluation:
        """The measures of a classifier's adapter; says how many of the images are its shots."""
        evaluation = replace(evaluate(adapter, self.features), num_skipped=self.num_skipped)
        if not shots:
            return evaluation
        hashes = feature_hashes(self.features) if self.hashes is None else self.hashes
        is_shot = are_shots(hashes, shots)
        if is_shot is None:
            return evaluation
        if is_shot.any():
            others = None
            if not is_shot.all():
                others = evaluate(adapter, self.features.select(~is_shot)).accuracy
            tell_of_shots(is_shot, evaluation.accuracy, others)
        return replace(evaluation, num_shots=int(is_shot.sum()))


def of_file(file: FeatureFile, split: str | None = None) -> Labelled:
    """A split of a feature file: if none is named, the test split, else the training split.

    Raises:
        ValueError: If there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    features = getattr(file, split) if split else file.test or file.train
    if features is None:
        raise ValueError(f"There is no split {split!r} in the feature file.")
    return Labelled(features, file.class_names)


def of_images(
    data: Any,
    split: str | None,
    load_encoder: "Callable[[], EncoderModel]",
    encoding: "EncodingConfig | None",
    *,
    progress: bool,
    **reading: Any,
) -> Labelled:
    """A split of a data set of images: if none is named, the test split, else what there is.

    Raises:
        ValueError: If there is no such split or no image, or these are images without labels.
    """
    _check_has_labels(data)
    from pyg_graphadapter.data import load_images  # loads datasets
    from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder, class_names_of

    splits = load_images(data, **reading)
    if split is None:
        split = next(name for name in ("test", "val", "train") if name in splits)
    if split not in splits:
        raise ValueError(f"There is no split {split!r} among the images: choose from "
                         f"{', '.join(splits)}.")  # fmt: skip
    encode = DatasetEncoder(load_encoder(), encoding, progress=progress)
    features, digests = encode.encode_hashed(splits[split])
    names = class_names_of(splits[split])
    return Labelled(features, names, image_hashes(digests), encode.summary.num_skipped)


def _check_has_labels(data: Any) -> None:
    is_path = isinstance(data, str) or not hasattr(data, "__iter__")
    if is_path or type(data).__module__.partition(".")[0] == "datasets":
        return
    if isinstance(data, list | tuple) or as_images(data) or as_array(data) is not None:
        raise ValueError(
            f"Images and features need labels to be measured on (got {described(data)} alone): "
            f"give them as y, or give Features, a feature file, or a folder of class folders."
        )


def labels_of(y: Any, class_names: Sequence[str], num_images: int) -> Tensor:
    """Labels ``[N]`` that were given as numbers or as names of classes.

    Raises:
        ValueError: If there is not one per image, or a class is unknown.
    """
    array = as_array(y)
    labels = list(y) if array is None else array.tolist()
    if not isinstance(labels, list) or len(labels) != num_images:
        count = len(labels) if isinstance(labels, list) else 1
        raise ValueError(f"{counted(count, 'label')} for {counted(num_images, 'image')}: one per "
                         f"image is needed.")  # fmt: skip
    number = {name: c for c, name in enumerate(class_names)}
    indices = []
    for label in labels:
        c = number.get(label) if isinstance(label, str) else label
        if isinstance(c, bool) or not isinstance(c, int) or not 0 <= c < len(class_names):
            raise ValueError(
                f"The label {label!r} is no class of the classifier: give one of its "
                f"{len(class_names)} names, or their number from 0."
            )
        indices.append(c)
    return torch.tensor(indices, dtype=torch.long)
