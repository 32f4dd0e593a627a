"""Commands about the feature cache: ``cache list`` and ``cache gc``."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyg_graphadapter.cli import completion
from pyg_graphadapter.cli.arguments import new_app, one_sentence
from pyg_graphadapter.cli.output import alert, echo, emit
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import default_cache_folder

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.cache_folder import CachedFeatures

app = new_app()
Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="Folder of the feature cache.",
        show_default="$GRAPHADAPTER_CACHE_DIR, else the user's cache folder",
    ),
]


@app.callback()
def cache() -> None:
    """List and clean the feature cache."""


@app.command("list")
@one_sentence
def list_features(
    cache_dir: Folder = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read everything and compare checksums. Damaged shards are moved aside, and their "
            "images are encoded again when needed. Ends with 1 if anything is damaged or missing.",
        ),
    ] = False,
) -> None:
    """List the cached features: their encoder, number of images, size and last use.

    --json prints "folder", and "features" with "folder", "depends_on", "images", "bytes" and
    "days_unused"; with --verify, "whole", "damaged" and "missing".

    Example: graphadapter cache list
    """
    folder = cache_dir or default_cache_folder()
    if verify:
        _verify(folder)
    else:
        _list(folder)


def _tell_left_alone(foreign: Mapping[Path, str]) -> None:
    for path, reason in foreign.items():
        alert(f"Left alone: {path} ({reason.rstrip('.')})")


def _list(folder: Path) -> None:
    from pyg_graphadapter.encoding.cache_folder import cached_features, left_alone

    _tell_left_alone(left_alone(folder))
    entries = cached_features(folder)
    total = sum(entry.num_bytes for entry in entries)
    lines = [f"{'images':>10} {'MB':>8} {'days unused':>11}  features of"]
    lines += [visible(_line(entry)) for entry in entries]
    lines.append(visible(f"{folder}: {len(entries)} kinds of features, {total / 1e6:,.1f} MB."))
    emit({"folder": str(folder), "features": [_entry(entry) for entry in entries]}, lines)


def _entry(entry: "CachedFeatures") -> dict[str, Any]:
    return {
        "folder": str(entry.folder),
        "depends_on": entry.depends_on,
        "images": entry.images,
        "bytes": entry.num_bytes,
        "days_unused": _days_unused(entry),
    }


def _days_unused(entry: "CachedFeatures") -> float:
    from pyg_graphadapter.encoding.cache_folder import DAY

    return max(0.0, time.time() - entry.used) / DAY


def _line(entry: "CachedFeatures") -> str:
    about = entry.depends_on
    views = f"{about.get('views', 1)} views, seed {about['seed']}" if "seed" in about else "1 view"
    if about.get("kind") == "texts":
        views = "sentences"
    return (
        f"{entry.images:>10,} {entry.num_bytes / 1e6:>8,.1f} {_days_unused(entry):>11.1f}  "
        f"{about.get('model')}, {about.get('dtype')}, {views} ({entry.folder.name[:8]})"
    )


def _verify(folder: Path) -> None:
    from pyg_graphadapter.encoding.cache_folder import left_alone, verify

    _tell_left_alone(left_alone(folder))
    verified = verify(folder)
    for path in verified.damaged:
        alert(f"Damaged: {path}")
    for path in verified.missing:
        alert(f"Missing: {path}")
    line = (
        f"{verified.shards} shards are whole, {len(verified.damaged)} are damaged, "
        f"{len(verified.missing)} are missing."
    )
    damaged, missing = (list(map(str, paths)) for paths in (verified.damaged, verified.missing))
    emit({"whole": verified.shards, "damaged": damaged, "missing": missing}, [line])
    if verified.damaged or verified.missing:
        raise typer.Exit(1)


@app.command("gc")
@one_sentence
def collect(
    cache_dir: Folder = None,
    unused_days: Annotated[
        float | None,
        typer.Option(min=0, help="Remove features that were not used for this many days."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Remove features of this model.", autocompletion=completion.models),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")
    ] = False,
) -> None:
    """Remove damaged files, the remains of killed processes, and the features that options select.

    Only what the feature cache has written is removed: anything else is named and left alone.

    --json prints "removed" or "would_remove", and "bytes".

    Example: graphadapter cache gc --unused-days 30
    """
    from pyg_graphadapter.encoding.cache_folder import collect_garbage

    folder = cache_dir or default_cache_folder()
    removed = collect_garbage(folder, unused_days, model, dry_run=dry_run)
    _tell_left_alone(removed.foreign)
    entry = {
        "removed": [] if dry_run else list(map(str, removed.paths)),
        "would_remove": list(map(str, removed.paths)) if dry_run else [],
        "bytes": removed.num_bytes,
    }
    size = f"{removed.num_bytes / 1e6:,.1f} MB"
    if not dry_run:
        echo(f"Freed {size}.")
        emit(entry)
        return
    lines = [visible(f"Would remove: {path}") for path in removed.paths]
    emit(entry, [*lines, f"Would free {size}; nothing was removed."])
