"""The classes of images, by a classifier."""

from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.classifier.abstaining import Threshold, threshold_of
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.predictions import Classified, Prediction, check_on_error
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.temperature import probabilities


class PredictionMixin(EncoderMixin):
    """A classifier that predicts the classes of images or of their features."""

    def classify(
        self,
        x: Any,
        *,
        strict: bool = False,
        follow_links: bool = False,
        calibrated: bool = True,
        progress: bool = True,
    ) -> Classified:
        """Class probabilities of features or images, and which images have none, with the reason.
        A transductive method classifies all of them together; of one image alone, it warns.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            strict (bool, optional): Stop at an image that cannot be decoded. (default:
                :obj:`False`)
            follow_links (bool, optional): Follow links that lead out of a folder of images, too.
                (default: :obj:`False`)
            calibrated (bool, optional): As in :meth:`predict_proba`. (default: :obj:`True`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        given = self._input(x, follow_links=follow_links)
        if isinstance(given, FeatureInput):
            features, index, skipped = given.x, torch.arange(len(given.x)), {}
        else:
            encoded = self._encode(given.images, strict=strict, progress=progress)
            features, index, skipped = encoded.x[:, 0], encoded.index, encoded.skipped
        if self.adapter.is_transductive and len(features) == 1:
            warn(
                f"{self.method} is transductive: it classifies images together, and there is one "
                f"alone, for which it is little better than zero-shot. Give images of all classes "
                f"at once."
            )
        temperature = self.temperature if calibrated else 1.0
        probability = probabilities(predict_logits(self.adapter, features), temperature)
        return Classified(probability, index, skipped, given.files)

    def predict_proba(self, x: Any, *, calibrated: bool = True, on_error: str = "raise") -> Tensor:
        r"""Class probabilities ``[N, C]``, one row per image:
        :math:`\textrm{softmax}(\textrm{logits} / T)`, with the temperature :math:`T` that was
        fitted to held-out shots (:obj:`temperature`). It changes no class that is predicted. The
        probabilities are those of the classes alone: an image of none of them has one of them, too.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            calibrated (bool, optional): Divide the logits by the temperature.
                (default: :obj:`True`)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``raise`` an
                error, or ``nan``, a row of NaN, with a warning. (default: :obj:`"raise"`)

        Raises:
            ValueError: If these are neither features nor images, features are not finite, zero, or
                of another width than those that it was fitted with; if an image cannot be decoded,
                or there is no encoder.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(x, strict=on_error == "raise", calibrated=calibrated)
        classified.tell_of_skipped("have rows of NaN")
        return classified.in_all_rows()

    def predict(
        self, x: Any, *, abstain: float | None = None, on_error: str = "none"
    ) -> list[str | None]:
        """The class name of every image, in the order in which they are given; see
        :meth:`predict_rows` for their files, probabilities and further classes.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            abstain (float, optional): The largest error rate among the answers
                (:meth:`threshold`); where the classifier is less sure, the name is :obj:`None`.
                (default: :obj:`None`, it always answers)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``none``, its
                name is :obj:`None`, with a warning, or ``raise`` an error.
                (default: :obj:`"none"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("none", "raise"))
        threshold = None if abstain is None else self.threshold(abstain)
        classified = self.classify(x, strict=on_error == "raise")
        classified.tell_of_skipped("are None")
        return [
            row.class_name for row in classified.predictions(self.class_names, threshold=threshold)
        ]

    def predict_rows(
        self, x: Any, *, top: int = 1, abstain: float | None = None, on_error: str = "row"
    ) -> list[Prediction]:
        """One row per image: its file, its class with the probability, the next classes, and the
        reason where it cannot be classified or has no answer.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            top (int, optional): The number of classes per image. (default: :obj:`1`)
            abstain (float, optional): As in :meth:`predict`. (default: :obj:`None`)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``row``, its
                row has the reason; ``skip``, it has no row, with a warning; or ``raise`` an error.
                (default: :obj:`"row"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("row", "skip", "raise"))
        check_whole_number("top", top, low=1)
        threshold = None if abstain is None else self.threshold(abstain)
        classified = self.classify(x, strict=on_error == "raise")
        if on_error == "skip":
            classified.tell_of_skipped("have no row")
        return classified.predictions(self.class_names, top, on_error, threshold)

    def threshold(self, max_error: float) -> Threshold:
        """The probability above which at most :obj:`max_error` of the answers are wrong, with a
        probability of 95 % over the shots that were held out
        (:func:`~pyg_graphadapter.classifier.abstaining.threshold_of`). This holds for images of the
        kind of the shots and of the classes of the classifier, as often of each as among the shots.

        Args:
            max_error (float): The error rate, above 0 and below 1.

        Raises:
            ValueError: If the held-out shots are too few to say, with the number that would do, or
                too many of them are classified wrong; or the method is transductive.
        """
        if self.adapter.is_transductive:
            raise ValueError(
                f"{self.method} is transductive: how sure it is of an image depends on the others "
                f"that are given with it, so that no error rate can be promised. Fit another "
                f"method."
            )
        return threshold_of(self.confidence, max_error, len(self.class_names))
