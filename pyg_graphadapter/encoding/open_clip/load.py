"""Loads a checkpoint of open_clip into the classes of transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig
from transformers.utils.hub import extract_commit_hash

from pyg_graphadapter.encoding.checkpoint_files import check_layers
from pyg_graphadapter.encoding.open_clip.files import (
    TRANSFORMERS_CONFIG,
    elsewhere,
    file_of,
    model_type_of,
)
from pyg_graphadapter.encoding.open_clip.images import OpenClipImageProcessor
from pyg_graphadapter.encoding.open_clip.model import config_of, model_class
from pyg_graphadapter.encoding.open_clip.settings import (
    CONFIG,
    CONFIG_FILE,
    COVERED,
    TEXT_TOWERS,
    OpenClipSettings,
    settings_of,
)
from pyg_graphadapter.encoding.open_clip.texts import as_open_clip, check_texts
from pyg_graphadapter.encoding.open_clip.tokenizer import load_tokenizer
from pyg_graphadapter.encoding.open_clip.weights import (
    WEIGHTS,
    loaded_weights,
    renamed,
    stored_weights,
)
from pyg_graphadapter.hub import is_id
from pyg_graphadapter.storage import read


def load_open_clip(
    name: str, source: str, where: Mapping[str, Any]
) -> tuple[Any, Any, Any, str | None]:
    """Loads a model: the model itself, its image processor, its tokenizer and its revision.

    Args:
        name (str): What sentences call it.
        source (str): The folder, or the id on the hub.
        where (dict): Which version of it, and how it is fetched.

    Raises:
        ValueError: If it has no equal among the classes of transformers, naming what is in the way;
            or if a file of it is missing, damaged, or does not fit its configuration.
    """
    path = file_of(source, CONFIG, where)
    if path is None:
        raise ValueError(f"it has no {CONFIG}")
    try:
        content = read(path, CONFIG_FILE)
    except ValueError as error:
        raise ValueError(f"The model {name!r} cannot be loaded: {error}") from error
    try:
        settings = settings_of(content)
        check_texts(settings)
    except ValueError as error:
        raise ValueError(
            f"The model {name!r} cannot be loaded: {error} ({CONFIG}); {COVERED}."
        ) from error
    revision = extract_commit_hash(str(path), None)
    if revision is not None:  # all files are of one commit
        where = {**where, "revision": revision}
    text = _hub_text_config(source, settings, where)
    tokenizer = as_open_clip(load_tokenizer(source, settings, where), settings)
    model = _model(_weights_file(source, where), settings, tokenizer, text)
    processor = OpenClipImageProcessor.of(settings)
    return model, processor, tokenizer, revision


def _model(path: Path, settings: OpenClipSettings, tokenizer: Any, text: Any | None) -> Any:
    """The model with the weights of a file, of which no number is read before all shapes fit."""
    has_own_text = text is None
    stored, names = renamed(stored_weights(path), has_own_text=has_own_text)
    config = config_of(settings, tokenizer, text, has_logit_bias="logit_bias" in stored)
    check_layers(config)
    kind: Any = model_class(settings)
    with torch.device("meta"):
        described = kind(config).state_dict()
    _check_shapes(path.name, stored, described, names)
    weights, _ = renamed(loaded_weights(path), has_own_text=has_own_text)
    model, report = kind.from_pretrained(
        None, config=config, state_dict=weights, output_loading_info=True, dtype=torch.float32
    )
    wrong = {*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]}
    if wrong:  # transformers has renamed what fitted
        raise ValueError(f"{len(wrong)} of its weights are not loaded, as {min(map(str, wrong))}")
    return model


def _check_shapes(
    file: str,
    stored: Mapping[str, Tensor],
    described: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> None:
    """Refuses weights of which some are missing, misshaped or left over."""
    for problem, keys in (
        ("left over", stored.keys() - described.keys()),
        ("missing", described.keys() - stored.keys()),
    ):
        if keys:
            are = "is" if len(keys) == 1 else "are"
            example = min(names.get(key, key) for key in keys)
            raise ValueError(f"{len(keys)} of the weights in {file} {are} {problem}, as {example}")
    for key, weight in stored.items():
        if weight.shape != described[key].shape:
            raise ValueError(
                f"the weight {names[key]} in {file} is misshaped: as {key}, it is "
                f"{list(weight.shape)}, and {CONFIG} describes {list(described[key].shape)}"
            )


def _weights_file(source: str, where: Mapping[str, Any]) -> Path:
    for file in WEIGHTS:
        path = file_of(source, file, where)
        if path is not None:
            return path
    raise ValueError(
        f"it has no {WEIGHTS[0]}, and a .bin or .pt file is a pickle, which can run any code and "
        f"is never opened: if you trust it, save what torch.load reads with "
        f"safetensors.torch.save_file"
    )


def _hub_text_config(source: str, settings: OpenClipSettings, where: Mapping[str, Any]) -> Any:
    """The configuration of a text tower of transformers: that beside the weights, or that of the
    model which is named."""
    tower = settings.text.hf_model_name
    if tower is None:
        return None
    path = file_of(source, TRANSFORMERS_CONFIG, where)
    if path is None or model_type_of(path) not in TEXT_TOWERS:
        path = _config_of_named(tower, where)
    return AutoConfig.from_pretrained(path.parent, trust_remote_code=False)


def _config_of_named(tower: str, where: Mapping[str, Any]) -> Path:
    advice = f"put the config.json of {tower[:80]!r} beside {CONFIG}"
    if not is_id(tower):
        raise ValueError(f"its text tower {tower[:80]!r} is not an id on the hub: {advice}")
    path = file_of(tower, TRANSFORMERS_CONFIG, elsewhere(where))
    if path is None:
        raise ValueError(f"its text tower {tower[:80]!r} is not here: {advice}")
    kind = model_type_of(path)
    if kind not in TEXT_TOWERS:
        raise ValueError(
            f"its text tower {tower[:80]!r} is of type {kind!r}, and those of type "
            f"{', '.join(TEXT_TOWERS)} are read"
        )
    return path
