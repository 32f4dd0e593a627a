"""The command ``fit``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.cli.arguments import (
    METHODS,
    READING,
    Data,
    Import,
    LogitScale,
    Model,
    Select,
    Templates,
    as_fault_of,
    as_usage_error,
    echo,
    method_names,
    new_app,
    one_sentence,
    show_skipped,
)
from pyg_graphadapter.cli.settings import (
    Config,
    SaveConfig,
    Set,
    check_config_path,
    method_settings,
    pop_config,
    save_config,
    with_options,
)
from pyg_graphadapter.cli.sources import open_data, pop_encoding, pop_reading
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.outputs import check_output_folder, no_empty_folders, writing
from pyg_graphadapter.training.config import TrainConfig

app = new_app()


@app.command(epilog="Further options: graphadapter methods NAME, graphadapter encode --help.")
@one_sentence
@with_options(
    "epochs", "lr", "batch_size", "device", "views", "cache", "cache_dir", "strict", "offline",
    *READING, Training=TrainConfig, Images=EncodingConfig, Reading=ReadOptions,
)  # fmt: skip
def fit(
    ctx: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    model: Model = None,
    shots: Annotated[int, typer.Option(help="Images per class.")] = 16,
    method: Annotated[str, typer.Option(help=f"Method: {METHODS}.")] = "graph_adapter",
    seed: Annotated[int, typer.Option(help="Seed of draw and training.")] = 1,
    set_: Set = None,
    select: Select = True,
    template: Templates = None,
    logit_scale: LogitScale = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier in the folder.")
    ] = False,
    import_: Import = None,
    config: Config = None,
    save: SaveConfig = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Fit a classifier to a few images per class, and save it.

    Example: graphadapter fit photos --model openai/clip-vit-base-patch16 --out my-classifier
    """
    options = options or {}
    encoding, reading = pop_encoding(options, template), pop_reading(options)
    training = pop_config(TrainConfig, options, seed=seed)
    [name] = method_names(method)
    settings = method_settings(ctx, set_, [name])

    from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
    from pyg_graphadapter.classifier.file import check_output
    from pyg_graphadapter.experiment.grid import grid_runs

    with as_usage_error():
        grid_runs([name], [shots], [seed], training, settings)  # checks the settings
    check_output_folder(out)
    check_config_path(save, out)
    with no_empty_folders(out):
        check_output(out, overwrite=overwrite)
        source = open_data(
            data,
            model,
            encoding,
            reading,
            device=training.device,
            logit_scale=logit_scale,
        )
        save_config(ctx, save, settings)
        with as_fault_of(name):
            classifier = FewShotClassifier.fit(
                source,
                shots,
                seed,
                name,
                training,
                select=select,
                measure=True,
                **settings.get(name, {}),
            )
        show_skipped(source)
        with writing(out):
            classifier.save(out, overwrite=overwrite)
    if classifier.selected and shots > 1:
        chosen = ", ".join(f"{name} = {value}" for name, value in classifier.selected.items())
        echo(f"Selected {chosen}.")
    echo(f"Saved {name} for {len(classifier.class_names)} classes to {out}.")
    if classifier.measured:
        accuracy, zero_shot, count = classifier.measured.values()
        echo(f"Test accuracy {accuracy:.2f} % (zero-shot {zero_shot:.2f} %), {count} images.")
