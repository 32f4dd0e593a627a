"""Gathers the arrays of several files, and makes one feature file of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import counted
from pyg_graphadapter.importing.entries import Entry, gather
from pyg_graphadapter.importing.names import SPLIT_OF, words_of
from pyg_graphadapter.importing.pairs import pair
from pyg_graphadapter.importing.readers import READERS
from pyg_graphadapter.importing.roles import BY_ROW, SPLITS, Roles, check_needed, only, roles_of
from pyg_graphadapter.labels import read_labels
from pyg_graphadapter.orientation import as_rows
from pyg_graphadapter.settings import warn

FILES_SHOWN = 3
NAMES_SUFFIXES = (".txt", ".json")


@dataclass(frozen=True)
class Part:
    """Features and labels of a split that belong together, from one file or two."""

    entries: tuple[Entry, Entry]
    x: Tensor
    labels: Tensor | list[str]

    def __str__(self) -> str:
        one, other = (entry.shown for entry in self.entries)
        return one if one == other else f"{one} with {other}"


@dataclass(frozen=True)
class Imported:
    """A feature file, and in lines what it was made of."""

    file: FeatureFile
    lines: tuple[str, ...]


def import_features(
    sources: Sequence[str | Path], names: Mapping[str, str] | None = None
) -> Imported:
    """Makes one feature file of the arrays of several files.

    Arrays are known by their usual names. The split is said by the name of an array, of its file
    (``cifar_train.npz``), of a folder in which files differ, or by a column ``split``. Features and
    labels of different files are paired by folder, name and number (``x_2.npy`` and ``y_2.npy``),
    and joined in the order of the numbers.

    Args:
        sources (sequence of str or Path): The files.
        names (mapping, optional): The names of arrays, or of their files, by what they are, as
            ``{"train_features": "x"}``; ``text_features`` and ``class_names`` may be files that are
            no sources, too. Others are as usual. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one cannot be read, a name is in none, it cannot be told what an array is or
            which belong together, or the arrays do not fit together.
    """
    paths, names = [Path(source) for source in sources], dict(names or {})
    arrays = _from_own_files(paths, names)
    entries = gather(paths)
    roles = roles_of(entries, names)
    check_needed(roles, entries)
    unread = [str(entry) for entry in entries if entry not in roles]
    if unread:
        warn(f"These arrays are not read: {', '.join(unread)}.")
    parts = _parts(roles)
    for split, parts_of_split in parts.items():
        x = torch.cat([part.x for part in parts_of_split])
        # [N, 1, D], so that it is not asked again whether its rows are images:
        arrays[f"{split}_features"] = x.unsqueeze(1) if x.dim() == 2 else x
        arrays[f"{split}_labels"] = _joined(parts_of_split, f"{split}_labels")
    if "text_features" in roles.others:
        entry = only(roles.others["text_features"], "text_features")
        arrays["text_features"] = entry.load("features")
        _check_per_class(entry, arrays)
    if "class_names" in roles.others:
        arrays["class_names"] = _class_names(roles, arrays)
    if "logit_scale" in roles.others:
        scale = only(roles.others["logit_scale"], "logit_scale").load("scale")
        arrays["logit_scale"] = _number(scale)
    file = FeatureFile.from_arrays(**arrays)
    return Imported(file, tuple(_lines(file, arrays, parts)))


def _from_own_files(sources: Sequence[Path], names: dict[str, str]) -> dict[str, Any]:
    """Text features and class names in files that are named for them, which leave ``names``."""
    arrays: dict[str, Any] = {}
    listed = [str(path) for path in sources]
    class_names = names.get("class_names")
    if class_names is not None and Path(class_names).suffix.lower() in NAMES_SUFFIXES:
        from pyg_graphadapter.data.names_file import read_names  # loads what decodes images

        arrays["class_names"] = read_names(names.pop("class_names"))
    for key, kind in (("text_features", "features"), ("class_names", "names")):
        name = names.get(key)
        is_file = name is not None and Path(name).suffix.lower() in READERS and name not in listed
        if name is None or not is_file or any(path.name == name for path in sources):
            continue
        values = _of_kind(gather([Path(name)]), key, name).load(kind)
        arrays[key] = values if key == "text_features" else _texts(values)
        del names[key]
    return arrays


def _of_kind(entries: Sequence[Entry], key: str, name: str) -> Entry:
    """The array of a file that is named for a key: the one of this kind, or the only one."""
    candidates = [entry for entry in entries if entry.kind == key] or list(entries)
    if len(candidates) != 1:
        holds = ", ".join(entry.name for entry in entries) or "nothing"
        raise ValueError(f"{name} must hold {key}, or one array alone (it holds {holds}).")
    return candidates[0]


# Splits ###############################################################################


def _parts(roles: Roles) -> dict[str, list[Part]]:
    """The features and labels of each split."""
    parts: dict[str, list[Part]] = {}
    for split in (*SPLITS, BY_ROW):
        features, labels = (group.get(split, []) for group in (roles.features, roles.labels))
        if not features and not labels:
            continue
        name = "train" if split == BY_ROW else split
        are_named = all(map(roles.is_named, (*features, *labels)))
        pairs = pair(features, labels, f"{name}_labels", are_named=are_named)
        _check_caches(pairs)
        loaded = [_load(features, labels, name) for features, labels in pairs]
        if split == BY_ROW:
            loaded_of = _by_row(loaded, roles)
        else:
            _check_agrees(pairs, roles.columns, split)
            loaded_of = {split: loaded}
        for key, more in loaded_of.items():
            parts.setdefault(key, []).extend(more)
    if "train" not in parts:
        raise ValueError(f"No row is of the split train (there are {', '.join(parts)}).")
    for split, parts_of_split in parts.items():
        _check_widths(parts_of_split, split)
    return {split: parts[split] for split in SPLITS if split in parts}


def _load(features: Entry, labels: Entry, split: str) -> Part:
    values = labels.load("labels")
    x = as_rows(
        features.load("features"), len(values), f"{split}_features", is_transposed=features.is_cache
    )
    if len(x) != len(values):
        raise ValueError(
            f"{features.path}: {features.name!r} is {list(x.shape)}, with {len(values)} labels "
            f"({labels}): they do not fit."
        )
    return Part((features, labels), x, values)


def _check_caches(pairs: Sequence[tuple[Entry, Entry]]) -> None:
    if len({x.place.numbers for x, _ in pairs}) > 1 and any(x.is_cache for x, _ in pairs):
        raise ValueError("There are caches of several numbers of shots: give those of one.")


def _check_widths(parts: Sequence[Part], split: str) -> None:
    first = parts[0]
    for part in parts:
        if part.x.shape[1:] != first.x.shape[1:]:
            raise ValueError(
                f"{split}_features are {list(part.x.shape)} in {part.entries[0]}, and "
                f"{list(first.x.shape)} in {first.entries[0]}: they do not fit."
            )


def _by_row(parts: Sequence[Part], roles: Roles) -> dict[str, list[Part]]:
    """Divides the rows of parts by their column."""
    columns = dict(
        (id(features), column)
        for features, column in pair([part.entries[0] for part in parts], roles.columns, "split")
    )
    divided: dict[str, list[Part]] = {}
    for part in parts:
        column = columns[id(part.entries[0])]
        splits = _read_column(column)
        if len(splits) != len(part.x):
            raise ValueError(f"{column} has {len(splits)} rows, and {part} has {len(part.x)}.")
        for split in dict.fromkeys(splits):
            rows = [row for row, name in enumerate(splits) if name == split]
            labels = part.labels
            of_split = [labels[row] for row in rows] if isinstance(labels, list) else labels[rows]
            divided.setdefault(split, []).append(Part(part.entries, part.x[rows], of_split))
    return divided


def _read_column(column: Entry) -> list[str]:
    """The split of every row.

    Raises:
        ValueError: If a row names none.
    """
    values = column.load("texts")
    splits = {value: _split_of_text(value) for value in dict.fromkeys(values)}
    unknown = next((value for value, split in splits.items() if split is None), None)
    if unknown is not None:
        raise ValueError(
            f"{column} holds {unknown[:60]!r} in row {values.index(unknown)}, which is none of "
            f"{', '.join(SPLITS)}: write one of them, or remove the row."
        )
    return [splits[value] for value in values]  # type: ignore[misc]  # none is None


def _split_of_text(text: str) -> str | None:
    splits = {SPLIT_OF[word] for word in words_of(text) if word in SPLIT_OF}
    return splits.pop() if len(splits) == 1 else None


def _check_agrees(
    pairs: Sequence[tuple[Entry, Entry]], columns: Sequence[Entry], split: str
) -> None:
    """Refuses a column that says another split than the name of its file or array."""
    for column in columns:
        for entry in {entry.path: entry for both in pairs for entry in both}.values():
            if entry.path != column.path:
                continue
            other = next((name for name in _read_column(column) if name != split), None)
            if other is not None:
                raise ValueError(
                    f"{column} has rows of {other}, and {entry} is of {split} by its name: rename "
                    f"the file if the column is right, or remove the column."
                )


def _joined(parts: Sequence[Part], key: str) -> Any:
    names = [part for part in parts if isinstance(part.labels, list)]
    if not names:
        return torch.cat([part.labels for part in parts])  # type: ignore[misc]
    if len(names) < len(parts):
        raise ValueError(f"{key} are names in one file and numbers in another.")
    return [name for part in names for name in part.labels]


# Class names and texts ################################################################


def _image_counts(arrays: Mapping[str, Any]) -> set[int]:
    """The numbers of images of the splits, and of all of them."""
    counts = [len(arrays[f"{split}_labels"]) for split in SPLITS if f"{split}_labels" in arrays]
    return {*counts, sum(counts)}


def _check_per_class(entry: Entry, arrays: Mapping[str, Any]) -> None:
    """Refuses texts of images, as the captions of clip-retrieval are, in the place of texts of
    classes."""
    labels, count = arrays["train_labels"], entry.array.shape[0]
    num_classes = len(set(labels)) if isinstance(labels, list) else _num_classes(labels)
    if count in _image_counts(arrays) and count != num_classes:
        raise ValueError(
            f"{entry} has {count} rows, one per image and not one per class: leave it out if these "
            f"are captions. Texts of classes can come from a file (--text-features FILE), or be "
            f"made of the class names (--model)."
        )


def _class_names(roles: Roles, arrays: Mapping[str, Any]) -> list[str]:
    """Class names in an array of the sources, one per class and not one per image.

    Raises:
        ValueError: If there are as many as images.
    """
    entry = only(roles.others["class_names"], "class_names")
    values = entry.load("names")
    names = _texts(values)
    labels = arrays["train_labels"]
    highest = 0 if isinstance(labels, list) else _num_classes(labels)
    if len(names) in _image_counts(arrays) and (
        len(names) != highest or len(set(names)) < len(names)
    ):
        raise ValueError(
            f"{entry} holds {len(names)} names, one per image and not one per class: if they are "
            f"the classes of the images, give them as labels (--train-labels {entry.name}); class "
            f"names can also come from a file of them (--class-names FILE)."
        )
    return names


def _texts(values: Any) -> list[str]:
    return list(map(str, values.tolist() if isinstance(values, Tensor) else values))


def _num_classes(labels: Tensor) -> int:
    if labels.dim() == 2 and labels.size(1) > 1:
        return labels.size(1)
    return int(labels.max()) + 1 if labels.numel() else 0


def _number(values: Tensor) -> float:
    if values.numel() != 1:
        raise ValueError(f"'logit_scale' must be one number (got {list(values.shape)}).")
    return float(values)


# Lines ################################################################################


def _lines(
    file: FeatureFile, arrays: Mapping[str, Any], parts: Mapping[str, Sequence[Part]]
) -> list[str]:
    lines = []
    for split, parts_of_split in parts.items():
        features = getattr(file, split)
        names, key = file.class_names, f"{split}_labels"
        _, words = read_labels(arrays[key], key, names, len(names))
        present = Counter(features.y.tolist())
        lines.append(
            f"{split}: {counted(len(features), 'image')}, {file.num_channels} wide, "
            f"{str(features.x.dtype).removeprefix('torch.')}, {counted(len(present), 'class')}, "
            f"labels are {words} ({_files(parts_of_split)})"
        )
        if split == "train" and len(present) < len(names):
            first = next(c for c in range(len(names)) if c not in present)
            warn(
                f"{len(names) - len(present)} of {len(names)} classes have no training image, the "
                f"first is {names[first]!r}: labels must count from 0."
            )
    return lines


def _files(parts: Sequence[Part]) -> str:
    files = list(dict.fromkeys(map(str, parts)))
    more = f", … {files[-1]}" if len(files) > FILES_SHOWN else ""
    return ", ".join(files[:FILES_SHOWN]) + more
