"""What is exported of a classifier: features in, logits and probabilities out."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, LinearAdapter
from pyg_graphadapter.graph import check_features

SMALLEST = torch.finfo(torch.float32).tiny


class Head(torch.nn.Module, ABC):
    r"""A classifier of features of any length.

    .. math::
        \textrm{probabilities} = \textrm{softmax}(\textrm{logits} / T)

    Args:
        temperature (float, optional): The temperature :math:`T`. (default: :obj:`1.0`)

    Shapes:
        - **input:** features :math:`(N, D)`
        - **output:** logits and probabilities :math:`(N, C)`
    """

    width: int  #: The width :math:`D` of the features.
    num_classes: int

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Logits ``[N, C]`` of features of length one ``[N, D]``."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities ``[N, C]`` of features of any length ``[N, D]``."""
        # Squares of very long and very short rows are no numbers:
        largest = features.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST)
        logits = self.logits(F.normalize(features / largest, dim=1))
        return logits, (logits / self.temperature).softmax(dim=1)


@contextmanager
def graph_errors(head: Head) -> Iterator[None]:
    """Lets a method whose operations cannot be exported say so in a sentence.

    Raises:
        ValueError: If exporting it fails.
    """
    try:
        yield
    except (ImportError, OSError):
        raise
    except Exception as error:  # of the exporter, or of a method from outside this package
        if not isinstance(head, AdapterHead):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{type(head.adapter).__name__} has no graph that can be exported: {reason}"
        ) from error


class LinearHead(Head):
    r"""A classifier with class weights.

    .. math::
        \textrm{logits} = s \cdot \frac{\mathbf{x}}{{\Vert \mathbf{x} \Vert}_2}
        \mathbf{W}^{\top} + \mathbf{b}

    Args:
        class_weights (torch.Tensor): The weights :math:`\mathbf{W}`.
        class_biases (torch.Tensor, optional): The biases :math:`\mathbf{b}`.
        logit_scale (float): The factor :math:`s`.
        temperature (float, optional): The temperature. (default: :obj:`1.0`)

    Shapes:
        - **class_weights:** :math:`(C, D)`; **class_biases:** :math:`(C)`
    """

    class_weights: Tensor
    class_biases: Tensor

    def __init__(
        self,
        class_weights: Tensor,
        class_biases: Tensor | None,
        logit_scale: float,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        check_features(class_weights, "class_weights")
        self.num_classes, self.width = class_weights.shape
        biases = class_weights.new_zeros(self.num_classes) if class_biases is None else class_biases
        self.register_buffer("class_weights", class_weights.detach().float().contiguous())
        self.register_buffer("class_biases", biases.detach().float().contiguous())
        self.logit_scale = logit_scale

    def logits(self, x: Tensor) -> Tensor:
        """Logits ``[N, C]`` of features of length one ``[N, D]``."""
        return self.logit_scale * (x @ self.class_weights.t()) + self.class_biases


class AdapterHead(Head):
    """A classifier by a method without class weights, as it computes its logits.

    Args:
        adapter (Adapter): The method, of which a copy is made.
        temperature (float, optional): The temperature. (default: :obj:`1.0`)
    """

    def __init__(self, adapter: Adapter, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.num_classes, self.width = adapter.text.shape
        self.adapter = copy.deepcopy(adapter).cpu().float().eval().requires_grad_(False)
        self.adapter(adapter.text[:1].cpu().float())  # computes what is computed once

    def logits(self, x: Tensor) -> Tensor:
        """Logits ``[N, C]`` of features of length one ``[N, D]``."""
        logits: Tensor = self.adapter(x)
        return logits


@torch.inference_mode(mode=False)
@torch.no_grad()
def head_of(adapter: Adapter, temperature: float = 1.0) -> Head:
    """What is exported of an adapter: its class weights, or else the method itself.

    Raises:
        ValueError: If it is transductive.
    """
    if adapter.is_transductive:
        raise ValueError(
            f"{type(adapter).__name__} is transductive: it classifies images together, and has no "
            f"class weights to export. Save the classifier instead."
        )
    if not isinstance(adapter, LinearAdapter):
        return AdapterHead(adapter, temperature)
    weights, biases = adapter.class_weights().cpu(), adapter.class_biases()
    biases = None if biases is None else biases.cpu()
    return LinearHead(weights, biases, adapter.logit_scale, temperature)
