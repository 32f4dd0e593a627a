"""The SHA-256 of each part of a model of transformers, wherever it was loaded from."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

# What a configuration, a tokenizer or a processor says of where and how it was loaded:
NOT_PORTABLE = (
    "_commit_hash",
    "_name_or_path",
    "auto_map",
    "dtype",
    "is_local",
    "local_files_only",
    "merges_file",
    "name_or_path",
    "processor_class",
    "special_tokens_map_file",
    "tokenizer_file",
    "tokenizer_object",
    "torch_dtype",
    "transformers_version",
    "vocab_file",
)
# Parts of the state of a tokenizer that each call sets anew:
OF_THE_LAST_CALL = ("padding", "truncation")


def hash_of_weights(model: Any) -> str:
    """The hash of all weights and buffers with their names, types and shapes."""
    return hashlib.sha256("".join(_hashes_of_weights(model)).encode()).hexdigest()


def hash_of_weights_and_configuration(model: Any) -> str:
    """The one hash that classifiers of format 1 have of both."""
    dropped = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
    config = json.dumps(_without(model.config.to_dict(), dropped), sort_keys=True, default=str)
    return hashlib.sha256("".join([*_hashes_of_weights(model), config]).encode()).hexdigest()


def _hashes_of_weights(model: Any) -> list[str]:
    state = sorted(model.state_dict().items())
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda weight: _hash_of_weight(*weight), state))


def _without(config: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: _without(value, names) for key, value in config.items() if key not in names}


def hash_of_configuration(model: Any) -> str:
    """The hash of the configuration, without where it came from."""
    return hash_of(model.config.to_dict())


def hash_of_tokenizer(tokenizer: Any) -> str:
    """The hash of the whole state of a tokenizer: vocabulary, merges, normaliser, template, special
    tokens and settings."""
    settings = {
        "max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "inputs": tokenizer.model_input_names,
        "special_tokens": tokenizer.special_tokens_map,
    }
    # A token may have the name of an entry that is not portable:
    state = json.dumps(_state_of(tokenizer), sort_keys=True, default=str)
    return hash_of([hash_of(settings), hashlib.sha256(state.encode()).hexdigest()])


def hash_of_preprocessing(processor: Any) -> str:
    """The hash of the settings and the back-end of an image processor."""
    settings = {
        "class": type(processor).__name__,
        "backend": getattr(processor, "backend", ""),
        "settings": json.loads(processor.to_json_string()),
    }
    return hash_of(settings)


def hash_of(content: Any) -> str:
    """The hash of plain values, without the entries :obj:`NOT_PORTABLE`."""
    text = json.dumps(_portable(content), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _state_of(tokenizer: Any) -> Any:
    """What decides the tokens of a text, as the library beneath the tokenizer stores it."""
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        return {name: value for name, value in state.items() if name not in OF_THE_LAST_CALL}
    state = {
        "class": type(tokenizer).__name__,
        "vocabulary": tokenizer.get_vocab(),
        "settings": _portable(_plain_entries(tokenizer.init_kwargs)),
    }
    if hasattr(tokenizer, "sp_model"):  # of sentencepiece, with scores and normaliser
        model = tokenizer.sp_model.serialized_model_proto()
        state["sentencepiece"] = hashlib.sha256(model).hexdigest()
    return state


def _plain_entries(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    return {name: value for name, value in settings.items() if isinstance(value, plain)}


def _portable(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            str(name): _portable(value)
            for name, value in content.items()
            if name not in NOT_PORTABLE
        }
    if isinstance(content, list | tuple):
        return [_portable(value) for value in content]
    return content.name if isinstance(content, PurePath) else content


def _hash_of_weight(name: str, weight: Tensor) -> str:
    content = weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    text = f"{name} {weight.dtype} {list(weight.shape)} {hashlib.sha256(content).hexdigest()}"
    return hashlib.sha256(text.encode()).hexdigest()
