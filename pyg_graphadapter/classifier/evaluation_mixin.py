"""How well a classifier classifies labelled images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pyg_graphadapter.adapters import ZeroShot
from pyg_graphadapter.classifier.base import Images
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.labelled import Labelled, labels_of, of_file, of_images
from pyg_graphadapter.classifier.shots import image_hashes
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import Features
from pyg_graphadapter.labels import told_apart
from pyg_graphadapter.orientation import check_same_order
from pyg_graphadapter.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    import datasets


class EvaluationMixin(EncoderMixin):
    """A classifier that is measured on labelled images or features."""

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
        if y is not None:
            labelled = self._labelled_by(data, y)
        elif is_feature_file(data):
            labelled = of_file(FeatureFile.load(cast(str, data)), split)
        elif isinstance(data, FeatureFile):
            labelled = of_file(data, split)
        elif isinstance(data, Features):
            labelled = Labelled(data)
        else:
            labelled = of_images(
                data, split, lambda: self.encoder, encoding, progress=progress, **reading
            )
        features = labelled.features
        own = self.own_labels(features.y, labelled.class_names)
        labelled = replace(labelled, features=Features(features.x, own))
        evaluation = labelled.measure(self.adapter, self.shot_hashes, self.shots, self.temperature)
        if not self.has_text:
            return evaluation
        zero_shot = evaluate(ZeroShot(self.adapter.text), labelled.features)
        return replace(evaluation, zero_shot=zero_shot.accuracy)

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
            num_skipped=len(encoded.skipped),
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
        elif unknown_names:
            raise ValueError(
                f"The classifier does not know the class {unknown_names[0]!r}: it was fitted on "
                f"{len(self.class_names)} others."
            )
        if len(y) and int(y.max()) >= len(class_names):
            raise ValueError(
                f"The label {int(y.max())} has no class: there are {len(class_names)}, counted "
                f"from 0."
            )
        return torch.tensor([number[name] for name in class_names])[y]
