"""The confidence of a classifier, measured on shots that are held out."""

from collections.abc import Mapping
from typing import Any

from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.classifier.confidence import (
    DIVERGED,
    NO_SHOTS,
    NOTHING_HELD_OUT,
    SWITCHED_OFF,
    Confidence,
)
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.features import counted
from pyg_graphadapter.settings import warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import TrainingDivergedError
from pyg_graphadapter.training.folds import first_of_each
from pyg_graphadapter.training.held_out import HeldOut, held_out_logits
from pyg_graphadapter.training.temperature import fit_temperature, probabilities


def calibrated(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    selected: Mapping[str, Any],
    *,
    calibrate: bool = True,
    select: bool = True,
    may_lack: bool = False,
    progress: bool = True,
) -> tuple[Confidence, HeldOut | None]:
    """The confidence of a fitted method, by shots that are held out
    (:func:`~pyg_graphadapter.training.held_out.held_out_logits`). What was selected by measuring is
    not selected again in the folds, but taken as it is: the temperature belongs to these settings.
    With one image per class, a fold could select nothing. Methods that learn prompts hold out one
    fold, as a fit takes so long.

    Args:
        method (str): The method's name.
        task (FewShotTask): The task that it was fitted on.
        config (TrainConfig): How it was trained.
        settings (dict): The given settings of the method.
        selected (dict): Those that were selected.
        calibrate (bool, optional): Measure at all. (default: :obj:`True`)
        select (bool, optional): As in :func:`~pyg_graphadapter.training.fitting.fit_method`.
            (default: :obj:`True`)
        may_lack (bool, optional): Classes may have no shots, likewise. (default: :obj:`False`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

    Returns:
        tuple: The confidence, and the held-out logits if they also say how accurate the method is,
        else :obj:`None`: nothing was selected with these images, and they were classified as others
        will be.
    """
    if not calibrate:
        return Confidence(source=SWITCHED_OFF), None
    if not len(task.support):
        return Confidence(source=NO_SHOTS), None
    build = adapter_class(method)
    measured = {name: value for name, value in selected.items() if name in build.grid}
    try:
        held_out = held_out_logits(
            method,
            task,
            config,
            {**settings, **measured},
            select=select and not measured,
            may_lack=may_lack,
            only_one=build.needs_text_encoder,
            beside_shots=True,
            progress=progress,
        )
    except TrainingDivergedError as error:
        warn(f"The probabilities could not be calibrated: {error}")
        return Confidence(source=DIVERGED), None
    if held_out is None:
        return Confidence(source=NOTHING_HELD_OUT), None
    says_accuracy = not (measured or build.is_transductive or build.needs_text_encoder)
    confidence = confidence_of(held_out)
    if count := num_never_held_out(task):
        confidence = confidence.without_held_out(f"and none of {counted(count, 'class')} could be")
    return confidence, held_out if says_accuracy else None


def confidence_of(held_out: HeldOut) -> Confidence:
    """The temperature of held-out logits, and the probabilities that it gives."""
    logits, y = held_out.different
    temperature = fit_temperature(logits, y)
    probability, label = probabilities(logits, temperature).max(dim=1)
    probability, order = probability.float().clamp(max=1).sort(descending=True, stable=True)
    images = counted(len(y), "shot")
    folds = "one fold" if held_out.num_folds == 1 else f"{held_out.num_folds} folds"
    source = f"fitted to {images}, held out in {folds}"
    return Confidence(temperature, source, probability, (label == y)[order])


def num_never_held_out(task: FewShotTask) -> int:
    """How many classes have fewer than two different shots, so that none can be held out."""
    first = first_of_each(groups_of_copies(task.support.x[:, 0]))
    number = task.support.y[first].bincount(minlength=task.num_classes)
    return int((number < 2).sum())
