"""The file of an evaluation: what a classifier says of each image."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, GraphAdapter
from pyg_graphadapter.adapters.graph_defaults import TEXTS
from pyg_graphadapter.classifier.base import ClassifierBase
from pyg_graphadapter.classifier.class_explanation import explain_any_class
from pyg_graphadapter.classifier.labelled import Labelled
from pyg_graphadapter.classifier.reasons import reasons_of
from pyg_graphadapter.classifier.reference import Reference
from pyg_graphadapter.classifier.thumbnail import thumbnail
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.graph import cosine_edges, row_blocks
from pyg_graphadapter.report.evaluation_file import (
    EVALUATION_FORMAT,
    Choice,
    Edge,
    EvaluatedImage,
    EvaluationFile,
)
from pyg_graphadapter.report.per_image import shown_errors, weakest_classes
from pyg_graphadapter.storage import versions
from pyg_graphadapter.training.evaluation import Evaluation

TOP = 5  # classes of an image
NEIGHBOURS = 5  # edges of a class
EXPLAINED_CLASSES = 20  # with the lowest accuracy
MOST_EDGES = 5000  # of one graph, beyond one per class


def evaluation_file(
    classifier: ClassifierBase,
    labelled: Labelled,
    evaluation: Evaluation,
    logits: Tensor,
    *,
    data: str,
    command: str,
) -> EvaluationFile:
    """What is written of an evaluation.

    Args:
        classifier (ClassifierBase): The classifier.
        labelled (Labelled): The images, with the labels of the classifier.
        evaluation (Evaluation): What was measured on them.
        logits (torch.Tensor): Their logits ``[N, C]``.
        data (str): What the data are called.
        command (str): What made it.
    """
    adapter = classifier.adapter
    images = _images(logits, labelled.features.y, classifier.temperature)
    first = _first_copies(labelled.features.x[:, 0])
    images = [
        replace(image, file=file, copy_of=None if copy == i else copy)
        for i, (image, file, copy) in enumerate(zip(images, labelled.files(), first, strict=True))
    ]
    text_edges, image_edges = _edges(adapter, has_text=classifier.has_text)
    file = EvaluationFile(
        format=EVALUATION_FORMAT,
        command=command,
        class_names=tuple(classifier.class_names),
        images=tuple(images),
        measures=asdict(evaluation),
        classifier=_card(classifier),
        data=data,
        split=labelled.split,
        temperature=classifier.temperature,
        temperature_source=classifier.confidence.source,
        skipped=labelled.skipped,
        text_edges=text_edges,
        image_edges=image_edges,
        versions=versions(),
    )
    return _with_shown(file, classifier, labelled)


def _images(logits: Tensor, y: Tensor, temperature: float) -> list[EvaluatedImage]:
    """One entry per image, in blocks of rows, since there may be many images and classes."""
    images: list[EvaluatedImage] = []
    for block in row_blocks(*logits.shape):
        images += _block(logits[block], y[block], temperature)
    return images


def _block(logits: Tensor, y: Tensor, temperature: float) -> list[EvaluatedImage]:
    top = _likeliest(logits)  # [B, 5]
    log_uncalibrated = logits.double().log_softmax(dim=1)
    after = (logits.double() / temperature).log_softmax(dim=1)
    columns = [
        y,
        top,
        after.exp().gather(1, top),
        log_uncalibrated.exp().gather(1, top[:, :1]).squeeze(1),
        *(_losses(after, y) + _losses(log_uncalibrated, y)),
    ]
    return [
        EvaluatedImage(
            label,
            tuple(map(Choice, classes, probabilities)),
            uncalibrated,
            log_loss=loss,
            squared_error=error,
            log_loss_uncalibrated=loss_before,
            squared_error_uncalibrated=error_before,
        )
        for label, classes, probabilities, uncalibrated, loss, error, loss_before, error_before in (
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]


def _likeliest(logits: Tensor) -> Tensor:
    """The five likeliest classes ``[B, 5]``; of equal ones the first, as in the measures."""
    probability = logits.softmax(dim=1)
    top = probability.topk(min(TOP, probability.size(1)), dim=1).indices
    tied = top[:, 0] != probability.argmax(dim=1)
    if tied.any():
        order = probability[tied].argsort(dim=1, descending=True, stable=True)
        top[tied] = order[:, : top.size(1)]
    return top


def _losses(log_probability: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The negative logarithm of the probability of the true class, and the part of the Brier score,
    ``[B]`` each."""
    of_class = log_probability.gather(1, y.unsqueeze(1)).squeeze(1)
    squares = log_probability.exp().square().sum(dim=1) - 2 * of_class.exp() + 1
    return (-of_class).clamp(min=0), squares.clamp(0, 2)


def _first_copies(x: Tensor) -> list[int]:
    """The first image ``[N]`` that is the same as each."""
    first: dict[int, int] = {}
    groups = groups_of_copies(x).tolist()
    return [first.setdefault(group, i) for i, group in enumerate(groups)]


def _card(classifier: ClassifierBase) -> dict[str, Any]:
    adapter = classifier.adapter
    return {
        "method": classifier.method,
        "training": dict(classifier.training),
        "encoding": dict(classifier.encoding),
        "settings": adapter.settings(),
        "selected": dict(classifier.selected),
        "measured": dict(classifier.measured),
        "has_text": classifier.has_text,
    }


def _edges(adapter: Adapter, *, has_text: bool) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """The strongest edges of the two knowledge graphs of a GraphAdapter, each pair once."""
    if not isinstance(adapter, GraphAdapter):
        return (), ()
    uses_texts = has_text and adapter.config.nodes == TEXTS
    text = _strongest(adapter.class_nodes) if uses_texts else ()
    return text, _strongest(adapter.image_nodes)


@torch.no_grad()
def _strongest(x: Tensor) -> tuple[Edge, ...]:
    if len(x) < 2:
        return ()
    k = min(NEIGHBOURS, len(x) - 1, max(1, MOST_EDGES // len(x)))
    edge_index, weight = cosine_edges(x.float().cpu(), k=k, loop=False)
    pairs: dict[tuple[int, int], float] = {}
    for a, b, cosine in zip(*edge_index.tolist(), weight.tolist(), strict=True):
        pairs.setdefault((min(a, b), max(a, b)), cosine)
    return tuple(Edge(a, b, cosine) for (a, b), cosine in pairs.items())


def _with_shown(
    file: EvaluationFile, classifier: ClassifierBase, labelled: Labelled
) -> EvaluationFile:
    """The file with small pictures of the errors that are shown, and with what speaks for the
    wrong class in words."""
    shown_images = shown_errors(file)
    reference = Reference.of(classifier.adapter, classifier.shots, has_text=classifier.has_text)
    words = _words(classifier, reference, labelled.features.mean_views(), shown_images)
    images = list(file.images)
    for i, explanation in zip(shown_images, words, strict=True):
        picture = thumbnail(labelled.images[i]) if len(labelled.images) else None
        images[i] = replace(images[i], thumbnail=picture, explanation=explanation)
    return replace(
        file, images=tuple(images), class_explanations=_class_words(file, classifier, reference)
    )


def _class_words(
    file: EvaluationFile, classifier: ClassifierBase, reference: Reference
) -> dict[str, str]:
    """What the classifier makes of the classes with the lowest accuracy, in words, by their
    names."""
    numbers = {name: c for c, name in enumerate(file.class_names)}
    weakest = [row.name for row in weakest_classes(file, EXPLAINED_CLASSES)]
    return {
        name: explain_any_class(
            classifier.adapter, file.class_names, numbers[name], reference
        ).words
        for name in weakest
    }


def _words(
    classifier: ClassifierBase, reference: Reference, x: Tensor, shown_images: list[int]
) -> list[str]:
    """Why the images that are shown were classified so. A transductive method gets all of them."""
    is_transductive = classifier.adapter.is_transductive
    reasons = reasons_of(
        classifier.adapter,
        classifier.class_names,
        x if is_transductive and shown_images else x[shown_images],
        reference,
        temperature=classifier.temperature,
    )
    return (
        [reasons[i].words for i in shown_images] if is_transductive else [r.words for r in reasons]
    )
