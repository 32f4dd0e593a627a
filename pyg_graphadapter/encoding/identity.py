"""What makes an encoder the one that it is, in four parts, and which of them changed."""

from collections.abc import Mapping
from typing import Any

# The entries of an encoder's identity that are hashes, none of which depends on where it lies:
PARTS = ("weights", "configuration", "tokenizer", "preprocessing")


def changed_parts(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The parts of an encoder that have changed, among :obj:`PARTS`. A part that one of the two
    does not state is not compared.

    Args:
        saved (dict): The identity of the encoder that something was made with.
        now (dict): The identity of the present one.

    Example:
        >>> changed_parts({"weights": "a", "tokenizer": "b"}, {"weights": "a", "tokenizer": "c"})
        ['tokenizer']
    """
    return [
        part
        for part in PARTS
        if saved.get(part) is not None and now.get(part) is not None and saved[part] != now[part]
    ]


def identity_of_images(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of an encoder's identity that features of images depend on: all but the
    tokenizer."""
    return {name: value for name, value in identity.items() if name != "tokenizer"}


def identity_of_texts(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of an encoder's identity that features of texts depend on: all but the
    preprocessing of images."""
    return {name: value for name, value in identity.items() if name != "preprocessing"}
