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
        "imagem", "arquivo", "caminho", "immagine", "percorso", "afbeelding", "bestand",
    ),
    "label": (
        "label", "labels", "class", "classname", "classlabel", "labelname", "category",
        "categoryname", "species", "target",
        "klasse", "klassenname", "kategorie", "etikett", "art",
        "classe", "etiquette", "categorie", "espece", "libelle",
        "clase", "etiqueta", "categoria", "especie", "rotulo", "etichetta", "specie", "soort",
    ),
    "split": (
        "split", "datasetsplit", "partition", "subset", "set", "dataset", "usage", "phase",
        "aufteilung", "teilmenge", "ensemble", "sousensemble", "jeu", "particion", "conjunto",
        "subconjunto", "division",
    ),
}  # fmt: skip
# Columns of yes and no are named for a split, with or without "is", or so:
YES_OR_NO = {"istrainingimage": "train", "isval": "val", "isvalid": "val"}
WORDS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "ja", "oui", "si", "x"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "nein", "non"), False),
}
MAX_SPLITS = 12  # different cells of a column that may tell splits
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
        used (sequence of str): The column of images, and that of labels where it is known. Without
            labels, a column of yes and no that is called ``train`` may be a class.
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
        matches = [
            header for header in headers if _is_yes_or_no(header, columns[header])
            and (len(used) > 1 or split_meant(header_key(header)) is None)
        ]  # fmt: skip
    for other in matches[1:]:
        if _splits_in(other, columns[other]) != _splits_in(matches[0], columns[matches[0]]):
            raise several_columns([matches[0], other], "split", where)
    return matches[0] if matches else None


def unused_splits(
    columns: Mapping[str, Sequence[str]], names: SplitNames, used: Sequence[str]
) -> list[str]:
    """A sentence on every column that has names of splits, or is named for them, and is not
    used."""
    sentences = []
    for header, cells in columns.items():
        meant = [cell for cell in dict.fromkeys(cells) if cell and names.meant(cell) is not None]
        if header not in used and meant:
            sentences.append(
                f"The column {header!r} has names of splits ({', '.join(meant[:3])}), but is not "
                f"used: choose it with --split-column {header} (split_column={header!r})."
            )
        elif header not in used and _is_named_for_splits(header, cells):
            some = ", ".join(sorted(set(cells))[:3])
            sentences.append(
                f"The column {header!r} ({some}) is not used: if it tells splits, choose it with "
                f"--split-column {header} and --split train=NAME,test=NAME."
            )
    return sentences


def split_cells(header: str, cells: Sequence[str]) -> list[str]:
    """The names of splits in a column; yes and no in ``is_test`` are test and train."""
    if not _is_yes_or_no(header, cells):
        return list(cells)
    yes = str(_split_of_yes(header))
    no = "test" if yes == "train" else "train"
    return ["" if not cell else yes if WORDS[cell.casefold()] else no for cell in cells]


def _splits_in(header: str, cells: Sequence[str]) -> list[str | None]:
    return [split_meant(cell) for cell in split_cells(header, cells)]


def _is_named_for_splits(header: str, cells: Sequence[str]) -> bool:
    return header_key(header) in (*NAMES["split"], "fold") and 1 < len(set(cells)) <= MAX_SPLITS


def _split_of_yes(header: str) -> str | None:
    """The split that yes means in a column of a name: ``test`` in ``is_test``."""
    key = header_key(header)
    return YES_OR_NO.get(key) or split_meant(key.removeprefix("is"))


def _are_splits(cells: Sequence[str], names: SplitNames, *, every: bool) -> bool:
    values = {cell for cell in cells if cell.strip()}
    are = [names.meant(value) is not None for value in values]
    return bool(are) and (all(are) if every else any(are))


def _is_yes_or_no(header: str, cells: Sequence[str]) -> bool:
    values = {cell.casefold() for cell in cells if cell.strip()}
    return _split_of_yes(header) is not None and bool(values) and values <= set(WORDS)
