"""Commands about the feature cache: ``cache info``, ``cache verify``, ``cache gc``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from pyg_graphadapter.cli.arguments import one_sentence
from pyg_graphadapter.encoding.cache_folder import DAY, cached_features, collect_garbage, verify
from pyg_graphadapter.encoding.config import default_cache_folder

app = typer.Typer(no_args_is_help=True, help="Look after the feature cache.")
Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="Folder of the feature cache.",
        show_default="$PYG_GRAPHADAPTER_CACHE, else the user's cache folder",
    ),
]


@app.callback()
def cache() -> None:
    """Look after the feature cache."""


@app.command()
@one_sentence
def info(cache_dir: Folder = None) -> None:
    """Say what is in the cache: of which encoder, how many images, how much space, when last used.

    Example: graphadapter cache info
    """
    folder = cache_dir or default_cache_folder()
    found = cached_features(folder)
    typer.echo(f"{'images':>10} {'MB':>8} {'days unused':>11}  features of")
    for each in found:
        about = each.depends_on
        views = (
            f"{about.get('views', 1)} views, seed {about['seed']}" if "seed" in about else "1 view"
        )
        unused = max(0.0, time.time() - each.used) / DAY
        typer.echo(
            f"{each.images:>10,} {each.num_bytes / 1e6:>8,.1f} {unused:>11.1f}  "
            f"{about.get('model')}, {about.get('dtype')}, {views} ({each.folder.name[:8]})"
        )
    total = sum(each.num_bytes for each in found)
    typer.echo(f"{folder}: {len(found)} kinds of features, {total / 1e6:,.1f} MB.")


@app.command("verify")
@one_sentence
def verify_all(cache_dir: Folder = None) -> None:
    """Read everything and compare checksums; what is damaged is moved aside, and encoded again when
    it is needed. Ends with 1 if anything was damaged or missing.

    Example: graphadapter cache verify
    """
    found = verify(cache_dir or default_cache_folder())
    for path in found.damaged:
        typer.echo(f"Damaged: {path}", err=True)
    for path in found.missing:
        typer.echo(f"Missing: {path}", err=True)
    typer.echo(
        f"{found.shards} shards are whole, {len(found.damaged)} are damaged, "
        f"{len(found.missing)} are missing."
    )
    if found.damaged or found.missing:
        raise typer.Exit(1)


@app.command("gc")
@one_sentence
def collect(
    cache_dir: Folder = None,
    unused_days: Annotated[
        float | None, typer.Option(min=0, help="Remove features that were not used for so long.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Remove features of this model.")] = None,
) -> None:
    """Remove what killed writers left and what was damaged and, if asked for, features.

    Example: graphadapter cache gc --unused-days 30
    """
    freed = collect_garbage(cache_dir or default_cache_folder(), unused_days, model)
    typer.echo(f"Freed {freed / 1e6:,.1f} MB.")
