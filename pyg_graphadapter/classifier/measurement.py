"""How good a classifier is, on images that it was not fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, ZeroShot, adapter_class
from pyg_graphadapter.copies import are_copies, groups_of_copies
from pyg_graphadapter.encoding.sources import Source
from pyg_graphadapter.features import Features, Shots, counted
from pyg_graphadapter.report.intervals import wilson_interval
from pyg_graphadapter.settings import warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import TrainingDivergedError
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.held_out import FOLDS, HeldOut, held_out_logits

TEST_SPLIT = "test split"
NOT_DRAWN = "not drawn"
CROSS_VALIDATED = "cross-validated"
HELD_OUT = "held out"
TOGETHER = "classified together"
LARGEST_MEASURED = 2000  # images that are encoded for the measurement alone


@dataclass(frozen=True)
class Drawn:
    """How the shots of a task were drawn.

    Args:
        shots (int or str): The number per class, or :obj:`"all"`.
        seed (int): The seed.
        allow_fewer (bool): Whether classes may have fewer.
    """

    shots: Shots
    seed: int
    allow_fewer: bool


def measure(
    adapter: Adapter,
    task: FewShotTask,
    source: Source,
    drawn: Drawn,
) -> dict[str, Any]:
    """Measures an adapter on the test split, or else on the training images that were not drawn.

    Args:
        adapter (Adapter): The adapter.
        task (FewShotTask): The task that it was fitted on.
        source (Source): The source of the task.
        drawn (Drawn): How the shots were drawn.

    Returns:
        dict: As :func:`cross_validated` does; empty if there are no such images.
    """
    skipped = source.origin().skipped
    kind, test = TEST_SPLIT, source.test()
    if test is None or not len(test):
        kind = NOT_DRAWN
        test = source.not_drawn(
            drawn.shots, drawn.seed, allow_fewer=drawn.allow_fewer, limit=LARGEST_MEASURED
        )
        test = None if test is None else _without_shots(test, task.support)
    if test is None or not len(test):
        return {}
    predicted, zero_shot = _predicted(adapter, test), _zero_shot(task, test)
    skipped = source.origin().skipped - skipped
    num_different = _num_different(test)
    measured = _measured(kind, predicted, zero_shot, test.y, skipped, num_different)
    return measured | together(adapter)


def cross_validated(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    select: bool = True,
    may_lack: bool = False,
    held_out: HeldOut | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Estimates the accuracy inside the shots, on shots that are held out in turn
    (:func:`~pyg_graphadapter.training.held_out.held_out_logits`).

    Args:
        method (str): The method's name.
        task (FewShotTask): The task.
        config (TrainConfig): How to train.
        settings (dict): The given settings of the method.
        select (bool, optional): As in :func:`~pyg_graphadapter.training.fitting.fit_method`.
            (default: :obj:`True`)
        may_lack (bool, optional): Classes may have no shots, likewise. (default: :obj:`False`)
        held_out (HeldOut, optional): The logits of these shots, if they are there already.
            (default: :obj:`None`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

    Returns:
        dict: The kind of the measurement, accuracies in percent with the 95 % interval, and numbers
        of images; empty if nothing can be held out.
    """
    if held_out is None:
        try:
            held_out = held_out_logits(
                method, task, config, settings, select=select, may_lack=may_lack, progress=progress
            )
        except TrainingDivergedError as error:
            warn(f"The accuracy could not be estimated: {error}")
            return {}
    if held_out is None:
        return {}
    images = held_out.images
    kind = HELD_OUT if held_out.is_one_of_many else CROSS_VALIDATED
    measured = _measured(
        kind, held_out.logits.argmax(dim=1), _zero_shot(task, images), images.y, 0,
        int(held_out.is_first.sum()),
    )  # fmt: skip
    measured |= together(adapter_class(method))
    return {**measured, "folds": held_out.num_folds} if kind == CROSS_VALIDATED else measured


def _without_shots(test: Features, support: Features) -> Features:
    """The images that are no copies of a shot."""
    return test.select(~are_copies(test.x[:, 0], support.x[:, 0]))


def _num_different(images: Features) -> int:
    """The number of images, copies of one counted once."""
    return len(torch.unique(groups_of_copies(images.x[:, 0])))


def _predicted(adapter: Adapter, test: Features) -> Tensor:
    return predict_logits(adapter, test.mean_views()).argmax(dim=1)


def _zero_shot(task: FewShotTask, test: Features) -> Tensor | None:
    """The predictions of zero-shot CLIP, where there are texts."""
    return _predicted(ZeroShot.from_task(task), test) if task.has_text else None


def _measured(
    kind: str,
    predicted: Tensor,
    zero_shot: Tensor | None,
    y: Tensor,
    skipped: int,
    num_different: int,
) -> dict[str, Any]:
    is_right = predicted == y
    # Copies of an image say nothing new, so the interval is that of the different ones:
    low, high = wilson_interval(float(is_right.double().mean()) * num_different, num_different)
    recalls = [float(is_right[y == c].double().mean()) for c in torch.unique(y)]
    by_texts = {}
    if zero_shot is not None:
        accuracy = float((zero_shot == y).double().mean())
        by_texts["zero-shot accuracy (%)"] = round(100 * accuracy, 2)
    return {
        "kind": kind,
        "accuracy (%)": round(100 * float(is_right.double().mean()), 2),
        "interval from (%)": round(low, 2),
        "interval to (%)": round(high, 2),
        "balanced accuracy (%)": round(100 * sum(recalls) / len(recalls), 2),
        **by_texts,
        "images": len(y),
        "skipped images": skipped,
    }


def together(method: Adapter | type[Adapter]) -> dict[str, Any]:
    """What is recorded of a transductive method; of others, nothing."""
    return {TOGETHER: "yes, unlabelled"} if method.is_transductive else {}


def measured_in_words(measured: Mapping[str, Any]) -> str:
    """A sentence on what was measured, and on what."""
    if "kind" not in measured:
        return ""
    images = counted(int(measured["images"]), "image")
    skipped = int(measured["skipped images"])
    left_out = f" ({counted(skipped, 'image')} could not be read)" if skipped else ""
    subject, place = {
        TEST_SPLIT: ("Test accuracy", f"{images} of the test split{left_out}"),
        NOT_DRAWN: ("Accuracy", f"{images} that were not drawn{left_out}"),
        CROSS_VALIDATED: (
            "Cross-validated accuracy",
            f"{images}, each held out in one of {int(measured.get('folds', FOLDS))} folds",
        ),
        HELD_OUT: ("Accuracy", f"{images} that were held out, by a classifier without them"),
    }[measured["kind"]]
    if TOGETHER in measured:
        which = "images of each fold" if measured["kind"] == CROSS_VALIDATED else "images"
        place += f"; the {which} were classified together, unlabelled (transductive)"
    beside = "without texts"
    if "zero-shot accuracy (%)" in measured:
        beside = f"zero-shot {measured['zero-shot accuracy (%)']:.2f} %"
    return (
        f"{subject} {measured['accuracy (%)']:.2f} % (95 % interval "
        f"{measured['interval from (%)']:.1f} to {measured['interval to (%)']:.1f} %; {beside}), "
        f"on {place}."
    )
