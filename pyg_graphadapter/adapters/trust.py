r"""How far the class texts of a task can be trusted, known from its shots.

Nothing of zero-shot CLIP was fitted to the shots, so that they measure it. What is measured is the
share of the other classes that an image's own class is placed before,

.. math::
    u = \frac{1}{N} \sum_i \frac{1}{C - 1} \sum_{c \neq y_i}
    [\mathbf{x}_i^{\top} \mathbf{t}_{y_i} > \mathbf{x}_i^{\top} \mathbf{t}_c]

the area under the curve of receiver operating characteristics, averaged over the images of each
class and then over classes. It is one half
by chance, whatever the number of classes, and says more of a few images than the accuracy does: a
name that means nothing to the model is placed anywhere, a near miss is placed second. With two
shots or more per class, the images are measured in the same way: by their cosine to the mean of the
other shots of every class.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_graphadapter.adapters.gaussian import class_means
from pyg_graphadapter.copies import groups_of_copies
from pyg_graphadapter.graph import row_blocks, unit
from pyg_graphadapter.task import FewShotTask

USUAL = 0.87  # the share where nothing was measured; it counts like one more shot
SAYS_LITTLE = 0.56  # texts with a lower share say next to nothing


class Evidence(NamedTuple):
    """What the shots say of the texts, and of the images.

    Args:
        right (int): How many shots zero-shot CLIP classifies right.
        ahead (float): The share of the other classes that zero-shot CLIP places behind the class of
            a shot, a mean over classes.
        total (int): The number of shots; copies of an image are one.
        num_classes (int): The number of classes :math:`C`.
        right_by_images (int, optional): How many shots are nearest to the mean of the other shots
            of their class; :obj:`None` if a class has a single shot.
        ahead_by_images (float, optional): The share for these means, likewise.
    """

    right: int
    ahead: float
    total: int
    num_classes: int
    right_by_images: int | None = None
    ahead_by_images: float | None = None

    def as_dict(self) -> dict[str, float]:
        """What was measured, by name."""
        values = self._asdict()
        return {name: round(value, 6) for name, value in values.items() if value is not None}

    @property
    def change(self) -> float:
        r"""How far the graphs may change the texts, :math:`1 - \alpha` without bounds:

        .. math::
            1 - \alpha = 0.35 \cdot \frac{1 - u}{u} \cdot \sqrt{\frac{v}{1 - v}}

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


class DistinctShots(NamedTuple):
    """The shots of a task, each image once.

    Args:
        x (torch.Tensor): One feature of length one per image, in double precision ``[N, D]``.
        y (torch.Tensor): Their classes ``[N]``.
        number (torch.Tensor): How often each image counts within its class: the sum of the weights
            of its copies ``[N]``.
    """

    x: Tensor
    y: Tensor
    number: Tensor


def distinct_shots(task: FewShotTask) -> DistinctShots:
    """The shots of a task, each image once in its class: copies say nothing new, and left out in
    turn they would vouch for each other."""
    x, y, number = task.support.mean_views().double(), task.support.y, task.weights().double()
    key = groups_of_copies(x) * task.num_classes + y
    which = torch.unique(key, return_inverse=True)[1]
    first = torch.full((int(which.max()) + 1,), len(y)) if len(y) else torch.empty(0).long()
    first = first.scatter_reduce(0, which, torch.arange(len(y)), "amin")
    total = number.new_zeros(len(first)).index_add_(0, which, number)
    return DistinctShots(x[first], y[first], total)


def evidence(task: FewShotTask) -> Evidence:
    """Measures texts and images on the shots of a task with texts, in blocks of shots. Every class
    counts the same, and every image once (:func:`distinct_shots`).

    Raises:
        ValueError: If the task has no shot.
    """
    x, y, number = distinct_shots(task)
    if not len(y):
        raise ValueError("The task has no shot, so that there is nothing to measure texts on.")
    num_classes = task.num_classes
    share = number / number.new_zeros(num_classes).index_add_(0, y, number)[y]  # one per class
    # In double precision, products with equal texts are equal:
    texts = _measured(x, unit(task.text).to(x), y, share)
    count = torch.bincount(y, minlength=num_classes)
    if int(count.min()) < 2:
        return Evidence(*texts, len(y), num_classes)
    # Centred, as the features of all classes have much in common:
    x = x - class_means(x, y, number.unsqueeze(1), num_classes).mean(dim=0)
    weighted = number.unsqueeze(1) * x
    totals = x.new_zeros(num_classes, x.size(1)).index_add_(0, y, weighted)
    left_out = (unit(x) * unit(totals[y] - weighted)).sum(dim=1)  # with the image left out [N]
    images = _measured(unit(x), unit(totals), y, share, left_out)
    return Evidence(*texts, len(y), num_classes, *images)


def _measured(
    x: Tensor, of_classes: Tensor, y: Tensor, share: Tensor, left_out: Tensor | None = None
) -> tuple[int, float]:
    """How many images ``[N, D]`` are right by their products with class features ``[C, D]``, and
    the mean over classes of the share of the other classes with a smaller product; of equal ones
    half, of no others all.

    Args:
        x (torch.Tensor): The images.
        of_classes (torch.Tensor): The class features.
        y (torch.Tensor): The classes of the images ``[N]``.
        share (torch.Tensor): The share of each image in its class ``[N]``.
        left_out (torch.Tensor, optional): What stands in the place of the products with the class
            of the image ``[N]``. (default: :obj:`None`)
    """
    right, ahead = 0, 0.0
    others = len(of_classes) - 1
    for rows in row_blocks(len(x), len(of_classes)):
        score, label = x[rows] @ of_classes.t(), y[rows].unsqueeze(1)
        if left_out is not None:
            score.scatter_(1, label, left_out[rows].unsqueeze(1))
        true = score.gather(1, label)
        lower = (score < true).sum(dim=1) + 0.5 * ((score == true).sum(dim=1) - 1)
        right += int((score.argmax(dim=1) == y[rows]).sum())
        ahead += float(share[rows] @ lower.to(share)) / max(1, others)
    return right, ahead / float(share.sum()) if others else 1.0
