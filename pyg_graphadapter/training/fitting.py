"""From a method's name and a task to a fitted adapter."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.adapters.trust import evidence
from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import check_setting_names, warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.callbacks import Callback
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import History, train
from pyg_graphadapter.training.selection import select_defaults

logger = logging.getLogger(__name__)
SUMS_OVER_SHOTS = ("tip_adapter", "tip_adapter_f")
NO_TEXTS = "none"  # in the recipe of a classifier that was fitted without texts


class Fitted(NamedTuple):
    """A fitted adapter, and how it became one.

    Args:
        adapter (Adapter): The adapter, on the CPU.
        selected (dict): The settings that were selected inside the shots, or that follow from them.
        history (History): The training.
    """

    adapter: Adapter
    selected: dict[str, Any]
    history: History


class Prepared(NamedTuple):
    """A method that was built for a task, before training.

    Args:
        adapter (Adapter): The adapter.
        task (FewShotTask): The task to train it on, with what stands in for shots.
        selected (dict): As in :class:`Fitted`.
    """

    adapter: Adapter
    task: FewShotTask
    selected: dict[str, Any]


def fit_method(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    select: bool = True,
    may_lack: bool = False,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
) -> Fitted:
    """Selects the settings that are not given, builds the method and trains it.

    Args:
        method (str): The method's name.
        task (FewShotTask): The task.
        config (TrainConfig): How to train.
        settings (dict): The given settings of the method.
        select (bool, optional): Select what they leave open inside the shots
            (:func:`~pyg_graphadapter.training.selection.select_defaults`), instead of the
            method's defaults. (default: :obj:`True`)
        may_lack (bool, optional): Classes may have no shots: their text features stand in for them
            (:func:`with_text_shots`). (default: :obj:`False`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
        callbacks (iterable of Callback, optional): Are told of the training. (default: :obj:`()`)

    Raises:
        ValueError: If a setting is unknown or out of bounds, or a class that needs shots has none.
    """
    start = time.perf_counter()
    adapter, task, selected = prepare_method(
        method, task, config, settings, select=select, may_lack=may_lack, progress=progress
    )
    history = train(adapter, task, config, progress=progress, callbacks=callbacks)
    shots, seconds = counted(len(task.support), "shot"), time.perf_counter() - start
    logger.info("Fitted %s to %s in %.1f s: %s.", method, shots, seconds, adapter.settings())
    return Fitted(adapter.cpu().eval(), selected, history)


def prepare_method(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    settings: Mapping[str, Any],
    *,
    select: bool = True,
    may_lack: bool = False,
    progress: bool = True,
) -> Prepared:
    """What :func:`fit_method` does before training, with the same arguments."""
    build = adapter_class(method)
    check_setting_names(method, build.Config, settings)
    chosen = build.settings_for(task, settings)  # of the real shots
    if may_lack and task.has_text and method != "zero_shot":
        task = with_text_shots(task, once=build.balances_classes)
    _tell_of_unequal_shots(method, task)
    given = {**settings, **chosen}
    if select:
        given |= select_defaults(method, task, config, given, progress=progress)
    adapter = build_adapter(build, task, given)
    defaults = asdict(build.Config())
    asked = {**defaults, **settings}
    selected = {
        name: value
        for name, value in adapter.settings().items()
        if value != asked[name] or (name in given and name not in settings)
    }
    return Prepared(adapter, task, selected)


def _tell_of_unequal_shots(method: str, task: FewShotTask) -> None:
    """Warns where a method adds up over the shots of a class and nothing else counts."""
    count = torch.bincount(task.support.y)
    count = count[count > 0]
    if method in SUMS_OVER_SHOTS and not task.has_text and count.max() >= 2 * count.min():
        warn(
            f"{method} adds up over the shots of a class ({int(count.min())} to "
            f"{int(count.max())} here), so that without texts classes of many shots are favoured: "
            f"limit them with at_most (--at-most), or choose another method, as gda."
        )


def recipe(
    method: str,
    task: FewShotTask,
    config: TrainConfig,
    history: History,
    draw_seed: int | None,
) -> dict[str, Any]:
    """The whole recipe of a training, and the draw: its seed is :obj:`None` if the shots were
    given."""
    build = adapter_class(method)
    count = torch.bincount(task.support.y)
    shots = int(count.max()) if len(count) else 0
    draw: dict[str, Any] = {"shots": shots, "draw_seed": draw_seed}
    fewest = int(count[count > 0].min()) if shots else 0
    if fewest < shots:
        draw["fewest_shots"] = fewest
    if not task.has_text:
        draw["texts"] = NO_TEXTS
    elif shots:
        draw["evidence"] = evidence(task).as_dict()
    if not build.is_trained:
        return {**draw, "seed": config.seed, "device": config.device}
    return {**draw, **asdict(config.completed(build)), "epochs": len(history.loss)}


def classes_without_shots(task: FewShotTask) -> Tensor:
    """The classes that have no shot ``[C']``."""
    return (torch.bincount(task.support.y, minlength=task.num_classes) == 0).nonzero().flatten()


def with_text_shots(task: FewShotTask, *, once: bool = False) -> FewShotTask:
    r"""The task in which the text feature of each class without shots stands in for shots.

    Images and texts of one class lie apart in the space of features, in about the same direction
    for all classes. So a text is moved by the mean of this difference,

    .. math::
        \mathbf{s}_c = \mathbf{t}_c + \frac{1}{|K|} \sum_{k \in K} (\mathbf{p}_k - \mathbf{t}_k)

    over the classes :math:`K` with shots, whose mean feature is :math:`\mathbf{p}_k`. It stands for
    as many shots as these classes have on average.

    Args:
        task (FewShotTask): The task.
        once (bool, optional): Let it stand for one shot, for methods in which every class has the
            same part in the loss. (default: :obj:`False`)
    """
    lacking, support = classes_without_shots(task), task.support
    if not len(lacking) or not len(support):
        return task
    count = torch.bincount(support.y, minlength=task.num_classes)
    has_shots = count > 0
    images = unit(support.x).mean(dim=1)  # [N, D]
    prototypes = scatter(images, support.y, dim_size=task.num_classes, reduce="mean")  # [C, D]
    text = unit(task.text).to(images)
    moved = text[lacking] + (prototypes - text)[has_shots].mean(dim=0)
    x = unit(moved).to(support.x).unsqueeze(1).expand(-1, support.x.size(1), -1)
    repeats = 1 if once else max(1, round(len(support) / int(has_shots.sum())))
    with_text = Features(
        torch.cat([support.x, x.repeat(repeats, 1, 1)]),
        torch.cat([support.y, lacking.repeat(repeats)]),
    )
    weight = task.weight
    if weight is not None:
        weight = torch.cat([weight, weight.new_ones(len(with_text) - len(weight))])
    return replace(task, support=with_text, image_hashes=(), weight=weight)
