"""Reads lists of images: all cells are text, and nothing is dropped without being counted."""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pyg_graphadapter.data.columns import (
    label_column,
    named_column,
    no_column,
    split_cells,
    split_column,
    unused_splits,
    usual_columns,
)
from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import LINKS, Links
from pyg_graphadapter.data.listed import folders_beside, is_file, leads_out, portable, root_of
from pyg_graphadapter.data.reading import ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames
from pyg_graphadapter.display import visible
from pyg_graphadapter.features import counted
from pyg_graphadapter.storage import FileKind, read

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".txt")
DELIMITERS = (",", ";", "\t")
LABEL_SIGNS = ("|", ";", ",")
LIST = re.compile(r"[\[({](.*)[\])}]", re.DOTALL)  # as Python and JSON write one
MAX_SHOWN = 5
ROWS_TO_TRY = 100


@dataclass(frozen=True)
class Row:
    """A row of a list, and its number as a spreadsheet or an editor counts it."""

    number: int
    cells: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The content of a list of images.

    Args:
        headers (tuple of str): The names of the columns.
        rows (tuple of Row): The rows.
        form (str): How the text was read, where that was not plain.
        unit (str): What a row is called: line or entry.
    """

    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    form: str = ""
    unit: str = "line"


def _parse(stream: BinaryIO, path: Path) -> dict[str, Any]:
    content = stream.read()
    suffix = path.suffix.lower()
    if suffix == ".json":
        entries = json.loads(content.decode("utf-8-sig"), **_AS_TEXT)
        if not isinstance(entries, list):
            raise ValueError("it is no list of tables")
        return _of_entries(list(enumerate(entries, start=1)), "entry")
    if suffix == ".jsonl":
        lines = enumerate(content.decode("utf-8-sig").splitlines(), start=1)
        rows = [(number, json.loads(line, **_AS_TEXT)) for number, line in lines if line.strip()]
        return _of_entries(rows, "line")
    return _of_text(content, suffix)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("an entry is there twice in one table")
    return table


# Numbers stay as they are written, so that 10, 010 and 1e1 are three labels:
_AS_TEXT: dict[str, Any] = {
    "parse_int": str,
    "parse_float": str,
    "parse_constant": str,
    "object_pairs_hook": _pairs,
}


def _of_entries(entries: Sequence[tuple[int, Any]], unit: str) -> dict[str, Any]:
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"{unit} {number} is no table")
    headers = list(dict.fromkeys(name for _, entry in entries for name in entry))
    rows = [{"number": number, "cells": entry} for number, entry in entries]
    return {"headers": headers, "rows": rows, "unit": unit}


def _of_text(content: bytes, suffix: str) -> dict[str, Any]:
    text, encoding = decoded(content)
    line = text.partition("\n")[0].strip()
    is_declared = line.startswith("sep=") and len(line) == 5  # by Excel, in a line of its own
    start = 2 if is_declared else 1
    delimiter = line[-1] if is_declared else _delimiter(line, suffix)
    body = text.partition("\n")[2] if is_declared else text
    rows = [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(
            csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True), start
        )
        if any(cell.strip() for cell in cells)
    ]
    if not rows:
        raise ValueError("it is empty")
    header = rows[0][1]
    forms = [encoding] if encoding else []
    if len(header) in (2, 3) and _is_image(header[0]):
        header = ["path", "label", "split"][: len(header)]
        forms.append("without a header")
    elif len(header) == 2 and _is_image(header[1]):
        header = ["label", "path"]
        forms.append("without a header")
    else:
        rows = rows[1:]
    if delimiter != ",":
        forms.append(f"separated by {'tabs' if delimiter == chr(9) else repr(delimiter)}")
    return {"headers": _headers(header), "rows": [
        {"number": number, "cells": _cells(header, cells, number)} for number, cells in rows
    ], "form": ", ".join(forms)}  # fmt: skip


def _is_image(cell: str) -> bool:
    return Path(portable(cell)).suffix.lower() in SUFFIXES


def decoded(content: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding where that is not UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16"), "UTF-16"
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
    try:
        return content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "Latin-1"


def _delimiter(line: str, suffix: str) -> str:
    """The delimiter whose columns have the most usual names, or else that of most columns."""

    def score(delimiter: str) -> tuple[int, int, bool]:
        headers = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        known = sum(bool(usual_columns(headers, kind)) for kind in ("image", "label", "split"))
        return known, len(headers), suffix == ".tsv" and delimiter == "\t"

    return max(DELIMITERS, key=score)


def _headers(header: Sequence[str]) -> list[str]:
    names = [name or f"column {i}" for i, name in enumerate(header, start=1)]
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have the same name")
    return names


def _cells(header: Sequence[str], cells: Sequence[str], number: int) -> dict[str, str]:
    if len(cells) != len(header):
        raise ValueError(f"line {number} has {len(cells)} cells, and the header has {len(header)}")
    return dict(zip(_headers(header), cells, strict=True))


LISTS: FileKind[Table] = FileKind(
    "list of images",
    Table,
    "It must be a table, or a list of tables, with the entries path, label and, if there are "
    "several splits, split",
    suffixes=TABLE_SUFFIXES,
    parse=_parse,
    max_bytes=2**30,
)


def is_list(path: Any) -> bool:
    """Whether a source is a file with a suffix of lists."""
    return (
        isinstance(path, str | Path)
        and Path(path).suffix.lower() in TABLE_SUFFIXES
        and Path(path).is_file()
    )


def read_list(path: str | Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads a list of images with their labels and, in a column of its own, their splits. Paths are
    relative to the folder of the list.

    Raises:
        FileNotFoundError: If no listed image, or none of a class, exists.
        ValueError: If the list cannot be read, lacks a column, has two that could be meant, a split
            that is not known, or several labels per image.
    """
    path = Path(path)
    options.refuse(f"the list {path}", "layout", "crops")
    table = read(path, LISTS)
    if not table.rows:
        raise ValueError(f"{path} lists no image: add rows with an image and a label.")
    columns = {name: [_text(row.cells.get(name)) for row in table.rows] for name in table.headers}
    image = _image_column(columns, options.image_column, path, reading)
    label, labels = _labels(table, columns, image, options.label_column, path, reading)
    names = SplitNames(options.split)
    used = [name for name in (image, label) if name]
    split = (
        named_column(table.headers, "split", options.split_column, str(path))
        if options.split_column is not None
        else split_column(columns, names, used, str(path))
    )
    if split is None and names.choices:
        raise no_column(table.headers, "split", None, str(path))
    splits = [None] * len(labels) if split is None else _splits(columns, split, names, table, path)
    reading.notes += unused_splits(columns, names, [*used, *([split] if split else [])])
    described = [f"images: {image}", f"labels: {label or 'one column per class'}"]
    described += [f"splits: {split}"] if split else []
    reading.layout = f"list of images ({', '.join([*described, *filter(None, [table.form])])})"
    if table.form.startswith(("Windows", "Latin")):
        reading.notes.append(f"The list is no UTF-8 and was read as {table.form.split(',')[0]}.")
    return _rows(table, columns[image], labels, splits, path, options, reading)


def _text(cell: Any) -> str:
    """A cell as text: nothing for null, and several values as they are seen."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, list) and len(cell) == 1:
        return _text(cell[0])
    return cell.strip() if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _image_column(
    columns: Mapping[str, Sequence[str]], name: str | None, path: Path, reading: Reading
) -> str:
    if name is not None:
        return named_column(list(columns), "image", name, str(path))
    matches = usual_columns(list(columns), "image")
    if not matches:
        of_images = [
            header for header, cells in columns.items()
            if any(cells) and all(_is_image(cell) for cell in cells[:ROWS_TO_TRY] if cell)
        ]  # fmt: skip
        if len(of_images) == 1:
            reading.notes.append(f"Images are taken from the column {of_images[0]!r}.")
            return of_images[0]
        raise no_column(list(columns), "image", None, str(path))
    if len(matches) == 1:
        return matches[0]
    # Of several, the first whose cells are files:
    existing = [
        header for header in matches
        if any(is_file(_file(path.parent, cell)) for cell in columns[header][:100] if cell)
    ]  # fmt: skip
    chosen = (existing or matches)[0]
    others = [repr(header) for header in matches if header != chosen]
    reading.notes.append(f"Images are taken from the column {chosen!r}, not {', '.join(others)}.")
    return chosen


def _labels(
    table: Table,
    columns: Mapping[str, list[str]],
    image: str,
    name: str | None,
    path: Path,
    reading: Reading,
) -> tuple[str, list[str]]:
    """The column of labels, and the label of every row; without such a column, the one column of
    every row that holds a one."""
    headers = [header for header in columns if header != image]
    if name is not None:
        label = named_column(headers, "label", name, str(path))
    else:
        matches = usual_columns(headers, "label")
        if not matches:
            marks = one_hot(columns, headers, table, path)
            if marks is None:
                raise no_column(list(columns), "label", None, str(path))
            return "", marks
        label = label_column(columns, matches, str(path))
        others = [repr(header) for header in matches if header != label]
        if others:
            reading.notes.append(
                f"Labels are taken from the column {label!r}, which tells the same classes as "
                f"{', '.join(others)}."
            )
    for row in table.rows:
        if isinstance(row.cells.get(label), list | dict) and _text(row.cells[label])[:1] in "[{":
            raise _several_labels(path, f"{table.unit} {row.number}", _text(row.cells[label]))
    return label, _single_labels(columns[label], table, path)


def one_hot(
    columns: Mapping[str, list[str]], headers: Sequence[str], table: Table, path: Path
) -> list[str] | None:
    """The label of every row by the one column that holds a one; no label where none does.

    Raises:
        ValueError: If several do.
    """
    marks = [h for h in headers if set(columns[h]) <= {"0", "1", "0.0", "1.0"}]
    if len(marks) < 2:
        return None
    labels = []
    for i, row in enumerate(table.rows):
        ones = [header for header in marks if columns[header][i].startswith("1")]
        if len(ones) > 1:
            raise _several_labels(path, f"{table.unit} {row.number}", " and ".join(ones))
        labels.append(ones[0] if ones else "")
    return labels


def _single_labels(labels: list[str], table: Table, path: Path) -> list[str]:
    """Labels as they are, or, where all are lists of one, as ``['cat']``, without brackets.

    Raises:
        ValueError: If a label is several, as a list or joined by a sign.
    """
    whole = set(labels)
    lists = {label: match[1] for label in whole if (match := LIST.fullmatch(label))}
    if lists and len(lists) == len(whole - {""}):
        for label, inner in lists.items():
            if "," in inner:
                row = table.rows[labels.index(label)]
                raise _several_labels(path, f"{table.unit} {row.number}", label)
        return [lists.get(label, label).strip(" '\"") for label in labels]
    for sign in LABEL_SIGNS:
        parts = {label: [p.strip() for p in label.split(sign)] for label in whole if sign in label}
        counts = Counter(part for several in parts.values() for part in several)
        for label, several in parts.items():
            if all(part in whole or (sign == "|" and counts[part] > 1) for part in several):
                row = table.rows[labels.index(label)]
                raise _several_labels(path, f"{table.unit} {row.number}", label)
    return labels


def _several_labels(path: Path, place: str, label: str) -> ValueError:
    return ValueError(
        f"{path} has several labels for the image in {place} ({visible(label[:60])}): a classifier "
        f"has one label per image. Keep one of them, or leave such images out."
    )


def _splits(
    columns: Mapping[str, list[str]], header: str, names: SplitNames, table: Table, path: Path
) -> list[str | None]:
    """The split of every row. Empty cells are counted later; names that mean no split are refused,
    unless the user has said which are meant."""
    cells = split_cells(header, columns[header])
    unknown = Counter(cell for cell in cells if cell and names.meant(cell) is None)
    if unknown and not names.choices:
        counts = ", ".join(f"{visible(name)!r} ({counted(count, 'row')})" for name, count in
                           unknown.most_common(MAX_SHOWN))  # fmt: skip
        raise ValueError(
            f"{path} has names in the column {header!r} that are no split train, val or test: "
            f"{counts}. Say what they are with --split train=NAME,test=NAME (split='train=NAME,"
            f"test=NAME'); rows of other names are left out then."
        )
    return list(cells)


def _file(folder: Path, cell: str) -> Path:
    """The file that a cell names; backslashes are those of Windows where there is no such file."""
    file = folder / cell
    if "\\" in cell and not is_file(file):
        return folder / cell.replace("\\", "/")
    return file


def _folder_of(path: Path, images: Sequence[str], options: ReadOptions, reading: Reading) -> Path:
    """The folder to which the cells are relative: that of the list or, if none of a few images is
    there, one in it or beside it."""
    cells = [cell for cell in images if cell]
    if not cells or any(is_file(_file(path.parent, cell)) for cell in cells[:ROWS_TO_TRY]):
        return path.parent
    try:
        paths = [portable(cell) for cell in cells]
        folder = root_of(path, paths, folders_beside(path), options)
    except FileNotFoundError:
        return path.parent
    reading.notes.append(f"The paths are relative to {folder}.")
    return folder


def _rows(
    table: Table,
    images: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str | None],
    path: Path,
    options: ReadOptions,
    reading: Reading,
) -> list[ImageRow]:
    """The rows that are complete and whose image exists; the others are counted."""
    rows: list[ImageRow] = []
    absent: dict[str, Path] = {}
    folder = _folder_of(path, images, options, reading)
    links = Links(folder, follow=options.follow_links)
    with_labels = {split for label, split in zip(labels, splits, strict=True) if label}
    for row, image, label, split in zip(table.rows, images, labels, splits, strict=True):
        place = f"{table.unit} {row.number}"
        has_none = split is not None and split not in with_labels  # as a hidden test split
        cells = (("image", image), ("label", label or has_none))
        empty = [kind for kind, cell in cells if not cell]
        if empty:
            reading.leave_out(f"rows without {' and '.join(empty)}", place)
        elif split is not None and not split:
            reading.leave_out("rows without a split", place)
        elif not is_file(file := _file(folder, image)):
            absent.setdefault(label, file)
            reading.leave_out("rows whose image does not exist", f"{place}: {file}")
        elif not leads_out(image) and not links.is_way_followed(file):
            reading.leave_out(LINKS, file)
        else:
            rows.append(ImageRow(str(file), label or None, split))
    present = {row.label for row in rows}
    for label in [label for label in absent if label not in present][:1]:
        raise FileNotFoundError(
            f"{path} lists the image {absent[label]}, which does not exist: no image of the class "
            f"{label!r} is there. Paths are relative to the folder of the list."
        )
    return rows
