"""The command ``fit``."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import (
    ALL,
    Data,
    Descriptions,
    Import,
    LogitScale,
    Model,
    Select,
    Templates,
    as_fault_of,
    as_usage_error,
    method_names,
    new_app,
    one_sentence,
    show_skipped,
    silence_libraries,
)
from pyg_graphadapter.cli.output import echo, emit
from pyg_graphadapter.cli.settings import (
    Config,
    SaveConfig,
    Set,
    check_config_path,
    is_given,
    method_settings,
    pop_config,
    save_config,
    with_options,
)
from pyg_graphadapter.cli.sources import model_for, open_data, pop_encoding, pop_reading
from pyg_graphadapter.cli.variables import is_general, variable_of
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.outputs import check_output_folder, no_empty_folders, writing
from pyg_graphadapter.settings import check_whole_number
from pyg_graphadapter.training.config import TrainConfig

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

app = new_app()
NOT_WITH_FROM = {
    "model": "--model",
    "template": "--template",
    "descriptions_weight": "--descriptions-weight",
    "views": "--views",
    "view_seed": "--view-seed",
    "dtype": "--dtype",
    "logit_scale": "--logit-scale",
}


def _number_or_all(text: str) -> int | str:
    """The value of ``--shots``."""
    if text == ALL:
        return text
    try:
        number = int(text)
        check_whole_number("shots", number, low=0)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is neither a whole number from 0 on nor 'all'."
        ) from error
    return number


Shots = Annotated[
    Any,
    typer.Option(
        parser=_number_or_all,
        metavar="NUMBER",
        help="Images per class: a number, or all. With 0, from class names alone; DATA may then be "
        "a file of names (.txt, .json).",
    ),
]
AtMost = Annotated[
    int | None,
    typer.Option(
        min=1, help="Largest number of images per class; classes with fewer use all they have."
    ),
]
Measure = Annotated[
    bool,
    typer.Option(
        "--measure/--no-measure", help="Measure the accuracy on images that it is not fitted on."
    ),
]
Calibrate = Annotated[
    bool | None,
    typer.Option(
        "--calibrate/--no-calibrate",
        help="Fit the temperature of the probabilities on held-out shots.",
        show_default="calibrate",
    ),
]
KeepShots = Annotated[
    bool | None,
    typer.Option(
        "--keep-shots/--no-keep-shots",
        help="Save the features of the shots with the classifier, for --from.",
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="CLASSIFIER",
        help="Add the images and the new classes of DATA, or a file of names (.txt, .json), to a "
        "classifier that keeps its shots.",
    ),
]


@app.command(epilog="Further options: graphadapter methods NAME, graphadapter encode --help.")
@one_sentence
@with_options(
    "epochs", "lr", "batch_size", "device", "views", "cache", "cache_dir", "strict", "offline",
    "class_names", Training=TrainConfig, Images=EncodingConfig, Reading=ReadOptions,
)  # fmt: skip
def fit(
    ctx: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    model: Model = None,
    shots: Shots = ALL,
    at_most: AtMost = None,
    method: Annotated[
        str,
        typer.Option(
            help="Method (graphadapter methods lists them).", autocompletion=completion.methods
        ),
    ] = "graph_adapter",
    seed: Annotated[int, typer.Option(help="Seed of draw and training.")] = 1,
    set_: Set = None,
    select: Select = True,
    measure: Measure = True,
    calibrate: Calibrate = None,
    keep_shots: KeepShots = None,
    from_: From = None,
    template: Templates = None,
    descriptions: Descriptions = None,
    logit_scale: LogitScale = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier in the folder.")
    ] = False,
    import_: Import = None,
    config: Config = None,
    save: SaveConfig = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Fit a classifier to labelled images, measure it, and save it.

    --json prints: classifier (the folder), method, classes, added_classes, settings, selected,
    training, measured, is_transductive.

    Example: graphadapter fit photos --model openai/clip-vit-base-patch16 --out my-classifier
    """
    options, model = options or {}, model_for(ctx, data, model)
    training_given = {field.name: options[field.name] for field in fields(TrainConfig)
                      if field.name in options}  # fmt: skip
    encoding = pop_encoding(options, template, descriptions)
    reading = pop_reading(options)
    training = pop_config(TrainConfig, options, seed=seed)
    [name] = method_names(method)
    settings = method_settings(ctx, set_, [name])

    from pyg_graphadapter.classifier.added import encoding_of
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.file import check_output
    from pyg_graphadapter.classifier.refitting import method_without_shots
    from pyg_graphadapter.data.names_file import is_names_file, read_names
    from pyg_graphadapter.experiment.grid import grid_runs
    from pyg_graphadapter.feature_file import is_feature_file

    with as_usage_error():
        grid_runs([name], [1], [seed], training, settings)  # checks the settings
    check_output_folder(out)
    check_config_path(save, out)
    draw = {"shots": shots, "seed": seed, "at_most": at_most}
    with no_empty_folders(out):
        check_output(out, overwrite=overwrite)
        start = None if from_ is None else _opened(ctx, from_)
        is_names = (start is not None or shots == 0) and is_names_file(data)
        source = None
        if not is_names and is_names_file(data):
            raise ValueError(
                f"{data} holds class names and no images: fit a zero-shot classifier of them with "
                f"--shots 0, or give labelled images."
            )
        if is_names:
            reading.refuse(f"the class names {data}")
            silence_libraries()
        else:
            of_data = encoding if start is None else replace(encoding, descriptions=None)
            of_start = start is not None and not is_feature_file(data)
            source = open_data(
                data,
                start.encoder if start is not None and of_start else model,
                encoding_of(start, of_data) if start is not None and of_start else of_data,
                reading,
                device=training.device,
                logit_scale=logit_scale,
                min_classes=2 if start is None else 1,
            )
        save_config(ctx, save, settings)
        with as_fault_of(name):
            if start is not None:
                how = _how_to_refit(ctx, start, name, training_given, seed)
                how |= {"settings": settings.get(name), "keep_shots": keep_shots}
                how |= {"calibrate": calibrate}
                how |= {"descriptions": encoding.descriptions}
                more = read_names(data) if source is None else source
                how |= {"measure": measure} if source is None else {"measure": measure, **draw}
                classifier = start.add_classes(more, **how)
            elif source is None:
                of_method = settings.get(name, {})
                name = method_without_shots(name, of_method)
                if model is None:
                    raise ValueError("Class names need an encoder: name one (--model).")
                classifier = FewShotClassifier.from_names(
                    data, model=model, encoding=encoding, device=training.device,
                    method=name, **of_method,
                )  # fmt: skip
            else:
                classifier = FewShotClassifier.fit(
                    source,
                    shots,
                    seed,
                    name,
                    training,
                    at_most=at_most,
                    select=select,
                    measure=measure,
                    calibrate=calibrate is not False,
                    keep_shots=bool(keep_shots),
                    **settings.get(name, {}),
                )
        if source is not None:
            show_skipped(source)
        with writing(out):
            classifier.save(out, overwrite=overwrite)
    _show(classifier, start, out)
    emit(_entry(classifier, start, out))


def _show(classifier: "FewShotClassifier", start: "FewShotClassifier | None", out: Path) -> None:
    """Prints what was fitted, saved and measured."""
    from pyg_graphadapter.classifier.measurement import measured_in_words
    from pyg_graphadapter.features import counted
    from pyg_graphadapter.training.evidence import (
        WITHOUT_NAMES,
        evidence_in_words,
        evidence_of,
        without_texts_in_words,
    )

    training, names = classifier.training, classifier.class_names
    new = names[len(start.class_names) :] if start is not None else ()
    if new:
        echo(f"Added {counted(len(new), 'class')}: {', '.join(new)}.")
    for line in _selected_lines(classifier):
        echo(line)
    evidence = evidence_of(training)
    if evidence is None:
        words = "" if classifier.has_text else without_texts_in_words(classifier.adapter)
    elif evidence.says_little or classifier.method in WITHOUT_NAMES:  # fit has warned
        words = ""
    else:
        words = evidence_in_words(evidence, classifier.adapter, classifier.method)
    if words:
        echo(words)
    if "fewest_shots" in training:
        echo(f"Pictures per class: {training['fewest_shots']} to {training['shots']}.")
    echo(f"Saved {classifier.method} for {len(names)} classes to {out}.")
    if classifier.adapter.is_transductive:
        echo("It classifies the images that are given together (transductive).")
    if classifier.shots is not None:
        echo(f"It holds the features of {counted(len(classifier.shots), 'picture')}, for --from.")
    if classifier.measured:
        echo(measured_in_words(classifier.measured))


def _selected_lines(classifier: "FewShotClassifier") -> Iterator[str]:
    """The settings that were selected, with what they mean. What GraphAdapter selects, the evidence
    says."""
    from pyg_graphadapter.adapters import adapter_class

    if classifier.method == "graph_adapter":
        return
    method = adapter_class(classifier.method)
    is_measured = classifier.training["shots"] > 1  # with one shot, no value of a grid is
    meanings = {
        field.name: field.metadata.get("help", "")
        for config in (TrainConfig, method.Config)
        for field in fields(config)
    }
    for name, value in classifier.selected.items():
        if is_measured or name not in method.grid:
            meaning = meanings.get(name)
            yield f"Selected {name} = {value}{f': {meaning}' if meaning else ''}."


def _entry(
    classifier: "FewShotClassifier", start: "FewShotClassifier | None", out: Path
) -> dict[str, Any]:
    """The JSON of what was fitted, saved and measured."""
    names, training = classifier.class_names, classifier.training
    return {
        "classifier": str(out),
        "method": classifier.method,
        "classes": list(names),
        "added_classes": [] if start is None else list(names[len(start.class_names) :]),
        "settings": asdict(classifier.adapter.config),
        "selected": classifier.selected,
        "training": training,
        "measured": classifier.measured,
        "is_transductive": classifier.adapter.is_transductive,
    }


def _opened(ctx: typer.Context, folder: Path) -> "FewShotClassifier":
    """The classifier of ``--from``, without options that it decides itself."""
    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier

    for name, option in NOT_WITH_FROM.items():
        if is_given(ctx, name) and not is_general(variable_of(ctx, name)):
            raise typer.BadParameter(
                f"{option} is decided by the classifier of --from: leave it out."
            )
    return FewShotClassifier.load(folder)


def _how_to_refit(
    ctx: typer.Context,
    start: "FewShotClassifier",
    method: str,
    training: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Method and training of ``--from``: as before, but for the options that are given."""
    from pyg_graphadapter.classifier.refitting import config_of

    chosen = method if is_given(ctx, "method") else None
    if is_given(ctx, "seed"):
        training = {**training, "seed": seed}
    is_same = chosen in (None, start.method) and start.training.get("shots") != 0
    return {
        "method": chosen,
        "config": replace(config_of(start.training if is_same else {}), **training),
    }
