"""Class means and scatters of the shots, for classifiers that fit Gaussians to them."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_graphadapter.task import FewShotTask

ROUNDING = 1e-12  # as a share of the squares of the features, in double precision


class Moments(NamedTuple):
    """The shots of a task and the means of their classes, in double precision.

    Args:
        x (torch.Tensor): One feature of length one per image ``[N, D]``.
        y (torch.Tensor): Their classes ``[N]``.
        number (torch.Tensor): How often each image counts ``[N, 1]``.
        total (torch.Tensor): The sum of these numbers in every class ``[C, 1]``.
        mean (torch.Tensor): The class means ``[C, D]``.
    """

    x: Tensor
    y: Tensor
    number: Tensor
    total: Tensor
    mean: Tensor


def moments(task: FewShotTask) -> Moments:
    """The shots of a task and the means of their classes.

    Raises:
        ValueError: If a class has no shot, naming it.
    """
    task.prototypes()  # raises if a class has no shot
    x, y = task.support.mean_views().double(), task.support.y
    number = task.weights().double().unsqueeze(1)  # [N, 1]
    total = number.new_zeros(task.num_classes, 1).index_add_(0, y, number)
    return Moments(x, y, number, total, class_means(x, y, number, task.num_classes))


def class_means(x: Tensor, y: Tensor, number: Tensor, num_classes: int) -> Tensor:
    """The mean of every class ``[C, D]`` of samples ``[N, D]``, of which each counts ``number``
    ``[N, 1]`` times; zero for a class without samples."""
    count = number.new_zeros(num_classes, 1).index_add_(0, y, number)
    total = x.new_zeros(num_classes, x.size(1)).index_add_(0, y, number * x)
    return total / torch.where(count > 0, count, 1)


def scatter_around(x: Tensor, centre: Tensor, number: Tensor) -> tuple[Tensor, bool]:
    """The scatter of samples around their centres.

    Where all samples lie at their centres, as with one shot per class, it is the scatter around the
    common mean instead. It is exactly zero where all samples are equal.

    Args:
        x (torch.Tensor): The samples ``[N, D]``, in double precision.
        centre (torch.Tensor): Their centres ``[N, D]``.
        number (torch.Tensor): How often each sample counts ``[N, 1]``.

    Returns:
        tuple: The scatter ``[D, D]``, and whether it is around the centres.
    """
    rounding = ROUNDING * float((number * x.square()).sum())
    common_mean = (number * x).sum(dim=0) / number.sum()
    for residual, is_around_centres in ((x - centre, True), (x - common_mean, False)):
        scatter = residual.t() @ (number * residual)
        if scatter.trace() > rounding:
            return scatter, is_around_centres
    return torch.zeros_like(scatter), False
