"""The page of one classifier: how well it does, and where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyg_graphadapter.outputs import writing
from pyg_graphadapter.report.confusions import Confusions, file_of, source_of, unique_names
from pyg_graphadapter.report.evaluation_file import EvaluatedImage, EvaluationFile
from pyg_graphadapter.report.evaluation_words import (
    headline,
    measures_table,
    percent,
    remarks,
    settings_of,
    versions_of,
)
from pyg_graphadapter.report.graph_drawing import KnowledgeGraphs
from pyg_graphadapter.report.per_image import class_rows, confused_pairs, errors
from pyg_graphadapter.report.probability_charts import (
    calibration_table,
    coverage_chart,
    reliability_chart,
    temperature_text,
    threshold_table,
)
from pyg_graphadapter.report.tables import Cell, Table
from pyg_graphadapter.report.templating import render, short
from pyg_graphadapter.storage import write_atomic

TEMPLATE = "evaluation.html.j2"
MOST_ERRORS = 100
MOST_EXPLAINED = 24  # right pictures whose explanation is shown
MOST_SKIPPED = 500
SECTIONS = {
    "classes": "Classes",
    "confusions": "Confusions",
    "wrong": "Wrong pictures",
    "probabilities": "Probabilities",
    "graphs": "Knowledge graphs",
    "why": "Why",
    "skipped": "Skipped pictures",
    "settings": "Settings",
    "origin": "How this was made",
}


def write_evaluation_page(evaluation: EvaluationFile, out: Path) -> None:
    """Writes the page of an evaluation: one HTML file that loads nothing from elsewhere.

    Args:
        evaluation (EvaluationFile): What ``graphadapter evaluate`` wrote.
        out (Path): The file to write; one that is there is replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    with writing(out):
        write_atomic(out, evaluation_page(evaluation).encode())


def evaluation_page(e: EvaluationFile) -> str:
    """The page, as HTML."""
    names = unique_names(e.class_names)
    wrong = errors(e)
    shown_images = wrong[:MOST_ERRORS]
    wrong_numbers = set(wrong)
    explained = [
        i for i, image in enumerate(e.images) if image.explanation and i not in wrong_numbers
    ][:MOST_EXPLAINED]
    graphs = _graphs(e, names)
    is_there = {
        "wrong": wrong,
        "graphs": graphs,
        "why": e.class_explanations or explained,
        "skipped": e.skipped,
    }
    return render(
        TEMPLATE,
        title=_title(e),
        sections=[(key, name) for key, name in SECTIONS.items() if is_there.get(key, True)],
        headline=headline(e, len(wrong)),
        remarks=remarks(e),
        measures=measures_table(e),
        classes=_classes(e, names),
        confusions=Confusions.of(e, {*shown_images, *explained}),
        pictures=[_picture(i, e.images[i], names) for i in shown_images],
        num_wrong=len(wrong),
        reliability=reliability_chart(e),
        probabilities=calibration_table(e),
        temperature=temperature_text(e),
        coverage=coverage_chart(e),
        thresholds=threshold_table(e),
        graphs=graphs,
        explained=[_picture(i, e.images[i], names) for i in explained],
        reasons=_reasons(e),
        skipped=_skipped(e),
        settings=settings_of(e.classifier),
        command=e.command,
        versions=versions_of(e),
    )


def _title(e: EvaluationFile) -> str:
    data = f" on {e.data}" if e.data else ""
    split = f" ({e.split})" if e.split else ""
    return f"How well the classifier does{data}{split}"


@dataclass(frozen=True)
class ClassLine:
    """A class in the table of the classes."""

    name: str
    images: int
    right: int
    accuracy: str
    share: float
    predicted: int
    precision: str
    taken_for: str


def _classes(e: EvaluationFile, names: Sequence[str]) -> list[ClassLine]:
    """The classes, the weakest first; classes of which there is no picture last."""
    confused_with: dict[int, str] = {}
    for pair in confused_pairs(e):
        confused_with.setdefault(pair.label, f"{short(names[pair.predicted])} ({pair.images})")
    rows = sorted(
        enumerate(class_rows(e)),
        key=lambda item: (item[1].recall is None, item[1].recall or 0.0, -item[1].images),
    )
    return [
        ClassLine(
            names[c],
            row.images,
            row.right,
            "-" if row.recall is None else f"{row.recall:.1f}",
            row.recall or 0.0,
            row.predicted,
            "-" if row.precision is None else f"{row.precision:.1f}",
            confused_with.get(c, "-"),
        )
        for c, row in rows
    ]


@dataclass(frozen=True)
class Picture:
    """A picture that the page shows."""

    number: int
    file: str
    source: str
    label: str
    predicted: str
    sure: str
    others: str
    why: str


def _picture(i: int, image: EvaluatedImage, names: Sequence[str]) -> Picture:
    others = ", ".join(
        f"{short(names[choice.label])} {percent(100 * choice.probability)}"
        for choice in image.top[1:4]
    )
    return Picture(
        i,
        file_of(i, image),
        source_of(image),
        names[image.label],
        names[image.top[0].label],
        percent(100 * image.top[0].probability),
        others,
        image.explanation or "",
    )


def _reasons(e: EvaluationFile) -> Table:
    lines = ((Cell(name), Cell(words)) for name, words in e.class_explanations.items())
    return Table("Why the classes look as they do", ("class", "why"), tuple(lines))


def _skipped(e: EvaluationFile) -> Table:
    lines = [
        (Cell(image.file or "a picture without a file"), Cell(image.reason))
        for image in e.skipped[:MOST_SKIPPED]
    ]
    more = len(e.skipped) - len(lines)
    note = f"{more:,} more are in the file evaluation.json." if more else ""
    return Table("Skipped pictures", ("file", "reason"), tuple(lines), note)


def _graphs(e: EvaluationFile, names: Sequence[str]) -> KnowledgeGraphs | None:
    sides = {
        side: [(names[edge.source], names[edge.target], edge.cosine) for edge in edges]
        for side, edges in (("text", e.text_edges), ("image", e.image_edges))
        if edges
    }
    return KnowledgeGraphs.of(sides, len(names))
