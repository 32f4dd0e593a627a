"""A classifier as a function for the batches of a data set of ``datasets``."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from pyg_graphadapter.classifier.file import CARD, WEIGHTS
from pyg_graphadapter.encoding.batch_function import (
    check_process,
    encoded_column,
    images_in,
    in_rows,
)
from pyg_graphadapter.storage import sha256

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

COLUMNS = ("label", "class_name", "probability", "reason")
NO_LABEL = -1  # of an image that cannot be classified

_classifiers: WeakValueDictionary[str, Any] = WeakValueDictionary()  # by the hash of their files


class ClassifyBatch:
    """What :meth:`FewShotClassifier.as_map` returns. It is pickled as the files of the classifier;
    a forked process has the classifier and its encoder already.

    Args:
        classifier (FewShotClassifier): The classifier.
        image_column (str): The column of images.
        prefix (str): How the names of the new columns begin.
        features (bool): Whether to add a column of features.

    Raises:
        ValueError: If its method classifies images together.
    """

    def __init__(
        self, classifier: "FewShotClassifier", image_column: str, prefix: str, *, features: bool
    ) -> None:
        if classifier.adapter.is_transductive:
            raise ValueError(
                f"{classifier.method} classifies images together, so that what it says of one "
                f"depends on the batch: give all images at once to predict_rows."
            )
        self.classifier, self.image_column = classifier, image_column
        self.prefix, self.features = prefix, features
        self.files = _files_of(classifier)
        self.key = sha256(b"".join(self.files.values()))
        _classifiers[self.key] = classifier

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The new columns of a batch."""
        names = tuple(self.prefix + name for name in COLUMNS)
        new = (*names, "features") if self.features else names
        images = images_in(batch, self.image_column, new)
        encoder = self.classifier.encoder
        check_process(encoder)
        encoded = encoded_column(encoder, images)
        x = encoded.x[:, 0]
        labels, class_names = [NO_LABEL] * len(images), [""] * len(images)
        probabilities = [float("nan")] * len(images)
        predictions = self.classifier.predict_rows(x) if len(x) else []
        for i, prediction in zip(encoded.index.tolist(), predictions, strict=True):
            best = prediction.top[0]
            labels[i], class_names[i], probabilities[i] = best
        reasons = [encoded.skipped.get(i, "") for i in range(len(images))]
        columns = dict(zip(names, (labels, class_names, probabilities, reasons), strict=True))
        if not self.features:
            return columns
        return columns | {"features": in_rows(x, encoded.index, len(images)).numpy()}

    def __reduce__(self) -> Any:
        """The files of the classifier, and the settings."""
        return _classify_batch, (self.files, self.image_column, self.prefix, self.features)


def _files_of(classifier: "FewShotClassifier") -> dict[str, bytes]:
    """The files that the classifier is saved as, without the shots that it may keep."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier"
        replace(classifier, shots=None).save(path)
        return {name: (path / name).read_bytes() for name in (WEIGHTS, CARD)}


def _classify_batch(
    files: dict[str, bytes], image_column: str, prefix: str, features: bool
) -> ClassifyBatch:
    classifier = _classifiers.get(sha256(b"".join(files.values())))
    if classifier is None:
        from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            classifier = FewShotClassifier.load(folder)
    return ClassifyBatch(classifier, image_column, prefix, features=features)
