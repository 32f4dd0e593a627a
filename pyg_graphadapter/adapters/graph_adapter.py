"""GraphAdapter: class text features that collect knowledge from both sub-graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch_geometric.nn.inits import zeros

from pyg_graphadapter.adapters import graph_step
from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.graph_stack import GraphStack
from pyg_graphadapter.adapters.graph_step import GraphStep, Side, product_dtype
from pyg_graphadapter.graph import check_features, dual_knowledge_graph, unit
from pyg_graphadapter.nn import DualKnowledgeConv
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask

BIASES = ("class", "shared", "none")
# Functions that rise at zero, where training starts (so no ReLU):
ACTIVATIONS = ("tanh", "gelu", "none")
STACKED_PARAMETERS = 350_000  # of each adapter; with more, a batch of them is no faster on a CPU


@dataclass(frozen=True)
class GraphAdapterConfig(AdapterConfig):
    """The settings of :class:`GraphAdapter`."""

    alpha: float = setting(
        0.9, "weight of the class text feature against what it collected", low=0, high=1
    )
    beta: float = setting(0.7, "weight of the text sub-graph against the visual one", low=0, high=1)
    bias: str = setting("class", "one bias a class, one shared by all, or none", choices=BIASES)
    groups: int = setting(
        1, "sub-graphs over which the classes are dealt out; 4 in the published code", low=1
    )
    k: int | None = setting(None, "neighbours a class in the graphs; all if not given", low=1)
    activation: str = setting("tanh", "activation of the convolutions", choices=ACTIVATIONS)
    self_loop_weight: float = setting(2.0, "weight of a node's connection to itself", low=0)


class GraphAdapter(LinearAdapter):
    r"""The adapter of the `"GraphAdapter: Tuning Vision-Language Models With Dual Knowledge Graph"
    <https://arxiv.org/abs/2309.13625>`_ paper.

    .. math::
        \mathbf{t}^{*}_c = \alpha \cdot \mathbf{t}_c + (1 - \alpha) \cdot \mathbf{z}_c, \qquad
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}^{*}_c)

    where :math:`\mathbf{t}_c` is the text feature of class :math:`c` and :math:`\mathbf{z}_c` what
    it collects from the text and the visual knowledge sub-graph
    (:class:`~pyg_graphadapter.nn.DualKnowledgeConv`). What the classes collect before the trained
    :math:`\mathbf{W}` and :math:`\mathbf{b}` is constant and computed once, at construction:
    :math:`\mathcal{O}(C^2 D)`. A training step then costs :math:`\mathcal{O}(C D^2)`.

    Training starts at zero-shot CLIP: :math:`\mathbf{W}` and :math:`\mathbf{b}` start at zero.

    The defaults of :obj:`alpha` and :obj:`beta`, and of the epochs, learning rate and temperature
    in :class:`~pyg_graphadapter.TrainConfig`, were chosen by validation on ImageNet features of
    CLIP ViT-B/32, four labelled images a class: trained on three, two or one of them and measured
    on the others, averaged over draws. No choice was made by the test split.
    ``benchmarks/defaults`` holds the command and the table.

    Args:
        text (torch.Tensor): The class text features.
        prototypes (torch.Tensor): The mean image feature of every class
            (:func:`~pyg_graphadapter.class_prototypes`).
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        alpha (float, optional): The weight :math:`\alpha` of the text feature.
            (default: :obj:`0.9`)
        beta (float, optional): The weight :math:`\beta` of the text sub-graph; :obj:`1` and
            :obj:`0` switch one side off. (default: :obj:`0.7`)
        bias (str, optional): One bias a class (:obj:`"class"`, the paper), :obj:`"shared"` by all
            classes, or :obj:`"none"`. (default: :obj:`"class"`)
        groups (int, optional): Class :math:`c` is a node of sub-graph :math:`c` modulo
            :obj:`groups`; every class collects from each of them, with the same
            :math:`\mathbf{W}` and :math:`\mathbf{b}`, and the activations are averaged. The
            published code has :obj:`4`, and with it the result depends on the order of the classes.
            (default: :obj:`1`)
        k (int, optional): Collect from the :obj:`k` most similar classes only.
            (default: :obj:`None`)
        activation (str, optional): :obj:`"tanh"` (the paper), :obj:`"gelu"` or :obj:`"none"`.
            (default: :obj:`"tanh"`)
        self_loop_weight (float, optional): As in :class:`~pyg_graphadapter.nn.KnowledgeConv`.
            (default: :obj:`2.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **prototypes:** :math:`(C, D)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`

    Raises:
        ValueError: If a setting is out of bounds, or shapes do not fit.

    Example:
        >>> import torch
        >>> adapter = GraphAdapter(text=torch.eye(3), prototypes=torch.ones(3, 3))
        >>> adapter(torch.eye(3)).argmax(dim=1)
        tensor([0, 1, 2])
        >>> adapter.extend(text=torch.ones(2, 3)).num_classes
        5
    """

    Config: ClassVar[type[AdapterConfig]] = GraphAdapterConfig
    inputs: ClassVar[tuple[str, ...]] = ("text", "prototypes")
    is_stackable: ClassVar[bool] = True
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"temperature": 2.0}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"alpha": (0.95, 0.9, 0.7, 0.5)}

    config: GraphAdapterConfig
    prototypes: Tensor
    _step: GraphStep | None

    def __init__(
        self, text: Tensor, prototypes: Tensor, logit_scale: float = 100.0, **settings: Any
    ) -> None:
        if text.shape != prototypes.shape:
            raise ValueError(
                f"There must be one prototype a class text feature (got {list(prototypes.shape)} "
                f"for {list(text.shape)})."
            )
        check_features(text, "text")
        check_features(prototypes, "prototypes")
        config = GraphAdapterConfig(**settings)
        super().__init__(logit_scale, config)
        # Gradients have the layout of the text, and must have that of parameters:
        self.register_buffer("text", unit(text).contiguous())
        self.register_buffer("prototypes", prototypes.to(self.text.dtype, copy=True))
        num_classes, channels = text.shape
        self.conv = DualKnowledgeConv(
            channels,
            channels,
            beta=config.beta,
            act=None if config.activation == "none" else config.activation,
            bias=config.bias != "none",
            num_queries=num_classes if config.bias == "class" else None,
            self_loop_weight=config.self_loop_weight,
        ).to(self.text)
        self._compute_constants()
        self.register_load_state_dict_post_hook(_compute_constants_of)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Returns to zero-shot CLIP."""
        for parameter in self.conv.parameters():
            zeros(parameter)

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the adapter from the task's texts and few shots.

        Raises:
            ValueError: If a class has no shot, naming it, or a setting is out of bounds.
        """
        return cls(task.text, task.prototypes(), task.logit_scale, **settings)

    def train(self, mode: bool = True) -> Self:
        """Switches between training and predicting, and frees what training steps share."""
        self._step = None
        return super().train(mode)

    def backward(
        self, x: Tensor, y: Tensor, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean loss of a batch, its gradient in the parameters' :obj:`grad`
        (:class:`~pyg_graphadapter.adapters.graph_step.GraphStep`)."""
        if not self._has_step():
            return super().backward(x, y, temperature, label_smoothing)
        dtype = product_dtype(self.text)
        step = self._step
        if step is None or step.dtype != dtype or step.device != self.text.device:
            config = self.config
            step = GraphStep(self.text, self.sides(), config.alpha, config.activation, dtype)
            self._step = step
        return step(x, y, self.logit_scale / temperature, label_smoothing)

    def _has_step(self) -> bool:
        return self.config.activation in graph_step.ACTIVATIONS and self.config.groups == 1

    def sides(self) -> list[Side]:
        """Both sides of the residual, or the one that is not switched off."""
        return [
            Side(conv.lin.weight, conv.bias, share, self.get_buffer(f"{side}_messages"))
            for side, (conv, share) in self.conv.sides().items()
        ]

    @classmethod
    def stack(cls, adapters: Sequence[Self]) -> GraphStack | None:
        """Adapters as one batch (:class:`~pyg_graphadapter.adapters.graph_stack.GraphStack`): on a
        GPU, and on a CPU where steps are so small that calls take the time, not passes over the
        parameters (``benchmarks/training``)."""
        first = adapters[0]
        are_alike = all(
            each.config == first.config
            and each.logit_scale == first.logit_scale
            and each.text.shape == first.text.shape
            and all(parameter.requires_grad for parameter in each.parameters())
            for each in adapters
        )
        on_cpu = first.text.device.type == "cpu"
        is_faster = not on_cpu or first.num_parameters() <= STACKED_PARAMETERS
        return GraphStack(adapters) if first._has_step() and are_alike and is_faster else None

    def _compute_constants(self) -> None:
        self._step = None
        for side, messages in self._collect_knowledge().items():
            self.register_buffer(f"{side}_messages", messages, persistent=False)

    @torch.no_grad()
    def _collect_knowledge(self) -> dict[str, Tensor]:
        """What every class collects on either side: ``[C, D]``, or ``[G, C, D]`` of groups."""
        groups = min(self.config.groups, self.num_classes)
        if groups == 1:
            return self._collect_group(self.text, self.prototypes)
        parts = [
            self._collect_group(self.text[g::groups], self.prototypes[g::groups])
            for g in range(groups)
        ]
        return {side: torch.stack([part[side] for part in parts]) for side in parts[0]}

    def _collect_group(self, text: Tensor, image: Tensor) -> dict[str, Tensor]:
        if self.config.k is None:
            return self.conv.collect_knowledge({"text": text, "image": image, "query": self.text})
        graph = dual_knowledge_graph(text, image, self.text, min(self.config.k, text.size(0)))
        return self.conv.collect_knowledge(
            graph.x_dict, graph.edge_index_dict, graph.edge_weight_dict
        )

    def class_weights(self) -> Tensor:
        r"""The adapted class features :math:`\mathbf{t}^{*}`, ``[C, D]``."""
        z = self.conv.fuse(
            {side: self.get_buffer(f"{side}_messages") for side in self.conv.sides()}
        )
        return unit(torch.lerp(z.to(self.text.dtype), self.text, self.config.alpha))

    def extend(
        self, text: Tensor, prototypes: Tensor | None = None, *, class_names: Sequence[str] = ()
    ) -> "GraphAdapter":
        r"""The adapter for further classes, which it was not trained on: they become nodes of both
        sub-graphs, after the old ones, and the trained :math:`\mathbf{W}` and :math:`\mathbf{b}`
        serve them as well. Of one bias a class, new classes have the mean.

        Args:
            text (torch.Tensor): The text features of the new classes.
            prototypes (torch.Tensor, optional): Their mean image features; their text features
                stand in if not given. (default: :obj:`None`)
            class_names (sequence of str, optional): Not used. (default: :obj:`()`)

        Shapes:
            - **text:** :math:`(C_{new}, D)`; **prototypes:** :math:`(C_{new}, D)`
        """
        prototypes = unit(text) if prototypes is None else prototypes
        extended = GraphAdapter(
            torch.cat([self.text, text.to(self.text)]),
            torch.cat([self.prototypes, prototypes.to(self.text)]),
            self.logit_scale,
            **asdict(self.config),
        ).to(self.text.device)
        state = self.conv.state_dict()
        if self.config.bias == "class":
            for name in [name for name in state if name.endswith("bias")]:
                mean = state[name].mean(dim=0, keepdim=True)
                state[name] = torch.cat([state[name], mean.expand(len(text), -1)])
        extended.conv.load_state_dict(state)
        return extended


def _compute_constants_of(adapter: GraphAdapter, _: Any) -> None:
    """Other texts and prototypes were loaded: what is collected from them is another."""
    adapter._compute_constants()
