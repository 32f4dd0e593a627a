"""What each array is: as the user names it, or as its name and that of its file say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyg_graphadapter.feature_keys import SPLIT_WORDS
from pyg_graphadapter.importing.entries import Entry, listing_of
from pyg_graphadapter.importing.names import SPLIT_OF, words_of

SPLITS = tuple(SPLIT_WORDS)
BY_ROW = "by row"  # the split of arrays whose rows a column splits
# Beside the word of a split, they say which rows are of it (train_mask, test_idx):
ROW_WORDS = frozenset(
    ("is", "in", "mask", "masks", "idx", "idxs", "ids", "index", "indexes", "indices", "inds",
     "rows", "flag", "flags")
)  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """Arrays by what they are.

    Args:
        features (dict): By split.
        labels (dict): By split.
        columns (list of Entry): The columns that say the split of each row.
        others (dict): Text features, class names and the factor of the logits.
        named (set of Entry): Those that the user named.
    """

    features: dict[str, list[Entry]] = field(default_factory=dict)
    labels: dict[str, list[Entry]] = field(default_factory=dict)
    columns: list[Entry] = field(default_factory=list)
    others: dict[str, list[Entry]] = field(default_factory=dict)
    named: set[int] = field(default_factory=set)  # of ids: arrays of two files may be equal

    def __contains__(self, entry: object) -> bool:
        groups = [*self.features.values(), *self.labels.values(), *self.others.values()]
        return any(entry is one for group in (*groups, self.columns) for one in group)

    def is_named(self, entry: Entry) -> bool:
        """Whether the user named an array."""
        return id(entry) in self.named

    def of(self, key: str) -> list[Entry]:
        """The arrays of a key, as ``train_features``."""
        split, _, kind = key.partition("_")
        if split in SPLITS:
            return (self.features if kind == "features" else self.labels).get(split, [])
        return self.columns if key == "split" else self.others.get(key, [])


def roles_of(entries: Sequence[Entry], names: Mapping[str, str]) -> Roles:
    """What arrays are.

    Args:
        entries (sequence of Entry): The arrays of all files.
        names (mapping): The names of arrays, or of their files, by key.

    Raises:
        ValueError: If a name is in no file, or what an array is cannot be told.
    """
    roles = Roles()
    splits_of_files: dict[str, str] = {}
    for key, name in names.items():
        for entry in _named(entries, key, name):
            if roles.is_named(entry):
                raise ValueError(
                    f"{entry} is named for {key} and for another array: name each array once."
                )
            roles.named.add(id(entry))
            _add(roles, key, entry)
            if key.startswith(SPLITS) and entry.is_in(name):
                splits_of_files[entry.shown] = key.partition("_")[0]
    open_entries = [entry for entry in entries if not roles.is_named(entry) and entry.kind]
    columns = [entry for entry in open_entries if entry.kind == "split" and "split" not in names]
    roles.columns.extend(columns)
    for column in roles.columns:
        _check_column(column)
    for entry in open_entries:
        assert entry.kind is not None
        if entry.kind == "split":
            continue
        key = entry.kind
        if key in ("features", "labels"):
            split = splits_of_files.get(entry.shown) or _split_of(entry, entries, bool(columns))
            key = f"{split or (BY_ROW if roles.columns else 'train')}_{key}"
        if key not in names:
            _add(roles, key, entry)
    _check_unread(entries, roles)
    return roles


def _add(roles: Roles, key: str, entry: Entry) -> None:
    split, _, kind = key.partition("_")
    if split in (*SPLITS, BY_ROW):
        group = roles.features if kind == "features" else roles.labels
        group.setdefault(split, []).append(entry)
    elif key == "split":
        roles.columns.append(entry)
    else:
        roles.others.setdefault(key, []).append(entry)


def _named(entries: Sequence[Entry], key: str, name: str) -> list[Entry]:
    """The arrays that a name stands for. Of the same name in files of several splits, those in
    the files of the key's split."""
    split, _, kind = key.partition("_")
    kind = kind if split in SPLITS else key
    chosen = [entry for entry in entries if entry.is_named(name)]
    in_file = [entry for entry in entries if entry.is_in(name) and entry.kind == kind]
    chosen = chosen or in_file
    if split in SPLITS and len(chosen) > 1:
        of_split = [entry for entry in chosen if split in entry.splits]
        chosen = of_split or [entry for entry in chosen if not entry.splits] or chosen
    if not chosen:
        raise ValueError(f"No source has {name!r} for {key} (they hold {listing_of(entries)}).")
    return chosen


def _split_of(entry: Entry, entries: Sequence[Entry], has_columns: bool) -> str | None:
    """The split of features or labels by their name, else by their file.

    Raises:
        ValueError: If these say several.
    """
    if entry.split is not None:
        several = {one.split for one in entries if one.path == entry.path} - {None}
        if entry.splits and entry.split not in entry.splits and len(several) == 1:
            raise _two_readings(
                entry, (entry.split, *entry.splits), "its name and that of its file"
            )
        return entry.split
    if len(entry.splits) > 1:
        raise _two_readings(entry, entry.splits, "the name of its file")
    if entry.splits:
        return entry.splits[0]
    if has_columns or entry.hidden is None:
        return None
    word = entry.hidden
    candidates = [split for split in SPLITS if split in word] + ["train"]
    raise _two_readings(entry, tuple(dict.fromkeys(candidates))[:2], f"{word!r} in its name")


def _two_readings(entry: Entry, splits: Sequence[str], reason: str) -> ValueError:
    readings = " or ".join(f"{split}_{entry.kind}" for split in dict.fromkeys(splits))
    if readings == f"train_{entry.kind}":
        readings = f"train_{entry.kind}, or those of another split"
    name = entry.path.name
    options = " or ".join(f"--{split}-{entry.kind} {name}" for split in dict.fromkeys(splits))
    return ValueError(f"{entry} can be {readings} by {reason}: choose one by {options}.")


def _check_column(column: Entry) -> None:
    if column.array.kind not in "US":
        raise ValueError(
            f"{column} must say train, val or test in each row (got numbers): write these words, "
            f"or rename it if it says something else."
        )


def _check_unread(entries: Sequence[Entry], roles: Roles) -> None:
    """Refuses features of which no name says the split, beside an array that seems to say it:
    flags or numbers of rows, as ``is_train`` and ``test_mask``, or a column of another name."""
    is_open = any(not (entry.split or entry.splits) for entry in roles.features.get("train", ()))
    if roles.columns or len(roles.features) > 1 or not is_open:
        return
    for entry in entries:
        if entry in roles or len(entry.array.shape) != 1:
            continue
        if _names_rows(entry):
            raise ValueError(
                f"{entry} seems to say which rows are of a split: write a column 'split' with "
                f"train, val or test in each row."
            )
        if _holds_splits(entry):
            raise ValueError(
                f"{entry} seems to say the split of each row: read it as that (--split-column "
                f"{entry.name}), or remove it if it says something else."
            )


def _names_rows(entry: Entry) -> bool:
    words = [word for word in words_of(entry.name) if word not in SPLIT_OF]
    return len(words) < len(words_of(entry.name)) and set(words) <= ROW_WORDS


def _holds_splits(entry: Entry) -> bool:
    """Whether texts are the names of splits, and not all of train."""
    if entry.array.kind not in "US":
        return False
    try:
        texts = set(entry.load("texts"))
    except ValueError:  # it cannot be read, and does not need to be
        return False
    splits = {SPLIT_OF.get(text.strip().lower()) for text in texts}
    return None not in splits and bool(splits - {"train"})


def check_needed(roles: Roles, entries: Sequence[Entry]) -> None:
    """Checks that there are training features and labels, and that no file has two of a kind.

    Raises:
        ValueError: If not, with the option that chooses.
    """
    for kind, groups in (("features", roles.features), ("labels", roles.labels)):
        if not any(groups.get(split) for split in ("train", BY_ROW)):
            raise ValueError(
                f"The sources have no train_{kind} (they hold {listing_of(entries)}): give "
                f"--train-{kind} KEY."
            )
        for split, group in groups.items():
            _check_once(group, f"{'train' if split == BY_ROW else split}_{kind}")
    _check_once(roles.columns, "split", "--split-column")


def _check_once(group: Sequence[Entry], key: str, option: str | None = None) -> None:
    option = option or f"--{key.replace('_', '-')}"
    paths = [entry.path for entry in group]
    path = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if path is not None:
        both = " and ".join(repr(entry.name) for entry in group if entry.path == path)
        raise ValueError(f"{path} has {both} for {key}: choose one by {option} KEY.")


def only(group: Sequence[Entry], key: str) -> Entry:
    """The single array of a key.

    Raises:
        ValueError: If there are several.
    """
    if len(group) > 1:
        listing = ", ".join(map(str, group))
        option = f"--{key.replace('_', '-')}"
        raise ValueError(f"Several arrays are {key} ({listing}): choose one by {option} FILE.")
    return group[0]
