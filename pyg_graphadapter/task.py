"""What a method may see: a few labelled images. What it is measured on lies in another type."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features, check_fits, check_text
from pyg_graphadapter.graph import class_prototypes, unit

MAX_VALIDATION_SHOTS = 4  # of CoOp's protocol: min(K, 4) validation images a class


class TextEncoder(Protocol):
    """What a method that learns prompts needs of an encoder
    (:class:`~pyg_graphadapter.Encoder`)."""

    def token_ids(self, text: str) -> Tensor:
        """The tokens of a text without special ones ``[L]``."""

    def tokenize_around(
        self, names: Sequence[str], length: int, position: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Prompts with placeholders beside names, and where those are ``[P, length]``."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Token embeddings ``[..., W]``."""

    def encode_embeddings(self, embeddings: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Features of length one ``[P, D]`` of prompts with other token embeddings."""


@dataclass(frozen=True)
class FewShotTask:
    r"""A few-shot classification task over frozen features. It holds no test split, so nothing
    that is given a task can select on one.

    Args:
        class_names (tuple of str): The names of the classes.
        text (torch.Tensor): The class text features.
        support (Features): The few labelled images.
        validation (Features, optional): Further labelled images for selection.
            (default: :obj:`None`)
        logit_scale (float, optional): The factor of the cosine, :math:`s`, about 100 for CLIP.
            (default: :obj:`100.0`)
        text_encoder (TextEncoder, optional): The encoder of the text features, for methods that
            learn prompts. (default: :obj:`None`)

    Shapes:
        - **text:** :math:`(C, D)`

    Raises:
        ValueError: If the parts do not fit together.
    """

    class_names: tuple[str, ...]
    text: Tensor
    support: Features
    validation: Features | None = None
    logit_scale: float = 100.0
    text_encoder: TextEncoder | None = None

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        check_text(self.text, self.class_names)
        check_fits(self.support, self.text, "support")
        if self.validation is not None:
            check_fits(self.validation, self.text, "validation")

    @property
    def num_classes(self) -> int:
        """The number of classes :math:`C`."""
        return len(self.class_names)

    def prototypes(self) -> Tensor:
        """The mean feature of every class over its shots and views, ``[C, D]``.

        Raises:
            ValueError: If a class has no shot, naming it.
        """
        return class_prototypes(
            unit(self.support.x), self.support.y, self.num_classes, class_names=self.class_names
        )

    def with_support(self, index: Tensor) -> "FewShotTask":
        """The task with the support images at ``index`` ``[M]`` alone, and no validation."""
        return replace(self, support=self.support.select(index), validation=None)


@dataclass(frozen=True)
class EvaluationTask:
    """A few-shot task together with the test split that it must not see.

    Args:
        task (FewShotTask): What a method is fitted on.
        test (Features): What it is measured on.

    Raises:
        ValueError: If they do not fit together.
    """

    task: FewShotTask
    test: Features

    def __post_init__(self) -> None:
        """Checks that both fit together."""
        check_fits(self.test, self.task.text, "test_features")

    @classmethod
    def from_file(
        cls, file: FeatureFile, shots: int, seed: int, text_encoder: TextEncoder | None = None
    ) -> "EvaluationTask":
        """Draws a task from a feature file (:func:`draw_task`), with the file's test split.

        Raises:
            ValueError: If a class has too few images, or the file has no test split.
        """
        if file.test is None:
            raise ValueError("The feature file has no 'test_features' to evaluate on.")
        return cls(draw_task(file, shots, seed, text_encoder), file.test)


def draw_task(
    file: FeatureFile, shots: int, seed: int, text_encoder: TextEncoder | None = None
) -> FewShotTask:
    r"""Draws :math:`K` training images a class and, where the file has a validation split,
    :math:`\min(K, 4)` validation images, without replacement (CoOp's protocol).

    Raises:
        ValueError: If a class has fewer training images than :obj:`shots`, naming it.
    """
    num_classes = len(file.class_names)
    index = file.train.draw(shots, seed, num_classes, file.class_names)
    validation = None
    if file.val is not None:
        validation = file.val.select(
            file.val.draw(min(shots, MAX_VALIDATION_SHOTS), seed, allow_fewer=True)
        )
    return FewShotTask(
        file.class_names,
        file.text,
        file.train.select(index),
        validation,
        file.logit_scale,
        text_encoder,
    )
