"""The model card of a classifier on the Hugging Face hub."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.measurement import measured_in_words
from pyg_graphadapter.display import markdown, markdown_code, visible
from pyg_graphadapter.training.evidence import evidence_of

SHOWN_CLASSES = 50


def model_card(
    class_names: Sequence[str],
    method: str,
    training: Mapping[str, Any],
    encoding: Mapping[str, Any],
    measured: Mapping[str, Any],
    confidence: Confidence,
    *,
    is_transductive: bool = False,
) -> ModelCard:
    """Describes a classifier, its training and its measured accuracies; names are escaped.

    Args:
        class_names (sequence of str): The names of its classes.
        method (str): The method's name.
        training (dict): How it was trained.
        encoding (dict): The origin of its features; empty if it is not known.
        measured (dict): Measured accuracies.
        confidence (Confidence): How its probabilities are calibrated.
        is_transductive (bool, optional): Whether its method is transductive.
            (default: :obj:`False`)
    """
    data = ModelCardData(
        library_name="pyg_graphadapter",
        pipeline_tag="image-classification",
        tags=["few-shot", "clip", visible(method).replace("_", "-")],
        base_model=visible(encoding["model"]) if encoding.get("model") else None,
    )
    name = encoding.get("model")
    model = markdown_code(name) if name else "an encoder that it does not name"
    first_classes = ", ".join(markdown(name) for name in class_names[:SHOWN_CLASSES])
    more = f", and {len(class_names) - SHOWN_CLASSES} more" * (len(class_names) > SHOWN_CLASSES)
    together = (
        " It is transductive: it classifies the images that are given together, and what it "
        "predicts for one depends on the others."
        if is_transductive
        else ""
    )
    sections = [
        f"# {len(class_names)} classes by {markdown(method)}",
        f"A few-shot classifier: {markdown(method)} on features of {model}.{together}",
        _example(encoding),
        f"## Classes\n\n{first_classes}{more}",
        "## Measured\n\n" + _measured(measured),
        "## Probabilities\n\n" + _probabilities(confidence),
        "## Training\n\n" + _table({**_plain(training), **encoding}),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")


def _example(encoding: Mapping[str, Any]) -> str:
    """How to use the classifier, in code."""
    lines = [
        "from pyg_graphadapter import FewShotClassifier",
        "",
        'classifier = FewShotClassifier.from_pretrained("…")',
    ]
    if encoding and not encoding.get("has_texts", True):  # an encoder that is not saved with it
        lines.append("classifier.use_encoder(encoder)  # the one that is named below")
    use = 'predict(["image.jpg"])' if encoding else "predict(features)  # [N, D], of its encoder"
    return "\n".join(["```python", *lines, f"classifier.{use}", "```"])


def _measured(measured: Mapping[str, Any]) -> str:
    if not measured:
        return "Nothing was measured."
    sentence = measured_in_words(measured)
    return (f"{markdown(sentence)}\n\n" if sentence else "") + _table(measured)


def _probabilities(confidence: Confidence) -> str:
    return (
        f"Logits are divided by {confidence.temperature:.4g}, the temperature "
        f"({markdown(confidence.source)}). The answer is always one of the classes, whatever an "
        f'image shows, unless others are rejected: `predict(images, reject="unknown")`.'
    )


def _table(values: Mapping[str, Any]) -> str:
    rows = [
        f"| {markdown(key)} | {markdown(_text(value))} |"
        for key, value in values.items()
        if value is not None and value != ""
    ]
    return "\n".join(["| what | value |", "|---|---|", *rows])


def _text(value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(entry)}" for key, entry in value.items()) or "none"
    return "not known" if value is None else str(value)


def _plain(training: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with what the shots say of the class names as numbers of their own."""
    evidence = evidence_of(training)
    rows = {name: value for name, value in training.items() if name != "evidence"}
    if evidence is None:
        return rows
    rows["shots that class names alone get right"] = f"{evidence.right:,} of {evidence.total:,}"
    if evidence.right_by_images is not None:
        rows["shots that the other images alone get right"] = f"{evidence.right_by_images:,}"
    return rows
