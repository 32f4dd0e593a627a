"""A training step of GraphAdapter that costs little more than its matrix products."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pyg_graphadapter.adapters.graph_adapter import GraphAdapterConfig

EPSILON = 1e-12  # the smallest length, as in torch.nn.functional.normalize
ACTIVATIONS = ("tanh", "none")


@dataclass(frozen=True)
class Side:
    r"""The text side or the image side of the residual.

    Args:
        weight (torch.Tensor): Its parameter :math:`\mathbf{W}`.
        bias (torch.Tensor, optional): Its parameter :math:`\mathbf{b}`, one per class or shared.
        share (float): Its weight in the fusion, :math:`\beta` or :math:`1 - \beta`.
        messages (torch.Tensor): What every class collects.

    Shapes:
        - **weight:** :math:`(D, D)`; **bias:** :math:`(C, D)`, or :math:`(D)` if shared, or
          :math:`(S, 1, D)` in a batch of adapters; **messages:** :math:`(C, D)`
    """

    weight: Tensor
    bias: Tensor | None
    share: float
    messages: Tensor

    def parameters(self) -> Iterator[Tensor]:
        """The weight, and the bias if there is one."""
        yield self.weight
        if self.bias is not None:
            yield self.bias


def product_dtype(x: Tensor) -> torch.dtype:
    """The type of the factors of products: that of autocast if it is on, else that of ``x``."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class GraphStep:
    r"""The mean cross-entropy of a batch under GraphAdapter, and its gradient.

    With :math:`\mathbf{w}_c` the class feature before it is brought to length one, and
    :math:`\mathbf{G}` the gradient with respect to :math:`\mathbf{x}^{\top} \mathbf{w}_c`, the
    gradient is

    .. math::
        \frac{\partial L}{\partial \mathbf{w}_c} = \sum_b G_{bc} \mathbf{x}_b - \mathbf{w}_c
        \frac{\sum_b G_{bc} \, \mathbf{x}_b^{\top} \mathbf{w}_c}{{\Vert \mathbf{w}_c \Vert}^2}

    so that the norms and their gradients are computed on ``[B, C]``. The products that remain are
    two with :math:`D^2` weights forward, two backward, the logits, and :math:`\mathbf{G}` with the
    batch. All other operations are done in place, in memory that is reused by the next step. The
    gradient of per-class biases shares this memory. The result is that of automatic
    differentiation, up to rounding.

    With :math:`\sigma` the logistic function, :math:`\tanh(a) = 2 \, \sigma(2a) - 1` takes a fifth
    of the time of :func:`torch.tanh` on a CPU. The inner factor of two is part of the product.

    All tensors may have a further leading dimension for :math:`S` independent adapters. A step does
    not wait for the device, and its shapes depend on the batch size only, so that a GPU can replay
    it.

    Args:
        text (torch.Tensor): The class nodes, of length one.
        sides (sequence of Side): Both sides, or the one that is not switched off.
        config (GraphAdapterConfig): The settings, which :meth:`supports` must accept.
        alpha (torch.Tensor, optional): One :math:`\alpha` per adapter, where they differ; if not
            given, that of the settings. (default: :obj:`None`)
        lengths (torch.Tensor, optional): Factors of the logits of the classes.
            (default: :obj:`None`)

    Shapes:
        - **text:** :math:`(C, D)` or :math:`(S, C, D)`; **alpha:** :math:`(S, 1, 1)`;
          **lengths:** :math:`(C, 1)` or :math:`(S, C, 1)`
    """

    @staticmethod
    def supports(config: "GraphAdapterConfig") -> bool:
        """Whether there is a step for these settings."""
        has_step = config.activation in ACTIVATIONS and config.groups == 1
        return has_step and config.is_paper_conv

    def __init__(
        self,
        text: Tensor,
        sides: Sequence[Side],
        config: "GraphAdapterConfig",
        alpha: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        self.sides, self.lengths = sides, lengths
        self.alpha: float | Tensor = config.alpha if alpha is None else alpha
        self._has_tanh = config.activation == "tanh"
        self._gain = 2 if self._has_tanh else 1
        self._minus_one = text.new_tensor(-1.0)
        self._weighted_text = self.alpha * text
        self._dtype = text.dtype  # of the factors of products
        self._factors = [side.messages for side in sides]
        self._h = [torch.empty_like(text) for _ in sides]  # [*, C, D] each
        self._w, self._grad = torch.empty_like(text), torch.empty_like(text)  # [*, C, D]
        self._raw = self._logits = text.new_empty(0)  # for [*, B, C] each

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        y: Tensor,
        scale: float,
        label_smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> Tensor:
        r"""Returns the loss, and stores the gradient in the parameters' :obj:`grad`.

        Args:
            x (torch.Tensor): Image features of length one.
            y (torch.Tensor): Their labels.
            scale (float): The factor of the cosine.
            label_smoothing (float, optional): As in :func:`torch.nn.functional.cross_entropy`.
                (default: :obj:`0.0`)
            weight (torch.Tensor, optional): Factors of the losses. (default: :obj:`None`)

        Shapes:
            - **x:** :math:`(B, D)` or :math:`(S, B, D)`
            - **y**, **weight:** :math:`(B)` or :math:`(S, B)`
            - **output:** :math:`()` or :math:`(S)`
        """
        self._use_dtype(product_dtype(self._w))
        w, grad = self._weights(), self._grad
        size, num_classes = x.size(-2), w.size(-2)
        numel = y.numel() * num_classes
        if numel > len(self._raw):
            self._raw, self._logits = (w.new_empty(numel) for _ in range(2))
        raw, logits = (
            memory[:numel].view(*y.shape, num_classes) for memory in (self._raw, self._logits)
        )

        norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True).clamp_(min=EPSILON)  # [*, C, 1]
        factor = (scale / norm).mT  # [*, 1, C]
        if self.lengths is not None:
            factor = factor * self.lengths.mT
        self._product(raw, x, w.mT)
        torch.mul(raw, factor, out=logits)
        log_p = torch.log_softmax(logits, dim=-1)
        target = y.unsqueeze(-1)  # [*, B, 1]
        losses = log_p.gather(-1, target)  # [*, B, 1], negative
        if label_smoothing:
            losses = torch.lerp(losses, log_p.mean(dim=-1, keepdim=True), label_smoothing)
        if weight is not None:
            losses = losses * weight.unsqueeze(-1)
        loss = losses.mean(dim=(-2, -1)).neg_()

        g = log_p.exp_()  # becomes the gradient with respect to `raw`, times 1 - alpha
        if label_smoothing:
            g.sub_(label_smoothing / num_classes)
        g.scatter_add_(-1, target, g.new_full((), label_smoothing - 1).expand(target.shape))
        if weight is not None:
            g.mul_(weight.unsqueeze(-1))
        g.mul_(factor.mul_((1 - self.alpha) / size))
        pull = raw.mul_(g).sum(dim=-2).unsqueeze(-1).div_(norm.square_())  # [*, C, 1]
        self._product(grad, g.mT, x)
        grad.addcmul_(w, pull, value=-1)
        self._backward(grad)
        return loss

    def uses(self, messages: Iterable[Tensor]) -> bool:
        """Whether the step was built with these tensors, and not with a copy or a moved one."""
        for side, tensor in zip(self.sides, messages, strict=True):
            if side.messages is not tensor:
                return False
        return True

    def _use_dtype(self, dtype: torch.dtype) -> None:
        """Converts the constant factors when autocast is switched on or off."""
        if dtype != self._dtype:
            self._dtype = dtype
            self._factors = [side.messages.to(dtype) for side in self.sides]

    def _weights(self) -> Tensor:
        """The class features before they are brought to length one ``[*, C, D]``."""
        gain, w = self._gain, self._weighted_text
        for side, messages, h in zip(self.sides, self._factors, self._h, strict=True):
            if side.bias is None or messages.dtype != h.dtype:
                self._product(h, messages, side.weight.mT)
                h.add_(side.bias) if side.bias is not None else h
                h.mul_(gain) if gain != 1 else h
            else:
                add = torch.addmm if h.dim() == 2 else torch.baddbmm
                add(side.bias, messages, side.weight.mT, beta=gain, alpha=gain, out=h)
            if self._has_tanh:
                torch.add(self._minus_one, h.sigmoid_(), alpha=2, out=h)
            if isinstance(self.alpha, Tensor):
                w = torch.addcmul(w, h, (1 - self.alpha) * side.share, out=self._w)
            else:
                w = torch.add(w, h, alpha=(1 - self.alpha) * side.share, out=self._w)
        return w

    def _backward(self, grad: Tensor) -> None:
        """Computes the gradient of the parameters from that of the weighted sum of both sides."""
        for side, messages, h in zip(self.sides, self._factors, self._h, strict=True):
            if self._has_tanh:
                torch.ops.aten.tanh_backward.grad_input(grad, h, grad_input=h)
            else:
                h.copy_(grad)
            if side.share != 1:
                h.mul_(side.share)
            weight, bias = side.weight, side.bias
            if weight.grad is None:
                weight.grad = torch.empty_like(weight)
            self._product(weight.grad, h.mT, messages)
            if bias is not None:
                bias.grad = h if bias.shape == h.shape else h.sum(dim=-2).view_as(bias)

    def _product(self, out: Tensor, first: Tensor, second: Tensor) -> None:
        if self._dtype == out.dtype:
            torch.matmul(first, second, out=out)
        else:
            out.copy_(first.to(self._dtype) @ second.to(self._dtype))
