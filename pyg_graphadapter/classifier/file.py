"""The two files that a fitted classifier is saved as: tensors, and a card in JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from pyg_graphadapter.adapters import Adapter, adapter_class, adapter_names
from pyg_graphadapter.storage import prepare_folder, sha256, versions, write_atomic

WEIGHTS = "classifier.safetensors"
CARD = "classifier.json"
OF_THE_HUB = ("README.md", "config.json")
FORMAT = "pyg_graphadapter/classifier/1"
FIELDS = ("class_names", "method", "training", "encoding", "measured")


class UnknownMethodError(Exception):
    """A saved classifier is of a method that is not known here."""


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Makes the folder for a classifier.

    Raises:
        ValueError: If it holds something else, or a classifier and not ``overwrite``.
    """
    prepare_folder(folder, lambda path: path.name in (WEIGHTS, CARD, *OF_THE_HUB))
    if (folder / CARD).exists() and not overwrite:
        raise ValueError(
            f"The output folder {folder} holds a classifier already: choose another folder, or "
            f"overwrite it (--overwrite)."
        )


def write_classifier(
    folder: Path, adapter: Adapter, fields: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes an adapter and what belongs to it: the :obj:`FIELDS`, plain JSON values.

    Raises:
        ValueError: As :func:`check_output` does.
    """
    check_output(folder, overwrite=overwrite)
    state = {name: value.contiguous() for name, value in adapter.state_dict().items()}
    weights = safetensors.torch.save(state)
    settings = adapter.settings()
    for name, value in settings.items():
        if callable(value):
            raise ValueError(
                f"The setting {name!r} is a Python function, which cannot be saved: give a "
                f"convolution by its name."
            )
    card = {
        "format": FORMAT,
        **{name: fields[name] for name in FIELDS},
        "logit_scale": adapter.logit_scale,
        "settings": settings,
        "sha256": sha256(weights),
        "versions": versions(),
    }
    write_atomic(folder / WEIGHTS, weights)
    write_atomic(folder / CARD, (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())


def read_classifier(folder: Path) -> tuple[Adapter, dict[str, Any]]:
    """The adapter, ready to classify, and the :obj:`FIELDS`.

    Raises:
        FileNotFoundError: If there is no classifier.
        ValueError: If it is damaged or of a later format.
    """
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"There is no classifier in {folder} ({name} is missing): make one with "
                f"'graphadapter fit DATA --out {folder}'."
            )
    weights = (folder / WEIGHTS).read_bytes()
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise ValueError(f"its format is {card['format']!r}, not {FORMAT!r}")
        if sha256(weights) != card["sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that {CARD} was written with")
        state = safetensors.torch.load(weights)
        if card["method"] not in adapter_names():
            raise UnknownMethodError(card["method"])
        adapter = adapter_class(card["method"]).from_state(
            state, card["logit_scale"], card["settings"]
        )
        fields = {name: card[name] for name in FIELDS}
        if len(fields["class_names"]) != adapter.num_classes:
            count = len(fields["class_names"])
            raise ValueError(f"{count} class names for {adapter.num_classes} classes")
        return adapter.eval(), fields
    except UnknownMethodError as error:
        raise ValueError(
            f"The classifier in {folder} cannot be read: it was made by the method {str(error)!r}, "
            f"which is not registered. Install its package, or import the module that registers it "
            f"(--import MODULE, register_adapter)."
        ) from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(
            f"The classifier in {folder} cannot be read ({error}): fit it again, or update this "
            f"package."
        ) from error
