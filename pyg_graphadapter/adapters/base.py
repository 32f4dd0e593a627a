"""The base class of all methods: built from a few-shot task, it maps features to logits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_graphadapter.adapters.parts import TRAINING, WHOLE
from pyg_graphadapter.graph import check_features, normalized, unit
from pyg_graphadapter.settings import check_settings
from pyg_graphadapter.task import FewShotTask


@dataclass(frozen=True)
class AdapterConfig:
    """The settings of a method. A method with settings extends this class."""

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)


class Adapter(torch.nn.Module, ABC):
    r"""A classifier over frozen features.

    A method names the tensors that it is built from in :obj:`inputs`. It keeps them as buffers or
    parameters of the same names, so that it can be saved and built again without the images. A
    method with a closed-form solution is solved in :meth:`from_task`. Methods with parameters are
    trained by :func:`~pyg_graphadapter.train`, with the defaults of :obj:`recipe`.

    Methods may also support what only some of them can do:
    :class:`~pyg_graphadapter.adapters.stack.Stackable`,
    :class:`~pyg_graphadapter.adapters.recordable.Recordable` and
    :class:`~pyg_graphadapter.adapters.prediction.PredictionTuned`.

    A method that registers its tensors itself calls ``super().__init__(logit_scale, config)``.

    Args:
        text (torch.Tensor): The class text features, of any length.
        logit_scale (float, optional): The factor :math:`s` of the cosine. (default: :obj:`100.0`)
        tensors (dict, optional): The other tensors in :obj:`inputs`, by name, which become buffers.
            (default: :obj:`None`)
        **settings (optional): The fields of :obj:`Config`.

    Shapes:
        - **text:** :math:`(C, D)`
        - **input:** image features :math:`(B, D)`, of any length
        - **output:** logits :math:`(B, C)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.
    """

    Config: ClassVar[type[AdapterConfig]] = AdapterConfig
    #: The tensors that it is built from, in order, with one letter per dimension.
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD"}
    #: Those of them that it may also be built without.
    optional_inputs: ClassVar[tuple[str, ...]] = ()
    #: Whether it has parameters, which :func:`~pyg_graphadapter.train` trains.
    is_trained: ClassVar[bool] = True
    #: Whether it needs class text features. A method that does not is built from the shots alone
    #: where a task has none (``task.has_text``).
    needs_text: ClassVar[bool] = True
    #: Whether it needs the encoder of the texts, which a feature file does not have.
    needs_text_encoder: ClassVar[bool] = False
    #: Whether it needs shots. A method that does not can be built from the texts alone.
    needs_shots: ClassVar[bool] = True
    #: Whether it classifies images together: the prediction of one depends on the others that
    #: :meth:`forward` is given with it. All images of a test set are then given at once.
    is_transductive: ClassVar[bool] = False
    #: Whether it is fitted by the weights of the shots (``task.weight``): in what it is built from,
    #: and in :meth:`backward`.
    takes_weights: ClassVar[bool] = False
    #: Whether every class has the same part in the training loss, however many shots it has.
    balances_classes: ClassVar[bool] = False
    #: The settings that weigh the texts; without texts, they are not selected.
    text_settings: ClassVar[tuple[str, ...]] = ()
    #: How the method is trained, where it differs from the defaults of ``TrainConfig``.
    recipe: ClassVar[Mapping[str, Any]] = {}
    #: The values that selection tries for each open setting, starting with the most careful.
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}

    text: Tensor

    def __init__(
        self,
        text: Tensor | float,
        logit_scale: float | AdapterConfig = 100.0,
        tensors: Mapping[str, Tensor] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if isinstance(logit_scale, AdapterConfig):  # Adapter(logit_scale, config)
            self.logit_scale, self.config = float(text), logit_scale
            return
        if not isinstance(text, Tensor):
            raise ValueError(f"'text' must be a tensor [C, D] (got {type(text).__name__}).")
        self.logit_scale = logit_scale
        self.config = self.Config(**settings)
        check_features(text, "text")
        # Gradients have the layout of the text, and must have that of parameters:
        self.register_buffer("text", unit(text).contiguous())
        self._check_shapes({"text": text, **(tensors or {})})
        for name, tensor in (tensors or {}).items():
            like = self.text if tensor.is_floating_point() else tensor
            self.register_buffer(name, tensor.to(like, copy=True))

    def _check_shapes(self, tensors: Mapping[str, Tensor]) -> None:
        """Checks that dimensions of the same letter have the same size."""
        sizes: dict[str, int] = {}
        for name, tensor in tensors.items():
            if name not in self.inputs:
                raise ValueError(
                    f"{type(self).__name__} is given {name!r}, which is not in its 'inputs' "
                    f"({', '.join(self.inputs)})."
                )
            letters = self.inputs[name]
            if tensor.dim() == len(letters):
                for letter, size in zip(letters, tensor.shape, strict=True):
                    sizes.setdefault(letter, size)
            expected = [sizes.get(letter, letter) for letter in letters]
            if list(tensor.shape) != expected:
                raise ValueError(
                    f"{name!r} must be [{', '.join(map(str, expected))}] (got "
                    f"{list(tensor.shape)})."
                )

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the method for a task: from its texts alone, unless the method overrides this.

        Args:
            task (FewShotTask): The task.
            **settings (optional): The fields of :obj:`Config`.
        """
        return cls(task.text, task.logit_scale, **settings)

    @classmethod
    def settings_for(cls, task: FewShotTask, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that follow from a task where they are not given; :meth:`from_task` takes
        them. None, unless a method overrides this.

        Args:
            task (FewShotTask): The task.
            given (dict): The settings that are given.
        """
        return {}

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], logit_scale: float, settings: dict[str, Any]
    ) -> Self:
        """Builds an adapter again from its :meth:`torch.nn.Module.state_dict` and
        :meth:`settings`.

        Raises:
            ValueError: If a tensor is missing, unknown or has the wrong shape.
        """
        try:
            names = [
                name for name in cls.inputs if name in state or name not in cls.optional_inputs
            ]
            tensors: dict[str, Any] = {name: state[name] for name in names}
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
        """The settings of the adapter."""
        return asdict(self.config)

    def num_parameters(self) -> int:
        """The number of trained parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def penalty(self) -> Tensor | None:
        """A term that is added to the training loss, or :obj:`None`."""
        return None

    def prepare(self, x: Tensor) -> Tensor:
        """What training steps take in place of image features ``[N, D]`` of length one: what is
        computed of them once, before training. The features themselves, unless a method overrides
        this."""
        return x

    def training_logits(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of what :meth:`prepare` gives ``[B, D]``."""
        logits: Tensor = self(x)
        return logits

    def backward(
        self,
        x: Tensor,
        y: Tensor,
        temperature: float = 1.0,
        label_smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Computes the mean training loss of a batch, and stores its gradient in the parameters'
        :obj:`grad`, in place of an older one. A method may override this with a faster form.

        Args:
            x (torch.Tensor): What :meth:`prepare` gives for image features of length one
                ``[B, D]``.
            y (torch.Tensor): Labels ``[B]``.
            temperature (float, optional): Logits are divided by it. (default: :obj:`1.0`)
            label_smoothing (float, optional): As in :func:`torch.nn.functional.cross_entropy`.
                (default: :obj:`0.0`)
            weight (torch.Tensor, optional): Factors of the losses ``[B]``, one on average over all
                images. (default: :obj:`None`)
        """
        self.zero_grad()
        # With autocast, the product has a lower precision:
        logits = self.training_logits(x).to(x.dtype)
        logits = logits / temperature
        if weight is None:
            loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
        else:
            losses = F.cross_entropy(logits, y, label_smoothing=label_smoothing, reduction="none")
            loss = (weight * losses).mean()
        penalty = self.penalty()
        loss = loss if penalty is None else loss + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "Adapter":
        """Builds the classifier for its classes and new ones, on which it was not fitted.

        Args:
            text (torch.Tensor): The text features of the new classes ``[C', D]``.
            class_names (sequence of str, optional): Their names. (default: :obj:`()`)

        Raises:
            ValueError: If the method cannot classify new classes.
        """
        raise ValueError(
            f"{type(self).__name__} cannot classify new classes: it was not fitted on them."
        )

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """What the logits of image features ``[B, D]`` add up from: parts ``[B, C]``, by their kind
        (:mod:`~pyg_graphadapter.adapters.parts`). Explanations are made of them. One part, the
        whole, unless a method overrides this."""
        return {WHOLE: self(x)}

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""


class LinearAdapter(Adapter):
    r"""A method whose classifier is linear in the image feature. It is as fast as zero-shot CLIP,
    and can be exported.

    .. math::
        \textrm{logits}_c = s \cdot \frac{\mathbf{x}^{\top} \mathbf{w}_c}
        {{\Vert \mathbf{x} \Vert}_2} + b_c
    """

    @abstractmethod
    def class_weights(self) -> Tensor:
        r"""The weights :math:`\mathbf{w}` ``[C, D]``. Rows have length one unless the method says
        otherwise."""

    def class_biases(self) -> Tensor | None:
        """The biases :math:`b` ``[C]``, or :obj:`None`."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        x, weights = normalized(x), self.class_weights()
        logits = self.logit_scale * (x @ weights.t()).to(x.dtype)
        biases = self.class_biases()
        return logits if biases is None else logits + biases

    def weight_parts(self) -> dict[str, Tensor]:
        """What :meth:`class_weights` adds up from: weights ``[C, D]``, by their kind
        (:mod:`~pyg_graphadapter.adapters.parts`)."""
        return {WHOLE: self.class_weights()}

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """What the logits of image features ``[B, D]`` add up from ``[B, C]``, by their kind. The
        biases belong to what was trained."""
        x = normalized(x)
        parts = {
            kind: self.logit_scale * (x @ weights.t()).to(x.dtype)
            for kind, weights in self.weight_parts().items()
        }
        biases = self.class_biases()
        if biases is not None:
            kind = TRAINING if TRAINING in parts else WHOLE
            parts[kind] = parts.get(kind, 0) + biases
        return parts
