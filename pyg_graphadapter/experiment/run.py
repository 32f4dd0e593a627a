"""One run of an experiment: its settings and a task in, the content of its result file out."""

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from pyg_graphadapter.adapters import Adapter, GraphAdapter, adapter_class
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.adapters.graph_defaults import TEXTS
from pyg_graphadapter.adapters.registry import code_identity
from pyg_graphadapter.graph import knowledge_graph
from pyg_graphadapter.report.graph_panel import Edge
from pyg_graphadapter.report.knowledge_graph import NEIGHBOURS, strongest_edges
from pyg_graphadapter.report.results import RESULT_FORMAT
from pyg_graphadapter.report.tasks import TaskOfResult
from pyg_graphadapter.storage import sha256, versions
from pyg_graphadapter.task import EvaluationTask, FewShotTask, NewClasses, Origin
from pyg_graphadapter.training.callbacks import Callbacks
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import History, train_together
from pyg_graphadapter.training.evaluation import (
    accuracy_on_new,
    accuracy_on_shifted,
    evaluate,
    harmonic_mean,
)
from pyg_graphadapter.training.selection import select_defaults

MAX_LOSSES = 1000  # in a result file
FILE_NAME = re.compile(r".+-\d+shot-seed-?\d+-[0-9a-f]{8}\.json")


def is_file_name(name: str) -> bool:
    """Whether a name is that of a run's result file."""
    return FILE_NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Run:
    """One cell of the grid.

    Args:
        method (str): The method's name.
        shots (int): The number of images per class.
        seed (int): The seed of the draw and of the training.
        training (TrainConfig): How to train.
        settings (dict): The method's settings that differ from its defaults.
        selects (bool): Whether the settings that are not given are selected inside the few shots.
        protocol (str, optional): :obj:`"honest"`, or :obj:`"paper"`, which selects on the test
            split, as some papers do without saying so. (default: :obj:`"honest"`)
        variant (str, optional): How the run differs from the method's defaults, for tables.
            (default: :obj:`""`)
    """

    method: str
    shots: int
    seed: int
    training: TrainConfig
    settings: dict[str, Any]
    selects: bool
    protocol: str = "honest"
    variant: str = ""

    def file_name(self, task: str) -> str:
        """The name of the run's result file, which depends on all settings, on the hash of the
        task, and on the method's code (:func:`~pyg_graphadapter.adapters.registry.code_identity`).

        Raises:
            ValueError: If a setting is no plain value.
        """
        parts = [RESULT_FORMAT, asdict(self), task, code_identity(self.method)]
        try:
            content = json.dumps(parts, sort_keys=True)
        except TypeError as error:
            raise ValueError(
                f"The settings of {self.method} must be plain values to be written to a result "
                f"file ({error}): give a convolution by its name."
            ) from error
        digest = sha256(content.encode())[:8]
        return f"{self.method}-{self.shots}shot-seed{self.seed}-{digest}.json"


def identity(run: Run) -> dict[str, Any]:
    """The entries of a result file that name its run, whether it failed or not."""
    return {
        "format": RESULT_FORMAT,
        "method": run.method,
        "shots": run.shots,
        "seed": run.seed,
        "variant": run.variant,
        "protocol": run.protocol if run.selects else "honest",
        "is_transductive": adapter_class(run.method).is_transductive,
    }


def task_of(evaluation: EvaluationTask, origin: Origin) -> TaskOfResult:
    """What a result file says of its task, so that it is averaged with no other."""
    task = evaluation.task
    text = None
    # Without texts, the prototypes of the shots stand for them, which no two draws share:
    if origin.encoding is None and task.has_text:
        text = sha256(task.text.float().contiguous().numpy().tobytes())
    return TaskOfResult(
        "plain" if evaluation.new is None else "base",
        sha256(json.dumps(task.class_names).encode()),
        evaluation.rule,
        task.support.x.size(1),
        task.logit_scale,
        text,
        origin.weights,
        origin.encoding or {},
    )


def execute_runs(
    runs: Sequence[Run],
    evaluations: Sequence[EvaluationTask],
    *,
    progress: bool = True,
    callbacks: Callbacks | None = None,
) -> list[dict[str, Any]]:
    """Fits and measures runs that differ in the seed alone, and returns the content of their result
    files.

    Runs with the same selected settings are trained together where that is faster
    (:func:`~pyg_graphadapter.training.engine.train_together`).
    """
    selections = [
        _select(run, evaluation, progress=progress)
        for run, evaluation in zip(runs, evaluations, strict=True)
    ]
    groups: dict[str, list[int]] = {}  # by settings
    for i, selection in enumerate(selections):
        groups.setdefault(repr(selection.settings), []).append(i)
    results: dict[int, dict[str, Any]] = {}
    for indices in groups.values():
        contents = _fit(
            [runs[i] for i in indices],
            [evaluations[i] for i in indices],
            [selections[i] for i in indices],
            progress=progress,
            callbacks=callbacks or Callbacks(),
        )
        results |= zip(indices, contents, strict=True)
    return [results[i] for i in range(len(runs))]


@dataclass(frozen=True)
class _Selection:
    """The settings of a run.

    Args:
        settings (dict): Those that were given and those that were selected.
        split (str, optional): The split on which they were selected.
        seconds (float): The time of the selection.
    """

    settings: dict[str, Any]
    split: str | None
    seconds: float


def _select(run: Run, evaluation: EvaluationTask, *, progress: bool) -> _Selection:
    if not run.selects:
        return _Selection(run.settings, None, 0.0)
    start = time.perf_counter()
    task = evaluation.task
    split = "support" if task.validation is None else "validation"
    if run.protocol == "paper":
        task, split = replace(task, validation=evaluation.test), "test"
    selected = select_defaults(run.method, task, run.training, run.settings, progress=progress)
    return _Selection(run.settings | selected, split, time.perf_counter() - start)


def _fit(
    runs: Sequence[Run],
    evaluations: Sequence[EvaluationTask],
    selections: Sequence[_Selection],
    *,
    progress: bool,
    callbacks: Callbacks,
) -> list[dict[str, Any]]:
    """Fits and measures runs of the same settings."""
    method = adapter_class(runs[0].method)
    tasks = [evaluation.task for evaluation in evaluations]
    adapters, build_seconds = [], []
    for task in tasks:
        start = time.perf_counter()
        adapters.append(build_adapter(method, task, selections[0].settings))
        build_seconds.append(time.perf_counter() - start)
    seeds = [run.seed for run in runs]
    histories = train_together(
        adapters, tasks, runs[0].training, seeds, progress=progress, callbacks=callbacks
    )
    return [
        _measure(run, evaluation, selection, adapter, history, seconds + history.seconds)
        for run, evaluation, selection, adapter, history, seconds in zip(
            runs, evaluations, selections, adapters, histories, build_seconds, strict=True
        )
    ]


def _measure(
    run: Run,
    evaluation: EvaluationTask,
    selection: _Selection,
    adapter: Adapter,
    history: History,
    seconds: float,
) -> dict[str, Any]:
    metrics = evaluate(adapter, evaluation)
    training = asdict(run.training)
    if adapter_class(run.method).is_trained:
        training["epochs"] = len(history.loss)
    task = evaluation.task
    return {
        **identity(run),
        "variant": run.variant if task.has_text else without_texts(run.variant),
        **metrics.measures(),
        **_other_accuracies(adapter, evaluation, metrics.accuracy),
        "fit_seconds": seconds,
        "select_seconds": selection.seconds,
        "steps": history.steps,
        "loss": rounded_losses(history.loss),
        "parameters": adapter.num_parameters(),
        "num_classes": adapter.num_classes,
        "settings": {**adapter.settings(), **training},
        "selected_on": selection.split,
        "code": code_identity(run.method),
        "versions": versions(),
        **_knowledge_graphs(adapter, task),
    }


def rounded_losses(losses: Sequence[float]) -> list[float]:
    """The loss of every epoch, to six digits; of more than :obj:`MAX_LOSSES` epochs, that of every
    :math:`k`-th, from the first on, where :math:`k` is as small as it can be."""
    every = max(1, math.ceil(len(losses) / MAX_LOSSES))
    return [float(f"{loss:.6g}") for loss in losses[::every]]


def without_texts(variant: str) -> str:
    """The variant of a run on features without texts, for tables."""
    return ", ".join(part for part in ("without texts", variant) if part)


def _knowledge_graphs(adapter: Adapter, task: FewShotTask) -> dict[str, Any]:
    """The strongest edges of the sub-graphs of GraphAdapter, for figures: pairs of classes with
    their cosine, at most 100 per side. Without texts, both sub-graphs are that of the images."""
    if not isinstance(adapter, GraphAdapter) or adapter.num_classes == 1:
        return {}
    features = {"text": adapter.class_nodes, "image": adapter.image_nodes}
    return {
        "knowledge_graphs": {
            side: _rounded_edges(features[side], task.class_names, adapter.config.groups)
            for side in adapter.conv.sides()
            if side == "image" or (task.has_text and adapter.config.nodes == TEXTS)
        }
    }


def _rounded_edges(x: Tensor, class_names: Sequence[str], groups: int) -> list[Edge]:
    """The strongest edges among nodes ``[C, D]``."""
    k = min(NEIGHBOURS, len(x) - 1)
    graph = knowledge_graph(x, k, groups=groups if groups > 1 else None)
    return [(a, b, round(weight, 4)) for a, b, weight in strongest_edges(graph, class_names)]


def _other_accuracies(
    adapter: Adapter, evaluation: EvaluationTask, accuracy: float
) -> dict[str, Any]:
    """Accuracies on shifted test sets and on new classes, if there are any."""
    content: dict[str, Any] = {}
    if evaluation.shifted:
        content["shifted"] = {
            shifted.name: accuracy_on_shifted(adapter, shifted) for shifted in evaluation.shifted
        }
    if evaluation.new is not None:
        content["base_to_new"] = _base_to_new(adapter, evaluation.new, accuracy)
    return content


def _base_to_new(adapter: Adapter, new_classes: NewClasses, base: float) -> dict[str, Any]:
    try:
        new = accuracy_on_new(adapter, new_classes)
    except ValueError as error:
        return {"base": base, "new": None, "harmonic_mean": None, "reason": str(error)}
    return {"base": base, "new": new, "harmonic_mean": harmonic_mean(base, new)}
