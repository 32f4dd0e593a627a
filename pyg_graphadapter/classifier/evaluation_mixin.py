"""How well a classifier classifies labelled images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pyg_graphadapter.adapters import ZeroShot
from pyg_graphadapter.classifier.base import Images
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.evaluated import evaluation_file
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.labelled import (
    SHOWN,
    Labelled,
    labels_of,
    of_file,
    of_images,
    of_path,
)
from pyg_graphadapter.classifier.shots import image_hashes
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.labels import told_apart
from pyg_graphadapter.orientation import check_same_order
from pyg_graphadapter.progress import obeys_progress
from pyg_graphadapter.report.evaluation_file import EvaluationFile, Skipped
from pyg_graphadapter.training.evaluation import Evaluation, predict_logits

if TYPE_CHECKING:
    import datasets

IN_PYTHON = "classifier.evaluate_images(…)"


class EvaluationMixin(EncoderMixin):
    """A classifier that is measured on labelled images or features."""

    @obeys_progress
    def evaluate(
        self,
        data: "Images | datasets.DatasetDict | FeatureFile | Features",
        y: Any = None,
        *,
        split: str | None = None,
        encoding: EncodingConfig | None = None,
        progress: bool = True,
        **reading: Any,
    ) -> Evaluation:
        """Measures the classifier on labelled images or features: the test split where there is
        one, else all that there are. Classes are matched by their names, where the data have any;
        the labels of :class:`Features`, and of a feature file without names, count the classes of
        the classifier (:meth:`own_labels`). Class texts alone, zero-shot CLIP, are measured
        beside, and the probabilities before and after calibration (:obj:`Evaluation.calibrated`).
        Warns if it was fitted on some of the images.

        Args:
            data: A data set as :func:`pyg_graphadapter.data.load_images` takes it, a feature file,
                or :class:`Features`; with :obj:`y`, features or images by the rule of
                :mod:`pyg_graphadapter.classifier.inputs`.
            y (sequence, optional): The label of every image: text is a class name, also ``"1"``,
                and a whole number counts the classes from 0. (default: :obj:`None`)
            split (str, optional): ``train``, ``val`` or ``test``. (default: the test split, else
                what there is)
            encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
            progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
            **reading (optional): Further arguments of :func:`pyg_graphadapter.data.load_images`.

        Raises:
            ValueError: If a class is not among those that it was fitted on, or there is no image.
        """
        return self._measured(self._labelled(data, y, split, encoding, progress, reading))

    @obeys_progress
    def evaluate_images(
        self,
        data: "Images | datasets.DatasetDict | FeatureFile | Features",
        y: Any = None,
        *,
        split: str | None = None,
        encoding: EncodingConfig | None = None,
        progress: bool = True,
        name: str | None = None,
        command: str = IN_PYTHON,
        **reading: Any,
    ) -> EvaluationFile:
        """Measures the classifier as :meth:`evaluate` does, and keeps what it says of each image:
        the likeliest classes with their probabilities before and after calibration, the file, and
        small pictures of some errors. The functions in :mod:`pyg_graphadapter.report.per_image`,
        ``calibration`` and ``intervals`` compute accuracies per class, confusions, errors,
        calibration and intervals of it.

        Args:
            data: As for :meth:`evaluate`.
            y (sequence, optional): As for :meth:`evaluate`. (default: :obj:`None`)
            split (str, optional): As for :meth:`evaluate`. (default: the test split, else what
                there is)
            encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
            progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
            name (str, optional): What the data are called. (default: their path)
            command (str, optional): The command that made it.
                (default: the call of this method)
            **reading (optional): Further arguments of :func:`pyg_graphadapter.data.load_images`.

        Raises:
            ValueError: As :meth:`evaluate` does.

        Example:
            >>> from pyg_graphadapter import FewShotClassifier
            >>> from pyg_graphadapter.report.per_image import class_rows
            >>> from pyg_graphadapter.testing import fake_features
            >>> data = fake_features(num_classes=3)
            >>> classifier = FewShotClassifier.fit(data, method="zero_shot", progress=False)
            >>> [(row.right, row.images) for row in class_rows(classifier.evaluate_images(data))]
            [(20, 20), (20, 20), (20, 20)]
        """
        labelled = self._labelled(data, y, split, encoding, progress, reading)
        return evaluation_file(
            self,
            labelled,
            self._measured(labelled),
            predict_logits(self.adapter, labelled.features.mean_views()),
            data=_name_of(data) if name is None else name,
            command=command,
        )

    def _labelled(
        self,
        data: Any,
        y: Any,
        split: str | None,
        encoding: EncodingConfig | None,
        progress: bool,
        reading: dict[str, Any],
    ) -> Labelled:
        """The images to measure on, with the labels of this classifier.

        Raises:
            ValueError: As :meth:`evaluate` does.
        """
        if y is not None:
            labelled = self._labelled_by(data, y)
        elif is_feature_file(data):
            labelled = of_path(Path(cast(str, data)), split)
        elif isinstance(data, FeatureFile):
            labelled = of_file(data, split)
        elif isinstance(data, Features):
            labelled = Labelled(data)
        else:
            labelled = of_images(
                data, split, lambda: self.encoder, encoding, progress=progress, **reading
            )
        features = labelled.features
        self._input(features)  # says so where they are of another width
        own = self.own_labels(features.y, labelled.class_names)
        return replace(labelled, features=Features(features.x, own))

    def _measured(self, labelled: Labelled) -> Evaluation:
        evaluation = labelled.measure(self.adapter, self.shot_hashes, self.shots, self.temperature)
        if not self.has_text:
            return evaluation
        features = labelled.features
        logits = predict_logits(ZeroShot(self.adapter.text), features.mean_views())
        is_right = logits.softmax(dim=1).argmax(dim=1) == features.y  # as ``evaluate`` says
        return replace(evaluation, zero_shot=100 * float(is_right.double().mean()))

    def _labelled_by(self, x: Any, y: Any) -> Labelled:
        """Features or images with labels that were given apart from them."""
        check_same_order(x, y)
        given = self._input(x)
        labels = labels_of(y, self.class_names, len(given.files))
        if isinstance(given, FeatureInput):
            return Labelled(Features(given.x, labels))
        from pyg_graphadapter.encoding.image_batches import digests_of  # loads datasets

        encoded = self._encode(given.images)
        digests = digests_of(given.images, encoded.index.tolist())
        return Labelled(
            Features(encoded.x, labels[encoded.index]),
            hashes=image_hashes(digest.hex() for digest in digests),
            images=[given.images[i] for i in encoded.index.tolist()],
            skipped=tuple(
                Skipped(given.files[i], encoded.skipped[i]) for i in sorted(encoded.skipped)
            ),
        )

    def own_labels(self, y: Tensor, class_names: Sequence[str] | None) -> Tensor:
        """Labels ``[N]`` that count other class names, as labels of this classifier's classes.

        Names are matched as names, also where they are digits, as ``"0"``, ``"1"``, ``"10"``,
        ``"2"``. Without names, the labels are numbers and count the classes of the classifier
        already; so they do if the names are only the numbers 0, 1, …, one per class, and not all of
        them are names of the classifier. Equal names are told apart by the numbers of their
        classes.

        Raises:
            ValueError: If a class is not among those that it was fitted on.
        """
        own_names = told_apart(self.class_names)
        class_names = None if class_names is None else told_apart(class_names)
        number = {name: c for c, name in enumerate(own_names)}
        unknown_names = [name for name in class_names or () if name not in number]
        are_numbers = list(class_names or ()) == [str(c) for c in range(len(self.class_names))]
        if class_names is None or (unknown_names and are_numbers):
            class_names = own_names
        if len(y) and int(y.max()) >= len(class_names):
            raise ValueError(
                f"The label {int(y.max())} has no class: there are {len(class_names)}, counted "
                f"from 0."
            )
        own = torch.tensor([number.get(name, -1) for name in class_names])[y]
        if (own < 0).any():
            raise self._unknown_classes(Counter(class_names[c] for c in y[own < 0].tolist()))
        return own

    def _unknown_classes(self, counts: Counter[str]) -> ValueError:
        """The error for images of classes that the classifier does not have."""
        names = [repr(visible(name)) for name, _ in counts.most_common()]
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        listed = ", ".join(names[:SHOWN]) + more
        noun = "class" if len(names) == 1 else "classes"
        return ValueError(
            f"The classifier does not know the {noun} {listed} "
            f"({counted(counts.total(), 'image')}): it was fitted on "
            f"{counted(len(self.class_names), 'other')}. Leave these images out, give classes the "
            f"names that it knows (class_names=…, --class-names), or add the classes to it "
            f"(add_classes, fit --from)."
        )


def _name_of(data: Any) -> str:
    """What the data are called: their path, or their type."""
    return str(data) if isinstance(data, str | Path) else type(data).__name__
