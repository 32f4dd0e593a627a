"""Texts as open_clip cleans and tokenizes them, with a tokenizer of transformers."""

import json
import unicodedata
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

from pyg_graphadapter.encoding.open_clip.settings import OpenClipSettings

CLEANINGS = ("lower", "whitespace", "canonicalize")
CLEANINGS_OF_CLIP = ("lower", "canonicalize")  # its tokenizer lowers all texts in transformers
# What the package ftfy, which open_clip calls, writes in place of these. Its repair of texts that
# were decoded wrongly is left out.
QUOTES = {"[\u02bc\u2018-\u201b]": "'", "[\u201c-\u201f]": '"'}
LIGATURES = {
    "\u0132": "IJ", "\u0133": "ij", "\u0149": "\u02bcn", "\u01f1": "DZ", "\u01f2": "Dz",
    "\u01f3": "dz", "\u01c4": "D\u017d", "\u01c5": "D\u017e", "\u01c6": "d\u017e", "\u01c7": "LJ",
    "\u01c8": "Lj", "\u01c9": "lj", "\u01ca": "NJ", "\u01cb": "Nj", "\u01cc": "nj",
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl",
    "\ufb05": "\u017ft", "\ufb06": "st",
}  # fmt: skip
WIDE = {"\u3000": " "} | {
    char: unicodedata.normalize("NFKC", char) for char in map(chr, range(0xFF01, 0xFFF0))
}
CONTROLS = "[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]"
ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'"}
AMPERSAND = "&(amp;)+"  # entities are replaced twice, so that one may hold the next
PUNCTUATION = r"[!-/:-@\[-`{-~]"


def check_texts(settings: OpenClipSettings) -> None:
    """Refuses ways to tokenize that have no equal.

    Raises:
        ValueError: If there is one, naming it.
    """
    text = settings.text
    cleanings = CLEANINGS if text.hf_tokenizer_name else CLEANINGS_OF_CLIP
    for name, value in (text.tokenizer_kwargs or {}).items():
        if name == "clean" and value in cleanings:
            continue
        if name == "strip_sep_token" and isinstance(value, bool) and text.hf_tokenizer_name:
            continue
        shown = f"{name[:60]} = {str(value)[:60]}"
        raise ValueError(f"its text_cfg.tokenizer_kwargs.{shown} has no equal in transformers")


def as_open_clip(tokenizer: Any, settings: OpenClipSettings) -> Any:
    """A tokenizer of transformers, changed to clean texts and to cut them as open_clip does.

    Args:
        tokenizer (transformers.PreTrainedTokenizerBase): The tokenizer, which is changed.
        settings (OpenClipSettings): What open_clip says of the model.

    Raises:
        ValueError: If it cannot be changed.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(f"its tokenizer {type(tokenizer).__name__} has no tokenizer.json")
    stated = settings.text.tokenizer_kwargs or {}
    is_of_open_clip = not settings.text.hf_tokenizer_name
    clean = stated.get("clean", "lower" if is_of_open_clip else "whitespace")
    rules = [*_cleaning(clean), backend.normalizer]
    backend.normalizer = normalizers.Sequence([rule for rule in rules if rule is not None])
    if stated.get("strip_sep_token"):
        backend.post_processor = _without_sep(tokenizer)
    tokenizer.model_max_length = settings.text.context_length
    return tokenizer


def _cleaning(clean: str) -> list[Any]:
    """What changes a text before it is tokenized."""
    replaced = ENTITIES | LIGATURES | WIDE
    rules: list[Any] = [normalizers.Replace(Regex(AMPERSAND), "&")]
    rules += [normalizers.Replace(old, new) for old, new in replaced.items()]
    rules += [normalizers.Replace(Regex(old), new) for old, new in QUOTES.items()]
    rules += [normalizers.Replace(Regex(CONTROLS), ""), normalizers.NFC()]
    if clean == "canonicalize":
        rules.append(normalizers.Replace("_", " "))
        rules.append(normalizers.Replace(Regex(PUNCTUATION), ""))
    if clean != "whitespace":
        rules.append(normalizers.Lowercase())
    return [*rules, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]


def _without_sep(tokenizer: Any) -> Any:
    """What adds the special tokens, with token 0 in place of the one that ends a text."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    zero, added = tokenizer.convert_ids_to_tokens(0), state["post_processor"]
    if added["type"] == "TemplateProcessing" and tokenizer.sep_token in added["special_tokens"]:
        added["special_tokens"][tokenizer.sep_token] |= {"ids": [0], "tokens": [zero]}
    elif added["type"] in ("BertProcessing", "RobertaProcessing"):
        added["sep"] = [zero, 0]
    else:
        raise ValueError("its tokenizer has no token that strip_sep_token could take away")
    return Tokenizer.from_str(json.dumps(state)).post_processor
