r"""How familiar an image looks to a classifier: whether it is of one of the classes at all.

The familiarity of an image is the smaller one of two numbers. Both are known from the texts and the
shots alone, whatever the method, and need no setting. The first one is the cosine to the text
:math:`\mathbf{t}_c` and to the mean feature :math:`\boldsymbol{\mu}_c` of one class together. (The
`"Delving into Out-of-Distribution Detection with Vision-Language Representations"
<https://arxiv.org/abs/2211.13445>`_ paper has the cosine to the text alone, in a softmax.) The
second one is the Mahalanobis distance to the nearest class mean, of the `"A Simple Unified
Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"
<https://arxiv.org/abs/1807.03888>`_ paper (Section 2.1):

.. math::
    a(\mathbf{x}) &= \max_c \; 4 \, \mathbf{x}^{\top} \mathbf{t}_c +
    \mathbf{x}^{\top} \boldsymbol{\mu}_c / {\Vert \boldsymbol{\mu}_c \Vert}_2 \\
    b(\mathbf{x}) &= \max_c \; - \log \, (\mathbf{x} - \boldsymbol{\mu}_c)^{\top}
    \mathbf{P} \, (\mathbf{x} - \boldsymbol{\mu}_c), \qquad
    \mathbf{P} \propto {(\mathbf{S} + \lambda \mathbf{I})}^{-1}, \quad
    \lambda = \textrm{tr}(\mathbf{S}) / (N - C) \\
    \textrm{familiarity} &= \min \Big( \frac{a - \bar{a}}{\sigma_a},
    \frac{b - \bar{b}}{\sigma_b} \Big)

:math:`\mathbf{S}` is the scatter of the shots around their class means, and :math:`\bar{a}` and
:math:`\sigma_a` are the mean and the deviation over shots, each of which is left out of
:math:`\boldsymbol{\mu}` and :math:`\mathbf{S}` in closed form. Without texts, their cosine is not
in :math:`a`. ``benchmarks/unknown`` has the measurements by which this was chosen.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from pyg_graphadapter.adapters.gaussian import class_means
from pyg_graphadapter.adapters.trust import distinct_shots
from pyg_graphadapter.graph import row_blocks, unit
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.fitting import classes_without_shots, with_text_shots

TEXT_WEIGHT = 4.0
FEWEST = 4  # images that have to be left out, so that their deviation says something
MOST = 2000  # images that are left out; more say no more
SMALLEST = 1e-12  # squared distance
LEFT_OUT = "each shot left out of its class"
ASSUMED = (
    "one shot per class, none of which can be left out: an image of a class is assumed to be as "
    "near to its shot as to the nearest shot of another class"
)
NO_SHOTS = "none: it was fitted without shots"
TOO_FEW = "none: too few shots can be left out"


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What is known of how images of the classes look.

    Args:
        means (torch.Tensor): The mean feature of each class; no rows without shots.
        directions (torch.Tensor): The directions in which images of a class vary, by which the
            Mahalanobis distance is shorter than the Euclidean one.
        scales (torch.Tensor): The mean and the deviation of both numbers over the shots; one row
            where the first one stands alone.
        left_out (torch.Tensor): The familiarity of each shot that was left out.
        source (str): How this was found, in words.

    Shapes:
        - **means:** :math:`(C, D)` or :math:`(0, D)`; **directions:** :math:`(R, D)`
        - **scales:** :math:`(2, 2)` or :math:`(1, 2)`; **left_out:** :math:`(M)`

    Raises:
        ValueError: If the tensors do not fit together.
    """

    means: Tensor
    directions: Tensor
    scales: Tensor
    left_out: Tensor
    source: str

    def __post_init__(self) -> None:
        """Checks that the tensors fit together."""
        shapes = [list(value.shape) for value in self.tensors().values()]
        fits = (
            all(value.is_floating_point() for value in self.tensors().values())
            and [value.dim() for value in self.tensors().values()] == [2, 2, 2, 1]
            and self.means.size(1) == self.directions.size(1)
            and shapes[2] in ([1, 2], [2, 2])
            and bool((self.scales[:, 1] > 0).all())
        )
        if not fits:
            raise ValueError(
                f"'means' [C, D], 'directions' [R, D], 'scales' [2, 2] and 'left_out' [M] do not "
                f"fit together (got {', '.join(map(str, shapes))})."
            )

    @classmethod
    def from_task(cls, task: FewShotTask) -> Self:
        """What the shots of a task say. The text features of classes without shots stand in for
        these (:func:`~pyg_graphadapter.training.fitting.with_text_shots`)."""
        x, y, number = distinct_shots(task)
        if not len(x):
            nothing = torch.empty(0, task.text.size(1))
            scales = torch.tensor([[0.0, TEXT_WEIGHT]])  # the cosine itself
            return cls(nothing, nothing, scales, torch.empty(0), NO_SHOTS)
        text = unit(task.text).to(x) if task.has_text else None
        means = class_means(x, y, number.unsqueeze(1), task.num_classes)
        lacking = classes_without_shots(task)
        if len(lacking):  # what stands in for their shots comes last
            stand_ins = with_text_shots(task, once=True).support.mean_views()[-len(lacking) :]
            means[lacking] = stand_ins.to(means)
        shots = _Shots(x, y, number, means, text)
        directions, ridge = shots.directions()
        scales, left_out, source = shots.without_each(directions, ridge)
        means = shots.means.float()
        return cls(means, directions.float(), scales.float(), left_out.float(), source)

    def check_fits(self, text: Tensor) -> None:
        """Checks that it is of as many classes as there are texts ``[C, D]``, as wide as they are.

        Raises:
            ValueError: If it is not.
        """
        if self.means.size(1) != text.size(1) or len(self.means) not in (0, len(text)):
            raise ValueError(
                f"'means' must be {list(text.shape)}, or have no rows (got "
                f"{list(self.means.shape)})."
            )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return {
            "means": self.means,
            "directions": self.directions,
            "scales": self.scales,
            "left_out": self.left_out,
        }

    def of(self, x: Tensor, text: Tensor | None) -> Tensor:
        """The familiarity ``[N]`` of image features ``[N, D]`` of any length.

        Args:
            x (torch.Tensor): The features.
            text (torch.Tensor, optional): The text features of the classes ``[C, D]``.
        """
        x = unit(x.detach().cpu()).double()
        means, directions = self.means.double(), self.directions.double()
        classes = _classes(means, text)
        blocks = [
            _familiarity(
                _largest(
                    x[rows] @ classes.t(),
                    _nearness(_distances(x[rows], means, directions)) if len(means) else None,
                ),
                self.scales.double(),
            )
            for rows in row_blocks(len(x), len(classes))
        ]
        return torch.cat(blocks).float() if blocks else torch.empty(0)

    def limit(self, accept: float) -> float:
        r"""The familiarity that a share of the images of the classes has at least: the lower limit
        of Student's prediction interval for one more image beside those that were left out,

        .. math::
            \bar{f} - t_{M - 1, \textrm{accept}} \cdot s_f \sqrt{1 + 1 / M}

        Args:
            accept (float): The share.

        Raises:
            ValueError: If it is not between 0 and 1, or too few shots were left out.
        """
        if not isinstance(accept, int | float) or not 0 < accept < 1:
            raise ValueError(
                f"'accept' is the share of images of the classes that are accepted, between 0 and "
                f"1 (got {accept!r})."
            )
        if self.source == NO_SHOTS:
            raise ValueError(
                "The classifier was fitted without shots, so that nothing is known of how images "
                "of its classes look: add shots (add_shots, fit --from) to reject others."
            )
        if len(self.left_out) < FEWEST:
            raise ValueError(
                "Too few shots can be left out to say how images of the classes look: give two "
                "images or more of two classes or more to reject others."
            )
        from scipy.stats import t

        count = len(self.left_out)
        width = float(t.ppf(accept, count - 1)) * float(1 + 1 / count) ** 0.5
        return float(self.left_out.mean() - width * self.left_out.std())

    def extended(self, text: Tensor, new_text: Tensor) -> "Familiarity":
        """With further classes, of which only the texts ``[C', D]`` are known beside those of the
        classes that it has ``[C, D]``."""
        if not len(self.means):
            return self
        gap = (self.means - unit(text).to(self.means)).mean(dim=0)
        more = unit(unit(new_text).to(self.means) + gap)
        means = torch.cat([self.means, more])
        return Familiarity(means, self.directions, self.scales, self.left_out, self.source)


class _Shots(NamedTuple):
    """The distinct shots ``[N, D]`` of a task, in double precision, with their classes ``[N]`` and
    how often each counts ``[N]``; the class means ``[C, D]`` and texts ``[C, D]``."""

    x: Tensor
    y: Tensor
    number: Tensor
    means: Tensor
    text: Tensor | None

    def directions(self) -> tuple[Tensor, float]:
        r"""The directions :math:`\mathbf{A}` ``[R, D]`` with :math:`{(\mathbf{S} + \lambda
        \mathbf{I})}^{-1} = (\mathbf{I} - \mathbf{A}^{\top} \mathbf{A}) / \lambda`, and
        :math:`\lambda`."""
        residual = self.number.sqrt().unsqueeze(1) * (self.x - self.means[self.y])
        freedom = max(1.0, float(self.number.sum()) - len(torch.unique(self.y)))
        ridge = float(residual.square().sum()) / freedom
        if ridge <= SMALLEST:
            return self.x[:0], 1.0
        if len(residual) > residual.size(1):  # its triangle has the same scatter
            residual = torch.linalg.qr(residual, mode="r").R
        _, deviation, axes = torch.linalg.svd(residual, full_matrices=False)
        varies = deviation.square() > SMALLEST * ridge
        deviation, axes = deviation[varies], axes[varies]
        shares = deviation / (deviation.square() + ridge).sqrt()
        return shares.unsqueeze(1) * axes, ridge

    def without_each(self, directions: Tensor, ridge: float) -> tuple[Tensor, Tensor, str]:
        """The scales ``[2, 2]``, the familiarity ``[M]`` of the shots left out, and how."""
        count = torch.bincount(self.y, minlength=len(self.means))
        rows = (count[self.y] > 1).nonzero().flatten()
        source = LEFT_OUT
        if len(rows) < FEWEST and self.text is not None and len(self.x) >= FEWEST:
            rows, source = torch.arange(len(self.x)), ASSUMED
        if len(rows) < FEWEST:
            return torch.tensor([[0.0, 1.0]]), torch.empty(0), TOO_FEW
        rows = rows[:: -(-len(rows) // MOST)]
        left_out = torch.cat(
            [
                self._left_out(rows[block], directions, ridge)
                if source == LEFT_OUT
                else self._assumed(rows[block], directions)
                for block in row_blocks(len(rows), len(self.means))
            ]
        )
        scales = torch.stack([left_out.mean(dim=0), left_out.std(dim=0).clamp_min(1e-9)], dim=1)
        return scales, _familiarity(left_out, scales).sort().values, source

    # Without image i of weight w, the mean of its class of total weight n is mu - w (x - mu) /
    # (n - w), and the scatter S - v r r^T with r = x - mu and v = n w / (n - w). The formula of
    # Sherman and Morrison gives the inverse, P + v P r (P r)^T / (1 - v r^T P r).
    def _left_out(self, rows: Tensor, directions: Tensor, ridge: float) -> Tensor:
        """Both numbers ``[M, 2]`` of shots that are left out of the means and the scatter."""
        x, y, w = self.x[rows], self.y[rows], self.number[rows].unsqueeze(1)
        total = self.number.new_zeros(len(self.means)).index_add_(0, self.y, self.number)
        n = total[y].unsqueeze(1)
        joint = x @ _classes(self.means, self.text).t()
        cosines = (x * unit(n * self.means[y] - w * x)).sum(dim=1)
        joint.scatter_(1, y.unsqueeze(1), (cosines + self._text_part(x, y)).unsqueeze(1))
        residual = x - self.means[y]
        towards = residual - residual @ directions.t() @ directions  # P r, times the ridge
        length = (residual * towards).sum(dim=1, keepdim=True)  # r^T P r
        v = n * w / (n - w) / ridge
        across = (x * towards).sum(dim=1, keepdim=True) - towards @ self.means.t()
        distance = _distances(x, self.means, directions)
        distance += v * across.square() / (1 - v * length)
        own_distance = (n / (n - w)).square() * length / (1 - v * length)
        distance.scatter_(1, y.unsqueeze(1), own_distance)
        return _largest(joint, _nearness(distance))

    def _assumed(self, rows: Tensor, directions: Tensor) -> Tensor:
        """Both numbers ``[M, 2]`` of shots that are the only ones of their classes: as near to
        these as to the nearest other class."""
        x, y = self.x[rows], self.y[rows]
        labels = y.unsqueeze(1)
        cosine = x @ unit(self.means).t()
        nearest = cosine.scatter(1, labels, -torch.inf).amax(dim=1)
        joint = x @ _classes(self.means, self.text).t()
        joint.scatter_(1, labels, (nearest + self._text_part(x, y)).unsqueeze(1))
        distance = _distances(x, self.means, directions).scatter(1, labels, torch.inf)
        return _largest(joint, _nearness(distance))

    def _text_part(self, x: Tensor, y: Tensor) -> Tensor | float:
        """What the text of the own class adds to the first number ``[M]``."""
        return 0.0 if self.text is None else TEXT_WEIGHT * (x * self.text[y]).sum(dim=1)


def _classes(means: Tensor, text: Tensor | None) -> Tensor:
    """What the first number of an image is the largest product with ``[C, D]``."""
    if text is None:
        return unit(means)
    text = TEXT_WEIGHT * unit(text).double()
    return text + unit(means) if len(means) else text


def _distances(x: Tensor, means: Tensor, directions: Tensor) -> Tensor:
    """Squared Mahalanobis distances, times the ridge ``[B, C]``."""

    def squared(a: Tensor, b: Tensor) -> Tensor:
        of_a, of_b = a.square().sum(dim=1, keepdim=True), b.square().sum(dim=1)
        return of_a + of_b - 2 * a @ b.t()

    return squared(x, means) - squared(x @ directions.t(), means @ directions.t())


def _nearness(distances: Tensor) -> Tensor:
    return -distances.clamp_min(SMALLEST).log()


def _largest(joint: Tensor, nearness: Tensor | None) -> Tensor:
    """Both numbers ``[B, 2]`` of images, or the first one alone ``[B, 1]``."""
    parts = [joint] if nearness is None else [joint, nearness]
    return torch.stack([part.amax(dim=1) for part in parts], dim=1)


def _familiarity(numbers: Tensor, scales: Tensor) -> Tensor:
    """The smaller one of both numbers in their scales ``[B]``."""
    numbers = numbers[:, : len(scales)]
    return ((numbers - scales[:, 0]) / scales[:, 1]).amin(dim=1)
