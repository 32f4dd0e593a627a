"""Gathers the arrays of several files, and makes one feature file of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from pyg_graphadapter.feature_file import SPLITS, FeatureFile
from pyg_graphadapter.feature_keys import SPLIT_WORDS, known_key
from pyg_graphadapter.features import counted
from pyg_graphadapter.importing.readers import Header, read_array, read_headers
from pyg_graphadapter.labels import read_labels
from pyg_graphadapter.orientation import as_rows
from pyg_graphadapter.settings import warn
from pyg_graphadapter.storage import Array

PART = re.compile(r"^(.*?)[-_.]?(\d+)$")  # the number of a part at the end of a name
SHOTS = re.compile(r"^(keys|values)_(\d+)shots?$")  # Tip-Adapter's caches
TIP = {"val_f": "val_features", "val_l": "val_labels",
       "test_f": "test_features", "test_l": "test_labels"}  # fmt: skip
STORED = {
    "features": Annotated[Any, Array("fiub", (2, 3))],
    "labels": Annotated[Any, Array("fiubUS", (1, 2))],
    "names": Annotated[Any, Array("USiu", (1,))],
    "scale": Annotated[Any, Array("fiu", (0, 1))],
}


@dataclass(frozen=True)
class Entry:
    """An array of a file."""

    path: Path
    name: str
    part: str
    key: str  # in the file
    array: Header

    def load(self, kind: str) -> Any:
        """Its values, which must be features, labels, names or a scale."""
        return read_array(self.path, self.key, STORED[kind])


@dataclass(frozen=True)
class Imported:
    """A feature file, and in lines what it was made of."""

    file: FeatureFile
    lines: tuple[str, ...]


def import_features(
    sources: Sequence[str | Path], names: Mapping[str, str] | None = None
) -> Imported:
    """Makes one feature file of the arrays of several files.

    Arrays are known by their usual names. Parts in several files are joined in the order of the
    files. Of ``train.npz`` and ``test.npz``, the name says the split.

    Args:
        sources (sequence of str or Path): The files.
        names (mapping, optional): The names of arrays by what they are, as
            ``{"train_features": "x"}``; others are as usual. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one cannot be read, a name is in none, or the arrays do not fit together.
    """
    names = names or {}
    entries = [entry for source in sources for entry in _entries(Path(source))]
    by_key: dict[str, list[Entry]] = {}
    for entry in entries:
        for key in _keys_of(entry, names):
            by_key.setdefault(key, []).append(entry)
    _check_names(entries, by_key, names)
    used = [entry for gathered in by_key.values() for entry in gathered]
    unread = [f"{entry.name!r} of {entry.path.name}" for entry in entries if entry not in used]
    if unread:
        warn(f"These arrays are not read: {', '.join(unread)}.")
    arrays: dict[str, Any] = {}
    for split in SPLITS:
        arrays |= _split_of(split, by_key)
    for key, kind in (("text_features", "features"), ("class_names", "names")):
        if key in by_key:
            arrays[key] = _only(by_key[key], key).load(kind)
    if isinstance(arrays.get("class_names"), Tensor):
        arrays["class_names"] = arrays["class_names"].tolist()
    if "logit_scale" in by_key:
        arrays["logit_scale"] = float(_only(by_key["logit_scale"], "logit_scale").load("scale"))
    file = FeatureFile.from_arrays(**arrays)
    return Imported(file, tuple(_lines(file, arrays, by_key)))


def _entries(path: Path) -> list[Entry]:
    arrays = read_headers(path)
    stem, part = path.stem, ""
    shots, numbered = SHOTS.match(stem), PART.match(stem)
    if shots:
        stem, part = shots[1], f"{shots[2]} shots"
    elif numbered and numbered[1]:
        stem, part = numbered[1], numbered[2]
    entries = []
    for name in arrays:
        is_single = list(arrays) == [path.stem]
        entries.append(Entry(path, stem if is_single else name, part, name, arrays[name]))
    return entries


def _keys_of(entry: Entry, names: Mapping[str, str]) -> list[str]:
    """What an array is: as it is named by the user, or by its usual name."""
    given = [key for key, name in names.items() if name in (entry.name, entry.path.name)]
    split = _split_word(entry.path)
    wrong = [
        key for key in given if split and key.startswith(SPLITS) and key[: len(split)] != split
    ]
    if given:
        return [key for key in given if key not in wrong]
    if entry.part.endswith("shots"):
        key: str | None = {"keys": "train_features", "values": "train_labels"}[entry.name]
    else:
        key = TIP.get(entry.name) or known_key(entry.name)
    if key in ("features", "labels"):
        key = f"{split or 'train'}_{key}"
    is_text = entry.array.kind in "US"
    if key is None or key in names or (key == "class_names") > is_text:
        return []
    return [] if key.endswith("features") and (is_text or len(entry.array.shape) < 2) else [key]


def _fits(key: str, split: str | None) -> bool:
    """Whether an array that is named for a key can lie in a file of a split."""
    return split is None or key.partition("_")[0] in (split, "text", "class")


def _split_word(path: Path) -> str | None:
    """The split that the name of a file, or else of its folder, stands for."""
    for name in (path.stem.lower(), path.parent.name.lower()):
        for split, words in SPLIT_WORDS.items():
            if name in words:
                return split
    return None


def _check_names(
    entries: list[Entry], by_key: Mapping[str, list[Entry]], names: Mapping[str, str]
) -> None:
    listing = ", ".join(dict.fromkeys(entry.name for entry in entries)) or "nothing"
    for key, name in names.items():
        if key not in by_key:
            raise ValueError(f"No source has {name!r} for {key} (they hold {listing}).")
    for key in ("train_features", "train_labels"):
        if key not in by_key:
            option = f"--{key.replace('_', '-')}"
            raise ValueError(f"The sources have no {key} (they hold {listing}): give {option} KEY.")
    for key, gathered in by_key.items():
        paths = [entry.path for entry in gathered]
        if len(set(paths)) < len(paths):
            both = " and ".join(repr(entry.name) for entry in gathered)
            option = f"--{key.replace('_', '-')}"
            raise ValueError(f"{paths[0]} has {both} for {key}: choose one by {option} KEY.")


def _only(gathered: list[Entry], key: str) -> Entry:
    if len(gathered) > 1:
        files = ", ".join(entry.path.name for entry in gathered)
        raise ValueError(f"Several files have {key} ({files}): give it in one.")
    return gathered[0]


def _split_of(split: str, by_key: Mapping[str, list[Entry]]) -> dict[str, Any]:
    """The features and labels of a split, joined of their parts."""
    keys = f"{split}_features", f"{split}_labels"
    parts, label_parts = (by_key.get(key, []) for key in keys)
    if [entry.part for entry in parts] != [entry.part for entry in label_parts]:
        files, label_files = (
            ", ".join(e.path.name for e in p) or "none" for p in (parts, label_parts)
        )
        raise ValueError(
            f"{keys[0]} ({files}) and {keys[1]} ({label_files}) must have the same parts in the "
            f"same order."
        )
    if len({e.part for e in parts}) > 1 and any(e.part.endswith("shots") for e in parts):
        raise ValueError("There are caches of several numbers of shots: give those of one.")
    if not parts:
        return {}
    labels = [entry.load("labels") for entry in label_parts]
    features: list[Tensor] = []
    for entry, values in zip(parts, labels, strict=True):
        is_cache = entry.part.endswith("shots")
        x = as_rows(entry.load("features"), len(values), keys[0], is_transposed=is_cache)
        if len(x) != len(values) or x.shape[1:] != (features or [x])[0].shape[1:]:
            raise ValueError(
                f"{entry.path}: {entry.name!r} is {list(x.shape)}, with {len(values)} labels and "
                f"{(features or [x])[0].shape[-1]} wide images before it: they do not fit."
            )
        features.append(x)
    if len({type(values) for values in labels}) > 1:
        raise ValueError(f"{keys[1]} are names in one file and numbers in another.")
    are_names = isinstance(labels[0], list)
    joined = [name for part in labels for name in part] if are_names else torch.cat(labels)
    return {keys[0]: torch.cat(features), keys[1]: joined}


def _lines(
    file: FeatureFile, arrays: Mapping[str, Any], by_key: Mapping[str, list[Entry]]
) -> list[str]:
    lines = []
    for split in SPLITS:
        features = getattr(file, split)
        if features is None:
            continue
        names, key = file.class_names, f"{split}_labels"
        _, words = read_labels(arrays[key], key, names, len(names))
        present = features.y.unique()
        files = ", ".join(e.path.name for e in by_key[f"{split}_features"])
        lines.append(
            f"{split}: {counted(len(features), 'image')}, {file.num_channels} wide, "
            f"{str(features.x.dtype).removeprefix('torch.')}, {counted(len(present), 'class')}, "
            f"labels are {words} ({files})"
        )
        if split == "train" and len(present) < len(names):
            first = next(c for c in range(len(names)) if c not in present)
            warn(
                f"{len(names) - len(present)} of {len(names)} classes have no training image, the "
                f"first is {names[first]!r}: labels must count from 0."
            )
    return lines
