"""The confusions of an evaluation as a page shows them: a part of the matrix, and the pictures of
its cells."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from pyg_graphadapter.display import visible
from pyg_graphadapter.report.evaluation_file import EvaluatedImage, EvaluationFile
from pyg_graphadapter.report.per_image import ConfusedPair, confused_pairs
from pyg_graphadapter.report.templating import short

MOST_CLASSES = 30  # that a matrix can show
MOST_PAIRS = 50
MOST_EXAMPLES = 6  # of a cell


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: how many images, which share of their class, and its key."""

    images: int
    share: float
    key: str
    is_right: bool


@dataclass(frozen=True)
class Line:
    """A class and its cells."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Pair:
    """Two classes that were confused, by name."""

    label: str
    predicted: str
    images: int
    share: float
    key: str


@dataclass(frozen=True)
class Confusions:
    """What a page shows of the confusion matrix.

    Args:
        names (tuple of str): The classes that it shows.
        total (int): The number of classes that there are.
        lines (tuple of Line): One line per class that is shown.
        pairs (tuple of Pair): The pairs that were confused most often.
        num_pairs (int): The number of pairs that were confused.
        examples (dict): For each cell, its text, the number of its images, and some of them.
    """

    names: tuple[str, ...]
    total: int
    lines: tuple[Line, ...]
    pairs: tuple[Pair, ...]
    num_pairs: int
    examples: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, e: EvaluationFile, on_page: Set[int]) -> "Confusions":
        """The confusions of an evaluation.

        Args:
            e (EvaluationFile): The evaluation.
            on_page (set of int): The images whose pictures the page shows elsewhere, too.
        """
        count = Counter((image.label, image.top[0].label) for image in e.images)
        of_class = Counter(image.label for image in e.images)
        pairs = confused_pairs(e)
        shown_classes = _shown_classes(pairs, len(e.class_names))
        names = unique_names(e.class_names)
        lines = []
        for label in shown_classes:
            whole = max(of_class[label], 1)
            cells = [(c, count[label, c]) for c in shown_classes]
            lines.append(
                Line(
                    names[label],
                    tuple(Cell(n, n / whole, f"{label}-{c}", label == c) for c, n in cells),
                )
            )
        named = tuple(
            Pair(names[p.label], names[p.predicted], p.images, p.share, f"{p.label}-{p.predicted}")
            for p in pairs[:MOST_PAIRS]
        )
        keys = {cell.key for line in lines for cell in line.cells if cell.images}
        examples = _examples(e, keys | {pair.key for pair in named}, on_page)
        return cls(
            tuple(names[c] for c in shown_classes),
            len(names),
            tuple(lines),
            named,
            len(pairs),
            examples,
        )


def unique_names(names: Sequence[str]) -> list[str]:
    """The names of classes as they are shown, with their number where several have the same."""
    visible_names = [visible(name) for name in names]
    count = Counter(visible_names)
    return [
        name if count[name] == 1 else f"{name} ({c + 1})" for c, name in enumerate(visible_names)
    ]


def _shown_classes(pairs: Sequence[ConfusedPair], total: int) -> list[int]:
    """All classes, or those of the most frequent confusions."""
    if total <= MOST_CLASSES:
        return list(range(total))
    classes: dict[int, None] = {}
    for pair in pairs:
        both = classes | dict.fromkeys((pair.label, pair.predicted))
        if len(both) > MOST_CLASSES:
            break
        classes = both
    return sorted(classes) or list(range(MOST_CLASSES))


def _examples(e: EvaluationFile, keys: Set[str], on_page: Set[int]) -> dict[str, dict[str, Any]]:
    """The pictures of cells, those with a thumbnail and the most confident ones first."""
    names = unique_names(e.class_names)
    of_cell: dict[str, list[int]] = {}
    for i, image in enumerate(e.images):
        key = f"{image.label}-{image.top[0].label}"
        if key in keys:
            of_cell.setdefault(key, []).append(i)
    cells = {}
    for key, indices in of_cell.items():
        indices.sort(key=lambda i: (e.images[i].thumbnail is None, -e.images[i].top[0].probability))
        label, predicted = (short(names[int(c)]) for c in key.split("-"))
        cells[key] = {
            "text": _cell_text(label, predicted, len(indices)),
            "images": len(indices),
            "pictures": [
                _picture(i, e.images[i], is_on_page=i in on_page) for i in indices[:MOST_EXAMPLES]
            ],
        }
    return cells


def _cell_text(label: str, predicted: str, count: int) -> str:
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    if label == predicted:
        return f"{pictures} of “{label}” named right."
    return f"{pictures} of “{label}” taken for “{predicted}”."


def _picture(i: int, image: EvaluatedImage, *, is_on_page: bool) -> dict[str, Any]:
    thumbnail = {} if is_on_page or image.thumbnail is None else {"thumbnail": source_of(image)}
    return {
        "id": i,
        "file": visible(file_of(i, image)),
        "text": f"{100 * image.top[0].probability:.1f} % sure",
        **thumbnail,
    }


def source_of(image: EvaluatedImage) -> str:
    """The address of a thumbnail; empty where there is none."""
    return f"data:image/jpeg;base64,{image.thumbnail}" if image.thumbnail else ""


def file_of(i: int, image: EvaluatedImage) -> str:
    """What a picture is called: its file, or its number."""
    return image.file or f"picture {i + 1}"
