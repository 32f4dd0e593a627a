"""Prompts with room for learned context, as tokens of any tokenizer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.data import fill

WORD = "a"  # stands for the context, so that a name is tokenized as in the middle of a text


def prompts_around(
    tokenizer: Any,
    names: Sequence[str],
    length: int,
    position: str,
    max_tokens: int,
    *,
    padded: bool,
) -> tuple[dict[str, Tensor], Tensor]:
    """Prompts of ``length`` placeholder tokens, a name and a full stop.

    Args:
        tokenizer (Any): A tokenizer of transformers.
        names (sequence of str): The class names.
        length (int): The number of placeholders.
        position (str): The name stands at the ``"end"``, in the ``"middle"`` or in ``"front"``.
        max_tokens (int): The largest number of tokens of a prompt.
        padded (bool): Whether prompts are padded to that number, not to the longest.

    Returns:
        The inputs of the text tower, and the positions of the placeholders ``[P, length]``.

    Raises:
        ValueError: If a prompt is too long for the text tower, naming it.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    word, whole = ids(WORD), list(tokenizer(WORD)["input_ids"])
    first = next(i for i in range(len(whole)) if whole[i : i + len(word)] == word)
    num_before = {"end": length, "middle": length // 2, "front": 0}[position]
    context, rows, places = [word[0]] * length, [], []
    for name in (fill("{}", name) for name in names):
        inside = ids(f"{WORD} {name}")[len(word) :]
        stop = ids(f"{WORD} {name}.")[len(word) + len(inside) :]
        name_ids = inside if num_before else ids(name)
        content = [*context[:num_before], *name_ids, *context[num_before:], *stop]
        row = [*whole[:first], *content, *whole[first + len(word) :]]
        if len(row) > max_tokens:
            raise ValueError(
                f"The prompt of {name!r} has {len(row)} tokens, {length} of them context, but the "
                f"text tower takes {max_tokens}: use a shorter context."
            )
        rows.append(row)
        places.append(
            [first + i + (len(name_ids) if i >= num_before else 0) for i in range(length)]
        )
    inputs = tokenizer.pad(
        {"input_ids": rows},
        padding="max_length" if padded else True,
        max_length=max_tokens if padded else None,
        return_tensors="pt",
    )
    input_names = tokenizer([WORD]).keys()
    return {name: inputs[name] for name in inputs if name in input_names}, torch.tensor(places)
