"""The classes of images, by a classifier."""

from typing import Any

import torch
from torch import Tensor

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

ACCEPT = 0.95  # the share of images of the classes that are accepted


class PredictionMixin(EncoderMixin):
    """A classifier that predicts the classes of images or of their features."""

    @obeys_progress
    def classify(
        self,
        x: Any,
        *,
        strict: bool = False,
        follow_links: bool = False,
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
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
            score_unknown (bool, optional): Add the score of :meth:`unknown_score`.
                (default: :obj:`False`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        known = self._known_images() if score_unknown else None
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
        probability = predict_logits(self.adapter, features).softmax(dim=1)
        text = self.adapter.text if self.has_text else None
        score = None if known is None else -known.of(features, text)
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
        return Rejection(name, -self._known_images().limit(accept))

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

    def predict_proba(self, x: Any, *, on_error: str = "raise", progress: bool = True) -> Tensor:
        """Class probabilities ``[N, C]``, one row per image.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``raise`` an
                error, or ``nan``, a row of NaN, with a warning. (default: :obj:`"raise"`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If these are neither features nor images, features are not finite, zero, or
                of another width than those that it was fitted with; if an image cannot be decoded,
                or there is no encoder.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(x, strict=on_error == "raise", progress=progress)
        classified.tell_of_skipped("have rows of NaN")
        return classified.in_all_rows()

    def predict(
        self,
        x: Any,
        *,
        on_error: str = "none",
        reject: str | None = None,
        accept: float = ACCEPT,
        progress: bool = True,
    ) -> list[str | None]:
        """The class name of every image, in the order in which they are given; see
        :meth:`predict_rows` for their files, probabilities and further classes. Without
        :obj:`reject`, the answer is always one of the classes, whatever the image shows.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
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
        classified = self.classify(
            x,
            strict=on_error == "raise",
            progress=progress,
            score_unknown=rejection is not None,
        )
        classified.tell_of_skipped("are None")
        rows = classified.predictions(self.class_names, rejection=rejection)
        return [row.class_name for row in rows]

    def predict_rows(
        self,
        x: Any,
        *,
        top: int = 1,
        on_error: str = "row",
        reject: str | None = None,
        accept: float = ACCEPT,
        progress: bool = True,
    ) -> list[Prediction]:
        """One row per image: its file, its class with the probability, the next classes, and the
        reason where it cannot be classified.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            top (int, optional): The number of classes per image. (default: :obj:`1`)
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
        classified = self.classify(
            x,
            strict=on_error == "raise",
            progress=progress,
            score_unknown=rejection is not None,
        )
        if on_error == "skip":
            classified.tell_of_skipped("have no row")
        return classified.predictions(self.class_names, top, on_error, rejection)
