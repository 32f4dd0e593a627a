"""Names of classes: read from a file, alone or by their labels, and kept apart."""

import csv
import functools
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.data.class_names import composed, normalize_class_name
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.data.table import decoded
from pyg_graphadapter.storage import FileKind, read
from pyg_graphadapter.storage.read import parse_json

NUMBER = re.compile(r"[0-9]{1,18}")
WNID = re.compile(r"n\d{8}")
IMAGENET_NAMES = Path(__file__).with_name("imagenet_names.txt")
MAX_SHOWN = 3


@dataclass(frozen=True)
class ClassNames:
    """The content of a file of class names: of labels, or of lines in the order of labels."""

    by_label: dict[str, str]
    in_order: tuple[str, ...] = ()


def _parse(stream: BinaryIO, path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_json(parse_json(stream, path))
    text = decoded(stream.read())[0]
    if suffix in (".csv", ".tsv"):
        return _of_table(text)
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    pairs = [line.split("\t", 1) if "\t" in line else line.split(None, 1) for line in lines if line]
    labels = [(pair[0].strip(), pair[1].strip()) for pair in pairs if len(pair) == 2]
    by_label = dict(labels)
    if len(by_label) < len(set(labels)):  # their first words are no labels
        by_label = {}
    return {"by_label": by_label, "in_order": lines}


def _of_json(content: Any) -> dict[str, Any]:
    if isinstance(content, list):
        return {"by_label": {}, "in_order": content}
    if not isinstance(content, dict):
        raise ValueError("it is neither a table nor a list")
    if content and all(isinstance(value, list) and len(value) == 2 for value in content.values()):
        table = {str(key): name for key, name in content.values()}  # Keras' form
        if len(table) < len(content):
            raise ValueError("a label is there twice")
        return {"by_label": table}
    return {"by_label": content}


def _of_table(text: str) -> dict[str, Any]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if all(len(row) == 1 for row in rows):
        return {"by_label": {}, "in_order": [row[0].strip() for row in rows]}
    pairs: dict[str, str] = {}
    for row in rows:
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise ValueError(f"the row {','.join(row)!r} is not a label and a name")
        if row[0].strip() in pairs:
            raise ValueError(f"the label {row[0].strip()!r} is there twice")
        pairs[row[0].strip()] = row[1].strip()
    return {"by_label": pairs}


FILE: FileKind[ClassNames] = FileKind(
    "file of class names",
    ClassNames,
    "It must be .csv with two columns, folder or label and name; .json with a table of them or a "
    "list of names; or text with one name, or one folder and name, per line",
    suffixes=(".csv", ".tsv", ".json", ".txt"),
    parse=_parse,
)


def read_names(path: str | Path) -> tuple[str, ...]:
    """The class names in a file, in their order: the lines of a ``.txt`` file, the list in a
    ``.json`` file, or the values of the table in it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or lists images.
    """
    names = _names_alone(path)
    listed = [name for name in names if is_name_of_image(name)]
    if listed:
        raise FILE.error(Path(path), f"{listed[0][:60]!r} looks like an image in a list")
    return check_names(names)


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Checks the names of classes.

    Raises:
        ValueError: If there are fewer than two, or one is empty or there twice.
    """
    if len(names) < 2:
        raise ValueError(f"A classifier needs at least two classes (got {len(names)}).")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"The name of a class must be a text with letters (got {name!r}).")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"Two classes have the name {name!r}: give each its own.")
    return names


def is_names_file(path: str | Path) -> bool:
    """Whether a path leads to a file (``.txt`` or ``.json``) that holds class names alone."""
    if Path(path).suffix.lower() not in (".txt", ".json") or not Path(path).is_file():
        return False
    try:
        names = _names_alone(path)
    except (ValueError, OSError):  # a list of images, for example
        return False
    return bool(names) and not any(map(is_name_of_image, names))


def _names_alone(path: str | Path) -> tuple[str, ...]:
    content = read(path, FILE)
    return content.in_order or tuple(content.by_label.values())


def is_name_of_image(line: str) -> bool:
    """Whether a line names an image, and no class."""
    return any(Path(word).suffix.lower() in SUFFIXES for word in line.replace(",", " ").split())


def names_of_labels(
    labels: Sequence[str], option: str | Path | Mapping[str, str] | None, reading: Reading
) -> list[str]:
    """The names of the classes: what the user's file calls them; otherwise the labels themselves,
    or ImageNet's names, if they are WordNet ids.

    Args:
        labels (sequence of str): The labels in the order of their classes.
        option (str, Path or dict, optional): The file of names, or a table of them.
        reading (Reading): Is told of labels without a name, and of names without a label.

    Raises:
        ValueError: If the file cannot be read, or is of other labels.
    """
    if option is None:
        return told_apart(_of_wnids(labels, reading), labels, reading)
    is_table = isinstance(option, Mapping)
    content = (
        ClassNames({str(key): str(name) for key, name in option.items()})
        if isinstance(option, Mapping)
        else read(option, FILE)
    )
    by_label = {composed(label): name for label, name in content.by_label.items()}
    content = ClassNames(by_label, content.in_order)
    where = "class_names" if is_table else str(option)
    table = _table_of(content, labels, where, reading)
    unnamed = [label for label in labels if label not in table]
    if len(unnamed) == len(labels):
        raise ValueError(
            f"{where} names none of the classes {_listed(labels)}: it has "
            f"{_listed(list(content.by_label) or content.in_order)}."
        )
    if unnamed:
        reading.notes.append(f"{where} has no name for the classes {_listed(unnamed)}.")
    return told_apart([table.get(label, label) for label in labels], labels, reading)


def _of_wnids(labels: Sequence[str], reading: Reading) -> Sequence[str]:
    """ImageNet's names of labels that are WordNet ids; other labels as they are."""
    if not labels or not all(WNID.fullmatch(label) for label in labels):
        return labels
    known = imagenet_names()
    named = [label for label in labels if label in known]
    if named:
        reading.notes.append(
            f"The classes are called by WordNet ids: ImageNet's names stand for them, as "
            f"{known[named[0]]!r} for {named[0]}."
        )
    if len(named) < len(labels):
        unnamed = [label for label in labels if label not in known]
        reading.notes.append(
            f"The WordNet ids {_listed(unnamed)} are not of ImageNet's 1000 classes: give them "
            f"names with --class-names FILE (class_names='FILE')."
        )
    return [known.get(label, label) for label in labels]


@functools.cache
def imagenet_names() -> dict[str, str]:
    """The names of ImageNet's 1000 classes by WordNet id."""
    lines = IMAGENET_NAMES.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if WNID.match(line))


def _table_of(
    content: ClassNames, labels: Sequence[str], where: str, reading: Reading
) -> dict[str, str]:
    """The names by label. A text of lines holds either labels and names, or names in order."""
    known = set(labels)
    matches = sum(label in content.by_label for label in labels)
    is_by_label = matches == len(labels) or not content.in_order or (
        matches > 0 and 2 * matches >= len(content.by_label)
    )  # fmt: skip
    if is_by_label:
        further = [key for key in content.by_label if key not in known]
        if further[:1] == list(content.by_label)[:1]:
            further = further[1:]  # the header of the table
        if further and matches:
            reading.notes.append(f"{where} names {_listed(further)}, of which there is no image.")
        return {key: name for key, name in content.by_label.items() if key in known}
    names = content.in_order
    if all(NUMBER.fullmatch(label) for label in labels):
        numbers = [int(label) for label in labels]
        first = 1 if min(numbers) == 1 and max(numbers) == len(names) else 0
        if max(numbers) - first >= len(names):
            raise ValueError(
                f"{where} has {len(names)} names, and there is the label {max(numbers)}: give "
                f"a name per label, in the order of the labels."
            )
        if first:
            reading.notes.append(f"The first name of {where} is that of label 1.")
        return {label: names[int(label) - first] for label in labels}
    if len(names) != len(labels):
        raise ValueError(
            f"{where} has {len(names)} names for {len(labels)} classes: give one per class in "
            f"the order of the labels, or each with its label."
        )
    reading.notes.append(
        f"{where} names the classes in their order: {labels[0]!r} is {names[0]!r}."
    )
    return dict(zip(labels, names, strict=True))


def told_apart(names: Sequence[str], labels: Sequence[str], reading: Reading) -> list[str]:
    """Names of classes of which no two are equal: equal ones are followed by their labels."""
    counts = Counter(names)
    taken = {name for name, count in counts.items() if count == 1}
    result: list[str] = []
    for name, label in zip(names, labels, strict=True):
        shown = f"{name} ({label})" if counts[name] > 1 else name
        while counts[name] > 1 and shown in taken:
            shown += "'"  # another class has this name already
        taken.add(shown)
        result.append(shown)
    groups: dict[str, list[str]] = {}
    for name in result:
        groups.setdefault(normalize_class_name(name), []).append(name)
    same = [group for group in groups.values() if len(group) > 1]
    equal = [[shown for name, shown in zip(names, result, strict=True) if name == twice]
             for twice, count in counts.items() if count > 1]  # fmt: skip
    for group in (same + equal)[:MAX_SHOWN]:
        reading.notes.append(
            f"{' and '.join(map(repr, group))} are classes of their own, though their names are "
            f"alike."
        )
    return result


def _listed(names: Sequence[str]) -> str:
    further = f", … ({len(names)} in all)" if len(names) > MAX_SHOWN else ""
    return ", ".join(map(repr, names[:MAX_SHOWN])) + further
