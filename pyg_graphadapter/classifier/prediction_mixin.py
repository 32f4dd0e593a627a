"""The classes of images, by a classifier."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.predictions import Classified, Prediction, check_on_error
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.training.evaluation import predict_logits

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.map_function import ClassifyBatch


class PredictionMixin(EncoderMixin):
    """A classifier that predicts the classes of images or of their features."""

    def classify(
        self,
        x: Any,
        *,
        strict: bool = False,
        follow_links: bool = False,
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
        probability = predict_logits(self.adapter, features).softmax(dim=1)
        return Classified(probability, index, skipped, given.files)

    def predict_proba(self, x: Any, *, on_error: str = "raise") -> Tensor:
        """Class probabilities ``[N, C]``, one row per image.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``raise`` an
                error, or ``nan``, a row of NaN, with a warning. (default: :obj:`"raise"`)

        Raises:
            ValueError: If these are neither features nor images, features are not finite, zero, or
                of another width than those that it was fitted with; if an image cannot be decoded,
                or there is no encoder.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(x, strict=on_error == "raise")
        classified.tell_of_skipped("have rows of NaN")
        return classified.in_all_rows()

    def predict(self, x: Any, *, on_error: str = "none") -> list[str | None]:
        """The class name of every image, in the order in which they are given; see
        :meth:`predict_rows` for their files, probabilities and further classes.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``none``, its
                name is :obj:`None`, with a warning, or ``raise`` an error.
                (default: :obj:`"none"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("none", "raise"))
        classified = self.classify(x, strict=on_error == "raise")
        classified.tell_of_skipped("are None")
        return [row.class_name for row in classified.predictions(self.class_names)]

    def predict_rows(self, x: Any, *, top: int = 1, on_error: str = "row") -> list[Prediction]:
        """One row per image: its file, its class with the probability, the next classes, and the
        reason where it cannot be classified.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            top (int, optional): The number of classes per image. (default: :obj:`1`)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``row``, its
                row has the reason; ``skip``, it has no row, with a warning; or ``raise`` an error.
                (default: :obj:`"row"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("row", "skip", "raise"))
        check_whole_number("top", top, low=1)
        classified = self.classify(x, strict=on_error == "raise")
        if on_error == "skip":
            classified.tell_of_skipped("have no row")
        return classified.predictions(self.class_names, top, on_error)

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
