"""A training step of GraphAdapter: the matrix products that it needs, and little else."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_graphadapter.nn import KnowledgeConv

EPSILON = 1e-12  # a shorter row counts as so long, as in torch.nn.functional.normalize
ACTIVATIONS = ("tanh", "none")


@dataclass(frozen=True)
class Side:
    r"""One of both sides of the residual.

    Args:
        conv (KnowledgeConv): Its convolution.
        share (float): Its weight in the fusion, :math:`\beta` or :math:`1 - \beta`.
        messages (torch.Tensor): What every class collects, :math:`(C, D)`.
    """

    conv: KnowledgeConv
    share: float
    messages: Tensor


class GraphStep:
    r"""The mean cross-entropy of a batch under GraphAdapter, and its gradient.

    With :math:`\mathbf{w}_c` the class feature before it is brought to length one, and
    :math:`\mathbf{G}` the gradient with respect to :math:`\mathbf{x}^{\top} \mathbf{w}_c`, the
    gradient is

    .. math::
        \frac{\partial L}{\partial \mathbf{w}_c} = \sum_b G_{bc} \mathbf{x}_b - \mathbf{w}_c
        \frac{\sum_b G_{bc} \, \mathbf{x}_b^{\top} \mathbf{w}_c}{{\Vert \mathbf{w}_c \Vert}^2}

    so that lengths and what they do to the gradient are found on ``[B, C]``, and what is left is
    two products with :math:`D^2` weights forward, two backward, the logits, and :math:`\mathbf{G}`
    with the batch. All else is done in place, in memory that is kept between steps; the gradient of
    one bias a class is such memory too. :func:`torch.autograd.grad` gives the same to rounding.

    Args:
        text (torch.Tensor): The class text features, of length one.
        sides (sequence of Side): Both sides, or the one that is not switched off.
        alpha (float): The weight of the text features.
        activation (str): :obj:`"tanh"` or :obj:`"none"`.
        dtype (torch.dtype, optional): Of the products' factors. (default: that of :obj:`text`)

    Shapes:
        - **text:** :math:`(C, D)`
    """

    def __init__(
        self,
        text: Tensor,
        sides: Sequence[Side],
        alpha: float,
        activation: str,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.text, self.alpha, self.activation = text, alpha, activation
        self.dtype = dtype or text.dtype
        self.sides = sides
        self._factors = [side.messages.to(self.dtype) for side in sides]
        self._h = [torch.empty_like(text) for _ in sides]  # [C, D] each
        self._w, self._grad = torch.empty_like(text), torch.empty_like(text)  # [C, D]
        self._logits = self._raw = text.new_empty(0, len(text))  # [B, C]

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor, scale: float, label_smoothing: float = 0.0) -> Tensor:
        r"""The loss, after the gradient was put into the parameters' :obj:`grad`.

        Args:
            x (torch.Tensor): Image features of length one.
            y (torch.Tensor): Their labels.
            scale (float): The factor of the cosine.
            label_smoothing (float, optional): As in :func:`torch.nn.functional.cross_entropy`.
                (default: :obj:`0.0`)

        Shapes:
            - **x:** :math:`(B, D)`; **y:** :math:`(B)`
        """
        w, grad = self._weights(), self._grad
        size, num_classes = len(x), len(w)
        if size > len(self._raw):
            self._raw, self._logits = (w.new_empty(size, num_classes) for _ in range(2))
        raw, logits = self._raw[:size], self._logits[:size]

        norm = torch.linalg.vector_norm(w, dim=1).clamp_(min=EPSILON)  # [C]
        factor = scale / norm
        self._product(raw, x, w.t())
        torch.mul(raw, factor, out=logits)
        log_p = torch.log_softmax(logits, dim=1)
        target = y.unsqueeze(1)  # [B, 1]
        loss = log_p.gather(1, target).mean().neg_()
        if label_smoothing:
            loss = torch.lerp(loss, log_p.mean().neg_(), label_smoothing)

        g = log_p.exp_()  # becomes the gradient with respect to `raw`, times what the residual has
        if label_smoothing:
            g.sub_(label_smoothing / num_classes)
        g.scatter_add_(1, target, g.new_full((1, 1), label_smoothing - 1).expand(size, 1))
        g.mul_(factor.mul_((1 - self.alpha) / size))
        pull = raw.mul_(g).sum(dim=0).div_(norm.square_())  # [C]
        self._product(grad, g.t(), x)
        grad.addcmul_(w, pull.unsqueeze(1), value=-1)
        self._backward(grad)
        return loss

    def _weights(self) -> Tensor:
        """The class features before they are brought to length one ``[C, D]``."""
        for side, messages, h in zip(self.sides, self._factors, self._h, strict=True):
            weight, bias = side.conv.lin.weight, side.conv.bias
            if bias is None or messages.dtype != h.dtype:
                self._product(h, messages, weight.t())
                h.add_(bias) if bias is not None else h
            else:
                torch.addmm(bias, messages, weight.t(), out=h)
            if self.activation == "tanh":
                h.tanh_()
        z = self._h[0]
        if len(self._h) == 2:
            z = torch.lerp(self._h[1], z, self.sides[0].share, out=self._w)
        return torch.lerp(z, self.text, self.alpha, out=self._w)

    def _backward(self, grad: Tensor) -> None:
        """From the gradient of what both sides give, weighted, to that of the parameters."""
        for side, messages, h in zip(self.sides, self._factors, self._h, strict=True):
            if self.activation == "tanh":
                torch.ops.aten.tanh_backward.grad_input(grad, h, grad_input=h)
            else:
                h.copy_(grad)
            if side.share != 1:
                h.mul_(side.share)
            weight, bias = side.conv.lin.weight, side.conv.bias
            if weight.grad is None:
                weight.grad = torch.empty_like(weight)
            self._product(weight.grad, h.t(), messages)
            if bias is not None:
                bias.grad = h if bias.dim() == 2 else h.sum(dim=0)

    def _product(self, out: Tensor, first: Tensor, second: Tensor) -> None:
        if self.dtype == out.dtype:
            torch.mm(first, second, out=out)
        else:
            out.copy_(first.to(self.dtype) @ second.to(self.dtype))
