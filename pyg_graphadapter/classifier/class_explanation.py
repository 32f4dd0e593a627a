"""What a classifier makes of a class, by any method: which parts turned it away from its name, and
which other classes it is most similar to."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, LinearAdapter
from pyg_graphadapter.adapters.graph_defaults import IMAGES
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, NAMES, TRAINING
from pyg_graphadapter.classifier.explanation import (
    BIAS,
    NEIGHBOUR,
    SINE,
    Explanation,
    can_be_taken_apart,
    explain_class,
    explain_parts,
)
from pyg_graphadapter.classifier.reasons import Similar
from pyg_graphadapter.classifier.reference import MEAN, Reference
from pyg_graphadapter.classifier.words import NAMES_OF_PARTS, listed, quoted
from pyg_graphadapter.graph import unit

WEIGHTS = "class weights"
SHOWN_NEIGHBOURS = 3
LEAST_SHARE = 0.005  # that is told
SENTENCES = {
    NAME: "The name {name} is most similar to the name {other} (similarity {similarity:.2f}).",
    MEAN: "The mean of your examples of {name} is most similar to that of {other} (similarity "
    "{similarity:.2f}).",
    WEIGHTS: "What the method looks for in an image of {name} is most similar to what it looks for "
    "in one of {other} (similarity {similarity:.2f}).",
}


@torch.inference_mode()
def explain_any_class(
    adapter: Adapter, class_names: Sequence[str], c: int, reference: Reference
) -> Explanation:
    """What turned the weights of class ``c`` away from its name, and which classes it is most
    similar to, in words. A method without class weights, or without texts, has no such parts."""
    explanation = Explanation(class_names[c], (), 0.0, SINE)
    if can_be_taken_apart(adapter):
        explanation = explain_class(adapter, class_names, c)
    elif isinstance(adapter, LinearAdapter) and reference.text is not None:
        parts = adapter.weight_parts()
        if NAME in parts and len(parts) > 1:
            explanation = _turned(parts, adapter.text, class_names, c)
    similar = most_similar(adapter, class_names, c, reference)
    sentences = [
        SENTENCES[each.kind].format(
            name=quoted(class_names[c]), other=quoted(each.class_name), similarity=each.similarity
        )
        for each in similar
    ]
    is_of_names = reference.text is not None and adapter.settings().get("nodes") != IMAGES
    sentences += _turning_in_words(explanation, is_of_names=is_of_names)
    words = " ".join(sentences) or f"There is nothing to compare {quoted(class_names[c])} with."
    return explanation.with_words(words)


def most_similar(
    adapter: Adapter, class_names: Sequence[str], c: int, reference: Reference
) -> list[Similar]:
    """The other class that is most similar to class ``c`` by names, by the means of examples, and
    by the weights of the method, where there are any."""
    rows = {
        NAME: reference.text,
        MEAN: reference.means(len(class_names)),
        WEIGHTS: adapter.class_weights() if isinstance(adapter, LinearAdapter) else None,
    }
    similar = []
    for kind, x in rows.items():
        if x is None or len(x) < 2:
            continue
        x = unit(x.cpu().float())
        cosine = (x @ x[c]).index_fill(0, torch.tensor(c), -torch.inf)
        cosine[~x.any(dim=1)] = -torch.inf  # without an example
        other = int(cosine.argmax())
        if x[c].any() and cosine[other].isfinite():
            similar.append(Similar(kind, class_names[other], float(cosine[other])))
    return similar


def _turned(
    parts: Mapping[str, Tensor], text: Tensor, class_names: Sequence[str], c: int
) -> Explanation:
    """The parts of the weights along the direction in which they were turned away from the name."""
    class_parts = {kind: weights[c].double() for kind, weights in parts.items()}
    t, w = unit(text[c].double()), torch.stack(list(class_parts.values())).sum(dim=0)
    direction = unit(w - (w @ t) * t) / w.norm().clamp(min=1e-12)
    amounts = {kind: part @ direction for kind, part in class_parts.items() if kind != NAME}
    return explain_parts(amounts, class_names[c], SINE)


def _turning_in_words(explanation: Explanation, *, is_of_names: bool) -> list[str]:
    """What turned the weights of a class, the largest first, with the neighbours that did most."""
    if explanation.total < 1e-6:
        return []
    amounts: dict[str, float] = {}
    for part in explanation.contributions:
        kind = _kind_of(part.kind, part.source)
        kind = EXAMPLES if kind == NAMES and not is_of_names else kind
        amounts[kind] = amounts.get(kind, 0.0) + part.amount
    shares = {kind: amount / explanation.total for kind, amount in amounts.items()}
    turning = sorted((k for k in shares if abs(shares[k]) >= LEAST_SHARE), key=lambda k: -shares[k])
    words = [f"{NAMES_OF_PARTS[kind]} ({100 * shares[kind]:.0f} %)" for kind in turning]
    start = "its name" if is_of_names else "the mean of your examples"
    sentences = [f"It was turned away from {start} by {listed(words)}."]
    neighbours = [
        part for part in explanation.contributions if part.kind == NEIGHBOUR and part.amount > 0
    ]
    if neighbours:
        names = [quoted(name) for name in dict.fromkeys(part.class_name for part in neighbours)]
        sentences.append(f"Of other classes, {listed(names[:SHOWN_NEIGHBOURS])} turned it most.")
    return sentences


def _kind_of(kind: str, source: str) -> str:
    """Of a contribution in the graphs of GraphAdapter, the kind of part that it belongs to."""
    if kind in NAMES_OF_PARTS:
        return kind
    if kind == BIAS:
        return TRAINING
    from_examples = source == "image" and kind != "self-loop"
    return EXAMPLES if from_examples else NAMES
