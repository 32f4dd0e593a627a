"""The classes of images, by a classifier."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pyg_graphadapter.classifier.abstaining import Threshold, threshold_of
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.predictions import (
    Classified,
    Prediction,
    Rejection,
    check_on_error,
)
from pyg_graphadapter.progress import obeys_progress
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.temperature import probabilities

FEW_LEFT_OUT = 10  # images, from which a limit is a guess
ACCEPT = 0.95  # the share of images of the classes that are accepted

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.map_function import ClassifyBatch


class PredictionMixin(EncoderMixin):
    """A classifier that predicts the classes of images or of their features."""

    @obeys_progress
    def classify(
        self,
        x: Any,
        *,
        strict: bool = False,
        follow_links: bool = False,
        calibrated: bool = True,
        progress: bool = True,
        score_unknown: bool = False,
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
            score_unknown (bool, optional): Add the score of :meth:`unknown_score`.
                (default: :obj:`False`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        familiarity = self._known_images() if score_unknown else None
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
        text = self.adapter.text if self.has_text else None
        score = None if familiarity is None else -familiarity.of(features, text)
        return Classified(probability, index, skipped, given.files, score)

    def unknown_score(self, x: Any, *, on_error: str = "raise") -> Tensor:
        r"""How unlike the images of all classes images are ``[N]``, from their features alone,
        whatever the method: by how many standard deviations they look less like a class than shots
        that were left out (:mod:`pyg_graphadapter.training.familiarity`). Images with a high score
        are of none of the classes. Without shots, it is the negative largest cosine to the texts.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``raise`` an
                error, or ``nan``, with a warning. (default: :obj:`"raise"`)

        Raises:
            ValueError: As :meth:`predict_proba` does, or if it was saved by a version that did not
                know how images of its classes look.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(x, strict=on_error == "raise", score_unknown=True)
        classified.tell_of_skipped("have the score NaN")
        assert classified.unknown_score is not None
        scores = classified.unknown_score.new_full((len(classified.files),), float("nan"))
        scores[classified.index] = classified.unknown_score
        return scores

    def rejection(self, name: str | None, accept: float = ACCEPT) -> Rejection | None:
        """What becomes of images of none of the classes; nothing, if there is no name.

        Args:
            name (str, optional): What they are called.
            accept (float, optional): The share of images of the classes that are accepted, as
                estimated from the shots. (default: :obj:`0.95`)

        Raises:
            ValueError: If the name is empty or that of a class, the share is not between 0 and 1,
                or there are too few shots to say which images to reject.
        """
        if name is None:
            return None
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"'reject' is the name of images of no class (got {name!r}).")
        if name in self.class_names:
            raise ValueError(
                f"{name!r} is one of the classes: give images of none of them another name."
            )
        known_images = self._known_images()
        limit = known_images.limit(accept)
        if len(known_images.left_out) < FEW_LEFT_OUT:
            warn(
                f"How images of the classes look was learned from {len(known_images.left_out)} "
                f"images that were left out, so that fewer than {accept:.0%} of such images may be "
                f"accepted: give more shots."
            )
        return Rejection(name, -limit)

    def _known_images(self) -> Familiarity:
        """How images of the classes look; of an earlier version, by the shots that it keeps."""
        if self.familiarity is None:
            self.familiarity = self._familiarity_of_shots()
        return self.familiarity

    def _familiarity_of_shots(self) -> Familiarity:
        scale, names = self.adapter.logit_scale, self.class_names
        if self.shots is None:
            raise ValueError(
                "The classifier does not know how images of its classes look, as it was saved by "
                "an earlier version without its shots: fit it again to reject other images."
            )
        if not self.has_text:
            return Familiarity.from_task(
                FewShotTask.without_text(names, self.shots, logit_scale=scale)
            )
        task = FewShotTask(names, self.adapter.text, self.shots, logit_scale=scale)
        return Familiarity.from_task(task)

    def predict_proba(
        self,
        x: Any,
        *,
        calibrated: bool = True,
        on_error: str = "raise",
        progress: bool = True,
    ) -> Tensor:
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
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If these are neither features nor images, features are not finite, zero, or
                of another width than those that it was fitted with; if an image cannot be decoded,
                or there is no encoder.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(
            x, strict=on_error == "raise", calibrated=calibrated, progress=progress
        )
        classified.tell_of_skipped("have rows of NaN")
        return classified.in_all_rows()

    def predict(
        self,
        x: Any,
        *,
        on_error: str = "none",
        abstain: float | None = None,
        reject: str | None = None,
        accept: float = ACCEPT,
        progress: bool = True,
    ) -> list[str | None]:
        """The class name of every image, in the order in which they are given; see
        :meth:`predict_rows` for their files, probabilities and further classes. Without
        :obj:`reject`, the answer is always one of the classes, whatever the image shows.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            abstain (float, optional): The largest error rate among the answers
                (:meth:`threshold`); where the classifier is less sure, the name is :obj:`None`.
                (default: :obj:`None`, it always answers)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``none``, its
                name is :obj:`None`, with a warning, or ``raise`` an error.
                (default: :obj:`"none"`)
            reject (str, optional): A name for images of none of the classes, as ``"unknown"``
                (:meth:`rejection`). (default: :obj:`None`)
            accept (float, optional): The share of images of the classes that are to be accepted,
                with :obj:`reject`. (default: :obj:`0.95`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: As :meth:`predict_proba` and :meth:`rejection` do.
        """
        check_on_error(on_error, ("none", "raise"))
        rejection = self.rejection(reject, accept)
        threshold = None if abstain is None else self.threshold(abstain)
        classified = self.classify(
            x,
            strict=on_error == "raise",
            progress=progress,
            score_unknown=rejection is not None,
        )
        classified.tell_of_skipped("are None")
        rows = classified.predictions(self.class_names, rejection=rejection, threshold=threshold)
        return [row.class_name for row in rows]

    def predict_rows(
        self,
        x: Any,
        *,
        top: int = 1,
        on_error: str = "row",
        abstain: float | None = None,
        reject: str | None = None,
        accept: float = ACCEPT,
        progress: bool = True,
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
            reject (str, optional): A name for images of none of the classes: such a row has this
                name, no label and no probability. Every row has its :obj:`unknown_score` then.
                (default: :obj:`None`)
            accept (float, optional): The share of images of the classes that are to be accepted,
                with :obj:`reject`. (default: :obj:`0.95`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: As :meth:`predict_proba` and :meth:`rejection` do.
        """
        check_on_error(on_error, ("row", "skip", "raise"))
        check_whole_number("top", top, low=1)
        rejection = self.rejection(reject, accept)
        threshold = None if abstain is None else self.threshold(abstain)
        classified = self.classify(
            x,
            strict=on_error == "raise",
            progress=progress,
            score_unknown=rejection is not None,
        )
        if on_error == "skip":
            classified.tell_of_skipped("have no row")
        return classified.predictions(
            self.class_names, top, on_error, rejection=rejection, threshold=threshold
        )

    def threshold(self, max_error: float) -> Threshold:
        """The probability above which at most :obj:`max_error` of the answers are wrong, with a
        probability of 95 % over the shots that were held out
        (:func:`~pyg_graphadapter.classifier.abstaining.threshold_of`). This holds for images of the
        kind of the shots and of the classes of the classifier, as often of each as among the shots.

        Args:
            max_error (float): The error rate, above 0 and below 1.

        Raises:
            ValueError: If the held-out shots are too few to say, with the number that would do, or
                too many of them are classified wrong; a class has fewer than two different shots,
                so that none can be held out; or the method is transductive.
        """
        if self.adapter.is_transductive:
            raise ValueError(
                f"{self.method} is transductive: how sure it is of an image depends on the others "
                f"that are given with it, so that no error rate can be promised. Fit another "
                f"method."
            )
        only_one = self.adapter.needs_text_encoder
        return threshold_of(self.confidence, max_error, len(self.class_names), only_one=only_one)

    def as_map(
        self, image_column: str = "image", *, prefix: str = "predicted_", features: bool = False
    ) -> "ClassifyBatch":
        """A function for ``dataset.map(…, batched=True)`` of ``datasets``, in one or several
        processes (``num_proc``). It adds the columns ``predicted_label``, the number of the class,
        ``predicted_class_name``, ``predicted_probability`` and ``predicted_reason``.

        An image that cannot be decoded has the label -1, no name, a probability that is not a
        number, and the reason, which is empty otherwise. For that, images must reach the function
        undecoded: cast their column to ``datasets.Image(decode=False)``.

        Args:
            image_column (str, optional): The column of images. (default: :obj:`"image"`)
            prefix (str, optional): How the names of the new columns begin.
                (default: :obj:`"predicted_"`)
            features (bool, optional): Add the column ``features``, too. (default: :obj:`False`)

        Raises:
            ValueError: If the method is transductive, or there is no encoder of images.

        Example:
            >>> from pyg_graphadapter import FewShotClassifier
            >>> from pyg_graphadapter.data import load_images
            >>> classifier = FewShotClassifier.fit("builtin", 4, model="builtin", progress=False)
            >>> dataset = load_images("builtin")["test"].select(range(2))
            >>> dataset.map(classifier.as_map(), batched=True)["predicted_class_name"][:]
            ['bird', 'mammal']
        """
        from pyg_graphadapter.classifier.map_function import ClassifyBatch

        _ = self.encoder  # says so where there is none
        return ClassifyBatch(cast("FewShotClassifier", self), image_column, prefix,
                             features=features)  # fmt: skip
