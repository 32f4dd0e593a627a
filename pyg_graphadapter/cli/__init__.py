"""The command ``graphadapter``."""

import functools
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter import __version__
from pyg_graphadapter.adapters import ADAPTERS, GraphAdapterConfig, ZeroShot, adapter_class
from pyg_graphadapter.classifier import FewShotClassifier, check_output
from pyg_graphadapter.cli_settings import with_settings
from pyg_graphadapter.engine import TrainConfig
from pyg_graphadapter.evaluation import evaluate
from pyg_graphadapter.experiment import SELECTION_GRIDS, plan, run_all
from pyg_graphadapter.feature_file import FeatureFile, read_images
from pyg_graphadapter.report import markdown_table, summarize
from pyg_graphadapter.selection import select
from pyg_graphadapter.task import draw_task

METHODS = ", ".join(ADAPTERS)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug: ContextVar[bool] = ContextVar("debug", default=False)

Features = Annotated[
    Path, typer.Argument(metavar="FEATURES", help="Feature file, .npz or .safetensors.")
]
LogitScale = Annotated[
    float | None,
    typer.Option(
        help="Factor of the cosine, about 100 for CLIP.",
        show_default="the file's, else 100",
    ),
]
Select = Annotated[
    bool,
    typer.Option("--select", help="Choose alpha and beta by cross-validation in the few shots."),
]


def _one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake ends in one sentence and exit code 1, a traceback only under ``--debug``."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise  # the reader closed: not a mistake, typer ends quietly
        except (ValueError, OSError) as error:
            if _debug.get():
                raise
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error

    return run


@contextmanager
def _as_usage_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _numbers(text: str, name: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter(
            f"{name} takes whole numbers with commas between them, as in 1,2,4 (got {text!r})."
        ) from error


def _methods(text: str) -> list[str]:
    methods = list(dict.fromkeys(part.strip() for part in text.split(",")))
    with _as_usage_error():
        for method in methods:
            adapter_class(method)
    return methods


def _split(settings: dict[str, Any], **training: Any) -> tuple[TrainConfig, dict[str, Any]]:
    """The training settings among ``settings``, and those that are left for the method."""
    names = {each.name for each in fields(TrainConfig)}
    given = {name: value for name, value in settings.items() if name in names}
    with _as_usage_error():
        config = TrainConfig(**training, **given)
    return config, {name: value for name, value in settings.items() if name not in names}


def _load(path: Path, logit_scale: float | None) -> FeatureFile:
    data = FeatureFile.load(path)
    return data if logit_scale is None else replace(data, logit_scale=logit_scale)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"Warning: {message}", err=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphadapter {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Adapt a frozen CLIP-like model to your own classes with a few labelled images."""
    _debug.set(debug)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    warnings.showwarning = _show_warning


@app.command()
@_one_sentence
@with_settings("seed", Training=TrainConfig, GraphAdapter=GraphAdapterConfig)
def compare(
    features: Features,
    out: Annotated[Path, typer.Option(help="Folder for the result files, one a run.")],
    methods: Annotated[
        str, typer.Option(help=f"Methods, with commas between them: {METHODS}.")
    ] = "graph_adapter,zero_shot",
    shots: Annotated[str, typer.Option(help="Images a class.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Seeds of draw and training.")] = "1,2,3",
    logit_scale: LogitScale = None,
    select: Select = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Compare methods over shots and seeds, on the test split of a feature file.

    Prints a table (mean ± standard deviation over seeds, mean training time, trained parameters)
    and writes one JSON file a run. Runs whose file is there already are not done again.

    Example: graphadapter compare features.npz --shots 1,4 --seeds 1,2,3 --out results
    """
    training, chosen = _split(settings or {})
    names, counts, drawn = _methods(methods), _numbers(shots, "--shots"), _numbers(seeds, "--seeds")
    with _as_usage_error():
        runs = plan(names, counts, drawn, training, chosen, selects=select)
    data = _load(features, logit_scale)
    typer.echo(markdown_table(summarize(run_all(runs, data, features, out))))


@app.command()
@_one_sentence
@with_settings("seed", Training=TrainConfig, GraphAdapter=GraphAdapterConfig)
def fit(
    features: Features,
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    shots: Annotated[int, typer.Option(help="Images a class.")] = 16,
    method: Annotated[str, typer.Option(help=f"Method: {METHODS}.")] = "graph_adapter",
    seed: Annotated[int, typer.Option(help="Seed of draw and training.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier in the folder.")
    ] = False,
    logit_scale: LogitScale = None,
    select: Select = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Fit a classifier to a few images a class, and save it.

    Example: graphadapter fit features.npz --shots 4 --out my-classifier
    """
    config, chosen = _split(settings or {}, seed=seed)
    [name] = _methods(method)
    with _as_usage_error():
        plan([name], [shots], [seed], config, chosen)  # refuses what the method cannot be given
    data = _load(features, logit_scale)
    draw_task(data, shots, seed)
    check_output(out, overwrite=overwrite)
    if select and name in SELECTION_GRIDS:
        chosen |= _selected(name, data, shots, config, chosen)
    classifier = FewShotClassifier.fit(data, shots, seed, name, config, **chosen)
    classifier.save(out, overwrite=overwrite)
    typer.echo(f"Saved {name} for {len(data.class_names)} classes to {out}.")
    if data.test is not None:
        zero_shot = ZeroShot(data.text, data.logit_scale)
        typer.echo(
            f"Test accuracy {evaluate(classifier.adapter, data.test).accuracy:.2f} % "
            f"(zero-shot {evaluate(zero_shot, data.test).accuracy:.2f} %), "
            f"{len(data.test)} images."
        )


def _selected(
    name: str, data: FeatureFile, shots: int, config: TrainConfig, chosen: dict[str, Any]
) -> dict[str, Any]:
    found = select(
        adapter_class(name),
        draw_task(data, shots, config.seed),
        {key: grid for key, grid in SELECTION_GRIDS[name].items() if key not in chosen},
        config,
        **chosen,
    )
    typer.echo("Selected " + ", ".join(f"{k} = {v}" for k, v in found.settings.items()) + ".")
    return found.settings


@app.command()
@_one_sentence
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved classifier.")],
    features: Features,
    split: Annotated[
        str | None,
        typer.Option(help="Split to classify.", show_default="'features', else test, val, train"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes an image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Classify image features: a line an image, with label, class name and probability.

    Example: graphadapter predict my-classifier features.npz --json
    """
    classifier = FewShotClassifier.load(folder)
    x, y = read_images(features, split)
    best = classifier.predict_proba(x).topk(min(top, len(classifier.class_names)), dim=1)
    lines = [
        [
            {"label": label, "class_name": classifier.class_names[label], "probability": p}
            for label, p in zip(labels, probabilities, strict=True)
        ]
        for labels, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    if as_json:
        found = [
            {"index": i, **line[0], **({"top": line} if top > 1 else {})}
            for i, line in enumerate(lines)
        ]
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        for i, line in enumerate(lines):
            cells = (f"{c['label']}\t{c['class_name']}\t{c['probability']:.4f}" for c in line)
            typer.echo("\t".join([str(i), *cells]))
    if y is not None and len(y):
        accuracy = 100 * float((best.indices[:, 0] == y).float().mean())
        typer.echo(f"Accuracy {accuracy:.2f} % of {len(y)} labelled images.", err=True)


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()
