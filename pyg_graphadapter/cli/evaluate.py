"""The command ``evaluate``."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    READING,
    Data,
    Device,
    Import,
    as_fault_of,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.command_text import command_text
from pyg_graphadapter.cli.output import alert, echo, emit
from pyg_graphadapter.cli.settings import with_options
from pyg_graphadapter.cli.sources import pop_reading
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.optional import MissingPackageError
from pyg_graphadapter.outputs import no_empty_folders
from pyg_graphadapter.report.evaluation_file import EVALUATION_PAGE

if TYPE_CHECKING:
    from pyg_graphadapter.report.evaluation_file import EvaluationFile

app = new_app()
FIGURE = "confusion.png"
MOST_ERRORS = 100  # under --json; the file has all


@app.command()
@one_sentence
@with_options(*READING, Reading=ReadOptions)
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="CLASSIFIER", help="Folder of a saved classifier.")
    ],
    data: Data,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to measure on: train, val or test; test=NAME if the data call it NAME.",
            show_default="test, else what there is",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json, tables of classes, confusions and images (CSV), and "
            "a figure of the confusions."
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help=f"Also write the page {EVALUATION_PAGE} to the folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the evaluation in the folder.")
    ] = False,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Do not download a model.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be decoded.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep features in the cache.")
    ] = True,
    cache_dir: Annotated[str | None, typer.Option(help="Folder of the feature cache.")] = None,
    import_: Import = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Measure a saved classifier on labelled images: accuracies with their intervals, calibration,
    the weakest classes, confusions, and the most confident errors.

    --json prints "measures", "intervals", "calibration" (with "temperature", "after" and "before"),
    "classes", "confusions", the 100 most confident "errors", "skipped", and the "files" written.

    Example: graphadapter evaluate my-classifier photos --out evaluation
    """
    reading = pop_reading(options or {})
    if report and out is None:
        raise typer.BadParameter(
            f"--report writes {EVALUATION_PAGE} to a folder: name it with --out."
        )

    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.feature_file import is_feature_file
    from pyg_graphadapter.report.evaluation_text import evaluation_lines

    if out is not None:
        _check_folder(out, overwrite=overwrite)
    classifier = FewShotClassifier.load(folder)
    encoding = EncodingConfig(cache=cache, cache_dir=cache_dir, strict=strict)
    images: Any = data
    if is_feature_file(data):
        reading.refuse(f"the feature file {data}")
    else:
        images, split = _read(data, reading, split)
        classifier.load_encoder(device, offline=offline)
    with as_fault_of(classifier.method):
        evaluation = classifier.evaluate_images(
            images, split=split, encoding=encoding, name=data, command=command_text()
        )
    files = [] if out is None else _write(evaluation, out, report=report)
    emit(_entry(evaluation, files), evaluation_lines(evaluation))
    if out is not None:
        echo(f"Wrote {', '.join(path.name for path in files)} to {out}.")


def _read(data: str, reading: ReadOptions, split: str | None) -> tuple[Any, str | None]:
    """The images, of which is told what was read, and the split that is measured on."""
    from pyg_graphadapter.classifier.labelled import images_and_split
    from pyg_graphadapter.data import summary_lines

    silence_libraries()
    images, split = images_and_split(data, reading, split)
    for line in summary_lines(images, data):
        echo(line, err=True)
    return images, split


def _files() -> tuple[str, ...]:
    from pyg_graphadapter.report import evaluation_csv as tables
    from pyg_graphadapter.report.evaluation_file import EVALUATION

    names = (tables.PER_CLASS, tables.CONFUSION, tables.CONFUSED_PAIRS, tables.IMAGES)
    return (EVALUATION, *names, FIGURE, EVALUATION_PAGE)


def _check_folder(out: Path, *, overwrite: bool) -> None:
    """Checks that an evaluation can be written, before it is made.

    Raises:
        ValueError: If the folder holds something else, or an evaluation and not ``overwrite``.
    """
    from pyg_graphadapter.outputs import check_output_folder

    names = _files()
    check_output_folder(out, lambda path: path.name in names)
    if not overwrite and any((out / name).exists() for name in names):
        raise ValueError(
            f"There is an evaluation in {out} already: choose another folder, or --overwrite."
        )


def _write(evaluation: "EvaluationFile", out: Path, *, report: bool) -> list[Path]:
    """Writes the files of an evaluation, without what an earlier one left there."""
    from pyg_graphadapter.report.confusion_figure import draw_confusion
    from pyg_graphadapter.report.evaluation_csv import write_tables
    from pyg_graphadapter.storage import prepare_folder

    names = _files()
    with no_empty_folders(out):
        prepare_folder(out, lambda path: path.name in names)
        for name in names:
            (out / name).unlink(missing_ok=True)
        files = [evaluation.save(out), *write_tables(evaluation, out)]
        try:
            draw_confusion(evaluation, out / FIGURE)
            files.append(out / FIGURE)
        except MissingPackageError as error:
            alert(f"{FIGURE} was not drawn. {error}")
        if report:
            from pyg_graphadapter.report.evaluation_page import write_evaluation_page

            write_evaluation_page(evaluation, out / EVALUATION_PAGE)
            files.append(out / EVALUATION_PAGE)
    return files


def _entry(e: "EvaluationFile", files: Sequence[Path]) -> dict[str, Any]:
    """The evaluation as plain JSON values."""
    from pyg_graphadapter.report.calibration import calibration
    from pyg_graphadapter.report.intervals import intervals
    from pyg_graphadapter.report.per_image import class_rows, confused_pairs, errors

    names = e.class_names
    return {
        "data": e.data,
        "split": e.split,
        "method": e.classifier["method"],
        "measures": e.measures,
        "intervals": asdict(intervals(e)),
        "calibration": {
            "temperature": e.temperature,
            "source": e.temperature_source,
            "after": asdict(calibration(e)),
            "before": asdict(calibration(e, calibrated=False)),
        },
        "classes": [asdict(row) for row in class_rows(e)],
        "confusions": [
            {"class": names[pair.label], "predicted": names[pair.predicted], "images": pair.images}
            for pair in confused_pairs(e)
        ],
        "errors": [
            {
                "index": i,
                "file": e.images[i].file,
                "class": names[e.images[i].label],
                "predicted": names[e.images[i].top[0].label],
                "probability": e.images[i].top[0].probability,
            }
            for i in errors(e)[:MOST_ERRORS]
        ],
        "skipped": [asdict(image) for image in e.skipped],
        "files": [str(path) for path in files],
    }
