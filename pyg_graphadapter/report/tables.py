"""Tables of results, as Markdown, LaTeX and CSV."""

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyg_graphadapter.display import csv_cell, latex, markdown
from pyg_graphadapter.report.results import (
    SELECTED_ON_TEST,
    TRANSDUCTIVE,
    Row,
    finished,
    measured,
    name_and_marks,
)

MARKS = {
    SELECTED_ON_TEST: "Settings were selected on the test split, as some papers do: not an honest "
    "estimate.",
    TRANSDUCTIVE: "transductive: classifies the test images together, unlabelled.",
}
HEADER = ("method", "shots", "seeds", "accuracy %", "training s", "parameters")
CSV_HEADER = (
    "dataset", "method", "shots", "seeds", "accuracy", "deviation", "fit_seconds", "parameters",
    "selected_on_test", "transductive",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text (str): Its text.
        is_best (bool, optional): Whether it is the best of its column. (default: :obj:`False`)
    """

    text: str
    is_best: bool = False

    def markdown(self) -> str:
        """The cell in Markdown, in bold if it is the best."""
        text = self.text if self == MISSING else markdown(self.text)
        return f"**{text}**" if self.is_best else text


MISSING = Cell("-")


@dataclass(frozen=True)
class Table:
    """A table, whose first column is text and whose others are numbers.

    Args:
        title (str): The title.
        header (tuple of str): The names of the columns.
        lines (tuple): The lines, each a tuple of cells.
        note (str, optional): A note for the reader. (default: :obj:`""`)
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """The table as aligned Markdown, with the best values in bold, without title and note."""
        lines = [[cell.markdown() for cell in line] for line in self.lines]
        header = list(map(markdown, self.header))
        width = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
        rule = ["-" * width[0], *("-" * (w - 1) + ":" for w in width[1:])]
        return "\n".join(
            "| "
            + " | ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, width, strict=True))
            )
            + " |"
            for line in [header, rule, *lines]
        )

    def terminal(self) -> str:
        """Title and table, and below what the marks in it mean."""
        marks = [f"{mark} {note}" for mark, note in MARKS.items() if f"{mark} {note}" in self.note]
        return "\n\n".join([markdown(self.title), self.markdown(), *marks])

    def latex(self) -> str:
        """The table for LaTeX with the package booktabs, with the best values in bold."""

        def line(cells: Sequence[str]) -> str:
            return " & ".join(cells) + r" \\"

        body = [
            line([rf"\textbf{{{latex(c.text)}}}" if c.is_best else latex(c.text) for c in cells])
            for cells in self.lines
        ]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(self.title)}. {latex(self.note)}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
                r"\toprule",
                line([latex(name) for name in self.header]),
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as an aligned Markdown table: mean ± standard deviation over the seeds, of
    which one has none. Rows of several data sets say which."""
    several = len({row.dataset for row in rows}) > 1
    lines = [
        (
            *((row.dataset,) if several else ()),
            row.label,
            str(row.shots),
            str(row.seeds),
            _in_words(*_of(row)),
            f"{row.fit_seconds:.1f}",
            f"{row.parameters:,}",
        )
        for row in rows
    ]
    header = ("data set", *HEADER) if several else HEADER
    return Table("", header, tuple(tuple(map(Cell, line)) for line in lines)).markdown()


def csv_table(rows: Sequence[Row]) -> str:
    """The rows as CSV with full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in rows:
        name, marks = name_and_marks(row.label)
        writer.writerow([
            csv_cell(row.dataset), csv_cell(name),
            row.shots, row.seeds, row.accuracy, row.deviation, row.fit_seconds, row.parameters,
            SELECTED_ON_TEST in marks, TRANSDUCTIVE in marks,
        ])  # fmt: skip
    return text.getvalue()


def accuracy_tables(rows: Sequence[Row]) -> list[Table]:
    """Methods × shots: one table per task and, if there are several of one suite, one for their
    average."""
    tables = [
        _by_shots(name or "Accuracy", [row for row in rows if row.dataset == name])
        for name in dict.fromkeys(row.dataset for row in rows)
    ]
    means = averages(rows)
    return tables + [_by_shots(f"Average over {title}", mean) for title, mean in means.items()]


def dataset_tables(rows: Sequence[Row]) -> list[Table]:
    """Methods × data sets and their average, one table per suite and number of shots; none for a
    single data set."""
    return [
        table for suite, suite_rows in _suites(rows).items()
        for table in _tables_of_suite(suite, suite_rows)
    ]  # fmt: skip


def _tables_of_suite(suite: str, rows: Sequence[Row]) -> list[Table]:
    datasets = tuple(dict.fromkeys(row.dataset for row in rows))
    if len(datasets) < 2:
        return []
    tables = []
    for shots in sorted({row.shots for row in rows}):
        shots_rows = [row for row in rows if row.shots == shots]
        means = {(row.label, row.dataset): _of(row) for row in shots_rows}
        mean = {(row.label, "average"): _of(row) for row in average(rows) if row.shots == shots}
        marks = marked(row.label for row in shots_rows)
        note = f"Test accuracy in percent, mean ± standard deviation over seeds.{marks}"
        title = f"All at {_shots(shots)}{suite}"
        columns = (*datasets, "average") if mean else datasets
        tables.append(_grid(title, columns, means | mean, note))
    return tables


def _suites(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of every suite."""
    suites: dict[str, list[Row]] = {}
    for row in rows:
        suites.setdefault(row.suite, []).append(row)
    return suites


def averages(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The means over the data sets of every suite that has more than one
    (:func:`average`), by what they are means over, as ``2 data sets, base classes``; none where no
    method has a result on all of them."""
    means = {}
    for suite, suite_rows in _suites(rows).items():
        names = {row.dataset for row in suite_rows}
        datasets = {row.task.dataset if row.task else row.dataset for row in suite_rows}
        mean = average(suite_rows)
        if len(names) > 1 and mean:
            noun = "data sets" if len(datasets) == len(names) else "tasks"
            means[f"{len(names)} {noun}{suite}"] = mean
    return means


def average(rows: Sequence[Row]) -> list[Row]:
    """Means over the data sets, for methods and shots with a result on every data set. The
    deviation is the mean deviation, and the number of parameters is the largest."""
    datasets = {row.dataset for row in rows}
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.label, row.shots), []).append(row)
    return [
        Row(
            cell[0].method,
            shots,
            min(row.seeds for row in cell),
            statistics.fmean(row.accuracy for row in cell),
            statistics.fmean(row.deviation for row in cell),
            statistics.fmean(row.fit_seconds for row in cell),
            max(row.parameters for row in cell),
            "average",
            label,
        )
        for (label, shots), cell in cells.items()
        if {row.dataset for row in cell} == datasets
    ]


def _by_shots(title: str, rows: Sequence[Row]) -> Table:
    shots = {k: _shots(k) for k in sorted({row.shots for row in rows})}
    means = {(row.label, shots[row.shots]): _of(row) for row in rows}
    most = {row.label: row for row in sorted(rows, key=lambda row: row.shots)}
    costs = {
        label: (Cell(f"{row.fit_seconds:.1f}"), Cell(f"{row.parameters:,}"))
        for label, row in most.items()
    }
    table = _grid(title, tuple(shots.values()), means, _note(rows))
    return replace(
        table,
        header=(*table.header, "fit s", "parameters"),
        lines=tuple((*line, *costs[line[0].text]) for line in table.lines),
    )


def _note(rows: Sequence[Row]) -> str:
    seeds = sorted({row.seeds for row in rows})
    text = (
        f"Test accuracy in percent, mean ± standard deviation over {' or '.join(map(str, seeds))} "
        f"seed{'s' if seeds != [1] else ''}; fit time and parameters at the most shots."
    )
    return " ".join(filter(None, (text + marked(row.label for row in rows), skipped_note(rows))))


def skipped_note(rows: Sequence[Row]) -> str:
    """The note on images that could not be read, if there were some."""
    skipped = {row.dataset: 0 for row in rows}
    for row in rows:
        skipped[row.dataset] = max(skipped[row.dataset], row.skipped)
    counts = [
        f"{number:,} image{'' if number == 1 else 's'}{f' of {name}' if len(skipped) > 1 else ''}"
        for name, number in skipped.items()
        if number
    ]
    if not counts:
        return ""
    return f"Could not be read, and are in no number: {', '.join(counts)}."


def marked(labels: Iterable[str]) -> str:
    """The notes on the marks that labels have, each after a blank."""
    marks = "".join(name_and_marks(label)[1] for label in labels)
    return "".join(f" {mark} {note}" for mark, note in MARKS.items() if mark in marks)


def shifted_tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """Methods × (own test set, shifted test sets, their mean), one table per data set and number
    of shots; no table where nothing was measured on shifted test sets."""
    return _tables_of(
        results,
        "shifted",
        "domain generalisation",
        lambda result: {
            "source": result["accuracy"],
            **result["shifted"],
            "mean of shifted": statistics.fmean(result["shifted"].values()),
        },
    )


def base_to_new_tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """Methods × (base, new, harmonic mean), one table per data set and number of shots; no table
    where nothing was measured on new classes."""
    return _tables_of(
        results,
        "base_to_new",
        "base to new",
        lambda result: {
            name.replace("_", " "): value
            for name, value in result["base_to_new"].items()
            if name != "reason"
        },
    )


def _tables_of(
    results: Sequence[dict[str, Any]],
    key: str,
    title: str,
    columns: Callable[[dict[str, Any]], dict[str, float | None]],
) -> list[Table]:
    groups: dict[tuple[str, int], dict[tuple[str, str], list[float | None]]] = {}
    with_key = [result for result in finished(results) if key in result]
    for run in measured(with_key, says_base=False):
        group = groups.setdefault((run.name, run.result["shots"]), {})
        for name, value in columns(run.result).items():
            group.setdefault((run.label, name), []).append(value)
    return [
        _grid(
            f"{dataset}, {title}, {_shots(shots)}".removeprefix(", "),
            tuple(dict.fromkeys(name for _, name in group)),
            {place: mean for place, values in group.items() if (mean := _mean(values))},
            "Accuracy in percent, mean ± standard deviation over seeds; a dash where a method "
            f"cannot do it.{marked(label for label, _ in group)}",
        )
        for (dataset, shots), group in groups.items()
    ]


def _of(row: Row) -> tuple[float, float | None]:
    """The accuracy and its deviation, of which one seed has none."""
    return row.accuracy, row.deviation if row.seeds > 1 else None


def _in_words(mean: float, deviation: float | None) -> str:
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def _mean(values: Sequence[float | None]) -> tuple[float, float | None] | None:
    accuracies = [value for value in values if value is not None]
    if not accuracies or len(accuracies) < len(values):  # not of some draws alone
        return None
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return statistics.fmean(accuracies), deviation


def _grid(
    title: str,
    columns: tuple[str, ...],
    means: Mapping[tuple[str, str], tuple[float, float | None]],
    note: str,
) -> Table:
    """Labels × columns of mean and deviation, with the best of each column."""
    best = {
        column: max((mean for (_, other), (mean, _) in means.items() if other == column), default=0)
        for column in columns
    }

    def cell(label: str, column: str) -> Cell:
        if (label, column) not in means:
            return MISSING
        mean, deviation = means[label, column]
        return Cell(_in_words(mean, deviation), f"{mean:.2f}" == f"{best[column]:.2f}")

    labels = dict.fromkeys(label for label, _ in means)
    lines = ((Cell(label), *(cell(label, column) for column in columns)) for label in labels)
    return Table(title, ("method", *columns), tuple(lines), note)


def _shots(count: int) -> str:
    return f"{count} shot{'s' if count != 1 else ''}"
