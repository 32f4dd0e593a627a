"""The one way to measure methods on a data set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.comparison.grid import Grid
from pyg_graphadapter.comparison.usable import usable_methods
from pyg_graphadapter.encoding.sources import Source, evaluation_tasks
from pyg_graphadapter.experiment.grid import run_all
from pyg_graphadapter.task import DrawKey, EvaluationTask, NewClasses, Origin, ShiftedTest
from pyg_graphadapter.training.callbacks import Callback

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.image_source import ImageSource


def measure(
    source: Source,
    shifted_sources: Sequence[Source],
    grid: Grid,
    out: Path,
    *,
    base_to_new: bool,
    jobs: int | None,
    overwrite: bool,
    command: str = "",
    announce: Callable[[str], None],
    on_encoded: Callable[[Source], None],
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
) -> list[dict[str, Any]]:
    """Executes the runs on one data set; with descriptions, also those without them.

    Args:
        source (Source): The data set.
        shifted_sources (sequence of Source): Further test sets.
        grid (Grid): What is measured.
        out (Path): The folder of result files.
        base_to_new (bool): Learn the first half of the classes, and test both halves.
        jobs (int, optional): The number of runs side by side; if not given, one per core.
        overwrite (bool): Execute all runs again.
        command (str, optional): The command that asks for it, which result files record.
            (default: :obj:`""`)
        announce (callable): Is told in a line what is left out or taken from ``out``.
        on_encoded (callable): Is given the source once its images are encoded.
        progress (bool, optional): Show a progress bar over the runs, on a terminal.
            (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of the training of each run.
            (default: :obj:`()`)

    Returns:
        list of dict: The contents of the result files.

    Raises:
        ValueError: If a method cannot be built from the source, there is no test split, a class has
            too few images, or ``out`` holds other files.
    """
    usable = usable_methods(grid.methods, source, are_named=grid.are_named, announce=announce)
    runs = [run for run in grid.runs(source.name) if run.method in usable]
    tasks, base = _tasks(source, shifted_sources, grid, base_to_new=base_to_new)
    on_encoded(base)
    measured = [(tasks, base.origin())]
    plain = getattr(source, "without_descriptions", lambda: None)()  # of images
    if plain is not None:
        measured.insert(0, _with_texts_of(plain, tasks, base.origin(), base_to_new=base_to_new))
    return [
        result
        for tasks, origin in measured
        for result in run_all(
            runs,
            tasks,
            origin,
            out,
            workers=jobs,
            overwrite=overwrite,
            command=command,
            announce=announce,
            progress=progress,
            callbacks=callbacks,
        )
    ]


def _with_texts_of(
    source: "ImageSource",
    tasks: Mapping[DrawKey, EvaluationTask],
    origin: Origin,
    *,
    base_to_new: bool,
) -> tuple[dict[DrawKey, EvaluationTask], Origin]:
    """The tasks with the texts of a source of the same images."""
    base, new = source.base_and_new() if base_to_new else (source, None)
    text, new_text = base.text(), None if new is None else new.text()
    replaced = {
        draw: replace(
            task,
            task=replace(task.task, text=text),
            new=None if task.new is None or new_text is None else replace(task.new, text=new_text),
        )
        for draw, task in tasks.items()
    }
    return replaced, replace(origin, encoding=source.encoding.describe())


def _tasks(
    source: Source, shifted_sources: Sequence[Source], grid: Grid, *, base_to_new: bool
) -> tuple[dict[DrawKey, EvaluationTask], Source]:
    """The tasks of all draws, and the source that they are drawn from."""
    new = None
    if base_to_new:
        source, new_source = source.base_and_new()
        new = NewClasses(new_source.class_names, new_source.text(), new_source.test_or_all())
    shifted = tuple(
        ShiftedTest.by_name(test.name, test.test_or_all(), test.class_names, source.class_names)
        for test in shifted_sources
    )
    tasks = evaluation_tasks(source, product(grid.shots, grid.seeds))
    return {draw: replace(task, shifted=shifted, new=new) for draw, task in tasks.items()}, source
