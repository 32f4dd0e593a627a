"""Which features belong to which labels: by their file, else by folder, name and number."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from pyg_graphadapter.importing.entries import Entry

Group: TypeAlias = Callable[[Entry], Hashable]
# From the most exact to the loosest; a step pairs what is alone in its group on both sides:
STEPS: tuple[Group, ...] = (
    lambda entry: entry.path,
    lambda entry: entry.place,
    lambda entry: (entry.place.folders, entry.place.numbers),
)


def pair(
    features: Sequence[Entry], others: Sequence[Entry], key: str, *, are_named: bool = False
) -> list[tuple[Entry, Entry]]:
    """Pairs of features and labels (or columns), in the order of folder, name and number.

    Args:
        features (sequence of Entry): The features of a split.
        others (sequence of Entry): Its labels.
        key (str): What sentences call the labels, as ``train_labels``.
        are_named (bool): Whether the user named both, so that one is paired with one whatever
            they are called. (default: :obj:`False`)

    Raises:
        ValueError: If one is left without another, or could be paired with several.
    """
    pairs: list[tuple[Entry, Entry]] = []
    if are_named and len(features) == len(others) == 1:
        return [(features[0], others[0])]
    left, right = list(features), list(others)
    for step in STEPS:
        for one, other in _alone(left, right, step):
            if one.path != other.path and not _is_alike(one, other):
                continue
            pairs.append((one, other))
            left, right = _without(left, one), _without(right, other)
    if len(left) == len(right) == 1 and not pairs and _may_pair(left[0], right[0]):
        pairs, left, right = [(left[0], right[0])], [], []
    if left or right:
        raise _unpaired(left, right, features, others, key)
    return sorted(pairs, key=lambda both: _order(both[0]))


def _alone(left: Sequence[Entry], right: Sequence[Entry], step: Group) -> list[tuple[Entry, Entry]]:
    groups: dict[Hashable, tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
    for side, entries in enumerate((left, right)):
        for entry in entries:
            groups[step(entry)][side].append(entry)
    return [(ones[0], others[0]) for ones, others in groups.values()
            if len(ones) == len(others) == 1]  # fmt: skip


def _without(entries: Sequence[Entry], paired: Entry) -> list[Entry]:
    return [entry for entry in entries if entry is not paired]


def _may_pair(one: Entry, other: Entry) -> bool:
    """Whether a single array of features and one of labels lie together, and are not of two
    parts."""
    numbers = one.place.numbers, other.place.numbers
    is_together = one.place.folders == other.place.folders
    return is_together and not all(numbers) and _is_alike(one, other)


def _is_alike(one: Entry, other: Entry) -> bool:
    """Whether one name has no word that the other lacks, but for those of its kind."""
    words = set(one.place.words), set(other.place.words)
    return words[0] <= words[1] or words[1] <= words[0]


def _order(entry: Entry) -> tuple[object, ...]:
    return (entry.place.folders, entry.place.words, entry.place.numbers)


def _unpaired(
    left: Sequence[Entry],
    right: Sequence[Entry],
    features: Sequence[Entry],
    others: Sequence[Entry],
    key: str,
) -> ValueError:
    split = key.rpartition("_")[0]
    one = f"{split}_features" if split else "features"
    if not features or not others:
        there, missing = (one, key) if features else (key, one)
        files = ", ".join(map(str, features or others))
        option = f"--{missing.replace('_', '-')}"
        return ValueError(f"There are {there} ({files}) and no {missing}: give them ({option}).")
    listing = ", ".join(map(str, (*left, *right)))
    return ValueError(
        f"{one} and {key} are paired by the folder and the name of their files, as x_1.npy with "
        f"y_1.npy, and these have no partner, or several: {listing}. Rename them, or name one of "
        f"each (--{one.replace('_', '-')} FILE --{key.replace('_', '-')} FILE)."
    )
