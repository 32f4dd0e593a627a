"""The tokenizer of a checkpoint of open_clip."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoTokenizer, CLIPTokenizer

from pyg_graphadapter.encoding.open_clip.files import elsewhere, file_of
from pyg_graphadapter.encoding.open_clip.settings import OpenClipSettings
from pyg_graphadapter.hub import is_id

# The files of a vocabulary, and those that say how it is used:
FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)
FURTHER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
# The package open_clip holds the vocabulary of CLIP, and its checkpoints need not:
CLIP = "openai/clip-vit-base-patch32"
CLIP_VOCABULARY = 49408


def load_tokenizer(source: str, settings: OpenClipSettings, where: Mapping[str, Any]) -> Any:
    """The tokenizer of the files beside the weights, or of those that the configuration names.

    Args:
        source (str): The folder, or the id on the hub.
        settings (OpenClipSettings): What open_clip says of the model.
        where (dict): Which version of it, and how it is fetched.

    Raises:
        ValueError: If there is none, saying which file to add; or if it is none of CLIP, and the
            model needs that.
    """
    named = settings.text.hf_tokenizer_name
    folder = _folder_of(source, where)
    if folder is None and named is None and settings.text.vocab_size != CLIP_VOCABULARY:
        raise ValueError(
            "it has no tokenizer, and its vocabulary is not that of CLIP: add its tokenizer.json, "
            "or its vocab.json and merges.txt"
        )
    if folder is None:
        other = named or CLIP
        folder = _folder_of(other, elsewhere(where)) if is_id(other) else None
        if folder is None:
            raise ValueError(f"it has no tokenizer: add the tokenizer.json of {other[:80]!r}")
    if named is None:
        return _clip_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _folder_of(source: str, where: Mapping[str, Any]) -> str | None:
    """The folder with the files of a tokenizer, which are fetched; :obj:`None` without any."""
    paths = [path for file in FILES if (path := file_of(source, file, where)) is not None]
    if not paths:
        return None
    if [path.name for path in paths] == ["vocab.json"]:
        raise ValueError("its tokenizer has a vocab.json and no merges.txt: add that")
    for file in FURTHER:
        file_of(source, file, where)  # where it is fetched, it lies beside the others
    return str(paths[0].parent)


def _clip_tokenizer(folder: str) -> Any:
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    last = len(tokenizer) - 1
    if type(tokenizer.backend_tokenizer.model).__name__ != "BPE" or tokenizer.eos_token_id != last:
        raise ValueError(
            f"its tokenizer is none of CLIP, which ends a text with the last of its tokens, {last} "
            f"(got {tokenizer.eos_token_id})"
        )
    return tokenizer
