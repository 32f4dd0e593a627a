"""The two files that a fitted classifier is saved as: tensors, and a card in JSON."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, adapter_class, adapter_names
from pyg_graphadapter.adapters.registry import is_built_in
from pyg_graphadapter.classifier.confidence import Confidence, ConfidenceCard
from pyg_graphadapter.display import json_text
from pyg_graphadapter.features import (
    LOGIT_SCALES,
    Features,
    check_directions,
    check_finite,
    check_fits,
    check_logit_scale,
)
from pyg_graphadapter.graph import unit
from pyg_graphadapter.outputs import no_empty_folders
from pyg_graphadapter.storage import (
    Arrays,
    FileKind,
    Length,
    Within,
    checked,
    parsed,
    prepare_folder,
    read,
    read_content,
    remove_leftovers,
    sha256,
    versions,
    write_atomic,
)
from pyg_graphadapter.suggestions import path_suggestion
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.fitting import NO_TEXTS

WEIGHTS = "classifier.safetensors"  # of the first classifier in a folder
LATER_WEIGHTS = re.compile(r"classifier-[0-9a-f]{16}\.safetensors")  # of one that replaces another
CARD = "classifier.json"
OF_THE_HUB = ("README.md", "config.json")
FORMATS = tuple(f"pyg_graphadapter/classifier/{version}" for version in (1, 2, 3, 4))
SHOTS = ("shots.x", "shots.y")  # tensors of a classifier that keeps its shots
CONFIDENCE = "confidence."  # how the names of the tensors of its confidence begin
FAMILIARITY = "familiarity."  # and those of its familiarity
FIELDS = ("class_names", "method", "training", "encoding", "measured", "selected", "shot_hashes")
DIRECTIONS = ("text", "keys", "prototypes")  # tensors whose rows are compared by their cosine
PROBES = 8  # texts, or random directions, that are classified when a classifier is read
LARGEST_LOGIT = 1e8  # beyond which float32 has no digits left for a difference
ATTEMPTS = 3  # to read a classifier that is being replaced


@dataclass(frozen=True)
class Card:
    """What ``classifier.json`` holds.

    Args:
        format (str): The version of the format.
        class_names (tuple of str): The names of the classes.
        method (str): The method's name.
        training (dict): The whole recipe of the training, with the draw.
        encoding (dict): Where the features came from; empty for features from a file.
        measured (dict): Measured accuracies.
        logit_scale (float): The factor of the cosine.
        settings (dict): All settings of the method.
        sha256 (str): The hash of the file of tensors.
        weights (str): The name of the file of tensors.
        versions (dict): The versions of the libraries that it was made with.
        selected (dict): The settings that were selected inside the shots; older files do not say.
        shot_hashes (str): The hashes of the images that it was fitted on, with blanks between
            them; older files have none.
        keeps_shots (bool): Whether the file of tensors holds the features of the shots.
        confidence (ConfidenceCard): How far the probabilities can be trusted; older files do not
            say.
        familiarity (str): How it was found out how images of the classes look; older files do not
            know it.
    """

    format: str
    class_names: Annotated[tuple[str, ...], Length(1)]
    method: str
    training: dict[str, Any]
    encoding: dict[str, Any]
    measured: dict[str, Annotated[int, Within(0)] | Annotated[float, Within(0)] | str]
    logit_scale: Annotated[float, Within(*LOGIT_SCALES)]
    settings: dict[str, Any]
    sha256: Annotated[str, Length(64, 64)]
    weights: str = WEIGHTS
    versions: dict[str, str] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)
    shot_hashes: str = ""
    keeps_shots: bool = False
    confidence: ConfidenceCard = field(default_factory=ConfidenceCard)
    familiarity: str = ""


@dataclass(frozen=True)
class Encoding:
    """What ``encoding`` in the card of a classifier of images holds: the encoder, with one hash for
    each part of it that images and texts depend on, and how images were encoded."""

    model: str
    dtype: str
    templates: tuple[str, ...]
    revision: str | None = None
    weights: str | None = None
    configuration: str | None = None
    tokenizer: str | None = None
    preprocessing: str | None = None
    weights_and_configuration: str | None = None  # one hash of both, from format 1
    width: Annotated[int, Within(1)] | None = None
    views: Annotated[int, Within(1)] = 1
    view_seed: int = 0
    has_texts: bool = True  # false for an encoder of images alone, which no name leads to
    descriptions: str | None = None  # the hash of the descriptions of the classes
    descriptions_weight: Annotated[float, Within(0, 1)] | None = None


CARD_FILE: FileKind[Card] = FileKind(
    "classifier", Card, "Fit it again, or update this package", FORMATS, (".json",)
)
WEIGHTS_FILE: FileKind[Arrays] = FileKind(
    "classifier", Arrays, "Fit it again", suffixes=(".safetensors",), max_bytes=2**40
)


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Makes the folder for a classifier.

    Raises:
        ValueError: If it holds something else, or a classifier and not ``overwrite``.
        OSError: If it cannot be made.
    """
    prepare_folder(folder, _is_ours)
    if (folder / CARD).exists() and not overwrite:
        raise _exists(folder)


def _exists(folder: Path) -> ValueError:
    return ValueError(
        f"The output folder {folder} holds a classifier already: choose another folder, or "
        f"overwrite it (--overwrite)."
    )


def _is_ours(path: Path) -> bool:
    return path.name in (CARD, *OF_THE_HUB) or _is_weights(path.name)


def _is_weights(name: str) -> bool:
    return name == WEIGHTS or bool(LATER_WEIGHTS.fullmatch(name))


def write_classifier(
    folder: Path,
    adapter: Adapter,
    fields: Mapping[str, Any],
    *,
    overwrite: bool = False,
    shots: Features | None = None,
    confidence: Confidence | None = None,
    familiarity: Familiarity | None = None,
) -> None:
    """Writes an adapter and what belongs to it: the :obj:`FIELDS`, plain JSON values, the shots
    that it keeps, its confidence and its familiarity.

    The card names the file of tensors, which gets a new name where it replaces another. So the
    renaming of the card alone replaces a classifier by another: at any moment there is one. No name
    is used twice, since another process may be about to remove the file that had it.

    Raises:
        ValueError: As :func:`check_output` does, or if it cannot be saved.
        OSError: If it cannot be written.
    """
    with no_empty_folders(folder):
        check_output(folder, overwrite=overwrite)
        _write_classifier(
            folder,
            adapter,
            fields,
            confidence or Confidence(),
            familiarity,
            overwrite=overwrite,
            shots=shots,
        )


def _write_classifier(
    folder: Path,
    adapter: Adapter,
    fields: Mapping[str, Any],
    confidence: Confidence,
    familiarity: Familiarity | None,
    *,
    overwrite: bool,
    shots: Features | None,
) -> None:
    replaced = _weights_of(folder)
    tensors = dict(adapter.state_dict())
    if shots is not None:
        tensors |= dict(zip(SHOTS, (shots.x, shots.y), strict=True))
    tensors |= {CONFIDENCE + name: value for name, value in confidence.tensors().items()}
    if familiarity is not None:
        tensors |= {FAMILIARITY + name: value for name, value in familiarity.tensors().items()}
    weights = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    card = Card(
        format=FORMATS[-1],
        **{
            **{name: fields[name] for name in FIELDS},
            "shot_hashes": " ".join(fields["shot_hashes"]),
        },
        logit_scale=check_logit_scale(adapter.logit_scale),
        settings=_plain_settings(adapter),
        sha256=sha256(weights),
        versions=versions(),
        keeps_shots=shots is not None,
        confidence=confidence.card(),
        familiarity="" if familiarity is None else familiarity.source,
    )
    content = asdict(card)
    content["weights"] = _write_weights(folder, weights, is_first=not overwrite)
    text = json_text(content, indent=2) + "\n"
    try:
        write_atomic(folder / CARD, text.encode(), exclusive=not overwrite)
    except OSError as error:
        (folder / content["weights"]).unlink()
        if isinstance(error, FileExistsError):
            raise _exists(folder) from None
        raise
    if replaced is not None:
        replaced.unlink(missing_ok=True)
    # Whoever was killed has left tensors that no card names:
    remove_leftovers(
        folder, lambda path: _is_weights(path.name) and path.name != content["weights"]
    )


def _plain_settings(adapter: Adapter) -> dict[str, Any]:
    settings = adapter.settings()
    for name, value in settings.items():
        if callable(value):
            raise ValueError(
                f"The setting {name!r} is a Python function, which cannot be saved: give a "
                f"convolution by its name."
            )
    return settings


def _write_weights(folder: Path, weights: bytes, *, is_first: bool) -> str:
    """Writes the tensors to a file that is not there yet, and returns its name."""
    if is_first:
        try:
            write_atomic(folder / WEIGHTS, weights, exclusive=True)
            return WEIGHTS
        except FileExistsError:
            pass
    name = f"classifier-{secrets.token_hex(8)}.safetensors"
    write_atomic(folder / name, weights)
    return name


def _weights_of(folder: Path) -> Path | None:
    """The tensors of the classifier that is in a folder now, if there is one."""
    if not (folder / CARD).exists():
        return None
    try:
        name = read(folder / CARD, CARD_FILE).weights
    except (ValueError, OSError):  # damaged: it will be replaced
        return None
    return folder / name if _is_weights(name) else None


def read_classifier(folder: Path) -> tuple[Adapter, dict[str, Any]]:
    """The adapter, ready to classify, the :obj:`FIELDS`, ``shots``, which it may keep,
    ``confidence`` and ``familiarity``.

    Raises:
        FileNotFoundError: If there is no classifier.
        ValueError: If it is damaged or of a later format.
    """
    card, weights = _read_files(folder)
    if card.method not in adapter_names():
        raise ValueError(
            f"The classifier in {folder} cannot be read: it was made by the method "
            f"{card.method!r}, which is not registered. Install its package, or import the module "
            f"that registers it (--import MODULE, register_adapter)."
        )
    try:
        if card.encoding:
            checked(card.encoding, Encoding, "'encoding'")
        state = _state_of(weights, folder / card.weights)
        shots = Features(*(state.pop(name) for name in SHOTS)) if card.keeps_shots else None
        confidence = _confidence_of(card, state)
        familiarity = _familiarity_of(card, state)
        adapter = _adapter_of(card, state)
        if familiarity is not None:
            familiarity.check_fits(adapter.text)
        if shots is not None:
            check_fits(shots, adapter.text, SHOTS[0])
        if len(card.class_names) != adapter.num_classes:
            count = len(card.class_names)
            raise ValueError(f"{count} class names for {adapter.num_classes} classes")
    except (ValueError, TypeError, KeyError) as error:
        raise CARD_FILE.error(folder, error) from error
    fields = {name: getattr(card, name) for name in FIELDS}
    fields |= {"shots": shots, "confidence": confidence, "familiarity": familiarity}
    fields["shot_hashes"] = tuple(card.shot_hashes.split())
    if card.format == FORMATS[0] and "weights" in card.encoding:
        encoding = dict(card.encoding)
        encoding["weights_and_configuration"] = encoding.pop("weights")
        fields["encoding"] = encoding
    return adapter.eval(), fields


def _confidence_of(card: Card, state: dict[str, Tensor]) -> Confidence:
    """How far the probabilities can be trusted; its tensors are taken out of the others."""
    if card.format in FORMATS[:3]:  # they had none
        return Confidence()
    names = [name for name in state if name.startswith(CONFIDENCE)]
    tensors = {name.removeprefix(CONFIDENCE): state.pop(name) for name in names}
    return Confidence.from_file(card.confidence, tensors)


def _familiarity_of(card: Card, state: dict[str, Tensor]) -> Familiarity | None:
    """How images of the classes look; its tensors are taken out of the others."""
    if card.format in FORMATS[:3] or not card.familiarity:  # they had none
        return None
    names = ("means", "directions", "scales", "left_out")
    tensors = {name: state.pop(FAMILIARITY + name) for name in names}
    return Familiarity(**tensors, source=card.familiarity)


def _adapter_of(card: Card, state: dict[str, Tensor]) -> Adapter:
    """The adapter. Tensors and settings that can be loaded and would answer otherwise are refused;
    methods from outside the package check theirs themselves."""
    is_checked = is_built_in(card.method)
    if is_checked:
        _check_tensors(state, card)
    adapter = adapter_class(card.method).from_state(state, card.logit_scale, card.settings)
    if is_checked:
        _check_settings(card, adapter)
        _check_logits(adapter)
    return adapter


def _check_tensors(state: Mapping[str, Tensor], card: Card) -> None:
    """Checks the tensors by what they are: directions are not zero, labels are classes, and no
    row is so long that its square overflows."""
    for name, tensor in state.items():
        if name == "labels":
            if tensor.is_floating_point() or not bool(
                ((tensor >= 0) & (tensor < len(card.class_names))).all()
            ):
                raise ValueError("its tensor 'labels' holds what is no number of a class")
        elif not tensor.is_floating_point():
            raise ValueError(f"its tensor {name!r} must be floating-point numbers")
        if tensor.dim() == 2:  # lengths that overflow would be divided by, and leave zeros
            check_finite(tensor, f"its tensor {name!r}")
        if name in DIRECTIONS and tensor.dim() == 2 and not _stands_for_no_text(name, tensor, card):
            check_directions(tensor, f"its tensor {name!r}")


def _stands_for_no_text(name: str, tensor: Tensor, card: Card) -> bool:
    """Whether a tensor is the zeros that a method holds that was fitted without texts
    (:func:`~pyg_graphadapter.adapters.mixture.text_or_zeros`)."""
    was_without = card.training.get("texts") == NO_TEXTS
    may_lack = not adapter_class(card.method).needs_text
    return name == "text" and was_without and may_lack and not bool(tensor.any())


def _check_settings(card: Card, adapter: Adapter) -> None:
    """Checks that no setting is missing: another value would be taken for it. Files of an earlier
    format may lack settings that came later."""
    missing = set(adapter.settings()) - set(card.settings)
    if missing and card.format in FORMATS[2:]:
        raise ValueError(f"its settings lack {', '.join(sorted(missing))}")


def _check_logits(adapter: Adapter) -> None:
    """Checks that images that look like the texts have logits that can be told apart; without
    texts, images in random directions."""
    x = adapter.text[:PROBES]
    if not bool(x.any()):
        x = torch.randn(PROBES, x.size(1), generator=torch.Generator().manual_seed(0)).to(x)
    with torch.inference_mode():
        logits = adapter.eval()(unit(x))
    if not bool((logits.abs() <= LARGEST_LOGIT).all()):
        raise ValueError(
            f"its tensors give logits that are not finite or beyond {LARGEST_LOGIT:.0e}"
        )


def _read_files(folder: Path) -> tuple[Card, bytes]:
    """The card and the bytes of its tensors. If another process is replacing them, both are read
    again."""
    if not (folder / CARD).exists():
        raise _missing(folder / CARD)
    card = read(folder / CARD, CARD_FILE)
    for _ in range(ATTEMPTS):
        if not _is_weights(card.weights):
            raise CARD_FILE.error(
                folder / CARD,
                f"'weights' is {card.weights[:60]!r}, which is no name of such a file",
            )
        try:
            weights = read_content(folder / card.weights, WEIGHTS_FILE)
        except FileNotFoundError:
            weights = None
        if weights is not None and sha256(weights) == card.sha256:
            return card, weights
        latest = read(folder / CARD, CARD_FILE)
        if latest == card:
            break
        card = latest
    if weights is None:
        raise _missing(folder / card.weights)
    raise CARD_FILE.error(
        folder, f"{card.weights} is not the file that {CARD} was written with, or is damaged"
    )


def _missing(path: Path) -> FileNotFoundError:
    meant = "" if path.parent.exists() else path_suggestion(path.parent)
    return FileNotFoundError(
        f"There is no classifier in {path.parent} ({path.name} is missing): make one with "
        f"'graphadapter fit DATA --out {path.parent}'.{meant}"
    )


def _state_of(weights: bytes, path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {
        name: array.load() for name, array in parsed(weights, path, WEIGHTS_FILE).items()
    }
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"its tensor {name!r} is not finite")
    return state
