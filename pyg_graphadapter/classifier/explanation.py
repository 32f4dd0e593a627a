r"""Why GraphAdapter classifies as it does: which classes moved a class feature, through text and
through images, and by how much.

On either side, what comes before the activation :math:`\sigma` is a sum: over the neighbours
:math:`k`, the class's own text feature in the self-loop, and the bias,

.. math::
    \mathbf{h}_c = \sum_k w_{ck} \, \mathbf{W}^{\top} \mathbf{p}_k + w_{cc} \, \mathbf{W}^{\top}
    \mathbf{t}_c + \mathbf{b}_c

and so is what comes after it, with every term scaled by :math:`\sigma(\mathbf{h}_c) / \mathbf{h}_c`
in each dimension (:math:`\sigma^{\prime}(0)` where :math:`\mathbf{h}_c` is zero). The fusion is
linear. Hence an adapted class feature, before it is normalised, is exactly

.. math::
    \mathbf{t}^{*}_c = \alpha \, \mathbf{t}_c + \sum_i \mathbf{m}_i

with one part :math:`\mathbf{m}_i` per neighbour, own node, self-loop and bias of either side; and
the component of :math:`\mathbf{t}^{*}_c` along any direction is a sum of contributions. With
several sub-graphs (:obj:`groups`) a node is in one of them; the contributions of self-loops and
biases add up.

The class is itself a node of both sub-graphs: its text feature on one side, its prototype on the
other. These nodes are no neighbours. Their parts are called ``own text`` and ``own prototype``.

In a complete graph of many classes every one of them contributes a little; a GraphAdapter with few
neighbours (:obj:`k`) has explanations that are short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, GraphAdapter
from pyg_graphadapter.adapters.graph_parts import slope
from pyg_graphadapter.adapters.parts import EXAMPLES, NAME, NAMES, TRAINING
from pyg_graphadapter.graph import (
    cosine_edges,
    knowledge_graph,
    row_blocks,
    unit,
    weighted_degree,
)
from pyg_graphadapter.nn import KnowledgeConv

NEIGHBOUR, SELF_LOOP, BIAS, ZERO_SHOT = "neighbour", "self-loop", "bias", "zero-shot"
SOURCES = ("text", "image", "both")
SOURCE_OF = {NAME: "text", NAMES: "text", EXAMPLES: "image", TRAINING: "image"}
OWN_NODE = {"text": "own text", "image": "own prototype"}
# What the parts of the texts are where prototypes stand in their place:
WITHOUT_TEXT = {ZERO_SHOT: "prototype as it is", OWN_NODE["text"]: OWN_NODE["image"]}
SINE, LOGIT = "sine of the angle turned", "logit"


@dataclass(frozen=True)
class Contribution:
    """What one part of a class feature contributes.

    Args:
        source (str): The side that it comes through, ``text``, ``image`` or ``both``.
        kind (str): Of GraphAdapter, ``neighbour`` (the node of another class in the sub-graph),
            ``own text`` (the node of the class in the text sub-graph), ``own prototype`` (the mean
            feature of its images, its node in the image sub-graph), ``self-loop`` (the query's
            connection to itself, which carries the class's text feature on both sides), ``bias``,
            or ``zero-shot`` (the class's text feature as it is). Of other methods, that of
            :mod:`pyg_graphadapter.adapters.parts`.
        class_name (str): The neighbour, or the class itself.
        amount (float): How much, in the unit of the explanation.
    """

    source: str
    kind: str
    class_name: str
    amount: float


@dataclass(frozen=True)
class Explanation:
    """Contributions that add up to a total, and what follows from them in words.

    Args:
        class_name (str): The class.
        contributions (tuple of Contribution): The contributions, the largest amounts (of either
            sign) first; none of a class where the method has no class weights.
        total (float): What they add up to.
        unit (str): The unit of the amounts and of the total.
        words (str, optional): The explanation in words that need no graphs.
            (default: :obj:`""`)
    """

    class_name: str
    contributions: tuple[Contribution, ...]
    total: float
    unit: str
    words: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON values."""
        return asdict(self)

    def table(self, n: int = 10) -> str:
        """The :obj:`n` largest contributions, the sums of the others, and the total."""
        rows = [
            (f"{part.amount:+.4f}", part.source, f"{part.kind} {part.class_name!r}")
            for part in self.contributions[:n]
        ]
        for source in SOURCES:
            others = [part.amount for part in self.contributions[n:] if part.source == source]
            if others:
                rows.append((f"{sum(others):+.4f}", source, f"{len(others)} others"))
        if not rows:
            return f"class {self.class_name!r}: this method has no parts of it"
        rows.append((f"{self.total:+.4f}", "", f"total: {self.unit}"))
        width = max(len(amount) for amount, _, _ in rows)
        lines = [f"{amount:>{width}}  {source:<5}  {part}" for amount, source, part in rows]
        return "\n".join([f"class {self.class_name!r}", *lines])

    def without_text(self) -> "Explanation":
        """The explanation of a classifier without texts, whose texts are prototypes."""
        contributions = (
            replace(part, kind=WITHOUT_TEXT.get(part.kind, part.kind))
            for part in self.contributions
        )
        return replace(self, contributions=tuple(contributions))

    def with_words(self, words: str) -> "Explanation":
        """The same explanation with words."""
        return replace(self, words=words)

    def __str__(self) -> str:
        return self.words or self.table()


def explain_class(adapter: Adapter, class_names: Sequence[str], c: int) -> Explanation:
    r"""The parts that turned the feature of class :math:`c` away from its text feature.

    Logits are cosines: what counts is the direction of :math:`\mathbf{t}^{*}_c`. It stands at an
    angle :math:`\theta` to the text feature,

    .. math::
        \frac{\mathbf{t}^{*}_c}{\Vert \mathbf{t}^{*}_c \Vert} = \cos(\theta) \, \mathbf{t}_c +
        \sin(\theta) \, \mathbf{u}, \qquad \textrm{amount}_i =
        \frac{\mathbf{m}_i \cdot \mathbf{u}}{\Vert \mathbf{t}^{*}_c \Vert}, \qquad
        \sum_i \textrm{amount}_i = \sin(\theta)

    with :math:`\mathbf{u}` the direction, orthogonal to the text feature, in which it was turned.
    Parts with a positive amount turned it, and parts with a negative amount held it back. What lies
    along the text feature turns nothing. All are directions in the metric of the adapter, where it
    whitens; with nodes of images, prototypes stand in the place of text features.

    Costs :math:`\mathcal{O}(C^2 D)` for the degrees of the nodes.

    Args:
        adapter (Adapter): A :class:`~pyg_graphadapter.GraphAdapter`.
        class_names (sequence of str): The names of its classes.
        c (int): The class.

    Raises:
        ValueError: If the adapter has no graphs, there is no such class, or the number of names is
            wrong.

    Example:
        >>> adapter = GraphAdapter(torch.eye(2), torch.eye(2), bias="none", beta=1.0, alpha=0.5)
        >>> _ = torch.nn.init.ones_(adapter.conv.text_conv.lin.weight)
        >>> print(explain_class(adapter, ["cat", "dog"], 0))
        class 'cat'
        +0.2646  text   self-loop 'cat'
        +0.1323  text   own text 'cat'
        +0.3968         total: sine of the angle turned
    """
    adapter = _checked(adapter, class_names, c)
    t, w = adapter.class_nodes[c], adapter.adapted_nodes()[c].detach()  # [D], of length one
    u = unit(w - (w @ t) * t)
    u = unit(u - (u @ t) * t)  # of a small turn, the first is orthogonal to few digits
    contributions = _contributions(adapter, class_names, c, u)
    turning = [part for part in contributions if part.kind != ZERO_SHOT]  # which is orthogonal
    return _explanation(class_names[c], turning, w @ u, SINE)


def explain_image(
    adapter: Adapter, class_names: Sequence[str], x: Tensor, c: int | None = None
) -> Explanation:
    r"""The parts that add up to the logit of an image for class :math:`c`.

    .. math::
        \textrm{amount}_i = s \, \frac{\mathbf{m}_i \cdot \mathbf{x}}{\Vert \mathbf{t}^{*}_c \Vert
        \Vert \mathbf{x} \Vert}, \qquad
        \sum_i \textrm{amount}_i = \textrm{logits}_c

    where :math:`\alpha \, \mathbf{t}_c`, the part of zero-shot CLIP, is one of them.

    Costs :math:`\mathcal{O}(C^2 D)` for the degrees of the nodes.

    Args:
        adapter (Adapter): A :class:`~pyg_graphadapter.GraphAdapter`.
        class_names (sequence of str): The names of its classes.
        x (torch.Tensor): The features of the image.
        c (int, optional): The class; the predicted one if not given. (default: :obj:`None`)

    Shapes:
        - **x:** :math:`(D)`

    Raises:
        ValueError: If the adapter has no graphs, there is no such class, the number of names is
            wrong, or the features are not finite or have the wrong width.

    Example:
        >>> adapter = GraphAdapter(torch.eye(2), torch.eye(2), logit_scale=10.0)
        >>> print(explain_image(adapter, ["cat", "dog"], torch.tensor([0.6, 0.8])).table(n=1))
        class 'dog'
        +8.0000  text   zero-shot 'dog'
        +0.0000  text   3 others
        +0.0000  image  3 others
        +8.0000         total: logit
    """
    adapter = _checked(adapter, class_names, c)
    if x.shape != adapter.text.shape[1:] or not x.isfinite().all():
        raise ValueError(
            f"Expected the finite features of one image, {list(adapter.text.shape[1:])} (got "
            f"{list(x.shape)}{'' if x.isfinite().all() else ' with NaN or infinity'})."
        )
    x = unit(x.to(adapter.text)).unsqueeze(0)
    logits = adapter(x)[0].detach()  # [C]
    c = int(logits.argmax()) if c is None else c
    direction = adapter.logit_scale * adapter.prepare(x)[0]
    if adapter.lengths is not None:
        direction = adapter.lengths[c] * direction
    contributions = _contributions(adapter, class_names, c, direction)
    return _explanation(class_names[c], contributions, logits[c], LOGIT)


def can_be_taken_apart(adapter: Adapter) -> bool:
    """Whether :func:`explain_class` and :func:`explain_image` take an adapter."""
    return isinstance(adapter, GraphAdapter) and adapter.config.is_paper_conv


def explain_parts(
    parts: Mapping[str, Tensor], class_name: str, unit: str, scale: float = 1.0
) -> Explanation:
    """The parts of one number as they come from names, from examples or from both.

    Args:
        parts (dict): One number per kind (:mod:`~pyg_graphadapter.adapters.parts`).
        class_name (str): The class.
        unit (str): The unit of the numbers.
        scale (float, optional): A factor of all numbers. (default: :obj:`1.0`)
    """
    contributions = [
        Contribution(SOURCE_OF.get(kind, "both"), kind, class_name, scale * float(amount))
        for kind, amount in parts.items()
    ]
    total = torch.tensor(sum(part.amount for part in contributions), dtype=torch.float64)
    return _explanation(class_name, contributions, total, unit)


def _checked(adapter: Adapter, class_names: Sequence[str], c: int | None) -> GraphAdapter:
    if not isinstance(adapter, GraphAdapter):
        raise ValueError(
            f"Only graph_adapter can be explained by neighbouring classes (got "
            f"{type(adapter).__name__}): other methods have no graphs."
        )
    if not adapter.config.is_paper_conv:
        raise ValueError(
            f"Only KnowledgeConv can be taken apart into what each class contributed (got the "
            f"convolution {adapter.settings()['conv']})."
        )
    if len(class_names) != adapter.num_classes:
        raise ValueError(f"{len(class_names)} class names for {adapter.num_classes} classes.")
    if c is not None and not 0 <= c < adapter.num_classes:
        raise ValueError(f"'c' must lie in [0, {adapter.num_classes}) (got {c}).")
    return adapter


def _explanation(
    class_name: str, contributions: list[Contribution], total: Tensor, unit: str
) -> Explanation:
    ordered = sorted(contributions, key=lambda contribution: -abs(contribution.amount))
    return Explanation(class_name, tuple(ordered), float(total), unit)


@torch.inference_mode(mode=False)  # gradients are taken in it
@torch.no_grad()
def _contributions(
    adapter: GraphAdapter, class_names: Sequence[str], c: int, direction: Tensor
) -> list[Contribution]:
    """The components of all parts of ``t*_c``, over its length, along a direction ``[D]``."""
    t, alpha = adapter.class_nodes[c], adapter.config.alpha
    groups = min(adapter.config.groups, adapter.num_classes)
    contributions = [Contribution("text", ZERO_SHOT, class_names[c], alpha * float(t @ direction))]
    adapted = alpha * t  # becomes t*_c
    for side, (conv, beta) in adapter.conv.sides().items():
        features = adapter.class_nodes if side == "text" else adapter.image_nodes
        bias = torch.zeros_like(t) if conv.bias is None else conv.bias.expand_as(adapter.text)[c]
        from_self, from_bias = t.new_zeros(2)
        for g in range(groups):
            nodes = features[g::groups]  # [K, D]
            weight, self_weight = _weights(adapter, conv, nodes, c)
            h = conv.lin(weight @ nodes + self_weight * t) + bias
            scale = (1 - alpha) * beta / groups * slope(adapter.conv.act, h)  # [D]
            adapted = adapted + scale * h
            # (scale * W' p) @ direction for every node p at once:
            back = (scale * direction) @ conv.lin.weight  # [D]
            amounts = (weight * (nodes @ back)).tolist()
            for k in weight.nonzero().flatten().tolist():
                node = g + groups * k  # the class whose node it is
                kind = OWN_NODE[side] if node == c else NEIGHBOUR
                contributions.append(Contribution(side, kind, class_names[node], amounts[k]))
            from_self = from_self + self_weight * (t @ back)
            from_bias = from_bias + (scale * bias) @ direction
        contributions.append(Contribution(side, SELF_LOOP, class_names[c], float(from_self)))
        if conv.bias is not None:
            contributions.append(Contribution(side, BIAS, class_names[c], float(from_bias)))
    length = float(adapted.norm().clamp(min=torch.finfo(t.dtype).tiny))
    return [replace(part, amount=part.amount / length) for part in contributions]


def _weights(
    adapter: GraphAdapter, conv: KnowledgeConv, nodes: Tensor, c: int
) -> tuple[Tensor, Tensor]:
    """With what weights class ``c`` collects from nodes ``[K, D]``, and from itself.

    What is collected is linear in the features, once the edges are given: its gradients by them.
    """
    edge_index, edge_weight, deg = _edges(adapter, nodes, c)
    with torch.enable_grad():
        x = nodes.new_zeros(nodes.size(0), 1, requires_grad=True)
        query = nodes.new_zeros(1, 1, requires_grad=True)
        collected = conv.collect_knowledge((x, query), edge_index, edge_weight, deg)
        weight, self_weight = torch.autograd.grad(collected.sum(), (x, query))
    return weight.flatten(), self_weight.squeeze()  # [K, 1] -> [K], [1, 1] -> []


def _edges(adapter: GraphAdapter, nodes: Tensor, c: int) -> tuple[Tensor, Tensor, Tensor]:
    """The edges from nodes to class ``c``, their weights, and the degrees of the nodes."""
    num_nodes, text = nodes.size(0), adapter.class_nodes
    if adapter.config.k is None:
        deg = nodes.new_zeros(num_nodes)
        for rows in row_blocks(num_nodes, num_nodes):  # all edges at once are too many
            edge_index, edge_weight = cosine_edges(nodes, nodes[rows])
            edge_index[1] += rows.start
            deg += weighted_degree(edge_index, edge_weight, num_nodes)
        return *cosine_edges(nodes, text[c : c + 1]), deg

    k = min(adapter.config.k, num_nodes)
    graph = knowledge_graph(nodes, k if k < num_nodes else None)
    deg = weighted_degree(graph.edge_index, graph.edge_weight, num_nodes)
    # For all classes, since one class alone might get another of several equally similar nodes:
    (node, query), edge_weight = cosine_edges(nodes, text, k)
    node, edge_weight = node[query == c], edge_weight[query == c]
    return torch.stack([node, torch.zeros_like(node)]), edge_weight, deg
