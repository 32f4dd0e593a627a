"""The contract of all methods: built from a few-shot task, features in, logits out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import check_settings
from pyg_graphadapter.task import FewShotTask


@dataclass(frozen=True)
class AdapterConfig:
    """The settings of a method; each method that has any extends this with its own."""

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)


class Stack(ABC):
    """Several adapters of one method that are trained at once, as a batch."""

    is_recordable: ClassVar[bool] = True  # as of an adapter

    @abstractmethod
    def parameters(self) -> Iterator[Tensor]:
        """The parameters of all, stacked: ``[S, …]``."""

    @abstractmethod
    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """As :meth:`Adapter.backward`, of batches ``[S, B, D]`` with labels ``[S, B]``."""

    @abstractmethod
    def unstack(self) -> None:
        """Gives every adapter its trained parameters."""


class Adapter(torch.nn.Module, ABC):
    r"""A classifier over frozen features.

    A method names the tensors that it is built from in :obj:`inputs` and keeps them as buffers or
    parameters of the same names, so that it can be saved and built again without the images. What
    can be solved in closed form is solved in :meth:`from_task`; what is left as parameters,
    :func:`~pyg_graphadapter.train` trains, as :obj:`recipe` says.

    A setting in :obj:`prediction_settings` has no part in the fit: of those, selection tries all
    values on one fit (:meth:`right_over`).

    Shapes:
        - **input:** image features :math:`(B, D)`, of any length
        - **output:** logits :math:`(B, C)`
    """

    Config: ClassVar[type[AdapterConfig]] = AdapterConfig
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    #: Whether something is left to be trained by :func:`~pyg_graphadapter.train`.
    is_trained: ClassVar[bool] = True
    #: Whether :meth:`stack` ever makes a batch of the method's adapters.
    is_stackable: ClassVar[bool] = False
    #: Whether a training step neither waits for the device, nor looks at values, nor at Python
    #: numbers that change from step to step, so that a GPU can replay it.
    is_recordable: ClassVar[bool] = False
    #: How the method is trained, where it differs from the defaults of ``TrainConfig``.
    recipe: ClassVar[Mapping[str, Any]] = {}
    #: The values that selection tries of settings that are left open, the most careful first.
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}
    prediction_settings: ClassVar[tuple[str, ...]] = ()

    text: Tensor

    def __init__(self, logit_scale: float, config: AdapterConfig) -> None:
        super().__init__()
        self.logit_scale = logit_scale
        self.config = config

    @classmethod
    @abstractmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the method for a task; ``settings`` are the fields of its :obj:`Config`."""

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], logit_scale: float, settings: dict[str, Any]
    ) -> Self:
        """Builds what :meth:`torch.nn.Module.state_dict` and :meth:`settings` came from.

        Raises:
            ValueError: If a tensor is missing, left over, or of another shape.
        """
        try:
            tensors: dict[str, Any] = {name: state[name] for name in cls.inputs}
            adapter = cls(**tensors, logit_scale=logit_scale, **settings)
            adapter.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"The saved tensors are not those of {cls.__name__} ({error})."
            ) from error
        return adapter

    @property
    def num_classes(self) -> int:
        """The number of classes :math:`C`."""
        return self.text.size(0)

    def settings(self) -> dict[str, Any]:
        """The settings that it was built with."""
        return asdict(self.config)

    def num_parameters(self) -> int:
        """The number of trained parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def penalty(self) -> Tensor | None:
        """What is added to the loss in training, if anything."""
        return None

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean loss of a batch in training, whose gradient is left in the parameters'
        :obj:`grad`; what was there is dropped. A method overrides it where it knows a shorter way.

        Args:
            x (torch.Tensor): Image features of length one ``[B, D]``.
            y (torch.Tensor): Labels ``[B]``.
            temperature (float, optional): Logits are divided by it. (default: :obj:`1.0`)
            label_smoothing (float, optional): As in :func:`torch.nn.functional.cross_entropy`.
                (default: :obj:`0.0`)
        """
        self.zero_grad()
        logits = self(x).to(x.dtype)  # a product of lower precision, where that is asked for
        loss = F.cross_entropy(logits / temperature, y, label_smoothing=label_smoothing)
        penalty = self.penalty()
        loss = loss if penalty is None else loss + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @classmethod
    def stack(cls, adapters: Sequence[Self]) -> Stack | None:
        """Adapters of this method on one device as a batch that is trained at once; :obj:`None`
        where the method has no such, they differ in more than their features, or it is no faster
        than one after the other.

        Args:
            adapters (sequence of Adapter): Two or more.
        """
        return None

    def right_over(self, x: Tensor, y: Tensor, grid: Mapping[str, Sequence[Any]]) -> Tensor:
        """Which images are classified right, for every combination of values of
        :obj:`prediction_settings`, the last varying fastest: ``[G, B]``. A method overrides it
        where they share work.

        Args:
            x (torch.Tensor): Image features ``[B, D]``.
            y (torch.Tensor): Labels ``[B]``.
            grid (dict): The values to try of each setting.
        """
        before = self.config
        rows = []
        try:
            for values in product(*grid.values()):
                self.config = replace(before, **dict(zip(grid, values, strict=True)))
                rows.append(self(x).argmax(dim=1) == y)
        finally:
            self.config = before
        return torch.stack(rows)

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "Adapter":
        """The classifier for its classes and further ones, which it was not fitted on.

        Args:
            text (torch.Tensor): The text features of the new classes ``[C', D]``.
            class_names (sequence of str, optional): Their names. (default: :obj:`()`)

        Raises:
            ValueError: If the method cannot classify new classes.
        """
        raise ValueError(f"{type(self).__name__} cannot classify new classes: it has learned none.")

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""


class LinearAdapter(Adapter):
    r"""A method whose classifier is linear in the image feature, so that it costs what zero-shot
    CLIP costs, and can be exported.

    .. math::
        \textrm{logits}_c = s \cdot \frac{\mathbf{x}^{\top} \mathbf{w}_c}
        {{\Vert \mathbf{x} \Vert}_2} + b_c
    """

    @abstractmethod
    def class_weights(self) -> Tensor:
        r"""The weights :math:`\mathbf{w}` ``[C, D]``, with rows of length one unless the
        method says otherwise."""

    def class_biases(self) -> Tensor | None:
        """The biases :math:`b` ``[C]``, where the method has any."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x, weights = unit(x), self.class_weights()
        logits = self.logit_scale * (x @ weights.t()).to(x.dtype)
        biases = self.class_biases()
        return logits if biases is None else logits + biases
