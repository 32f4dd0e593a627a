"""The labelled images that a method may see and, in another type, those that measure it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import (
    MAX_VALIDATION_SHOTS,
    Features,
    Shots,
    check_fits,
    check_text,
)
from pyg_graphadapter.graph import class_prototypes, unit
from pyg_graphadapter.report.tasks import TEST_SPLIT
from pyg_graphadapter.settings import check_whole_number

DrawKey = tuple[int, int]  # the number of shots per class and the seed that a task was drawn with


@runtime_checkable
class TextEncoder(Protocol):
    """The methods of an :class:`~pyg_graphadapter.Encoder` that prompt learning needs."""

    def token_ids(self, text: str) -> Tensor:
        """The tokens of a text, without special tokens ``[L]``."""

    def tokenize_around(
        self, names: Sequence[str], length: int, position: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Prompts with placeholders beside names, and the positions of these ``[P, length]``."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Token embeddings ``[..., W]``."""

    def encode_embeddings(self, embeddings: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Features of length one ``[P, D]`` of prompts with the given token embeddings."""


@dataclass(frozen=True)
class FewShotTask:
    r"""A few-shot classification task over frozen features. It holds no test split, so that
    no method can select settings on one.

    Args:
        class_names (tuple of str): The names of the classes.
        text (torch.Tensor): The class text features.
        support (Features): The few labelled images.
        validation (Features, optional): More labelled images, for selection.
            (default: :obj:`None`)
        logit_scale (float, optional): The factor of the cosine, :math:`s`, about 100 for CLIP.
            (default: :obj:`100.0`)
        text_encoder (TextEncoder, optional): The encoder of the text features, for methods that
            learn prompts. (default: :obj:`None`)
        has_text (bool, optional): Whether there are class text features. If not, :obj:`text` is
            replaced by the prototypes of the shots, of this task and of every task that is made
            from it (:meth:`without_text`). (default: :obj:`True`)
        image_hashes (tuple of str, optional): The SHA-256 of every support image, in hexadecimal
            digits, where there are images. (default: :obj:`()`)

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
    has_text: bool = True
    image_hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        # Prototypes of other shots must not stay: in a selection, they would hold its images.
        text = self.text if self.has_text else unit(self.prototypes())
        object.__setattr__(self, "text", text.cpu())
        check_text(self.text, self.class_names)
        check_fits(self.support, self.text, "support")
        if self.validation is not None:
            check_fits(self.validation, self.text, "validation")
        if self.image_hashes and len(self.image_hashes) != len(self.support):
            raise ValueError(
                f"{len(self.image_hashes)} hashes for {len(self.support)} support images."
            )

    @classmethod
    def without_text(
        cls,
        class_names: tuple[str, ...],
        support: Features,
        validation: Features | None = None,
        logit_scale: float = 100.0,
    ) -> "FewShotTask":
        """A task without class text features, for methods that need none
        (:obj:`~pyg_graphadapter.adapters.Adapter.needs_text`)."""
        nothing = torch.empty(0)
        return cls(class_names, nothing, support, validation, logit_scale, has_text=False)

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
        r"""The task with the first :math:`K` support images and the first :math:`\min(K, 4)`
        validation images of every class. It equals a draw of :math:`K` shots."""
        val_shots = min(shots, MAX_VALIDATION_SHOTS)
        validation = self.validation
        if validation is not None:
            validation = validation.select(_first_per_class(validation, val_shots))
        task = self.with_support(_first_per_class(self.support, shots))
        return replace(task, validation=validation)

    def with_support(self, index: Tensor) -> "FewShotTask":
        """The task with only the support images at ``index`` ``[M]``, and no validation."""
        hashes = self.image_hashes
        if hashes:
            hashes = tuple(hashes[i] for i in torch.arange(len(hashes))[index].tolist())
        support = self.support.select(index)
        return replace(self, support=support, validation=None, image_hashes=hashes)


def _first_per_class(features: Features, count: int) -> Tensor:
    """The indices of the first images of every class, in their order."""
    by_class = features.y.argsort(stable=True)
    y = features.y[by_class]
    rank = torch.arange(len(y)) - torch.searchsorted(y, y)  # within its class
    return by_class[rank < count].sort().values


@dataclass(frozen=True)
class ShiftedTest:
    """A test set of another distribution, with some of the classes of a task.

    Args:
        name (str): Its name.
        test (Features): Its images, whose labels count its own classes.
        classes (torch.Tensor): The index of each of its classes in the task ``[C']``.
    """

    name: str
    test: Features
    classes: Tensor

    @classmethod
    def by_name(
        cls, name: str, test: Features, class_names: Sequence[str], learned: Sequence[str]
    ) -> "ShiftedTest":
        """Matches the classes with those of the task, ignoring order, case, ``_`` and ``-``.

        Args:
            name (str): Its name.
            test (Features): Its images.
            class_names (sequence of str): Its classes.
            learned (sequence of str): The classes of the task.

        Raises:
            ValueError: If the task lacks one of its classes.
        """
        index = {normalize_class_name(class_name): i for i, class_name in enumerate(learned)}
        keys = [normalize_class_name(class_name) for class_name in class_names]
        unknown = [class_names[i] for i, key in enumerate(keys) if key not in index]
        if unknown:
            raise ValueError(
                f"The shifted test set {name} has the class {unknown[0]!r}, which is not one of "
                f"the {len(learned)} learned classes: rename or remove it."
            )
        return cls(name, test, torch.tensor([index[key] for key in keys]))


@dataclass(frozen=True)
class NewClasses:
    """Classes that a task does not have. They are classified among themselves.

    Args:
        class_names (tuple of str): Their names.
        text (torch.Tensor): Their text features ``[C', D]``.
        test (Features): Their test images, whose labels count these classes.
    """

    class_names: tuple[str, ...]
    text: Tensor
    test: Features


@dataclass(frozen=True)
class EvaluationTask:
    """A few-shot task together with the test split that it must not see.

    Args:
        task (FewShotTask): The task that a method is fitted on.
        test (Features): The images that it is measured on.
        shifted (tuple of ShiftedTest, optional): More test sets, of other distributions.
            (default: :obj:`()`)
        new (NewClasses, optional): Classes that the task does not have. (default: :obj:`None`)
        rule (str, optional): How shots and test images are drawn. Results of different rules are
            not averaged. (default: :obj:`TEST_SPLIT`, in which all draws have the same test images)

    Raises:
        ValueError: If the parts do not fit together.
    """

    task: FewShotTask
    test: Features
    shifted: tuple[ShiftedTest, ...] = ()
    new: NewClasses | None = None
    rule: str = TEST_SPLIT

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        check_fits(self.test, self.task.text, "test_features")
        for shifted in self.shifted:
            check_fits(shifted.test, self.task.text[shifted.classes], shifted.name)
        if self.new is not None:
            check_fits(self.new.test, self.new.text, "new classes")

    @classmethod
    def from_file(cls, file: FeatureFile, shots: int, seed: int) -> "EvaluationTask":
        """Draws the task from a feature file (:func:`draw_task`), with the file's test split.

        Raises:
            ValueError: If a class has too few images, or the file has no test split.
        """
        if file.test is None:
            raise ValueError("The feature file has no 'test_features' to evaluate on.")
        check_whole_number("shots", shots, low=1)
        return cls(draw_task(file, shots, seed), file.test)

    def sha256(self) -> str:
        """The SHA-256 of everything that a result depends on, except the text encoder."""
        task = self.task
        names = [
            list(task.class_names),
            task.logit_scale,
            [shifted.name for shifted in self.shifted],
        ]
        features = {"support": task.support, "validation": task.validation, "test": self.test}
        features |= {f"shifted {i}": shifted.test for i, shifted in enumerate(self.shifted)}
        tensors = {"text" if task.has_text else "no text": task.text}
        tensors |= {f"classes {i}": shifted.classes for i, shifted in enumerate(self.shifted)}
        if self.new is not None:
            names.append(list(self.new.class_names))
            features["new"], tensors["new text"] = self.new.test, self.new.text
        for name, images in features.items():
            if images is not None:
                tensors |= {f"{name} x": images.x, f"{name} y": images.y}
        digest = hashlib.sha256(json.dumps(names).encode())
        for name, tensor in tensors.items():
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Origin:
    """The origin of the features that a result was measured on.

    Args:
        name (str): The name of the file or the data set.
        model (str, optional): The encoder, if it is known. (default: :obj:`None`)
        skipped (int, optional): The number of images that could not be decoded. (default: :obj:`0`)
        weights (str, optional): A hash of the encoder's weights. (default: :obj:`None`)
        encoding (dict, optional): How images and class names were encoded, as plain values.
            (default: :obj:`None`)
    """

    name: str
    model: str | None = None
    skipped: int = 0
    weights: str | None = field(default=None, compare=False)
    encoding: dict[str, Any] | None = field(default=None, compare=False)


def draw_task(
    file: FeatureFile, shots: Shots, seed: int, *, allow_fewer: bool = False
) -> FewShotTask:
    r"""Draws :math:`K` training images per class and, if the file has a validation split,
    :math:`\min(K, 4)` validation images per class, without replacement (CoOp's protocol). A file
    without texts gives a task without texts (:meth:`FewShotTask.without_text`).

    Args:
        file (FeatureFile): The features.
        shots (int or str): The number :math:`K`, or :obj:`"all"`. With 0, the task has texts alone.
        seed (int): The seed of the draw.
        allow_fewer (bool, optional): Take all images of a class that has fewer, but at least one.
            (default: :obj:`False`)

    Raises:
        ValueError: If a class has too few training images, naming it.
    """
    validation = None
    if file.val is not None and shots != 0:
        validation = file.val.select(file.val.draw(validation_shots(shots), seed, allow_fewer=True))
    support = file.train.select(_drawn(file, shots, seed, allow_fewer=allow_fewer))
    if file.text is None and not len(support):
        raise ValueError("The features have no texts, and without shots there is nothing to fit.")
    if file.text is None:
        return FewShotTask.without_text(file.class_names, support, validation, file.logit_scale)
    return FewShotTask(file.class_names, file.text, support, validation, file.logit_scale)


def not_drawn(file: FeatureFile, shots: Shots, seed: int, *, allow_fewer: bool = False) -> Features:
    """The training images that :func:`draw_task` does not draw, without augmented views."""
    rest = torch.ones(len(file.train), dtype=torch.bool)
    rest[_drawn(file, shots, seed, allow_fewer=allow_fewer)] = False
    return file.train.select(rest).first_views()


def _drawn(file: FeatureFile, shots: Shots, seed: int, *, allow_fewer: bool) -> Tensor:
    names = file.class_names
    if shots == 0:
        return torch.empty(0, dtype=torch.long)
    if allow_fewer:
        file.train.draw(1, seed, len(names), names)  # says which class has no image
    return file.train.draw(shots, seed, len(names), names, allow_fewer=allow_fewer)


def validation_shots(shots: Shots) -> int:
    """The number of validation images per class that belong to so many shots."""
    return MAX_VALIDATION_SHOTS if isinstance(shots, str) else min(shots, MAX_VALIDATION_SHOTS)
