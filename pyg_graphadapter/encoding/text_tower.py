"""The text tower of a dual encoder, and what learned prompts need of it."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyg_graphadapter.encoding.model import map_batches
from pyg_graphadapter.encoding.parts import checked_features
from pyg_graphadapter.encoding.prompt_tokens import prompts_around
from pyg_graphadapter.graph import unit

logger = logging.getLogger(__name__)

TEXT_BATCH_SIZE = 64
# These models were trained on texts that are padded to full length:
PADDED_TO_LENGTH = ("siglip", "siglip2")


class TextTower:
    """Features of texts under a frozen dual encoder of transformers.

    Args:
        model (transformers.PreTrainedModel): The model, on its device.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        name (str): The name that errors mention.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Features of length one ``[P, D]`` of texts."""
        if not texts:
            return torch.zeros(0, self.num_channels)
        self._tell_cut(texts)
        size = TEXT_BATCH_SIZE
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        return torch.cat(list(map_batches(self.device, self._batch_features, batches)))

    def encode_prompts(self, texts: Sequence[str]) -> Tensor:
        """Features of length one ``[P, D]`` of texts."""
        return self.text_features(texts)

    @torch.inference_mode()
    def _batch_features(self, texts: Sequence[str]) -> Tensor:
        features = self.model.get_text_features(**self.tokenize(texts)).pooler_output
        return checked_features(features, self.name)

    @property
    def _is_padded(self) -> bool:
        """Whether texts are padded to full length: their features depend on it."""
        config = self.model.config
        padded = config.model_type in PADDED_TO_LENGTH
        return bool(getattr(config, "padded_to_length", padded))

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of a text."""
        longest = int(self.model.config.text_config.max_position_embeddings)
        return min(longest, int(self.tokenizer.model_max_length))

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The inputs of the text tower, on the device; texts that are too long are cut."""
        inputs = self.tokenizer(
            list(texts),
            padding="max_length" if self._is_padded else True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        self._check_ids(inputs["input_ids"])
        return {key: value.to(self.device) for key, value in inputs.items()}

    def _tell_cut(self, texts: Sequence[str]) -> None:
        """Warns of texts that are too long for the text tower."""
        lengths = [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]
        cut = [i for i, length in enumerate(lengths) if length > self.max_tokens]
        if cut:
            others = f", as {len(cut) - 1} more of {len(texts)} texts are" if cut[1:] else ""
            logger.warning("A text of %d tokens is cut after %d%s: %.60r…",
                           lengths[cut[0]], self.max_tokens, others, texts[cut[0]])  # fmt: skip

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The tokens of every text, as the text tower sees them: cut after :attr:`max_tokens`."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)
        return [tuple(ids) for ids in encoded["input_ids"]]

    def _check_ids(self, ids: Tensor) -> None:
        size = getattr(self.model.config.text_config, "vocab_size", None)
        if size is not None and ids.numel() and int(ids.max()) >= size:
            raise ValueError(
                f"The tokenizer of {self.name!r} gives the token {int(ids.max())}, and its text "
                f"tower knows {size} tokens: fetch or save the model again."
            )

    def token_ids(self, text: str) -> Tensor:
        """The tokens of a text without special ones ``[L]``, on the device."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def tokenize_around(
        self, names: Sequence[str], length: int, position: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Prompts with ``length`` placeholders and a name, for CoOp.

        Args:
            names (sequence of str): The class names.
            length (int): The number of placeholders.
            position (str): The name stands at the ``"end"``, in the ``"middle"`` or in ``"front"``.

        Returns:
            The inputs of the text tower, and the positions of the placeholders ``[P, length]``.

        Raises:
            ValueError: If a prompt is too long for the text tower, naming it.
        """
        inputs, places = prompts_around(
            self.tokenizer, names, length, position, self.max_tokens, padded=self._is_padded
        )
        tokens = {key: value.to(self.device) for key, value in inputs.items()}
        return tokens, places.to(self.device)

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """The token embeddings ``[P, L, W]`` of ``input_ids`` ``[P, L]``, before positions."""
        return cast(Tensor, self._token_embedding()(input_ids))

    def encode_embeddings(self, embeddings: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Features of length one ``[P, D]`` of prompts with given token embeddings ``[P, L, W]``;
        gradients flow to them. With learned context vectors, this is the text side of CoOp.

        Args:
            embeddings (torch.Tensor): They replace the output of :meth:`embed_tokens`.
            tokens (dict): The output of :meth:`tokenize`, which has padding and the ends of texts.
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
        return self.text_features(["a"]).size(1)
