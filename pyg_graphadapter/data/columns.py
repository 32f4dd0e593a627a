"""Which columns of a table hold images, labels and splits."""

import re
from collections.abc import Mapping, Sequence

from pyg_graphadapter.data.splits import SplitNames, plain, split_meant

# Headers in any case and without signs, the most specific first: English, German, French, Spanish.
NAMES = {
    "image": (
        "image", "img", "path", "filepath", "imagepath", "imgpath", "file", "filename",
        "imagefile", "imagename", "imagefilename", "photo", "picture",
        "bild", "bilddatei", "bildpfad", "pfad", "dateipfad", "datei", "dateiname", "foto",
        "chemin", "fichier", "nomdufichier", "nomfichier", "imagen", "ruta", "archivo", "fichero",
        "nombredearchivo", "nombrearchivo",
    ),
    "label": (
        "label", "labels", "class", "classname", "classlabel", "labelname", "category",
        "categoryname", "species", "target",
        "klasse", "klassenname", "kategorie", "etikett", "art",
        "classe", "etiquette", "categorie", "espece", "libelle",
        "clase", "etiqueta", "categoria", "especie",
    ),
    "split": (
        "split", "datasetsplit", "partition", "subset", "set", "dataset", "usage", "phase",
        "aufteilung", "teilmenge", "ensemble", "sousensemble", "jeu", "particion", "conjunto",
        "subconjunto", "division",
    ),
}  # fmt: skip
# A column of yes and no, and the splits of yes and of no:
YES_OR_NO = {
    "istrain": ("train", "test"),
    "istraining": ("train", "test"),
    "istrainingimage": ("train", "test"),
    "isvalid": ("val", "train"),
    "isval": ("val", "train"),
    "isvalidation": ("val", "train"),
    "istest": ("test", "train"),
}
WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
SIGNS = re.compile(r"[\W_]+")
MAX_SHOWN = 12


def header_key(header: str) -> str:
    """A header as the table of usual names has it: ``filename`` of ``File_Name``."""
    return SIGNS.sub("", plain(header))


def usual_columns(headers: Sequence[str], kind: str) -> list[str]:
    """The columns with a usual name for images, labels or splits, the most specific first."""
    by_key: dict[str, list[str]] = {}
    for header in headers:
        by_key.setdefault(header_key(header), []).append(header)
    return [header for name in NAMES[kind] for header in by_key.get(name, [])]


def named_column(headers: Sequence[str], kind: str, name: str, where: str) -> str:
    """The column that the user named, in any case.

    Raises:
        ValueError: If there is none, listing the columns.
    """
    same = [header for header in headers if header.casefold() == name.strip().casefold()]
    if name in headers or len(same) == 1:
        return name if name in headers else same[0]
    raise no_column(headers, kind, name, where)


def no_column(headers: Sequence[str], kind: str, name: str | None, where: str) -> ValueError:
    """The error where a column is not there, with the option that names another."""
    what = f"for the {kind}s" if name is None else repr(name)
    return ValueError(
        f"{where} has no column {what} (it has {', '.join(headers[:MAX_SHOWN])}): name it with "
        f"--{kind}-column ({kind}_column=…)."
    )


def several_columns(matches: Sequence[str], kind: str, where: str) -> ValueError:
    """The error where two columns could be meant."""
    return ValueError(
        f"{where} has the columns {' and '.join(map(repr, matches))}, which could both hold the "
        f"{kind}s: choose one with --{kind}-column {matches[0]} ({kind}_column={matches[0]!r})."
    )


def label_column(columns: Mapping[str, Sequence[str]], matches: Sequence[str], where: str) -> str:
    """The column of labels among several with usual names: the first with names rather than
    numbers, if all of them tell the same classes.

    Args:
        columns (dict): The cells of each column as text.
        matches (sequence of str): The columns in question, the most specific first.
        where (str): What the error calls the table.

    Raises:
        ValueError: If they tell different classes.
    """
    first = matches[0]
    for other in matches[1:]:
        pairs = set(zip(columns[first], columns[other], strict=True))
        if not len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}):
            raise several_columns([first, other], "label", where)
    with_names = [name for name in matches if not all(cell.isdecimal() for cell in columns[name])]
    return (with_names or [first])[0]


def split_column(
    columns: Mapping[str, Sequence[str]], names: SplitNames, used: Sequence[str], where: str
) -> str | None:
    """The column of splits: one with a usual name, or whose cells are all names of splits.

    Args:
        columns (dict): The cells of each column as text.
        names (SplitNames): Which names mean splits.
        used (sequence of str): The columns of images and labels.
        where (str): What the error calls the table.

    Raises:
        ValueError: If two columns could be meant.
    """
    headers = [header for header in columns if header not in used]
    usual = usual_columns(headers, "split")
    matches = [
        header for header in usual
        if header_key(header) == "split" or _are_splits(columns[header], names, every=False)
    ]  # fmt: skip
    if not matches:
        matches = [header for header in headers if _are_splits(columns[header], names, every=True)]
    if not matches:
        matches = [header for header in headers if _is_yes_or_no(header, columns[header])]
    for other in matches[1:]:
        if [split_meant(cell) for cell in columns[other]] != [
            split_meant(cell) for cell in columns[matches[0]]
        ]:
            raise several_columns([matches[0], other], "split", where)
    return matches[0] if matches else None


def unused_splits(
    columns: Mapping[str, Sequence[str]], names: SplitNames, used: Sequence[str]
) -> list[str]:
    """A sentence on every column that has names of splits and is not used."""
    sentences = []
    for header, cells in columns.items():
        meant = [cell for cell in dict.fromkeys(cells) if cell and names.meant(cell) is not None]
        if header not in used and meant:
            sentences.append(
                f"The column {header!r} has names of splits ({', '.join(meant[:3])}), but is not "
                f"used: choose it with --split-column {header} (split_column={header!r})."
            )
    return sentences


def split_cells(header: str, cells: Sequence[str]) -> list[str]:
    """The names of splits in a column; yes and no in ``is_test`` are test and train."""
    if not _is_yes_or_no(header, cells):
        return list(cells)
    yes, no = YES_OR_NO[header_key(header)]
    return ["" if not cell else yes if WORDS[cell.casefold()] else no for cell in cells]


def _are_splits(cells: Sequence[str], names: SplitNames, *, every: bool) -> bool:
    values = {cell for cell in cells if cell.strip()}
    are = [names.meant(value) is not None for value in values]
    return bool(are) and (all(are) if every else any(are))


def _is_yes_or_no(header: str, cells: Sequence[str]) -> bool:
    values = {cell.casefold() for cell in cells if cell.strip()}
    return header_key(header) in YES_OR_NO and bool(values) and values <= set(WORDS)
