"""Arguments that several commands have, and the conversion of their values."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.output import alert, echo, with_output
from pyg_graphadapter.cli.variables import (
    help_of_variables,
    path_of,
    read_flags,
    set_variables,
    used_variables,
    variable_of,
)
from pyg_graphadapter.display import visible
from pyg_graphadapter.optional import MissingPackageError, explained
from pyg_graphadapter.progress import is_shown
from pyg_graphadapter.settings import check_whole_number, unknown

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.sources import Source

ALL = "all"
debug_mode: ContextVar[bool] = ContextVar("debug", default=False)
# typer has a click of its own, or needs click:
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

IMAGES_HELP = (
    "folder of images, list of images (.csv, .json, .jsonl), WebDataset tars or Parquet files, "
    "data set on the Hugging Face hub, or builtin"
)
DATA_HELP = f"Feature file (.npz, .safetensors), {IMAGES_HELP}"
Images = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help=f"{IMAGES_HELP[0].upper()}{IMAGES_HELP[1:]}.",
        autocompletion=completion.data,
    ),
]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help=f"{DATA_HELP}.", autocompletion=completion.data)
]
DataOrBenchmarks = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=f"{DATA_HELP}. With --root also names of benchmarks, separated by commas, or all.",
        autocompletion=completion.data,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.",
        autocompletion=completion.devices,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Encoder of images: a folder, an id on the Hugging Face hub, or builtin.",
        autocompletion=completion.models,
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="PROMPT",
        help="Prompt with {} for the name; several are averaged.",
        show_default="a photo of a {}.",
    ),
]
Descriptions = Annotated[
    Path | None,
    typer.Option(
        "--descriptions",
        metavar="FILE.json",
        help="Sentences by class, beside the templates or instead (--descriptions-weight 1).",
    ),
]
LogitScale = Annotated[
    float | None,
    typer.Option(
        help="Factor of the cosine in the logits.",
        show_default="the file's, else 100",
    ),
]
Select = Annotated[
    bool,
    typer.Option(
        "--select/--no-select",
        help="Choose settings that are not given, by trying them on the training images alone.",
    ),
]


def _import_modules(names: list[str] | None) -> list[str] | None:
    from pyg_graphadapter.adapters.registry import import_methods

    for name in names or ():
        try:
            import_methods(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return names


Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Python module or file that registers methods of your own. May be repeated.",
        callback=_import_modules,
        is_eager=True,
    ),
]


# The options of how images are read that the help of commands shows:
READING = (
    "image_column", "label_column", "split_column", "split", "class_names", "layout", "crops",
    "follow_links",
)  # fmt: skip
FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow links that lead out of the folder of images, too."),
]


@contextmanager
def visible_usage() -> Iterator[None]:
    """Makes visible what a wrong use of a command repeats of the command line."""
    try:
        yield
    except UsageError as error:
        error.message = visible(error.message)  # type: ignore[attr-defined]
        ctx, param = getattr(error, "ctx", None), getattr(error, "param", None)
        if ctx is not None and param is not None and (variable := variable_of(ctx, param.name)):
            error.param_hint = variable  # type: ignore[attr-defined]
        raise


class VisibleCommand(TyperCommand):
    """A command whose usage errors are visible, and whose options can be set by variables."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Reads the arguments of the command."""
        command = info_name if parent is None else path_of(parent, info_name)
        set_variables(command, self.params)
        if extra.get("resilient_parsing"):  # what help does not show is completed, too
            for option in self.params:
                option.hidden = False  # type: ignore[attr-defined]
        with visible_usage():
            ctx = super().make_context(info_name, args, parent, **extra)
            read_flags(ctx)
        if ctx.params.get("quiet") and ctx.params.get("verbose"):  # the command line wins
            for name in ("quiet", "verbose"):
                ctx.params[name] = not variable_of(ctx, name)
        return ctx

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Ends the help with the variables."""
        super().format_epilog(ctx, formatter)
        command = ctx.info_name if ctx.parent is None else path_of(ctx.parent, ctx.info_name)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(help_of_variables(command))

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; where it fails, says which of its options variables have set."""
        used = [f"{name}={os.environ[name]}" for name in used_variables(ctx)]
        try:
            return super().invoke(ctx)
        except (UsageError, typer.Exit) as error:
            if used and getattr(error, "exit_code", 1) != 0:
                alert(f"Set by the environment: {', '.join(used)}.")
            raise


class VisibleGroup(TyperGroup):
    """A group of commands whose usage errors are visible."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Reads the arguments of the group."""
        with visible_usage():
            return super().make_context(*args, **kwargs)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        with visible_usage():
            return super().resolve_command(ctx, args)


class _App(typer.Typer):
    """An app whose commands are visible ones."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Makes a command of a function, with the options that every command has."""
        make = super().command(name, **{"cls": VisibleCommand, **settings})
        return lambda function: make(with_output(function))


def new_app() -> typer.Typer:
    """The app of a command or of a group of commands."""
    return _App(cls=VisibleGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def sentence_of(error: BaseException) -> str:
    """What an error says; of the operating system's, the file and the reason."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        reason = f"{error.strerror[:1].lower()}{error.strerror[1:]}"
        return f"{error.filename} cannot be read or written ({reason}): check the path."
    return str(error)


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake ends in one sentence and exit code 1, with a traceback only under ``--debug``."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with explained(), visible_usage():
                command(*args, **kwargs)
        except BrokenPipeError:
            raise  # the reader closed the pipe: not a mistake, typer ends quietly
        except (ValueError, OSError, MissingPackageError) as error:
            if debug_mode.get():
                raise
            alert(f"Error: {sentence_of(error)}")
            raise typer.Exit(1) from error

    return run


@contextmanager
def as_fault_of(method: str) -> Iterator[None]:
    """An error in the code of a method from outside the package ends in one sentence."""
    from pyg_graphadapter.adapters.registry import describe_error, is_built_in

    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        if is_built_in(method):
            raise
        raise ValueError(f"The method {method} failed: {describe_error(error)}.") from error


@contextmanager
def as_usage_error() -> Iterator[None]:
    """A value that a command does not accept ends in exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def numbers(text: str, option: str) -> list[int]:
    """Whole numbers separated by commas."""
    try:
        values = list(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter(
            f"{option} takes whole numbers separated by commas, as in 1,2,4 (got {text!r})."
        ) from error
    with as_usage_error():
        for value in values:
            check_whole_number(option, value)
    return values


def method_names(text: str) -> list[str]:
    """Names of methods separated by commas, or ``all``."""
    choices = adapter_names()
    names = choices if text == ALL else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in choices:
            with as_usage_error():
                adapter_class(name)  # says how a method becomes known
    return list(dict.fromkeys(names))


def benchmark_names(text: str) -> list[str]:
    """Names of benchmarks separated by commas, or ``all`` few-shot benchmarks."""
    from pyg_graphadapter.data import BENCHMARKS, FEW_SHOT_BENCHMARKS  # loads datasets

    return _known_names(
        ",".join(FEW_SHOT_BENCHMARKS) if text == ALL else text, "benchmark", BENCHMARKS
    )


def _known_names(text: str, kind: str, table: Iterable[str]) -> list[str]:
    choices = list(table)
    names = choices if text == ALL else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in choices:
            raise typer.BadParameter(str(unknown(kind, name, choices)))
    return list(dict.fromkeys(names))


def silence_libraries() -> None:
    """Keeps the reports and progress bars of transformers and datasets from the user, but for those
    of downloads, on a terminal."""
    import datasets
    import transformers
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import enable_progress_bars

    if not debug_mode.get():
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        datasets.disable_progress_bars()
        if is_shown() and not constants.HF_HUB_DISABLE_PROGRESS_BARS:
            enable_progress_bars()


def show_skipped(source: "Source") -> None:
    """Shows on the error stream how many images were used, and which were skipped."""
    used_in_words = getattr(source, "used_in_words", None)  # of images
    if used_in_words is None:
        return
    for name, reason in source.dataset_encoder.summary.skipped.items():  # type: ignore[attr-defined]
        alert(f"Skipped: {reason}" if name in reason else f"Skipped {name}: {reason}")
    echo(used_in_words(), err=True)
