"""Logits of shots by a method that was fitted without them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.features import Features
from pyg_graphadapter.progress import progress_bar
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train_together
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.fitting import prepare_method
from pyg_graphadapter.training.folds import even_folds, first_of_each, held_out_folds
from pyg_graphadapter.training.selection import MANY_SHOTS

FOLDS = 5


@dataclass(frozen=True)
class HeldOut:
    """Shots that were held out in turn, with the logits by the method without them.

    Args:
        logits (torch.Tensor): The logits; an image with several views counts by its first one.
        images (Features): The images, each by its first view.
        is_first (torch.Tensor): Whether an image is the first of its copies.
        num_folds (int): The number of folds.
        is_one_of_many (bool): Whether the others of the folds were not held out, so that these
            images are a part of the shots.

    Shapes:
        - **logits:** :math:`(M, C)`; **is_first:** :math:`(M)`
    """

    logits: Tensor
    images: Features
    is_first: Tensor
    num_folds: int
    is_one_of_many: bool

    @property
    def different(self) -> tuple[Tensor, Tensor]:
        """The logits and the labels of the images, copies of one counted once."""
        return self.logits[self.is_first], self.images.y[self.is_first]


def held_out_logits(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    select: bool = True,
    may_lack: bool = False,
    only_one: bool = False,
    beside_shots: bool = False,
    progress: bool = True,
) -> HeldOut | None:
    """Divides the shots into at most five stratified folds, even ones where there are such
    (:func:`~pyg_graphadapter.training.folds.even_folds`), fits the method without each fold in
    turn, and classifies it. What is selected is selected without the fold, too. Copies of an image
    are held out together. With more than 1000 shots, one fold is held out.

    A transductive method classifies the images of a fold together, alone or beside the shots that
    it was fitted on. Alone, they are few, and none has a neighbour of its class where a fold holds
    one image per class.

    Args:
        method (str): The method's name.
        task (FewShotTask): The task.
        config (TrainConfig): How to train.
        settings (dict): The given settings of the method.
        select (bool, optional): As in :func:`~pyg_graphadapter.training.fitting.fit_method`.
            (default: :obj:`True`)
        may_lack (bool, optional): Classes may have no shots, likewise. (default: :obj:`False`)
        only_one (bool, optional): Hold out one fold, however few shots there are.
            (default: :obj:`False`)
        beside_shots (bool, optional): Let a transductive method classify the images of a fold and
            the other shots together, all as unlabelled. (default: :obj:`False`)
        progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

    Returns:
        HeldOut: The logits; :obj:`None` if nothing can be held out.

    Raises:
        TrainingDivergedError: If a loss is not finite.
    """
    support = task.support
    groups = groups_of_copies(support.x[:, 0])
    counts = support.y[first_of_each(groups)].bincount().tolist()
    num_folds = even_folds(counts, FOLDS)
    folds = held_out_folds(support.y, num_folds, config.seed, groups)
    is_one_of_many = only_one or len(support) > MANY_SHOTS
    folds = folds[:1] if is_one_of_many else folds
    if not folds:
        return None
    parts = [
        replace(task.with_support(training), validation=task.validation) for training, _ in folds
    ]
    adapters = _fitted(
        method, parts, config, settings, select=select, may_lack=may_lack, progress=progress
    )
    logits = [
        _logits(adapter, support.first_views(), index, beside_shots=beside_shots)
        for adapter, (_, index) in zip(adapters, folds, strict=True)
    ]
    index = torch.cat([index for _, index in folds])
    is_first = torch.isin(index, first_of_each(groups))
    return HeldOut(
        torch.cat(logits), support.select(index).first_views(), is_first, len(folds), is_one_of_many
    )


def _logits(adapter: Adapter, images: Features, index: Tensor, *, beside_shots: bool) -> Tensor:
    """The logits ``[M, C]`` of the images at ``index``."""
    if adapter.is_transductive and beside_shots:
        return predict_logits(adapter, images.mean_views())[index]
    return predict_logits(adapter, images.select(index).mean_views())


def _fitted(
    method: str,
    tasks: list[FewShotTask],
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    select: bool,
    may_lack: bool,
    progress: bool,
) -> list[Adapter]:
    """The method, fitted to every task; all are trained as a batch where that is faster."""
    how = {"select": select, "may_lack": may_lack, "progress": False}
    prepared = [
        prepare_method(method, task, config, settings, **how)
        for task in progress_bar(tasks, unit="fold", progress=progress)
    ]
    adapters = [part.adapter for part in prepared]
    train_together(adapters, [part.task for part in prepared], config, progress=progress)
    return [adapter.cpu().eval() for adapter in adapters]
