r"""How far the class texts of a task can be trusted, known from its shots.

Nothing of zero-shot CLIP was fitted to the shots, so that they measure it. What is measured is the
share of the other classes that an image's own class is placed before,

.. math::
    u = \frac{1}{N} \sum_i \frac{1}{C - 1} \sum_{c \neq y_i}
    [\mathbf{x}_i^{\top} \mathbf{t}_{y_i} > \mathbf{x}_i^{\top} \mathbf{t}_c]

the area under the curve of receiver operating characteristics, averaged over images. It is one half
by chance, whatever the number of classes, and says more of a few images than the accuracy does: a
name that means nothing to the model is placed anywhere, a near miss is placed second. With two
shots or more per class, the images are measured in the same way: by their cosine to the mean of the
other shots of every class.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_graphadapter.adapters.gaussian import class_means
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import FewShotTask

USUAL = 0.87  # the share where nothing was measured; it counts like one more shot
SAYS_LITTLE = 0.56  # texts with a lower share say next to nothing


class Evidence(NamedTuple):
    """What the shots say of the texts, and of the images.

    Args:
        right (float): How many shots zero-shot CLIP classifies right. Shots of weight two count
            like two.
        ahead (float): The mean share of the other classes that zero-shot CLIP places behind the
            class of a shot.
        total (float): The number of shots.
        num_classes (int): The number of classes :math:`C`.
        right_by_images (float, optional): How many shots are nearest to the mean of the other shots
            of their class; :obj:`None` if a class has a single shot.
        ahead_by_images (float, optional): The share for these means, likewise.
    """

    right: float
    ahead: float
    total: float
    num_classes: int
    right_by_images: float | None = None
    ahead_by_images: float | None = None

    def as_dict(self) -> dict[str, float]:
        """What was measured, by name."""
        values = self._asdict()
        return {name: round(value, 6) for name, value in values.items() if value is not None}

    @property
    def change(self) -> float:
        r"""How far the graphs may change the texts, :math:`1 - \alpha` without bounds:

        .. math::
            1 - \alpha = 0.35 \cdot \frac{1 - u}{u} \, \Big/ \sqrt{\frac{1 - v}{v}}

        with the shares :math:`u` of the texts and :math:`v` of the images. Texts that are often
        wrong may be changed much, more so by images that tell the classes apart.
        """
        odds = (1 - self._smoothed(self.ahead)) / self._smoothed(self.ahead)
        of_images = USUAL if self.ahead_by_images is None else self._smoothed(self.ahead_by_images)
        return float(0.35 * odds / ((1 - of_images) / of_images) ** 0.5)

    @property
    def says_little(self) -> bool:
        """Whether the texts say next to nothing about the images."""
        return self._smoothed(self.ahead) < SAYS_LITTLE

    def _smoothed(self, share: float) -> float:
        return (share * self.total + USUAL) / (self.total + 1)


def evidence(task: FewShotTask) -> Evidence:
    """Measures texts and images on the shots of a task with texts.

    Raises:
        ValueError: If the task has no shot.
    """
    # In double precision, in which products with equal texts are equal:
    x, y = task.support.mean_views().double(), task.support.y
    if not len(y):
        raise ValueError("The task has no shot, so that there is nothing to measure texts on.")
    number = task.weights().to(x)  # [N]
    total = float(number.sum())
    is_right, ahead = _ranked(x @ unit(task.text).to(x).t(), y)
    right, share = float(number @ is_right), float(number @ ahead) / total
    if int(torch.bincount(y, minlength=task.num_classes).min()) < 2:
        return Evidence(right, share, total, task.num_classes)
    is_right, ahead = _ranked(_left_out_cosine(x, y, number, task.num_classes), y)
    by_images = float(number @ is_right), float(number @ ahead) / total
    return Evidence(right, share, total, task.num_classes, *by_images)


def _ranked(score: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of scores ``[N, C]``, whether that of class ``y`` is the highest ``[N]``, and the share of
    the others that are lower ``[N]``; of equal ones half, of no others all."""
    own = score.gather(1, y.unsqueeze(1))
    lower = (score < own).sum(dim=1) + 0.5 * ((score == own).sum(dim=1) - 1)
    is_right = (score.argmax(dim=1) == y).to(score)
    others = score.size(1) - 1
    return is_right, lower.to(score) / others if others else torch.ones_like(is_right)


def _left_out_cosine(x: Tensor, y: Tensor, number: Tensor, num_classes: int) -> Tensor:
    """The cosine of every image to the mean of every class ``[N, C]``; of its own class, to the
    mean of the other images. All are centred, as the features of all classes have much in
    common."""
    weight = number.unsqueeze(1)
    x = x - class_means(x, y, weight, num_classes).mean(dim=0)
    totals = x.new_zeros(num_classes, x.size(1)).index_add_(0, y, weight * x)
    cosine = unit(x) @ unit(totals).t()
    own = unit(totals[y] - weight * x)
    return cosine.scatter(1, y.unsqueeze(1), (unit(x) * own).sum(dim=1, keepdim=True))
