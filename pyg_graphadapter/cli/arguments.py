"""Arguments that several commands have, and what their values become."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Annotated, Any, TypeVar

import typer

from pyg_graphadapter.adapters import ADAPTERS, adapter_class
from pyg_graphadapter.data import FEW_SHOT_BENCHMARKS, benchmark
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import Source

T = TypeVar("T")
ALL = "all"
METHODS = ", ".join(ADAPTERS)
debug_mode: ContextVar[bool] = ContextVar("debug", default=False)

DATA_HELP = (
    "Feature file (.npz, .safetensors), folder of images, list of images (.csv, .json, .jsonl), "
    "WebDataset tars or Parquet files, data set on the Hugging Face hub, or builtin"
)
Data = Annotated[str, typer.Argument(metavar="DATA", help=f"{DATA_HELP}.")]
DataOrBenchmarks = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=f"{DATA_HELP}; with --root also names of benchmarks, with commas between them, or "
        f"all (the {len(FEW_SHOT_BENCHMARKS)}).",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, mps.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Encoder of images: a folder, an id on the Hugging Face hub, or builtin.",
        rich_help_panel="Images",
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="Prompt with {} for the class name; give several to average them.",
        show_default="a photo of a {}.",
        rich_help_panel="Images",
    ),
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
    typer.Option(
        "--select/--no-select",
        help="Choose settings inside the few shots, by cross-validation, unless they are given.",
    ),
]


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake ends in one sentence and exit code 1, a traceback only under ``--debug``."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise  # the reader closed: not a mistake, typer ends quietly
        except (ValueError, OSError) as error:
            if debug_mode.get():
                raise
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error

    return run


@contextmanager
def as_usage_error() -> Iterator[None]:
    """A value that a command cannot be given ends in exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def numbers(text: str, name: str) -> list[int]:
    """Whole numbers with commas between them."""
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter(
            f"{name} takes whole numbers with commas between them, as in 1,2,4 (got {text!r})."
        ) from error


def method_names(text: str) -> list[str]:
    """Names of methods with commas between them."""
    methods = _parts(text, ADAPTERS)
    with as_usage_error():
        for method in methods:
            adapter_class(method)
    return methods


def benchmark_names(text: str) -> list[str]:
    """Names of benchmarks with commas between them, or ``all``."""
    names = _parts(text, FEW_SHOT_BENCHMARKS)
    with as_usage_error():
        for name in names:
            benchmark(name)
    return names


def _parts(text: str, every: Iterable[str]) -> list[str]:
    parts = every if text == ALL else (part.strip() for part in text.split(","))
    return list(dict.fromkeys(parts))


def take(config: type[T], settings: dict[str, Any], **more: Any) -> T:
    """The configuration that is among ``settings``, which is taken out of them."""
    given = {f.name: settings.pop(f.name) for f in fields(config) if f.name in settings}  # type: ignore[arg-type]
    with as_usage_error():
        return config(**more, **given)


def take_encoding(settings: dict[str, Any], templates: list[str] | None) -> EncodingConfig:
    """How to encode images, which is taken out of ``settings``."""
    return take(EncodingConfig, settings, **({"templates": tuple(templates)} if templates else {}))


def show_skipped(source: Source) -> None:
    """What became of the images, on the error stream."""
    if isinstance(source, ImageSource):
        for name, reason in source.dataset_encoder.summary.skipped.items():
            typer.echo(f"Skipped: {reason}" if name in reason else f"Skipped {name}: {reason}",
                       err=True)  # fmt: skip
        typer.echo(str(source.dataset_encoder.summary), err=True)
