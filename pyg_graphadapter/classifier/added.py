"""What is added to a classifier: names, or images and features with labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.labelled import label_list, labels_of, tell_of_left_out
from pyg_graphadapter.classifier.shots import feature_hashes, image_hashes, shot_hashes
from pyg_graphadapter.classifier.source import source_of
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.image_list import as_array
from pyg_graphadapter.encoding.sources import FileSource, Source
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import ALL, Features, Shots
from pyg_graphadapter.labels import told_apart
from pyg_graphadapter.orientation import check_same_order

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier


@dataclass(frozen=True)
class LabelledFeatures:
    """What is added to a classifier.

    Args:
        shots (Features): The features, whose labels count the class names.
        class_names (tuple of str): The names of their classes.
        text (torch.Tensor, optional): The text features of these classes ``[C, D]``, where they are
            known.
        hashes (tuple of str): The hashes by which the classifier knows the images, one each.
    """

    shots: Features
    class_names: tuple[str, ...]
    text: Tensor | None
    hashes: tuple[str, ...]


def names_alone(data: Any) -> tuple[str, ...] | None:
    """The class names that data are, if they are no images.

    Raises:
        ValueError: If there are none, or they are mixed with something else.
    """
    from pyg_graphadapter.data.names_file import is_name_of_image

    array = None if isinstance(data, Tensor) else as_array(data)
    names = data if array is None or array.ndim != 1 else array.tolist()
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        return None
    if not names:
        raise ValueError("There is no name of a new class (got an empty list): give one or more.")
    if not any(isinstance(name, str) for name in names):
        return None
    others = [name for name in names if not isinstance(name, str) or is_name_of_image(name)]
    if others:
        raise ValueError(
            f"New classes are given by their names, or by images with labels, and {others[0]!r} is "
            f"no class name: give the labels of images, add_classes(images, labels)."
        )
    return tuple(map(str, names))


def read_added(
    classifier: "FewShotClassifier",
    data: Any,
    labels: Sequence[str | int] | None,
    how: dict[str, Any],
    *,
    may_add: bool = False,
) -> tuple[dict[str, Any], LabelledFeatures]:
    """The arguments of :func:`grow`, and what is added, from labelled or unlabelled data, which may
    add classes or not.

    Of labelled data, ``shots``, ``at_most`` and ``seed`` in ``how`` draw, and ``encoding`` says how
    images are cached.
    """
    how = dict(how)
    reading = {name: how.pop(name) for name in ("shots", "at_most", "seed", "encoding")
               if name in how}  # fmt: skip
    encoding = encoding_of(classifier, reading.pop("encoding", None))
    if labels is not None:
        if reading:
            raise ValueError(f"With labels, all images are taken: leave {next(iter(reading))} out.")
        return how, _with_labels(classifier, data, labels, encoding)
    if isinstance(data, Features):
        hashes = feature_hashes(data)
        return how, LabelledFeatures(data, classifier.class_names, None, hashes)
    progress = how.get("progress", True)
    source = _source(classifier, data, encoding, progress=progress)
    file = source.file if isinstance(source, FileSource) else None
    has_numbers = file is not None and _has_numbers(classifier, file)
    if has_numbers and may_add:
        raise ValueError(
            "The classes of the feature file have no names but numbers, which would be read as the "
            "numbers of classes that the classifier has: give it class names ('class_names'), or "
            "add shots of classes that the classifier has with add_shots."
        )
    shots: Shots = reading.get("shots", ALL)
    at_most = reading.get("at_most")
    task = source.task(
        shots if at_most is None else at_most,
        reading.get("seed", 1),
        allow_fewer=at_most is not None,
    )
    text = task.text if task.has_text else None
    if "descriptions" in classifier.encoding and source.text_encoder is not None:
        text = None  # it is by the templates alone, as new classes' are (encode_names)
    names = classifier.class_names
    more = LabelledFeatures(task.support, told_apart(task.class_names), text, shot_hashes(task))
    if (
        file is not None
        and has_numbers
        and (file.is_numbered or len(file.class_names) == len(names))
    ):
        more = replace(more, class_names=names[: len(more.class_names)])
    return how, more


def _has_numbers(classifier: "FewShotClassifier", file: FeatureFile) -> bool:
    """Whether the classes of a file have no names but numbers, which are no names of a classifier
    (:meth:`FewShotClassifier.own_labels`)."""
    names = classifier.class_names
    if file.has_class_names or names == tuple(map(str, range(len(names)))):
        return False
    return file.is_numbered or not set(file.class_names) <= set(names)


def _source(
    classifier: "FewShotClassifier", data: Any, encoding: EncodingConfig, *, progress: bool
) -> Source:
    """The source of labelled data.

    Raises:
        ValueError: If these are images or features without labels.
    """
    is_dataset = type(data).__module__.partition(".")[0] == "datasets"
    if not is_dataset and not isinstance(data, str | Path | Source | FeatureFile):
        raise ValueError(
            f"Images and features that are added need labels (got a {type(data).__name__} alone): "
            f"give the labels beside them, or give Features, a feature file, or a folder of class "
            f"folders."
        )
    needs_encoder = not isinstance(data, Source | FeatureFile) and not is_feature_file(data)
    model = classifier.encoder if needs_encoder else None
    how = encoding if needs_encoder else None
    return source_of(data, model, how, "auto", ReadOptions(), progress=progress, min_classes=1)


def _with_labels(
    classifier: "FewShotClassifier",
    data: Any,
    labels: Sequence[str | int],
    encoding: EncodingConfig,
) -> LabelledFeatures:
    """Features, or images that are encoded, with labels that were given apart from them. Images
    that cannot be decoded are left out, with a warning."""
    check_same_order(data, labels)
    given = classifier._input(data)
    names, y = _names_and_labels(labels, classifier.class_names, len(given.files))
    if isinstance(given, FeatureInput):
        shots = Features(given.x, y)
        return LabelledFeatures(shots, names, None, feature_hashes(shots))
    from pyg_graphadapter.encoding.image_batches import digests_of
    from pyg_graphadapter.encoding.pipeline import pipeline_of

    images = given.images
    encoded = pipeline_of(classifier.encoder, encoding).encode(
        images, encoding.views, encoding.view_seed, strict=encoding.strict
    )
    tell_of_left_out(encoded.skipped, len(images))
    hashes = image_hashes(digest.hex() for digest in digests_of(images, encoded.index.tolist()))
    return LabelledFeatures(Features(encoded.x, y[encoded.index]), names, None, hashes)


def _names_and_labels(
    labels: Any, class_names: tuple[str, ...], num_images: int
) -> tuple[tuple[str, ...], Tensor]:
    """The classes that labels count, and the labels ``[N]``: of names, these names, which may be
    new; of numbers, the classes of the classifier."""
    values = label_list(labels, num_images)
    if not values:
        raise ValueError("There is nothing to add (got no image): give one or more.")
    if not all(isinstance(label, str) for label in values):
        return class_names, labels_of(values, class_names, num_images)
    names = tuple(dict.fromkeys(map(str, values)))
    number = {name: c for c, name in enumerate(names)}
    return names, torch.tensor([number[label] for label in values])


def encoding_of(classifier: "FewShotClassifier", encoding: EncodingConfig | None) -> EncodingConfig:
    """How images are encoded: as those that the classifier was fitted on."""
    recorded = {
        name: classifier.encoding[name]
        for name in ("dtype", "views", "view_seed", "templates")
        if name in classifier.encoding
    }
    if "templates" in recorded:
        recorded["templates"] = tuple(recorded["templates"])
    encoding = encoding or EncodingConfig()
    if encoding.descriptions is not None:
        raise ValueError(
            "New classes are described by the argument 'descriptions', not by 'encoding': give "
            "them there."
        )
    return replace(encoding, **recorded)
