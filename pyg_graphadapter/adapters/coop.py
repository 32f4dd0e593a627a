"""CoOp: learned context vectors in the prompts of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask, TextEncoder

CONTEXTS = ("unified", "class")
POSITIONS = ("end", "middle", "front")
WORDS = "a photo of a"
CONTEXT_LENGTH = 16  # of the paper
# The recipe is for CLIP: token embeddings start at this deviation, and logits have this scale.
DEVIATION, LOGIT_SCALE = 0.02, 100.0
TOKENS_AT_ONCE = 4096  # takes 2 GB in the backward pass of CLIP ViT-B's text tower


@dataclass(frozen=True)
class CoOpConfig(AdapterConfig):
    """The settings of :class:`CoOp`."""

    context_length: int | None = setting(
        None, "context vectors per prompt, which start at random, unless words are given", low=1
    )
    context_words: str = setting(
        "",
        f"words whose embeddings the context starts with; {WORDS!r} or {CONTEXT_LENGTH} random "
        f"vectors, by the shots, if neither is given",
    )
    vector_scale: float | None = setting(
        None, "scale of the context vectors, by the text tower if not given; the paper: 1", low=1e-6
    )
    context: str = setting(
        "unified", "one context for all classes, or one per class", choices=CONTEXTS
    )
    class_position: str = setting(
        "end", "position of the class name in the prompt", choices=POSITIONS
    )


class CoOp(LinearAdapter):
    r"""The prompt learner of the `"Learning to Prompt for Vision-Language Models"
    <https://arxiv.org/abs/2109.01134>`_ paper.

    .. math::
        \mathbf{t}_c = g([\mathbf{v}_1, \ldots, \mathbf{v}_M, \textrm{name}_c]), \qquad
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}, \mathbf{t}_c)

    The context vectors :math:`\mathbf{v}` replace the embeddings of placeholders, at the input of
    the frozen text encoder :math:`g`, which can be any text tower. Gradients flow back through it.

    **Start.** The vectors start at random, from :math:`\mathcal{N}(0, 0.02^2)`, if their number is
    given, and at the embeddings of words, if these are given. Otherwise, both the words "a photo of
    a" and 16 random vectors make prompts, and those that classify more of the shots right, before
    any training, are taken; the words, if both are as good.

    **Steps.** The recipe is the paper's: SGD with a learning rate of 2e-3, momentum 0.9 and weight
    decay 5e-4, batches of 32, one epoch of warm-up, 50 epochs (the presets have 100 to 200 for more
    shots). It was made for CLIP. In another tower, its steps are too short where token embeddings
    are longer, of deviation :math:`\sigma`, or where logits are less steep: a step changes them by
    a multiple of :math:`s^2 / \sigma^2`. So the trained parameters are
    :math:`\mathbf{v} / \kappa`, which makes the steps of :math:`\mathbf{v}` :math:`\kappa^2` times
    as long, with

    .. math::
        \kappa = \max \left( 1, \frac{\sigma}{0.02} \cdot \frac{100}{s} \right)

    where :math:`\sigma` is the root mean square of the token embeddings of "a photo of a". The
    learning rate is in these units; with a scale of 1 that is given, it is that of
    :math:`\mathbf{v}` itself. The preset ``paper`` has 16 random vectors and a scale of 1.

    The task must have a text encoder. The learned text features are stored as class weights, so
    that predicting, saving and loading need no encoder.

    Args:
        text (torch.Tensor): The class text features.
        vectors (torch.Tensor): The context vectors, divided by :math:`\kappa`.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        context_length (int, optional): The number :math:`M` of context vectors, which start at
            random, unless words are given. (default: :obj:`None`)
        context_words (str, optional): Words whose embeddings the context starts with.
            (default: :obj:`""`)
        vector_scale (float, optional): The scale :math:`\kappa`; if not given, 1 here and that of
            the text tower in :meth:`from_task`. (default: :obj:`None`)
        context (str, optional): :obj:`"unified"`, or one context per :obj:`"class"`.
            (default: :obj:`"unified"`)
        class_position (str, optional): The position of the class name in the prompt:
            :obj:`"end"`, :obj:`"middle"` or :obj:`"front"`. (default: :obj:`"end"`)

    Shapes:
        - **text:** :math:`(C, D)`; **vectors:** :math:`(M, W)` or :math:`(C, M, W)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`

    Raises:
        ValueError: If a setting is out of bounds.
    """

    Config: ClassVar[type[AdapterConfig]] = CoOpConfig
    needs_text_encoder: ClassVar[bool] = True
    inputs: ClassVar[Mapping[str, str]] = {"text": "CD", "vectors": "MW"}  # or "CMW"
    recipe: ClassVar[Mapping[str, Any]] = {
        "optimizer": "sgd",
        "lr": 2e-3,
        "weight_decay": 5e-4,
        "batch_size": 32,
        "epochs": 50,
        "warmup_epochs": 1,
    }

    config: CoOpConfig
    learned: Tensor

    def __init__(
        self, text: Tensor, vectors: Tensor, logit_scale: float = 100.0, **settings: Any
    ) -> None:
        super().__init__(text, logit_scale, **settings)
        self.register_buffer("learned", self.text.clone())
        self.vectors = torch.nn.Parameter(vectors.detach().clone())
        self._prompts: _Prompts | None = None

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Builds the prompts of the task's classes. Start and scale are chosen if not given.

        Raises:
            ValueError: If the task has no text encoder, or a name is too long for it.
        """
        if task.text_encoder is None:
            raise ValueError(
                "CoOp learns prompts and needs the text encoder of the features: give images and a "
                "model, not features alone."
            )
        config = CoOpConfig(**settings)
        if config.vector_scale is None:
            deviation = _embed(task.text_encoder, WORDS).square().mean().sqrt()
            scale = float(deviation) / DEVIATION * LOGIT_SCALE / task.logit_scale
            config = replace(config, vector_scale=max(1.0, round(scale, 2)))
        if config.context_words or config.context_length is not None:
            return cls._started(task, task.text_encoder, config)
        starts = (
            replace(config, context_words=WORDS),
            replace(config, context_length=CONTEXT_LENGTH),
        )
        adapters = [cls._started(task, task.text_encoder, start) for start in starts]
        return max(adapters, key=lambda adapter: adapter._num_right(task))  # the first of equals

    @classmethod
    def _started(cls, task: FewShotTask, encoder: TextEncoder, config: CoOpConfig) -> Self:
        """The adapter before training, with words or a number of vectors."""
        if config.context_words:
            start = _embed(encoder, config.context_words)  # [M, W]
        else:
            assert config.context_length is not None
            shape = (config.context_length, _embed(encoder, "a").size(-1))
            start = DEVIATION * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        prompts = _Prompts(encoder, task.class_names, len(start), config.class_position)
        if config.context == "class":
            start = start.repeat(task.num_classes, 1, 1)
        adapter = cls(task.text, start, task.logit_scale, **asdict(config))
        with torch.no_grad():
            adapter.vectors.div_(adapter.vector_scale)
        adapter._prompts = prompts
        adapter.eval()
        return adapter

    @property
    def vector_scale(self) -> float:
        r"""The scale :math:`\kappa` of the context vectors."""
        return self.config.vector_scale or 1.0

    @torch.no_grad()
    def _num_right(self, task: FewShotTask) -> int:
        """How many of a task's shots it classifies right."""
        logits = self(task.support.mean_views().to(self.text))
        return int((logits.argmax(dim=1) == task.support.y.to(logits.device)).sum())

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "CoOp":
        """The classifier for its classes and new ones, with the same context.

        Raises:
            ValueError: If every class has its own context, or there is no text encoder.
        """
        if self.config.context == "class" or self._prompts is None:
            raise ValueError(
                "CoOp can classify new classes only with a unified context and with its text "
                "encoder."
            )
        extended = CoOp(
            torch.cat([self.text, unit(text).to(self.text)]),
            self.vectors,
            self.logit_scale,
            **asdict(self.config),
        ).to(self.text.device)
        extended._prompts = self._prompts.extended(class_names)
        extended.eval()
        return extended

    def train(self, mode: bool = True) -> Self:
        """Switches between training and prediction; for prediction, the prompts are encoded."""
        super().train(mode)
        if not mode and self._prompts is not None:
            with torch.no_grad():
                self.learned.copy_(self._prompts.encode(self.vector_scale * self.vectors))
        return self

    def class_weights(self) -> Tensor:
        """The text features of the prompts, of length one ``[C, D]``."""
        if self.training and self._prompts is not None:
            return self._prompts.encode(self.vector_scale * self.vectors).to(self.text)
        return self.learned

    def weight_parts(self) -> dict[str, Tensor]:
        """The name in the given prompts, and what the learned prompt changed."""
        return {NAME: self.text, TRAINING: self.class_weights() - self.text}

    def __getstate__(self) -> dict[str, Any]:
        """The state without the text encoder, which is not part of the adapter."""
        return {**self.__dict__, "_prompts": None}


@torch.no_grad()
def _embed(encoder: TextEncoder, words: str) -> Tensor:
    """The token embeddings of words ``[M, W]``."""
    return encoder.embed_tokens(encoder.token_ids(words)).float()


class _Prompts:
    """The prompts of classes, with placeholders for context vectors.

    Args:
        encoder (TextEncoder): The text encoder; it is not changed.
        names (sequence of str): The class names.
        length (int): The number of context vectors.
        position (str): The position of the class name.
    """

    def __init__(
        self, encoder: TextEncoder, names: Sequence[str], length: int, position: str
    ) -> None:
        self.encoder, self.names = encoder, tuple(names)
        self.length, self.position = length, position
        self.tokens, self.where = encoder.tokenize_around(names, length, position)
        with torch.no_grad():
            self.embeddings = encoder.embed_tokens(self.tokens["input_ids"]).detach()

    def encode(self, vectors: Tensor) -> Tensor:
        """Text features ``[C, D]`` with the context vectors ``[M, W]`` or ``[C, M, W]``.

        At most :obj:`TOKENS_AT_ONCE` tokens are in the text tower at once. With more tokens, the
        prompts are encoded in parts, and the backward pass encodes each part again to save memory.
        """
        context = vectors.expand(len(self.names), -1, -1).to(self.embeddings)
        step = max(1, TOKENS_AT_ONCE // self.embeddings.size(1))
        parts = [slice(i, i + step) for i in range(0, len(self.names), step)]
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self._encode_part(part, context[part]) for part in parts])
        return torch.cat(
            [
                checkpoint(
                    self._encode_part,
                    part,
                    context[part],
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
                for part in parts
            ]
        )

    def _encode_part(self, part: slice, context: Tensor) -> Tensor:
        where = self.where[part].unsqueeze(-1).expand_as(context)  # [C', M, W]
        return self.encoder.encode_embeddings(
            self.embeddings[part].scatter(1, where, context),
            {name: value[part] for name, value in self.tokens.items()},
        )

    def extended(self, names: Sequence[str]) -> "_Prompts":
        """The prompts of the classes and of new ones."""
        return _Prompts(self.encoder, [*self.names, *names], self.length, self.position)
