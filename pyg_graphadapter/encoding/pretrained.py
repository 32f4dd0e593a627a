"""Dual encoders of Hugging Face: which there are, and how they are loaded."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import normalizers
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from pyg_graphadapter.builtin import BUILTIN, MODEL_FOLDER
from pyg_graphadapter.encoding.checkpoint_files import (
    NOT_NEEDED,
    check_layers,
    check_stored,
    stored_weights,
)
from pyg_graphadapter.encoding.open_clip.files import is_open_clip
from pyg_graphadapter.encoding.open_clip.load import load_open_clip
from pyg_graphadapter.hub import cached_models, is_id, is_reachable
from pyg_graphadapter.optional import MissingPackageError, is_installed, missing
from pyg_graphadapter.suggestions import path_suggestion

# Those whose image and text features are projected into one space, each of them tested:
MODEL_TYPES = (
    "altclip",
    "chinese_clip",
    "clip",
    "metaclip_2",
    "siglip",
    "siglip2",
    "vision-text-dual-encoder",
)
# Tokenizers that come as a model of sentencepiece alone need them; SigLIP has such a one:
TOKENIZER_PACKAGES = ("sentencepiece", "google.protobuf")
# They were trained on lower-case texts. SigLIP's own tokenizer lowers them, and so does the class
# Siglip2Tokenizer; checkpoints of SigLIP 2 at fixed resolution name Gemma's, which does not:
TRAINED_ON_LOWER_CASE = ("siglip", "siglip2")
# What the folder of a model holds:
FILES = "config.json, model.safetensors, tokenizer, processor"
OPEN_CLIP_FILES = "open_clip_config.json, open_clip_model.safetensors, tokenizer"


@dataclass(frozen=True)
class Pretrained:
    """A model with what prepares its inputs.

    Args:
        model (transformers.PreTrainedModel): The model, in float32.
        processor (transformers.BaseImageProcessor): Its image processor.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        revision (str, optional): The commit on the hub, where it comes from there.
    """

    model: Any
    processor: Any
    tokenizer: Any
    revision: str | None


def load_pretrained(
    name: str, revision: str | None, token: str | bool | None, *, local_files_only: bool
) -> Pretrained:
    """Loads a folder, an id on the hub, or ``builtin``, in the format of transformers or of
    open_clip; weights from safetensors alone.

    Raises:
        ValueError: If there is no such model, it is of another kind, or its weights do not fit.
        MissingPackageError: If its tokenizer needs the extra ``[tokenizers]``.
    """
    source = str(MODEL_FOLDER) if name == BUILTIN else name
    if not Path(source).is_dir():
        if not is_id(source):
            meant = path_suggestion(name, [BUILTIN, *cached_models()])
            raise ValueError(
                f"The model {name!r} cannot be loaded: there is no such folder.{meant}"
            )
        local_files_only = local_files_only or not is_reachable()
    where = {"revision": revision, "token": token, "local_files_only": local_files_only}
    where = {key: value for key, value in where.items() if value}
    where["trust_remote_code"] = False  # left out, transformers asks on the terminal
    if is_open_clip(source, where, MODEL_TYPES):
        with _in_one_sentence(name, OPEN_CLIP_FILES):
            return Pretrained(*load_open_clip(name, source, where))
    with _in_one_sentence(name, FILES):
        config = AutoConfig.from_pretrained(source, **where)
        check_model_type(name, config)
        check_layers(config)
        check_stored(stored_weights(source, revision), config)
        model, report = AutoModel.from_pretrained(
            source,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are reported below
            output_loading_info=True,
            dtype=torch.float32,
            **where,
        )
        _check_report(report)
        processor = AutoImageProcessor.from_pretrained(source, **where)  # type: ignore[no-untyped-call]
        tokenizer = _tokenizer(name, source, where)
    return Pretrained(model, processor, tokenizer, getattr(config, "_commit_hash", None))


def _check_report(report: dict[str, Any]) -> None:
    """Refuses weights of which some are missing, misshaped or left over."""
    wrong = {
        "missing": report["missing_keys"],
        "misshaped": [mismatch[0] for mismatch in report["mismatched_keys"]],
        "left over": [key for key in report["unexpected_keys"] if not NOT_NEEDED.search(key)],
    }
    for problem, keys in wrong.items():
        if keys:
            are = "is" if len(keys) == 1 else "are"
            raise ValueError(
                f"{len(keys)} of its weights {are} {problem}, as {min(map(str, keys))}"
            )


def check_model_type(name: str, config: Any) -> None:
    """Refuses models that have not both kinds of features in one space.

    Raises:
        ValueError: If the model is of another kind, listing those that are supported.
    """
    kind = getattr(config, "model_type", None)
    if kind not in MODEL_TYPES:
        raise ValueError(
            f"The model {name!r} is of type {kind!r}, which is no dual encoder that is supported. "
            f"Choose one of type {', '.join(MODEL_TYPES)}."
        )


def _tokenizer(name: str, source: str, where: dict[str, Any]) -> Any:
    """A tokenizer, or which package of the extra [tokenizers] it lacks."""
    try:
        return AutoTokenizer.from_pretrained(source, **where)
    except Exception as error:
        # What transformers says differs between families and versions, and may be another error.
        lacking = [package for package in TOKENIZER_PACKAGES if not is_installed(package)]
        is_there = not Path(source).is_dir() or any(Path(source).glob("*.model"))
        if isinstance(error, OSError) or not lacking or not is_there:
            raise
        names = " and ".join(package.removeprefix("google.") for package in lacking)
        raise missing(lacking[0], f"The tokenizer of {name!r} needs {names}") from error


def as_trained(config: Any, tokenizer: Any) -> Any:
    """A tokenizer that writes texts as the model was trained on them: a copy that lowers them,
    where the model knows lower-case texts alone and the tokenizer keeps capitals."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if config.model_type not in TRAINED_ON_LOWER_CASE or backend is None:
        return tokenizer
    if backend.normalizer is not None and backend.normalizer.normalize_str("A") != "A":
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    backend = tokenizer.backend_tokenizer
    rules = [normalizers.Lowercase(), backend.normalizer]
    backend.normalizer = normalizers.Sequence([rule for rule in rules if rule is not None])
    return tokenizer


@contextmanager
def _in_one_sentence(name: str, files: str) -> Iterator[None]:
    """What the libraries say in paragraphs: what failed, and what to do."""
    try:
        yield
    except MissingPackageError:
        raise
    # For a model that is not there, damaged, or of another kind, the libraries raise any error:
    except Exception as error:
        if str(error).startswith("The model "):
            raise
        reason = _reason(error)
        if "custom code" in reason:
            advice = (
                "no code that comes with a model is run; use one that transformers itself knows."
            )
        elif Path(name).is_dir():
            advice = f"its folder must hold {files}."
        else:
            advice = f"check the name, or fetch it where there is a network: hf download {name}."
            advice += path_suggestion(name, [BUILTIN, *cached_models()])
        raise ValueError(f"The model {name!r} cannot be loaded ({reason}): {advice}") from error


def _reason(error: Exception) -> str:
    """The first sentence of an error, which says what failed."""
    text = str(error).strip()
    if isinstance(error, MemoryError):
        text = "it needs more memory than there is"
    elif text.startswith(("Validation error", "Class validation error")):  # what is wrong follows
        text = " ".join(text.split())
    reason = re.split(r"(?<=\w\w)\.\s|\n", text)[0].rstrip(". ")
    # A key alone, or nothing at all, says little:
    if isinstance(error, KeyError) or not reason:
        reason = f"{type(error).__name__}: {reason}"
    return reason[:400]
