"""A comparison of methods in one line, as a data frame."""

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.adapters.registry import adapter_names
from pyg_graphadapter.classifier.source import source_of
from pyg_graphadapter.comparison.grid import Grid
from pyg_graphadapter.comparison.measure import measure
from pyg_graphadapter.comparison.usable import usable_methods
from pyg_graphadapter.data.descriptions import DescriptionsLike
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import Source
from pyg_graphadapter.features import counted
from pyg_graphadapter.optional import require
from pyg_graphadapter.outputs import check_output_folder, no_empty_folders
from pyg_graphadapter.progress import obeys_progress
from pyg_graphadapter.report.results import dataset_of, label_of, measured
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.task import EvaluationTask, FewShotTask
from pyg_graphadapter.training.callbacks import Callback
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.evaluation import NO_MEASURES, Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from pyg_graphadapter.encoding.model import EncoderModel

ALL = "all"  # in the place of methods
MEASURES = tuple(
    field.name for field in fields(Evaluation) if field.name not in NO_MEASURES
)  # of each run
COSTS = ("fit_seconds", "select_seconds", "parameters")
KEYS = ("dataset", "label", "shots")  # of the rows of a summary
FURTHER = ("shifted: ", "base_to_new: ")  # how columns of further test sets begin

logger = logging.getLogger(__name__)


@obeys_progress
def compare(
    data: Any,
    methods: str | Sequence[str] = ("graph_adapter", "zero_shot"),
    shots: int | Sequence[int] = (1, 4),
    seeds: int | Sequence[int] = (1, 2, 3),
    model: "str | Path | EncoderModel | None" = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    encoding: EncodingConfig | None = None,
    descriptions: DescriptionsLike | None = None,
    descriptions_weight: float | None = None,
    shifted: Sequence[Any] = (),
    base_to_new: bool = False,
    select: bool = True,
    protocol: str = "honest",
    preset: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
    **reading: Any,
) -> "pd.DataFrame":
    """Compares methods over shots and seeds, on the test split of features or of images, as the
    command ``graphadapter compare`` does.

    Args:
        data (str, Path, FeatureFile, datasets.DatasetDict or Source): A feature file, images as
            :func:`pyg_graphadapter.data.load_images` takes them, or a source of features, as for
            :meth:`FewShotClassifier.fit`. There must be a test split.
        methods (sequence of str or str, optional): The methods, or :obj:`"all"` that the data
            allow. (default: :obj:`("graph_adapter", "zero_shot")`)
        shots (int or sequence of int, optional): Numbers of images per class.
            (default: :obj:`(1, 4)`)
        seeds (int or sequence of int, optional): Seeds of draw and training.
            (default: :obj:`(1, 2, 3)`)
        model (str, Path or EncoderModel, optional): The encoder of images.
            (default: :obj:`None`)
        settings (dict, optional): For each method, its settings, as
            ``{"tip_adapter": {"alpha": 3.0}}``. (default: :obj:`None`)
        config (TrainConfig, optional): How to train; the seed is that of the run.
            (default: :obj:`None`)
        out (str or Path, optional): The folder for the result files. Finished runs that are there
            are not repeated. If not given, nothing is left on the disk. (default: :obj:`None`)
        encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
        descriptions, descriptions_weight (optional): Sentences about the classes, as for
            :meth:`FewShotClassifier.fit`. Images are then also measured without them.
        shifted (sequence, optional): Further test sets with some of the classes, as :obj:`data`.
            (default: :obj:`()`)
        base_to_new (bool, optional): Learn the first half of the classes, and test both halves.
            (default: :obj:`False`)
        select (bool, optional): Select the settings that are not given, inside the few shots.
            (default: :obj:`True`)
        protocol (str, optional): :obj:`"honest"`, or :obj:`"paper"`, which selects settings on the
            test split, as some papers do. (default: :obj:`"honest"`)
        preset (str, optional): :obj:`"paper"` for the settings of the papers.
            (default: :obj:`None`)
        jobs (int, optional): The number of runs side by side; if not given, one per core.
            (default: :obj:`None`)
        overwrite (bool, optional): Execute all runs again, also what is in :obj:`out`.
            (default: :obj:`False`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of each training
            (:class:`~pyg_graphadapter.Callback`). The runs are then executed one after the other.
            (default: :obj:`()`)
        **reading (optional): Further arguments of :func:`pyg_graphadapter.data.load_images`.

    Returns:
        pandas.DataFrame: One row per run. ``method``, ``shots`` and ``seed`` say which; ``label``
        is the method's name with its changed settings, with † if its settings were selected on the
        test split and ‡ if it is transductive, as ``transductive`` says. Accuracies are in percent;
        ``ece`` is the expected calibration error. A run that failed has no measures, and its reason
        in ``error``. :func:`summary` gives the means.

    Raises:
        MissingPackageError: If pandas is not installed.
        ValueError: If there is no test split, a class has too few images, or a method or a setting
            is unknown.

    Example:
        >>> from pyg_graphadapter.testing import fake_features
        >>> frame = compare(fake_features(), shots=(1, 4), seeds=(1, 2), progress=False)
        >>> frame.columns[:6].tolist()
        ['method', 'label', 'shots', 'seed', 'dataset', 'transductive']
        >>> summary(frame)[["label", "shots", "seeds", "failed"]]
                   label  shots  seeds  failed
        0  graph_adapter      1      2       0
        1  graph_adapter      4      2       0
        2      zero_shot      1      2       0
        3      zero_shot      4      2       0
    """
    require("pandas")
    config, encoding = config or TrainConfig(), encoding or EncodingConfig()
    names = _method_names(methods)
    grid = Grid(
        names,
        _whole_numbers("shots", shots, low=1),
        _whole_numbers("seeds", seeds),
        config,
        settings or {},
        select,
        protocol,
        preset,
        are_named=methods != ALL,
    )
    grid.runs("")  # checks the settings
    options, plain = _reading(reading), encoding
    if descriptions is not None or descriptions_weight is not None:
        encoding = encoding.with_descriptions(descriptions, descriptions_weight)

    def opened(source: Any, how: EncodingConfig) -> Source:
        _check_has_test(source)
        return source_of(source, model, how, config.device, options, progress=progress)

    if out is not None:
        check_output_folder(out)
    source = opened(data, encoding)
    usable = usable_methods(names, source, are_named=grid.are_named, announce=warn)
    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "results"
        else:
            folder = Path(out)
        stack.enter_context(no_empty_folders(folder))
        results = measure(
            source,
            [opened(test, replace(plain, descriptions=None)) for test in shifted],
            replace(grid, methods=usable),
            folder,
            base_to_new=base_to_new,
            jobs=jobs,
            overwrite=overwrite,
            announce=logger.info,
            on_encoded=_tell_of_skipped,
            progress=progress,
            callbacks=callbacks,
        )
        _tell_of_failed(results)
        return _frame(results)


def summary(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The mean of each method and number of shots over the seeds.

    Args:
        frame (pandas.DataFrame): What :func:`compare` returned.

    Returns:
        pandas.DataFrame: One row per data set, ``label`` and ``shots``, with the number of
        ``seeds``; the mean and sample standard deviation (``_std``, not a number for one seed) of
        each measure over them; the mean of the seconds; and the number of ``failed`` runs, which
        are in no mean.

    Raises:
        ValueError: If two rows are of the same run and differ, as those of two comparisons do that
            were put together.
    """
    pd = require("pandas")
    ids = [*KEYS, "seed"]
    frame = frame.drop_duplicates([*ids, "accuracy"])
    twice = frame[frame.duplicated(ids)]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(
            f"Two rows are of {row['label']} on {row['dataset']} with {row['shots']} shots and "
            f"seed {row['seed']}, and differ: give the comparisons one by one."
        )
    means = [
        name
        for name in frame.columns
        if name.startswith(FURTHER) or (name in MEASURES and name != "num_images")
    ]
    groups = frame.groupby(list(KEYS), sort=False, dropna=False)
    columns = {"seeds": groups["accuracy"].count()}
    for name in means:
        columns |= {name: groups[name].mean(), f"{name}_std": groups[name].std()}
    columns |= {name: groups[name].mean() for name in ("fit_seconds", "select_seconds")}
    columns |= {name: groups[name].first() for name in ("parameters", "transductive")}
    columns["failed"] = groups["error"].count()
    table = pd.DataFrame(columns).reset_index()
    first = ["label", "shots", "accuracy", "accuracy_std", "seeds"]  # what a narrow screen shows
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _frame(results: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    pd = require("pandas")
    names = {id(run.result): run.name for run in measured(results)}
    rows = [_row(result, names.get(id(result)) or dataset_of(result)) for result in results]
    frame = pd.DataFrame(rows)
    frame["parameters"] = frame["parameters"].astype("Int64")
    further = [name for name in frame.columns if name.startswith(FURTHER)]
    return frame[[name for name in frame.columns if name not in (*further, "error")]
                 + further + ["error"]]  # fmt: skip


def _row(result: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """The row of a run; of one that failed, without measures."""
    content: dict[str, Any] = {
        "method": result["method"],
        "label": label_of(dict(result)),
        "shots": result["shots"],
        "seed": result["seed"],
        "dataset": dataset,
        "transductive": bool(result.get("is_transductive")),
        "selected_on": result.get("selected_on"),
    }
    for name in MEASURES:
        content[name] = _number(result.get(name))
    content |= {name: _number(result.get(name)) for name in COSTS}
    content["skipped"] = (result.get("features") or {}).get("skipped", 0)
    for name, accuracy in (result.get("shifted") or {}).items():
        content[f"{FURTHER[0]}{name}"] = accuracy
    for name in ("base", "new", "harmonic_mean"):
        if result.get("base_to_new"):
            content[f"{FURTHER[1]}{name}"] = _number(result["base_to_new"][name])
    return {**content, "error": result.get("error")}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _method_names(methods: str | Sequence[str]) -> list[str]:
    if methods == ALL:
        return adapter_names()
    names = list(dict.fromkeys([methods] if isinstance(methods, str) else methods))
    if not names:
        raise ValueError(f"'methods' must be names of methods, or 'all' (got {methods!r}).")
    return names


def _whole_numbers(name: str, values: Any, low: int = -(2**63)) -> list[int]:
    """Different whole numbers.

    Raises:
        ValueError: If there is none, or one is no whole number.
    """
    several: list[Any] = list(values) if isinstance(values, Iterable) else [values]
    if not several or any(isinstance(value, str) for value in several):
        raise ValueError(f"{name!r} must be whole numbers, as (1, 4) (got {values!r}).")
    for value in several:
        check_whole_number(name, value, low)
    return list(dict.fromkeys(map(int, several)))


def _reading(reading: Mapping[str, Any]) -> ReadOptions:
    """How images are read.

    Raises:
        ValueError: If there is another argument.
    """
    names = [field.name for field in fields(ReadOptions)]
    for name in reading:
        if name not in names:
            raise ValueError(
                f"There is no argument {name!r}: settings of a method are given as "
                f"settings={{'METHOD': {{{name!r}: …}}}}, and those of reading are "
                f"{', '.join(names)}."
            )
    return ReadOptions(**reading)


def _check_has_test(data: Any) -> None:
    if isinstance(data, FewShotTask | EvaluationTask):
        raise ValueError(
            f"A {type(data).__name__} is one draw of shots, and methods are compared over several: "
            f"give the feature file or the images that it was drawn from."
        )


def _tell_of_skipped(source: Source) -> None:
    encoder = getattr(source, "dataset_encoder", None)  # of images
    skipped = {} if encoder is None else encoder.summary.skipped
    if skipped:
        name, reason = next(iter(skipped.items()))
        warn(
            f"{counted(len(skipped), 'image')} of {source.name} could not be decoded and took no "
            f"part, the first of them {visible(name)}: {visible(reason)}"
        )


def _tell_of_failed(results: Sequence[dict[str, Any]]) -> None:
    failed = [result for result in results if "error" in result]
    if failed:
        first = failed[0]
        warn(
            f"{len(failed)} of {counted(len(results), 'run')} failed, the first of them "
            f"{first['method']} with {first['shots']} shots and seed {first['seed']}: "
            f"{visible(first['error'])}"
        )
