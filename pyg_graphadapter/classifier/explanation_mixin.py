"""Why a classifier says what it says: in words, and as the parts that a logit adds up from."""

import difflib
from typing import Any

from torch import Tensor

from pyg_graphadapter.adapters.contract import parts_of_logits
from pyg_graphadapter.adapters.graph_defaults import TEXTS
from pyg_graphadapter.classifier.class_explanation import explain_any_class
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.explanation import (
    LOGIT,
    Explanation,
    can_be_taken_apart,
    explain_image,
    explain_parts,
)
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.reasons import Reason, named_parts, reasons_of
from pyg_graphadapter.classifier.reference import Reference
from pyg_graphadapter.classifier.words import quoted
from pyg_graphadapter.graph import with_usual_length
from pyg_graphadapter.settings import unknown

NEAR_NAMES, SHOWN_NAMES = 3, 20


class ExplanationMixin(EncoderMixin):
    """A classifier that is explained."""

    def reasons(self, x: Any, class_name: str | None = None) -> list[Reason]:
        """Why images are said to show what they do, in words and numbers, by any method: what
        speaks for the likeliest class and against the next one, and what the image is most similar
        to. Cheap for many images, also of many classes. A transductive method classifies the images
        together.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            class_name (str, optional): The class that the likeliest one is compared with, instead
                of the next likely one. (default: :obj:`None`)

        Raises:
            ValueError: If the class is unknown, or an image cannot be decoded.

        Example:
            >>> from pyg_graphadapter import FewShotClassifier
            >>> from pyg_graphadapter.testing import fake_features
            >>> data = fake_features(num_classes=3)
            >>> classifier = FewShotClassifier.fit(data, method="zero_shot", progress=False)
            >>> [reason] = classifier.reasons(data.test.mean_views()[0])
            >>> print(reason.words.partition(": ")[2])
            the class names speak for it.
        """
        return self._reasons_of(self._all_features_of(x), self._number_of(class_name))

    def explain(self, image: Tensor | Any = None, class_name: str | None = None) -> Explanation:
        """Explains an image, or a class, by any method: in words, which :func:`print` shows, and in
        contributions, which :meth:`Explanation.table` shows.

        Of an image, the contributions add up to its logit. Of a class, they add up to how far its
        weights were turned away from its name; methods without class weights have none. Of
        GraphAdapter, they name the neighbouring classes, and what the class collects from its own
        text and its own images is listed apart from these.

        Args:
            image (optional): One image or its features, by the rule of
                :mod:`pyg_graphadapter.classifier.inputs`. (default: :obj:`None`)
            class_name (str, optional): The class; of an image, the predicted one if not given.
                (default: :obj:`None`)

        Raises:
            ValueError: If the class is unknown, or nothing is given.
        """
        c = self._number_of(class_name)
        if image is not None:
            explanation = self._explanation_of_image(self._features_of(image), c)
        elif c is None:
            raise ValueError("There is nothing to explain: give an image, a class name, or both.")
        else:
            explanation = explain_any_class(self.adapter, self.class_names, c, self._reference())
        if not can_be_taken_apart(self.adapter):
            return explanation
        uses_texts = self.has_text and self.adapter.settings()["nodes"] == TEXTS
        return explanation if uses_texts else explanation.without_text()

    def _explanation_of_image(self, x: Tensor, c: int | None) -> Explanation:
        """What the logit of class ``c``, or of the likeliest one, adds up from, in words."""
        [reason] = self._reasons_of(x.unsqueeze(0), c)
        c = self.class_names.index(reason.class_name) if c is None else c
        if can_be_taken_apart(self.adapter):
            explanation = explain_image(self.adapter, self.class_names, x, c)
        else:
            parts = parts_of_logits(self.adapter, with_usual_length(x[None].to(self.adapter.text)))
            numbers = named_parts(parts, has_text=self.has_text).items()
            of_class = {kind: logits[0, c] for kind, logits in numbers}
            explanation = explain_parts(of_class, self.class_names[c], LOGIT)
        return explanation.with_words(reason.words)

    def _reasons_of(self, x: Tensor, against: int | None) -> list[Reason]:
        return reasons_of(
            self.adapter,
            self.class_names,
            x,
            self._reference(),
            temperature=self.temperature,
            against=against,
        )

    def _reference(self) -> Reference:
        return Reference.of(self.adapter, self.shots, has_text=self.has_text)

    def check_class(self, class_name: str | None) -> None:
        """Checks that a class is one of the classifier's.

        Raises:
            ValueError: If it is not, with the names that are nearest to it.
        """
        if class_name is None or class_name in self.class_names:
            return
        near = difflib.get_close_matches(class_name, self.class_names, NEAR_NAMES, cutoff=0.6)
        if not near and len(self.class_names) <= SHOWN_NAMES:
            raise unknown("class", class_name, self.class_names)
        advice = f"Did you mean {' or '.join(map(quoted, near))}?" if near else "Check the name."
        raise ValueError(
            f"Unknown class {class_name!r} of {len(self.class_names):,} classes. {advice}"
        )

    def _number_of(self, class_name: str | None) -> int | None:
        self.check_class(class_name)
        return None if class_name is None else self.class_names.index(class_name)

    def _features_of(self, image: Any) -> Tensor:
        """The features ``[D]`` of one image."""
        x = self._all_features_of(image)
        if len(x) != 1:
            raise ValueError(f"One image is explained at a time (got {len(x)}): give one of them.")
        return x[0]

    def _all_features_of(self, x: Any) -> Tensor:
        """The features ``[N, D]`` of images."""
        given = self._input(x)
        if isinstance(given, FeatureInput):
            return given.x
        return self._encode(given.images, strict=True).x[:, 0]
