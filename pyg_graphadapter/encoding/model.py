"""What the pipeline and the methods know of a model: images and texts in, features out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from pyg_graphadapter.data import TEMPLATES, prompts
from pyg_graphadapter.graph import unit
from pyg_graphadapter.parallel import map_threads

T = TypeVar("T")
R = TypeVar("R")


class ImagePreprocessing(Protocol):
    """How decoded images become the inputs of a model, in worker processes."""

    @property
    def views(self) -> int:
        """The number of views :math:`V` per image."""

    def __call__(self, image: Image.Image, digest: bytes) -> Any:
        """The input of one image with all its views; the digest is the SHA-256 of the image."""

    def collate(self, inputs: Sequence[Any]) -> Any:
        """The inputs of one or more images as a batch."""

    def describe(self) -> dict[str, Any]:
        """Everything that the inputs depend on, save the image, as plain JSON values."""


@runtime_checkable
class EncoderModel(Protocol):
    """A frozen model that gives features of images and, if it has a text tower, of texts.

    :class:`~pyg_graphadapter.Encoder` implements it for the models of transformers. Any other class
    with these members can take its place, as in ``FewShotClassifier.fit(..., model=my_model)``.
    Features have length one and lie on the CPU.
    """

    name: str
    #: Where it computes. A CPU is given one batch per core at a time, a GPU one batch.
    device: torch.device
    #: The number of views that it is given at a time.
    batch_size: int

    @property
    def num_channels(self) -> int:
        """The width :math:`D` of the features."""

    @property
    def logit_scale(self) -> float:
        """The factor of the cosine, about 100 for CLIP."""

    @property
    def has_texts(self) -> bool:
        """Whether it has a text tower; if not, :meth:`text_features` is never called."""

    def identity(self) -> dict[str, Any]:
        """Everything that features depend on, save the image and its preprocessing, as plain JSON
        values: features of models of the same identity are the same."""

    def preprocessing(self, views: int, seed: int) -> ImagePreprocessing:
        """The preprocessing of images with a number of views; the seed decides augmented views."""

    def image_features(self, batch: Any, preprocessing: Any) -> Tensor:
        """The features ``[B * V, D]`` of a batch that :meth:`ImagePreprocessing.collate` of a
        :meth:`preprocessing` made."""

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The features ``[P, D]`` of texts."""


def class_text_features(
    model: EncoderModel, class_names: Sequence[str], templates: str | Sequence[str] = TEMPLATES
) -> Tensor:
    """Class text features ``[C, D]`` of length one: for each class, the mean over the features of
    its prompts.

    Args:
        model (EncoderModel): The model.
        class_names (sequence of str): The names, in which ``_`` becomes a space.
        templates (str or sequence of str, optional): Prompts with ``{}`` for the name.
            (default: :obj:`("a photo of a {}.",)`)

    Raises:
        ValueError: If the model has no text tower, a template does not have exactly one ``{}``, or
            a name is empty.
    """
    if not model.has_texts:
        raise ValueError(
            f"The model {model.name!r} has no text tower, so it gives no features of class names: "
            f"use a model with one, or a feature file with 'text_features'."
        )
    templates = (templates,) if isinstance(templates, str) else tuple(templates)
    filled = prompts(class_names, templates)
    x = model.text_features([prompt for class_prompts in filled for prompt in class_prompts])
    return unit(x.view(len(class_names), len(templates), -1).mean(dim=1))


def map_batches(
    device: torch.device, encode: Callable[[T], R], batches: Iterable[T]
) -> Iterator[R]:
    """Encodes batches and yields the results in order: one thread per core on a CPU; on a GPU one
    thread, which goes on while results are written."""
    return map_threads(encode, batches, torch.get_num_threads() if device.type == "cpu" else 1)
