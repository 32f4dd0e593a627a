"""Classifiers that get more shots, more classes or other names, and those of names alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from pyg_graphadapter.adapters import ZeroShot
from pyg_graphadapter.classifier.inputs import FeatureInput
from pyg_graphadapter.classifier.measurement import cross_validated
from pyg_graphadapter.classifier.shots import feature_hashes, image_hashes, shot_hashes
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import Source, load_encoder
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import ALL, Features, Shots, check_fits, check_labels, counted
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import unknown, warn
from pyg_graphadapter.task import FewShotTask, TextEncoder
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.fitting import (
    NO_TEXTS,
    classes_without_shots,
    fit_method,
    recipe,
)
from pyg_graphadapter.training.folds import equal_rows

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.encoding.model import EncoderModel

ZERO_SHOT = "zero_shot"
DEFAULT_METHOD = "graph_adapter"  # of a zero-shot classifier that gets shots
SAME_ENCODER = 0.9  # the least mean cosine of texts of the same classes
C = TypeVar("C", bound="FewShotClassifier")


@dataclass(frozen=True)
class LabelledFeatures:
    """What is added to a classifier.

    Args:
        shots (Features): The features, whose labels count the class names.
        class_names (tuple of str): The names of their classes.
        text (torch.Tensor, optional): The text features of these classes ``[C, D]``, where they are
            known. (default: :obj:`None`)
        hashes (tuple of str): The hashes by which the classifier knows the images.
            (default: :obj:`()`)
    """

    shots: Features
    class_names: tuple[str, ...]
    text: Tensor | None = None
    hashes: tuple[str, ...] = ()


# Names alone ##########################################################################


def from_names(
    cls: type[C],
    class_names: Sequence[str] | str | Path,
    model: "str | Path | EncoderModel",
    encoding: EncodingConfig,
    device: str,
) -> C:
    """:meth:`FewShotClassifier.from_names`."""
    from pyg_graphadapter.data.names_file import check_names, read_names

    if isinstance(class_names, str | Path):
        names = read_names(class_names)
    else:
        names = check_names(tuple(class_names))
    encoder = load_encoder(model, encoding, device)
    from pyg_graphadapter.encoding.model import class_text_features

    text = class_text_features(encoder, names, encoding.templates)
    adapter = ZeroShot(text, encoder.logit_scale).eval()
    classifier = cls(adapter, names, ZERO_SHOT, {"shots": 0, "draw_seed": None})
    classifier.use_encoder(encoder, encoding)
    return classifier


def method_without_shots(method: str, settings: Mapping[str, Any]) -> str:
    """The method of a classifier without shots.

    Raises:
        ValueError: If another one, or a setting of it, was asked for.
    """
    if method not in (ZERO_SHOT, DEFAULT_METHOD) or settings:
        raise ValueError(
            f"Without shots, there is only the zero-shot classifier of the class names: leave the "
            f"method {method} and its settings out, or give shots."
        )
    return ZERO_SHOT


# More shots and classes ###############################################################


def add_shots(classifier: C, data: Any, labels: Sequence[str | int] | None = None, **how: Any) -> C:
    """:meth:`FewShotClassifier.add_shots`."""
    kept_shots(classifier)  # says what is missing, before any work
    how, more = _read(classifier, data, labels, how)
    present = torch.unique(more.shots.y).tolist()
    new = [
        more.class_names[c] for c in present if more.class_names[c] not in classifier.class_names
    ]
    if new:
        raise ValueError(
            f"The classifier does not have the class {new[0]!r}: add classes with add_classes, or "
            f"correct the label."
        )
    return grow(classifier, more, **how)


def add_classes(
    classifier: C,
    data: Any,
    labels: Sequence[str] | None = None,
    *,
    text: Tensor | None = None,
    **how: Any,
) -> C:
    """:meth:`FewShotClassifier.add_classes`."""
    is_names = not isinstance(data, str) and isinstance(data, Sequence) and labels is None
    if is_names and data and all(isinstance(name, str) for name in data):
        return add_names(classifier, tuple(data), text, **how)
    kept_shots(classifier)
    how, more = _read(classifier, data, labels, how)
    return grow(classifier, more, **how)


def add_names(classifier: C, names: tuple[str, ...], text: Tensor | None = None, **how: Any) -> C:
    """The classifier with further classes, of which there is no shot."""
    from pyg_graphadapter.data.names_file import check_names

    check_names((*classifier.class_names, *names))
    _check_texts(classifier)
    text = _encode_names(classifier, names) if text is None else text
    old_text = classifier.adapter.text
    if text.shape != (len(names), old_text.size(1)):
        raise ValueError(
            f"'text' must be [{len(names)}, {old_text.size(1)}], one row per new class (got "
            f"{list(text.shape)})."
        )
    all_names = (*classifier.class_names, *names)
    all_text = torch.cat([old_text, unit(text).to(old_text)])
    if _is_changed(classifier, how):
        return _refit(classifier, all_names, all_text, kept_shots(classifier), **how)
    try:
        adapter = classifier.adapter.extend(text, class_names=names).cpu().eval()
    except ValueError as error:
        if not holds_shots(classifier):
            raise ValueError(f"{error} {_NO_SHOTS}") from error
        return _refit(classifier, all_names, all_text, kept_shots(classifier), **how)
    if classifier.training.get("shots") != 0:
        _show_lacking(names, "they are classified by their text features")
    without = [*classifier.training.get("classes_without_shots", ()), *names]
    training = {**classifier.training, "classes_without_shots": without}
    if training.get("shots") == 0:
        training.pop("classes_without_shots")
    extended = _like(classifier, adapter, all_names, training)
    extended.shots = None if how.get("keep_shots") is False else classifier.shots
    return extended


def _is_changed(classifier: "FewShotClassifier", how: Mapping[str, Any]) -> bool:
    """Whether another method or training is asked for, so that it must be fitted again."""
    method, config = how.get("method"), how.get("config")
    return bool(
        method not in (None, classifier.method)
        or how.get("settings")
        or (config is not None and config != config_of(classifier.training))
    )


def grow(
    classifier: C,
    more: LabelledFeatures,
    *,
    method: str | None = None,
    config: TrainConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    keep_shots: bool | None = None,
    measure: bool = False,
    progress: bool = True,
) -> C:
    """Fits a classifier again to its shots and more.

    Args:
        classifier (FewShotClassifier): The classifier, which is not changed.
        more (LabelledFeatures): What is added.
        method (str, optional): Another method. (default: :obj:`None`)
        config (TrainConfig, optional): How to train; as before, if not given.
            (default: :obj:`None`)
        settings (dict, optional): Settings of the method that differ from those that it has.
            (default: :obj:`None`)
        keep_shots (bool, optional): Whether the new classifier keeps the shots; if not given, as
            the old one does. (default: :obj:`None`)
        measure (bool, optional): Estimate the accuracy by cross-validation. (default: :obj:`False`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
    """
    names, text = classifier.class_names, classifier.adapter.text
    if more.shots.num_channels != text.size(1):
        check_fits(more.shots, text, "shots")  # says which widths differ
    check_labels(more.shots, len(more.class_names), "shots")
    if more.text is not None and has_texts(classifier):
        _check_same_encoder(classifier, more)
    present = set(more.shots.y.tolist())
    new = [c for c, name in enumerate(more.class_names) if name not in names and c in present]
    new_names = tuple(more.class_names[c] for c in new)
    if new:
        names = (*names, *new_names)
        if has_texts(classifier):
            new_text = (
                _encode_names(classifier, new_names) if more.text is None else unit(more.text[new])
            )
            text = torch.cat([text, new_text.to(text)])
    numbers = {name: c for c, name in enumerate(names)}
    to_own = torch.tensor([numbers.get(name, -1) for name in more.class_names])
    shots = _joined(kept_shots(classifier), Features(more.shots.x, to_own[more.shots.y]))
    grown = _refit(
        classifier, names, text, shots, method=method, config=config, settings=settings,
        keep_shots=keep_shots, measure=measure, progress=progress,
    )  # fmt: skip
    grown.shot_hashes = tuple(dict.fromkeys((*classifier.shot_hashes, *more.hashes)))
    return grown


def rename_classes(
    classifier: C, new_names: Mapping[str, str], *, encode: bool = False, **how: Any
) -> C:
    """:meth:`FewShotClassifier.rename_classes`."""
    from pyg_graphadapter.data.names_file import check_names

    for name in new_names:
        if name not in classifier.class_names:
            raise unknown("class", name, classifier.class_names)
    names = tuple(new_names.get(name, name) for name in classifier.class_names)
    check_names(names)
    if not encode:
        renamed = _like(classifier, classifier.adapter, names, dict(classifier.training))
        renamed.shots, renamed.measured = classifier.shots, dict(classifier.measured)
        without = classifier.training.get("classes_without_shots")
        if without:
            renamed.training["classes_without_shots"] = [new_names.get(n, n) for n in without]
        return renamed
    shots = kept_shots(classifier)
    changed = [c for c, name in enumerate(classifier.class_names) if name in new_names]
    text = classifier.adapter.text.clone()
    text[changed] = _encode_names(classifier, tuple(names[c] for c in changed)).to(text)
    return _refit(classifier, names, text, shots, **how)


# The shots ############################################################################

_NO_SHOTS = (
    "The classifier holds no shots that it could be fitted again with: fit it with keep_shots=True "
    "(--keep-shots), which saves the features of its shots with it."
)

# Measured with the built-in encoder, 8 shots of each other class: new classes of names alone are
# recognised in 9 to 62 % of their images if GraphAdapter is extended, and hardly ever by GDA, a
# linear probe or Tip-Adapter that were fitted again.
_STAND_IN = (
    "their text features stand in for shots, and the other classes are favoured; add shots of them"
)


def holds_shots(classifier: "FewShotClassifier") -> bool:
    """Whether a classifier can be fitted again: it keeps its shots, or was fitted without any."""
    return classifier.shots is not None or classifier.training.get("shots") == 0


def has_texts(classifier: "FewShotClassifier") -> bool:
    """Whether a classifier was fitted with texts of its classes."""
    return classifier.training.get("texts") != NO_TEXTS


def kept_shots(classifier: "FewShotClassifier") -> Features:
    """The features of a classifier's shots.

    Raises:
        ValueError: If it does not keep them.
    """
    if not holds_shots(classifier):
        raise ValueError(_NO_SHOTS)
    if classifier.shots is not None:
        return classifier.shots
    return Features(classifier.adapter.text[:0], torch.empty(0, dtype=torch.long))


def _joined(shots: Features, more: Features) -> Features:
    """Shots and more, without images that are among the shots of their class already."""
    views = max(shots.x.size(1) if len(shots) else 1, more.x.size(1))
    x = [part.x.expand(-1, views, -1) for part in (shots, more) if part.x.size(1) in (1, views)]
    if len(x) < 2:
        raise ValueError(
            f"The shots have {shots.x.size(1)} views per image, and what is added {more.x.size(1)}:"
            f" both must have the same number, or one."
        )
    y = torch.cat([shots.y, more.y])
    joined = Features(torch.cat([x[0].to(x[1]), x[1]]), y)
    keys = list(zip(equal_rows(joined.x[:, 0]).tolist(), y.tolist(), strict=True))
    known = set(keys[: len(shots)])
    is_new = torch.tensor([key not in known for key in keys[len(shots) :]], dtype=torch.bool)
    left_out = int((~is_new).sum())
    if left_out:
        warn(
            f"{left_out} of {counted(len(more), 'image')} are among the classifier's shots already "
            f"and are left out."
        )
    return joined.select(torch.cat([torch.ones(len(shots), dtype=torch.bool), is_new]))


def _read(
    classifier: "FewShotClassifier",
    data: Any,
    labels: Sequence[str | int] | None,
    how: dict[str, Any],
) -> tuple[dict[str, Any], LabelledFeatures]:
    """The arguments of :func:`grow`, and what is added, from labelled or unlabelled data.

    Of labelled data, ``shots``, ``at_most`` and ``seed`` in ``how`` draw, and ``encoding`` says how
    images are cached.
    """
    how = dict(how)
    reading = {name: how.pop(name) for name in ("shots", "at_most", "seed", "encoding")
               if name in how}  # fmt: skip
    encoding = encoding_of(classifier, reading.pop("encoding", None))
    if labels is not None:
        if reading:
            raise ValueError(f"With labels, all images are taken: leave {next(iter(reading))} out.")
        return how, _with_labels(classifier, data, labels, encoding)
    if isinstance(data, Features):
        hashes = feature_hashes(data)
        return how, LabelledFeatures(data, classifier.class_names, hashes=hashes)
    progress = how.get("progress", True)
    source = _source(classifier, data, encoding, progress=progress)
    shots: Shots = reading.get("shots", ALL)
    at_most = reading.get("at_most")
    task = source.task(
        shots if at_most is None else at_most,
        reading.get("seed", 1),
        allow_fewer=at_most is not None,
    )
    text = task.text if task.has_text else None
    return how, LabelledFeatures(task.support, task.class_names, text, shot_hashes(task))


def _source(
    classifier: "FewShotClassifier", data: Any, encoding: EncodingConfig, *, progress: bool
) -> Source:
    from pyg_graphadapter.classifier.few_shot_classifier import source_of

    needs_encoder = not isinstance(data, Source | FeatureFile) and not is_feature_file(data)
    model = classifier.encoder if needs_encoder else None
    return source_of(data, model, encoding, "auto", ReadOptions(), progress=progress)


def _with_labels(
    classifier: "FewShotClassifier",
    data: Any,
    labels: Sequence[str | int],
    encoding: EncodingConfig,
) -> LabelledFeatures:
    given = classifier._input(data)
    if isinstance(given, FeatureInput):
        x = given.x
        hashes = feature_hashes(Features(x, torch.zeros(len(x), dtype=torch.long)))
    else:
        from pyg_graphadapter.encoding.image_batches import digests_of
        from pyg_graphadapter.encoding.pipeline import pipeline_of

        pipeline, images = pipeline_of(classifier.encoder, encoding), given.images
        x = pipeline.encode(images, encoding.views, encoding.view_seed, strict=True).x
        hashes = image_hashes(digest.hex() for digest in digests_of(images, range(len(images))))
    if len(labels) != len(x):
        raise ValueError(f"Expected one label per image (got {len(labels)} for {len(x)}).")
    if not all(isinstance(label, str) for label in labels):
        y = torch.as_tensor(labels)
        return LabelledFeatures(Features(x, y), classifier.class_names, hashes=hashes)
    names = tuple(dict.fromkeys(cast(Sequence[str], labels)))
    y = torch.tensor([names.index(cast(str, label)) for label in labels])
    return LabelledFeatures(Features(x, y), names, hashes=hashes)


# Parts of a new classifier ############################################################


def _refit(
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
    progress: bool = True,
) -> C:
    """A classifier with the same encoder, fitted to shots. What was selected is selected again: a
    value that was selected with an image may not be measured on it."""
    if method is None:
        method = classifier.method
        if method == ZERO_SHOT and len(shots):
            method = DEFAULT_METHOD
    if not len(shots):
        method_without_shots(method, settings or {})
        method = ZERO_SHOT
    is_same = method == classifier.method
    config = config or config_of(classifier.training if is_same else {})
    again = tuple(classifier.selected) if is_same else ()
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
        _show_lacking(lacking, _STAND_IN)
    select = not is_same or bool(again)
    options = {"select": select, "may_lack": True, "progress": progress}
    fitted = fit_method(method, task, config, settings, **options)
    training = recipe(method, task, config, fitted.history, None)
    if lacking:
        training["classes_without_shots"] = lacking
    grown = _like(classifier, fitted.adapter, names, training, method)
    grown.selected = fitted.selected
    keep = classifier.shots is not None if keep_shots is None else keep_shots
    grown.shots = shots if keep else None
    if measure and len(shots):
        grown.measured = cross_validated(method, task, config, settings, **options)
    return grown


def config_of(training: Mapping[str, Any]) -> TrainConfig:
    """How a classifier was trained, from its recipe."""
    names = {field.name for field in fields(TrainConfig)}
    return TrainConfig(**{name: value for name, value in training.items() if name in names})


def _like(
    classifier: C,
    adapter: Any,
    names: tuple[str, ...],
    training: dict[str, Any],
    method: str | None = None,
) -> C:
    """A classifier with the encoder of another."""
    new = type(classifier)(adapter, names, method or classifier.method, training)
    new.encoding, new._encoder = dict(classifier.encoding), classifier._encoder
    new.shot_hashes = classifier.shot_hashes
    return new


def encoding_of(classifier: "FewShotClassifier", encoding: EncodingConfig | None) -> EncodingConfig:
    """How images are encoded: as those that the classifier was fitted on."""
    recorded = {
        name: classifier.encoding[name]
        for name in ("dtype", "views", "view_seed", "templates")
        if name in classifier.encoding
    }
    if "templates" in recorded:
        recorded["templates"] = tuple(recorded["templates"])
    return replace(encoding or EncodingConfig(), **recorded)


def _encode_names(classifier: "FewShotClassifier", names: tuple[str, ...]) -> Tensor:
    """The text features of class names ``[C', D]``, by the classifier's encoder and prompts."""
    _check_texts(classifier)
    if not classifier.encoding:
        raise ValueError(
            "The classifier was fitted on features, so it knows no encoder for names: give the "
            "text features of the new names, or a feature file with them."
        )
    from pyg_graphadapter.encoding.model import class_text_features

    templates = encoding_of(classifier, None).templates
    return unit(class_text_features(classifier.encoder, names, templates))


def _check_texts(classifier: "FewShotClassifier") -> None:
    if not has_texts(classifier):
        raise ValueError(
            "The classifier was fitted without texts, so names say nothing to it: add images of "
            "the new classes."
        )


def _check_same_encoder(classifier: "FewShotClassifier", more: LabelledFeatures) -> None:
    """Checks by the texts of classes that both have that the features are of the same encoder."""
    assert more.text is not None
    own = {name: c for c, name in enumerate(classifier.class_names)}
    common = [c for c, name in enumerate(more.class_names) if name in own]
    if not common:
        return
    text = classifier.adapter.text[[own[more.class_names[c]] for c in common]]
    cosine = float((unit(more.text[common]).to(text) * text).sum(dim=1).mean())
    if cosine < SAME_ENCODER:
        raise ValueError(
            f"The text features of classes that the classifier has are others here (mean cosine "
            f"{cosine:.2f}): take features of the same encoder and prompts."
        )


def _show_lacking(names: Sequence[str], what_follows: str) -> None:
    if names:
        listing = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
        warn(f"There is no shot of {listing}: {what_follows}.")
