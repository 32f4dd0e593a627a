"""The command ``compare``."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import (
    ALL,
    DataOrBenchmarks,
    Descriptions,
    Import,
    LogitScale,
    Model,
    Select,
    Templates,
    as_usage_error,
    benchmark_names,
    method_names,
    new_app,
    numbers,
    one_sentence,
    show_skipped,
    silence_libraries,
)
from pyg_graphadapter.cli.command_text import command_text
from pyg_graphadapter.cli.entries import row_entry, table_entry
from pyg_graphadapter.cli.output import alert, echo, echo_lines, emit
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
from pyg_graphadapter.comparison.grid import Grid
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.display import markdown
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.outputs import check_output_folder, no_empty_folders
from pyg_graphadapter.training.config import TrainConfig

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.encoding.model import EncoderModel
    from pyg_graphadapter.encoding.sources import FileSource
    from pyg_graphadapter.report.tables import Table

app = new_app()


@app.command(epilog="Further options: graphadapter methods NAME, graphadapter encode --help.")
@one_sentence
@with_options(
    "epochs", "lr", "batch_size", "device", "views", "cache", "cache_dir", "strict", "offline",
    "class_names", Training=TrainConfig, Images=EncodingConfig, Reading=ReadOptions,
)  # fmt: skip
def compare(
    ctx: typer.Context,
    data: DataOrBenchmarks,
    out: Annotated[Path, typer.Option(help="Folder for the result files, one per run.")],
    model: Model = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods separated by commas (graphadapter methods lists them), or all.",
            autocompletion=completion.methods,
        ),
    ] = "graph_adapter,zero_shot",
    shots: Annotated[str, typer.Option(help="Images per class.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Seeds of draw and training.")] = "1,2,3",
    set_: Set = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the benchmarks' folders (graphadapter data look)."),
    ] = None,
    shifted: Annotated[
        str,
        typer.Option(
            help="Further test sets of some of the classes, separated by commas: benchmarks below "
            "--root, or any DATA."
        ),
    ] = "",
    base_to_new: Annotated[
        bool,
        typer.Option("--base-to-new", help="Learn half of the classes, test both halves."),
    ] = False,
    protocol: Annotated[
        str,
        typer.Option(
            help="Where settings are selected: honest, or paper (on the test split).",
            autocompletion=completion.one_of(("honest", "paper")),
        ),
    ] = "honest",
    preset: Annotated[
        str | None, typer.Option(help="Settings of the methods' papers: paper.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs side by side.", show_default="one per core"),
    ] = None,
    logit_scale: LogitScale = None,
    select: Select = True,
    template: Templates = None,
    descriptions: Descriptions = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Run all again, also what is in the folder.")
    ] = False,
    import_: Import = None,
    config: Config = None,
    save: SaveConfig = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Compare methods over shots and seeds, on test images.

    Prints a table (means ± standard deviations over seeds) and writes one JSON file per run.
    Finished runs of the same code are not repeated. With --descriptions, images are also measured
    without them.

    --json prints: out; rows (dataset, method, label, shots, seeds, accuracy, deviation,
    fit_seconds, parameters, skipped); further tables; failed runs.

    Example: graphadapter compare features.npz --shots 1,4 --out results
    """
    options, model = options or {}, model_for(ctx, data, model)
    encoding = pop_encoding(options, template, descriptions)
    reading = pop_reading(options)
    training = pop_config(TrainConfig, options)
    names = method_names(methods)
    grid = Grid(
        names,
        numbers(shots, "--shots"),
        numbers(seeds, "--seeds"),
        training,
        method_settings(ctx, set_, names),
        select,
        protocol,
        preset,
        are_named=methods != ALL and is_given(ctx, "methods"),
    )
    with as_usage_error():
        grid.runs("")  # checks the settings
    open_named = _Opener(
        root,
        model,
        encoding,
        training.device,
        logit_scale,
        own_templates=not template,
        reading=reading,
    )
    check_output_folder(out)
    check_config_path(save, out)
    from pyg_graphadapter.comparison.measure import measure  # loads torch

    sources = [open_named(name) for name in (benchmark_names(data) if root else [data])]
    # Further test sets have the texts of the classes that are learned:
    open_named.encoding = replace(encoding, descriptions=None)
    shifted_sources = [open_named(name) for name in shifted.split(",") if name]
    save_config(ctx, save, grid.settings)
    results = []
    for source in sources:
        folder = out / source.name if len(sources) > 1 else out
        with no_empty_folders(folder):
            measured = measure(
                source,
                shifted_sources,
                grid,
                folder,
                base_to_new=base_to_new,
                jobs=jobs,
                overwrite=overwrite,
                command=command_text(),
                announce=partial(echo, err=True),
                on_encoded=show_skipped,
            )
        _print_summary(source.name if len(sources) > 1 else "", measured)
        results += measured
    tables = _further_tables(results)
    for table in tables:
        echo_lines(f"\n{table.terminal()}")
    emit(_entry(out, results, tables))
    _exit_if_failed(results)


class _Opener:
    """Opens data sets, and benchmarks below a root, with one encoder."""

    def __init__(
        self,
        root: Path | None,
        model: str | None,
        encoding: EncodingConfig,
        device: str,
        logit_scale: float | None,
        *,
        own_templates: bool,
        reading: ReadOptions,
    ) -> None:
        self.root, self.model, self.encoding = root, model, encoding
        self.device, self.logit_scale, self.own_templates = device, logit_scale, own_templates
        self.reading = reading
        self._encoder: EncoderModel | None = None

    def __call__(self, name: str) -> "FileSource | ImageSource":
        if self.root is None or Path(name).exists():
            return open_data(
                name,
                self.model,
                self.encoding,
                self.reading,
                device=self.device,
                logit_scale=self.logit_scale,
            )
        from pyg_graphadapter.encoding.sources import load_encoder, open_benchmark

        self.reading.refuse(f"the benchmark {name}")
        if self._encoder is None:
            silence_libraries()
            self._encoder = load_encoder(self.model, self.encoding, self.device)
        return open_benchmark(
            name,
            self.root,
            self._encoder,
            self.encoding,
            own_templates=self.own_templates,
            logit_scale=self.logit_scale,
        )


def _print_summary(title: str, results: Sequence[dict[str, Any]]) -> None:
    from pyg_graphadapter.report.results import summarize
    from pyg_graphadapter.report.tables import markdown_table, marked, skipped_note

    rows = summarize(results)
    heading = f"{markdown(title)}\n\n" if title else ""
    echo_lines(heading + markdown_table(rows))
    for note in (marked(row.label for row in rows).strip(), skipped_note(rows)):
        if note:
            echo(note)


def _further_tables(results: Sequence[dict[str, Any]]) -> "list[Table]":
    from pyg_graphadapter.report.tables import base_to_new_tables, shifted_tables

    return [*shifted_tables(results), *base_to_new_tables(results)]


def _entry(
    out: Path, results: Sequence[dict[str, Any]], tables: "Sequence[Table]"
) -> dict[str, Any]:
    """The JSON of all results."""
    from pyg_graphadapter.report.results import summarize

    keys = ("dataset", "method", "shots", "seed", "error")
    return {
        "out": str(out),
        "rows": [row_entry(row) for row in summarize(results)],
        "tables": [table_entry(table) for table in tables],
        "failed": [{key: result[key] for key in keys} for result in results if "error" in result],
    }


def _exit_if_failed(results: Sequence[dict[str, Any]]) -> None:
    failed = [result for result in results if "error" in result]
    for result in failed:
        run = f"{result['method']}, {result['shots']} shots, seed {result['seed']}"
        alert(f"Failed: {result['dataset']}, {run}: {result['error']}")
    if failed:
        raise typer.Exit(1)
