"""The temperature by which logits become probabilities that can be trusted."""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

PRIOR = 3.0
BOUNDS = (1e-3, 1e3)  # of 1 / T


def fit_temperature(logits: Tensor, y: Tensor, prior: float = PRIOR) -> float:
    r"""The temperature :math:`T` that makes the labels of held-out images likeliest (`"On
    Calibration of Modern Neural Networks" <https://arxiv.org/abs/1706.04599>`_, Section 4.2). It
    minimises, over :math:`b = 1 / T`,

    .. math::
        - \sum_i \log \textrm{softmax}(b \, \mathbf{z}_i)_{y_i} + a \, (b - \log b)

    The second term is a Gamma prior whose mode is :math:`T = 1`. It keeps :math:`T` from zero where
    all images are right, and counts less the more images there are. The sum is convex in :math:`b`,
    so that the zero of its derivative is the only minimum.

    Args:
        logits (torch.Tensor): The logits :math:`\mathbf{z}` of images that were held out.
        y (torch.Tensor): Their labels.
        prior (float, optional): The weight :math:`a` of the prior. (default: :obj:`3.0`,
            the least loss on images that were not drawn, over methods, sets and shots)

    Shapes:
        - **logits:** :math:`(M, C)`; **y:** :math:`(M)`; there may be none, and :math:`T` is 1 then
    """
    z = logits.double()
    z_of_label = z.gather(1, y.unsqueeze(1)).sum()

    def slope(log_b: float) -> float:
        b = float(np.exp(log_b))
        expected = ((b * z).softmax(dim=1) * z).sum()
        return float(expected - z_of_label) + prior * (1 - 1 / b)

    low, high = np.log(BOUNDS)
    if slope(low) >= 0:
        return 1 / BOUNDS[0]
    if slope(high) <= 0:
        return 1 / BOUNDS[1]
    return float(np.exp(-brentq(slope, low, high, xtol=1e-6)))


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    r"""The probabilities :math:`\textrm{softmax}(\textrm{logits} / T)` of a temperature. The
    likeliest class is that of the logits alone, also where numbers are so near each other that
    rounding would decide.

    Args:
        logits (torch.Tensor): The logits.
        temperature (float): The temperature :math:`T`.

    Shapes:
        - **logits**, **output:** :math:`(N, C)`
    """
    plain = logits.softmax(dim=1)
    if temperature == 1:
        return plain
    scaled = (logits.double() / temperature).softmax(dim=1).to(plain)
    label = plain.argmax(dim=1, keepdim=True)
    largest = scaled.amax(dim=1, keepdim=True)
    is_same = scaled.argmax(dim=1, keepdim=True) == label
    others = torch.minimum(scaled, torch.nextafter(largest, torch.zeros_like(largest)))
    return torch.where(is_same, scaled, others.scatter(1, label, largest))
