"""The command ``predict``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import (
    Device,
    FollowLinks,
    Import,
    as_fault_of,
    as_usage_error,
    new_app,
    one_sentence,
    silence_libraries,
)
from pyg_graphadapter.cli.output import alert, echo, emit
from pyg_graphadapter.display import visible
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.suggestions import path_suggestion

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.predictions import Prediction

app = new_app()
ON_ERROR = ("row", "skip")


@app.command()
@one_sentence
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved classifier.")],
    data: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES…", help="Images and folders of images, or a feature file."),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of a feature file to classify.",
            show_default="'features', else test, val, train",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, .csv, .json or .parquet: the file, its label with the "
            "probability, the second and third class, and the reason if there is no label."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    on_error: Annotated[
        str,
        typer.Option(
            help="An image that cannot be classified: 'row' gives it a row with the reason, and "
            "exit code 1; 'skip' leaves it out.",
            autocompletion=completion.one_of(ON_ERROR),
        ),
    ] = "row",
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Answer only where the share of wrong answers is at most this, as 0.05, by the "
            "shots that fit held out; other images have no label but the reason.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be decoded.")
    ] = False,
    reject: Annotated[
        str | None,
        typer.Option(
            help="Name for images of none of the classes, as 'unknown'. Without it, the answer is "
            "always one of the classes, whatever the image shows."
        ),
    ] = None,
    accept: Annotated[
        float | None,
        typer.Option(
            help="Share of images of the classes that --reject is to accept.", show_default="0.95"
        ),
    ] = None,
    device: Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Do not download a model.")] = False,
    follow_links: FollowLinks = False,
    import_: Import = None,
) -> None:
    """Classify images or features, and print one line per image: label, class name, probability.

    --json prints a list with "image" (or "index"), "label", "class_name" and "probability" per
    image, "top" if --top asks for more, "unknown_score" with --reject, and "reason" where there is
    no label.

    Without --reject, the answer is always one of the classes, whatever the image shows.

    The exit code is 0 only if all images were classified, or with --on-error skip some of them;
    images that have no answer because of --max-error count as classified.

    Example: graphadapter predict my-classifier holiday/*.jpg --out holiday.csv
    """
    if on_error not in ON_ERROR:
        with as_usage_error():
            raise unknown("--on-error", on_error, ON_ERROR)
    if accept is not None and reject is None:
        with as_usage_error():
            raise ValueError("--accept is the share that --reject accepts: give --reject, too.")
    if max_error is not None:
        from pyg_graphadapter.classifier.abstaining import check_max_error

        with as_usage_error():
            check_max_error(max_error)
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.prediction_file import check_prediction_file, write_predictions
    from pyg_graphadapter.classifier.prediction_mixin import ACCEPT
    from pyg_graphadapter.feature_file import is_feature_file, read_images
    from pyg_graphadapter.features import Features, counted

    if out is not None:
        check_prediction_file(out)
        if out.exists() and not overwrite:
            raise ValueError(f"There is a file {out} already: choose another name, or --overwrite.")
        check_output_file(out)
    classifier = FewShotClassifier.load(folder)
    rejection = classifier.rejection(reject, ACCEPT if accept is None else accept)
    threshold = None if max_error is None else classifier.threshold(max_error)
    labelled: Features | None = None
    x: Any = data
    if is_feature_file(data[0]):
        if len(data) > 1:
            raise ValueError(f"Give one feature file, or images (got {len(data)} paths).")
        x, y, class_names = read_images(data[0], split)
        if y is not None:
            labelled = Features(x, classifier.own_labels(y, class_names))
    else:
        _check_exist(data)
        silence_libraries()
        classifier.load_encoder(device, offline=offline)
    with as_fault_of(classifier.method):
        classified = classifier.classify(
            x, strict=strict, follow_links=follow_links, score_unknown=rejection is not None
        )
    shown = max(top, 3) if out is not None else top
    rows = classified.predictions(
        classifier.class_names, shown, on_error, rejection=rejection, threshold=threshold
    )
    if out is not None:
        write_predictions(rows, out)
    emit([_entry(row, top) for row in rows], _lines(rows, top) if out is None else ())
    for reason in classified.skipped.values():
        alert(f"Skipped: {reason}")
    rejected = sum(row.rejected_as is not None for row in rows)
    if rejected:
        images = counted(len(classified.index), "image")
        alert(f"{rejected} of {images} rejected as {visible(reject)}.")
    count, total = len(classified.index), len(classified.files)
    if classifier.adapter.is_transductive and count > 1:
        echo(
            f"{classifier.method} is transductive: {count} images were classified together.",
            err=True,
        )
    num_unanswered = sum(not row.is_answered for row in rows)
    unanswered = f", {num_unanswered} of them without an answer" if threshold is not None else ""
    unanswered += f" and {rejected} rejected" if unanswered and rejected else ""
    if out is not None:
        echo(f"Wrote {out}: {count} of {total} images classified{unanswered}.")
    elif unanswered:
        echo(f"{count} of {total} images classified{unanswered}.", err=True)
    if labelled is not None and len(labelled):
        evaluation = classifier.evaluate(labelled)
        echo(
            f"Accuracy {evaluation.accuracy:.2f} % of {len(labelled)} labelled images, "
            f"{evaluation.further()}.",
            err=True,
        )
        if threshold is not None:
            _show_answered(rows, labelled.y.tolist())
    if count < total and (on_error != "skip" or not count):
        raise typer.Exit(1)


def _show_answered(rows: "Sequence[Prediction]", labels: Sequence[int]) -> None:
    """Prints how many answers are right, of labelled images."""
    answered = [row for row in rows if row.label is not None]
    num_wrong = sum(row.label != labels[row.index] for row in answered)
    share = f" ({100 * num_wrong / len(answered):.2f} %)" if answered else ""
    echo(f"Answered {len(answered)} of {len(labels)}, {num_wrong} of them wrong{share}.", err=True)


def _check_exist(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"There is no image or folder {path}: check the path.{path_suggestion(path)}"
            )


def _entry(row: "Prediction", top: int) -> dict[str, Any]:
    place = {"index": row.index} if row.file is None else {"image": row.file}
    first = {"label": row.label, "class_name": row.class_name, "probability": row.probability}
    score = {} if row.unknown_score is None else {"unknown_score": row.unknown_score}
    more = {"top": [choice._asdict() for choice in row.top[:top]]} if top > 1 else {}
    return {
        **place,
        **first,
        **score,
        **more,
        **({} if row.reason is None else {"reason": row.reason}),
    }


def _lines(rows: "Sequence[Prediction]", top: int) -> Iterator[str]:
    for row in rows:
        cells = [
            f"{choice.label}\t{visible(choice.class_name)}\t{choice.probability:.4f}"
            for choice in row.top[:top]
        ] or [f"not classified: {visible(row.reason)}"]
        if row.rejected_as is not None:
            cells = [f"-\t{visible(row.rejected_as)}\t-", *(cells if top > 1 else [])]
        if not row.is_answered:
            cells = [str(row.reason)]
        yield "\t".join([visible(row.index if row.file is None else row.file), *cells])
