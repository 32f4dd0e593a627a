"""Which methods a source of features allows."""

from collections.abc import Callable, Sequence

from pyg_graphadapter.adapters import adapter_class
from pyg_graphadapter.encoding.sources import Source


def usable_methods(
    methods: Sequence[str], source: Source, *, are_named: bool, announce: Callable[[str], None]
) -> list[str]:
    """The methods that can be built from a source. What it does not allow is left out with a word,
    or refused if it was named.

    Args:
        methods (sequence of str): The methods.
        source (Source): The source.
        are_named (bool): Whether the user named each of them, and did not say ``all``.
        announce (callable): Is told in a line what is left out.

    Raises:
        ValueError: If a method needs texts and there are none, and it was named; or if no method
            is left.
    """
    has_text = getattr(source, "has_text", True)
    without_text = [m for m in methods if not has_text and adapter_class(m).needs_text]
    if without_text and are_named:
        others = ", ".join(m for m in methods if m not in without_text) or "linear_probe"
        raise ValueError(
            f"{source.name} has no texts, which {', '.join(without_text)} needs: give a --model "
            f"that makes them, or leave it out (--methods {others})."
        )
    without_encoder = [
        m
        for m in methods
        if not are_named
        and m not in without_text
        and source.text_encoder is None
        and adapter_class(m).needs_text_encoder
    ]
    for left_out, lacking in ((without_text, "texts"), (without_encoder, "a text encoder")):
        if left_out:
            verb = "need" if len(left_out) > 1 else "needs"
            announce(
                f"Left out {', '.join(left_out)}, which {verb} {lacking}: {source.name} has none."
            )
    usable = [m for m in methods if m not in (*without_text, *without_encoder)]
    if not usable:
        raise ValueError(
            f"{source.name} allows none of the methods {', '.join(methods)}: name another."
        )
    return usable
