"""Labelled images of any form, as features with the labels of a classifier."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.classifier.inputs import file_of
from pyg_graphadapter.classifier.shots import (
    are_shots,
    feature_hashes,
    image_hashes,
    tell_of_shots,
)
from pyg_graphadapter.copies import are_copies
from pyg_graphadapter.data.reading import CLASS_FOLDERS, ReadOptions
from pyg_graphadapter.data.splits import split_choices, split_meant
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.image_list import as_array, as_images, described
from pyg_graphadapter.feature_file import SPLITS, FeatureFile, read_content, read_images
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.report.evaluation_file import Skipped
from pyg_graphadapter.settings import unknown, warn
from pyg_graphadapter.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from pyg_graphadapter.data.reading import ImageSet
    from pyg_graphadapter.encoding.config import EncodingConfig
    from pyg_graphadapter.encoding.model import EncoderModel

SHOWN = 5  # images that a warning names


@dataclass(frozen=True)
class Labelled:
    """Images to measure a classifier on.

    Args:
        features (Features): Their features, and the labels as the data count them.
        class_names (tuple of str, optional): The classes that the labels count; those of the
            classifier, if not given. (default: :obj:`None`)
        hashes (tuple of str, optional): Their hashes. (default: those of the features)
        images (sequence, optional): The images that the features are of, undecoded.
            (default: of features alone, none)
        skipped (tuple of Skipped, optional): The images that could not be decoded.
            (default: :obj:`()`)
        split (str, optional): The split that they are; none of a folder of class folders alone,
            which are not named ``train`` to a reader. (default: :obj:`""`)
    """

    features: Features
    class_names: tuple[str, ...] | None = None
    hashes: tuple[str, ...] | None = None
    images: Sequence[Any] = ()
    skipped: tuple[Skipped, ...] = ()
    split: str = ""

    def files(self) -> list[str | None]:
        """The path of every image, where it has one."""
        if not len(self.images):
            return [None] * len(self.features)
        return [file_of(image) for image in self.images]

    def measure(
        self,
        adapter: Adapter,
        shot_hashes: Sequence[str],
        shots: Features | None = None,
        temperature: float | None = None,
    ) -> Evaluation:
        """The measures of a classifier's adapter; says how many of the images are its shots, by the
        hashes of these and, where they are kept, by their features."""
        evaluation = evaluate(adapter, self.features, temperature)
        evaluation = replace(evaluation, num_skipped=len(self.skipped))
        is_shot = self._are_shots(shot_hashes, shots)
        if is_shot is None:
            return evaluation
        if is_shot.any():
            others = None
            if not is_shot.all():
                # A transductive method classifies the others together, without the shots:
                others = evaluate(adapter, self.features.select(~is_shot)).accuracy
            tell_of_shots(is_shot, evaluation.accuracy, others)
        return replace(evaluation, num_shots=int(is_shot.sum()))

    def _are_shots(self, shot_hashes: Sequence[str], shots: Features | None) -> Tensor | None:
        """Which images ``[N]`` are shots of a classifier; :obj:`None` if it is not known."""
        hashes = feature_hashes(self.features) if self.hashes is None else self.hashes
        by_hash = are_shots(hashes, shot_hashes)
        if shots is None or not len(shots):
            return by_hash
        by_features = are_copies(self.features.x[:, 0], shots.x[:, 0])
        return by_features if by_hash is None else by_features | by_hash


def of_file(file: FeatureFile, split: str | None = None) -> Labelled:
    """A split of a feature file: if none is named, the test split, else the training split.

    Raises:
        ValueError: If there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    split = split or ("train" if file.test is None else "test")
    features = getattr(file, split)
    if features is None:
        raise ValueError(f"There is no split {split!r} in the feature file.")
    return Labelled(features, None if file.is_numbered else file.class_names, split=split)


def of_path(path: Path, split: str | None = None) -> Labelled:
    """A split of a feature file on a disk, which may hold images to measure on alone: those of its
    ``features``, or of a test split.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, there is no such split, or it has no labels.
    """
    content = read_content(path)
    if content.train_features is not None and content.train_labels is not None:
        return of_file(FeatureFile.load(path), split)
    images = read_images(path, split)
    if images.y is None:
        raise ValueError(
            f"The images of {path} have no labels, so nothing can be measured on them: classify "
            f"them with predict, or write their labels to the file."
        )
    return Labelled(Features(images.x, images.y), images.class_names, split=split or "")


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
    from pyg_graphadapter.data import load  # loads datasets
    from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder

    of_hub = {name: reading.pop(name, None) for name in ("revision", "token")}
    images, split = images_and_split(data, ReadOptions(**reading), split, **of_hub)
    if images is not data:
        images.reading.tell(load.name_of(data))
    is_plain = split is None and images.reading.layout == CLASS_FOLDERS  # of no split
    split = _chosen_split(images, split)
    rows = images.splits[split]
    encode = DatasetEncoder(load_encoder(), encoding, progress=progress)
    encoded = encode.encode_hashed(rows)
    return Labelled(
        encoded.features,
        images.class_names,
        image_hashes(encoded.hashes),
        rows.select(encoded.index.tolist())["image"],
        tuple(Skipped(*encoded.skipped[i]) for i in sorted(encoded.skipped)),
        "" if is_plain else split,
    )


def images_and_split(
    data: Any, options: ReadOptions, split: str | None, **of_hub: Any
) -> "tuple[ImageSet, str | None]":
    """The images of a source, and the split that a user asks for, by its name or as ``test=NAME``
    with the name that the source has for it.

    Raises:
        ValueError: As :func:`~pyg_graphadapter.data.read_images` does.
    """
    from pyg_graphadapter.data import load  # loads datasets

    if split is not None and "=" in split:
        options, split = replace(options, split=split), _only_split(split)
    try:
        return load.read_images(data, options, **of_hub, min_classes=1), split
    except ValueError as error:
        if not any(word in str(error) for word in ("label", "class folders")):
            raise
        raise ValueError(f"{error} Images without labels are classified with predict.") from error


def _only_split(names: str) -> str | None:
    """The split of ``test=NAME``; :obj:`None` if several are named."""
    meant = set(split_choices(names).values())
    return meant.pop() if len(meant) == 1 else None


def _chosen_split(images: "ImageSet", split: str | None) -> str:
    """The split that is measured on: that with a name, or the test split, else what there is."""
    splits = images.splits
    if split is None:
        split = next(name for name in ("test", "val", "train") if name in splits)
        if split != "test" and "test" in images.unlabelled:
            warn(f"The test split has no labels, so the {split} split is measured on.")
    split = split_meant(split) or split
    if split in images.unlabelled:
        raise ValueError(
            f"The {split} split has no labels, so nothing can be measured on it: classify its "
            f"images with predict, or choose another split."
        )
    if split not in splits:
        raise ValueError(f"There is no split {split!r} among the images: choose from "
                         f"{', '.join(splits)}.")  # fmt: skip
    return split


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
    """Labels ``[N]`` that were given as names of classes, if they are text, or as numbers. Text is
    never read as a number: ``"1"`` is the class of this name, and 1 the second class.

    Raises:
        ValueError: If there is not one per image, or a class is unknown.
    """
    number = {name: c for c, name in enumerate(class_names)}
    indices = []
    for label in label_list(y, num_images):
        c = number.get(label) if isinstance(label, str) else label
        if isinstance(c, bool) or not isinstance(c, int) or not 0 <= c < len(class_names):
            raise ValueError(
                f"The label {label!r} is no class of the classifier: give one of its "
                f"{len(class_names)} names, or their number from 0."
            )
        indices.append(c)
    return torch.tensor(indices, dtype=torch.long)


def label_list(y: Any, num_images: int) -> list[Any]:
    """Labels as Python values, one per image; the numbers of numpy and torch are whole numbers.

    Raises:
        ValueError: If there is not one per image.
    """
    array = as_array(y)
    labels = list(y) if array is None and isinstance(y, Iterable) else array
    labels = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    if not isinstance(labels, list) or len(labels) != num_images or isinstance(y, str):
        count = len(labels) if isinstance(labels, list) and not isinstance(y, str) else 1
        raise ValueError(f"{counted(count, 'label')} for {counted(num_images, 'image')}: one label "
                         f"per image is needed.")  # fmt: skip
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


def tell_of_left_out(skipped: Mapping[int, str], num_images: int) -> None:
    """Warns of the images that cannot be decoded.

    Raises:
        ValueError: If there are no others.
    """
    if not skipped:
        return
    reasons = [visible(skipped[i]) for i in sorted(skipped)]
    listing = " ".join(reasons[:SHOWN]) + (" …" if len(reasons) > SHOWN else "")
    if len(skipped) == num_images:
        raise ValueError(f"No image can be decoded. {listing}")
    verb = "is" if len(skipped) == 1 else "are"
    warn(f"{len(skipped):,} of {counted(num_images, 'image')} {verb} left out: {listing}")
