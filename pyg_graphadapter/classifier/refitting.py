"""Classifiers that are fitted again, to the shots that they hold and more."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.classifier.calibration import calibrated
from pyg_graphadapter.classifier.confidence import SWITCHED_OFF
from pyg_graphadapter.classifier.measurement import cross_validated
from pyg_graphadapter.classifier.texts import has_texts, recorded
from pyg_graphadapter.data.descriptions import Descriptions
from pyg_graphadapter.features import Features
from pyg_graphadapter.settings import warn
from pyg_graphadapter.task import FewShotTask, TextEncoder
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.evidence import evidence_of, tell_of_poor_texts
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.fitting import (
    classes_without_shots,
    fit_method,
    recipe,
)

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

ZERO_SHOT = "zero_shot"
DEFAULT_METHOD = "graph_adapter"  # of a zero-shot classifier that gets shots
C = TypeVar("C", bound="FewShotClassifier")

NO_SHOTS = (
    "The classifier holds no shots that it could be fitted again with: fit it with keep_shots=True "
    "(--keep-shots), which saves the features of its shots with it."
)

# Measured with CLIP ViT-B/32 on ImageNet, 30 classes with 4 shots and 15 of names alone: 51 to 78 %
# of the images of the latter are recognised (82 % by zero-shot CLIP), but 0 to 4 % by the first two
# of these. Of other such classes with 3 shots, SS-Text recognises 16 % and the linear probe 20 %:
_NEED_SHOTS = ("linear_probe", "clap", "ss_text")


def holds_shots(classifier: "FewShotClassifier") -> bool:
    """Whether a classifier can be fitted again: it keeps its shots, or was fitted without any."""
    return classifier.shots is not None or classifier.training.get("shots") == 0


def kept_shots(classifier: "FewShotClassifier") -> Features:
    """The features of a classifier's shots.

    Raises:
        ValueError: If it does not keep them.
    """
    if not holds_shots(classifier):
        raise ValueError(NO_SHOTS)
    if classifier.shots is not None:
        return classifier.shots
    return Features(classifier.adapter.text[:0], torch.empty(0, dtype=torch.long))


def method_without_shots(method: str, settings: Mapping[str, Any]) -> str:
    """The method of a classifier without shots: one that needs none, or zero-shot in place of the
    default.

    Raises:
        ValueError: If another one, or a setting that it does not have, was asked for.
    """
    cls = adapter_class(method)
    if not cls.needs_shots and settings.keys() <= {field.name for field in fields(cls.Config)}:
        return method
    if method != DEFAULT_METHOD or settings:
        raise ValueError(
            f"Without shots, there is only the zero-shot classifier of the class names, or "
            f"transclip, which classifies images together: leave the method {method} and its "
            f"settings out, or give shots."
        )
    return ZERO_SHOT


def refit(
    classifier: C,
    names: tuple[str, ...],
    text: Tensor,
    shots: Features,
    *,
    method: str | None = None,
    config: TrainConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    keep_shots: bool | None = None,
    measure: bool = False,
    calibrate: bool | None = None,
    descriptions: Descriptions | None = None,
    progress: bool = True,
) -> C:
    """A classifier with the same encoder, fitted to shots. What was selected is selected again: a
    value that was selected with an image may not be measured on it."""
    if method is None:
        method = classifier.method
        if method == ZERO_SHOT and len(shots):
            method = DEFAULT_METHOD
    if not len(shots):
        method = method_without_shots(method, settings or {})
    is_same = method == classifier.method
    config = config or config_of(classifier.training if is_same else {})
    again = set(classifier.selected) if is_same else set()
    follow = {"alpha", "nodes", "whitening"} if method == DEFAULT_METHOD else set()
    if again & follow:  # files of earlier versions have the first of them alone
        again |= follow
    old_settings = classifier.adapter.settings() if is_same else {}
    settings = {
        **{name: value for name, value in old_settings.items() if name not in again},
        **(settings or {}),
    }
    encoder = classifier.encoder if method == "coop" else None
    scale = classifier.adapter.logit_scale
    if has_texts(classifier):
        text_encoder = encoder if isinstance(encoder, TextEncoder) else None
        task = FewShotTask(names, text, shots, None, scale, text_encoder)
    else:
        task = FewShotTask.without_text(names, shots, logit_scale=scale)
    lacking = [names[c] for c in classes_without_shots(task).tolist()] if len(shots) else []
    if method != ZERO_SHOT:
        show_lacking(lacking, _stands_in(method))
    select = not is_same or bool(again)
    options: dict[str, Any] = {"select": select, "may_lack": True, "progress": progress}
    fitted = fit_method(method, task, config, settings, **options)
    training = recipe(method, task, config, fitted.history, None)
    if lacking:
        training["classes_without_shots"] = lacking
    tell_of_poor_texts(evidence_of(training), fitted.adapter, method)
    grown = like(classifier, fitted.adapter, names, training, method)
    grown.encoding |= recorded(classifier, descriptions)
    grown.selected = fitted.selected
    grown.familiarity = Familiarity.from_task(task)
    keep = classifier.shots is not None if keep_shots is None else keep_shots
    grown.shots = shots if keep else None
    if calibrate is None:
        calibrate = classifier.confidence.source != SWITCHED_OFF
    grown.confidence, held_out = calibrated(
        method, task, config, settings, fitted.selected, calibrate=calibrate, **options
    )
    if measure and len(shots):
        grown.measured = cross_validated(
            method, task, config, settings, held_out=held_out, **options
        )
    return grown


def config_of(training: Mapping[str, Any]) -> TrainConfig:
    """How a classifier was trained, from its recipe."""
    names = {field.name for field in fields(TrainConfig)}
    return TrainConfig(**{name: value for name, value in training.items() if name in names})


def like(
    classifier: C,
    adapter: Any,
    names: tuple[str, ...],
    training: dict[str, Any],
    method: str | None = None,
) -> C:
    """A classifier with the encoder of another, which knows the same shots and settings."""
    new = type(classifier)(adapter, names, method or classifier.method, training)
    new.encoding, new._encoder = dict(classifier.encoding), classifier._encoder
    new.shot_hashes, new.selected = classifier.shot_hashes, dict(classifier.selected)
    new.confidence = classifier.confidence
    return new


def _stands_in(method: str) -> str:
    """What becomes of classes without shots when a method is fitted again."""
    if method in _NEED_SHOTS:
        return (
            f"{method} hardly ever predicts such classes; add shots of them, or choose another "
            f"method, as gda"
        )
    return (
        "their text features stand in for shots, moved to where images lie, and the other classes "
        "are favoured; add shots of them"
    )


def show_lacking(names: Sequence[str], what_follows: str) -> None:
    """Warns of classes without shots, with what follows from that."""
    if names:
        listing = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
        warn(f"There is no shot of {listing}: {what_follows}.")
