"""What the name of a file, or of an array in it, says: the split, the kind of array, the part."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyg_graphadapter.feature_keys import SPLIT_COLUMNS, SPLIT_WORDS, known_key

RUN = re.compile(r"\d+|[^\W\d_]+")  # digits, or letters of any script
CASE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+")  # XTrain is X and Train
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
TIP = {"f": "features", "l": "labels"}  # Tip-Adapter's test_f.pt and test_l.pt
CACHE = re.compile(r"^(keys|values)_(\d+)shots?$")  # Tip-Adapter's caches
CACHE_KINDS = {"keys": "features", "values": "labels"}
# Words that tell no files of one data set apart:
NEUTRAL = frozenset(("data", "set", "dataset", "split", "metadata", "meta", "part", "shard", "of"))
WITHIN = re.compile(r"^(train|test|valid)|(train|test|valid|val)$")  # a split, perhaps
ENGLISH = frozenset(
    ("latest", "greatest", "fastest", "contest", "protest", "strain", "constrain", "trained",
     "interval", "retrieval", "festival", "carnival", "medieval", "arrival", "survival", "oval",
     "trainable", "validated")
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """What a name says.

    Args:
        splits (tuple of str): The splits that it has a word of.
        kind (str, optional): What the array is: ``features``, ``labels``, ``text_features``,
            ``class_names``, ``logit_scale`` or ``split``.
        words (tuple of str): Its other words.
        numbers (tuple of int): Its numbers.
        is_cache (bool): Whether it is one of Tip-Adapter's caches.
    """

    splits: tuple[str, ...] = ()
    kind: str | None = None
    words: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    is_cache: bool = False


def words_of(name: str) -> list[str]:
    """The words and numbers of a name, between separators, digits and changes of case."""
    return [part.lower() for run in RUN.findall(name) for part in CASE.findall(run) or [run]]


def read_key(name: str) -> Reading:
    """What the name of an array in a file says: its whole name must be a usual one."""
    if "_".join(words_of(name)) in SPLIT_COLUMNS:
        return Reading(kind="split")
    key = known_key(name)
    words = words_of(name)
    splits = _splits(words)
    if key is None and len(splits) < 2:
        key = _key([word for word in words if word not in SPLIT_OF], splits)
    if key is None:
        return Reading()
    split, _, kind = key.partition("_")
    return Reading((split,), kind) if split in SPLIT_WORDS else Reading((), key)


def read_file_name(stem: str) -> Reading:
    """What the name of a file says. Beside the usual name of an array it may have other words."""
    cache = CACHE.match(stem)
    if cache:
        return Reading(("train",), CACHE_KINDS[cache[1]], (), (int(cache[2]),), is_cache=True)
    whole = read_key(stem)
    if whole.kind is not None:
        return whole
    words = words_of(stem)
    splits = _splits(words)
    numbers = tuple(int(word) for word in words if word.isdecimal())
    others = [word for word in words if word not in SPLIT_OF and not word.isdecimal()]
    for start, stop in _spans(len(others)):
        key = _key(others[start:stop], splits[:1])
        is_short = start == 0 and stop < len(others) and len(others[0]) < 4  # y_pred is no y
        if key is not None and not is_short:
            split, _, kind = key.partition("_")
            is_of_split = split in SPLIT_WORDS
            splits = splits or ((split,) if is_of_split else ())
            rest = (*others[:start], *others[stop:])
            return Reading(splits, kind if is_of_split else key, _telling(rest), numbers)
    return Reading(splits, None, _telling(others), numbers)


def hidden_split(words: Sequence[str]) -> str | None:
    """The word of a name that may hold that of a split, as ``cifartest``."""
    return next((word for word in words if WITHIN.search(word) and word not in ENGLISH), None)


def _spans(count: int) -> list[tuple[int, int]]:
    """All of some words, then their longest ends, then their longest beginnings."""
    ends = [(start, count) for start in range(count)]
    return ends + [(0, stop) for stop in range(count - 1, 0, -1)]


def _key(words: Sequence[str], splits: Sequence[str]) -> str | None:
    joined = "_".join(words)
    if len(splits) == 1 and joined in TIP:
        return f"{splits[0]}_{TIP[joined]}"
    if splits:
        return known_key(f"{splits[0]}_{joined}") or known_key(joined)
    return known_key(joined)


def _splits(words: Sequence[str]) -> tuple[str, ...]:
    compact = (word.removesuffix("set").removesuffix("data") for word in words)
    pairs = zip(words, compact, strict=True)
    found = (SPLIT_OF.get(word) or SPLIT_OF.get(short) for word, short in pairs)
    return tuple(dict.fromkeys(split for split in found if split))


def _telling(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        word
        for word in words
        if word not in NEUTRAL and word.removesuffix("set").removesuffix("data") not in SPLIT_OF
    )
