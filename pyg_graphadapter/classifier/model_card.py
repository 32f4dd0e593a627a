"""The model card of a classifier on the Hugging Face hub."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

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
        is_transductive (bool, optional): Whether its method is transductive.
            (default: :obj:`False`)
    """
    data = ModelCardData(
        library_name="pyg_graphadapter",
        pipeline_tag="image-classification",
        tags=["few-shot", "clip", visible(method).replace("_", "-")],
        base_model=visible(encoding["model"]) if encoding.get("model") else None,
    )
    model = f"{markdown_code(encoding['model'])}" if encoding else "a frozen dual encoder"
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
        "```python\nfrom pyg_graphadapter import FewShotClassifier\n\n"
        'classifier = FewShotClassifier.from_pretrained("…")\n'
        'classifier.predict(["image.jpg"])\n```',
        f"## Classes\n\n{first_classes}{more}",
        "## Measured\n\n" + _measured(measured),
        "## Training\n\n" + _table({**_plain(training), **encoding}),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")


def _measured(measured: Mapping[str, Any]) -> str:
    if not measured:
        return "Nothing was measured."
    sentence = measured_in_words(measured)
    return (f"{markdown(sentence)}\n\n" if sentence else "") + _table(measured)


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {markdown(key)} | {markdown(value)} |" for key, value in values.items()]
    return "\n".join(["| what | value |", "|---|---|", *rows])


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
