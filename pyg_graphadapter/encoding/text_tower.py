"""Features of texts under a frozen dual encoder, and what learned prompts need of it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from pyg_graphadapter.data import TEMPLATES, prompts
from pyg_graphadapter.encoding.prompt_tokens import prompts_around
from pyg_graphadapter.graph import unit
from pyg_graphadapter.parallel import map_threads

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

TEXT_BATCH_SIZE = 64
# These were trained on texts that are padded to full length:
PADDED_TO_LENGTH = ("siglip", "siglip2")


class TextTower:
    """The text side of :class:`~pyg_graphadapter.Encoder`, which sets what is declared here."""

    model: Any
    tokenizer: Any
    name: str
    device: torch.device
    dtype: torch.dtype

    def encode_text(
        self, class_names: Sequence[str], templates: str | Sequence[str] = TEMPLATES
    ) -> Tensor:
        """Class text features ``[C, D]``: of the prompts of a class, the mean of features of length
        one, of length one again.

        Args:
            class_names (sequence of str): The names, in which ``_`` becomes a space.
            templates (str or sequence of str, optional): Prompts with ``{}`` for the name.
                (default: :obj:`("a photo of a {}.",)`)

        Raises:
            ValueError: If a template has not one ``{}``, or a name is empty.
        """
        templates = (templates,) if isinstance(templates, str) else tuple(templates)
        filled = prompts(class_names, templates)
        x = self.encode_prompts([prompt for each in filled for prompt in each])
        return unit(x.view(len(class_names), len(templates), -1).mean(dim=1))

    def encode_prompts(self, texts: Sequence[str]) -> Tensor:
        """Features of length one ``[P, D]`` of texts."""
        if not texts:
            return torch.zeros(0, self.num_channels)
        size = TEXT_BATCH_SIZE
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        return torch.cat(list(self._map(self._text_features, batches)))

    @torch.inference_mode()
    def _text_features(self, texts: Sequence[str]) -> Tensor:
        return self._checked(self.model.get_text_features(**self.tokenize(texts)).pooler_output)

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of a text."""
        longest = int(self.model.config.text_config.max_position_embeddings)
        return min(longest, int(self.tokenizer.model_max_length))

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What the text tower takes, on the device; texts that are too long are cut, with a
        warning."""
        padded = self.model.config.model_type in PADDED_TO_LENGTH
        lengths = [len(ids) for ids in self.tokenizer(list(texts))["input_ids"]]
        for text, length in zip(texts, lengths, strict=True):
            if length > self.max_tokens:
                logger.warning("A text of %d tokens is cut after %d: %.60r…",
                               length, self.max_tokens, text)  # fmt: skip
        inputs = self.tokenizer(
            list(texts),
            padding="max_length" if padded else True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return {key: value.to(self.device) for key, value in inputs.items()}

    def token_ids(self, text: str) -> Tensor:
        """The tokens of a text without special ones ``[L]``, on the device."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def tokenize_around(
        self, names: Sequence[str], length: int, position: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Prompts of ``length`` placeholders and a name, as CoOp fills them.

        Args:
            names (sequence of str): The class names.
            length (int): The number of placeholders.
            position (str): The name stands at the ``"end"``, in the ``"middle"`` or in ``"front"``.

        Returns:
            What the text tower takes, and where the placeholders are ``[P, length]``.

        Raises:
            ValueError: If a prompt is longer than the text tower takes, naming it.
        """
        padded = self.model.config.model_type in PADDED_TO_LENGTH
        inputs, places = prompts_around(
            self.tokenizer, names, length, position, self.max_tokens, padded=padded
        )
        tokens = {key: value.to(self.device) for key, value in inputs.items()}
        return tokens, places.to(self.device)

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """The token embeddings ``[P, L, W]`` of ``input_ids`` ``[P, L]``, before positions."""
        return cast(Tensor, self._token_embedding()(input_ids))

    def encode_embeddings(self, embeddings: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Features of length one ``[P, D]`` of prompts whose token embeddings ``[P, L, W]`` are
        given; gradients flow to them. With learned context vectors it is the text side of CoOp.

        Args:
            embeddings (torch.Tensor): Put in the place of what :meth:`embed_tokens` gives.
            tokens (dict): What :meth:`tokenize` gave; tells padding and where a text ends.
        """
        hook = self._token_embedding().register_forward_hook(lambda *_: embeddings)
        try:
            features = self.model.get_text_features(**tokens).pooler_output
        finally:
            hook.remove()
        return unit(features.float())

    def _token_embedding(self) -> nn.Embedding:
        size = self.model.config.text_config.vocab_size
        tables = [
            module
            for module in self.model.modules()
            if isinstance(module, nn.Embedding) and module.num_embeddings == size
        ]
        return tables[0]

    @cached_property
    def num_channels(self) -> int:
        """The width :math:`D` of the features."""
        return self.encode_prompts(["a"]).size(1)

    def _map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """On a CPU each core has items of its own; a GPU has a thread, which goes on while results
        are written."""
        return map_threads(work, items, torch.get_num_threads() if self.device.type == "cpu" else 1)

    def _checked(self, features: Tensor) -> Tensor:
        if not features.isfinite().all():
            raise ValueError(
                f"{self.name} gives features that are not finite in {self.dtype}: use "
                f"dtype='float32'."
            )
        return unit(features.float()).cpu()
