"""CoOp: learned context vectors in the prompts of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pyg_graphadapter.adapters.base import AdapterConfig, LinearAdapter
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import setting
from pyg_graphadapter.task import FewShotTask, TextEncoder

CONTEXTS = ("unified", "class")
POSITIONS = ("end", "middle", "front")
DEVIATION = 0.02
TOKENS_AT_ONCE = 4096  # takes 2 GB in the backward pass of CLIP ViT-B's text tower


@dataclass(frozen=True)
class CoOpConfig(AdapterConfig):
    """The settings of :class:`CoOp`."""

    context_length: int = setting(16, "context vectors per prompt, unless words are given", low=1)
    context_words: str = setting(
        "", "words whose embeddings the context starts with, such as 'a photo of a'"
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
    The vectors start at random, from :math:`\mathcal{N}(0, 0.02^2)`, or at the embeddings of words.

    The recipe is the paper's: SGD with a learning rate of 2e-3, momentum 0.9 and weight decay 5e-4,
    batches of 32, one epoch of warm-up, 50 epochs (the presets have 100 to 200 for more shots).

    The task must have a text encoder. The learned text features are stored as class weights, so
    that predicting, saving and loading need no encoder.

    Args:
        text (torch.Tensor): The class text features.
        vectors (torch.Tensor): The context vectors.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        context_length (int, optional): The number :math:`M` of context vectors, unless words are
            given. (default: :obj:`16`)
        context_words (str, optional): Words whose embeddings the context starts with.
            (default: :obj:`""`)
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
        """Builds the prompts of the task's classes.

        Raises:
            ValueError: If the task has no text encoder, or a name is too long for it.
        """
        if task.text_encoder is None:
            raise ValueError(
                "CoOp learns prompts and needs the text encoder of the features: give images and a "
                "model, not features alone."
            )
        config = CoOpConfig(**settings)
        encoder, words = task.text_encoder, config.context_words
        length = config.context_length
        with torch.no_grad():
            if words:
                start = encoder.embed_tokens(encoder.token_ids(words)).float()  # [M, W]
                length = len(start)
            else:
                width = encoder.embed_tokens(encoder.token_ids("a")).size(-1)
                generator = torch.Generator().manual_seed(0)
                start = DEVIATION * torch.randn(length, width, generator=generator)
        if config.context == "class":
            start = start.repeat(task.num_classes, 1, 1)
        prompts = _Prompts(encoder, task.class_names, length, config.class_position)
        adapter = cls(task.text, start, task.logit_scale, **asdict(config))
        adapter._prompts = prompts
        adapter.eval()
        return adapter

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
                self.learned.copy_(self._prompts.encode(self.vectors))
        return self

    def class_weights(self) -> Tensor:
        """The text features of the prompts, of length one ``[C, D]``."""
        if self.training and self._prompts is not None:
            return self._prompts.encode(self.vectors).to(self.text)
        return self.learned

    def __getstate__(self) -> dict[str, Any]:
        """The state without the text encoder, which is not part of the adapter."""
        return {**self.__dict__, "_prompts": None}


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
