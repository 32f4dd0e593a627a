"""Settings on the command line: as options, as ``--set NAME=VALUE``, and in TOML files."""

import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args

import typer

from pyg_graphadapter.adapters import adapter_class, adapter_names
from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import as_usage_error
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import FileKind, read, write_output
from pyg_graphadapter.storage.read import parse_toml
from pyg_graphadapter.suggestions import suggestion

T = TypeVar("T")
OPTIONS = "options"
NEVER_SAVED = (
    "data", "out", "overwrite", "config", "save", "set_", "import_", "json_", "quiet", "verbose",
)  # fmt: skip
NOT_OFFERED = ("seed", "templates", "descriptions")  # commands have options of their own for them
CONFIG_TABLES = "pyg_graphadapter.config_tables"  # of the context, for the tables of --config


# Options of a dataclass of settings ###################################################


def with_options(
    *names: str, **panels: type
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one option per field of the dataclasses, under the panels that name them. The
    help shows those of the given names; the command accepts all.

    The command has a parameter ``options``, which receives the values that were given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own_parameters = inspect.signature(command).parameters
        offered = {
            field.name: _option(field, panel.replace("_", " "), is_shown=field.name in names)
            for panel, config in panels.items()
            for field in fields(config)
            if field.name not in (*own_parameters, *NOT_OFFERED)
        }

        def run(**values: Any) -> None:
            options = {name: values.pop(name) for name in offered}
            command(
                **values,
                options={name: value for name, value in options.items() if value is not None},
            )

        parameters = [p for name, p in own_parameters.items() if name != OPTIONS]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*parameters, *offered.values()]
        )
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _option(field: Field[Any], panel: str, *, is_shown: bool) -> inspect.Parameter:
    kind = value_type(field)
    choices = field.metadata["choices"]
    name = field.name.replace("_", "-")
    text = field.metadata["help"] + (f": {', '.join(choices)}." if choices else ".")
    if field.default is not None and field.default is not False:
        text += f"  [default: {name if field.default is True else field.default}]"
    option = typer.Option(
        f"--{name}/--no-{name}" if kind is bool else f"--{name}",
        help=f"{text[0].upper()}{text[1:]}",
        rich_help_panel=panel,
        hidden=not is_shown,
        autocompletion=_completion(field),
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _completion(field: Field[Any]) -> Callable[[str], list[str]] | None:
    if field.name == "device":
        return completion.devices
    choices = field.metadata["choices"]
    return completion.one_of(choices) if choices else None


def value_type(field: Field[Any]) -> Any:
    """The type of a field's values other than :obj:`None`."""
    kind: Any = field.type
    if isinstance(kind, str):  # from __future__ import annotations
        kind = {"float": float, "int": int, "bool": bool}.get(kind.split("|")[0].strip(), str)
    if isinstance(kind, UnionType):  # int | None
        kinds = [part for part in get_args(kind) if part is not type(None)]
        kind = str if str in kinds else kinds[0]
    return kind


def pop_config(config: type[T], options: dict[str, Any], **more: Any) -> T:
    """Builds a dataclass of settings from the options of its fields, which are removed."""
    values = {f.name: options.pop(f.name) for f in fields(config) if f.name in options}  # type: ignore[arg-type]
    with as_usage_error():
        return config(**more, **values)


# Settings of methods ##################################################################

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Setting of a method, as alpha=0.7 or tip_adapter.alpha=3 (graphadapter methods NAME "
        "lists them). May be repeated; the last one counts.",
        autocompletion=completion.settings,
    ),
]


def method_settings(
    ctx: typer.Context, assignments: Sequence[str] | None, methods: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The settings of each method, from the tables of ``--config`` and from ``--set``, which wins.

    Args:
        ctx (typer.Context): The context of the command.
        assignments (sequence of str, optional): ``NAME=VALUE`` or ``METHOD.NAME=VALUE``.
        methods (sequence of str): The methods of the command.
    """
    settings: dict[str, dict[str, Any]] = {}
    for method, table in ctx.meta.get(CONFIG_TABLES, {}).items():
        if method not in adapter_names():
            raise typer.BadParameter(str(unknown("table", method, adapter_names())))
        settings[method] = {name: _checked(method, name, value) for name, value in table.items()}
        _check_is_run(method, methods, "--config")
    for assignment in assignments or ():
        name, sign, text = assignment.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(
                f"--set takes NAME=VALUE, as in alpha=0.7 (got {assignment!r})."
            )
        method, dot, name = name.strip().rpartition(".")
        if not dot:
            method = _only_method_with(name, methods)
        else:
            _check_is_run(method, methods, "--set")
        settings.setdefault(method, {})[name] = _parsed(method, name, text.strip())
    return settings


def _check_is_run(method: str, methods: Sequence[str], option: str) -> None:
    """Refuses settings of a method that the command does not run."""
    if method not in adapter_names():
        raise typer.BadParameter(str(unknown(f"method in {option}", method, adapter_names())))
    if method not in methods:
        raise typer.BadParameter(
            f"{option} has settings of {method}, which is not run (methods: {', '.join(methods)}): "
            f"leave them out, or add the method."
        )


def _only_method_with(name: str, methods: Sequence[str]) -> str:
    if len(methods) == 1:
        return methods[0]
    owners = [method for method in methods if name in _fields_of(method)]
    if len(owners) != 1:
        problem = "several methods have" if owners else "no method has"
        raise typer.BadParameter(
            f"--set {name}=…: {problem} a setting {name!r} (methods: {', '.join(methods)}): write "
            f"METHOD.{name}=VALUE."
        )
    return owners[0]


def _fields_of(method: str) -> dict[str, Field[Any]]:
    return {field.name: field for field in fields(adapter_class(method).Config)}


def _field_of(method: str, name: str) -> Field[Any]:
    method_fields = _fields_of(method)
    if name not in method_fields:
        raise typer.BadParameter(
            f"The method {method} has no setting {name!r}. "
            + (f"Choose from {', '.join(method_fields)}." if method_fields else "It has none.")
            + suggestion(name, method_fields)
        )
    return method_fields[name]


def _parsed(method: str, name: str, text: str) -> Any:
    """The value of a setting, from text."""
    field = _field_of(method, name)
    kind = value_type(field)
    if text.lower() == "none" and field.default is None:
        return None
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(
            f"The setting {method}.{name} takes {_kind_name(kind)} (got {text!r})."
        ) from error


def _checked(method: str, name: str, value: Any) -> Any:
    """The value of a setting, from a TOML file."""
    kind = value_type(_field_of(method, name))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise typer.BadParameter(
            f"The setting {method}.{name} takes {_kind_name(kind)} (got {value!r})."
        )
    return value


def _kind_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, str(kind))


# Files ################################################################################


CONFIG_FILE: FileKind[dict[str, Any]] = FileKind(
    "TOML file of settings",
    dict[str, Any],
    "Write one with --save-config",
    parse=parse_toml,
    max_bytes=2**20,
)


def _read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Makes the options of a TOML file the defaults of the command line."""
    if path is None:
        return None
    try:
        content = read(path, CONFIG_FILE)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    parameters = {p.name: p for p in ctx.command.params if p.name not in NEVER_SAVED}
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if key in tables:
            continue
        if name not in parameters:
            raise typer.BadParameter(f"{path}: {unknown('option', key, sorted(parameters))}")
        texts = [str(entry) for entry in (value if isinstance(value, list) else [value])]
        is_repeated = getattr(parameters[name], "multiple", False)
        defaults[name] = texts if is_repeated else ",".join(texts)  # as on the command line
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    ctx.meta[CONFIG_TABLES] = tables
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="File of options; the command line wins.",
        callback=_read_config,
        is_eager=True,
    ),
]
SaveConfig = Annotated[
    Path | None,
    typer.Option(
        "--save-config",
        metavar="FILE.toml",
        help="Write the options to a file for --config.",
    ),
]


def check_config_path(path: Path | None, out: Path) -> None:
    """Checks, before the work, that ``--save-config`` can be written and is not in the way.

    Raises:
        OutputError: If it cannot be written.
        ValueError: If it would lie in the output folder, which holds nothing else.
    """
    if path is None:
        return
    if path.resolve().is_relative_to(out.resolve()):
        raise ValueError(
            f"--save-config {path} lies in the output folder {out}, which holds nothing else: "
            f"choose another place for it."
        )
    check_output_file(path)


def save_config(
    ctx: typer.Context, path: Path | None, settings: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes the options that were given, and the settings of methods, as TOML."""
    if path is None:
        return
    options = {
        p.name: ctx.params[p.name]
        for p in ctx.command.params
        if p.name in ctx.params and p.name not in NEVER_SAVED and is_given(ctx, p.name)
    }
    write_output(path, toml_of(options, settings).encode())


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option was given: on the command line, by a variable, or in a file of settings."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")


def toml_of(options: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Options, and one table per method, as TOML; :obj:`None` is left out."""
    lines = [f"{name} = {_toml(value)}" for name, value in options.items() if value is not None]
    for table, values in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    if not str(value).isprintable() and any("\ud800" <= char <= "\udfff" for char in str(value)):
        raise ValueError(
            f"{value!r} cannot be written to a TOML file, which is text in UTF-8: leave "
            f"--save-config out, or rename it."
        )
    # JSON's escapes are those of TOML, which also wants one for DEL:
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
