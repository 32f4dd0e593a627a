"""What the pipeline and the methods know of a model: images and texts in, features out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from pyg_graphadapter.data import TEMPLATES, prompts
from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.data.descriptions import (
    DESCRIPTIONS_WEIGHT,
    DescriptionsLike,
    descriptions_of,
)
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.identity import identity_of_texts
from pyg_graphadapter.graph import unit
from pyg_graphadapter.parallel import map_threads
from pyg_graphadapter.storage import sha256

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


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
        """Everything that features depend on, save the image, as plain JSON values: features of
        models of the same identity are the same. A saved classifier compares the entries
        ``weights``, ``configuration``, ``tokenizer`` and ``preprocessing`` that are there
        (:mod:`~pyg_graphadapter.encoding.identity`)."""

    def preprocessing(self, views: int, seed: int) -> ImagePreprocessing:
        """The preprocessing of images with a number of views; the seed decides augmented views."""

    def image_features(self, batch: Any, preprocessing: Any) -> Tensor:
        """The features ``[B * V, D]`` of a batch that :meth:`ImagePreprocessing.collate` of a
        :meth:`preprocessing` made."""

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The features ``[P, D]`` of texts."""


@runtime_checkable
class TellsTokens(Protocol):
    """A model that says what tokens it makes of texts, so that names that it confuses are found."""

    name: str

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of a text."""

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The tokens of every text, cut after :attr:`max_tokens`."""


def class_text_features(
    model: EncoderModel,
    class_names: Sequence[str],
    templates: str | Sequence[str] = TEMPLATES,
    descriptions: DescriptionsLike | None = None,
    descriptions_weight: float = DESCRIPTIONS_WEIGHT,
    *,
    cache: Path | None = None,
) -> Tensor:
    r"""Class text features ``[C, D]`` of length one: for each class, the mean over the features of
    its prompts.

    With descriptions, it is

    .. math::
        \mathbf{t}_c = \mathrm{unit}\left( (1 - w) \, \mathrm{unit}(\bar{\mathbf{p}}_c) +
        w \, \mathrm{unit}(\bar{\mathbf{s}}_c) \right),

    where :math:`\bar{\mathbf{p}}_c` is the mean over the prompts and :math:`\bar{\mathbf{s}}_c`
    the mean over the sentences about class :math:`c`. Where there is no sentence, :math:`w = 0`.

    Args:
        model (EncoderModel): The model.
        class_names (sequence of str): The names, in which ``_`` becomes a space.
        templates (str or sequence of str, optional): Prompts with ``{}`` for the name.
            (default: :obj:`("a photo of a {}.",)`)
        descriptions (Descriptions, dict, str or Path, optional): Sentences about each class, or the
            path of a JSON file of them (:class:`~pyg_graphadapter.data.Descriptions`).
            (default: :obj:`None`)
        descriptions_weight (float, optional): Their weight :math:`w`; with 1, they take the place
            of the templates. (default: :obj:`0.5`)
        cache (Path, optional): The folder of the feature cache, in which features of sentences are
            kept. (default: :obj:`None`)

    Raises:
        ValueError: If the model has no text tower, a template does not have exactly one ``{}``, or
            a name is empty; if text features are not finite or zero, or two distinct names have the
            same, naming the classes; if the descriptions are not of these classes.
    """
    if not model.has_texts:
        raise ValueError(
            f"The model {model.name!r} has no text tower, so it gives no features of class names: "
            f"use a model with one, or a feature file with 'text_features'."
        )
    if not 0 <= descriptions_weight <= 1:
        raise ValueError(
            f"'descriptions_weight' must be between 0 and 1 (got {descriptions_weight})."
        )
    templates = (templates,) if isinstance(templates, str) else tuple(templates)
    table = descriptions_of(descriptions)
    if table is None or descriptions_weight == 0:
        return _template_features(model, class_names, templates)
    sentences = table.matched(class_names, descriptions_weight).prompts(class_names)
    x = _description_features(model, class_names, sentences, cache)
    if descriptions_weight == 1:
        _check_distinct(model.name, class_names, sentences, x)
        return x
    text = _template_features(model, class_names, templates)
    weight = torch.tensor([[descriptions_weight if lines else 0.0] for lines in sentences])
    return unit(torch.lerp(text, x, weight))


def text_features_of(
    model: EncoderModel, class_names: Sequence[str], config: EncodingConfig
) -> Tensor:
    """Class text features ``[C, D]`` by the prompts and descriptions of a configuration."""
    return class_text_features(
        model,
        class_names,
        config.templates,
        config.descriptions,
        config.descriptions_weight,
        cache=config.cache_folder(),
    )


def _template_features(
    model: EncoderModel, class_names: Sequence[str], templates: tuple[str, ...]
) -> Tensor:
    """The mean over the templates ``[C, D]``, of length one."""
    filled = prompts(class_names, templates)
    if isinstance(model, TellsTokens):
        _check_tokens(model, class_names, filled)
    x = model.text_features([prompt for class_prompts in filled for prompt in class_prompts])
    x = x.view(len(class_names), len(templates), -1).mean(dim=1)
    _check_features(model.name, class_names, x)
    _check_distinct(model.name, class_names, filled, x)
    return unit(x)


def _description_features(
    model: EncoderModel,
    class_names: Sequence[str],
    sentences: Sequence[Sequence[str]],
    cache: Path | None,
) -> Tensor:
    """The mean over the sentences about each class ``[C, D]``, of length one; zero for a class
    without any. A sentence that several classes share is encoded once."""
    row = {line: i for i, line in enumerate(dict.fromkeys(s for lines in sentences for s in lines))}
    features = _sentence_features(model, list(row), cache)
    described = [c for c, lines in enumerate(sentences) if lines]
    x = features.new_zeros(len(sentences), features.size(1))
    for c in described:
        x[c] = features[[row[line] for line in sentences[c]]].mean(dim=0)
    _check_features(model.name, [class_names[c] for c in described], x[described])
    x[described] = unit(x[described])
    return x


def _sentence_features(model: EncoderModel, texts: list[str], cache: Path | None) -> Tensor:
    """Features of sentences ``[S, D]``; those in the cache are not computed again. They are there
    under the sentence itself and all that makes the encoder the one that it is."""
    if cache is None:
        return model.text_features(texts)
    store = FeatureCache(cache, {"kind": "texts", **identity_of_texts(model.identity())})
    keys = [bytes.fromhex(sha256(text.encode())) for text in texts]
    x = torch.zeros(len(texts), model.num_channels)
    new = (~store.read(keys, x)).nonzero().flatten().tolist()
    if new:
        features = model.text_features([texts[i] for i in new])
        x[new] = store.write([keys[i] for i in new], features)
    return x


def _check_tokens(
    model: TellsTokens, class_names: Sequence[str], filled: Sequence[Sequence[str]]
) -> None:
    """Refuses distinct names that are the same tokens in all prompts."""
    rows = model.token_rows([class_prompts[0] for class_prompts in filled])
    for first, second in _equal_pairs(rows, filled):
        if model.token_rows(filled[first]) != model.token_rows(filled[second]):
            continue
        names = f"{_short(class_names[first])} and {_short(class_names[second])}"
        if len(rows[first]) >= model.max_tokens:
            raise ValueError(
                f"The class names {names} are the same to the model {model.name!r}, which cuts "
                f"texts after {model.max_tokens} tokens: use shorter names or templates."
            )
        raise ValueError(
            f"The class names {names} are the same tokens to the model {model.name!r}, which does "
            f"not know all of their letters: use other names or another model."
        )


def _check_features(model: str, class_names: Sequence[str], x: Tensor) -> None:
    """Refuses text features that are not finite, or zero."""
    for what, is_wrong in (
        ("not finite", ~x.isfinite().all(dim=1)),
        ("zero", ~x.any(dim=1)),
    ):
        wrong = [_short(class_names[c]) for c in is_wrong.nonzero().flatten().tolist()]
        if wrong:
            others = f" and {len(wrong) - 1} others" if len(wrong) > 1 else ""
            raise ValueError(
                f"The model {model!r} gives text features that are {what}, of the class "
                f"{wrong[0]}{others}: use another model or dtype='float32'."
            )


def _check_distinct(
    model: str, class_names: Sequence[str], filled: Sequence[Sequence[str]], x: Tensor
) -> None:
    """Refuses text features that are equal for distinct names."""
    for first, second in _equal_pairs(
        [row.numpy().tobytes() for row in x.detach().float().cpu()], filled
    ):
        raise ValueError(
            f"The model {model!r} gives the classes {_short(class_names[first])} and "
            f"{_short(class_names[second])} the same text features, so that it cannot tell them "
            f"apart: use other names or another model."
        )


def _equal_pairs(rows: Sequence[Any], filled: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Classes whose rows are equal, though their prompts are not. Those of prompts that differ in
    upper case, spaces, ``-`` and ``_`` alone are told in the log."""
    first_of: dict[Any, int] = {}
    for second, row in enumerate(rows):
        first = first_of.setdefault(row, second)
        if first == second:
            continue
        one, other = (normalize_class_name(filled[c][0]) for c in (first, second))
        if one != other:
            yield first, second
        else:
            logger.warning("Two classes have the same text features: their prompts are %r and %r.",
                           filled[first][0], filled[second][0])  # fmt: skip


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:50]}…{name[-29:]}")


def map_batches(
    device: torch.device, encode: Callable[[T], R], batches: Iterable[T]
) -> Iterator[R]:
    """Encodes batches and yields the results in order: one thread per core on a CPU; on a GPU one
    thread, which goes on while results are written."""
    return map_threads(encode, batches, torch.get_num_threads() if device.type == "cpu" else 1)
