"""Classifiers that get more shots, more classes or other names, and those of names alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_graphadapter.classifier.added import LabelledFeatures, names_alone, read_added
from pyg_graphadapter.classifier.confidence import NO_SHOTS as NO_SHOTS_HELD
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.refitting import (
    NO_SHOTS,
    ZERO_SHOT,
    C,
    config_of,
    holds_shots,
    kept_shots,
    like,
    method_without_shots,
    refit,
    show_lacking,
)
from pyg_graphadapter.classifier.texts import (
    check_texts,
    described,
    encode_names,
    has_texts,
    recorded,
)
from pyg_graphadapter.copies import are_copies
from pyg_graphadapter.data.descriptions import DescriptionsLike
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import load_encoder
from pyg_graphadapter.features import Features, check_fits, check_labels, counted
from pyg_graphadapter.graph import unit
from pyg_graphadapter.progress import obeys_progress
from pyg_graphadapter.settings import unknown, warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.fitting import fit_method

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.encoding.model import EncoderModel

SAME_ENCODER = 0.9  # the least mean cosine of texts of the same classes


def from_names(
    cls: type[C],
    class_names: Sequence[str] | str | Path,
    model: "str | Path | EncoderModel",
    encoding: EncodingConfig,
    device: str,
    method: str = ZERO_SHOT,
    settings: Mapping[str, Any] | None = None,
) -> C:
    """:meth:`FewShotClassifier.from_names`."""
    from pyg_graphadapter.data.names_file import check_names, read_names

    method = method_without_shots(method, settings or {})
    if isinstance(class_names, str | Path):
        names = read_names(class_names)
    else:
        names = check_names(tuple(class_names))
    encoder = load_encoder(model, encoding, device)
    from pyg_graphadapter.encoding.model import text_features_of

    encoding = encoding.matched(names)
    text = text_features_of(encoder, names, encoding)
    shots = Features(text[:0], torch.empty(0, dtype=torch.long))
    task = FewShotTask(names, text, shots, logit_scale=encoder.logit_scale)
    fitted = fit_method(method, task, TrainConfig(device=device), settings or {})
    classifier = cls(fitted.adapter, names, method, {"shots": 0, "draw_seed": None})
    classifier.selected = fitted.selected
    classifier.familiarity = Familiarity.from_task(task)
    classifier.confidence = Confidence(source=NO_SHOTS_HELD)
    classifier.use_encoder(encoder, encoding)
    return classifier


@obeys_progress
def add_shots(classifier: C, data: Any, labels: Sequence[str | int] | None = None, **how: Any) -> C:
    """:meth:`FewShotClassifier.add_shots`."""
    kept_shots(classifier)  # says what is missing, before any work
    how, more = read_added(classifier, data, labels, how)
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


@obeys_progress
def add_classes(
    classifier: C,
    data: Any,
    labels: Sequence[str] | None = None,
    *,
    text: Tensor | None = None,
    **how: Any,
) -> C:
    """:meth:`FewShotClassifier.add_classes`."""
    names = names_alone(data) if labels is None else None
    if names is not None:
        return add_names(classifier, names, text, **how)
    if text is not None:
        raise ValueError(
            "'text' has one row per name of add_classes(names): with images, give "
            "FeatureFile(text=text, class_names=names, train=Features(x, y)), which says which row "
            "is of which class."
        )
    kept_shots(classifier)
    how, more = read_added(classifier, data, labels, how, may_add=True)
    return grow(classifier, more, **how)


def add_names(
    classifier: C,
    names: tuple[str, ...],
    text: Tensor | None = None,
    *,
    descriptions: DescriptionsLike | None = None,
    **how: Any,
) -> C:
    """The classifier with further classes, of which there is no shot."""
    from pyg_graphadapter.data.names_file import check_names

    check_names((*classifier.class_names, *names))
    check_texts(classifier)
    if text is not None and descriptions is not None:
        raise ValueError("Give 'text' or 'descriptions' of the new classes, not both.")
    table = described(classifier, names, descriptions)
    text = encode_names(classifier, names, table) if text is None else text
    old_text = classifier.adapter.text
    if text.shape != (len(names), old_text.size(1)):
        raise ValueError(
            f"'text' must be [{len(names)}, {old_text.size(1)}], one row per new class (got "
            f"{list(text.shape)})."
        )
    all_names = (*classifier.class_names, *names)
    all_text = torch.cat([old_text, unit(text).to(old_text)])
    how["descriptions"] = table
    if _is_changed(classifier, how):
        return refit(classifier, all_names, all_text, kept_shots(classifier), **how)
    try:
        adapter = classifier.adapter.extend(text, class_names=names).cpu().eval()
    except ValueError as error:
        if not holds_shots(classifier):
            raise ValueError(f"{error} {NO_SHOTS}") from error
        return refit(classifier, all_names, all_text, kept_shots(classifier), **how)
    if classifier.training.get("shots") != 0:
        show_lacking(names, "they are classified by their text features")
    without = [*classifier.training.get("classes_without_shots", ()), *names]
    training = {**classifier.training, "classes_without_shots": without}
    if training.get("shots") == 0:
        training.pop("classes_without_shots")
    extended = like(classifier, adapter, all_names, training)
    extended.encoding |= recorded(classifier, table)
    extended.confidence = classifier.confidence.with_new_classes(names)
    extended.shots = None if how.get("keep_shots") is False else classifier.shots
    if classifier.familiarity is not None:
        extended.familiarity = classifier.familiarity.extended(old_text, text)
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
    calibrate: bool | None = None,
    descriptions: DescriptionsLike | None = None,
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
        calibrate (bool, optional): Fit the temperature of the probabilities; if not given, as the
            old one was. (default: :obj:`None`)
        descriptions (Descriptions, dict, str or Path, optional): Sentences about the new classes,
            with the weight that the classifier was fitted with. (default: :obj:`None`)
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
    table = described(classifier, new_names, descriptions)
    if new:
        names = (*names, *new_names)
        if has_texts(classifier):
            new_text = (
                encode_names(classifier, new_names, table)
                if more.text is None or table is not None
                else unit(more.text[new])
            )
            text = torch.cat([text, new_text.to(text)])
    numbers = {name: c for c, name in enumerate(names)}
    to_own = torch.tensor([numbers.get(name, -1) for name in more.class_names])
    more = replace(more, shots=Features(more.shots.x, to_own[more.shots.y]))
    more = _without_known(classifier, more)
    shots = _joined(kept_shots(classifier), more.shots)
    grown = refit(
        classifier, names, text, shots, method=method, config=config, settings=settings,
        keep_shots=keep_shots, measure=measure, calibrate=calibrate, descriptions=table,
        progress=progress,
    )  # fmt: skip
    grown.shot_hashes = (*classifier.shot_hashes, *more.hashes)
    return grown


def _without_known(classifier: "FewShotClassifier", more: LabelledFeatures) -> LabelledFeatures:
    """What is added, in the classes of the classifier, without images that are among the shots of
    their class already: by the hash of the image, or by its features."""
    shots, hashes = kept_shots(classifier), classifier.shot_hashes
    is_known = are_copies(more.shots.x[:, 0], shots.x[:, 0], more.shots.y, shots.y)
    if len(hashes) == len(shots):  # not in files of earlier versions
        known = set(zip(hashes, shots.y.tolist(), strict=True))
        labelled_hashes = zip(more.hashes, more.shots.y.tolist(), strict=True)
        is_known |= torch.tensor([pair in known for pair in labelled_hashes], dtype=torch.bool)
    is_contradicted = are_copies(more.shots.x[:, 0], shots.x[:, 0]) & ~is_known
    if is_contradicted.any():
        warn(
            f"{int(is_contradicted.sum())} of {counted(len(more.shots), 'image')} are shots of "
            f"another class already, and now of both: check the labels."
        )
    if not is_known.any():
        return more
    warn(
        f"{int(is_known.sum())} of {counted(len(more.shots), 'image')} are among the classifier's "
        f"shots already and are left out."
    )
    hashes = tuple(more.hashes[i] for i in (~is_known).nonzero().flatten().tolist())
    return replace(more, shots=more.shots.select(~is_known), hashes=hashes)


def _joined(shots: Features, more: Features) -> Features:
    """Shots and more, all with the same number of views."""
    views = max(shots.x.size(1) if len(shots) else 1, more.x.size(1))
    x = [part.x.expand(-1, views, -1) for part in (shots, more) if part.x.size(1) in (1, views)]
    if len(x) < 2:
        raise ValueError(
            f"The shots have {shots.x.size(1)} views per image, and what is added {more.x.size(1)}:"
            f" both must have the same number, or one."
        )
    return Features(torch.cat([x[0].to(x[1]), x[1]]), torch.cat([shots.y, more.y]))


@obeys_progress
def rename_classes(
    classifier: C,
    new_names: Mapping[str, str],
    *,
    encode: bool = False,
    descriptions: DescriptionsLike | None = None,
    **how: Any,
) -> C:
    """:meth:`FewShotClassifier.rename_classes`."""
    from pyg_graphadapter.data.names_file import check_names

    for name in new_names:
        if name not in classifier.class_names:
            raise unknown("class", name, classifier.class_names)
    names = tuple(new_names.get(name, name) for name in classifier.class_names)
    check_names(names)
    if not encode:
        if descriptions is not None:
            raise ValueError("Descriptions of renamed classes need encode=True: give that, too.")
        renamed = like(classifier, classifier.adapter, names, dict(classifier.training))
        renamed.shots, renamed.measured = classifier.shots, dict(classifier.measured)
        renamed.familiarity = classifier.familiarity
        without = classifier.training.get("classes_without_shots")
        if without:
            renamed.training["classes_without_shots"] = [new_names.get(n, n) for n in without]
        return renamed
    shots = kept_shots(classifier)
    changed = [c for c, name in enumerate(classifier.class_names) if name in new_names]
    text = classifier.adapter.text.clone()
    encoded = tuple(names[c] for c in changed)
    table = described(classifier, encoded, descriptions)
    text[changed] = encode_names(classifier, encoded, table).to(text)
    return refit(classifier, names, text, shots, descriptions=table, **how)


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
