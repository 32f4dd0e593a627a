"""The command ``demo``."""

from pathlib import Path
from typing import Annotated

import typer

from pyg_graphadapter.cli.arguments import Device, new_app, one_sentence, silence_libraries
from pyg_graphadapter.cli.entries import row_entry
from pyg_graphadapter.cli.output import echo, echo_lines, emit
from pyg_graphadapter.outputs import no_empty_folders
from pyg_graphadapter.training.config import TrainConfig

app = new_app()


@app.command()
@one_sentence
def demo(
    out: Annotated[Path, typer.Option(help="Folder for result files and pictures.")] = Path(
        "graphadapter-demo"
    ),
    device: Device = "auto",
) -> None:
    """Measure zero-shot and GraphAdapter on built-in images, with a built-in model.

    Uses 1 to 16 images per class and three draws. Prints a table, and draws the accuracies and some
    images with their predictions. Nothing is downloaded.

    --json prints "classes", "test_images", "rows" as compare, "curve" and "pictures".

    Example: graphadapter demo
    """
    from pyg_graphadapter.demo import run_demo
    from pyg_graphadapter.report.tables import markdown_table

    silence_libraries()
    with no_empty_folders(out):
        measured = run_demo(out, config=TrainConfig(device=device))
    echo(f"{len(measured.class_names)} classes, {measured.num_images} test images.")
    echo_lines(f"\n{markdown_table(measured.rows)}\n")
    echo(f"Curve: {measured.curve}")
    echo(f"Pictures with their predictions: {measured.examples}")
    emit(
        {
            "classes": list(measured.class_names),
            "test_images": measured.num_images,
            "rows": [row_entry(row) for row in measured.rows],
            "curve": str(measured.curve),
            "pictures": str(measured.examples),
        }
    )
