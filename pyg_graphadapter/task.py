"""What a method may see: a few labelled images. What it is measured on lies in another type."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import MAX_VALIDATION_SHOTS, Features, check_fits, check_text
from pyg_graphadapter.graph import class_prototypes, unit

DrawKey = tuple[int, int]  # the number of shots per class and the seed that a task was drawn with


@runtime_checkable
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
        object.__setattr__(self, "text", self.text.cpu())
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

    def fewer(self, shots: int) -> "FewShotTask":
        r"""The task of the first :math:`K` images of every class and, of validation, the first
        :math:`\min(K, 4)`: what a draw of as many would be."""
        few = min(shots, MAX_VALIDATION_SHOTS)
        return replace(
            self,
            support=_first_of_each(self.support, shots),
            validation=None if self.validation is None else _first_of_each(self.validation, few),
        )

    def with_support(self, index: Tensor) -> "FewShotTask":
        """The task with the support images at ``index`` ``[M]`` alone, and no validation."""
        return replace(self, support=self.support.select(index), validation=None)


def _first_of_each(features: Features, count: int) -> Features:
    """The first images of every class, in their order."""
    by_class = features.y.argsort(stable=True)
    y = features.y[by_class]
    rank = torch.arange(len(y)) - torch.searchsorted(y, y)  # within its class
    return features.select(by_class[rank < count].sort().values)


@dataclass(frozen=True)
class ShiftedTest:
    """A test set of another distribution, with some of the classes of a task.

    Args:
        name (str): Its name.
        test (Features): Its images, whose labels count its own classes.
        classes (torch.Tensor): Which classes of the task these are ``[C']``.
    """

    name: str
    test: Features
    classes: Tensor

    @classmethod
    def by_name(
        cls, name: str, test: Features, class_names: Sequence[str], learned: Sequence[str]
    ) -> "ShiftedTest":
        """Finds the classes among those of the task, whatever their order, case and ``_`` or ``-``.

        Args:
            name (str): Its name.
            test (Features): Its images.
            class_names (sequence of str): Its classes.
            learned (sequence of str): The classes of the task.

        Raises:
            ValueError: If it has a class that the task has not.
        """
        index = {normalize_class_name(each): i for i, each in enumerate(learned)}
        strange = [each for each in class_names if normalize_class_name(each) not in index]
        if strange:
            raise ValueError(
                f"The shifted test set {name} has the class {strange[0]!r}, which is none of the "
                f"{len(learned)} that are learned: rename or remove it."
            )
        return cls(
            name, test, torch.tensor([index[normalize_class_name(each)] for each in class_names])
        )


@dataclass(frozen=True)
class NewClasses:
    """Classes that a task does not have, to be classified among themselves.

    Args:
        class_names (tuple of str): Their names.
        text (torch.Tensor): Their text features ``[C', D]``.
        test (Features): Their test images, whose labels count them.
    """

    class_names: tuple[str, ...]
    text: Tensor
    test: Features


def base_and_new(file: FeatureFile) -> tuple[FeatureFile, FeatureFile]:
    """The first half of the classes, by label, and the rest, as
    :func:`pyg_graphadapter.data.base_and_new` has it.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    num_classes = len(file.class_names)
    if num_classes < 2:
        raise ValueError(f"Base and new classes need at least two classes (got {num_classes}).")
    num_base = -(-num_classes // 2)

    def classes(low: int, high: int) -> FeatureFile:
        def part(features: Features | None) -> Features | None:
            if features is None:
                return None
            kept = features.select(((features.y >= low) & (features.y < high)).nonzero().flatten())
            return Features(kept.x, kept.y - low)

        train = part(file.train)
        assert train is not None
        return replace(
            file,
            class_names=file.class_names[low:high],
            text=file.text[low:high],
            train=train,
            val=part(file.val),
            test=part(file.test),
        )

    return classes(0, num_base), classes(num_base, num_classes)


@dataclass(frozen=True)
class EvaluationTask:
    """A few-shot task together with the test split that it must not see.

    Args:
        task (FewShotTask): What a method is fitted on.
        test (Features): What it is measured on.
        shifted (tuple of ShiftedTest, optional): Further test sets, of other distributions.
            (default: :obj:`()`)
        new (NewClasses, optional): Classes that it does not have. (default: :obj:`None`)

    Raises:
        ValueError: If they do not fit together.
    """

    task: FewShotTask
    test: Features
    shifted: tuple[ShiftedTest, ...] = ()
    new: NewClasses | None = None

    def __post_init__(self) -> None:
        """Checks that both fit together."""
        check_fits(self.test, self.task.text, "test_features")
        for each in self.shifted:
            check_fits(each.test, self.task.text[each.classes], each.name)
        if self.new is not None:
            check_fits(self.new.test, self.new.text, "new classes")

    @classmethod
    def from_file(cls, file: FeatureFile, shots: int, seed: int) -> "EvaluationTask":
        """Draws a task from a feature file (:func:`draw_task`), with the file's test split.

        Raises:
            ValueError: If a class has too few images, or the file has no test split.
        """
        if file.test is None:
            raise ValueError("The feature file has no 'test_features' to evaluate on.")
        return cls(draw_task(file, shots, seed), file.test)

    def sha256(self) -> str:
        """The SHA-256 of all that a result depends on, save the text encoder."""
        task = self.task
        names = [list(task.class_names), task.logit_scale, [each.name for each in self.shifted]]
        features = {"support": task.support, "validation": task.validation, "test": self.test}
        features |= {f"shifted {i}": each.test for i, each in enumerate(self.shifted)}
        tensors = {"text": task.text}
        tensors |= {f"classes {i}": each.classes for i, each in enumerate(self.shifted)}
        if self.new is not None:
            names.append(list(self.new.class_names))
            features["new"], tensors["new text"] = self.new.test, self.new.text
        for name, part in features.items():
            if part is not None:
                tensors |= {f"{name} x": part.x, f"{name} y": part.y}
        found = hashlib.sha256(json.dumps(names).encode())
        for name, tensor in tensors.items():
            found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            found.update(tensor.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Origin:
    """What a result says of the features that it was measured on.

    Args:
        name (str): The name of the file or the data set.
        model (str, optional): The encoder, where it is known. (default: :obj:`None`)
        skipped (int, optional): How many images could not be decoded. (default: :obj:`0`)
    """

    name: str
    model: str | None = None
    skipped: int = 0


def draw_task(file: FeatureFile, shots: int, seed: int) -> FewShotTask:
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
    )
