"""Commands that train: ``compare`` and ``fit``."""

from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_graphadapter.adapters import ADAPTERS, ZeroShot, adapter_class
from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
from pyg_graphadapter.classifier.file import check_output
from pyg_graphadapter.cli.arguments import (
    METHODS,
    Data,
    DataOrBenchmarks,
    LogitScale,
    Model,
    Select,
    Templates,
    as_usage_error,
    benchmark_names,
    method_names,
    numbers,
    one_sentence,
    show_skipped,
    take,
    take_encoding,
)
from pyg_graphadapter.cli.settings import with_settings
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import (
    Source,
    evaluation_tasks,
    load_encoder,
    open_benchmark,
    open_source,
)
from pyg_graphadapter.experiment.grid import PROTOCOLS, grid_runs, run_all
from pyg_graphadapter.experiment.presets import PRESETS
from pyg_graphadapter.experiment.run import Run
from pyg_graphadapter.report.results import summarize
from pyg_graphadapter.report.tables import base_to_new_tables, markdown_table, shifted_tables
from pyg_graphadapter.task import NewClasses, ShiftedTest
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.evaluation import evaluate
from pyg_graphadapter.training.selection import select_defaults

METHOD_PANELS = {
    method.__name__: method.Config
    for method in map(adapter_class, ADAPTERS)
    if fields(method.Config)
}


@one_sentence
@with_settings(
    "seed", "templates", Training=TrainConfig, **METHOD_PANELS, Images=EncodingConfig,
)  # fmt: skip
def compare(
    data: DataOrBenchmarks,
    out: Annotated[Path, typer.Option(help="Folder for the result files, one a run.")],
    model: Model = None,
    methods: Annotated[
        str, typer.Option(help=f"Methods, with commas between them: {METHODS}; or all.")
    ] = "graph_adapter,zero_shot",
    shots: Annotated[str, typer.Option(help="Images a class.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Seeds of draw and training.")] = "1,2,3",
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the benchmarks' folders (graphadapter data check)."),
    ] = None,
    shifted: Annotated[
        str,
        typer.Option(
            help="Further test sets, whose classes are among these by name: benchmarks below "
            "--root (imagenetv2, …) or what DATA may be, with commas between them."
        ),
    ] = "",
    base_to_new: Annotated[
        bool, typer.Option("--base-to-new", help="Learn the first half of the classes, test both.")
    ] = False,
    protocol: Annotated[
        str, typer.Option(help=f"{', '.join(PROTOCOLS)}: where settings are selected.")
    ] = "honest",
    preset: Annotated[
        str | None, typer.Option(help=f"Settings of the papers: {', '.join(PRESETS)}.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs side by side; one a core if not given.")
    ] = None,
    logit_scale: LogitScale = None,
    select: Select = True,
    template: Templates = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Compare methods over shots and seeds, on the test split of a feature file or of images.

    Prints a table (mean ± standard deviation over seeds, mean training time, trained parameters)
    and writes one JSON file a run. Runs whose file is there already are not done again.

    Example: graphadapter compare features.npz --shots 1,4 --seeds 1,2,3 --out results
    """
    settings = settings or {}
    encoding, training = take_encoding(settings, template), take(TrainConfig, settings)
    names, counts, drawn = (
        method_names(methods),
        numbers(shots, "--shots"),
        numbers(seeds, "--seeds"),
    )

    def runs_of(dataset: str) -> list[Run]:
        return grid_runs(names, counts, drawn, training, settings, selects=select, protocol=protocol,
                    preset=preset, dataset=dataset)  # fmt: skip

    with as_usage_error():
        runs_of("")
        wanted = benchmark_names(data) if root else [data]
    encoder = load_encoder(model, encoding, training.device) if root else None

    def source_of(name: str) -> Source:
        if root is not None and encoder is not None and not Path(name).exists():
            return open_benchmark(name, root, encoder, encoding, own_templates=not template,
                                  logit_scale=logit_scale)  # fmt: skip
        return open_source(name, model, encoding, device=training.device, logit_scale=logit_scale)

    sources = [source_of(name) for name in wanted]
    others = [source_of(name) for name in shifted.split(",") if name]
    results = []
    for source in sources:
        name = source.name
        new = None
        if base_to_new:
            source, rest = source.base_and_new()
            new = NewClasses(rest.class_names, rest.text(), rest.test_or_all())
        tests = tuple(
            ShiftedTest.by_name(each.name, each.test_or_all(), each.class_names, source.class_names)
            for each in others
        )
        tasks = evaluation_tasks(source, product(counts, drawn))
        show_skipped(source)
        done = run_all(
            runs_of(name),
            {draw: replace(task, shifted=tests, new=new) for draw, task in tasks.items()},
            source.origin(),
            out / name if len(sources) > 1 else out,
            workers=jobs,
        )
        typer.echo((f"{name}\n\n" if len(sources) > 1 else "") + markdown_table(summarize(done)))
        results += done
    for table in [*shifted_tables(results), *base_to_new_tables(results)]:
        typer.echo(f"\n{table.title}\n\n{table.markdown()}")
    failed = [result for result in results if "error" in result]
    for result in failed:
        each = f"{result['method']}, {result['shots']} shots, seed {result['seed']}"
        typer.echo(f"Failed: {result['dataset']}, {each}: {result['error']}", err=True)
    if failed:
        raise typer.Exit(1)


@one_sentence
@with_settings(
    "seed", "templates", Training=TrainConfig, **METHOD_PANELS, Images=EncodingConfig,
)  # fmt: skip
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    model: Model = None,
    shots: Annotated[int, typer.Option(help="Images a class.")] = 16,
    method: Annotated[str, typer.Option(help=f"Method: {METHODS}.")] = "graph_adapter",
    seed: Annotated[int, typer.Option(help="Seed of draw and training.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier in the folder.")
    ] = False,
    logit_scale: LogitScale = None,
    select: Select = True,
    template: Templates = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Fit a classifier to a few images a class, and save it.

    Example: graphadapter fit photos --model openai/clip-vit-base-patch16 --out my-classifier
    """
    chosen = settings or {}
    encoding = take_encoding(chosen, template)
    config = take(TrainConfig, chosen, seed=seed)
    [name] = method_names(method)
    with as_usage_error():
        grid_runs(
            [name], [shots], [seed], config, {name: chosen}
        )  # refuses what the method cannot be given
    source = open_source(data, model, encoding, device=config.device, logit_scale=logit_scale)
    check_output(out, overwrite=overwrite)
    task = source.task(shots, seed)
    if select:
        selected = select_defaults(name, task, config, chosen)
        chosen |= selected
        if selected and shots > 1:
            typer.echo("Selected " + ", ".join(f"{k} = {v}" for k, v in selected.items()) + ".")
    classifier = FewShotClassifier.fit(task, shots, seed, name, config, select=False, **chosen)
    if isinstance(source, ImageSource):
        classifier.use_encoder(source.dataset_encoder.encoder, encoding)
    test = source.test()
    show_skipped(source)
    if test is not None and len(test):
        classifier.measured = {
            "test accuracy (%)": round(evaluate(classifier.adapter, test).accuracy, 2),
            "zero-shot accuracy (%)": round(evaluate(ZeroShot.from_task(task), test).accuracy, 2),
            "test images": len(test),
        }
    classifier.save(out, overwrite=overwrite)
    typer.echo(f"Saved {name} for {len(task.class_names)} classes to {out}.")
    if classifier.measured:
        accuracy, zero_shot, count = classifier.measured.values()
        typer.echo(f"Test accuracy {accuracy:.2f} % (zero-shot {zero_shot:.2f} %), {count} images.")
