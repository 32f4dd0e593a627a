"""The contract of all methods: built from a few-shot task, features in, logits out."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
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


class Adapter(torch.nn.Module, ABC):
    r"""A classifier over frozen features. It holds class weights :math:`(C, D)`; how they came to
    be is the method's business.

    A method names the tensors that it is built from in :obj:`inputs` and keeps them as buffers of
    the same names, so that it can be saved and built again without the images.

    Shapes:
        - **input:** image features :math:`(B, D)`, of any length
        - **output:** logits :math:`(B, C)`
    """

    Config: ClassVar[type[AdapterConfig]] = AdapterConfig
    inputs: ClassVar[tuple[str, ...]] = ("text",)

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

    @abstractmethod
    def class_weights(self) -> Tensor:
        """What image features are compared with: ``[C, D]``, rows of length one."""

    def forward(self, x: Tensor) -> Tensor:
        r"""Logits :math:`s \cdot \cos(\mathbf{x}, \mathbf{w}_c)`."""
        return self.logit_scale * (unit(x) @ self.class_weights().t())
