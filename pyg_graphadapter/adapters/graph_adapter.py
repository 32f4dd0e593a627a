"""GraphAdapter: class text features that collect knowledge from two sub-graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch_geometric.nn.inits import zeros

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.graph_defaults import (
    IMAGES,
    NODES,
    TEXTS,
    graph_settings,
    metric_of,
)
from pyg_graphadapter.adapters.graph_parts import node_parts
from pyg_graphadapter.adapters.graph_stack import GraphStack
from pyg_graphadapter.adapters.graph_step import GraphStep, Side
from pyg_graphadapter.adapters.seeding import own_draws
from pyg_graphadapter.graph import check_features, dual_knowledge_graph, normalized, unit
from pyg_graphadapter.nn import CONVS, DualKnowledgeConv
from pyg_graphadapter.nn.sub_graph_conv import ConvFactory, SubGraph
from pyg_graphadapter.settings import setting, warn
from pyg_graphadapter.task import FewShotTask

BIASES = ("class", "shared", "none")
# Training starts at zero, where ReLU has no gradient:
ACTIVATIONS = ("tanh", "gelu", "none")
KNOWLEDGE_CONV = "KnowledgeConv"
LARGEST_MESSAGES = 2**28  # numbers in the messages of all edges, one GiB in float32
FROM_SHOTS = "if not given, it follows from the shots"
LOGIT_SCALE_OF_IMAGES = 15.0  # of the cosine with means of images
STACKED_PARAMETERS = 350_000  # per adapter; with more, a batch is not faster on a CPU

# Settings in which the adapters of a batch may differ:
_VARIES: Mapping[str, Any] = {"alpha": 0.9, "whitening": 0.0}


@dataclass(frozen=True)
class GraphAdapterConfig(AdapterConfig):
    """The settings of :class:`GraphAdapter`."""

    alpha: float = setting(
        0.9,
        f"weight of the class text feature against the knowledge of the graphs; {FROM_SHOTS}",
        low=0,
        high=1,
    )
    beta: float = setting(0.7, "weight of the text sub-graph against the visual one", low=0, high=1)
    bias: str = setting(
        "class", "one bias per class, one shared by all classes, or none", choices=BIASES
    )
    groups: int = setting(
        1, "number of sub-graphs that share the classes; 4 in the published code", low=1
    )
    k: int | None = setting(
        None, "neighbours per class in the graphs; all classes if not set", low=1
    )
    activation: str = setting("tanh", "activation of the graph convolutions", choices=ACTIVATIONS)
    self_loop_weight: float = setting(
        2.0, "weight of a node's connection to itself in KnowledgeConv", low=0
    )
    conv: str | ConvFactory = setting(
        KNOWLEDGE_CONV, "graph convolution", choices=(KNOWLEDGE_CONV, *CONVS)
    )
    nodes: str = setting(
        TEXTS,
        f"what a class itself is: its text feature, or the mean of its images; {FROM_SHOTS}",
        choices=NODES,
    )
    whitening: float = setting(
        0.0,
        f"how far image features are whitened by the covariance within classes; {FROM_SHOTS}",
        low=0,
        high=0.99,
    )

    def __post_init__(self) -> None:
        """Checks every setting against its bounds.

        Raises:
            ValueError: If one is out of bounds, or belongs to :class:`KnowledgeConv` alone.
        """
        if callable(self.conv):
            replace(self, conv=next(iter(CONVS)))  # checks the other settings
            return
        super().__post_init__()
        if self.conv != KNOWLEDGE_CONV:
            for name, default in (("groups", 1), ("self_loop_weight", 2.0)):
                if getattr(self, name) != default:
                    raise ValueError(
                        f"{name!r} is a part of KnowledgeConv (got {name}={getattr(self, name)} "
                        f"with another convolution): leave it at {default}."
                    )

    @property
    def is_paper_conv(self) -> bool:
        """Whether the convolution is that of the paper."""
        return self.conv == KNOWLEDGE_CONV


class GraphAdapter(LinearAdapter):
    r"""The adapter of the `"GraphAdapter: Tuning Vision-Language Models With Dual Knowledge Graph"
    <https://arxiv.org/abs/2309.13625>`_ paper.

    .. math::
        \mathbf{t}^{*}_c = \alpha \cdot \mathbf{t}_c + (1 - \alpha) \cdot \mathbf{z}_c, \qquad
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}^{*}_c)

    where :math:`\mathbf{t}_c` is the text feature of class :math:`c`, and :math:`\mathbf{z}_c` is
    what the class collects from the text and the visual knowledge sub-graph
    (:class:`~pyg_graphadapter.nn.DualKnowledgeConv`). The messages, to which the trained
    :math:`\mathbf{W}` and :math:`\mathbf{b}` apply, are constant. They are computed once, at
    construction, in :math:`\mathcal{O}(C^2 D)`. A training step costs :math:`\mathcal{O}(C D^2)`.

    Training starts at zero-shot CLIP: :math:`\mathbf{W}` and :math:`\mathbf{b}` start at zero.

    **Which settings.** Of a task (:meth:`from_task`), :obj:`alpha`, :obj:`nodes` and
    :obj:`whitening` follow from the shots where they are not given, by the rule of
    :mod:`~pyg_graphadapter.adapters.graph_defaults`: by how well the texts, and the images, tell
    the shots apart, and by the number of shots. The paper has
    ``alpha=0.6, nodes="texts", whitening=0``.

    **Whitening** takes image features and class text features to another metric, in which they have
    the same products,

    .. math::
        \mathbf{x}' = \mathbf{M} \mathbf{x}, \qquad \mathbf{t}'_c = \mathbf{M}^{-1} \mathbf{t}_c,
        \qquad \textrm{logits}_c = s \cdot {\Vert \mathbf{t}'_c \Vert} \cdot
        {\mathbf{x}'}^{\top} \mathbf{t}'^{*}_c

    with :math:`\mathbf{t}'^{*}_c` of length one, so that training starts at zero-shot CLIP there,
    too. The classifier stays linear in the image.

    **Unequal numbers of shots.** Every class has the same part in the training loss: the loss of an
    image is divided by the number of different images of its class.

    **Nodes of images.** Where texts are missing, or say next to nothing, the prototypes of the
    shots stand in their place, in both sub-graphs. They are centred: the mean of all prototypes,
    :obj:`center`, is taken from them and from image features. With ``nodes="texts"``, a task
    without texts has plain prototypes in their place, as in the paper.

    Any convolution of PyTorch Geometric can stand in the place of the paper's (:obj:`conv`). Of
    another convolution, only the edges are computed once; the convolution itself is computed in
    each step. It starts as its :meth:`reset_parameters` leaves it with the seed 0. The cost of a
    step depends on the number of edges: set :obj:`k` for many classes.

    The defaults of the constructor, and of the epochs, learning rate and temperature in
    :class:`~pyg_graphadapter.TrainConfig`, were chosen by validation on ImageNet features of
    CLIP ViT-B/32 with four labelled images per class: trained on three, two or one of them and
    measured on the others, averaged over draws. The test split was not used.
    ``benchmarks/defaults`` holds the command and the table.

    Args:
        text (torch.Tensor): The class text features.
        prototypes (torch.Tensor): The mean image feature of every class
            (:func:`~pyg_graphadapter.class_prototypes`).
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        metric (torch.Tensor, optional): The symmetric :math:`\mathbf{M}`; without it, features
            stay as they are. (default: :obj:`None`)
        center (torch.Tensor, optional): What is taken from image features first, with nodes of
            images. (default: :obj:`None`)
        alpha (float, optional): The weight :math:`\alpha` of the text feature.
            (default: :obj:`0.9`)
        beta (float, optional): The weight :math:`\beta` of the text sub-graph; :obj:`1` and
            :obj:`0` switch one side off. (default: :obj:`0.7`)
        bias (str, optional): One bias per class (:obj:`"class"`, the paper), one :obj:`"shared"`
            by all classes, or :obj:`"none"`. (default: :obj:`"class"`)
        groups (int, optional): Class :math:`c` is a node of sub-graph :math:`c` modulo
            :obj:`groups`. Every class collects from each of them, with the same
            :math:`\mathbf{W}` and :math:`\mathbf{b}`, and the activations are averaged. The
            published code has :obj:`4`. With more than one, the result depends on the order of the
            classes. (default: :obj:`1`)
        k (int, optional): Collect from the :obj:`k` most similar classes only.
            (default: :obj:`None`)
        activation (str, optional): :obj:`"tanh"` (the paper), :obj:`"gelu"` or :obj:`"none"`.
            (default: :obj:`"tanh"`)
        self_loop_weight (float, optional): As in :class:`~pyg_graphadapter.nn.KnowledgeConv`.
            (default: :obj:`2.0`)
        conv (str or callable, optional): A name in :obj:`~pyg_graphadapter.nn.CONVS`, or a function
            that makes a convolution from :obj:`in_channels` and :obj:`out_channels`; an adapter
            with a function cannot be saved. How it gets its graphs and weights is told by
            :class:`~pyg_graphadapter.nn.DualKnowledgeConv`. (default: :obj:`"KnowledgeConv"`)
        nodes (str, optional): What a class itself is: its text feature (:obj:`"texts"`) or its
            prototype (:obj:`"images"`). (default: :obj:`"texts"`)
        whitening (float, optional): How far :math:`\mathbf{M}` whitens; only :meth:`from_task`
            computes it. (default: :obj:`0.0`)

    Shapes:
        - **text:** :math:`(C, D)`; **prototypes:** :math:`(C, D)`
        - **metric:** :math:`(D, D)`; **center:** :math:`(D)`
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

    takes_weights: ClassVar[bool] = True
    balances_classes: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = GraphAdapterConfig
    inputs: ClassVar[Mapping[str, str]] = {
        "text": "CD", "prototypes": "CD", "metric": "DD", "center": "D"
    }  # fmt: skip
    optional_inputs: ClassVar[tuple[str, ...]] = ("metric", "center")
    needs_text: ClassVar[bool] = False
    recipe: ClassVar[Mapping[str, Any]] = {"temperature": 2.0}

    config: GraphAdapterConfig
    prototypes: Tensor
    metric: Tensor | None
    center: Tensor | None
    class_nodes: Tensor  #: What a class itself is, in the metric ``[C, D]``.
    image_nodes: Tensor  #: The prototypes, in the metric ``[C, D]``.
    lengths: Tensor | None  #: The factors of the logits ``[C, 1]``; :obj:`None` if all are one.
    _step: GraphStep | None = None

    def __init__(
        self,
        text: Tensor,
        prototypes: Tensor,
        logit_scale: float = 100.0,
        metric: Tensor | None = None,
        center: Tensor | None = None,
        **settings: Any,
    ) -> None:
        given = {"prototypes": prototypes, "metric": metric, "center": center}
        tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
        super().__init__(text, logit_scale, tensors, **settings)
        for name in given.keys() - tensors.keys():
            self.register_buffer(name, None)
        check_features(prototypes, "prototypes")
        config = self.config
        self._check_metric()
        num_classes, channels = text.shape
        of_the_paper = {"self_loop_weight": config.self_loop_weight} if config.is_paper_conv else {}
        with own_draws():  # `reset_parameters` follows
            self.conv = DualKnowledgeConv(
                channels,
                channels,
                beta=config.beta,
                act=None if config.activation == "none" else config.activation,
                conv=config.conv,
                bias=config.bias != "none",
                num_queries=num_classes if config.bias == "class" else None,
                **of_the_paper,
            ).to(self.text)
        self._side_names = tuple(self.conv.sides())
        self._compute_constants()
        self.register_load_state_dict_post_hook(_compute_constants_of)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Returns to zero-shot CLIP, or to the start of another convolution, which is the same in
        all adapters."""
        if not self.config.is_paper_conv:
            with own_draws(seed=0):
                self.conv.cpu().reset_parameters()
            self.conv.to(self.text)
            return
        for parameter in self.conv.parameters():
            zeros(parameter)

    @classmethod
    def settings_for(cls, task: FewShotTask, given: Mapping[str, Any]) -> dict[str, Any]:
        """By the rule of :mod:`~pyg_graphadapter.adapters.graph_defaults`.

        Raises:
            ValueError: If a given setting is out of bounds.
        """
        cls.Config(**given)
        return graph_settings(task, given)

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the adapter from the task's texts and few shots, with the settings that are not
        given by the rule of :mod:`~pyg_graphadapter.adapters.graph_defaults`.

        Raises:
            ValueError: If a class has no shot, naming it, or a setting is out of bounds.
        """
        settings = {**settings, **cls.settings_for(task, settings)}
        config = cls.Config(**settings)
        assert isinstance(config, GraphAdapterConfig)
        prototypes = task.prototypes()
        center = prototypes.double().mean(dim=0) if config.nodes == IMAGES else None
        metric = metric_of(task, config.whitening, center)
        if metric is None:
            if config.whitening:
                warn(
                    f"whitening={config.whitening} changes nothing: no class has two shots that "
                    f"could differ."
                )
            settings["whitening"] = 0.0
        adapter = cls(task.text, prototypes, task.logit_scale, metric, center, **settings)
        k = adapter.config.k
        if k is not None and k > task.num_classes:
            warn(
                f"k={k} neighbours per class are more than there are classes "
                f"({task.num_classes}): every class is a neighbour of all."
            )
        return adapter

    def _check_metric(self) -> None:
        """Checks that the settings have the tensors that they need.

        Raises:
            ValueError: If one is missing.
        """
        if self.config.whitening and self.metric is None:
            raise ValueError(
                f"whitening={self.config.whitening} needs a 'metric', which GraphAdapter.from_task "
                f"computes of the shots: build the adapter with it."
            )
        if (self.config.nodes == IMAGES) != (self.center is not None):
            raise ValueError(
                f"'center' belongs to nodes={IMAGES!r} (got nodes={self.config.nodes!r} and center="
                f"{'None' if self.center is None else 'a tensor'}): give both or neither."
            )
        if self.metric is None and self.center is not None:
            raise ValueError("'center' needs a 'metric': give torch.eye(D) to whiten nothing.")
        if self.metric is None:
            return
        is_symmetric = torch.allclose(self.metric, self.metric.t(), rtol=1e-3, atol=1e-6)
        if not (is_symmetric and (self.metric.diagonal() > 0).all()):
            raise ValueError("'metric' must be symmetric, with a positive diagonal.")

    @property
    def is_recordable(self) -> bool:
        """Whether a GPU can record the training step; of other convolutions it is not known."""
        return self.config.is_paper_conv

    def train(self, mode: bool = True) -> Self:
        """Switches between training and prediction, and frees the memory of training steps."""
        self._step = None
        return super().train(mode)

    def backward(
        self,
        x: Tensor,
        y: Tensor,
        temperature: float = 1.0,
        label_smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Computes the mean training loss of a batch and its gradient
        (:class:`~pyg_graphadapter.adapters.graph_step.GraphStep`)."""
        if not GraphStep.supports(self.config):
            return super().backward(x, y, temperature, label_smoothing, weight)
        if self._step is None or not self._step.uses(self._messages().values()):
            self._step = GraphStep(
                self.class_nodes, self.sides(), self.config, lengths=self.lengths
            )
        return self._step(x, y, self.logit_scale / temperature, label_smoothing, weight)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Tensor:
        """Image features of length one ``[N, D]`` in the metric."""
        x = x if self.center is None else x - self.center
        return x if self.metric is None else x @ self.metric

    def training_logits(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features in the metric ``[B, D]``."""
        if self.metric is None:
            return super().training_logits(x)
        return self.logit_scale * x @ self._weights_in_metric().t()

    def sides(self) -> list[Side]:
        """Both sides of the residual, or the one that is not switched off."""
        messages = self._messages()
        return [
            Side(conv.lin.weight, conv.bias, share, messages[side])
            for side, (conv, share) in self.conv.sides().items()
        ]

    @classmethod
    def stack(cls, adapters: Sequence[Self]) -> GraphStack | None:
        """Makes a batch of adapters (:class:`~pyg_graphadapter.adapters.graph_stack.GraphStack`):
        on a GPU always, and on a CPU if they are so small that a batch is faster
        (``benchmarks/training``)."""
        first = adapters[0]
        fit_together = all(
            replace(adapter.config, **_VARIES) == replace(first.config, **_VARIES)
            and adapter.logit_scale == first.logit_scale
            and adapter.text.shape == first.text.shape
            and (adapter.metric is None) == (first.metric is None)
            and all(parameter.requires_grad for parameter in adapter.parameters())
            for adapter in adapters
        )
        on_cpu = first.text.device.type == "cpu"
        is_faster = not on_cpu or first.num_parameters() <= STACKED_PARAMETERS
        can_stack = GraphStep.supports(first.config) and fit_together and is_faster
        return GraphStack(adapters) if can_stack else None

    def _compute_constants(self) -> None:
        """Registers what does not change in training: the nodes, and the messages that every class
        collects, or the edges of another convolution."""
        for name, tensor in self._nodes_in_metric().items():
            self.register_buffer(name, tensor, persistent=False)
        if self.config.is_paper_conv:
            for side, messages in self._collect_knowledge().items():
                self.register_buffer(f"{side}_messages", messages, persistent=False)
            return
        for side, graph in self._build_sub_graphs().items():
            for name, tensor in zip(graph._fields[:-1], graph[:-1], strict=True):
                self.register_buffer(f"{side}_{name}", tensor, persistent=False)
        for module in self.conv.modules():  # some convolutions cache edges or products
            for name in [name for name in vars(module) if name.startswith("_cached_")]:
                setattr(module, name, None)

    @torch.no_grad()
    def _nodes_in_metric(self) -> dict[str, Tensor | None]:
        """Computes :obj:`class_nodes`, :obj:`image_nodes` and :obj:`lengths`."""
        if self.metric is None:
            nodes = {"class_nodes": self.text, "image_nodes": self.prototypes}
            return {**nodes, "lengths": None}
        metric, images, text = (x.cpu().double() for x in (self.metric, self.prototypes, self.text))
        images = images if self.center is None else images - self.center.cpu().double()
        images = unit(images @ metric)
        if self.config.nodes == IMAGES:
            lengths = images.new_full((len(images), 1), LOGIT_SCALE_OF_IMAGES / self.logit_scale)
            nodes = {"class_nodes": images, "image_nodes": images, "lengths": lengths}
        else:
            text = torch.linalg.solve(metric, text.t()).t()
            lengths = torch.linalg.vector_norm(text, dim=1, keepdim=True)
            nodes = {"class_nodes": unit(text), "image_nodes": images, "lengths": lengths}
        return {name: tensor.to(self.text).contiguous() for name, tensor in nodes.items()}

    def _messages(self) -> dict[str, Tensor]:
        """What every class collects on each side: ``[C, D]``, or ``[G, C, D]`` with groups."""
        return {side: getattr(self, f"{side}_messages") for side in self._side_names}

    def _sub_graphs(self) -> dict[str, SubGraph]:
        """The graph of each side, for a convolution other than the paper's."""
        return {
            side: SubGraph(
                getattr(self, f"{side}_x"),
                getattr(self, f"{side}_edge_index"),
                getattr(self, f"{side}_edge_weight"),
                getattr(self, f"{side}_ptr"),
                self.num_classes,
            )
            for side in self._side_names
        }

    @torch.no_grad()
    def _build_sub_graphs(self) -> dict[str, SubGraph]:
        """Computes what :meth:`_sub_graphs` returns.

        Raises:
            ValueError: If the messages of all edges would take too much memory.
        """
        k = None if self.config.k is None else min(self.config.k, self.num_classes)
        takes_sparse = all(conv.takes_sparse for conv, _ in self.conv.sides().values())
        num_edges = 2 * self.num_classes * (k or self.num_classes)
        if not takes_sparse and num_edges * self.text.size(1) > LARGEST_MESSAGES:
            raise ValueError(
                f"This convolution makes one message of {self.text.size(1)} numbers for each of "
                f"{num_edges:,} edges, which takes too much memory: set k, the number of "
                f"neighbours per class, for example k=16."
            )
        graph = dual_knowledge_graph(self.class_nodes, self.image_nodes, k=k)
        return self.conv.sub_graphs(graph.x_dict, graph.edge_index_dict, graph.edge_weight_dict)

    @torch.no_grad()
    def _collect_knowledge(self) -> dict[str, Tensor]:
        """Computes what :meth:`_messages` returns."""
        groups = min(self.config.groups, self.num_classes)
        if groups == 1:
            return self._collect_group(self.class_nodes, self.image_nodes)
        parts = [
            self._collect_group(self.class_nodes[g::groups], self.image_nodes[g::groups])
            for g in range(groups)
        ]
        return {side: torch.stack([part[side] for part in parts]) for side in parts[0]}

    def _collect_group(self, text: Tensor, image: Tensor) -> dict[str, Tensor]:
        if self.config.k is None:
            return self.conv.collect_knowledge(
                {"text": text, "image": image, "query": self.class_nodes}
            )
        graph = dual_knowledge_graph(
            text, image, self.class_nodes, min(self.config.k, text.size(0))
        )
        return self.conv.collect_knowledge(
            graph.x_dict, graph.edge_index_dict, graph.edge_weight_dict
        )

    def class_weights(self) -> Tensor:
        r"""The adapted class features :math:`\mathbf{t}^{*}`, ``[C, D]``, of length one. With a
        metric, :math:`\mathbf{M} \mathbf{t}'^{*}`, of any length."""
        weights = self._weights_in_metric()
        return weights if self.metric is None else weights @ self.metric

    def class_biases(self) -> Tensor | None:
        """What the :obj:`center` adds to the logits ``[C]``; :obj:`None` without one."""
        if self.center is None:
            return None
        return -self.logit_scale * (self.class_weights() @ self.center)

    def adapted_nodes(self) -> Tensor:
        """The adapted class features in the metric, of length one ``[C, D]``."""
        if self.config.is_paper_conv:
            z = self.conv.fuse(self._messages())
        else:
            z = self.conv.convolve(self._sub_graphs())
        nodes = self.class_nodes
        return normalized(torch.lerp(z.to(nodes.dtype), nodes, self.config.alpha))

    def weight_parts(self) -> dict[str, Tensor]:
        """What the class weights add up from ``[C, D]``
        (:func:`~pyg_graphadapter.adapters.graph_parts.node_parts`)."""
        factor = 1.0 if self.lengths is None else self.lengths
        parts = {kind: factor * nodes for kind, nodes in node_parts(self).items()}
        if self.metric is None:
            return parts
        return {kind: weights @ self.metric for kind, weights in parts.items()}

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """What the logits of image features ``[B, D]`` add up from ``[B, C]``."""
        x = normalized(x)
        x = x if self.center is None else x - self.center
        return {kind: self.logit_scale * x @ w.t() for kind, w in self.weight_parts().items()}

    def _weights_in_metric(self) -> Tensor:
        """The weights of image features in the metric ``[C, D]``."""
        nodes = self.adapted_nodes()
        return nodes if self.lengths is None else nodes * self.lengths

    def extend(
        self, text: Tensor, prototypes: Tensor | None = None, *, class_names: Sequence[str] = ()
    ) -> "GraphAdapter":
        r"""Builds the adapter for its classes and new ones, on which it was not trained. New
        classes become further nodes of both sub-graphs, with the trained :math:`\mathbf{W}` and
        :math:`\mathbf{b}`. With per-class biases, new classes get the mean bias.

        Args:
            text (torch.Tensor): The text features of the new classes.
            prototypes (torch.Tensor, optional): Their mean image features; if not given, their text
                features are used. (default: :obj:`None`)
            class_names (sequence of str, optional): Not used. (default: :obj:`()`)

        Shapes:
            - **text:** :math:`(C_{new}, D)`; **prototypes:** :math:`(C_{new}, D)`

        Raises:
            ValueError: If the nodes are means of images, and there are none of the new classes.
        """
        if prototypes is None and self.config.nodes == IMAGES:
            raise ValueError(
                "This classifier decides by the images alone, as texts are missing or say next to "
                "nothing here: a new class needs images."
            )
        prototypes = unit(text) if prototypes is None else prototypes
        extended = GraphAdapter(
            torch.cat([self.text, text.to(self.text)]),
            torch.cat([self.prototypes, prototypes.to(self.text)]),
            self.logit_scale,
            self.metric,
            self.center,
            **asdict(self.config),
        ).to(self.text.device)
        state = self.conv.state_dict()
        if self.config.bias == "class":
            for name in [f"convs.{side}__to__query.bias" for side in self._side_names]:
                mean = state[name].mean(dim=0, keepdim=True)
                state[name] = torch.cat([state[name], mean.expand(len(text), -1)])
        extended.conv.load_state_dict(state)
        return extended


def _compute_constants_of(adapter: GraphAdapter, _: Any) -> None:
    """After loading other texts and prototypes, the constants must be computed again."""
    adapter._compute_constants()
